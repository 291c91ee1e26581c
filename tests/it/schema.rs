//! Schemas across real nodes: registered at one, held against messages at all, and there after a kill.

use std::fs;

use serde_json::{Value, json};

use crate::net_common::{Home, Node, both, meet, run, succeed, until};

const SUBJECT: &str = "/v1/schemas/acme.orders";

fn words<'a>(node: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    ["schema", "--api", node].into_iter().chain(rest.iter().copied()).collect()
}

async fn history(node: &Node) -> Option<Value> {
    node.ask(SUBJECT).await.map(|mut history| {
        // When it came differs from node to node, and nothing else does.
        for list in ["versions", "passed"] {
            history[list].as_array_mut().unwrap().iter_mut().for_each(|one| one["arrived_ms"] = json!(null));
        }
        history
    })
}

async fn publish(node: &Node, version: u32, body: &str) -> Option<Value> {
    let payload = json!({
        "type_name": "acme.orders", "schema_version": version, "content_type": "application/json",
        "body": hex::encode(body),
    });
    node.post("/v1/messages", &json!({"kind": "External/Custom", "payload": payload})).await
}

#[tokio::test]
async fn every_node_has_the_same_registry_and_keeps_it() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "schemas").await.start().await;
    let second = Home::new(root.path(), "b", "schemas").await.knowing(&first).start().await;
    meet(&[&first, &second]).await;
    let file = root.path().join("order.json");
    let given = file.to_str().unwrap();
    fs::write(&file, r#"{"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}"#).unwrap();
    let (a, b) = (first.api(), second.api());
    let output = succeed(root.path(), &words(&a, &["add", "acme.orders", given, "--json"])).await;
    let added: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&added["version"], &added["compatibility"]), (&json!(1), &json!("backward")));

    // The other node learns of it, may not go on with it, and holds messages against it.
    until("the second node has version 1", async || history(&second).await.filter(|h| h["latest"] == 1)).await;
    let output = run(root.path(), &[], &words(&b, &["add", "acme.orders", given])).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(both(&output).contains("belongs to"), "{}", both(&output));
    assert!(publish(&second, 1, r#"{"id": 7}"#).await.is_some());
    assert!(publish(&second, 1, r#"{"id": "seven"}"#).await.is_none());

    fs::write(&file, r#"{"type": "object", "properties": {"id": {"type": ["integer", "string"]}}}"#).unwrap();
    let output = succeed(root.path(), &words(&a, &["check", "acme.orders", given])).await;
    assert!(both(&output).starts_with("compatible (backward)"), "{}", both(&output));
    let output = run(root.path(), &[], &words(&a, &["check", "acme.orders", given, "--compatibility", "full"])).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(both(&output).contains("/required: asks for id"), "{}", both(&output));
    succeed(root.path(), &words(&a, &["add", "acme.orders", given])).await;

    // Both are killed; a third comes late. All three have the same.
    let whole = until("version 2", async || history(&second).await.filter(|h| h["latest"] == 2)).await;
    let (first, second) = (first.kill().start().await, second.kill().start().await);
    let third = Home::new(root.path(), "c", "schemas").await.knowing(&first).start().await;
    for node in [&first, &second, &third] {
        until("the same history", async || history(node).await.filter(|h| *h == whole)).await;
    }
    assert!(publish(&third, 2, r#"{"id": "seven"}"#).await.is_some());
    assert!(publish(&third, 2, r#"{"id": null}"#).await.is_none());
    let output = succeed(root.path(), &words(&third.api(), &["history", "acme.orders"])).await;
    assert!(both(&output).contains("full") || both(&output).contains("backward"), "{}", both(&output));
    let output = succeed(root.path(), &words(&third.api(), &["ls"])).await;
    assert!(both(&output).contains("acme.orders"), "{}", both(&output));
    let output = succeed(root.path(), &words(&third.api(), &["show", "acme.orders", "1", "--json"])).await;
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["schema"]["required"], json!(["id"]));
}
