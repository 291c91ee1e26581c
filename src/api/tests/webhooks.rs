//! Webhooks: sinks that take, fail, hang, send elsewhere, and come back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::rig::{Rig, now};

/// What a sink answers.
#[derive(Clone, Copy)]
enum Mood {
    Good,
    Down,
    Refuses,
    Elsewhere,
    Hangs,
}

/// A webhook that notes what it took.
#[derive(Clone)]
struct Sink {
    mood: Arc<Mutex<Mood>>,
    /// By idempotency key: the attempts that came.
    heard: Arc<Mutex<BTreeMap<String, Vec<u32>>>>,
    url: String,
}

impl Sink {
    async fn start(mood: Mood) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap());
        let sink = Sink { mood: Arc::new(Mutex::new(mood)), heard: Arc::default(), url };
        let served = sink.clone();
        let app = Router::new()
            .fallback(move |headers: HeaderMap, body: String| async move { served.on(&headers, &body).await });
        tokio::spawn(async move { axum::serve(listener, app).await });
        sink
    }

    async fn on(&self, headers: &HeaderMap, body: &str) -> Response {
        let text = |name: &str| headers[name].to_str().unwrap().to_string();
        let envelope: Value = serde_json::from_str(body).unwrap();
        assert_eq!(envelope["id"], text("idempotency-key"));
        assert_eq!(envelope["position"].to_string(), text("metanode-position"));
        let attempt = text("metanode-attempt").parse().unwrap();
        self.heard.lock().unwrap().entry(text("idempotency-key")).or_default().push(attempt);
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Good => StatusCode::NO_CONTENT.into_response(),
            Mood::Down => (StatusCode::INTERNAL_SERVER_ERROR, "no database").into_response(),
            Mood::Refuses => (StatusCode::UNPROCESSABLE_ENTITY, "no such symbol").into_response(),
            Mood::Elsewhere => (StatusCode::FOUND, [(header::LOCATION, self.url.clone())]).into_response(),
            Mood::Hangs => std::future::pending().await,
        }
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn spec(&self, more: Value) -> Value {
        let mut spec =
            json!({"sink": {"webhook": {"url": self.url}}, "from": "start", "retry_ms": 1, "retry_max_ms": 20});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    }
}

/// Waits until a subscription is as `is` says.
async fn until(rig: &Rig, name: &str, is: impl Fn(&Value) -> bool) -> Value {
    now(async {
        loop {
            let (_, state) = rig.get(&format!("/v1/subscriptions/{name}")).await;
            if is(&state) {
                return state;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_sink_that_was_down_gets_everything_and_nothing_dies() {
    let rig = Rig::start().await;
    let ids = rig.trades(0..40).await;
    let sink = Sink::start(Mood::Down).await;
    assert_eq!(rig.put("/v1/subscriptions/hook", &sink.spec(json!({}))).await.0, 200);
    let state = until(&rig, "hook", |state| state["breaker"] == "open").await;
    assert!(state["probe_in_ms"].as_u64().unwrap() <= 1_000, "{state}");
    sink.set(Mood::Good);
    let state = until(&rig, "hook", |state| state["counts"]["acknowledged"] == 40).await;
    assert_eq!((&state["dead"], &state["breaker"]), (&json!(0), &json!("closed")));
    let heard = sink.heard.lock().unwrap().clone();
    assert!(ids.iter().all(|id| heard.contains_key(id)));
    assert!(heard.values().all(|attempts| attempts.iter().copied().eq(1..=attempts.len() as u32)), "{heard:?}");
    rig.stop().await;
}

#[tokio::test]
async fn what_a_sink_refuses_dies_after_its_attempts_and_is_delivered_when_redriven() {
    let rig = Rig::start().await;
    rig.trades(0..1).await;
    let sink = Sink::start(Mood::Refuses).await;
    rig.put("/v1/subscriptions/hook", &sink.spec(json!({"max_attempts": 3}))).await;
    until(&rig, "hook", |state| state["dead"] == 1).await;
    let (_, found) = rig.get("/v1/dead-letters/hook/0").await;
    let dead = &found["dead_letter"];
    assert_eq!((&dead["disposition"], &dead["attempts"]), (&json!("max_attempts"), &json!(3)));
    assert_eq!(dead["history"][2]["reason"], "answered 422 no such symbol");
    sink.set(Mood::Good);
    assert_eq!(rig.post("/v1/dead-letters/redrive", &json!({"subscription": "hook"})).await.1["done"], 1);
    until(&rig, "hook", |state| state["counts"]["acknowledged"] == 1).await;
    assert_eq!(sink.heard.lock().unwrap().values().next().unwrap(), &[1, 2, 3, 4]);
    rig.stop().await;
}

#[tokio::test]
async fn a_sink_that_hangs_or_sends_elsewhere_slows_only_itself() {
    let rig = Rig::start().await;
    rig.trades(0..100).await;
    let (hangs, elsewhere) = (Sink::start(Mood::Hangs).await, Sink::start(Mood::Elsewhere).await);
    let good = Sink::start(Mood::Good).await;
    rig.put("/v1/subscriptions/hangs", &hangs.spec(json!({"ack_wait_ms": 200}))).await;
    rig.put("/v1/subscriptions/elsewhere", &elsewhere.spec(json!({}))).await;
    rig.put("/v1/subscriptions/good", &good.spec(json!({}))).await;
    until(&rig, "good", |state| state["counts"]["acknowledged"] == 100).await;
    let state = until(&rig, "hangs", |state| state["breaker"] == "open").await;
    assert_eq!((&state["dead"], &state["counts"]["acknowledged"]), (&json!(0), &json!(0)));
    let state = until(&rig, "elsewhere", |state| state["breaker"] == "open").await;
    let heard = elsewhere.heard.lock().unwrap().clone();
    let once = heard.values().all(|attempts| attempts.iter().copied().eq(1..=attempts.len() as u32));
    assert!(state["dead"] == 0 && once, "redirects are not followed: {heard:?}");
    rig.stop().await;
}

#[tokio::test]
async fn a_webhook_ends_with_its_subscription_and_changes_with_it() {
    let rig = Rig::start().await;
    let (first, second) = (Sink::start(Mood::Good).await, Sink::start(Mood::Good).await);
    rig.put("/v1/subscriptions/hook", &first.spec(json!({}))).await;
    rig.trades(0..1).await;
    until(&rig, "hook", |state| state["counts"]["acknowledged"] == 1).await;
    rig.put("/v1/subscriptions/hook", &second.spec(json!({}))).await;
    rig.trades(1..2).await;
    until(&rig, "hook", |state| state["counts"]["acknowledged"] == 2).await;
    assert_eq!((first.heard.lock().unwrap().len(), second.heard.lock().unwrap().len()), (1, 1));
    rig.stop().await;
}
