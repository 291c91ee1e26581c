//! Real nodes for tests: processes on loopback, every wait bounded, none left behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::future::Future;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Longer than anything here takes on a slow machine under load.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until `look` finds something; fails with `what` at the deadline. The one place that polls.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let found = async {
        loop {
            looks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// The program, blind to the environment of whoever runs the tests.
fn program(home: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_metanode"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("METANODE_")) {
        command.env_remove(name);
    }
    command.env("HOME", home).stdin(Stdio::null());
    command
}

/// The same on a host of its own: a network namespace.
fn program_within(namespace: Option<&str>, home: &Path) -> std::process::Command {
    let inner = program(home);
    let Some(namespace) = namespace else { return inner };
    let mut command = std::process::Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(inner.get_program());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub async fn run(home: &Path, env: &[(&str, &str)], words: &[&str]) -> Output {
    let mut command = program(home);
    command.envs(env.iter().copied()).args(words);
    let ended = tokio::process::Command::from(command).kill_on_drop(true).output();
    let ended = tokio::time::timeout(DEADLINE, ended).await;
    ended.unwrap_or_else(|_| panic!("metanode {words:?} did not end within {DEADLINE:?}")).unwrap()
}

/// Runs the program to its good end.
pub async fn succeed(home: &Path, words: &[&str]) -> Output {
    let output = run(home, &[], words).await;
    assert!(output.status.success(), "metanode {words:?}: {}\n{}", output.status, both(&output));
    output
}

/// What the program said.
pub fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A port for TCP and UDP that nobody has and that no outgoing connection is given.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let n = u32::from(NEXT.fetch_add(1, Ordering::Relaxed)) + std::process::id() * 41;
        // Below those of `metanode testnet`, which begin at 16,000.
        let place = (Ipv4Addr::LOCALHOST, 10_000 + (n % 6_000) as u16);
        if TcpListener::bind(place).is_ok() && UdpSocket::bind(place).is_ok() {
            return place.1;
        }
    }
}

/// A node's directory and how it is started. Ports stay the same from one start to the next.
#[derive(Clone)]
pub struct Home {
    pub dir: PathBuf,
    pub set: Vec<String>,
    pub bootstrap: Vec<String>,
    /// The network namespace it runs in, if it is not that of the tests.
    pub namespace: Option<String>,
}

impl Home {
    /// A new node of `network` with a key that is not encrypted.
    pub async fn new(root: &Path, name: &str, network: &str) -> Home {
        let dir = root.join(name);
        let words = ["init", "--dir", dir.to_str().unwrap(), "--network", network, "--insecure-plain-key"];
        succeed(root, &words).await;
        let set = [
            format!("net.listen=[\"/ip4/127.0.0.1/tcp/{}\"]", free_port()),
            format!("api.listen=127.0.0.1:{}", free_port()),
            "net.limits.per_address=256".into(),
        ];
        Home { dir, set: set.into(), bootstrap: Vec::new(), namespace: None }
    }

    /// The same, in a network namespace.
    pub fn within(mut self, namespace: &str) -> Home {
        self.namespace = Some(namespace.into());
        self
    }

    /// The same, told of `bootstrap`.
    pub fn knowing(mut self, bootstrap: &Node) -> Home {
        self.bootstrap = vec![bootstrap.p2p()];
        self
    }

    /// The same with one more `--set`; the last of a key counts.
    pub fn with(mut self, set: String) -> Home {
        self.set.push(set);
        self
    }

    fn words(&self) -> Vec<String> {
        let config = self.dir.join("config.toml");
        let mut words = vec!["start".into(), "--dir".into(), self.dir.display().to_string()];
        words.extend(["--config".into(), config.display().to_string()]);
        words.extend(self.set.iter().flat_map(|set| ["--set".into(), set.clone()]));
        words.extend(self.bootstrap.iter().flat_map(|address| ["--bootstrap".into(), address.clone()]));
        words
    }

    /// Starts the node and waits until it listens.
    pub async fn start(&self) -> Node {
        let ready_file = self.dir.join("ready.json");
        let _ = fs::remove_file(&ready_file);
        let log = File::options().create(true).append(true).open(self.dir.join("log.txt")).unwrap();
        let mut command = program_within(self.namespace.as_deref(), &self.dir);
        command.args(self.words()).arg("--ready-file").arg(&ready_file);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut node = Node { child, home: self.clone(), ready: Value::Null, client: client() };
        node.ready = until("the node listens", || {
            let ended = node.child.try_wait().unwrap();
            assert!(ended.is_none(), "the node ended: {ended:?}\n{}", node.log());
            let ready = fs::read(&ready_file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            async { ready }
        })
        .await;
        node
    }

    /// Starts the node, which is to fail: its output.
    pub async fn fail(&self, env: &[(&str, &str)]) -> Output {
        let words = self.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run(&self.dir, env, &words).await
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap()
}

/// A node that runs; killed when it goes out of scope.
pub struct Node {
    child: Child,
    pub home: Home,
    ready: Value,
    client: reqwest::Client,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.lines().count().saturating_sub(25);
            let end: Vec<&str> = log.lines().skip(from).collect();
            eprintln!("--- {}\n{}", self.home.dir.display(), end.join("\n"));
        }
    }
}

impl Node {
    /// Its id.
    pub fn id(&self) -> String {
        self.ready["id"].as_str().unwrap().into()
    }

    /// Its first multiaddress.
    pub fn p2p(&self) -> String {
        self.ready["p2p"][0].as_str().unwrap().into()
    }

