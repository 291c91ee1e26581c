//! Checkpoints that four validators endorse: made while something is written, checked with the genesis file alone.

use std::fs;

use serde_json::{Value, json};

use crate::chain::{agree, pay, start, validators};
use crate::net_common::{Home, Node, both, run, succeed, until};

async fn put(node: &Node, path: &str, value: Value) {
    let body = json!({ "value": value, "ack": "durable" });
    let wrote = node.put(&format!("/v1/state/prices/cell?path={path}"), &body).await;
    assert!(wrote.is_some(), "{path} cannot be written");
}

async fn same_state(nodes: &[Node]) {
    until("all retain the same", async || {
        let mut roots = Vec::new();
        for node in nodes {
            roots.push(node.ask("/v1/state").await?["root"].take());
        }
        roots.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
    })
    .await;
}

fn parsed(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {}", both(output)))
}

#[tokio::test]
async fn validators_endorse_a_checkpoint_and_anyone_checks_it_with_the_genesis() {
    let root = tempfile::tempdir().unwrap();
    let homes = validators(root.path()).await;
    let mut nodes = start(&homes).await;
    let genesis = root.path().join("genesis.toml").display().to_string();
    let (api, home) = (nodes[1].api(), homes[1].dir.display().to_string());
    let place = |name: &str| root.path().join(name).display().to_string();
    let (whole, early, short) = (place("whole"), place("early"), place("short"));
    let make =
        |to: &str| ["state", "checkpoint", to, "--endorsed", "--dir", &home, "--api", &api, "--json"].map(String::from);
    for n in 0..20 {
        put(&nodes[0], &format!("p/{n}"), json!(n)).await;
    }
    // Endorsements rest on a block.
    let refused = run(root.path(), &[], &make(&early).each_ref().map(String::as_str)).await;
    assert!(!refused.status.success() && both(&refused).contains("no block yet"), "{}", both(&refused));
    pay(&homes[0], &nodes[0], &nodes[1]).await;
    agree(&nodes).await;
    same_state(&nodes).await;
    // What was written is older than what is left to gossip, and something goes on being written.
    let written = std::time::Instant::now();
    until("five seconds have passed", async || {
        put(&nodes[2], "busy", json!("now")).await;
        (written.elapsed().as_secs() >= 6).then_some(())
    })
    .await;
    let made = parsed(&succeed(root.path(), &make(&whole).each_ref().map(String::as_str)).await);
    assert_eq!((&made["unproved"], &made["endorsement"]["checked"]), (&json!(0), &json!(false)));
    assert_eq!(made["collections"][0]["writes"], 21, "what is written now is in it, too");

    let verify = ["state", "verify-checkpoint", &whole, "--genesis", &genesis, "--json"];
    let verified = parsed(&succeed(root.path(), &verify).await);
    let endorsement = &verified["endorsement"];
    assert_eq!((&verified["sound"], &endorsement["checked"]), (&json!(true), &json!(true)));
    let (power, total) = (endorsement["power"].as_u64().unwrap(), endorsement["total"].as_u64().unwrap());
    assert!(3 * power > 2 * total, "{endorsement}");

    // Whoever joins can insist on it.
    let fresh = Home::new(root.path(), "fresh", "chain").await.start().await;
    let join =
        |from: &str| ["state", "join", from, "--genesis", &genesis, "--api", &fresh.api(), "--json"].map(String::from);
    let joined = parsed(&succeed(root.path(), &join(&whole).each_ref().map(String::as_str)).await);
    assert_eq!((&joined["refused"], &joined["endorsement"]["checked"]), (&json!([]), &json!(true)));
    assert_eq!(fresh.ask("/v1/state").await.unwrap()["collections"][0]["retained"], 21);

    // A file that was touched, another chain's genesis, and none at all.
    let file = root.path().join("whole").join("endorsement");
    let good = fs::read(&file).unwrap();
    let mut touched = good.clone();
    *touched.last_mut().unwrap() ^= 1;
    fs::write(&file, touched).unwrap();
    let refused = run(root.path(), &[], &verify).await;
    assert!(!refused.status.success() && both(&refused).contains("signature"), "{}", both(&refused));
    fs::write(&file, &good).unwrap();
    let (other, id) = (place("other.toml"), nodes[0].id());
    let validator = format!("{id}=5000000");
    succeed(root.path(), &["ledger", "genesis", "new", "--name", "other", "--validator", &validator, "--out", &other])
        .await;
    let refused = run(root.path(), &[], &["state", "verify-checkpoint", &whole, "--genesis", &other]).await;
    assert!(!refused.status.success() && both(&refused).contains("another chain"), "{}", both(&refused));
    fs::remove_file(&file).unwrap();
    let refused = run(root.path(), &[], &join(&whole).each_ref().map(String::as_str)).await;
    assert!(!refused.status.success() && both(&refused).contains("nobody endorses it"), "{}", both(&refused));
    succeed(root.path(), &["state", "verify-checkpoint", &whole]).await;

    // Two of four are not enough: the copy is there all the same, and says who is missing.
    let gone: Vec<String> = nodes.drain(2..).map(|node| (node.id(), node.kill()).0).collect();
    until("they are missed", async || (nodes[1].peers().await.len() == 1).then_some(())).await;
    let told = both(&run(root.path(), &[], &make(&short).each_ref().map(String::as_str)).await);
    assert!(told.contains("is not endorsed"), "{told}");
    assert!(gone.iter().all(|id| told.contains(&format!("{id} not_connected"))), "{told}");
    succeed(root.path(), &["state", "verify-checkpoint", &short]).await;
}
