//! Checkpoints of a running node: made, verified offline, joined by a node that never met the first.

use std::fs;

use serde_json::{Value, json};

use crate::net_common::{Home, Node, both, run, succeed, until};

async fn put(node: &Node, collection: &str, path: &str, value: Value) {
    let body = json!({ "value": value, "ack": "durable" });
    let wrote = node.put(&format!("/v1/state/{collection}/cell?path={path}"), &body).await;
    assert!(wrote.is_some(), "{path} cannot be written");
}

fn parsed(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {}", both(output)))
}

#[tokio::test]
async fn a_checkpoint_brings_the_state_to_a_node_that_never_met_the_first() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "copies").await.start().await;
    for n in 0..30u32 {
        let value: String = (0..40_000).map(|k| char::from(b'a' + ((n * 31 + k * k) % 23) as u8)).collect();
        put(&first, "large", &format!("p/{n}"), json!(value)).await;
        put(&first, "small", "counted", json!(n)).await;
    }
    let (dir, api) = (root.path().join("copy"), first.api());
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let copy = dir.to_str().unwrap().to_string();
    let home = root.path().join("a").to_str().unwrap().to_string();
    let make = words(&["state", "checkpoint", &copy, "--dir", &home, "--api", &api, "--json"]);
    let make: Vec<&str> = make.iter().map(String::as_str).collect();
    let made = parsed(&succeed(root.path(), &make).await);
    assert_eq!((&made["signer"], &made["unproved"]), (&json!(first.id()), &json!(0)));
    let listed = first.ask("/v1/state").await.unwrap();
    for (copied, info) in made["collections"].as_array().unwrap().iter().zip(listed["collections"].as_array().unwrap())
    {
        assert_eq!((&copied["name"], &copied["root"]), (&info["name"], &info["root"]));
        assert_eq!(copied["writes"], info["retained"]);
    }
    assert!(made["collections"][0]["chunks"].as_u64().unwrap() >= 2, "{made}");
    let again = run(root.path(), &[], &make).await;
    assert!(!again.status.success() && both(&again).contains("is a checkpoint already"), "{}", both(&again));
    let verify =
        ["state", "verify-checkpoint", &copy, "--network", "copies", "--signer", &first.id()].map(String::from);
    let verify: Vec<&str> = verify.iter().map(String::as_str).collect();
    succeed(root.path(), &verify).await;

    // One chunk is damaged: it is named, and the others are joined all the same.
    let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| !file.ends_with("manifest"));
    files.sort();
    let whole = fs::read(&files[0]).unwrap();
    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    fs::write(&files[0], &damaged).unwrap();
    let refused = run(root.path(), &[], &verify).await;
    assert!(!refused.status.success() && both(&refused).contains("is damaged"), "{}", both(&refused));
    let second = Home::new(root.path(), "b", "copies").await.start().await;
    let api = second.api();
    let join = ["state", "join", &copy, "--api", &api, "--json"];
    let part = run(root.path(), &[], &join).await;
    assert!(!part.status.success());
    let part = parsed(&part);
    assert_eq!((part["refused"].as_array().unwrap().len(), &part["chunks"]), (1, &json!(files.len() - 1)));
    fs::write(&files[0], &whole).unwrap();
    let joined = parsed(&succeed(root.path(), &join).await);
    assert_eq!(joined["refused"], json!([]));
    let wanted = first.status("state_root").await;
    until("the second has the state of the first", async || {
        (second.status("state_root").await == wanted).then_some(())
    })
    .await;
    let read = second.ask("/v1/state/small/cell?path=counted").await.unwrap();
    assert_eq!(read["register"]["value"], 29);

    // Of another network nothing is taken.
    let stranger = Home::new(root.path(), "c", "elsewhere").await.start().await;
    let api = stranger.api();
    let strange = run(root.path(), &[], &["state", "join", &copy, "--api", &api]).await;
    assert!(!strange.status.success() && both(&strange).contains("another network"), "{}", both(&strange));
}
