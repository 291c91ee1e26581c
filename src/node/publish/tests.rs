//! Drafts for one reader take room while they wait to be said.

use super::super::{Call, CallRefusal, Input, Output, Setup, Step};
use super::*;
use crate::types::{MemoryStore, Mono, NodeId, Now, WallMs};
use crate::wire::kind::Payload;

const NOW: Now = Now { mono: Mono(0), wall: WallMs(1_700_000_000_000) };

fn peer() -> NodeId {
    NodeId(SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes())
}

fn opened(store: &mut MemoryStore) -> Node {
    let setup = Setup {
        network: "test".parse().unwrap(),
        key: SigningKey::from_bytes(&[1; 32]),
        entropy: 1,
        place: 1,
        bootstrap: Vec::new(),
        target_peers: 8,
        scheduler: Default::default(),
        strategy: Default::default(),
        role: Default::default(),
        retention: Default::default(),
        registration: None,
        chain: None,
    };
    let (mut node, step) = Node::open(setup, store, NOW).unwrap();
    store.commit(step.batch);
    act(&mut node, store, vec![Input::PeerUp { peer: peer(), dialled: None }, Input::PeerDown { peer: peer() }]);
    node
}

/// One step; what the node wants of it.
fn act(node: &mut Node, store: &mut MemoryStore, inputs: Vec<Input>) -> Vec<Output> {
    let mut step = Step::default();
    for input in inputs {
        node.handle(input, store, NOW, &mut step);
    }
    node.finish(store, NOW, &mut step);
    store.commit(step.batch);
    step.outputs.into_iter().map(|(_, output)| output).collect()
}

fn draft(headers: usize) -> Draft {
    let mut draft = Draft::new(&Payload::from_json_str(crate::wire::Kind::LogRecord, RECORD).unwrap());
    draft.destination = Destination::Node(peer());
    draft.priority = Priority::Normal;
    draft.headers = (0..headers).map(|n| (format!("name-{n}"), "v".repeat(1_000))).collect();
    draft
}

const RECORD: &str = r#"{"fields":{},"level":"warn","service":"api","target":"t","text":"slow","time_ms":1763683200000,"trace_id":"519022b6723d48599040a864d3cbcdef"}"#;

fn call(id: u64, drafts: Vec<Draft>) -> Input {
    Input::Call { id, call: Call::Publish { drafts, ack: Ack::Accepted } }
}

fn refusal(outputs: &[Output], of: u64) -> Option<CallRefusal> {
    outputs.iter().find_map(|output| match output {
        Output::Reply { id, answer: Err(refusal) } if *id == of => Some(refusal.clone()),
        _ => None,
    })
}

#[test]
fn what_waits_to_be_said_to_a_reader_takes_room_there() {
    let mut store = MemoryStore::default();
    let mut node = opened(&mut store);
    // All in one step: none of them is said before the last call is judged.
    let calls = (1..=4).map(|id| call(id, vec![draft(0); 3_000])).collect();
    let outputs = act(&mut node, &mut store, calls);
    assert_eq!((1..=3).filter_map(|id| refusal(&outputs, id)).count(), 0);
    assert!(matches!(refusal(&outputs, 4), Some(CallRefusal::NoRoom { .. })), "10,000 may wait");
    assert_eq!(node.queued.of(&Destination::Node(peer())) % 3_000, node.lanes.waiting() % 3_000);
    while node.lanes.waiting() > 0 {
        act(&mut node, &mut store, Vec::new());
    }
    assert_eq!(node.queued.by_destination.len(), 0);
    let outputs = act(&mut node, &mut store, vec![call(5, vec![draft(0); 1_001]), call(6, vec![draft(0); 1_000])]);
    assert!(refusal(&outputs, 5).is_some() && refusal(&outputs, 6).is_none());
    assert!(Node::open(node.setup.clone(), &store, NOW).is_ok(), "what was taken can be read again");
}

#[test]
fn a_way_of_choosing_that_there_is_not_is_refused() {
    let mut store = MemoryStore::default();
    let mut node = opened(&mut store);
    let mut odd = draft(0);
    odd.headers.insert(STRATEGY_HEADER.into(), "quickest".into());
    let outputs = act(&mut node, &mut store, vec![call(1, vec![odd])]);
    assert!(matches!(refusal(&outputs, 1), Some(CallRefusal::Invalid { .. })));
}

#[test]
fn what_waits_on_the_disk_is_counted_with_its_headers_and_comes_back_whole() {
    let (mut store, mut spill) = (MemoryStore::default(), Spill::default());
    let mut batch = crate::types::storage::Batch::default();
    let parcels = (0..2_000).map(|index| Parcel { draft: draft(30), call: 1, index }).collect();
    spill.push(parcels, &mut crate::types::storage::Txn::new(&store, &mut batch));
    store.commit(batch);
    assert_eq!(Queued::load(&spill, &store).of(&Destination::Node(peer())), 2_000);
    let mut back = 0;
    while !spill.is_empty() {
        let mut batch = crate::types::storage::Batch::default();
        back += spill.take(&mut crate::types::storage::Txn::new(&store, &mut batch)).unwrap().len();
        store.commit(batch);
    }
    assert_eq!(back, 2_000);
}
