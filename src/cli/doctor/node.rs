//! What the node tells when it is asked, and what that means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use super::{Check, local};
use crate::config::Config;
use crate::types::limits;

/// A node that is not in trouble answers within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A bootstrap address answers a connection within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// A clock that is off by more than this is worth a look, milliseconds.
const CLOCK_WARN_MS: u64 = 500;

/// Of a node's status, what is judged.
#[derive(Clone, Debug, Deserialize)]
struct Status {
    id: String,
    network: String,
    peers: u64,
    uptime_s: u64,
    #[serde(default)]
    feeds_wanted: u64,
    #[serde(default)]
    bundles_held: u64,
    #[serde(default)]
    clock_offset_ms: Option<i64>,
    #[serde(default)]
    counters: Counters,
    #[serde(default)]
    firing_alerts: Vec<String>,
}

/// Of a node's counts, what is judged.
#[derive(Clone, Debug, Default, Deserialize)]
struct Counters {
    #[serde(default)]
    repairs_asked: u64,
    #[serde(default)]
    repairs_failed: u64,
}

/// Of a peer, what is judged.
#[derive(Clone, Debug, Default, Deserialize)]
struct Peer {
    id: String,
    connected: bool,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    banned_until_ms: Option<u64>,
    #[serde(default)]
    ban_reason: Option<String>,
    #[serde(default)]
    alike: Option<bool>,
}

/// A node, asked.
pub struct Node {
    client: reqwest::Client,
    api: String,
    status: Result<Status, String>,
    peers: Vec<Peer>,
}

impl Node {
    /// Asks the node at `api`; what it does not answer is what is found out.
    pub async fn ask(api: &str) -> anyhow::Result<Node> {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build();
        let client = client.context("cannot make an HTTP client")?;
        let api = api.trim_end_matches('/').to_string();
        let status = json(&client, format!("{api}/v1/status")).await;
        let status = status.and_then(|value| serde_json::from_value(value).map_err(|e| format!("no status: {e}")));
        let peers = json(&client, format!("{api}/v1/peers")).await.unwrap_or_default();
        let peers = peers.get("peers").cloned().unwrap_or(peers);
        Ok(Node { client, api, status, peers: serde_json::from_value(peers).unwrap_or_default() })
    }

    /// Whether anything came back.
    pub fn answers(&self) -> bool {
        self.status.is_ok()
    }

    /// All that can be said about it. `own_id`: whose key the configuration names.
    pub async fn checks(&self, config: Option<&Config>, own_id: Option<String>) -> Vec<Check> {
        let status = match &self.status {
            Ok(status) => status,
            Err(fault) => {
                let advice = "start the node with `metanode start`; if it runs, compare api.listen, or give --api URL";
                return vec![Check::fail("api", format!("{}: {fault}", self.api), advice)];
            }
        };
        let saw = format!("{} answers; up for {} s in the network {}", self.api, status.uptime_s, status.network);
        let mut checks = vec![Check::ok("api", saw), self.health("live", "livez").await];
        checks.push(self.health("ready", "readyz?verbose").await);
        checks.push(identity(status, config, own_id));
        checks.push(self.peers(status, config).await);
        checks.push(clock(status));
        checks.push(feeds(status));
        checks.push(heads(&self.peers));
        checks.push(bans(&self.peers, wall_ms()));
        checks.push(alerts(&status.firing_alerts));
        checks
    }

    async fn health(&self, name: &'static str, path: &str) -> Check {
        let answer = async {
            let answer = self.client.get(format!("{}/{path}", self.api)).send().await?;
            let good = answer.status().is_success();
            Ok::<_, reqwest::Error>((good, answer.status(), answer.text().await?))
        };
        match answer.await {
            Ok((true, _, text)) => Check::ok(name, told(&text)),
            Ok((false, code, text)) => Check::fail(
                name,
                format!("{code}\n{}", told(&text)),
                "what is not so is named; the node's log says why",
            ),
            Err(e) => Check::fail(name, chain(&e), "the node is overloaded or hangs; look at its log"),
        }
    }

    async fn peers(&self, status: &Status, config: Option<&Config>) -> Check {
        let known = self.peers.len();
        if status.peers > 0 {
            return Check::ok("peers", format!("connected with {} of {known} known", status.peers));
        }
        let bootstrap = config.map(|config| config.net.bootstrap.as_slice()).unwrap_or_default();
        let mut lines = vec![format!("none connected, {known} known")];
        for address in bootstrap {
            lines.push(format!("bootstrap {address}: {}", dial(address).await));
        }
        let remembered = self.peers.iter().flat_map(|peer| &peer.addresses).filter(|a| !bootstrap.contains(a));
        for address in remembered.take(8) {
            lines.push(format!("known address {address}: {}", dial(address).await));
        }
        let advice = match (config, bootstrap) {
            (Some(_), []) if known == 0 => {
                "it knows nobody: set net.bootstrap to an address that another node's `metanode start` prints"
            }
            _ => "the other nodes must run, listen on an address that this machine reaches, and be of the same network",
        };
        Check::fail("peers", lines.join("\n"), advice)
    }
}

