//! The API over a real node: a store on the disk, the owner's thread, a listener on loopback.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::cursor::{Cursor, Told};
use super::*;
use crate::driver::{Driver, Ended, NetCommand, ports};
use crate::feed::{Filter, Start, Stored};
use crate::node::{Ack, Answer, Call, Setup};
use crate::store::{Store, StoreOptions};
use crate::types::storage::{Batch, Key, Table, Txn, View};
use crate::types::{MessageId, NetworkName, NodeId, limits};
use crate::wire::{Draft, Kind, Payload, Proof, Slot};

/// Nothing here takes this long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with its API.
struct Rig {
    state: ApiState,
    address: SocketAddr,
    http: reqwest::Client,
    commands: mpsc::UnboundedReceiver<NetCommand>,
    stop: Option<oneshot::Sender<()>>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    node: Option<JoinHandle<Ended>>,
    store: Arc<Store>,
    _dir: TempDir,
}

impl Rig {
    async fn start() -> Rig {
        let dir = TempDir::new().unwrap();
        let options = StoreOptions { path: dir.path().join("store"), cache_bytes: 1 << 20, flush_every_ms: 500 };
        let store = Arc::new(Store::open(&options).unwrap());
        let network: NetworkName = "api-test".parse().unwrap();
        let setup = Setup {
            network: network.clone(),
            key: ed25519_dalek::SigningKey::from_bytes(&[7; 32]),
            entropy: 11,
            place: store.place(),
            bootstrap: Vec::new(),
            target_peers: 0,
            retention: Default::default(),
            registration: None,
        };
        let (ports, _inlet, commands, client, watch) = ports();
        let node = Driver::start(setup, store.clone(), ports).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = ApiState::new(client, watch, store.clone(), network);
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let server = tokio::spawn(serve(listener, state.clone(), shutdown));
        let (stop, node, http) = (Some(stop), Some(node), reqwest::Client::new());
        Rig { state, address, http, commands, stop, server, node, store, _dir: dir }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address)).timeout(PATIENCE)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(Method::POST, path).json(body)).await
    }

    async fn lines(&self, path: &str, body: impl Into<String>) -> (u16, Value) {
        let request = self.request(Method::POST, path).header("content-type", "application/x-ndjson");
        answer(request.body(body.into())).await
    }

    /// Publishes trades with these numbers.
    async fn trades(&self, numbers: std::ops::Range<u64>) -> Vec<String> {
        let lines: Vec<String> = numbers.map(|n| trade(n).to_string()).collect();
        let (status, answer) = self.lines("/v1/messages?kind=Data/ExchangeData&ack=written", lines.join("\n")).await;
        assert_eq!(status, 201, "{answer}");
        ids(&answer)
    }

    /// Publishes behind the API's back.
    async fn say(&self, payload: Payload) -> MessageId {
        let drafts = vec![Draft::new(&payload)];
        match self.state.client.call(Call::Publish { drafts, ack: Ack::Written }).await.unwrap() {
            Answer::Published { ids } => ids[0],
            other => panic!("{other:?}"),
        }
    }

    /// Follows as server-sent events.
    async fn follow(&self, query: &str, last: Option<&str>) -> Events {
        let mut request = self.request(Method::GET, &format!("/v1/subscribe{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        Events { response, text: String::new() }
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.server).await.unwrap().unwrap().unwrap();
        self.state.client.call(Call::Stop).await.unwrap();
        let node = self.node.take().unwrap();
        tokio::task::spawn_blocking(|| node.join().unwrap().unwrap()).await.unwrap();
    }
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let media = response.headers()["content-type"].to_str().unwrap().to_string();
    let expected = if status < 400 { "application/json" } else { "application/problem+json" };
    assert_eq!(media, expected, "{status}");
    let body: Value = response.json().await.unwrap();
    if status >= 400 {
        assert_eq!(body["status"], status);
        assert!(body["type"].as_str().unwrap().starts_with("urn:metanode:problem:"));
        assert!(!body["title"].as_str().unwrap().is_empty() && !body["detail"].as_str().unwrap().is_empty());
    }
    (status, body)
}

/// Server-sent events, as they come.
struct Events {
    response: reqwest::Response,
    text: String,
}

#[derive(Debug, PartialEq)]
struct Heard {
    event: String,
    id: String,
    data: Value,
}

