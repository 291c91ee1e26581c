//! Replicated state of real nodes: written on both sides, alike afterwards, and whoever lost is told.

use serde_json::{Value, json};

use crate::net_common::{Home, Node, both, converge, meet, run, succeed, until};

async fn put(node: &Node, path: &str, value: Value) {
    let body = json!({ "value": value, "ack": "durable" });
    let wrote = node.put(&format!("/v1/state/shared/cell?path={path}"), &body).await;
    assert!(wrote.is_some(), "{path} cannot be written");
}

async fn batch(node: &Node, changes: Value) {
    let wrote = node.post("/v1/state/shared/batch", &json!({ "changes": changes })).await;
    assert!(wrote.is_some(), "{changes} cannot be written");
}

async fn cells(node: &Node) -> Value {
    let mut listed = node.ask("/v1/state/shared/cells?limit=1000").await.unwrap_or_default();
    listed["cells"].take()
}

/// Waits until all have the same state, and that they see the same.
async fn alike(nodes: &[&Node]) {
    until("all have the same state", async || {
        let roots = futures::future::join_all(nodes.iter().map(|node| node.status("state_root"))).await;
        (roots[0].is_string() && roots.iter().all(|root| *root == roots[0])).then_some(())
    })
    .await;
    let seen = cells(nodes[0]).await;
    assert!(seen.as_array().is_some_and(|seen| !seen.is_empty()));
    for node in nodes {
        assert_eq!(cells(node).await, seen);
        let checked = node.ask("/v1/state/shared/check").await.unwrap();
        assert_eq!(checked["sound"], true, "{checked}");
    }
}

async fn lost(node: &Node) -> Vec<Value> {
    node.ask("/v1/state/shared/conflicts").await.unwrap()["conflicts"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_is_written_on_any_node_is_on_all() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "state").await.start().await;
    let second = Home::new(root.path(), "b", "state").await.knowing(&first).start().await;
    let third = Home::new(root.path(), "c", "state").await.knowing(&first).start().await;
    let nodes = [&first, &second, &third];
    meet(&nodes).await;
    for (n, node) in nodes.into_iter().enumerate() {
        for k in 0..20 {
            put(node, &format!("n{n}/k{k}"), json!(k)).await;
        }
        batch(node, json!([{"path": "visits", "do": {"count": 10}}, {"path": "seen", "do": {"add": n}}])).await;
    }
    converge(&nodes).await;
    alike(&nodes).await;
    let visits = second.ask("/v1/state/shared/cell?path=visits").await.unwrap();
    assert_eq!(visits["counter"], json!({"value": 30, "shares": 3}));
    // Who has seen a value can replace it, wherever it was written.
    put(&third, "n0/k0", json!("third")).await;
    put(&first, "n1/k0", json!("first")).await;
    let gone =
        second.post("/v1/state/shared/batch", &json!({"changes": [{"path": "n2", "do": "delete_prefix"}]})).await;
    assert!(gone.is_some());
    converge(&nodes).await;
    alike(&nodes).await;
    let seen = cells(&second).await;
    assert_eq!(seen.as_array().unwrap().len(), 42);
    for node in nodes {
        assert!(lost(node).await.is_empty(), "nobody wrote without having seen what was there");
    }
}

#[tokio::test]
async fn nodes_that_were_apart_agree_and_whoever_lost_is_told_and_restores() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "state").await.start().await;
    let second = Home::new(root.path(), "b", "state").await.knowing(&first).start().await;
    meet(&[&first, &second]).await;
    put(&first, "theme", json!("grey")).await;
    converge(&[&first, &second]).await;
    // Each alone: the first is killed with its own writes on the disk, then the other goes on.
    let second = second.kill();
    put(&first, "theme", json!("dark")).await;
    batch(&first, json!([{"path": "tags", "do": {"add": "x"}}, {"path": "n", "do": {"count": 1}}])).await;
    let first = first.kill();
    let second = second.start().await;
    put(&second, "theme", json!("light")).await;
    batch(&second, json!([{"path": "tags", "do": {"add": "y"}}, {"path": "n", "do": {"count": 2}}])).await;
    let first = first.start().await;
    converge(&[&first, &second]).await;
    alike(&[&first, &second]).await;
    for node in [&first, &second] {
        let lost = lost(node).await;
        assert_eq!(
            (lost.len(), &lost[0]["op"], &lost[0]["reason"]),
            (1, &json!({"set": {"value": "dark"}}), &json!("concurrent"))
        );
        let told = node.ask(&format!("/v1/state/changes?author={}", first.id())).await.unwrap();
        let losses = told["events"].as_array().unwrap().iter().filter(|event| event["event"] == "lost");
        assert_eq!(losses.count(), 1);
        let number = node.ask("/v1/state/shared/cell?path=n").await.unwrap();
        assert_eq!(number["counter"]["value"], 3);
    }
    let (api, version) = (first.api(), lost(&first).await[0]["version"].as_str().unwrap().to_string());
    succeed(root.path(), &["state", "restore", "shared", "theme", &version, "--api", &api]).await;
    converge(&[&first, &second]).await;
    alike(&[&first, &second]).await;
    let shown = succeed(root.path(), &["state", "get", "shared", "theme", "--api", &second.api()]).await;
    assert!(both(&shown).contains("\"dark\""), "{}", both(&shown));
    assert!(lost(&first).await.is_empty() && lost(&second).await.is_empty(), "it was dealt with, for all");
    let again = run(root.path(), &[], &["state", "restore", "shared", "theme", &version, "--api", &api]).await;
    assert_eq!(again.status.code(), Some(1), "{}", both(&again));
}

#[tokio::test]
async fn what_was_acknowledged_as_durable_stands_after_kills() {
    let root = tempfile::tempdir().unwrap();
    let mut home = Home::new(root.path(), "a", "state").await;
    for life in 0..3 {
        let node = home.start().await;
        for k in 0..10 {
            put(&node, &format!("{life}/{k}"), json!(k)).await;
            batch(&node, json!([{"path": "n", "do": {"count": 1}}])).await;
        }
        home = node.kill();
    }
    let node = home.start().await;
    assert_eq!(cells(&node).await.as_array().unwrap().len(), 31);
    let count = node.ask("/v1/state/shared/cell?path=n").await.unwrap();
    assert_eq!(count["counter"], json!({"value": 30, "shares": 3}), "one share for each life");
    let checked = succeed(root.path(), &["state", "check", "--api", &node.api()]).await;
    assert!(both(&checked).contains("sound"), "{}", both(&checked));
}
