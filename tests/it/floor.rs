//! Floors of real nodes: deletes go, a node that was away comes to the floor, and what it wrote meanwhile is in the logs.

use std::process::Command;

use serde_json::{Value, json};

use crate::net_common::{Home, Node, both, until};

async fn put(node: &Node, path: &str, value: Value) {
    let body = json!({ "value": value, "ack": "durable" });
    let wrote = node.put(&format!("/v1/state/shared/cell?path={path}"), &body).await;
    assert!(wrote.is_some(), "{path} cannot be written");
}

async fn delete(node: &Node, path: &str) {
    let change = json!({"changes": [{"path": path, "do": "delete"}]});
    assert!(node.post("/v1/state/shared/batch", &change).await.is_some(), "{path} cannot be deleted");
}

async fn value(node: &Node, path: &str) -> Value {
    node.ask(&format!("/v1/state/shared/cell?path={path}")).await.unwrap_or_default()["register"]["value"].clone()
}

async fn lost(node: &Node) -> Vec<(String, String)> {
    let log = node.ask("/v1/state/shared/conflicts").await.unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    log["conflicts"].as_array().into_iter().flatten().map(|one| (text(&one["path"]), text(&one["reason"]))).collect()
}

async fn alike(nodes: [&Node; 2]) {
    until("both have the same state and the same floor", async || {
        let (one, two) = (nodes[0].ask("/v1/state").await?, nodes[1].ask("/v1/state").await?);
        let come = one["collections"].as_array()?.iter().all(|c| c["floors"]["pending"].is_null());
        (one["root"] == two["root"] && come && one["collections"] == two["collections"]).then_some(())
    })
    .await;
}

/// `metanode state floor` at a node; whether it succeeded, and what it said.
fn floor(node: &Node, more: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_metanode"))
        .args(["state", "floor", "shared", "--api", &node.api()])
        .args(more)
        .output()
        .unwrap();
    (output.status.success(), both(&output))
}

#[tokio::test]
async fn deletes_go_and_a_node_that_was_away_comes_to_the_floor() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "floor").await.start().await;
    let other = Home::new(root.path(), "b", "floor").await.knowing(&first);
    // It has never met the first: it is not waited for.
    let away = Home { bootstrap: Vec::new(), ..other.clone() }.start().await;
    put(&away, "away", json!("mine")).await;
    for n in 0..5 {
        put(&first, &format!("kept/{n}"), json!(n)).await;
        put(&first, &format!("gone/{n}"), json!(n)).await;
        delete(&first, &format!("gone/{n}")).await;
    }
    let (done, told) = floor(&first, &["--older-than", "0s", "--dry-run"]);
    assert!(done && told.contains("5 deletes and removals would go, 5 writes would stay"), "{told}");
    assert!(first.ask("/v1/state/shared/floor").await.unwrap()["adopted"].is_null());
    let (done, told) = floor(&first, &["--older-than", "0s", "--json"]);
    let set: Value = serde_json::from_str(&told).unwrap();
    assert!(done && set["tombstones"] == 5 && set["floor"]["count"] == 5, "{told}");
    let (done, told) = floor(&first, &["--older-than", "1h"]);
    assert!(!done && told.contains("only rises"), "{told}");
    until("the deletes are gone", async || {
        let state = first.ask("/v1/state").await?;
        // Five writes, and the floor.
        (state["collections"][0]["retained"] == 6).then_some(())
    })
    .await;
    assert_eq!(first.ask("/v1/state/shared/check").await.unwrap()["sound"], true);
    drop(away);

    let second = other.start().await;
    alike([&first, &second]).await;
    assert_eq!(second.ask("/v1/state/shared/floor").await.unwrap()["adopted"], set["floor"]);
    let mine = vec![("away".to_string(), "floor".to_string())];
    until("what it wrote meanwhile is in both logs", async || {
        (lost(&first).await == mine && lost(&second).await == mine).then_some(())
    })
    .await;
    assert_eq!((value(&second, "away").await, value(&second, "gone/3").await), (Value::Null, Value::Null));
    let log = second.ask("/v1/state/shared/conflicts").await.unwrap();
    let again = json!({"path": "away", "version": log["conflicts"][0]["version"]});
    assert!(second.post("/v1/state/shared/restore", &again).await.is_some());
    until("what is restored is at both, and in no log", async || {
        let there = value(&first, "away").await == "mine" && value(&second, "away").await == "mine";
        (there && lost(&first).await.is_empty() && lost(&second).await.is_empty()).then_some(())
    })
    .await;

    // Who was heard from lately is waited for, once it is longer than a heartbeat or two that it held the same.
    alike([&first, &second]).await;
    let (name, home) = (second.id(), second.kill());
    put(&first, "kept/0", json!("later")).await;
    until("it says who is waited for", async || {
        let (done, told) = floor(&first, &["--older-than", "0s"]);
        (!done && told.contains(&name)).then_some(())
    })
    .await;
    let second = home.start().await;
    alike([&first, &second]).await;
    assert_eq!(value(&second, "kept/0").await, "later");
}
