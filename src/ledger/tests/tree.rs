//! The tree against one that is built anew, bit by bit, each time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::ledger::tree::{Slot, leads, path, update};
use crate::types::chain::Height;
use crate::types::storage::Batch;
use crate::types::{Hash, MemoryStore};
use crate::wire::ledger::StatePath;

fn hashed(sort: u8, a: Hash, b: Hash) -> Hash {
    Hash(*blake3::hash(&[&[sort], &a.0[..], &b.0].concat()).as_bytes())
}

fn bit(key: &Hash, depth: usize) -> bool {
    key.0[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// The root over all leaves, as the definition says it.
fn dumb(leaves: &[(Hash, Hash)], depth: usize) -> Hash {
    match leaves {
        [] => Hash::ZERO,
        [(key, value)] => hashed(0, *key, *value),
        many => {
            let (right, left): (Vec<_>, Vec<_>) = many.iter().partition(|(key, _)| bit(key, depth));
            hashed(1, dumb(&left, depth + 1), dumb(&right, depth + 1))
        }
    }
}

/// Keys that share long beginnings, so that the tree is deep.
fn keys() -> impl Strategy<Value = Hash> {
    (prop::sample::select(vec![0usize, 1, 3, 31]), any::<u8>()).prop_map(|(at, byte)| {
        let mut key = [0; 32];
        key[at] = byte;
        Hash(key)
    })
}

type Changes = BTreeMap<Hash, Option<Hash>>;

fn heights() -> impl Strategy<Value = Vec<Changes>> {
    let value = prop::option::weighted(0.7, (0..200u8).prop_map(|byte| Hash([byte; 32])));
    prop::collection::vec(prop::collection::btree_map(keys(), value, 0..12), 1..8)
}

proptest! {
    #[test]
    fn every_height_has_the_root_of_the_definition_and_proves_every_key(heights in heights(), asked in keys()) {
        let (mut store, mut root, mut all) = (MemoryStore::default(), Slot::Empty, BTreeMap::new());
        let mut kept = Vec::new();
        for (changes, height) in heights.iter().zip(1..) {
            let grown = update(root, changes, Height(height), &store).unwrap();
            let mut batch = Batch::default();
            grown.written.into_iter().for_each(|(key, page)| batch.put(key, page));
            store.commit(batch);
            root = grown.root;
            prop_assert_eq!(Slot::from_bytes(&root.to_bytes()), Some(root));
            for (key, value) in changes {
                match value {
                    Some(value) => all.insert(*key, *value),
                    None => all.remove(key),
                };
            }
            let leaves: Vec<_> = all.iter().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(root.hash(), dumb(&leaves, 0));
            kept.push((root, all.clone()));
        }
        for (root, all) in kept {
            for key in all.keys().chain([&asked]) {
                let path = path(root, key, &store).unwrap();
                prop_assert!(leads(&path, key, all.get(key), &root.hash()), "{key} {path:?}");
                let other = Hash([0xEE; 32]);
                prop_assert!(!leads(&path, key, Some(&other), &root.hash()));
                prop_assert!(!leads(&path, key, all.get(key), &other));
                if all.contains_key(key) {
                    prop_assert!(!leads(&path, key, None, &root.hash()));
                }
                if let Some(sibling) = path.siblings.first() {
                    let longer = StatePath { siblings: [&[*sibling], &path.siblings[..]].concat(), ..path.clone() };
                    prop_assert!(!leads(&longer, key, all.get(key), &root.hash()));
                    let shorter = StatePath { siblings: path.siblings[1..].to_vec(), ..path };
                    prop_assert!(!leads(&shorter, key, all.get(key), &root.hash()));
                }
            }
        }
    }

    #[test]
    fn what_a_height_makes_stale_is_what_its_tree_does_not_need(heights in heights()) {
        let (mut store, mut root, mut all) = (MemoryStore::default(), Slot::Empty, BTreeMap::new());
        for (changes, height) in heights.iter().zip(1..) {
            let grown = update(root, changes, Height(height), &store).unwrap();
            let mut batch = Batch::default();
            grown.written.into_iter().for_each(|(key, page)| batch.put(key, page));
            grown.stale.into_iter().for_each(|key| batch.delete(key));
            store.commit(batch);
            root = grown.root;
            changes.iter().for_each(|(key, value)| match value {
                Some(value) => drop(all.insert(*key, *value)),
                None => drop(all.remove(key)),
            });
            for (key, value) in &all {
                prop_assert!(leads(&path(root, key, &store).unwrap(), key, Some(value), &root.hash()));
            }
        }
        let everything: Changes = all.keys().map(|key| (*key, None)).collect();
        let grown = update(root, &everything, Height(99), &store).unwrap();
        prop_assert_eq!((grown.root, grown.written.len()), (Slot::Empty, 0));
    }
}
