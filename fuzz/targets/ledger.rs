//! The ledger's bytes: what is read has one encoding, and nothing is believed that was not signed.
#![no_main]

use metanode::types::Hash;
use metanode::types::chain::{ChainId, ValidatorSet};
use metanode::wire::ledger::{Block, BlockHeader, LedgerProof, Pack, Record, Sealed, binary, exactly};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let chain = ChainId(Hash([9; 32]));
    match which % 7 {
        0 => {
            if let Ok(sealed) = Sealed::check(bytes.to_vec().into(), chain) {
                assert_eq!(sealed.bytes(), bytes);
                assert_eq!(sealed.order().transactions.len(), sealed.count());
            }
            if let Ok(sealed) = Sealed::kept(bytes.to_vec().into(), chain) {
                assert!(sealed.next_nonce() > sealed.nonce());
            }
        }
        1 => {
            if let Ok(header) = BlockHeader::decode(bytes) {
                assert_eq!(header.encode(), bytes);
            }
        }
        2 => {
            if let Ok(block) = Block::decode(bytes.to_vec().into()) {
                assert_eq!(block.encode(), bytes);
            }
        }
        3 => {
            if let Some(record) = exactly::<Record>(bytes) {
                assert_eq!(binary(&record), bytes);
            }
        }
        4 => {
            if let Ok(pack) = Pack::decode(bytes.to_vec().into()) {
                assert_eq!(pack.encode(), bytes);
                assert_eq!(Pack::all(&mut pack.again.wrapping_sub(1), pack.seals.clone()), [pack]);
            }
        }
        5 => {
            if let Ok(proof) = LedgerProof::from_bytes(bytes) {
                assert_eq!(proof.to_bytes(), bytes);
                let _ = metanode::ledger::verify(&proof, chain, Hash::ZERO, &metanode::ledger::Agreement);
            }
        }
        _ => {
            if let Ok(set) = ValidatorSet::from_bytes(bytes) {
                assert_eq!(set.to_bytes(), bytes);
            }
        }
    }
});
