//! The journal: what a crash leaves, what is altered, what is given back, and stores without one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::store::record::{BODY_BYTES, HEAD_BYTES, Head, Place};
use crate::store::settle;

/// Everything moves on after a few rows.
const TINY: Limits = Limits { layer_bytes: 1500, layer_journal_bytes: 6000, file_bytes: 4000 };

fn all(view: &dyn View) -> BTreeMap<Vec<u8>, Bytes> {
    pairs(view, &key(&[]), &Key::new(Table::Span, &[]), false, usize::MAX).into_iter().collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The journal's files, first to last.
fn journal(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("journal")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

/// Four batches, the second and the fourth with bodies; where each ends, and what is there then.
fn four_batches(store: &Store, synced_after: usize) -> Vec<(u64, BTreeMap<Vec<u8>, Bytes>)> {
    let big = |byte: u8, len: usize| Some(vec![byte; len]);
    let batches: [Writes; 4] = [
        vec![(vec![1], Some(vec![1])), (vec![2], Some(vec![2; 40]))],
        vec![(vec![3], big(3, BODY_BYTES)), (vec![1], None), (vec![4], big(4, 3 * BODY_BYTES))],
        vec![(vec![5], Some(Vec::new()))],
        vec![(vec![3], big(7, BODY_BYTES + 1)), (vec![6], Some(vec![6; BODY_BYTES - 1]))],
    ];
    let mut ends = vec![(0, BTreeMap::new())];
    for (i, writes) in batches.iter().enumerate() {
        store.commit(batch(writes)).unwrap();
        if i + 1 == synced_after {
            store.flush().unwrap();
        }
        ends.push((store.shared.front.lock().end.at.into(), all(store)));
    }
    ends
}

/// A copy of a store that is open, as a crash would leave it.
fn crashed(of: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    copy(of, to);
}

fn quiet(dir: &Path) -> StoreOptions {
    StoreOptions { flush_every_ms: 600_000, ..options(dir) }
}

type Act = (Vec<(u8, Option<usize>)>, u8);

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let size = prop_oneof![0usize..8, BODY_BYTES - 2..BODY_BYTES + 2, 900usize..2500];
    let write = (0u8..24, prop::option::weighted(0.7, size));
    prop::collection::vec((prop::collection::vec(write, 0..6), 0u8..8), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is written, settled, moved and closed in between, the store holds what a map does.
    #[test]
    fn a_store_that_settles_all_the_time_is_a_map(acts in acts()) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open_within(&options(dir.path()), TINY).unwrap();
        let mut memory = MemoryStore::default();
        for (turn, (writes, then)) in acts.iter().enumerate() {
            let writes = writes.iter().map(|(k, size)| (vec![*k], size.map(|size| vec![turn as u8; size]))).collect();
            store.commit(batch(&writes)).unwrap();
            memory.commit(batch(&writes));
            match then {
                0 => {
                    drop(store);
                    store = Store::open_within(&options(dir.path()), TINY).unwrap();
                }
                1 => store.flush().unwrap(),
                _ => {}
            }
            prop_assert_eq!(all(&store), all(&memory));
            let (from, to) = (key(&[turn as u8 % 24]), key(&[200]));
            prop_assert_eq!(pairs(&store, &from, &to, true, 3), pairs(&memory, &from, &to, true, 3));
            for k in 0..24 {
                prop_assert_eq!(store.get(&key(&[k])), memory.get(&key(&[k])));
            }
        }
        prop_assert!(store.healthy().is_ok());
    }
}

fn records() -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![Just(0u32), 1u32..200, any::<u32>()];
    let head = (small.clone(), small.clone(), small.clone(), any::<u32>());
    let rows = prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..120);
    (head, rows).prop_map(|((size, rows_size, synced, sum), rows)| {
        let numbers = [size, rows_size, synced, sum].map(u32::to_le_bytes).concat();
        [numbers, rows].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever a disk hands back, reading it ends, and asks for no more memory than there are bytes.
    #[test]
    fn no_bytes_are_too_strange(bytes in records(), at in 0u32..50) {
        let Some((first, rows)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(()) };
        let end = u64::from(at) + bytes.len() as u64;
        if let Some(head) = Head::decode(first, at.into(), end) {
            prop_assert!(u64::from(at) + head.record_bytes() <= end);
            prop_assert!(!head.vouches_for(rows, 0, at), "a sum of 32 bits by chance");
            let said = record::decode(&head, rows, 0, at).unwrap_or_default();
            prop_assert!(said.len() <= rows.len());
        }
        let _ = settle::untagged(rows.into());
        let _ = Place::decode(rows);
    }
}

#[test]
fn after_a_crash_at_any_byte_there_are_whole_batches() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(&quiet(dir.path())).unwrap();
    let ends = four_batches(&store, 0);
    let edges = ends.iter().flat_map(|(end, _)| [-1, 0, 1, HEAD_BYTES as i64 + 3, 400].map(|by| *end as i64 + by));
    let last = ends.last().unwrap().0;
    for cut in edges.filter_map(|cut| u64::try_from(cut).ok()).filter(|cut| *cut <= last) {
        crashed(dir.path(), other.path());
        let file = OpenOptions::new().write(true).open(&journal(other.path())[0]).unwrap();
        file.set_len(cut).unwrap();
        let (end, held) = ends.iter().rfind(|(end, _)| *end <= cut).unwrap();
        let store = Store::open(&options(other.path())).unwrap();
        assert_eq!(all(&store), *held, "cut at {cut}");
        assert_eq!(file.metadata().unwrap().len(), *end, "what was torn is gone");
        store.commit(batch(&vec![(vec![9], Some(vec![9]))])).unwrap();
        drop(store);
        let store = Store::open(&options(other.path())).unwrap();
        assert_eq!(store.get(&key(&[9])), Some(Bytes::from_static(&[9])));
        assert_eq!(all(&store).len(), held.len() + 1);
    }
}

