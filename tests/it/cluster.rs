//! Networks of real processes: they find each other, lose nothing, and say what is wrong.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::net_common::{Home, both, converge, free_port, meet, run, succeed, until};

#[tokio::test]
async fn nodes_that_know_one_address_find_each_other() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "cluster").await.start().await;
    let second = Home::new(root.path(), "b", "cluster").await.knowing(&first).start().await;
    let third = Home::new(root.path(), "c", "cluster").await.knowing(&first).start().await;
    meet(&[&first, &second, &third]).await;
    converge(&[&first, &second, &third]).await;
}

#[tokio::test]
async fn all_hold_the_same_after_one_was_killed_in_the_middle() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "cluster").await.start().await;
    let second = Home::new(root.path(), "b", "cluster").await.knowing(&first).start().await;
    let third = Home::new(root.path(), "c", "cluster").await.knowing(&first).start().await;
    meet(&[&first, &second, &third]).await;
    let mut ids = BTreeSet::new();
    for batch in 0..20 {
        ids.extend(first.publish(batch * 10, 10, "written").await);
    }
    let killed = third.kill();
    for batch in 20..50 {
        ids.extend(first.publish(batch * 10, 10, "written").await);
    }
    let third = killed.start().await;
    assert_eq!(ids.len(), 500);
    for node in [&first, &second, &third] {
        until("every node holds all 500", async || (node.trades().await == ids).then_some(())).await;
    }
    converge(&[&first, &second, &third]).await;
}

#[tokio::test]
async fn what_was_acknowledged_as_durable_outlives_a_kill() {
    let root = tempfile::tempdir().unwrap();
    let mut home = Home::new(root.path(), "a", "cluster").await;
    let mut acknowledged = BTreeSet::new();
    for life in 0..4 {
        let node = home.start().await;
        let lost: Vec<String> = acknowledged.difference(&node.trades().await).cloned().collect();
        assert!(lost.is_empty(), "{} of {} lost in life {life}", lost.len(), acknowledged.len());
        acknowledged.extend(node.publish(life * 100, 25, "durable").await);
        home = node.kill();
    }
}

#[tokio::test]
async fn a_node_that_comes_late_gets_what_was_said_before() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "cluster").await.start().await;
    let second = Home::new(root.path(), "b", "cluster").await.knowing(&first).start().await;
    let mut ids: BTreeSet<String> = first.publish(0, 200, "written").await.into_iter().collect();
    ids.extend(second.publish(1000, 100, "written").await);
    let late = Home::new(root.path(), "c", "cluster").await.knowing(&first).start().await;
    until("the late one holds all 300", async || (late.trades().await == ids).then_some(())).await;
    converge(&[&first, &second, &late]).await;
}

#[tokio::test]
async fn nodes_of_different_networks_stay_strangers_and_say_why() {
    let root = tempfile::tempdir().unwrap();
    let ours = Home::new(root.path(), "a", "ours").await.start().await;
    let theirs = Home::new(root.path(), "b", "theirs").await.knowing(&ours).start().await;
    until("the log names both networks", async || {
        let log = theirs.log();
        (log.contains("another network") && log.contains("/metanode/ours/")).then_some(())
    })
    .await;
    // It dials on; a second refusal shows that the first did not make it a peer.
    until("it was sent away again", async || (theirs.log().matches("another network").count() > 1).then_some(())).await;
    assert_eq!((ours.peers().await.len(), theirs.peers().await.len()), (0, 0));
    assert_eq!((ours.status("peers").await, theirs.status("peers").await), (0.into(), 0.into()));
}

#[tokio::test]
async fn known_peers_are_found_again_without_bootstrap() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "cluster").await.start().await;
    let second = Home::new(root.path(), "b", "cluster").await.knowing(&first).start().await;
    meet(&[&first, &second]).await;
    let ((first, first_end), (mut second, second_end)) = (first.stop().await, second.stop().await);
    assert!(first_end.success() && second_end.success(), "{first_end} {second_end}");
    second.bootstrap.clear();
    let (first, second) = (first.start().await, second.start().await);
    meet(&[&first, &second]).await;
}

#[tokio::test]
async fn a_directory_is_enough_to_start() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "a", "cluster").await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = format!("api.listen={}", taken.local_addr().unwrap());
    // It gets as far as the port only if it read the configuration there, which accepts the key.
    let output = run(root.path(), &[], &["start", "--dir", home.dir.to_str().unwrap(), "--set", &busy]).await;
    assert!(both(&output).contains("API cannot listen"), "{}", both(&output));
}

