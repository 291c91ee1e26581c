//! Genesis files: one that passes begins a chain whose tokens are all accounted for.
#![no_main]

use metanode::ledger::{Genesis, Ledger};
use metanode::types::MemoryStore;
use metanode::types::storage::{Batch, Txn};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(genesis) = Genesis::from_text(text) {
        let written = genesis.to_toml().expect("a genesis is written");
        assert_eq!(Genesis::from_text(&written).expect("what was written is read"), genesis);
        let (store, mut batch) = (MemoryStore::default(), Batch::default());
        let ledger = Ledger::open(&genesis, 10, &mut Txn::new(&store, &mut batch)).expect("it begins");
        assert_eq!(ledger.head().chain, genesis.chain());
    }
});
