//! Durable subscriptions of real nodes that are killed in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::net_common::{Home, Node, both, run, succeed, until};

async fn fetch(node: &Node, max: usize) -> Vec<Value> {
    let answer = node.post("/v1/subscriptions/work/fetch", &json!({"max": max, "wait_ms": 2_000})).await;
    answer.map(|answer| answer["messages"].as_array().unwrap().clone()).unwrap_or_default()
}

async fn settle(node: &Node, body: Value) -> Value {
    node.post("/v1/subscriptions/work/settle", &body).await.unwrap()
}

fn id(delivery: &Value) -> String {
    delivery["message"]["id"].as_str().unwrap().into()
}

#[tokio::test]
async fn a_kill_in_the_middle_loses_nothing_and_duplicates_are_marked() {
    let root = tempfile::tempdir().unwrap();
    let mut home = Home::new(root.path(), "a", "deliver").await;
    let mut node = home.start().await;
    let spec = json!({"filter": {"kinds": ["Data/ExchangeData"]}, "from": "start", "max_attempts": 100});
    node.put("/v1/subscriptions/work", &spec).await.unwrap();
    let (mut all, mut handed, mut acked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for life in 0..4 {
        all.extend(node.publish(life * 100, 40, "durable").await);
        let deliveries = fetch(&node, 30).await;
        assert!(!deliveries.is_empty(), "everything that is open is ready after a start");
        for delivery in &deliveries {
            assert!(!acked.contains(&id(delivery)), "it was acknowledged in a former life");
            assert_eq!(delivery["redelivered"], !handed.insert(id(delivery)), "{}", delivery["attempt"]);
        }
        // Two thirds are acknowledged, then the power goes.
        let (done, _) = deliveries.split_at(deliveries.len() * 2 / 3);
        let positions: Vec<&Value> = done.iter().map(|delivery| &delivery["position"]).collect();
        assert_eq!(settle(&node, json!({ "ack": positions })).await["settled"], positions.len());
        acked.extend(done.iter().map(id));
        home = node.kill();
        node = home.start().await;
    }
    while acked.len() < all.len() {
        let deliveries = fetch(&node, 100).await;
        for delivery in &deliveries {
            assert!(acked.insert(id(delivery)), "it was acknowledged before");
            assert_eq!(delivery["redelivered"], !handed.insert(id(delivery)));
        }
        let positions: Vec<&Value> = deliveries.iter().map(|delivery| &delivery["position"]).collect();
        settle(&node, json!({ "ack": positions })).await;
    }
    assert_eq!(acked, all);
    assert!(fetch(&node, 1).await.is_empty());
}

/// A sink that is down until it is told otherwise, and notes what it took.
#[derive(Clone, Default)]
struct Sink {
    works: Arc<Mutex<bool>>,
    took: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Sink {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let sink = self.clone();
        let app = Router::new().fallback(move |headers: HeaderMap| async move {
            if !*sink.works.lock().unwrap() {
                return StatusCode::INTERNAL_SERVER_ERROR;
            }
            let key = headers["idempotency-key"].to_str().unwrap().to_string();
            *sink.took.lock().unwrap().entry(key).or_default() += 1;
            StatusCode::OK
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }
}

#[tokio::test]
async fn a_webhook_that_was_down_gets_everything_also_over_a_kill() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "a", "deliver").await;
    let node = home.start().await;
    let sink = Sink::default();
    let url = sink.start().await;
    let api = node.api();
    let words = ["consumer", "add", "work", "ExchangeData", "--webhook", &url, "--retry", "10ms", "--api", &api];
    succeed(root.path(), &words).await;
    let ids: BTreeSet<String> = node.publish(0, 60, "durable").await.into_iter().collect();
    until("the breaker opens", async || {
        node.ask("/v1/subscriptions/work").await.filter(|one| one["breaker"] == "open")
    })
    .await;
    // Now and then it is tried, and the list says that.
    until("the list says so", async || {
        let listed = succeed(root.path(), &["consumer", "ls", "--api", &api]).await;
        both(&listed).contains("sink down").then_some(())
    })
    .await;
    let node = node.kill().start().await;
    *sink.works.lock().unwrap() = true;
    let took = || sink.took.lock().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    until("the sink has everything", async || (took() == ids).then_some(())).await;
    let one = until("everything is acknowledged", async || {
        node.ask("/v1/subscriptions/work").await.filter(|one| one["counts"]["acknowledged"] == 60)
    })
    .await;
    assert_eq!((&one["dead"], &one["breaker"]), (&json!(0), &json!("closed")));
    assert!(sink.took.lock().unwrap().values().all(|times| *times == 1));
}

#[tokio::test]
async fn a_dead_letter_outlives_a_kill_and_is_redriven_from_the_command_line() {
    let root = tempfile::tempdir().unwrap();
    let node = Home::new(root.path(), "a", "deliver").await.start().await;
    node.put("/v1/subscriptions/work", &json!({"from": "start", "max_attempts": 1})).await.unwrap();
    node.publish(0, 1, "durable").await;
    // The node speaks too: of itself.
    let trade = until("the trade comes", async || {
        let mut deliveries = fetch(&node, 1).await;
        deliveries.pop().filter(|delivery| delivery["message"]["message_type"] == "ExchangeData")
    })
    .await;
    let nack = json!({"nack": [{"position": trade["position"], "reason": "no such symbol"}]});
    assert_eq!(settle(&node, nack).await["dead"], 1);
    let node = node.kill().start().await;
    let (api, position) = (node.api(), trade["position"].to_string());
    let shown = succeed(root.path(), &["dlq", "show", "work", &position, "--api", &api]).await;
    assert!(both(&shown).contains("no such symbol"), "{}", both(&shown));
    let words = ["dlq", "redrive", "--subscription", "work", "--position", &position, "--api", &api];
    succeed(root.path(), &words).await;
    let again = run(root.path(), &[], &words).await;
    assert_eq!(again.status.code(), Some(1), "{}", both(&again));
    assert!(both(&again).contains("redriven or dropped"), "{}", both(&again));
    until("it comes again", async || {
        let deliveries = fetch(&node, 10).await;
        deliveries.into_iter().find(|one| one["position"] == trade["position"] && one["redelivered"] == true)
    })
    .await;
}
