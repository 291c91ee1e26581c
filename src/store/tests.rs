//! One suite for every store, and what is the one's on the disk alone.

use std::ops::ControlFlow;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::types::MemoryStore;
use crate::types::storage::{Table, Txn};

mod journal;

fn options(path: &Path) -> StoreOptions {
    StoreOptions { path: path.into(), cache_bytes: 1 << 20, flush_every_ms: 1000 }
}

fn key(part: &[u8]) -> Key {
    Key::new(Table::Log, &[part])
}

fn pairs(view: &dyn View, from: &Key, to: &Key, back: bool, most: usize) -> Vec<(Vec<u8>, Bytes)> {
    let mut found = Vec::new();
    let mut visit = |k: &[u8], v: &Bytes| {
        found.push((k.to_vec(), v.clone()));
        if found.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    if back {
        view.scan_back(from, to, &mut visit)
    } else {
        view.scan(from, to, &mut visit)
    }
    found
}

type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn batch(writes: &Writes) -> Batch {
    let mut batch = Batch::default();
    for (k, v) in writes {
        match v {
            Some(v) => batch.put(key(k), v.clone()),
            None => batch.delete(key(k)),
        }
    }
    batch
}

fn writes() -> impl Strategy<Value = Writes> {
    let key = prop::collection::vec(0u8..4, 0..3);
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..4));
    prop::collection::vec((key, value), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The store, the map, and a transaction over either say the same of the same writes.
    #[test]
    fn all_views_agree(first in writes(), second in writes(), from in prop::collection::vec(0u8..4, 0..3),
                       to in prop::collection::vec(0u8..4, 0..3), most in 1usize..6) {
        let dir = tempfile::tempdir().unwrap();
        let sled = Store::open(&options(dir.path())).unwrap();
        let mut memory = MemoryStore::default();
        sled.commit(batch(&first)).unwrap();
        memory.commit(batch(&first));
        let (from, to) = (key(&from), key(&to));
        let (mut over_sled, mut over_memory) = (batch(&second), batch(&second));
        let later_sled = {
            let txn = Txn::new(&sled, &mut over_sled);
            [pairs(&txn, &from, &to, false, most), pairs(&txn, &from, &to, true, most)]
        };
        let later_memory = {
            let txn = Txn::new(&memory, &mut over_memory);
            [pairs(&txn, &from, &to, false, most), pairs(&txn, &from, &to, true, most)]
        };
        sled.commit(batch(&second)).unwrap();
        memory.commit(batch(&second));
        for (back, i) in [(false, 0), (true, 1)] {
            let truth = pairs(&memory, &from, &to, back, most);
            prop_assert_eq!(&pairs(&sled, &from, &to, back, most), &truth);
            prop_assert_eq!(&later_sled[i], &truth);
            prop_assert_eq!(&later_memory[i], &truth);
        }
        for (k, _) in &second {
            prop_assert_eq!(sled.get(&key(k)), memory.get(&key(k)));
        }
    }
}

#[test]
fn what_was_committed_is_there_after_a_clean_close() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&options(dir.path())).unwrap();
    store.commit(batch(&vec![(vec![1], Some(vec![2]))])).unwrap();
    store.flush().unwrap();
    let place = store.place();
    drop(store);
    let store = Store::open(&options(dir.path())).unwrap();
    assert_eq!(store.get(&key(&[1])), Some(Bytes::from_static(&[2])));
    assert_eq!(store.place(), place);
}

#[test]
fn a_copied_store_is_in_another_place() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let place = Store::open(&options(&a)).unwrap().place();
    fs::create_dir(&b).unwrap();
    for entry in fs::read_dir(&a).unwrap().flatten().filter(|e| e.path().is_file()) {
        fs::copy(entry.path(), b.join(entry.file_name())).unwrap();
    }
    assert_ne!(Store::open(&options(&b)).unwrap().place(), place);
}

#[test]
fn a_store_brought_back_where_it_was_is_in_another_place() {
    let dir = tempfile::tempdir().unwrap();
    let (here, backup) = (dir.path().join("here"), dir.path().join("backup"));
    let copy = |from: &Path, to: &Path| {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten().filter(|e| e.path().is_file()) {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    let place = Store::open(&options(&here)).unwrap().place();
    copy(&here, &backup);
    fs::remove_dir_all(&here).unwrap();
    copy(&backup, &here);
    assert_ne!(Store::open(&options(&here)).unwrap().place(), place, "whatever inodes it was given");
}

#[test]
fn a_store_in_use_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Store::open(&options(dir.path())).unwrap();
    let second = Store::open(&options(dir.path()));
    assert!(matches!(second, Err(StoreError::InUse { .. })), "{:?}", second.err());
}

#[test]
fn a_newer_schema_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(&options(dir.path())).unwrap());
    let first = sled::open(dir.path()).unwrap().open_tree("metanode").unwrap();
    first.insert(Key::new(Table::Meta, &[b"schema"]).into_bytes(), &(SCHEMA + 1).to_be_bytes()).unwrap();
    drop(first);
    let error = Store::open(&options(dir.path())).err();
    assert!(matches!(error, Some(StoreError::Schema { found, .. }) if found == SCHEMA + 1), "{error:?}");
}

#[test]
fn a_poisoned_store_takes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&options(dir.path())).unwrap();
    store.shared.poisoned_by("writing", &"no space left on device");
    let refused = store.commit(batch(&vec![(vec![1], Some(vec![2]))]));
    assert!(matches!(refused, Err(StoreError::Poisoned { .. })));
    assert!(store.flush().is_err());
    assert!(store.healthy().unwrap_err().to_string().contains("no space left"));
}

#[test]
fn a_crash_in_memory_loses_what_was_not_flushed() {
    let mut store = MemoryStore::default();
    store.commit(batch(&vec![(vec![1], Some(vec![1]))]));
    store.flush();
    store.commit(batch(&vec![(vec![1], Some(vec![2])), (vec![2], Some(vec![2]))]));
    store.commit(batch(&vec![(vec![1], None)]));
    let mut other = store.clone();
    store.crash(1);
    assert_eq!(store.get(&key(&[1])), Some(Bytes::from_static(&[2])));
    other.crash(0);
    assert_eq!(other.get(&key(&[1])), Some(Bytes::from_static(&[1])));
    assert_eq!(other.get(&key(&[2])), None);
}

#[test]
fn a_store_of_the_second_schema_is_of_the_newest_from_now_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&options(dir.path())).unwrap();
    store.commit(batch(&vec![(vec![1], Some(vec![2]))])).unwrap();
    drop(store);
    let schema = || Key::new(Table::Meta, &[b"schema"]).into_bytes();
    let first = sled::open(dir.path()).unwrap().open_tree("metanode").unwrap();
    first.insert(schema(), &2_u32.to_be_bytes()).unwrap();
    drop(first);
    let store = Store::open(&options(dir.path())).unwrap();
    assert_eq!(store.get(&key(&[1])), Some(Bytes::from_static(&[2])));
    let first = store.shared.db.open_tree("metanode").unwrap();
    assert_eq!(first.get(schema()).unwrap().unwrap(), SCHEMA.to_be_bytes().as_slice());
}