impl Events {
    /// The next event; none when the stream has ended.
    async fn next(&mut self) -> Option<Heard> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_string(), rest.to_string());
                self.text = rest;
                let field = |name: &str| {
                    let found = block.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
                    found.unwrap_or_default().to_string()
                };
                if !field("data").is_empty() {
                    let data = serde_json::from_str(&field("data")).unwrap();
                    return Some(Heard { event: field("event"), id: field("id"), data });
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.unwrap().unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The trade ids of the next messages.
    async fn trades(&mut self, count: usize) -> Vec<String> {
        let mut trades = Vec::new();
        while trades.len() < count {
            let heard = self.next().await.unwrap();
            assert_eq!(heard.event, "message");
            trades.push(heard.data["payload"]["trade_id"].as_str().unwrap().to_string());
        }
        trades
    }
}

fn trade(number: u64) -> Value {
    json!({
        "exchange": "binance", "symbol": "XRP/ETH", "time_ms": 1_570_752_011_620_u64 + number,
        "trade_id": number.to_string(), "side": "sell", "price": 0.0014, "amount": 23.0, "cost": 0.0325,
    })
}

fn envelope(number: u64) -> Value {
    json!({"kind": "Data/ExchangeData", "payload": trade(number)})
}

fn payload(number: u64) -> Payload {
    Payload::from_json(Kind::ExchangeData, &trade(number)).unwrap()
}

fn measured() -> Payload {
    let samples = json!([{"name": "load_ratio", "metric_type": "gauge", "value": 0.5, "labels": {}}]);
    let body = json!({"service": "s", "start_ms": 1, "end_ms": 2, "samples": samples});
    Payload::from_json(Kind::Metrics, &body).unwrap()
}

fn ids(answer: &Value) -> Vec<String> {
    answer["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_string()).collect()
}

fn paths(answer: &Value) -> Vec<&str> {
    answer["faults"].as_array().unwrap().iter().map(|fault| fault["path"].as_str().unwrap()).collect()
}

async fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}

#[tokio::test]
async fn what_is_published_is_found_with_a_proof_that_holds() {
    let rig = Rig::start().await;
    let parent = rig.say(payload(0)).await;
    let mut message = envelope(1);
    message["priority"] = json!("High");
    message["destination"] = json!({"topic": "trades"});
    message["correlation_id"] = json!(parent.to_string());
    message["parent_id"] = json!(parent.to_string());
    message["expires_at"] = json!(4_000_000_000_000_u64);
    message["tags"] = json!(["a", "b"]);
    message["headers"] = json!({"trace": "1"});
    let (status, published) = rig.post("/v1/messages", &message).await;
    assert_eq!((status, &published["ack"], &published["count"]), (201, &json!("durable"), &json!(1)));

    let (status, found) = rig.get(&format!("/v1/messages/{}", ids(&published)[0])).await;
    assert_eq!(status, 200);
    let proof: Proof = serde_json::from_value(found["proof"].clone()).unwrap();
    let network: NetworkName = found["network"].as_str().unwrap().parse().unwrap();
    let proved = proof.verify(network.id()).unwrap();
    let shown = &found["message"];
    assert_eq!(shown["id"], proved.id.to_string());
    assert_eq!(shown["payload"], trade(1));
    for (name, expected) in [
        ("correlation_id", json!(parent.to_string())),
        ("parent_id", json!(parent.to_string())),
        ("category", json!("Data")),
        ("message_type", json!("ExchangeData")),
        ("priority", json!("High")),
        ("destination", json!({"topic": "trades"})),
        ("routing_path", json!([])),
        ("expires_at", json!(4_000_000_000_000_u64)),
        ("retry_count", json!(0)),
        ("signature", json!(hex::encode(proof.signed.signature.0))),
        ("encryption_key_id", json!(null)),
        ("checksum", json!(crate::wire::checksum(&proof.message))),
        ("position", json!(1)),
        ("sequence", json!(1)),
    ] {
        assert_eq!(shown[name], expected, "{name}");
    }
    let metadata = &shown["metadata"];
    assert_eq!(metadata["tags"], json!(["a", "b"]));
    assert_eq!(metadata["custom_headers"], json!({"trace": "1"}));
    assert_eq!(metadata["content_type"], "application/x-bincode");
    assert_eq!(metadata["compression"], "none");
    assert_eq!((&metadata["schema_version"], &metadata["encoding"]), (&json!(1), &json!("bincode")));
    assert_eq!(metadata["size_bytes"], proved.payload.len());
    assert_eq!(serde_json::to_value(Envelope::proved(&proof).unwrap()).unwrap()["payload"], trade(1));

    let (status, _) = rig.get("/v1/messages/018f0000-0000-7000-8000-000000000000").await;
    assert_eq!(status, 404);
    let (status, _) = rig.get("/v1/messages/nonsense").await;
    assert_eq!(status, 400);
    rig.stop().await;
}

