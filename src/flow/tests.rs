//! What travels together, and in what order.

use std::sync::LazyLock;

use super::*;
use crate::types::storage::{Batch, Key, Table, Txn};
use zeroize::Zeroizing;

use crate::types::{Hash, MemoryStore, MessageId, Mono, NetworkName, NodeId, WallMs, limits};
use crate::wire::{Destination, Draft, Kind, Payload, Priority, Seal, SealingKey, seal_for};

mod schedule;
mod window;

static VECTORS: LazyLock<Vec<serde_json::Value>> = LazyLock::new(|| {
    let vectors = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/kinds.json"));
    serde_json::from_str(vectors).unwrap()
});

fn payload(kind: Kind) -> Payload {
    let vector = VECTORS.iter().find(|v| v["kind"] == kind.to_string()).unwrap();
    Payload::from_json(kind, &vector["payload"]).unwrap()
}

fn parcel(kind: Kind, priority: Priority, call: u64) -> Parcel {
    let mut draft = Draft::new(&payload(kind));
    draft.priority = priority;
    Parcel { draft, call, index: 0 }
}

fn push(lanes: &mut Lanes, parcel: Parcel) {
    lanes.push(parcel, Mono(0));
}

fn drain(lanes: &mut Lanes) -> Vec<Vec<u64>> {
    std::iter::from_fn(|| lanes.take(Pass::All, Mono(0)))
        .map(|load| load.parcels.iter().map(|p| p.call).collect())
        .collect()
}

#[test]
fn what_is_urgent_goes_first_and_rank_follows_the_category_when_nothing_is_said() {
    let mut lanes = Lanes::new(Policy::Strict);
    push(&mut lanes, parcel(Kind::ExchangeData, Priority::Bulk, 1));
    push(&mut lanes, parcel(Kind::ExchangeData, Priority::Normal, 2));
    push(&mut lanes, parcel(Kind::TokenTransfer, Priority::Normal, 3));
    push(&mut lanes, parcel(Kind::SecurityAlert, Priority::Normal, 4));
    push(&mut lanes, parcel(Kind::LogRecord, Priority::Normal, 5));
    push(&mut lanes, parcel(Kind::LogRecord, Priority::Critical, 6));
    assert_eq!(lanes.waiting(), 6);
    assert_eq!(drain(&mut lanes), [vec![4], vec![6], vec![3], vec![2], vec![5], vec![1]]);
    assert_eq!(lanes.waiting(), 0);
}

#[test]
fn only_one_topic_one_priority_and_one_permanence_travel_together() {
    let mut lanes = Lanes::new(Policy::Strict);
    push(&mut lanes, parcel(Kind::StatusUpdate, Priority::Normal, 1));
    push(&mut lanes, parcel(Kind::Heartbeat, Priority::Normal, 2));
    push(&mut lanes, parcel(Kind::StatusUpdate, Priority::Normal, 3));
    push(&mut lanes, parcel(Kind::ExchangeData, Priority::Normal, 4));
    push(&mut lanes, parcel(Kind::StatusUpdate, Priority::High, 5));
    assert_eq!(drain(&mut lanes), [vec![5], vec![1, 3], vec![2], vec![4]]);
}

#[test]
fn a_bundle_is_cut_at_its_size_and_a_draft_that_wants_its_own_seal_gets_it() {
    let mut lanes = Lanes::new(Policy::Strict);
    let draft = parcel(Kind::ExchangeData, Priority::Normal, 0).draft;
    for call in 0..2000 {
        push(&mut lanes, Parcel { draft: draft.clone(), call, index: 0 });
    }
    let loads = drain(&mut lanes);
    assert!(loads.len() > 2);
    assert!(loads.iter().all(|l| l.len() * 96 <= limits::BUNDLE_TARGET_BYTES && l.len() <= limits::BUNDLE_MESSAGES));
    assert_eq!(loads.concat(), (0..2000).collect::<Vec<_>>());
    for call in 0..4 {
        let mut parcel = parcel(Kind::ExchangeData, Priority::Normal, call);
        parcel.draft.seal = if call == 2 { Seal::Each } else { Seal::Bundle };
        push(&mut lanes, parcel);
    }
    assert_eq!(drain(&mut lanes), [vec![0, 1], vec![2], vec![3]]);
}

#[test]
fn keys_are_remembered_over_a_restart_and_forgotten_in_time() {
    let (mut store, mut batch) = (MemoryStore::default(), Batch::default());
    let mut keys = Idempotency::default();
    let (one, two) = (Hash([1; 32]), Hash([2; 32]));
    keys.note(one, MessageId([1; 16]), WallMs(1000), &mut Txn::new(&store, &mut batch));
    keys.note(two, MessageId([2; 16]), WallMs(9000), &mut Txn::new(&store, &mut batch));
    store.commit(std::mem::take(&mut batch));
    let mut again = Idempotency::load(&store);
    assert_eq!((again.id(&one), again.id(&two)), (Some(MessageId([1; 16])), Some(MessageId([2; 16]))));
    let later = WallMs(1001).plus(limits::IDEMPOTENCY_AGE);
    again.forget(later, &mut Txn::new(&store, &mut batch));
    store.commit(batch);
    assert_eq!((again.id(&one), again.id(&two)), (None, Some(MessageId([2; 16]))));
    assert_eq!(Idempotency::load(&store).id(&one), None);
}