    /// What it has logged in all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.dir.join("log.txt")).unwrap_or_default()
    }

    /// The answer to a question over its API, if it is a good one.
    pub async fn ask(&self, path: &str) -> Option<Value> {
        let url = format!("{}{path}", self.ready["api"].as_str().unwrap());
        self.client.get(url).send().await.ok()?.error_for_status().ok()?.json().await.ok()
    }

    /// Its API's address.
    pub fn api(&self) -> String {
        self.ready["api"].as_str().unwrap().into()
    }

    /// The answer to a body that is posted, if it is a good one.
    pub async fn post(&self, path: &str, body: &Value) -> Option<Value> {
        self.sent(self.client.post(format!("{}{path}", self.api())), body).await
    }

    /// The same, put.
    pub async fn put(&self, path: &str, body: &Value) -> Option<Value> {
        self.sent(self.client.put(format!("{}{path}", self.api())), body).await
    }

    async fn sent(&self, request: reqwest::RequestBuilder, body: &Value) -> Option<Value> {
        request.json(body).send().await.ok()?.error_for_status().ok()?.json().await.ok()
    }

    /// A number or text of its status.
    pub async fn status(&self, key: &str) -> Value {
        self.ask("/v1/status").await.map(|mut status| status[key].take()).unwrap_or_default()
    }

    /// The ids of the peers it is connected with.
    pub async fn peers(&self) -> BTreeSet<String> {
        let answer = self.ask("/v1/peers").await.unwrap_or_default();
        let peers = answer.as_array().or_else(|| answer["peers"].as_array()).cloned().unwrap_or_default();
        let connected = peers.iter().filter(|peer| peer["connected"] == true);
        connected.map(|peer| peer["id"].as_str().unwrap().to_string()).collect()
    }

    /// Publishes so many trades, numbered from `first`, and waits for `ack`. Their ids.
    pub async fn publish(&self, first: usize, count: usize, ack: &str) -> Vec<String> {
        let trades: Vec<Value> = (first..first + count).map(trade).collect();
        let url = format!("{}/v1/messages?kind=Data/ExchangeData&ack={ack}", self.ready["api"].as_str().unwrap());
        let answer = self.client.post(url).json(&trades).send().await.unwrap();
        let (code, body) = (answer.status(), answer.text().await.unwrap());
        assert!(code.is_success(), "{code}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let ids: Vec<String> =
            answer["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_string()).collect();
        assert_eq!(ids.len(), count);
        ids
    }

    /// Publishes so many trades; none when the node refuses or is gone.
    pub async fn try_publish(&self, first: usize, count: usize) -> Option<Vec<String>> {
        let trades: Vec<Value> = (first..first + count).map(trade).collect();
        let url = format!("{}/v1/messages?kind=Data/ExchangeData&ack=durable", self.ready["api"].as_str().unwrap());
        let answer = self.client.post(url).json(&trades).send().await.ok()?.error_for_status().ok()?;
        let answer: Value = answer.json().await.ok()?;
        Some(answer["ids"].as_array()?.iter().filter_map(|id| id.as_str().map(String::from)).collect())
    }

    /// Waits until it ends by itself.
    pub async fn end(mut self) -> (Home, ExitStatus) {
        let status = until("the node ends", || {
            let ended = self.child.try_wait().unwrap();
            async move { ended }
        })
        .await;
        (self.home.clone(), status)
    }

    /// The ids of all trades it holds.
    pub async fn trades(&self) -> BTreeSet<String> {
        let (mut ids, mut from) = (BTreeSet::new(), 0);
        loop {
            let path = format!("/v1/messages?kind=Data/ExchangeData&limit=10000&from={from}");
            let Some(page) = self.ask(&path).await else { return ids };
            let messages = page["messages"].as_array().unwrap();
            ids.extend(messages.iter().map(|message| message["id"].as_str().unwrap().to_string()));
            let (next, end) = (page["next"].as_u64().unwrap(), page["end"].as_u64().unwrap());
            if next >= end || next == from {
                return ids;
            }
            from = next;
        }
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Home {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.home.clone()
    }

    /// Asks it to stop and waits for it.
    pub async fn stop(mut self) -> (Home, ExitStatus) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = until("the node stops", || {
            let ended = self.child.try_wait().unwrap();
            async move { ended }
        })
        .await;
        (self.home.clone(), status)
    }
}

fn trade(n: usize) -> Value {
    json!({
        "exchange": "test", "symbol": "AAA/BBB", "time_ms": 1_700_000_000_000_u64 + n as u64, "trade_id": n.to_string(),
        "side": if n.is_multiple_of(2) { "buy" } else { "sell" }, "price": 1.25, "amount": n + 1, "cost": 1.25 * (n + 1) as f64,
    })
}

/// Waits until all nodes hold the same.
pub async fn converge(nodes: &[&Node]) {
    until("all nodes hold the same", async || {
        let roots = futures::future::join_all(nodes.iter().map(|node| node.status("heads_root"))).await;
        (roots[0].is_string() && roots.iter().all(|root| *root == roots[0])).then_some(())
    })
    .await;
}

/// Waits until each node is connected with all others.
pub async fn meet(nodes: &[&Node]) {
    let ids: BTreeSet<String> = nodes.iter().map(|node| node.id()).collect();
    for node in nodes {
        let others: BTreeSet<String> = ids.iter().filter(|id| **id != node.id()).cloned().collect();
        until("all nodes are connected", async || (node.peers().await == others).then_some(())).await;
    }
}
