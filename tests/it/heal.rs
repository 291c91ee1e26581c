//! State outlives the bundles it was written by: real nodes that let go of them come to the same state all the same.

use serde_json::{Value, json};

use crate::net_common::{Home, Node, until};

async fn put(node: &Node, path: &str, value: Value) {
    let body = json!({ "value": value, "ack": "durable" });
    let wrote = node.put(&format!("/v1/state/shared/cell?path={path}"), &body).await;
    assert!(wrote.is_some(), "{path} cannot be written");
}

/// Waits until nothing is left of what was said about data.
async fn forgotten(node: &Node) {
    until("its bundles are let go", async || {
        let categories = node.status("categories").await;
        let data = categories.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case("data"))?.1.clone();
        (data["bytes"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_that_joins_when_the_bundles_are_gone_has_the_state_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let forgets = "retention.data.max_age_s=1".to_string();
    let first = Home::new(root.path(), "a", "heal").await.with(forgets.clone()).start().await;
    let other = Home::new(root.path(), "b", "heal").await.with(forgets).knowing(&first);
    let alone = Home { bootstrap: Vec::new(), ..other.clone() }.start().await;
    for n in 0..40 {
        put(&first, &format!("first/{n}"), json!(n)).await;
        put(&alone, &format!("second/{n}"), json!(n)).await;
        put(&alone, "both", json!(n)).await;
    }
    put(&first, "both", json!("first")).await;
    forgotten(&first).await;
    forgotten(&alone).await;
    drop(alone);
    let second = other.start().await;
    until("both have the same state", async || {
        let (one, two) = (first.status("state_root").await, second.status("state_root").await);
        (one.is_string() && one == two).then_some(())
    })
    .await;
    for node in [&first, &second] {
        let listed = node.ask("/v1/state/shared/cells?limit=1000").await.unwrap();
        assert_eq!(listed["cells"].as_array().unwrap().len(), 81);
        let checked = node.ask("/v1/state/shared/check").await.unwrap();
        assert_eq!(checked["sound"], true, "{checked}");
        assert!(node.status("counters").await["healed_changes"].as_u64() >= Some(40));
        let lost = node.ask("/v1/state/shared/conflicts").await.unwrap();
        assert_eq!(
            lost["conflicts"].as_array().unwrap().len(),
            1,
            "one of two who had not seen each other lost: {lost}"
        );
    }
}
