//! Chunks and manifests of checkpoints, from bytes: what is read is written the same, and what is unpacked is bounded.
#![no_main]

use bytes::Bytes;
use metanode::node::Tally;
use metanode::types::limits;
use metanode::wire::{Chunk, SignedManifest};
use metanode_fuzz::network;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = SignedManifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes);
    }
    // As a file, and as what a file unpacks to.
    let packed = zstd::bulk::compress(bytes, 1).expect("memory takes it");
    let file = [&(bytes.len() as u32).to_le_bytes(), packed.as_slice()].concat();
    for file in [bytes, file.as_slice()] {
        let Ok(chunk) = Chunk::decode(file) else { continue };
        let items = |chunk: &Chunk| {
            let items = chunk.parts.iter().flat_map(|part| part.excerpt.items().values().map(Bytes::len));
            items.sum::<usize>()
        };
        assert!(items(&chunk) <= limits::CHUNK_BYTES);
        if let Some(again) = chunk.encode() {
            assert_eq!(Chunk::decode(&again).expect("what was written is read"), chunk);
        }
        if let Ok(proved) = chunk.prove(network()) {
            let _ = Tally::default().add("c", &proved);
        }
    }
});