#[test]
fn what_was_on_the_disk_and_was_altered_is_not_taken_for_a_torn_end() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(&quiet(dir.path())).unwrap();
    let ends = four_batches(&store, 2);
    let alter = |at: u64| {
        crashed(dir.path(), other.path());
        let file = OpenOptions::new().read(true).write(true).open(&journal(other.path())[0]).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        Store::open(&options(other.path()))
    };
    let synced = ends[2].0;
    for at in [0, 5, 14, HEAD_BYTES as u64 + 2, ends[1].0 + 3, ends[1].0 + 60, synced - 1] {
        let refused = alter(at).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains("00000000.journal is damaged"), "byte {at}: {refused}");
    }
    // Nobody was told that this is on the disk.
    assert_eq!(all(&alter(ends[3].0 - 1).unwrap()), ends[2].1);
    assert_eq!(all(&alter(ends[4].0 - 1).unwrap()), ends[3].1);
}

#[test]
fn a_body_that_was_altered_later_is_not_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&options(dir.path())).unwrap();
    store.commit(batch(&vec![(vec![1], Some(vec![1; 5000])), (vec![2], Some(vec![2]))])).unwrap();
    drop(store);
    let file = OpenOptions::new().write(true).open(&journal(dir.path())[0]).unwrap();
    file.write_all_at(&[9], 3000).unwrap();
    let store = Store::open(&options(dir.path())).unwrap();
    assert_eq!(store.get(&key(&[2])), Some(Bytes::from_static(&[2])));
    assert_eq!(store.get(&key(&[1])), None);
    let told = store.healthy().unwrap_err().to_string();
    assert!(told.contains("00000000.journal was altered"), "{told}");
}

#[test]
fn a_file_that_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&options(dir.path())).unwrap();
    four_batches(&store, 0);
    drop(store);
    fs::remove_file(&journal(dir.path())[0]).unwrap();
    let refused = Store::open(&options(dir.path())).err().unwrap().to_string();
    assert!(refused.contains("00000000.journal is missing"), "{refused}");
}

#[test]
fn what_is_settled_already_can_be_settled_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&options(dir.path())).unwrap();
    let ends = four_batches(&store, 0);
    drop(store);
    // A crash while sled took the rows: they are there, and the mark is still the old one.
    let store = Store::open(&options(dir.path())).unwrap();
    store.shared.mark(Position::default(), false, &BTreeSet::new()).unwrap();
    let again = tempfile::tempdir().unwrap();
    store.shared.db.flush().unwrap();
    crashed(dir.path(), again.path());
    for _ in 0..2 {
        let store = Store::open(&options(again.path())).unwrap();
        assert_eq!(all(&store), ends[4].1);
    }
}