/// The checks in an answer about health, a line each; the answer itself where there are none.
fn told(text: &str) -> String {
    let checks: Vec<Value> = serde_json::from_str::<Value>(text)
        .ok()
        .and_then(|mut answer| serde_json::from_value(answer.get_mut("checks")?.take()).ok())
        .unwrap_or_default();
    let line = |check: &Value| {
        let mark = if check["ok"] == true { "" } else { "not so: " };
        Some(format!("{mark}{}: {}", check["name"].as_str()?, check["detail"].as_str()?))
    };
    let lines: Vec<String> = checks.iter().filter_map(line).collect();
    if lines.is_empty() { text.trim().to_string() } else { lines.join("\n") }
}

fn identity(status: &Status, config: Option<&Config>, own_id: Option<String>) -> Check {
    if let Some(own) = own_id.filter(|own| *own != status.id) {
        let saw = format!("the API is that of {}, the key file is that of {own}", status.id);
        return Check::fail("identity", saw, "another node answers at this address; give the right --api or --config");
    }
    match config.filter(|config| config.network.as_str() != status.network) {
        Some(config) => {
            let saw = format!("it runs in the network {}, the configuration says {}", status.network, config.network);
            Check::warn("identity", saw, "restart the node for the configuration to count")
        }
        None => Check::ok("identity", format!("{} in the network {}", status.id, status.network)),
    }
}

fn clock(status: &Status) -> Check {
    let Some(offset) = status.clock_offset_ms else {
        return Check::ok("clock", "no peer to compare it with");
    };
    let side = if offset > 0 { "behind" } else { "ahead of" };
    let saw = format!("{} ms {side} the median of its peers", offset.unsigned_abs());
    let advice = "set this machine's clock by NTP (timedatectl status), or ask the peers about theirs";
    match offset.unsigned_abs() {
        ms if ms > limits::MAX_FUTURE.as_millis() as u64 => Check::fail(
            "clock",
            format!("{saw}; messages that far ahead are refused until their time has come"),
            advice,
        ),
        ms if ms > CLOCK_WARN_MS => Check::warn("clock", saw, advice),
        _ => Check::ok("clock", saw),
    }
}

fn feeds(status: &Status) -> Check {
    let Counters { repairs_asked, repairs_failed } = status.counters;
    let asked = format!("{repairs_asked} ranges asked of peers, {repairs_failed} in vain");
    if status.feeds_wanted == 0 {
        return Check::ok("feeds", format!("nothing missing; {asked}"));
    }
    let saw = format!(
        "{} feeds have something missing, {} bundles wait for those before them; {asked}",
        status.feeds_wanted, status.bundles_held
    );
    let advice = "run again in a few seconds: if the number does not fall, no connected peer has what is missing";
    Check::warn("feeds", saw, advice)
}

fn heads(peers: &[Peer]) -> Check {
    let connected = peers.iter().filter(|peer| peer.connected);
    let told: Vec<(&str, bool)> = connected.filter_map(|peer| Some((peer.id.as_str(), peer.alike?))).collect();
    let other: Vec<&str> = told.iter().filter(|(_, alike)| !alike).map(|(id, _)| *id).collect();
    match (told.len(), other.len()) {
        (0, _) => Check::ok("heads", "no peer has said yet what it holds"),
        (count, 0) => Check::ok("heads", format!("holds the same as its {count} peers")),
        (count, different) => {
            let saw = format!("{different} of {count} peers hold something else: {}", other.join(", "));
            let advice =
                "while messages are coming this is normal; in a quiet network run again, and see `feeds` above";
            Check::warn("heads", saw, advice)
        }
    }
}

fn bans(peers: &[Peer], now_ms: u64) -> Check {
    let line = |peer: &Peer| {
        let left = peer.banned_until_ms?.checked_sub(now_ms)? / 1000;
        Some(format!("{} for {left} s more: {}", peer.id, peer.ban_reason.as_deref().unwrap_or("no reason given")))
    };
    let lines: Vec<String> = peers.iter().filter_map(line).collect();
    match lines.len() {
        0 => Check::ok("bans", "none"),
        count => {
            let saw = format!("{count} peers\n{}", lines.join("\n"));
            Check::warn("bans", saw, "if the reason is no more, `metanode peer unban ID`")
        }
    }
}

