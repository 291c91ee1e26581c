//! Rolls of floors from peers that go away in the middle of one.

use super::writes::said;
use super::*;
use crate::crdt::{FLOOR, Floor, RollRoot};
use crate::types::Version;
use crate::wire::kind::state::{Change, CollectionWrite, Op};
use crate::wire::kind::system::Heartbeat;
use crate::wire::{CollectionHead, FloorName, ListedCollection, Ranges, RollEntry, StateRequest};

fn at(n: u64) -> Version {
    Version { stamp: Stamp::new(START_MS - 60_000, n as u16), digest: [1; 16] }
}

fn entry(n: u64) -> RollEntry {
    RollEntry { version: at(n), digest: Hash([n as u8; 32]) }
}

/// The floor of the roll of entries 1 to `count`.
fn floor(count: u64) -> Floor {
    let mut root = RollRoot::default();
    let entry = |n| crate::crdt::Entry { version: entry(n).version, digest: entry(n).digest };
    (1..=count).for_each(|n| root.add(&entry(n)));
    root.floor(at(1_000))
}

/// A peer says a floor that this node cannot count.
fn says_floor(seed: u8) -> Verified {
    let change = Change { path: FLOOR.into(), over: Vec::new(), op: Op::Set { value: floor(2).json() } };
    let write = CollectionWrite { collection: "c".into(), client: None, changes: vec![change] };
    said(seed, START_MS - 30_000, &[Payload::CollectionWrite(write)])
}

/// A peer lives, and its state is another one.
pub(super) fn beat(seed: u8, ms: u64) -> Verified {
    let beat = Heartbeat {
        uptime_s: 1,
        peers: 1,
        messages: 1,
        roots: Vec::new(),
        state_root: Some(Hash([9; 32])),
        clock_ms: WallMs(ms),
        heads: Vec::new(),
    };
    let mut pending = Pending::default();
    pending.push(&Draft::new(&Payload::Heartbeat(beat)).message(MessageId::new(Stamp::new(ms, 0), seed.into())));
    let header = Header { priority: Priority::High, ..header(seed, Course::Ephemeral, Category::System) };
    pending.seal(header, &key(seed)).unwrap()
}

impl Machine {
    /// A peer lives on with another state until it is asked for the roll: whom, under which number, after what.
    fn asked_for_roll(&mut self, seed: u8) -> (NodeId, u64, Option<RollEntry>) {
        self.asked_after(seed, Vec::new())
    }

    /// The same after a step that wanted these. What is compared with a peer comes to nothing.
    fn asked_after(&mut self, seed: u8, mut outputs: Vec<Output>) -> (NodeId, u64, Option<RollEntry>) {
        for _ in 0..60 {
            outputs.extend(self.pass(1_000));
            let bundles = vec![beat(seed, self.now.wall.0)];
            outputs.extend(self.tell(Input::Bundle { from: peer(seed), ticket: 1, bundles }));
            while let Some(output) = outputs.pop() {
                match output {
                    Output::Request { to, id, request: Request::State(StateRequest::Collections { .. }) } => {
                        let head = CollectionHead { name: "c".into(), retained: 1, root: Hash([9; 32]) };
                        let Floor { version, count, root } = floor(2);
                        let listed = vec![ListedCollection { head, floor: Some(FloorName { version, count, root }) }];
                        let input = StateInput::Collections { from: to, id, listed, more: false };
                        outputs.extend(self.tell(Input::State(input)));
                    }
                    Output::Request { to, id, request: Request::State(StateRequest::Compare { .. }) } => {
                        outputs.extend(self.tell(Input::Failed { from: to, id }));
                    }
                    Output::Request { to, id, request: Request::State(StateRequest::Roll { after, .. }) } => {
                        return (to, id, after);
                    }
                    _ => {}
                }
            }
        }
        panic!("nobody is asked for the roll");
    }

    /// Whether a peer that lives on with another state is compared with within a minute.
    fn is_compared_with(&mut self, seed: u8) -> bool {
        let is_begun = |output: &Output| match output {
            Output::Request { to, request: Request::State(StateRequest::Collections { .. }), .. } => *to == peer(seed),
            _ => false,
        };
        (0..60).any(|_| {
            let mut outputs = self.pass(1_000);
            let bundles = vec![beat(seed, self.now.wall.0)];
            outputs.extend(self.tell(Input::Bundle { from: peer(seed), ticket: 1, bundles }));
            outputs.iter().any(is_begun)
        })
    }
}

/// Under which number the next page of a roll is asked for.
fn asked_on(outputs: &[Output]) -> Option<u64> {
    outputs.iter().find_map(|output| match output {
        Output::Request { id, request: Request::State(StateRequest::Roll { after: Some(_), .. }), .. } => Some(*id),
        _ => None,
    })
}

