//! Ranges and excerpts, as peers send them: read as they were written or refused, and whatever ranges say, an answer is
//! within its bounds and a session comes to an end.
#![no_main]

use std::collections::BTreeSet;

use bytes::Bytes;
use metanode::crdt::{Entry, Index, Session, compare};
use metanode::types::{Hash, Stamp, Version, limits};
use metanode::wire::{Excerpt, Ranges};
use metanode_fuzz::network;

fn index() -> Index {
    let entry = |n: u64| {
        let digest = *blake(n).as_bytes();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Entry { version: Version { stamp: Stamp(n << 16), digest: short }, digest: Hash(digest) }
    };
    Index::build((0..400).map(entry))
}

fn blake(n: u64) -> Hash {
    metanode::types::Domain::Trace.hash(&[&n.to_be_bytes()])
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(excerpt) = Excerpt::decode(&Bytes::copy_from_slice(bytes)) {
        assert_eq!(Excerpt::decode(&excerpt.encode()).expect("what was written is read"), excerpt);
        assert!(excerpt.narrow(&BTreeSet::new()).is_none());
        let _ = excerpt.prove(network());
    }
    let index = index();
    let Ok(ranges) = Ranges::decode(bytes) else { return };
    assert_eq!(ranges.encode(), bytes);
    let answer = compare(Some(&index), &ranges);
    assert!(answer.ranges.parts.len() <= limits::RANGE_PARTS && answer.wanted.len() <= limits::RANGE_WRITES);
    assert!(answer.ranges.low() >= ranges.low());
    assert_eq!(Ranges::decode(&answer.ranges.encode()).expect("an answer is sound"), answer.ranges);
    // The same bytes as an answer: taken or nonsense, and what is asked then is bounded.
    let mut session = Session::whole(Some(&index), ranges.top, ranges.salt);
    for _ in 0..4 {
        let Some((asked, kept)) = session.ask(Some(&index)) else { return };
        assert!(asked.parts.len() <= limits::RANGE_PARTS);
        assert_eq!(Ranges::decode(&asked.encode()).expect("a question is sound"), asked);
        if session.on_answer(kept, &ranges, &BTreeSet::new(), Some(&index)).is_err() {
            return;
        }
    }
});
