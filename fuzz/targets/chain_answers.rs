//! What peers answer about the chain: bytes are refused or taken, and a state that comes in parts comes to what its
//! block vouches for or is refused, whatever is done to the parts on their way.
#![no_main]

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use metanode::ledger::{Agreement, Ledger, Mempool, Part, Snapshot, Trust, part, snapshot};
use metanode::node::ChainInput;
use metanode::types::storage::{Batch, Txn};
use metanode::types::{Hash, MemoryStore};
use metanode::wire::Response;
use metanode::wire::agreement::Roster;
use metanode::wire::ledger::{BlockHeader, PageSlot};
use metanode_fuzz::author;
use metanode_fuzz::chain::{decide, genesis};

/// A chain of two blocks, and who may speak of it.
struct Chain {
    store: MemoryStore,
    header: BlockHeader,
    roster: Roster,
}

static CHAIN: LazyLock<Chain> = LazyLock::new(|| {
    let (mut store, mut pool, mut batch) = (MemoryStore::default(), Mempool::default(), Batch::default());
    let mut ledger = Ledger::open(&genesis(), 3, &mut Txn::new(&store, &mut batch)).expect("it begins");
    store.commit(batch);
    for _ in 0..2 {
        decide(&mut ledger, &mut pool, &mut store);
    }
    let height = ledger.head().height;
    let header = metanode::ledger::chain::header(height, &store).expect("the store is whole").expect("it was decided");
    let current = ledger.next_validators().clone();
    let roster = Roster {
        chain: ledger.head().chain,
        height: height.next(),
        current: current.clone(),
        next: current.clone(),
        before: current,
    };
    Chain { store, header, roster }
});

/// What is done to a part on its way.
#[derive(Arbitrary, Debug)]
enum Deed {
    Nothing,
    Drop { at: u8 },
    Twice { at: u8 },
    Swap { one: u8, other: u8 },
    Flip { at: u8, byte: u8, bit: u8, value: bool },
    Empty,
    Other,
}

fn spoil(part: &mut Part, deed: &Deed) {
    let rows = match part {
        Part::Rows(rows) => rows,
        Part::Page(slots) => {
            let count = slots.len();
            let at = |n: &u8| usize::from(*n) % count;
            match deed {
                Deed::Nothing => {}
                Deed::Drop { at: n } | Deed::Twice { at: n } => slots[at(n)] = PageSlot::Empty,
                Deed::Swap { one, other } => slots.swap(at(one), at(other)),
                Deed::Flip { at: n, byte, bit, .. } => {
                    if let PageSlot::Leaf { key: hash, .. } | PageSlot::Branch(hash) = &mut slots[at(n)] {
                        hash.0[usize::from(*byte) % 32] ^= 1 << (bit % 8);
                    }
                }
                Deed::Empty => slots.fill(PageSlot::Empty),
                Deed::Other => *part = Part::Rows(Vec::new()),
            }
            return;
        }
    };
    let count = rows.len().max(1);
    let at = |n: &u8| usize::from(*n) % count;
    match deed {
        Deed::Nothing => {}
        Deed::Empty => rows.clear(),
        Deed::Other => *part = Part::Page(Box::new(std::array::from_fn(|_| PageSlot::Empty))),
        _ if rows.is_empty() => {}
        Deed::Drop { at: n } => drop(rows.remove(at(n))),
        Deed::Twice { at: n } => rows.insert(at(n), rows[at(n)].clone()),
        Deed::Swap { one, other } => rows.swap(at(one), at(other)),
        Deed::Flip { at: n, byte, bit, value } => {
            let n = at(n);
            let row = &mut rows[n];
            let side = if *value { &mut row.1 } else { &mut row.0 };
            let mut bytes = side.to_vec();
            if let Some(byte) = bytes.get_mut(usize::from(*byte)) {
                *byte ^= 1 << (bit % 8);
            }
            *side = Bytes::from(bytes);
        }
    }
}

/// A state comes part by part: what was altered is refused, what was not is taken, and in the end it is whole.
fn fetch(most: u8, deeds: &[Deed]) {
    let Chain { store, header, .. } = &*CHAIN;
    let mut here = MemoryStore::default();
    let mut snapshot = Snapshot::of(header.clone());
    let mut deeds = deeds.iter().take(60);
    while let Some(wanted) = snapshot.ask() {
        let sent = part(header.height, wanted.branch, usize::from(most), store).expect("it is kept");
        let mut came = sent.clone();
        deeds.next().into_iter().for_each(|deed| spoil(&mut came, deed));
        let mut batch = Batch::default();
        let taken = snapshot.put(wanted, &came, &mut Txn::new(&here, &mut batch));
        assert_eq!(taken.is_ok(), came == sent, "{taken:?} of {came:?}");
        if taken.is_ok() {
            here.commit(batch);
        }
    }
    assert!(snapshot.is_whole());
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let roster = &CHAIN.roster;
    // Variant 5 of responses is about the chain.
    for bytes in [bytes, &[&[5], bytes].concat()] {
        let Ok(Response::Chain(answer)) = Response::decode(bytes) else { continue };
        match ChainInput::answer(author(1), 1, answer, roster) {
            Ok(Some(ChainInput::Trail { headers, .. })) => {
                let trust =
                    Trust { chain: CHAIN.header.chain, height: CHAIN.header.height, set: CHAIN.header.next_validators };
                let _ = snapshot::followed(&headers, trust, &Agreement);
            }
            Ok(Some(ChainInput::Part { part, .. })) => {
                let mut snapshot = Snapshot::of(BlockHeader { state_root: Hash([7; 32]), ..CHAIN.header.clone() });
                let wanted = snapshot.ask().expect("the root is missing");
                let here = MemoryStore::default();
                let mut batch = Batch::default();
                assert!(
                    snapshot.put(wanted, &part, &mut Txn::new(&here, &mut batch)).is_err(),
                    "nobody knows that root"
                );
            }
            Ok(_) | Err(_) => {}
        }
    }
    if let Ok((most, deeds)) = <(u8, Vec<Deed>)>::arbitrary(&mut Unstructured::new(bytes)) {
        fetch(most, &deeds);
    }
});