#[tokio::test]
async fn a_port_in_use_is_a_clear_error() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "a", "cluster").await;
    let taken = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let port = taken.local_addr().unwrap().port();
    for (key, value) in
        [("net.listen", format!("[\"/ip4/127.0.0.1/tcp/{port}\"]")), ("api.listen", format!("127.0.0.1:{port}"))]
    {
        let output = home.clone().with(format!("{key}={value}")).fail(&[]).await;
        let text = both(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&port.to_string()) && text.contains("in use") && text.contains(key), "{text}");
    }
}

#[tokio::test]
async fn two_nodes_do_not_share_a_port() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "cluster").await.start().await;
    let address = first.p2p();
    let bare = address.split("/p2p/").next().unwrap();
    let second = Home::new(root.path(), "b", "cluster").await.with(format!("net.listen=[\"{bare}\"]"));
    let output = second.fail(&[]).await;
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains("net.listen"), "{}", both(&output));
}

#[tokio::test]
async fn a_store_in_use_is_a_clear_error() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "a", "cluster").await;
    let _running = home.start().await;
    let again = home
        .clone()
        .with(format!("net.listen=[\"/ip4/127.0.0.1/tcp/{}\"]", free_port()))
        .with(format!("api.listen=127.0.0.1:{}", free_port()));
    let output = again.fail(&[]).await;
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains("in use by another process"), "{}", both(&output));
}

#[tokio::test]
async fn a_wrong_passphrase_is_a_clear_error() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a");
    let right = [("METANODE_PASSPHRASE", "right")];
    let made = run(root.path(), &right, &["init", "--dir", dir.to_str().unwrap()]).await;
    assert!(made.status.success(), "{}", both(&made));
    let set = ["net.listen=[\"/ip4/127.0.0.1/tcp/0\"]".into(), "api.listen=127.0.0.1:0".into()];
    let home = Home { dir, set: set.into(), bootstrap: Vec::new(), namespace: None };
    let output = home.fail(&[("METANODE_PASSPHRASE", "wrong")]).await;
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains("passphrase is wrong"), "{}", both(&output));
}

/// A local network made by the program itself; whatever of it still runs is killed when it goes out of scope.
pub struct Network {
    root: tempfile::TempDir,
}

