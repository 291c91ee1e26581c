//! Checkpoints: their bytes for ever, and that nothing in them is believed that is not proved.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::excerpt::write;
use super::*;
use crate::types::{Stamp, WallMs, limits};

/// Inputs are in the test; what comes of them is in the file.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    manifest: String,
    chunk: String,
}

fn chunk() -> Chunk {
    let mut pending = Pending::default();
    (1..=9).for_each(|n| pending.push(&write(n).message(id(n))));
    let bundle = pending.seal(header(Category::Data), &key()).unwrap();
    let items: Vec<Bytes> = bundle.bytes().collect();
    let excerpt = Excerpt::of(bundle.bundle(), &items, &BTreeSet::from([1, 2, 7])).unwrap();
    Chunk { parts: vec![ChunkPart { excerpt, marks: vec![1, 0, 1] }] }
}

fn manifest() -> Manifest {
    let chunks = vec![
        ChunkName { hash: Hash([1; 32]), bytes: 900, writes: 2 },
        ChunkName { hash: Hash([2; 32]), bytes: 70_000, writes: 300 },
    ];
    let clock = Stamp::new(1_700_000_000_000, 5);
    let prices = CollectionChunks { name: "prices".into(), writes: 302, root: Hash([3; 32]), clock, chunks };
    let empty = CollectionChunks { name: "empty".into(), writes: 0, root: Hash::ZERO, clock: Stamp(0), chunks: vec![] };
    Manifest { network: network().id(), made: WallMs(1_700_000_000_321), collections: vec![empty, prices] }
}

#[test]
fn bytes_of_a_checkpoint_are_the_golden_ones() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/checkpoint.json");
    let signed = SignedManifest::sign(manifest(), &key());
    let now = Vectors { manifest: hex::encode(signed.encode()), chunk: hex::encode(chunk().encode().unwrap()) };
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let pinned: Vectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(pinned, now);
    assert_eq!(SignedManifest::decode(&hex::decode(&pinned.manifest).unwrap()), Ok(signed));
    let read = Chunk::decode(&hex::decode(&pinned.chunk).unwrap()).unwrap();
    assert_eq!(read, chunk());
    let proved = read.prove(network().id()).unwrap();
    assert_eq!((proved[0].0.writes().len(), &proved[0].1), (3, &vec![1, 0, 1]));
}

#[test]
fn a_manifest_that_says_what_cannot_be_is_refused_whoever_signs_it() {
    let signed = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = manifest();
        change(&mut manifest);
        SignedManifest::decode(&SignedManifest::sign(manifest, &key()).encode()).map(drop)
    };
    assert_eq!(signed(&|_| {}), Ok(()));
    let wrong: [&dyn Fn(&mut Manifest); 5] = [
        &|manifest| manifest.collections.reverse(),
        &|manifest| manifest.collections[1].name = "empty".into(),
        &|manifest| manifest.collections[0].name = "a/b".into(),
        &|manifest| manifest.collections[1].writes += 1,
        &|manifest| manifest.collections[1].chunks[0].bytes = limits::CHUNK_BYTES as u32 + 1,
    ];
    for change in wrong {
        assert!(matches!(signed(change), Err(Refusal::Frame { .. })));
    }
}

#[test]
fn a_chunk_that_unpacks_to_more_than_it_may_is_refused_before_it_is_unpacked() {
    let mut bytes = chunk().encode().unwrap().to_vec();
    bytes[..4].copy_from_slice(&(limits::CHUNK_BYTES as u32 + 1).to_le_bytes());
    assert_eq!(Chunk::decode(&bytes), Err(Refusal::TooLarge { size_bytes: limits::CHUNK_BYTES + 1 }));
    // Excerpts that are packed themselves count by what they unpack to.
    let large = "x".repeat(60_000);
    let mut pending = Pending::default();
    for n in 1..=16 {
        let mut draft = write(n);
        draft.tags = Vec::new();
        let mut message = draft.message(id(n));
        message.payload = large.as_bytes();
        pending.push(&message);
    }
    let bundle = pending.seal(header(Category::Data), &key()).unwrap();
    let items: Vec<Bytes> = bundle.bytes().collect();
    let excerpt = Excerpt::of(bundle.bundle(), &items, &(0..16).collect()).unwrap();
    let tight = excerpt.encode_tight();
    let mut body = 8u32.to_le_bytes().to_vec();
    for _ in 0..8 {
        body.extend_from_slice(&(tight.len() as u32).to_le_bytes());
        body.extend_from_slice(&tight);
        body.extend_from_slice(&[0; 128]);
    }
    let packed = zstd::bulk::compress(&body, 3).unwrap();
    let bytes = [&(body.len() as u32).to_le_bytes(), packed.as_slice()].concat();
    assert!(bytes.len() < 64 * 1024 && matches!(Chunk::decode(&bytes), Err(Refusal::TooLarge { .. })));
}

#[test]
fn the_same_bundle_twice_and_another_network_are_refused() {
    let mut twice = chunk();
    twice.parts.extend(chunk().parts);
    assert!(matches!(twice.prove(network().id()), Err(Refusal::Frame { .. })));
    let other: NetworkName = "other".parse().unwrap();
    assert_eq!(chunk().prove(other.id()).map(drop), Err(Refusal::WrongNetwork));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_byte_is_changed_nothing_else_is_believed(at in any::<prop::sample::Index>(), by in 1..=255u8) {
        let signed = SignedManifest::sign(manifest(), &key());
        let mut bytes = signed.encode();
        *at.get_mut(&mut bytes) ^= by;
        prop_assert!(SignedManifest::decode(&bytes).is_err());
        let mut bytes = chunk().encode().unwrap().to_vec();
        *at.get_mut(&mut bytes) ^= by;
        // What is meant is not signed by authors; the manifest's hash of the file covers it.
        if let Ok(proved) = Chunk::decode(&bytes).and_then(|read| read.prove(network().id())) {
            let whole = chunk().prove(network().id()).unwrap();
            prop_assert!(proved.iter().zip(&whole).all(|((one, _), (other, _))| one == other));
        }
    }

    #[test]
    fn noise_is_no_checkpoint(bytes: Vec<u8>) {
        prop_assert!(SignedManifest::decode(&bytes).is_err());
        let packed = zstd::bulk::compress(&bytes, 1).unwrap();
        let read = Chunk::decode(&[&(bytes.len() as u32).to_le_bytes(), packed.as_slice()].concat());
        prop_assert!(read.is_err() || bytes == [0; 4]);
        let _ = Chunk::decode(&bytes);
    }
}