fn alerts(firing: &[String]) -> Check {
    match firing {
        [] => Check::ok("alerts", "none fires"),
        some => Check::warn("alerts", some.join(", "), "`metanode alerts --firing` shows conditions and numbers"),
    }
}

/// Whether somebody takes a connection at a multiaddress; for TCP only.
async fn dial(address: &str) -> String {
    let Some((socket, true)) = local::socket(address) else {
        return "not tried from here (not TCP by IP address)".into();
    };
    match tokio::time::timeout(CONNECT_WITHIN, tokio::net::TcpStream::connect(socket)).await {
        Ok(Ok(_)) => "takes connections".into(),
        Ok(Err(e)) => format!("does not: {e}"),
        Err(_) => format!("no answer within {CONNECT_WITHIN:?}"),
    }
}

async fn json(client: &reqwest::Client, url: String) -> Result<Value, String> {
    let answer = client.get(url).send().await.map_err(|e| chain(&e))?;
    let answer = answer.error_for_status().map_err(|e| chain(&e))?;
    answer.json().await.map_err(|e| format!("no JSON: {}", chain(&e)))
}

/// An error and its causes; the client's own text stops before the one that tells.
fn chain(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn status() -> Status {
        Status {
            id: "me".into(),
            network: "local".into(),
            peers: 1,
            uptime_s: 3,
            feeds_wanted: 0,
            bundles_held: 0,
            clock_offset_ms: None,
            counters: Counters::default(),
            firing_alerts: Vec::new(),
        }
    }

    fn peer(id: &str, alike: bool) -> Peer {
        Peer { id: id.into(), connected: true, alike: Some(alike), ..Peer::default() }
    }

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        let cases = [
            (None, Outcome::Ok),
            (Some(-400), Outcome::Ok),
            (Some(501), Outcome::Warn),
            (Some(-15_001), Outcome::Fail),
        ];
        for (offset, expected) in cases {
            let check = clock(&Status { clock_offset_ms: offset, ..status() });
            assert_eq!(check.result, expected, "{check:?}");
        }
        assert!(clock(&Status { clock_offset_ms: Some(7), ..status() }).saw.contains("behind"));
    }

    #[test]
    fn a_node_that_holds_something_else_than_its_peers_is_warned_of() {
        assert_eq!(heads(&[]).result, Outcome::Ok);
        assert_eq!(heads(&[peer("a", true)]).result, Outcome::Ok);
        let check = heads(&[peer("a", true), peer("b", false)]);
        assert!(check.result == Outcome::Warn && check.saw == "1 of 2 peers hold something else: b", "{check:?}");
        let feeds = feeds(&Status { feeds_wanted: 2, ..status() });
        assert_eq!(feeds.result, Outcome::Warn);
    }

    #[test]
    fn bans_are_told_with_their_reason_while_they_last() {
        let banned = Peer { banned_until_ms: Some(9_000), ban_reason: Some("spam".into()), ..peer("a", true) };
        let check = bans(std::slice::from_ref(&banned), 4_000);
        assert!(check.result == Outcome::Warn && check.saw.contains("a for 5 s more: spam"), "{check:?}");
        assert_eq!(bans(&[banned], 10_000).result, Outcome::Ok);
    }

    #[test]
    fn an_answer_about_health_is_told_by_its_checks() {
        let text = r#"{"ready":false,"checks":[{"name":"store","ok":true,"detail":"healthy"},
            {"name":"clock","ok":false,"detail":"6 s off"}]}"#;
        assert_eq!(told(text), "store: healthy\nnot so: clock: 6 s off");
        assert_eq!(told("{\"alive\":true}\n"), "{\"alive\":true}");
    }

    #[test]
    fn an_api_of_another_node_is_a_failure() {
        assert_eq!(identity(&status(), None, Some("me".into())).result, Outcome::Ok);
        assert_eq!(identity(&status(), None, Some("you".into())).result, Outcome::Fail);
        assert_eq!(identity(&status(), Some(&Config::default()), None).result, Outcome::Ok);
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_fails_one_check() {
        let node = Node::ask("http://127.0.0.1:1/").await.unwrap();
        let checks = node.checks(None, None).await;
        assert!(!node.answers() && checks.len() == 1 && checks[0].result == Outcome::Fail, "{checks:?}");
        assert!(dial("/ip4/127.0.0.1/tcp/1").await.starts_with("does not"));
    }
}
