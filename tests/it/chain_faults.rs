//! Four validators as processes, and what goes wrong: killed while transfers flow, the same money spent at two nodes,
//! logs that were cut or altered, other genesis files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use metanode::keys::{Identity, KeyFile, Protection};
use metanode::types::chain::ChainId;
use metanode::types::{NodeId, Tokens};
use metanode::wire::ledger::{Body, Order, Sealed, Transaction};
use serde_json::{Value, json};

use crate::chain::{agree, pay, start, validators};
use crate::net_common::{Home, Node, both, until};

/// Transfers while validators are killed.
const TRANSFERS: u64 = 40;

fn identity(home: &Home) -> Identity {
    let file = KeyFile::read(&home.dir.join("key.json")).unwrap();
    file.open(Protection::PlainAllowed, || panic!("the keys of these tests are plain")).unwrap()
}

fn transfer(chain: ChainId, from: &Identity, nonce: u64, to: NodeId, amount: u64) -> Sealed {
    let body = Body::Transfer { to, amount: Tokens(amount), memo: None };
    let transactions = vec![Transaction { fee: Tokens(2_000), body }];
    Order { chain, account: from.node_id(), nonce, transactions }.seal(from.signing_key()).unwrap()
}

async fn chain_of(node: &Node) -> ChainId {
    node.ask("/v1/chain").await.unwrap()["chain"].as_str().unwrap().parse().unwrap()
}

async fn submit(node: &Node, sealed: &Sealed) -> Option<Value> {
    node.post("/v1/chain/transactions", &json!({ "sealed": hex::encode(sealed.bytes()) })).await
}

/// At which height a node has a transaction final.
async fn height_of(node: &Node, sealed: &Sealed) -> Option<u64> {
    let id = sealed.ids()[0];
    node.ask(&format!("/v1/chain/transactions/{id}")).await?["height"].as_u64()
}

#[tokio::test]
async fn transfers_flow_while_one_validator_after_the_other_is_killed() {
    let root = tempfile::tempdir().unwrap();
    let homes = validators(root.path()).await;
    let mut nodes = start(&homes).await;
    let (payer, to) = (identity(&homes[0]), identity(&homes[1]).node_id());
    let chain = chain_of(&nodes[0]).await;
    let sent: Vec<Sealed> = (0..TRANSFERS).map(|nonce| transfer(chain, &payer, nonce, to, 3)).collect();
    let (mut finals, mut killed) = (BTreeMap::new(), 0);
    for (n, part) in sent.chunks(8).enumerate() {
        // Whoever is there takes them; who is killed has some that nobody else has yet.
        let victim = 1 + n % 3;
        for sealed in part {
            submit(&nodes[victim], sealed).await;
        }
        let home = nodes.remove(victim).kill();
        killed += 1;
        for sealed in part {
            submit(&nodes[0], sealed).await;
        }
        for sealed in part {
            let height = until("a transfer is final while one is away", || height_of(&nodes[0], sealed)).await;
            finals.insert(sealed.ids()[0], height);
        }
        let back = home.knowing(&nodes[0]).start().await;
        nodes.insert(victim, back);
    }
    assert!(killed >= 5 && agree(&nodes).await > 0);
    for node in &nodes {
        for sealed in &sent {
            assert_eq!(height_of(node, sealed).await, finals.get(&sealed.ids()[0]).copied(), "final at one, and here");
        }
        let status = node.ask("/v1/chain").await.unwrap();
        assert_eq!((&status["evidence"], &status["phase"]), (&0.into(), &"waiting".into()), "nobody voted twice");
    }
    let mut supplies = Vec::new();
    for node in &nodes {
        supplies.push(node.ask("/v1/chain/supply").await.unwrap());
    }
    assert!(supplies.windows(2).all(|pair| pair[0]["supply"] == pair[1]["supply"]), "{supplies:?}");
}

