//! The log of a height: golden bytes, torn ends, altered bytes.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use crate::consensus::journal::*;
use crate::consensus::{Record, Wait};
use crate::types::chain::{BlockId, ChainId, Height};
use crate::types::storage::Batch;
use crate::types::{Hash, MemoryStore, NodeId};
use crate::wire::agreement::{Step, Vote};

fn owner() -> Owner {
    let node = NodeId(SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes());
    Owner { chain: ChainId(Hash([9; 32])), node, height: Height(7) }
}

fn vote(round: u32) -> Record {
    let value = Some(BlockId(Hash([3; 32])));
    let vote = Vote { step: Step::Prevote, height: Height(7), round, value, voter: owner().node };
    Record::Vote(vote.sign(owner().chain, &SigningKey::from_bytes(&[1; 32])))
}

fn records() -> Vec<Record> {
    let block = BlockId(Hash([3; 32]));
    let value = |valid_round| Record::Value { round: 2, valid_round, proposer: owner().node, block, valid: true };
    let body = Record::Body { block, bytes: Bytes::from_static(b"a block's bytes") };
    vec![vote(0), body, value(None), value(Some(1)), Record::Timeout { wait: Wait::Precommit, round: 4 }, vote(1)]
}

/// Three frames, of one, three and two records.
fn file() -> Vec<u8> {
    let records = records();
    let mut file = header(&owner()).to_vec();
    for (number, part) in [&records[..1], &records[1..4], &records[4..]].into_iter().enumerate() {
        file.extend(frame(&owner(), number as u32, part));
    }
    file
}

#[test]
fn the_bytes_of_a_log_are_the_golden_ones() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/agreement_log.hex");
    let current = hex::encode(file()) + "\n";
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), current);
    let read = read(&file(), &owner()).unwrap();
    assert_eq!((read.records, read.frames, read.good_bytes), (records(), 3, file().len()));
}

#[test]
fn whatever_a_crash_cuts_off_all_frames_before_it_are_read_and_the_log_goes_on() {
    let file = file();
    for cut in 0..file.len() {
        let found = read(&file[..cut], &owner()).unwrap();
        assert!(found.good_bytes <= cut);
        let before = &records()[..[0, 1, 4, 6][found.frames as usize]];
        assert_eq!(found.records, before);
        let mut more = file[..found.good_bytes].to_vec();
        more.extend(found.mend);
        if more.is_empty() {
            more.extend(header(&owner()));
        }
        more.extend(frame(&owner(), found.frames, &[vote(8)]));
        assert_eq!(read(&more, &owner()).unwrap().records, [before, &[vote(8)]].concat());
    }
}

#[test]
fn a_frame_takes_what_fits_and_always_something() {
    let body = |size| Record::Body { block: BlockId(Hash([3; 32])), bytes: vec![0; size].into() };
    assert_eq!(fitting(&[vote(0), body(100), vote(1)]), 3);
    assert_eq!(fitting(&[body(1 << 20), body(1 << 20), body(1 << 20), body(1 << 20), body(1)]), 3);
    assert_eq!(fitting(&[body(FRAME_BYTES + 1), vote(0)]), 1);
}

#[test]
fn the_log_of_another_height_node_or_chain_is_refused() {
    let other = [
        Owner { height: Height(8), ..owner() },
        Owner { node: NodeId([0; 32]), ..owner() },
        Owner { chain: ChainId(Hash([8; 32])), ..owner() },
    ];
    for other in other {
        assert_eq!(read(&file(), &other), Err(JournalFault::NotOurs));
    }
}

#[test]
fn a_record_that_its_author_did_not_sign_is_refused() {
    let Record::Vote(mut vote) = vote(0) else { unreachable!() };
    vote.said.round = 5;
    let mut file = header(&owner()).to_vec();
    file.extend(frame(&owner(), 0, &[Record::Vote(vote)]));
    assert!(matches!(read(&file, &owner()), Err(JournalFault::Signature { .. })));
}

proptest! {
    #[test]
    fn no_byte_can_be_altered_without_being_missed(at in any::<prop::sample::Index>(), by in 1..=255u8) {
        let mut file = file();
        let at = at.index(file.len());
        file[at] ^= by;
        match read(&file, &owner()) {
            Err(JournalFault::NotOurs) => prop_assert!(at < HEADER_BYTES),
            Err(JournalFault::Altered { at: found }) => prop_assert!(at >= HEADER_BYTES && found <= at),
            Ok(read) => prop_assert!(at == file.len() - 1 && read.records == records() && read.mend == END),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn zeros_where_the_last_frame_should_be_are_a_torn_write(from in any::<prop::sample::Index>()) {
        let mut file = file();
        let last = file.len() - frame(&owner(), 2, &records()[4..]).len();
        let from = last + from.index(file.len() - last);
        file[from..].fill(0);
        let end = file.len() - END.len();
        let read = read(&file, &owner()).unwrap();
        prop_assert_eq!(read.records, &records()[..if from >= end { 6 } else { 4 }]);
    }

    #[test]
    fn zeros_where_a_new_file_should_begin_are_a_torn_write(from in any::<prop::sample::Index>()) {
        let mut file = file();
        let from = from.index(HEADER_BYTES);
        file[from..].fill(0);
        prop_assert_eq!(read(&file, &owner()), Ok(Recovered::default()));
        let end = file.len() - 1;
        file[end] = 1;
        prop_assert_eq!(read(&file, &owner()), Err(JournalFault::NotOurs));
    }

    #[test]
    fn any_bytes_are_a_log_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut file = file();
        file.extend(&bytes);
        let read = read(&file, &owner()).unwrap();
        prop_assert_eq!(read.records, records());
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }
}

#[test]
fn the_store_knows_of_which_height_there_was_a_log() {
    let (mut store, mut batch) = (MemoryStore::default(), Batch::default());
    assert_eq!(begun(&store), None);
    note_begun(Height(300), &mut batch);
    store.commit(batch);
    assert_eq!(begun(&store), Some(Height(300)));
}