impl Network {
    pub fn new() -> Network {
        Network { root: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("net")
    }

    pub async fn json(&self, words: &[&str]) -> Value {
        let dir = self.dir();
        let words = [&["testnet"], words, &["--dir", dir.to_str().unwrap(), "--json"]].concat();
        serde_json::from_slice(&succeed(self.root.path(), &words).await.stdout).unwrap()
    }

    pub async fn refused(&self, words: &[&str]) -> String {
        let dir = self.dir();
        let words = [&["testnet"], words, &["--dir", dir.to_str().unwrap()]].concat();
        let output = run(self.root.path(), &[], &words).await;
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", both(&output));
        both(&output)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let homes = fs::read_dir(self.dir()).into_iter().flatten().flatten().map(|entry| entry.path());
        for home in homes.filter(|path| path.is_dir()) {
            if std::thread::panicking() {
                let log = fs::read_to_string(home.join("log.txt")).unwrap_or_default();
                let from = log.lines().count().saturating_sub(15);
                eprintln!("--- {}\n{}", home.display(), log.lines().skip(from).collect::<Vec<_>>().join("\n"));
            }
            if let Some(pid) = process(&home) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// The process of the node in `home`, if it runs.
fn process(home: &Path) -> Option<Pid> {
    let numbers = fs::read_dir("/proc").ok()?.flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == home.as_os_str().as_encoded_bytes())
    };
    numbers.filter(is).find_map(Pid::from_raw)
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn a_local_network_comes_up_is_watched_and_goes_down() {
    let network = Network::new();
    let up = network.json(&["up", "-n", "3", "--timeout", "50s"]).await;
    let nodes = up["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    assert_eq!(keys(&nodes[0]), ["api", "dir", "id", "name", "p2p", "pid"]);
    let file: Value = serde_json::from_slice(&fs::read(network.dir().join("testnet.json")).unwrap()).unwrap();
    assert_eq!(file["nodes"], up["nodes"]);
    assert!(up["connected_s"].as_f64().unwrap() <= up["converged_s"].as_f64().unwrap(), "{up}");

    // A node that is slow to answer is not up, for that once.
    let status = until("all of them answer", async || {
        Some(network.json(&["status"]).await).filter(|status| status["converged"] == true)
    })
    .await;
    assert_eq!(keys(&status), ["converged", "nodes"]);
    let expected = ["chain_root", "heads_root", "height", "messages", "name", "peers", "state", "state_root", "up"];
    assert_eq!(keys(&status["nodes"][0]), expected);
    assert!(
        status["nodes"].as_array().unwrap().iter().all(|node| node["peers"] == 2 && node["up"] == true),
        "{status}"
    );

    let waited = network.json(&["wait", "--converged", "--connected", "--timeout", "30s"]).await;
    assert_eq!((&waited["reached"], &waited["converged"]), (&true.into(), &true.into()));
    let again = network.json(&["up"]).await;
    assert_eq!((&again["started"], &again["nodes"]), (&Value::Array(vec![]), &up["nodes"]));
    assert!(network.refused(&["up", "-n", "4"]).await.contains("3 nodes"));

    let down = network.json(&["down", "--timeout", "40s"]).await;
    assert!(down["nodes"].as_array().unwrap().iter().all(|node| node["end"] == "stopped"), "{down}");
    assert!((0..3).all(|n| process(&network.dir().join(format!("node-{n}"))).is_none()));
    let status = network.json(&["status"]).await;
    assert!(status["converged"] == false && status["nodes"][0]["up"] == false, "{status}");
    network.json(&["down", "--purge"]).await;
    assert!(!network.dir().exists());
    assert!(network.refused(&["status"]).await.contains("no network"));
}

#[tokio::test]
async fn a_killed_node_is_missed_by_name_and_catches_up() {
    let network = Network::new();
    let up = network.json(&["up", "-n", "2", "--timeout", "50s"]).await;
    network.json(&["kill", "node-1"]).await;
    let text = network.refused(&["wait", "--converged", "--timeout", "0"]).await;
    assert!(text.contains("node-1 is down"), "{text}");
    assert!(network.refused(&["kill", "1"]).await.contains("not running"));
    let node = network.json(&["start", "node-1"]).await;
    assert_eq!((&node["id"], &node["p2p"]), (&up["nodes"][1]["id"], &up["nodes"][1]["p2p"]));
    network.json(&["wait", "--converged", "--connected", "--timeout", "50s"]).await;

    let joined = network.json(&["join"]).await;
    assert_eq!(joined["name"], "node-2");
    assert!(joined["connected_s"].as_f64() <= joined["synced_s"].as_f64(), "{joined}");
    assert_eq!(network.json(&["status"]).await["nodes"].as_array().unwrap().len(), 3);

    network.json(&["kill", "2", "--signal", "STOP"]).await;
    let text = network.refused(&["wait", "--converged", "--timeout", "0"]).await;
    assert!(text.contains("node-2 runs and does not answer"), "{text}");
    // One that is paused stops cleanly all the same.
    let down = network.json(&["down", "--timeout", "40s"]).await;
    assert!(down["nodes"].as_array().unwrap().iter().all(|node| node["end"] == "stopped"), "{down}");
}

#[tokio::test]
async fn a_network_that_cannot_come_up_says_which_node_and_why_and_leaves_nothing() {
    let network = Network::new();
    network.json(&["up", "-n", "2", "--timeout", "50s"]).await;
    let record: Value = serde_json::from_slice(&fs::read(network.dir().join("testnet.json")).unwrap()).unwrap();
    network.json(&["down"]).await;
    let api = record["nodes"][1]["api"].as_str().unwrap().trim_start_matches("http://").to_string();
    let _taken = TcpListener::bind(api).unwrap();
    let text = network.refused(&["up"]).await;
    assert!(text.contains("node-1 ended before it listened") && text.contains("in use"), "{text}");
    assert!((0..2).all(|n| process(&network.dir().join(format!("node-{n}"))).is_none()));
}

#[tokio::test]
async fn the_doctor_knows_a_healthy_node_and_one_that_is_down() {
    let network = Network::new();
    let up = network.json(&["up", "-n", "2", "--timeout", "50s"]).await;
    let config = network.dir().join("node-1/config.toml");
    let words = ["doctor", "--json", "--config", config.to_str().unwrap()];
    let healthy: Value = serde_json::from_slice(&succeed(network.root.path(), &words).await.stdout).unwrap();
    assert_eq!(healthy["ok"], true, "{healthy}");
    assert_eq!(keys(&healthy["checks"][0]), ["advice", "name", "result", "saw"]);
    let peers = healthy["checks"].as_array().unwrap().iter().find(|check| check["name"] == "peers").unwrap();
    assert_eq!((&peers["result"], &peers["saw"]), (&"ok".into(), &"connected with 1 of 1 known".into()));

    let by_api = ["doctor", "--api", up["nodes"][0]["api"].as_str().unwrap()];
    succeed(network.root.path(), &by_api).await;

    network.json(&["kill", "node-1"]).await;
    let output = run(network.root.path(), &[], &words).await;
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let down: Value = serde_json::from_slice(&output.stdout).unwrap();
    let failed: Vec<&str> = down["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["result"] == "fail")
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["api"], "{down}");
}
