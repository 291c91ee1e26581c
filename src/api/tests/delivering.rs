//! Durable subscriptions: fetched, settled, paused, over requests and WebSocket; dead letters.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::following::frame;
use super::rig::{Rig, envelope, now, raw};
use crate::types::{NetworkName, limits};
use crate::wire::Proof;

async fn fetch(rig: &Rig, name: &str, max: usize, wait_ms: u64) -> Vec<Value> {
    let body = json!({"max": max, "wait_ms": wait_ms});
    let (status, answer) = rig.post(&format!("/v1/subscriptions/{name}/fetch"), &body).await;
    assert_eq!(status, 200, "{answer}");
    answer["messages"].as_array().unwrap().clone()
}

async fn settle(rig: &Rig, name: &str, body: Value) -> Value {
    let (status, answer) = rig.post(&format!("/v1/subscriptions/{name}/settle"), &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

fn positions(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["position"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn what_is_acknowledged_is_done_and_the_rest_comes_again_marked() {
    let rig = Rig::start().await;
    let ids = rig.trades(0..5).await;
    let (status, made) = rig.put("/v1/subscriptions/a", &json!({"from": "start", "retry_ms": 1})).await;
    assert_eq!((status, &made["behind"], &made["breaker"]), (200, &json!(5), &json!("closed")));
    let first = fetch(&rig, "a", 3, 0).await;
    assert_eq!(positions(&first), [0, 1, 2]);
    assert_eq!(first[1]["message"]["id"], json!(ids[1]));
    assert_eq!((&first[0]["attempt"], &first[0]["redelivered"]), (&json!(1), &json!(false)));
    let nack = json!([{"position": 1, "reason": "not yet"}]);
    let settled = settle(&rig, "a", json!({"ack": [0, 2, 77], "nack": nack})).await;
    assert_eq!(settled, json!({"settled": 3, "dead": 0, "unknown": [77]}));
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        for message in fetch(&rig, "a", 10, 20_000).await {
            let again = message["position"] == 1;
            assert_eq!(
                (&message["redelivered"], &message["message"]["retry_count"]),
                (&json!(again), &json!(u8::from(again)))
            );
            seen.insert(message["position"].as_u64().unwrap());
        }
    }
    assert_eq!(seen, [1, 3, 4].into());
    assert_eq!(settle(&rig, "a", json!({"ack": [1, 3, 4]})).await["settled"], 3);
    assert!(fetch(&rig, "a", 10, 0).await.is_empty());
    let (_, state) = rig.get("/v1/subscriptions/a").await;
    assert_eq!((&state["counts"]["acknowledged"], &state["behind"]), (&json!(5), &json!(0)));
    rig.stop().await;
}

#[tokio::test]
async fn who_waits_gets_what_comes_and_two_workers_share() {
    let rig = Rig::start().await;
    let filter = json!({"kinds": ["Data/ExchangeData"]});
    assert_eq!(rig.put("/v1/subscriptions/a", &json!({"filter": filter})).await.0, 200);
    let (first, second, _) = tokio::join!(fetch(&rig, "a", 1, 20_000), fetch(&rig, "a", 1, 20_000), rig.trades(0..2));
    let both: BTreeSet<u64> = positions(&first).into_iter().chain(positions(&second)).collect();
    assert_eq!(both, [0, 1].into());
    // The filter stays.
    let other = json!({"filter": {"categories": ["Security"]}});
    assert_eq!(rig.put("/v1/subscriptions/a", &other).await.0, 422);
    rig.stop().await;
}

#[tokio::test]
async fn a_stop_pauses_and_a_resume_goes_on() {
    let rig = Rig::start().await;
    rig.trades(0..2).await;
    rig.put("/v1/subscriptions/a", &json!({"from": "start"})).await;
    fetch(&rig, "a", 1, 0).await;
    settle(&rig, "a", json!({"stop": {"position": 0, "reason": "the table is full"}})).await;
    let (_, answer) = rig.post("/v1/subscriptions/a/fetch", &json!({"wait_ms": 1})).await;
    assert_eq!(answer, json!({"messages": [], "paused": "the table is full"}));
    let resume = async {
        now(async { while rig.get("/v1/status").await.1["subscribers"] == 0 {} }).await;
        rig.post("/v1/subscriptions/a/resume", &json!({})).await
    };
    let (again, (status, _)) = tokio::join!(fetch(&rig, "a", 2, 20_000), resume);
    assert_eq!((status, positions(&again)[0]), (200, 0));
    let (_, paused) = rig.post("/v1/subscriptions/a/pause", &json!({"reason": "night"})).await;
    assert_eq!(paused["paused"], "night");
    rig.stop().await;
}

#[tokio::test]
async fn dead_letters_are_shown_proved_redriven_and_dropped() {
    let rig = Rig::start().await;
    let ids = rig.trades(0..4).await;
    rig.put("/v1/subscriptions/a", &json!({"from": "start"})).await;
    fetch(&rig, "a", 4, 0).await;
    let park = json!([{"position": 0, "reason": "no such symbol"}, {"position": 2, "disposition": "schema"}]);
    assert_eq!(settle(&rig, "a", json!({"ack": [1, 3], "park": park})).await["dead"], 2);
    let (_, page) = rig.get("/v1/dead-letters?subscription=a&limit=1").await;
    let first = &page["dead_letters"][0];
    assert_eq!((&first["reason"], &first["message"]), (&json!("no such symbol"), &json!(ids[0])));
    let (_, rest) = rig.get(&format!("/v1/dead-letters?after={}", page["next"].as_str().unwrap())).await;
    assert_eq!((&rest["dead_letters"][0]["disposition"], &rest["next"]), (&json!("schema"), &json!(null)));
    let (_, found) = rig.get("/v1/dead-letters/a/2").await;
    let proof: Proof = serde_json::from_value(found["proof"].clone()).unwrap();
    let network: NetworkName = found["network"].as_str().unwrap().parse().unwrap();
    assert_eq!(proof.verify(network.id()).unwrap().id.to_string(), ids[2]);
    assert_eq!(found["message"]["position"], 2);

    assert_eq!(rig.request(Method::DELETE, "/v1/subscriptions/a").send().await.unwrap().status(), 422);
    let one = json!({"subscription": "a", "position": 2});
    let mut dry = one.clone();
    dry["dry_run"] = json!(true);
    assert_eq!(rig.post("/v1/dead-letters/redrive", &dry).await.1["done"], 1);
    assert_eq!(rig.post("/v1/dead-letters/redrive", &one).await.1["done"], 1);
    assert_eq!(rig.post("/v1/dead-letters/redrive", &one).await.0, 404, "it is no dead letter any more");
    let again = fetch(&rig, "a", 4, 20_000).await;
    assert_eq!((positions(&again), &again[0]["redelivered"]), (vec![2], &json!(true)));
    settle(&rig, "a", json!({"ack": [2]})).await;
    assert_eq!(rig.post("/v1/dead-letters/redrive", &one).await.0, 404, "it was delivered");
    for wrong in [json!({}), json!({"all": true, "position": 1}), json!({"position": 1})] {
        assert_eq!(rig.post("/v1/dead-letters/drop", &wrong).await.0, 422, "{wrong}");
    }
    assert_eq!(rig.post("/v1/dead-letters/drop", &json!({"all": true})).await.1["done"], 1);
    assert_eq!(rig.get("/v1/dead-letters/a/0").await.0, 404);
    assert_eq!(rig.request(Method::DELETE, "/v1/subscriptions/a").send().await.unwrap().status(), 204);
    assert_eq!(rig.get("/v1/subscriptions").await.1, json!({"subscriptions": []}));
    rig.stop().await;
}

#[tokio::test]
async fn what_expires_while_it_waits_is_a_dead_letter() {
    let rig = Rig::start().await;
    let mut message = envelope(1);
    let soon = rig.state.wall().0 + 2_000;
    message["expires_at"] = json!(soon);
    assert_eq!(rig.post("/v1/messages", &message).await.0, 201);
    rig.put("/v1/subscriptions/a", &json!({"from": "start", "retry_ms": 1})).await;
    if positions(&fetch(&rig, "a", 1, 0).await).is_empty() {
        // This machine was too slow: it expired before it was found.
        return rig.stop().await;
    }
    let later = json!([{"position": 0, "after_ms": 2_100}]);
    settle(&rig, "a", json!({"nack": later})).await;
    let dead = async {
        while rig.get("/v1/dead-letters").await.1["dead_letters"][0]["disposition"] != "expired" {
            assert!(fetch(&rig, "a", 1, 100).await.is_empty());
        }
    };
    now(dead).await;
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_says_what_can() {
    let rig = Rig::start().await;
    assert_eq!(rig.post("/v1/subscriptions/none/fetch", &json!({})).await.0, 404);
    assert_eq!(rig.post("/v1/subscriptions/none/settle", &json!({"ack": [1]})).await.0, 404);
    assert_eq!(rig.get("/v1/subscriptions/none").await.0, 404);
    assert_eq!(rig.get("/v1/subscriptions/a%20b").await.0, 400);
    for (wrong, word) in [
        (json!({"max_open": 0}), "max_open is 0; use 1 to 10000"),
        (json!({"retries": 3}), "retries"),
        (json!({"filter": {"kinds": ["Nothing"]}}), "Nothing"),
        (json!({"sink": {"webhook": {"url": "ftp://x"}}}), "http://HOST/PATH"),
    ] {
        let (status, problem) = rig.put("/v1/subscriptions/a", &wrong).await;
        assert_eq!(status, 422, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    }
    assert_eq!(rig.put("/v1/subscriptions/a", &json!({"from": "yesterday"})).await.0, 400);
    assert_eq!(rig.put("/v1/subscriptions/a", &json!({})).await.0, 200);
    for wrong in [json!({"max": 0}), json!({"max": 1001}), json!({"wait_ms": 30_001})] {
        assert_eq!(rig.post("/v1/subscriptions/a/fetch", &wrong).await.0, 422, "{wrong}");
    }
    let many: Vec<u64> = (0..=limits::SETTLE_MESSAGES as u64).collect();
    assert_eq!(rig.post("/v1/subscriptions/a/settle", &json!({"ack": many})).await.0, 422);
    assert_eq!(rig.get("/v1/dead-letters?limit=0").await.0, 400);
    assert_eq!(rig.get("/v1/dead-letters?after=x").await.0, 400);
    assert_eq!(rig.get("/v1/dead-letters?disposition=tired").await.0, 400);
    rig.stop().await;
}

/// Writes one masked text frame of at most 125 bytes (RFC 6455, section 5.2), with a mask of zeros.
async fn say(socket: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    socket.write_all(&frame).await.unwrap();
}

async fn told(socket: &mut TcpStream) -> Value {
    loop {
        let (opcode, text) = frame(socket).await;
        if opcode == 1 {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[tokio::test]
async fn over_websocket_only_so_many_are_without_an_answer() {
    let rig = Rig::start().await;
    rig.trades(0..3).await;
    rig.put("/v1/subscriptions/a", &json!({"from": "start"})).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let ask = format!("GET /v1/subscriptions/a/ws?max=2 HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n");
    let (mut socket, head) = raw(&rig, &ask).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    for position in [0, 1] {
        let delivery = told(&mut socket).await;
        assert_eq!((&delivery["type"], &delivery["position"]), (&json!("delivery"), &json!(position)));
    }
    say(&mut socket, "{\"ack\": [0").await;
    assert_eq!(told(&mut socket).await["type"], "problem");
    // The third comes once one of the two is answered.
    say(&mut socket, "{\"ack\": [0]}").await;
    assert_eq!(told(&mut socket).await, json!({"type": "settled", "settled": 1, "dead": 0, "unknown": []}));
    assert_eq!(told(&mut socket).await["position"], 2);
    say(&mut socket, "{\"ack\": [1, 2]}").await;
    assert_eq!(told(&mut socket).await["settled"], 2);
    drop(socket);
    assert_eq!(rig.get("/v1/subscriptions/a").await.1["counts"]["acknowledged"], 3);
    rig.stop().await;
}
