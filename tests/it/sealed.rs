//! Messages sealed for one reader: nobody else reads them, on no disk and over no API, and the reader still does after a
//! kill and after its key was replaced.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::net_common::{Home, Node, both, meet, run, succeed, until};

const SECRET: &str = "the harbour opens at a quarter past four";

fn notice(text: &str) -> String {
    json!({
        "channel": "console", "recipients": ["desk"], "severity": "info", "subject": "for one reader", "text": text,
    })
    .to_string()
}

/// The key that `node` knows of `reader`.
async fn key_of(node: &Node, reader: &str) -> Option<Value> {
    let keys = node.ask("/v1/keys").await?;
    let mut keys = keys["keys"].as_array()?.iter();
    keys.find(|key| key["node"] == reader).map(|key| key["key_id"].clone())
}

async fn seal(root: &Path, from: &Node, to: &str, text: &str) -> String {
    let (api, payload) = (from.api(), notice(text));
    let words = ["pub", "--api", &api, "Notification", "--sealed", "--to", to, "--json", &payload];
    let output = succeed(root, &words).await;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["first_id"].as_str().unwrap().into()
}

async fn read(node: &Node, id: &str) -> Value {
    let found = until("the message is here", async || node.ask(&format!("/v1/messages/{id}")).await).await;
    found["message"].clone()
}

fn holds(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() { holds(&path, text) } else { memory(&fs::read(&path).unwrap_or_default(), text) }
    })
}

fn memory(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn only_the_reader_reads_what_was_sealed_for_it() {
    let root = tempfile::tempdir().unwrap();
    let author = Home::new(root.path(), "a", "sealed").await.start().await;
    let reader = Home::new(root.path(), "b", "sealed").await.knowing(&author).start().await;
    let third = Home::new(root.path(), "c", "sealed").await.knowing(&author).start().await;
    meet(&[&author, &reader, &third]).await;
    let to = reader.id();
    let first_key = until("the reader's key is known", async || key_of(&author, &to).await).await;
    let id = seal(root.path(), &author, &to, SECRET).await;
    // Whoever follows from the beginning has it before the one in the open.
    let opened = read(&reader, &id).await;
    let api = author.api();
    let open = ["pub", "--api", &api, "Notification", "--json", &notice("in the open, for comparison")];
    let output = succeed(root.path(), &open).await;
    let open: Value = serde_json::from_slice(&output.stdout).unwrap();

    assert_eq!((&opened["payload"]["text"], &opened["sealed"]), (&json!(SECRET), &json!("opened")));
    assert_eq!(opened["encryption_key_id"], first_key);
    let closed = read(&author, &id).await;
    assert_eq!(closed["sealed"], "wrong_reader");
    assert_eq!(closed["payload"].as_object().unwrap().keys().collect::<Vec<_>>(), ["sealed_bytes"]);
    // The same by the ways that follow and fetch.
    let api = reader.api();
    let words = ["sub", "--api", &api, "Notification", "--from", "start", "--count", "1", "--json"];
    let output = succeed(root.path(), &words).await;
    assert!(both(&output).contains(SECRET), "{}", both(&output));
    let unknown = "12D3KooWFxZqJUgKuaiGd9EMBVUJGjWrp19XzTvmwh2ehS2w4BWY";
    let (api, payload) = (author.api(), notice(SECRET));
    let words = ["pub", "--api", &api, "Notification", "--sealed", "--to", unknown, &payload];
    let output = run(root.path(), &[], &words).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(both(&output).contains("no key of"), "{}", both(&output));
    let words = ["pub", "--api", &api, "Notification", "--sealed", "--to", "everyone", &payload];
    assert!(both(&run(root.path(), &[], &words).await).contains("is for one node"));

    // A new key, a kill: old and new messages are read.
    let output = succeed(root.path(), &["key", "rotate", "--api", &reader.api(), "--json"]).await;
    let rotated: Value = serde_json::from_slice(&output.stdout).unwrap();
    let new_key = rotated["key_id"].clone();
    assert_ne!(new_key, first_key);
    until("the new key is known", async || key_of(&author, &to).await.filter(|key| *key == new_key)).await;
    let second = seal(root.path(), &author, &to, "and closes at nine").await;
    read(&reader, &second).await;
    let reader = reader.kill().start().await;
    assert_eq!(read(&reader, &id).await["payload"]["text"], SECRET);
    let again = read(&reader, &second).await;
    assert_eq!((&again["payload"]["text"], &again["encryption_key_id"]), (&json!("and closes at nine"), &new_key));
    let own = reader.ask("/v1/keys").await.unwrap()["own"].clone();
    assert_eq!((own[0]["key_id"].clone(), own[1]["key_id"].clone()), (first_key, new_key));
    assert!(own[0]["erased_ms"].as_u64() > own[0]["replaced_ms"].as_u64() && own[1]["erased_ms"].is_null());

    // No disk has it, the reader's own included; what was said in the open is there, so the search can find.
    read(&third, open["first_id"].as_str().unwrap()).await;
    for (node, here) in [(author, "a"), (reader, "b"), (third, "c")] {
        let (home, end) = node.stop().await;
        assert!(end.success());
        assert!(!holds(&home.dir, SECRET), "{here} has the payload on its disk");
        assert!(holds(&home.dir, "in the open, for comparison"), "{here}");
    }
}