#[test]
fn files_in_which_little_is_needed_are_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let body = |k: u8| Some(vec![k; 1200]);
    let store = Store::open_within(&options(dir.path()), TINY).unwrap();
    for k in 0..100 {
        store.commit(batch(&vec![(vec![k], body(k))])).unwrap();
        store.flush().unwrap();
    }
    let whole = journal(dir.path()).len();
    assert!(whole > 20, "{whole} files");
    for k in 0..100 {
        // One of ten stays; in every file there is little left.
        if k % 10 != 0 {
            store.commit(batch(&vec![(vec![k], None)])).unwrap();
        }
    }
    // It happens beside what is written, and after a start as well.
    let mut store = store;
    for turn in 0..2_000_u32 {
        if journal(dir.path()).len() <= 12 {
            break;
        }
        if turn % 500 == 499 {
            drop(store);
            store = Store::open_within(&options(dir.path()), TINY).unwrap();
        }
        store.commit(batch(&vec![(vec![200], Some(vec![turn as u8; 2000]))])).unwrap();
        store.flush().unwrap();
    }
    assert!(journal(dir.path()).len() <= 12, "of {whole} files {} are left", journal(dir.path()).len());
    for k in 0..100 {
        assert_eq!(store.get(&key(&[k])).map(Vec::from), body(k).filter(|_| k % 10 == 0));
    }
}

#[test]
fn a_reader_misses_nothing_while_rows_are_settled_and_moved() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_within(&options(dir.path()), TINY).unwrap();
    let rows = |turn: u8| (0..40).map(|k| (vec![k], Some(vec![turn; 20 + 600 * (k as usize % 2)]))).collect::<Writes>();
    store.commit(batch(&rows(0))).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for back in [false, true] {
            let (store, stop) = (&store, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(pairs(store, &key(&[]), &key(&[99]), back, usize::MAX).len(), 40);
                    assert!((0..40).all(|k| store.get(&key(&[k])).is_some()));
                }
            });
        }
        for turn in 1..120 {
            store.commit(batch(&rows(turn))).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    store.healthy().unwrap();
}

#[test]
fn a_thread_that_panicked_poisons_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_within(&quiet(dir.path()), TINY).unwrap();
    store.shared.guard(|| panic!("on purpose"));
    let refused = store.commit(batch(&vec![(vec![1], Some(vec![1; 9000]))])).unwrap_err().to_string();
    assert!(refused.contains("its thread panicked"), "{refused}");
}

#[test]
fn what_is_left_of_a_take_over_that_did_not_end_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let schema = Key::new(Table::Meta, &[b"schema"]);
    let store = Store::open_within(&options(dir.path()), TINY).unwrap();
    for k in 0..30 {
        store.commit(batch(&vec![(vec![k], Some(vec![k; 2000]))])).unwrap();
    }
    drop(store);
    // The schema is still the first; a program that knows only that one has removed rows since.
    let db = sled::Config::new().path(dir.path()).open().unwrap();
    let first = db.open_tree("metanode").unwrap();
    first.insert(schema.as_bytes(), &1_u32.to_be_bytes()).unwrap();
    first.insert(key(&[7]).as_bytes(), vec![7; 10]).unwrap();
    drop((first, db));
    let store = Store::open(&options(dir.path())).unwrap();
    assert_eq!(all(&store), BTreeMap::from([(key(&[7]).into_bytes(), Bytes::from(vec![7; 10]))]));
    assert_eq!(journal(dir.path()).len(), 1, "nor does its journal stay");
}

#[test]
fn a_store_of_the_first_schema_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let schema = Key::new(Table::Meta, &[b"schema"]);
    let rows: BTreeMap<Vec<u8>, Vec<u8>> =
        (0..50).map(|k| (key(&[k]).into_bytes(), vec![k; if k % 7 == 0 { 70_000 } else { 9 }])).collect();
    let db = sled::Config::new().path(dir.path()).segment_size(4 << 20).open().unwrap();
    let first = db.open_tree("metanode").unwrap();
    first.insert(schema.as_bytes(), &1_u32.to_be_bytes()).unwrap();
    for (key, value) in &rows {
        first.insert(key.as_slice(), value.as_slice()).unwrap();
    }
    drop((first, db));
    for _ in 0..2 {
        let store = Store::open(&options(dir.path())).unwrap();
        assert!(all(&store).iter().map(|(k, v)| (k.clone(), v.to_vec())).eq(rows.clone()));
        let first = store.shared.db.open_tree("metanode").unwrap();
        assert_eq!(first.len(), 1, "what an older program reads is the schema alone");
        assert_eq!(first.get(schema.as_bytes()).unwrap().unwrap(), SCHEMA.to_be_bytes().as_slice());
    }
}