#[tokio::test]
async fn arrays_lines_and_bare_payloads_are_published_in_order() {
    let rig = Rig::start().await;
    let (status, array) = rig.post("/v1/messages", &json!([envelope(0), envelope(1)])).await;
    assert_eq!((status, ids(&array).len()), (201, 2));
    let lines = format!("{}\n\n{}\r\n", envelope(2), envelope(3));
    assert_eq!(rig.lines("/v1/messages?ack=accepted", lines).await.0, 201);
    let bare = format!("{}\n{}", trade(4), trade(5));
    let query = "?kind=ExchangeData&priority=low&to=service:desk&tag=x,y&headers=%7B%22h%22:%22v%22%7D&ack=written";
    assert_eq!(rig.lines(&format!("/v1/messages{query}"), bare).await.0, 201);
    assert_eq!(rig.post("/v1/messages?kind=ExchangeData", &trade(6)).await.0, 201);
    assert_eq!(rig.post("/v1/messages?kind=ExchangeData", &json!([trade(7)])).await.0, 201);
    let by_names = json!({"category": "Data", "message_type": "ExchangeData", "payload": trade(8)});
    assert_eq!(rig.post("/v1/messages", &by_names).await.0, 201);

    let (_, page) = rig.get("/v1/messages?kind=ExchangeData").await;
    let messages = page["messages"].as_array().unwrap();
    let trades: Vec<u64> =
        messages.iter().map(|m| m["payload"]["trade_id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(trades, (0..9).collect::<Vec<_>>());
    assert_eq!(messages[4]["priority"], "Low");
    assert_eq!(messages[4]["destination"], json!({"service": "desk"}));
    assert_eq!(messages[5]["metadata"]["tags"], json!(["x", "y"]));
    assert_eq!(messages[5]["metadata"]["custom_headers"], json!({"h": "v"}));
    rig.stop().await;
}

#[tokio::test]
async fn more_than_one_call_takes_is_cut_into_several() {
    let rig = Rig::start().await;
    let count = limits::PUBLISH_BATCH as u64 + 10;
    let ids = rig.trades(0..count).await;
    assert_eq!(ids.len() as u64, count);
    assert!(ids.is_sorted());
    rig.stop().await;
}

#[tokio::test]
async fn all_faults_of_a_message_are_told_together() {
    let rig = Rig::start().await;
    let mut wrong = trade(1);
    wrong["price"] = json!(-1.0);
    wrong["side"] = json!("sideways");
    wrong.as_object_mut().unwrap().remove("amount");
    let message = json!({
        "kind": "Data/ExchangeData", "payload": wrong, "priority": "urgent", "destination": {"planet": "mars"},
        "correlation_id": "x", "expires_at": 5, "tags": ["t".repeat(limits::NAME_BYTES + 1)], "colour": "red",
    });
    let (status, answer) = rig.post("/v1/messages", &message).await;
    assert_eq!(status, 422);
    let told = paths(&answer);
    for path in [
        "/payload/price",
        "/payload/side",
        "/payload/amount",
        "/priority",
        "/destination",
        "/correlation_id",
        "/expires_at",
        "/tags",
        "/colour",
    ] {
        assert!(told.contains(&path), "{path} in {told:?}");
    }
    assert!(answer["faults"][0].get("line").is_none());
    assert!(answer["faults"].as_array().unwrap().iter().any(|f| f["class"] == "business"));

    for (message, path) in [
        (json!({"payload": {}}), "/kind"),
        (json!({"kind": "Data/ExchangeDate", "payload": {}}), "/kind"),
        (json!({"category": "Data", "payload": {}}), "/message_type"),
        (json!({"kind": "Data/ExchangeData", "category": "System", "payload": trade(1)}), "/category"),
        (json!({"kind": "Data/ExchangeData"}), "/payload"),
        (json!({"kind": 7, "payload": {}}), "/kind"),
        (json!("text"), ""),
    ] {
        let (status, answer) = rig.post("/v1/messages", &message).await;
        assert_eq!((status, paths(&answer)[0]), (422, path), "{message}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn faults_of_many_name_their_lines_and_nothing_is_published() {
    let rig = Rig::start().await;
    let lines = format!("{}\n{{\"exchange\": 1}}\n\nnot json\n{}", trade(1), trade(2));
    let (status, answer) = rig.lines("/v1/messages?kind=ExchangeData", lines).await;
    assert_eq!(status, 422);
    let mut told: Vec<u64> = answer["faults"].as_array().unwrap().iter().map(|f| f["line"].as_u64().unwrap()).collect();
    told.dedup();
    assert_eq!(told, [2, 4]);
    assert_eq!(answer["published"], 0);
    let (_, answer) = rig.post("/v1/messages", &json!([envelope(1), {}])).await;
    assert_eq!(answer["faults"][0]["line"], 2);

    let (_, answer) = rig.lines("/v1/messages?kind=ExchangeData", "[]\n".repeat(500)).await;
    assert_eq!(answer["faults"].as_array().unwrap().len(), 100);
    let (_, page) = rig.get("/v1/messages").await;
    assert_eq!(page["messages"], json!([]));
    rig.stop().await;
}

#[tokio::test]
async fn a_message_said_twice_under_one_key_is_one() {
    let rig = Rig::start().await;
    let mut message = envelope(1);
    message["idempotency_key"] = json!("order-1");
    let (_, first) = rig.post("/v1/messages", &message).await;
    let (_, second) = rig.post("/v1/messages", &message).await;
    let request = rig.request(Method::POST, "/v1/messages").json(&envelope(1)).header("idempotency-key", "order-1");
    let (_, third) = answer(request).await;
    assert_eq!((ids(&first), ids(&first)), (ids(&second), ids(&third)));
    let (_, page) = rig.get("/v1/messages").await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 1);

    let both = json!([envelope(1), envelope(2)]);
    let request = rig.request(Method::POST, "/v1/messages").json(&both).header("idempotency-key", "order-1");
    assert_eq!(answer(request).await.0, 400);
    rig.stop().await;
}

#[tokio::test]
async fn pages_lead_from_one_to_the_next() {
    let rig = Rig::start().await;
    rig.trades(0..10).await;
    let (_, first) = rig.get("/v1/messages?limit=4").await;
    assert_eq!((&first["next"], &first["end"], &first["missed"]), (&json!(4), &json!(10), &json!(0)));
    let (_, rest) = rig.get("/v1/messages?from=4&limit=100").await;
    assert_eq!((rest["messages"].as_array().unwrap().len(), &rest["next"]), (6, &json!(10)));
    for (from, count) in [("start", 10), ("end", 0), ("-3", 3), ("@1", 10), ("@4000000000000", 0), ("99", 0)] {
        let (_, page) = rig.get(&format!("/v1/messages?from={from}")).await;
        assert_eq!(page["messages"].as_array().unwrap().len(), count, "{from}");
    }
    let own = first["messages"][0]["source"].as_str().unwrap();
    for (query, count) in [
        ("category=Data".to_string(), 10),
        ("category=Economic,Security".into(), 0),
        ("kind=Data/ExchangeData,LogRecord".into(), 10),
        (format!("author={own}"), 10),
        ("tag=none".into(), 0),
        (format!("correlation={}", first["messages"][2]["id"].as_str().unwrap()), 1),
    ] {
        let (_, page) = rig.get(&format!("/v1/messages?{query}")).await;
        assert_eq!(page["messages"].as_array().unwrap().len(), count, "{query}");
    }
    for wrong in
        ["from=yesterday", "limit=0", "limit=100000", "kind=Nothing", "category=Date", "author=me", "colour=red"]
    {
        assert_eq!(rig.get(&format!("/v1/messages?{wrong}")).await.0, 400, "{wrong}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_conversation_is_a_tree() {
    let rig = Rig::start().await;
    let (_, first) = rig.post("/v1/messages", &envelope(0)).await;
    let root = ids(&first)[0].clone();
    let child_of = |parent: &str, n| {
        let mut message = envelope(n);
        message["correlation_id"] = json!(root);
        message["parent_id"] = json!(parent);
        message
    };
    let (_, second) = rig.post("/v1/messages", &child_of(&root, 1)).await;
    let child = ids(&second)[0].clone();
    let (_, third) = rig.post("/v1/messages", &child_of(&child, 2)).await;
    rig.post("/v1/messages", &envelope(3)).await;
    let (status, tree) = rig.get(&format!("/v1/conversations/{root}")).await;
    assert_eq!((status, tree["messages"].as_array().unwrap().len()), (200, 3));
    assert_eq!(tree["roots"], json!([root]));
    assert_eq!(tree["children"], json!({ root.clone(): [child.clone()], child: ids(&third) }));
    assert_eq!(tree["truncated"], false);
    let (_, cut) = rig.get(&format!("/v1/conversations/{root}?limit=2")).await;
    assert_eq!((cut["messages"].as_array().unwrap().len(), &cut["truncated"]), (2, &json!(true)));
    assert_eq!(rig.get("/v1/conversations/018f0000-0000-7000-8000-000000000000").await.0, 404);
    rig.stop().await;
}

#[tokio::test]
async fn events_come_from_the_start_then_live_and_resume_after_the_last() {
    let rig = Rig::start().await;
    rig.trades(0..3).await;
    let mut events = rig.follow("?from=start&category=Data", None).await;
    assert_eq!(events.trades(2).await, ["0", "1"]);
    let third = events.next().await.unwrap();
    assert_eq!((third.id.as_str(), &third.data["position"]), ("3", &json!(2)));
    rig.trades(3..5).await;
    assert_eq!(events.trades(2).await, ["3", "4"]);
    drop(events);
    let mut again = rig.follow("?from=start&category=Data", Some(&third.id)).await;
    assert_eq!(again.trades(2).await, ["3", "4"]);
    assert_eq!(rig.get("/v1/subscribe?from=x").await.0, 400);
    rig.stop().await;
}

#[tokio::test]
async fn streams_end_when_the_api_stops() {
    let rig = Rig::start().await;
    let mut events = rig.follow("?kind=ExchangeData", None).await;
    rig.trades(0..1).await;
    assert_eq!(events.trades(1).await, ["0"]);
    let (rest, ()) = tokio::join!(events.next(), rig.stop());
    assert_eq!(rest, None);
}

#[tokio::test]
async fn what_was_let_go_is_told() {
    let rig = Rig::start().await;
    rig.trades(0..4).await;
    rig.trades(4..6).await;
    let mut batch = Batch::default();
    let mut tx = Txn::new(rig.store.as_ref(), &mut batch);
    let bundles = Key::new(Table::Bundle, &[]);
    let mut first = None;
    rig.store.scan(&bundles, &bundles.after_prefix(), &mut |key, _| {
        first = Slot::from_bytes(&key[1..]);
        ControlFlow::Break(())
    });
    Stored::remove(first.unwrap(), &mut tx);
    rig.store.commit(batch).unwrap();
    let mut events = rig.follow("?from=0", None).await;
    let lag = events.next().await.unwrap();
    assert_eq!((lag.event.as_str(), lag.id.as_str(), &lag.data), ("lag", "4", &json!({"missed": 4})));
    assert_eq!(events.trades(2).await, ["4", "5"]);
    assert_eq!(rig.get("/v1/messages?from=0").await.1["missed"], 4);
    rig.stop().await;
}

#[tokio::test]
async fn a_live_reader_far_behind_goes_on_at_the_newest_and_is_told() {
    let rig = Rig::start().await;
    let mut slow = Cursor::open(rig.state.clone(), Filter::default(), Start::End, None, false).await.unwrap();
    slow.patience = Some(3);
    rig.trades(0..3).await;
    assert!(matches!(now(slow.next()).await, Some(Told::Message { next: 1, .. })));
    rig.trades(3..13).await;
    for next in [2, 3] {
        assert!(matches!(now(slow.next()).await, Some(Told::Message { next: n, .. }) if n == next));
    }
    assert_eq!(now(slow.next()).await, Some(Told::Lag { missed: 10, next: Some(13) }));
    rig.trades(13..14).await;
    assert!(matches!(now(slow.next()).await, Some(Told::Message { next: 14, .. })));

    let mut replay = Cursor::open(rig.state.clone(), Filter::default(), Start::Beginning, None, false).await.unwrap();
    for next in 1..=14 {
        assert!(matches!(now(replay.next()).await, Some(Told::Message { next: n, .. }) if n == next));
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_is_not_kept_is_told_to_those_who_are_level() {
    let rig = Rig::start().await;
    let filter = Filter { kinds: [Kind::Metrics].into(), ..Filter::default() };
    let mut cursor = Cursor::open(rig.state.clone(), filter, Start::End, None, true).await.unwrap();
    tokio::select! {
        biased;
        told = cursor.next() => panic!("{told:?}"),
        () = std::future::ready(()) => {}
    }
    rig.say(measured()).await;
    let Some(Told::Ephemeral { envelope }) = now(cursor.next()).await else { panic!("not ephemeral") };
    let envelope: Value = serde_json::from_str(&envelope).unwrap();
    assert_eq!((&envelope["message_type"], &envelope["position"]), (&json!("Metrics"), &json!(null)));

    // The channel holds so many; those who do not listen are told how many they missed.
    for _ in 0..limits::INPUT_QUEUE + 8 {
        rig.say(measured()).await;
    }
    let Some(Told::Lag { missed, next: None }) = now(cursor.next()).await else { panic!("no lag") };
    assert!(missed >= 8, "{missed}");
    rig.stop().await;
}

#[tokio::test]
async fn there_are_only_so_many_subscribers() {
    let rig = Rig::start().await;
    let seats = rig.state.seats.clone().acquire_many_owned(limits::SUBSCRIBERS as u32 - 1).await.unwrap();
    let events = rig.follow("", None).await;
    assert_eq!(rig.get("/v1/subscribe").await.0, 503);
    assert_eq!(rig.get("/v1/status").await.1["subscribers"], limits::SUBSCRIBERS);
    drop((events, seats));
    rig.stop().await;
}

/// Reads one unmasked frame of at most 64 KiB (RFC 6455, section 5.2): its opcode and its text.
async fn frame(socket: &mut TcpStream) -> (u8, String) {
    let mut head = [0; 2];
    now(socket.read_exact(&mut head)).await.unwrap();
    let size = match head[1] {
        126 => {
            let mut size = [0; 2];
            socket.read_exact(&mut size).await.unwrap();
            usize::from(u16::from_be_bytes(size))
        }
        size => usize::from(size),
    };
    let mut text = vec![0; size];
    socket.read_exact(&mut text).await.unwrap();
    (head[0] & 0x0F, String::from_utf8_lossy(&text).into())
}

async fn raw(rig: &Rig, request: &str) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(now(socket.read_u8()).await.unwrap());
    }
    (socket, String::from_utf8(head).unwrap())
}

#[tokio::test]
async fn frames_come_over_websocket() {
    let rig = Rig::start().await;
    rig.trades(0..2).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let ask = format!("GET /v1/ws?from=-1&category=Data HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n");
    let (mut socket, head) = raw(&rig, &ask).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let (opcode, text) = frame(&mut socket).await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((opcode, &told["type"], &told["next"]), (1, &json!("message"), &json!(2)));
    assert_eq!(told["message"]["payload"], trade(1));
    rig.trades(2..3).await;
    assert!(frame(&mut socket).await.1.contains("\"trade_id\":\"2\""));

    let foreign = format!("GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n{upgrade}\r\n");
    assert!(raw(&rig, &foreign).await.1.starts_with("HTTP/1.1 403"));
    assert_eq!(rig.get("/v1/ws").await.0, 400);
    let (closed, ()) = tokio::join!(frame(&mut socket), rig.stop());
    assert_eq!(closed.0, 8);
}

#[tokio::test]
async fn status_has_its_stable_shape() {
    let rig = Rig::start().await;
    rig.trades(0..5).await;
    let (status, state) = rig.get("/v1/status").await;
    assert_eq!(status, 200);
    for name in [
        "id",
        "network",
        "version",
        "uptime_s",
        "peers",
        "categories",
        "heads_root",
        "state_root",
        "height",
        "resident_bytes",
        "disk_bytes",
        "messages",
        "log_end",
        "counters",
    ] {
        assert!(state.get(name).is_some(), "{name} in {state}");
    }
    assert_eq!(state["network"], "api-test");
    assert_eq!(state["categories"]["Data"]["messages"], 5);
    assert!(state["categories"]["Data"]["bytes"].as_u64().unwrap() > 0);
    rig.stop().await;
}

#[tokio::test]
async fn peers_are_shown_banned_forgiven_and_dialled() {
    let mut rig = Rig::start().await;
    let peer = NodeId([9; 32]);
    assert_eq!(rig.get("/v1/peers").await, (200, json!({"peers": []})));
    assert_eq!(rig.get(&format!("/v1/peers/{peer}")).await.0, 404);
    assert_eq!(rig.get("/v1/peers/nobody").await.0, 400);
    assert_eq!(rig.post(&format!("/v1/peers/{peer}/unban"), &json!({})).await.0, 404);
    let (status, banned) = rig.post(&format!("/v1/peers/{peer}/ban"), &json!({"seconds": 60, "reason": "noise"})).await;
    assert_eq!((status, &banned["ban_reason"]), (200, &json!("noise")));
    let (status, free) = rig.post(&format!("/v1/peers/{peer}/unban"), &json!({})).await;
    assert_eq!((status, &free["banned_until_ms"]), (200, &json!(null)));
    let own = rig.get("/v1/status").await.1["id"].as_str().unwrap().to_string();
    assert_eq!(rig.post(&format!("/v1/peers/{own}/ban"), &json!({"seconds": 60})).await.0, 422);
    assert_eq!(rig.post(&format!("/v1/peers/{peer}/ban"), &json!({"seconds": 0})).await.0, 422);
    assert_eq!(rig.post(&format!("/v1/peers/{peer}/ban"), &json!({"minutes": 1})).await.0, 400);

    let address = format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}");
    let (status, _) = rig.post("/v1/dial", &json!({"address": address})).await;
    assert_eq!(status, 202);
    let dialled = loop {
        if let NetCommand::Dial { address, peer } = now(rig.commands.recv()).await.unwrap() {
            break (address, peer);
        }
    };
    assert_eq!(dialled, (address, Some(peer)));
    assert_eq!(rig.post("/v1/dial", &json!({"address": "localhost:1"})).await.0, 422);
    rig.stop().await;
}

#[tokio::test]
async fn nodes_and_topology_show_this_node_and_those_that_registered() {
    let rig = Rig::start().await;
    let own = rig.get("/v1/status").await.1["id"].clone();
    let registration = json!({
        "id": own, "node_type": "Validator", "layer": "BpiCore", "capabilities": ["validate"], "status": "active",
        "endpoints": [{"protocol": "http", "address": "http://127.0.0.1:1"}], "version": "1",
    });
    let message = json!({"kind": "System/NodeRegistration", "payload": registration});
    assert_eq!(rig.post("/v1/messages", &message).await.0, 201);
    let (_, nodes) = rig.get("/v1/nodes").await;
    let node = &nodes["nodes"][0];
    assert_eq!((&node["id"], &node["type"], &node["health"]), (&own, &json!("Validator"), &json!("healthy")));
    assert_eq!((&node["layer"], &node["trust_score"]), (&json!("BpiCore"), &json!(1.0)));
    let (status, topology) = rig.get("/v1/topology").await;
    assert_eq!((status, topology["nodes"].as_array().unwrap().len(), &topology["edges"]), (200, 1, &json!([])));
    rig.stop().await;
}

#[tokio::test]
async fn kinds_are_listed_with_their_schemas() {
    let rig = Rig::start().await;
    let (_, kinds) = rig.get("/v1/kinds").await;
    assert_eq!(kinds["kinds"].as_array().unwrap().len(), Kind::ALL.len());
    for path in ["ExchangeData", "Data%2FExchangeData", "Data/ExchangeData"] {
        let (status, kind) = rig.get(&format!("/v1/kinds/{path}")).await;
        assert_eq!((status, &kind["kind"]), (200, &json!("Data/ExchangeData")));
        assert!(kind["schema"]["properties"]["price"].is_object());
    }
    assert_eq!(rig.get("/v1/kinds/ExchangeDate").await.0, 404);
    rig.stop().await;
}

#[tokio::test]
async fn a_healthy_node_is_ready_and_a_stopped_one_is_not() {
    let mut rig = Rig::start().await;
    assert_eq!(rig.get("/livez").await, (200, json!({"alive": true})));
    assert_eq!(rig.get("/readyz").await, (200, json!({"ready": true})));
    let (_, ready) = rig.get("/readyz?verbose").await;
    let names: Vec<&str> = ready["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["store", "node", "clock", "feeds"]);

    rig.state.client.call(Call::Stop).await.unwrap();
    let node = rig.node.take().unwrap();
    tokio::task::spawn_blocking(|| node.join().unwrap().unwrap()).await.unwrap();
    let (status, problem) = rig.get("/readyz").await;
    assert_eq!((status, &problem["checks"][1]["ok"]), (503, &json!(false)));
    assert_eq!(rig.post("/v1/messages", &envelope(1)).await.0, 503);
    assert_eq!(rig.get("/livez").await.0, 200);
}

#[tokio::test]
async fn metrics_have_rooms_units_and_no_ids() {
    let rig = Rig::start().await;
    let id = rig.trades(0..3).await.remove(0);
    rig.get(&format!("/v1/messages/{id}")).await;
    let text = rig.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "metanode_feed_messages{category=\"Data\"} 3",
        "metanode_node_published_messages_total 3",
        "metanode_api_requests_total{method=\"GET\",route=\"/v1/messages/{id}\",status=\"200\"} 1",
        "metanode_api_latency_seconds_bucket{le=\"0.00005\",route=\"/v1/messages\"}",
        "metanode_store_disk_bytes ",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains(&id));
    rig.stop().await;
}

#[tokio::test]
async fn every_route_is_described_and_every_reference_leads_somewhere() {
    let rig = Rig::start().await;
    let (status, document) = rig.get("/openapi.json").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let described: Vec<(&str, &str)> = document["paths"].as_object().unwrap().iter().flat_map(operations).collect();
    let mut routes = vec![
        ("get", "/v1/messages"),
        ("post", "/v1/messages"),
        ("get", "/v1/messages/{id}"),
        ("get", "/v1/conversations/{id}"),
        ("get", "/v1/subscribe"),
        ("get", "/v1/ws"),
        ("get", "/v1/status"),
        ("get", "/v1/peers"),
        ("get", "/v1/peers/{id}"),
        ("post", "/v1/peers/{id}/ban"),
        ("post", "/v1/peers/{id}/unban"),
        ("post", "/v1/dial"),
        ("get", "/v1/nodes"),
        ("get", "/v1/topology"),
        ("get", "/v1/kinds"),
        ("get", "/v1/kinds/{kind}"),
        ("get", "/v1/kinds/{category}/{message_type}"),
        ("get", "/livez"),
        ("get", "/readyz"),
        ("get", "/metrics"),
        ("get", "/openapi.json"),
    ];
    for route in &routes {
        assert!(described.contains(route), "{route:?}");
    }
    routes.retain(|route| !described.contains(route));
    assert_eq!(described.len(), 21, "{described:?}");
    let mut references = Vec::new();
    collect(&document, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference}"));
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    assert!(document["components"]["schemas"]["Data.ExchangeData"]["properties"]["price"].is_object());
    rig.stop().await;
}

fn operations<'a>((path, item): (&'a String, &'a Value)) -> Vec<(&'a str, &'a str)> {
    item.as_object().unwrap().keys().map(|method| (method.as_str(), path.as_str())).collect()
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[tokio::test]
async fn strangers_large_bodies_and_unknown_routes_get_problems() {
    let rig = Rig::start().await;
    let get = |path| rig.request(Method::GET, path);
    assert_eq!(answer(get("/v1/status").header("host", "evil.example")).await.0, 403);
    assert_eq!(answer(get("/v1/status").header("origin", "http://evil.example")).await.0, 403);
    assert_eq!(answer(get("/v1/status").header("origin", format!("http://{}", rig.address))).await.0, 200);
    assert_eq!(rig.get("/v1/nothing").await.0, 404);
    assert_eq!(rig.post("/v1/status", &json!({})).await.0, 405);
    assert_eq!(
        answer(rig.request(Method::POST, "/v1/messages").body("x=1").header("content-type", "text/x")).await.0,
        415
    );
    for (body, query) in
        [("", ""), ("[]", ""), ("[", ""), ("{}", "?ack=maybe"), ("{}", "?priority=Low"), ("{}", "?kind=X")]
    {
        let request = rig.request(Method::POST, &format!("/v1/messages{query}")).body(body);
        assert_eq!(answer(request).await.0, 400, "{body} {query}");
    }
    let size = limits::API_BODY_BYTES + 1;
    let (_, head) =
        raw(&rig, &format!("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 413") && head.contains("application/problem+json"), "{head}");
    rig.stop().await;
}
