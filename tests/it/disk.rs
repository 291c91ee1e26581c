//! A disk that fills up: the node says so and stops, and what it acknowledged is there when there is room again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::net_common::Home;

/// A file system of its own with a bound; gone when it goes out of scope.
pub struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    /// None where mounting is not permitted.
    pub fn mount<'a>(path: &'a Path, size: &str) -> Option<SmallDisk<'a>> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|out| out.status.success()).then_some(SmallDisk(path))
    }

    pub fn grow(&self, size: &str) {
        let grown = Command::new("mount").args(["-o", &format!("remount,{size}")]).arg(self.0).status();
        assert!(grown.unwrap().success());
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_stops_the_node_and_costs_nothing_that_was_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("small");
    let Some(disk) = SmallDisk::mount(&place, "size=1500k") else {
        println!("skipped: mounting a small file system is not permitted here");
        return;
    };
    let home = Home::new(&place, "node", "full").await;
    let node = home.start().await;
    let mut acknowledged = BTreeSet::new();
    for batch in 0.. {
        assert!(batch < 2000, "the disk never filled up");
        match node.try_publish(batch * 1000, 1000).await {
            Some(ids) => acknowledged.extend(ids),
            None => break,
        }
    }
    let (home, status) = node.end().await;
    let log = std::fs::read_to_string(home.dir.join("log.txt")).unwrap();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("is it full?"), "the log does not say what to do:\n{log}");
    assert!(!acknowledged.is_empty());
    disk.grow("size=64m");
    let node = home.start().await;
    let held = node.trades().await;
    let lost: Vec<_> = acknowledged.difference(&held).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged messages are gone", lost.len(), acknowledged.len());
    assert_eq!(node.publish(0, 10, "durable").await.len(), 10);
    node.stop().await;
}