#[tokio::test]
async fn what_is_spent_at_two_nodes_at_once_is_spent_once() {
    let root = tempfile::tempdir().unwrap();
    let homes = validators(root.path()).await;
    let nodes = start(&homes).await;
    let (payer, chain) = (identity(&homes[0]), chain_of(&nodes[0]).await);
    for nonce in 0..4 {
        let one = transfer(chain, &payer, nonce, identity(&homes[1]).node_id(), 5);
        let other = transfer(chain, &payer, nonce, identity(&homes[2]).node_id(), 6);
        let taken = futures::join!(submit(&nodes[1], &one), submit(&nodes[3], &other));
        assert!(taken.0.is_some() || taken.1.is_some(), "nobody took either");
        until("one of them is final", async || {
            let found = futures::join!(height_of(&nodes[0], &one), height_of(&nodes[0], &other));
            found.0.or(found.1)
        })
        .await;
        agree(&nodes).await;
        for node in &nodes {
            let found = futures::join!(height_of(node, &one), height_of(node, &other));
            assert!(found.0.is_some() != found.1.is_some(), "one of the two, and not both: {found:?}");
        }
    }
}

/// The newest log of agreement in a home; none between two heights.
fn log_of(home: &Home) -> Option<std::path::PathBuf> {
    fs::read_dir(home.dir.join("agreement")).unwrap().map(|entry| entry.unwrap().path()).max()
}

/// A validator that was killed while its height was agreed on, so that there is a log to read.
async fn killed_with_a_log(root: &Path) -> Vec<Home> {
    let homes = validators(root).await;
    let mut nodes = start(&homes).await;
    pay(&homes[0], &nodes[0], &nodes[1]).await;
    agree(&nodes).await;
    // Two are gone: the others begin the next height, write down what they vote, and cannot end it.
    nodes.drain(2..).for_each(|node| drop(node.kill()));
    let sealed = transfer(chain_of(&nodes[0]).await, &identity(&homes[3]), 0, nodes[1].id().parse().unwrap(), 1);
    submit(&nodes[0], &sealed).await.unwrap();
    let is_whole = |log: &std::path::Path| fs::read(log).is_ok_and(|bytes| bytes.ends_with(b"end\n"));
    let said = async || log_of(&homes[0]).filter(|log| log.ends_with("2.log") && is_whole(log));
    until("the next height has a log", said).await;
    nodes.into_iter().for_each(|node| drop(node.kill()));
    homes
}

#[tokio::test]
async fn a_log_that_was_cut_is_gone_on_with_and_one_that_was_altered_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let homes = killed_with_a_log(root.path()).await;
    let log = log_of(&homes[0]).unwrap();
    let whole = fs::read(&log).unwrap();
    // As a crash leaves it: nothing was said yet that rests on the last frame.
    fs::write(&log, &whole[..whole.len() - 3]).unwrap();
    let node = homes[0].start().await;
    assert_eq!(node.ask("/v1/chain").await.unwrap()["height"], 2);
    node.kill();
    let mut altered = whole;
    altered[130] ^= 4;
    fs::write(&log, altered).unwrap();
    let said = both(&homes[0].fail(&[]).await);
    assert!(said.contains("2.log") && said.contains("refused") && said.contains("validator = false"), "{said}");
}

#[tokio::test]
async fn another_genesis_is_another_chain() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let homes = validators(root.path()).await;
    let nodes = start(&homes).await;
    pay(&homes[0], &nodes[0], &nodes[1]).await;
    let elsewhere = validators(other.path()).await;
    let foreign = transfer(elsewhere_chain(other.path()), &identity(&homes[0]), 1, nodes[1].id().parse().unwrap(), 1);
    assert_eq!(submit(&nodes[0], &foreign).await, None, "sealed for another chain");
    drop(elsewhere);
    agree(&nodes).await;
    nodes.into_iter().for_each(|node| drop(node.kill()));
    let genesis = other.path().join("genesis.toml").display().to_string();
    let said = both(&homes[0].clone().with(format!("chain.genesis=\"{genesis}\"")).fail(&[]).await);
    assert!(said.contains("chain"), "{said}");
    assert!(said.contains("another") || said.contains("genesis"), "a reason: {said}");
}

fn elsewhere_chain(root: &Path) -> ChainId {
    let text = fs::read_to_string(root.join("genesis.toml")).unwrap();
    metanode::ledger::Genesis::from_text(&text).unwrap().chain()
}