#[test]
fn a_roll_that_another_peer_hands_over_first_keeps_no_session_open() {
    let mut machine = Machine::with([3, 4]);
    machine.tell(Input::Bundle { from: peer(3), ticket: 1, bundles: vec![says_floor(3)] });
    let (first, whole, _) = machine.asked_for_roll(3);
    let (second, part, _) = machine.asked_for_roll(4);
    assert_eq!((first, second), (peer(3), peer(4)), "both are asked");
    let page = StateInput::Rolled { from: second, id: part, entries: vec![entry(1)], more: true };
    let next = asked_on(&machine.tell(Input::State(page))).expect("it goes on");
    let entries = vec![entry(1), entry(2)];
    machine.tell(Input::State(StateInput::Rolled { from: first, id: whole, entries, more: false }));
    assert_eq!(machine.node.replica().floor("c"), Some(floor(2)));
    // The second one's comes when nobody needs it any more.
    let rest = StateInput::Rolled { from: second, id: next, entries: vec![entry(2)], more: true };
    machine.tell(Input::State(rest));
    assert!(machine.is_compared_with(4), "what it has is compared next");
}

#[test]
fn a_peer_that_goes_away_in_the_middle_of_a_roll_leaves_it_to_others() {
    let mut machine = Machine::with([3, 4]);
    machine.tell(Input::Bundle { from: peer(3), ticket: 1, bundles: vec![says_floor(3)] });
    let (first, id, after) = machine.asked_for_roll(3);
    assert_eq!((first, after), (peer(3), None));
    let page = StateInput::Rolled { from: first, id, entries: vec![entry(1)], more: true };
    let next = asked_on(&machine.tell(Input::State(page))).expect("it goes on");
    machine.tell(Input::PeerDown { peer: first });
    let (to, id, after) = machine.asked_for_roll(4);
    assert_eq!((to, after), (peer(4), None), "the other one is asked, from the beginning");
    // What comes late of the first one's changes nothing.
    let late = StateInput::Rolled { from: first, id: next, entries: vec![entry(2)], more: false };
    machine.tell(Input::State(late));
    let whole = StateInput::Rolled { from: to, id, entries: vec![entry(1), entry(2)], more: false };
    machine.tell(Input::State(whole));
    assert_eq!(machine.node.replica().floor("c"), Some(floor(2)));
}

#[test]
fn a_roll_that_was_broken_off_is_gone_on_with_and_one_that_is_wrong_begun_anew() {
    let mut machine = Machine::with([3]);
    machine.tell(Input::Bundle { from: peer(3), ticket: 1, bundles: vec![says_floor(3)] });
    let (from, id, _) = machine.asked_for_roll(3);
    let outputs = machine.tell(Input::State(StateInput::Rolled { from, id, entries: vec![entry(1)], more: true }));
    let next = outputs.iter().find_map(|output| match output {
        Output::Request { id, request: Request::State(StateRequest::Roll { .. }), .. } => Some(*id),
        _ => None,
    });
    let outputs = machine.tell(Input::Failed { from, id: next.expect("it goes on") });
    let (from, id, after) = machine.asked_after(3, outputs);
    assert_eq!(after, Some(entry(1)), "another session goes on with it");
    machine.tell(Input::State(StateInput::Rolled { from, id, entries: vec![entry(1)], more: true }));
    assert!(machine.penalty(3) > 0, "it was there before");
    let (from, id, after) = machine.asked_for_roll(3);
    assert_eq!(after, None);
    machine.tell(Input::State(StateInput::Rolled { from, id, entries: vec![entry(1), entry(2)], more: false }));
    assert_eq!(machine.node.replica().floor("c"), Some(floor(2)));
}

#[test]
fn with_a_peer_that_answers_another_question_no_session_stays_open() {
    let mut machine = Machine::with([3]);
    let asked = |outputs: Vec<Output>| {
        outputs.into_iter().find_map(|output| match output {
            Output::Request { id, request: Request::State(StateRequest::Collections { .. }), .. } => Some(id),
            _ => None,
        })
    };
    let id = (0..60).find_map(|_| {
        let mut outputs = machine.pass(1_000);
        let bundles = vec![beat(3, machine.now.wall.0)];
        outputs.extend(machine.tell(Input::Bundle { from: peer(3), ticket: 1, bundles }));
        asked(outputs)
    });
    let id = id.expect("it is compared with");
    let ranges = Ranges { salt: [0; 8], top: Version::MAX, parts: Vec::new() };
    machine.tell(Input::State(StateInput::Compared { from: peer(3), id, ranges, writes: Vec::new() }));
    assert!(machine.is_compared_with(3), "again, later");
}
