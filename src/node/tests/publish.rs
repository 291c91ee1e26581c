//! Drafts for one reader take room while they wait to be said.

use super::*;
use crate::flow::{Parcel, Spill};
use crate::node::publish::Queued;
use crate::types::storage::{Batch, Txn};
use crate::wire::STRATEGY_HEADER;

/// A node that knows of a peer and is not connected to it.
fn alone() -> Machine {
    let mut machine = Machine::with([2]);
    machine.tell(Input::PeerDown { peer: peer(2) });
    machine
}

fn say(id: u64, drafts: Vec<Draft>) -> Input {
    Input::Call { id, call: Call::Publish { drafts, ack: Ack::Accepted } }
}

fn refusal(outputs: &[Output], of: u64) -> Option<&CallRefusal> {
    outputs.iter().find_map(|output| match output {
        Output::Reply { id, answer: Err(refusal) } if *id == of => Some(refusal),
        _ => None,
    })
}

#[test]
fn what_waits_to_be_said_to_a_reader_takes_room_there() {
    let mut machine = alone();
    // All in one step: nothing is said before the last call is judged.
    let calls = (1..=4).map(|id| say(id, vec![note(peer(2)); 3_000])).collect();
    let outputs = machine.tell_all(calls);
    assert_eq!((1..=3).filter_map(|id| refusal(&outputs, id)).count(), 0);
    assert!(matches!(refusal(&outputs, 4), Some(CallRefusal::NoRoom { .. })), "10,000 may wait");
    while machine.node.lanes.waiting() > 0 {
        machine.tell(Input::Tick);
    }
    let outputs = machine.tell_all(vec![say(5, vec![note(peer(2)); 1_001]), say(6, vec![note(peer(2)); 1_000])]);
    assert!(refusal(&outputs, 5).is_some() && refusal(&outputs, 6).is_none(), "what is said waits no more to be said");
    let again = Node::open(machine.node.setup.clone(), &machine.store, machine.now);
    assert!(again.is_ok(), "what was taken can be read again");
}

#[test]
fn a_way_of_choosing_that_there_is_not_is_refused() {
    let mut odd = note(peer(2));
    odd.headers.insert(STRATEGY_HEADER.into(), "quickest".into());
    let outputs = alone().tell(say(1, vec![odd]));
    assert!(matches!(refusal(&outputs, 1), Some(CallRefusal::Invalid { .. })));
}

#[test]
fn what_waits_on_the_disk_is_counted_with_its_headers_and_comes_back_whole() {
    let mut draft = note(peer(2));
    draft.headers = (0..30).map(|n| (format!("name-{n}"), "v".repeat(1_000))).collect();
    let (mut store, mut spill) = (MemoryStore::default(), Spill::default());
    let mut batch = Batch::default();
    let parcels = (0..400).map(|index| Parcel { draft: draft.clone(), call: 1, index }).collect();
    spill.push(parcels, &mut Txn::new(&store, &mut batch));
    store.commit(batch);
    let mut queued = Queued::load(&spill, &store);
    assert_eq!(queued.of(&Destination::Node(peer(2))), 400);
    queued.remove(&draft, 400);
    assert_eq!(queued.of(&Destination::Node(peer(2))), 0);
    let mut back = 0;
    while !spill.is_empty() {
        let mut batch = Batch::default();
        back += spill.take(&mut Txn::new(&store, &mut batch)).unwrap().len();
        store.commit(batch);
    }
    assert_eq!(back, 400);
}
