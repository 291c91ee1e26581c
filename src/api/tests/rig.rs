//! A node with its API, for tests of both: a store on the disk, the owner's thread, a listener on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::api::{ApiState, serve};
use crate::consensus::Timeouts;
use crate::consensus::journal::Owner;
use crate::driver::{Driver, Ended, Journal, NetCommand, ports};
use crate::ledger::Genesis;
use crate::node::{Ack, Answer, Call, ChainSetup, Setup};
use crate::store::{Store, StoreOptions};
use crate::types::chain::Height;
use crate::types::{MessageId, NetworkName, NodeId};
use crate::wire::{Draft, Kind, Payload};

/// Nothing here takes this long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The node's key.
pub fn key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[7; 32])
}

/// A node with its API.
pub struct Rig {
    pub state: ApiState,
    pub address: SocketAddr,
    http: reqwest::Client,
    pub commands: mpsc::UnboundedReceiver<NetCommand>,
    stop: Option<oneshot::Sender<()>>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    pub node: Option<JoinHandle<Ended>>,
    pub store: Arc<Store>,
    _dir: TempDir,
}

impl Rig {
    pub async fn start() -> Rig {
        Rig::start_with(|state, _| state).await
    }

    /// With a chain of which the node is the only validator.
    pub async fn start_chain(genesis: Genesis) -> Rig {
        Rig::start_as(Some(genesis), |state, _| state).await
    }

    /// With an API that is not as usual.
    pub async fn start_with(change: impl FnOnce(ApiState, Arc<Store>) -> ApiState) -> Rig {
        Rig::start_as(None, change).await
    }

    async fn start_as(genesis: Option<Genesis>, change: impl FnOnce(ApiState, Arc<Store>) -> ApiState) -> Rig {
        let dir = TempDir::new().unwrap();
        let options = StoreOptions { path: dir.path().join("store"), cache_bytes: 1 << 20, flush_every_ms: 500 };
        let store = Arc::new(Store::open(&options).unwrap());
        let network: NetworkName = "api-test".parse().unwrap();
        let setup = Setup {
            network: network.clone(),
            key: key(),
            entropy: 11,
            place: store.place(),
            bootstrap: Vec::new(),
            target_peers: 0,
            scheduler: Default::default(),
            packing: Default::default(),
            lanes: Default::default(),
            strategy: Default::default(),
            role: Default::default(),
            retention: Default::default(),
            floor_waits: crate::types::limits::FLOOR_MEMBERS,
            registration: None,
            chain: None,
        };
        let journal = genesis.as_ref().map(|genesis| {
            let node = NodeId(key().verifying_key().to_bytes());
            let owner = Owner { chain: genesis.chain(), node, height: Height(1) };
            Journal::open(&dir.path().join("agreement"), owner).unwrap().0
        });
        let chain = genesis.map(|genesis| ChainSetup {
            genesis,
            validates: true,
            timeouts: Timeouts::default(),
            cadence: Duration::ZERO,
            heartbeat: None,
            log: Vec::new(),
            abstains: false,
            join: Default::default(),
        });
        let setup = Setup { chain, ..setup };
        let (ports, _inlet, commands, client, watch) = ports();
        let node = Driver::start(setup, journal, store.clone(), ports).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = change(ApiState::new(client, watch, store.clone(), network), store.clone());
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let server = tokio::spawn(serve(listener, state.clone(), shutdown));
        let (stop, node, http) = (Some(stop), Some(node), reqwest::Client::new());
        Rig { state, address, http, commands, stop, server, node, store, _dir: dir }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address)).timeout(PATIENCE)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn lines(&self, path: &str, body: impl Into<String>) -> (u16, Value) {
        let request = self.request(Method::POST, path).header("content-type", "application/x-ndjson");
        answer(request.body(body.into())).await
    }

    /// Publishes trades with these numbers.
    pub async fn trades(&self, numbers: std::ops::Range<u64>) -> Vec<String> {
        let lines: Vec<String> = numbers.map(|n| trade(n).to_string()).collect();
        let (status, answer) = self.lines("/v1/messages?kind=Data/ExchangeData&ack=written", lines.join("\n")).await;
        assert_eq!(status, 201, "{answer}");
        ids(&answer)
    }

    /// Publishes behind the API's back.
    pub async fn say(&self, payload: Payload) -> MessageId {
        let drafts = vec![Draft::new(&payload)];
        match self.state.client.call(Call::Publish { drafts, ack: Ack::Written }).await.unwrap() {
            Answer::Published { ids } => ids[0],
            other => panic!("{other:?}"),
        }
    }

    /// Follows as server-sent events.
    pub async fn follow(&self, query: &str, last: Option<&str>) -> Events {
        self.follow_at("/v1/subscribe", query, last).await
    }

    /// Follows something else.
    pub async fn follow_at(&self, path: &str, query: &str, last: Option<&str>) -> Events {
        let mut request = self.request(Method::GET, &format!("{path}{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        Events { response, text: String::new() }
    }

    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.server).await.unwrap().unwrap().unwrap();
        self.state.client.call(Call::Stop).await.unwrap();
        let node = self.node.take().unwrap();
        tokio::task::spawn_blocking(|| node.join().unwrap().unwrap()).await.unwrap();
    }
}

pub async fn answer(request: RequestBuilder) -> (u16, Value) {
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
pub struct Events {
    response: reqwest::Response,
    text: String,
}

#[derive(Debug, PartialEq)]
pub struct Heard {
    pub event: String,
    pub id: String,
    pub data: Value,
}

impl Events {
    /// The next event; none when the stream has ended.
    pub async fn next(&mut self) -> Option<Heard> {
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
    pub async fn trades(&mut self, count: usize) -> Vec<String> {
        let mut trades = Vec::new();
        while trades.len() < count {
            let heard = self.next().await.unwrap();
            assert_eq!(heard.event, "message");
            trades.push(heard.data["payload"]["trade_id"].as_str().unwrap().to_string());
        }
        trades
    }
}

pub fn trade(number: u64) -> Value {
    json!({
        "exchange": "binance", "symbol": "XRP/ETH", "time_ms": 1_570_752_011_620_u64 + number,
        "trade_id": number.to_string(), "side": "sell", "price": 0.0014, "amount": 23.0, "cost": 0.0325,
    })
}

pub fn envelope(number: u64) -> Value {
    json!({"kind": "Data/ExchangeData", "payload": trade(number)})
}

pub fn payload(number: u64) -> Payload {
    Payload::from_json(Kind::ExchangeData, &trade(number)).unwrap()
}

pub fn measured() -> Payload {
    let samples = json!([{"name": "load_ratio", "metric_type": "gauge", "value": 0.5, "labels": {}}]);
    let body = json!({"service": "s", "start_ms": 1, "end_ms": 2, "samples": samples});
    Payload::from_json(Kind::Metrics, &body).unwrap()
}

pub fn ids(answer: &Value) -> Vec<String> {
    answer["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_string()).collect()
}

pub fn paths(answer: &Value) -> Vec<&str> {
    answer["faults"].as_array().unwrap().iter().map(|fault| fault["path"].as_str().unwrap()).collect()
}

pub async fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}

pub async fn raw(rig: &Rig, request: &str) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(now(socket.read_u8()).await.unwrap());
    }
    (socket, String::from_utf8(head).unwrap())
}
