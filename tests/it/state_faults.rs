//! Replicated state when a disk fails in the middle of a batch, and when an old copy of a store is put in place.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::disk::SmallDisk;
use crate::net_common::{Home, Node, converge, meet, until};

/// Cells of a batch.
const CELLS: usize = 20;

/// A batch of cells; none when it was not acknowledged as durable.
async fn write(node: &Node, batch: usize) -> Option<Value> {
    let value = "v".repeat(1_000);
    let changes: Vec<Value> =
        (0..CELLS).map(|n| json!({"path": format!("{batch}/{n}"), "do": {"put": value}})).collect();
    node.post("/v1/state/shared/batch", &json!({"changes": changes, "ack": "durable"})).await
}

/// How many cells of a batch are there.
async fn cells(node: &Node, batch: usize) -> usize {
    let listed = node.ask(&format!("/v1/state/shared/cells?prefix={batch}&limit=1000")).await.unwrap();
    listed["cells"].as_array().unwrap().len()
}

async fn sound(node: &Node) {
    let checked = node.ask("/v1/state/shared/check").await.unwrap();
    assert_eq!(checked["sound"], true, "{checked}");
}

#[tokio::test]
async fn a_disk_that_fails_in_the_middle_of_a_batch_leaves_whole_batches_and_all_that_was_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("small");
    let Some(disk) = SmallDisk::mount(&place, "size=2500k") else {
        println!("skipped: mounting a small file system is not permitted here");
        return;
    };
    let home = Home::new(&place, "node", "full").await;
    let node = home.start().await;
    let mut acknowledged = 0;
    while write(&node, acknowledged).await.is_some() {
        acknowledged += 1;
        assert!(acknowledged < 2_000, "the disk never filled up");
    }
    let (home, status) = node.end().await;
    let log = fs::read_to_string(home.dir.join("log.txt")).unwrap();
    assert!(status.code() == Some(1) && log.contains("is it full?"), "{status}: {log}");
    assert!(acknowledged > 0, "{log}");
    disk.grow("size=64m");
    let node = home.start().await;
    for batch in 0..acknowledged {
        assert_eq!(cells(&node, batch).await, CELLS, "batch {batch} of {acknowledged} was acknowledged");
    }
    let torn = cells(&node, acknowledged).await;
    assert!(torn == CELLS || torn == 0, "a batch is there whole or not at all, not {torn} cells of it");
    sound(&node).await;
    assert!(write(&node, acknowledged + 1).await.is_some(), "and it goes on");
    sound(&node).await;
    node.stop().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn count(node: &Node, by: i64) {
    let changes = json!([{"path": "n", "do": {"count": by}}, {"path": "last", "do": {"put": by}}]);
    let wrote = node.post("/v1/state/shared/batch", &json!({"changes": changes, "ack": "durable"})).await;
    assert!(wrote.is_some(), "{by} cannot be counted");
}

async fn counted(node: &Node) -> Value {
    node.ask("/v1/state/shared/cell?path=n").await.unwrap_or_default()["counter"].clone()
}

#[tokio::test]
async fn an_author_whose_store_is_an_old_copy_neither_forks_nor_counts_twice() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "backup").await.start().await;
    let second = Home::new(root.path(), "b", "backup").await.knowing(&first).start().await;
    meet(&[&first, &second]).await;
    count(&first, 1).await;
    let (home, _) = first.stop().await;
    let (store, backup) = (home.dir.join("store"), root.path().join("backup"));
    copy(&store, &backup);
    let first = home.start().await;
    count(&first, 10).await;
    converge(&[&first, &second]).await;
    let (home, _) = first.stop().await;
    // The disk is lost, and with it what came after the copy; the other node has that.
    fs::remove_dir_all(&store).unwrap();
    copy(&backup, &store);
    let first = home.start().await;
    count(&first, 100).await;
    converge(&[&first, &second]).await;
    for node in [&first, &second] {
        until("all that was counted is counted once", async || {
            let counter = counted(node).await;
            (counter == json!({"value": 111, "shares": 2})).then_some(())
        })
        .await;
        assert_eq!(node.status("counters").await["forks"].as_u64().unwrap_or_default(), 0, "nobody forked");
        sound(node).await;
    }
    let roots = [first.status("state_root").await, second.status("state_root").await];
    assert!(roots[0].is_string() && roots[0] == roots[1], "{roots:?}");
}
