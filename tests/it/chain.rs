//! Four validators as processes: transfers are final, whoever is killed, and nobody forgets what it voted.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::net_common::{Home, Node, both, run, succeed, until};

/// Four homes of validators of one chain, each with an account.
pub async fn validators(root: &Path) -> Vec<Home> {
    let mut homes = Vec::new();
    for n in 0..4 {
        homes.push(Home::new(root, &format!("v{n}"), "chain").await);
    }
    let genesis = root.join("genesis.toml").display().to_string();
    let mut words: Vec<String> =
        ["ledger", "genesis", "new", "--name", "it", "--out", &genesis].map(String::from).into();
    for home in &homes {
        let shown = succeed(&home.dir, &["key", "show", "--json", "--dir", home.dir.to_str().unwrap()]).await;
        let id: Value = serde_json::from_slice(&shown.stdout).unwrap();
        let id = id["node_id"].as_str().unwrap();
        words.extend(["--validator".into(), format!("{id}=10000000"), "--account".into(), format!("{id}=1000000")]);
    }
    succeed(root, &words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let with = |home: Home| home.with(format!("chain.genesis=\"{genesis}\"")).with("chain.cadence_ms=50".into());
    homes.into_iter().map(with).collect()
}

pub async fn start(homes: &[Home]) -> Vec<Node> {
    let mut nodes = vec![homes[0].start().await];
    for home in &homes[1..] {
        nodes.push(home.clone().knowing(&nodes[0]).start().await);
    }
    for node in &nodes {
        until("all are connected", || async { (node.peers().await.len() == 3).then_some(()) }).await;
    }
    nodes
}

/// Pays, and waits until it is final.
pub async fn pay(home: &Home, at: &Node, to: &Node) -> Value {
    let words = ["ledger", "transfer", "--json", "--amount", "7", "--timeout", "60"];
    let (to, api) = (to.id(), at.api());
    let more = ["--to", &to, "--api", &api, "--dir", home.dir.to_str().unwrap()];
    let paid = succeed(&home.dir, &[&words[..], &more[..]].concat()).await;
    serde_json::from_slice(&paid.stdout).unwrap()
}

pub async fn agree(nodes: &[Node]) -> u64 {
    until("all hold the same", || async {
        let mut found = Vec::new();
        for node in nodes {
            found.push((node.status("height").await, node.status("state_root").await));
        }
        found.windows(2).all(|pair| pair[0] == pair[1]).then(|| found[0].0.as_u64().unwrap())
    })
    .await
}

#[tokio::test]
async fn transfers_are_final_while_validators_are_killed_and_come_back() {
    let root = tempfile::tempdir().unwrap();
    let homes = validators(root.path()).await;
    let mut nodes = start(&homes).await;
    let paid = pay(&homes[0], &nodes[0], &nodes[1]).await;
    assert_eq!(paid["height"], 1);
    assert_eq!(agree(&nodes).await, 1);
    for round in 0..4 {
        let victim = (round + 1) % 4;
        nodes.remove(victim).kill();
        let (one, other) = (&nodes[0], &nodes[1]);
        let payer = if victim == 0 { &homes[1] } else { &homes[0] };
        pay(payer, one, other).await;
        let back = homes[victim].clone().knowing(&nodes[0]).start().await;
        nodes.insert(victim, back);
        assert!(agree(&nodes).await >= round as u64 + 2);
    }
    nodes.drain(..).for_each(|node| drop(node.kill()));
    let nodes = start(&homes).await;
    let before = agree(&nodes).await;
    pay(&homes[2], &nodes[3], &nodes[0]).await;
    assert!(agree(&nodes).await > before);
    let chain = nodes[0].ask("/v1/chain").await.unwrap();
    assert_eq!((&chain["evidence"], &chain["votes"]), (&0.into(), &true.into()), "nobody voted twice");
}

#[tokio::test]
async fn an_altered_log_of_agreement_is_refused_with_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let homes = validators(root.path()).await;
    let nodes = start(&homes).await;
    pay(&homes[0], &nodes[0], &nodes[1]).await;
    agree(&nodes).await;
    nodes.into_iter().for_each(|node| drop(node.kill()));
    let folder = homes[0].dir.join("agreement");
    let log = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    // The log of the height that is over goes; one of the next, by whoever has written something there, is read.
    let next = folder.join("2.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[100] ^= 1;
    fs::write(&next, bytes).unwrap();
    let said = both(&homes[0].fail(&[]).await);
    assert!(said.contains("2.log") && said.contains("refused"), "{said}");
    let follower = homes[0].clone().with("chain.validator=false".into()).start().await;
    let chain = follower.ask("/v1/chain").await.unwrap();
    assert_eq!(chain["votes"], false);
    let refused = run(
        &homes[1].dir,
        &[],
        &[
            "ledger",
            "transfer",
            "--to",
            &follower.id(),
            "--amount",
            "1",
            "--api",
            &follower.api(),
            "--dir",
            root.path().join("nobody").to_str().unwrap(),
        ],
    )
    .await;
    assert!(!refused.status.success(), "a payer without a key");
}
