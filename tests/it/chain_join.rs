//! A node comes late to a chain of processes: by its state, from a block that its operator trusts.

use serde_json::{Value, json};

use crate::chain::{pay, start, validators};
use crate::net_common::{Home, Node, both, until};

/// What a node says of the chain, all of it after one block.
async fn seen(node: &Node, accounts: &[String]) -> Option<Value> {
    let supply = node.ask("/v1/chain/supply").await?;
    let height = supply["height"].as_u64()?;
    let mut all = vec![supply];
    for account in accounts {
        let account = node.ask(&format!("/v1/chain/accounts/{account}")).await?;
        all.push(account);
    }
    let block = node.ask(&format!("/v1/chain/blocks/{height}")).await?;
    let same = all.iter().all(|answer| answer["height"] == height);
    same.then(|| json!({"height": height, "state": all, "block": block["id"], "root": block["state_root"]}))
}

#[tokio::test]
async fn a_follower_joins_by_a_trusted_block_and_has_the_same_supply_accounts_and_head() {
    let root = tempfile::tempdir().unwrap();
    let genesis = root.path().join("genesis.toml").display().to_string();
    let homes: Vec<Home> = validators(root.path()).await;
    let homes: Vec<Home> = homes.into_iter().map(|home| home.with("chain.heartbeat_ms=100".into())).collect();
    let nodes = start(&homes).await;
    pay(&homes[0], &nodes[0], &nodes[1]).await;
    let long = async |node: &Node| node.status("height").await.as_u64().filter(|height| *height >= 40);
    until("the chain is long", || long(&nodes[0])).await;
    let trusted = nodes[0].ask("/v1/chain/blocks/30").await.unwrap();
    let trusted = format!("chain.trusted={{ height = 30, hash = {} }}", trusted["id"]);
    let new = Home::new(root.path(), "late", "chain").await.knowing(&nodes[0]);
    let new = new.with(format!("chain.genesis=\"{genesis}\"")).with("chain.validator=false".into());
    let late = new.clone().with("chain.snapshot_behind=10".into()).with(trusted).start().await;
    until("it is in the middle of the chain", || long(&late)).await;
    assert!(late.ask("/v1/chain/blocks/5").await.is_none(), "it came by the state, not by blocks");
    let accounts: Vec<String> = nodes.iter().map(Node::id).collect();
    let alike = || async {
        let (one, other) = tokio::join!(seen(&nodes[2], &accounts), seen(&late, &accounts));
        let (one, other) = (one?, other?);
        (one["height"] == other["height"]).then_some((one, other))
    };
    let (one, other) = until("both are at one block", alike).await;
    assert_eq!(one, other);
    // It is a whole node: it passes on what its clients send, and proves it.
    let paid = pay(&homes[1], &late, &nodes[0]).await;
    until("the payment is there", || async {
        late.ask(&format!("/v1/chain/blocks/{}", paid["height"])).await.map(drop)
    })
    .await;
    // A block it has, unlike those before the state it came by.
    let wrong = format!("chain.trusted={{ height = {}, hash = \"{}\" }}", paid["height"], "5f".repeat(32));
    let told = format!("metanode ledger block {}", paid["height"]);
    let (home, _) = late.stop().await;
    let said = both(&home.with(wrong.clone()).fail(&[]).await);
    assert!(said.contains("chain.trusted") && said.contains(&told), "{said}");
    // Who comes to such a block by following the chain stops there.
    let other = Home::new(root.path(), "other", "chain").await.knowing(&nodes[0]);
    let other = other.with(format!("chain.genesis=\"{genesis}\"")).with("chain.validator=false".into());
    let ended = other.with("chain.snapshot_behind=0".into()).with(wrong).fail(&[]).await;
    let said = both(&ended);
    assert!(!ended.status.success() && said.contains("chain.trusted") && said.contains(&told), "{said}");
}
