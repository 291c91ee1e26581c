//! Roots of replicated state in blocks: seen at a node, proved without one.

use serde_json::{Value, json};

use crate::chain::{agree, pay, start, validators};
use crate::net_common::{both, run, succeed, until};

#[tokio::test]
async fn a_block_carries_the_root_of_a_collection_and_anyone_can_check_it() {
    let root = tempfile::tempdir().unwrap();
    let homes = validators(root.path()).await;
    let nodes = start(&homes).await;
    let wrote = nodes[0].put("/v1/state/settings/cell?path=ui/theme", &json!({"value": "dark"})).await;
    assert!(wrote.is_some(), "the write is taken");
    // Whoever makes the next blocks has the write, or will have it for one of them.
    let mut height = Value::Null;
    let mut block = Value::Null;
    while block["anchors"].as_array().is_none_or(Vec::is_empty) {
        height = pay(&homes[1], &nodes[1], &nodes[2]).await["height"].take();
        block =
            until("the block is there", || async { nodes[3].ask(&format!("/v1/chain/blocks/{height}")).await }).await;
    }
    assert_eq!(block["anchors"][0]["collection"], "settings");
    agree(&nodes).await;
    let (file, genesis) = (root.path().join("state.json"), root.path().join("genesis.toml"));
    let (file, genesis, api) = (file.display().to_string(), genesis.display().to_string(), nodes[3].api());
    let height = height.to_string();
    let shown = both(&succeed(root.path(), &["ledger", "block", &height, "--api", &api]).await);
    assert!(shown.contains("anchor  settings"), "{shown}");
    succeed(root.path(), &["ledger", "proof", "--anchors", &height, "--out", &file, "--api", &api]).await;
    let verified = succeed(root.path(), &["ledger", "verify", &file, "--genesis", &genesis, "--json"]).await;
    let told: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!((&told["valid"], &told["block"], &told["anchors"]), (&true.into(), &block["id"], &block["anchors"]));
    let altered = std::fs::read_to_string(&file).unwrap().replace("\"settings\"", "\"others\"");
    std::fs::write(&file, altered).unwrap();
    let refused = run(root.path(), &[], &["ledger", "verify", &file, "--genesis", &genesis]).await;
    assert!(!refused.status.success() && both(&refused).contains("anchors"), "{}", both(&refused));
}
