//! What a node says while its peers hold it, and while they do not.

use super::*;
use crate::types::Domain;
use crate::wire::Head;

/// Messages that do not pack, a kibibyte each, as Bulk.
fn bulk(from: u64, count: u64) -> Vec<Draft> {
    let body = |n: u64| (0..32u64).flat_map(move |part| Domain::Trace.hash(&[&n.to_be_bytes(), &part.to_be_bytes()]).0);
    let draft = |n: u64| {
        let content_type = "application/octet-stream".into();
        let body = Blob(body(n).collect());
        let payload = Custom { type_name: "test.bulk".into(), schema_version: 1, content_type, body };
        let mut draft = Draft::new(&Payload::Custom(payload));
        draft.priority = Priority::Bulk;
        draft
    };
    (from..from + count).map(draft).collect()
}

impl Machine {
    fn say_bulk(&mut self, from: u64, count: u64) -> Vec<Output> {
        self.call(Call::Publish { drafts: bulk(from, count), ack: Ack::Accepted })
    }

    /// Steps, as the node wishes them, until it wants to be called later.
    fn settle(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while self.node.next_wake() <= self.now.mono {
            outputs.extend(self.tell(Input::Tick));
        }
        outputs
    }

    /// The peer answers that it holds this much of what the node said.
    fn held(&mut self, seed: u8, id: u64, topics: &[Category], all: bool) -> Vec<Output> {
        let head = |topic: &Category| {
            let feed = FeedId { author: peer(1), incarnation: self.node.life.incarnation, topic: *topic };
            let chain = self.node.feeds().chain(feed).filter(|_| all);
            Head { feed, floor: 0, next: chain.map_or(0, |c| c.next), hash: Hash([1; 32]), forked: None }
        };
        let heads = topics.iter().map(head).collect();
        self.tell(Input::Heads { from: peer(seed), id, heads, more: false })
    }
}

fn frames(outputs: &[Output]) -> usize {
    let bytes = |output: &Output| match output {
        Output::Publish { topic: Category::External, bytes } => Some(bytes.len()),
        _ => None,
    };
    outputs.iter().filter_map(bytes).sum()
}

/// Under which number a peer is asked how far it is.
fn asked(outputs: &[Output], seed: u8) -> Option<u64> {
    outputs.iter().find_map(|output| match output {
        Output::Request { to, id, request: Request::Ends { .. } } if *to == peer(seed) => Some(*id),
        _ => None,
    })
}

#[test]
fn what_goes_by_gossip_waits_until_a_peer_holds_what_was_said_before() {
    let mut machine = Machine::with([2]);
    machine.pass(5_000);
    let mut outputs = machine.say_bulk(0, 2_000);
    outputs.extend(machine.settle());
    let (first, waiting) = (frames(&outputs), machine.node.lanes.waiting());
    assert!((limits::WINDOW_BYTES / 8..limits::WINDOW_BYTES / 4).contains(&first), "{first} bytes are the first share");
    assert!(waiting > 0 && waiting < 2_000);
    assert!(frames(&machine.pass(500)) == 0 && machine.node.lanes.waiting() == waiting, "it waits");
    let id = asked(&outputs, 2).expect("the peer is asked how far it is");
    let mut outputs = machine.held(2, id, &[Category::External], false);
    outputs.extend(machine.settle());
    assert_eq!(frames(&outputs), 0, "a peer that holds nothing yet and follows");
    outputs.extend(machine.pass(300));
    let id = asked(&outputs, 2).expect("it is asked again");
    let mut outputs = machine.held(2, id, &[Category::External], true);
    outputs.extend(machine.settle());
    assert!(frames(&outputs) > 0 && machine.node.lanes.waiting() < waiting, "it holds all, and gets more");
}

#[test]
fn what_is_not_kept_or_written_to_the_state_takes_no_room() {
    let mut machine = Machine::with([2]);
    machine.pass(5_000);
    machine.put("a/b", "c");
    let outputs = machine.pass(20_000);
    let beats = outputs.iter().filter(|output| matches!(output, Output::Publish { topic: Category::System, .. }));
    assert!(beats.count() > 0);
    assert_eq!(machine.node.window.state().unheld_bytes, 0);
    assert_eq!(machine.node.window.state().peers, 1, "and the peer counts among those that keep up");
}

#[test]
fn a_peer_is_told_of_every_topic_that_is_followed() {
    let mut machine = Machine::with([2]);
    let ask = |machine: &mut Machine| {
        let request = Request::Ends { author: peer(2), incarnation: Incarnation(1) };
        let outputs = machine.tell(Input::Request { from: peer(2), id: 5, request });
        match answered(&outputs)[..] {
            [(5, Response::Heads { heads, more: false })] => heads.clone(),
            ref other => panic!("{other:?}"),
        }
    };
    let before = ask(&mut machine);
    assert_eq!(before.len(), Category::ALL.len());
    assert!(before.iter().all(|head| head.next == 0 && head.floor == 0) && before.is_sorted_by_key(|head| head.feed));
    machine.hear(2, writes::said(2, START_MS, &[writes::write("a", "b")]));
    let after = ask(&mut machine);
    let next = |topic| after.iter().find(|head: &&Head| head.feed.topic == topic).unwrap().next;
    assert_eq!((next(Category::Data), next(Category::External)), (1, 0));
}