fn order(call: u64, index: usize) -> Parcel {
    let mut parcel = parcel(Kind::ExchangeData, Priority::Normal, call);
    parcel.index = index;
    parcel
}

fn spilled(spill: &mut Spill, store: &mut MemoryStore, calls: std::ops::Range<u64>) {
    for call in calls {
        let mut batch = Batch::default();
        spill.push((0..3).map(|index| order(call, index)).collect(), &mut Txn::new(store, &mut batch));
        store.commit(batch);
    }
}

fn back(spill: &mut Spill, store: &mut MemoryStore) -> Vec<(u64, usize)> {
    let mut batch = Batch::default();
    let parcels = spill.take(&mut Txn::new(store, &mut batch)).unwrap();
    store.commit(batch);
    parcels.iter().map(|parcel| (parcel.call, parcel.index)).collect()
}

#[test]
fn numbers_that_a_damaged_disk_made_up_are_not_counted_up_to() {
    let (mut store, mut spill) = (MemoryStore::default(), Spill::default());
    spilled(&mut spill, &mut store, 1..2);
    let mut batch = Batch::default();
    for number in [1 << 62, u64::MAX] {
        batch.put(Key::new(Table::Spill, &[&u64::to_be_bytes(number)]), b"no row".to_vec());
    }
    store.commit(batch);
    let mut again = Spill::load(&store);
    assert_eq!(back(&mut again, &mut store).len(), 3);
    let mut batch = Batch::default();
    let unreadable = again.take(&mut Txn::new(&store, &mut batch)).map(|_| ());
    assert_eq!(unreadable, Err(Unreadable { awaited: false }));
    assert!(again.is_empty());
}

#[test]
fn what_waits_on_the_disk_comes_back_in_its_order_and_after_a_crash_belongs_to_nobody() {
    let (mut store, mut spill) = (MemoryStore::default(), Spill::default());
    assert!(spill.is_empty() && back(&mut spill, &mut store).is_empty());
    spilled(&mut spill, &mut store, 1..4);
    assert_eq!(spill.depth().0, 9);
    assert_eq!(back(&mut spill, &mut store), [(1, 0), (1, 1), (1, 2)]);
    // The process dies, and calls are counted anew.
    let mut spill = Spill::load(&store);
    assert_eq!(spill.depth().0, 6);
    spilled(&mut spill, &mut store, 2..4);
    assert_eq!(back(&mut spill, &mut store), [(0, 0), (0, 1), (0, 2)]);
    // A clean stop: what callers of this life wait for is gone, what nobody waits for stays.
    let mut batch = Batch::default();
    spill.forget_fresh(&mut Txn::new(&store, &mut batch));
    store.commit(batch);
    assert_eq!(spill.depth().0, 3);
    assert_eq!(back(&mut Spill::load(&store), &mut store), [(0, 0), (0, 1), (0, 2)]);
    assert!(Spill::load(&store).is_empty());
    assert_eq!(Spill::load(&store).depth(), (0, 0));
}

#[test]
fn a_sealed_draft_that_waited_on_the_disk_is_still_sealed_and_its_reader_opens_it() {
    let network = "spill".parse::<NetworkName>().unwrap().id();
    let (author, reader) = (NodeId([1; 32]), NodeId([2; 32]));
    let key = SealingKey::from_seed(reader, &[3; 32]);
    let mut draft = parcel(Kind::ExchangeData, Priority::Normal, 0).draft;
    let plain = draft.payload().to_vec();
    draft.destination = Destination::Node(reader);
    draft.confidential = true;
    assert!(seal_for(&mut draft, author, network, reader, key.public(), &Zeroizing::new([4; 32])));
    let (mut store, mut batch) = (MemoryStore::default(), Batch::default());
    Spill::default().push(vec![Parcel { draft: draft.clone(), call: 3, index: 0 }], &mut Txn::new(&store, &mut batch));
    let on_disk: Vec<u8> = batch.into_writes().flat_map(|(_, value)| value.unwrap().to_vec()).collect();
    assert!(
        !on_disk.windows(8).any(|part| plain.windows(8).any(|other| other == part)),
        "it is to be read on the disk"
    );
    let mut batch = Batch::default();
    Spill::default().push(vec![Parcel { draft: draft.clone(), call: 3, index: 0 }], &mut Txn::new(&store, &mut batch));
    store.commit(batch);
    let back = Spill::load(&store).take(&mut Txn::new(&store, &mut Batch::default())).unwrap();
    assert_eq!(back[0].draft, draft);
    let opened = key.open(&back[0].draft.message(MessageId([7; 16])), author, network, WallMs(u64::MAX));
    assert_eq!(opened.unwrap().to_vec(), plain);
}
