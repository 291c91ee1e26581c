//! Writes from the future: told of once, taken when their time has come.

use super::checkpoint::{text, write};
use super::*;
use crate::crdt::{Event, State, What, Wished, events};

/// The bundles that a node said to all, believed.
fn said(outputs: &[Output]) -> Vec<Verified> {
    let bytes = outputs.iter().filter_map(|output| match output {
        Output::Publish { topic: Category::Data, bytes } => Some(bytes.clone()),
        _ => None,
    });
    bytes.map(|bytes| Verified::check(Bundle::decode(bytes).unwrap(), network()).unwrap()).collect()
}

fn gossip(machine: &mut Machine, bundles: &[Verified]) {
    machine.tell(Input::Bundle { from: peer(2), ticket: 1, bundles: bundles.to_vec() });
}

fn told(machine: &Machine) -> Vec<Event> {
    events(0, 100, &machine.store)
}

#[test]
fn a_write_from_the_future_is_told_of_once_and_counts_when_its_time_has_come() {
    let mut author = Machine::keyed(2);
    author.now.wall = WallMs(START_MS + 60_000);
    let outputs = write(&mut author, "c", "p", Wished::Put(text(1)));
    let bundles = said(&outputs);
    assert_eq!(bundles.len(), 1);
    let mut node = Machine::with([2]);
    gossip(&mut node, &bundles);
    gossip(&mut node, &bundles);
    let events = told(&node);
    assert_eq!(
        events.iter().map(|event| (event.what, event.place())).collect::<Vec<_>>(),
        [(What::Deferred, ("c", "p"))]
    );
    assert!(events[0].version.stamp.ms() >= START_MS + 60_000 && events[0].body(&node.store).is_none());
    assert_eq!(State::of("c", &node.store).cell("p"), None);
    node.pass(50_000);
    gossip(&mut node, &bundles);
    assert_eq!(told(&node).iter().map(|event| event.what).collect::<Vec<_>>(), [What::Deferred, What::Applied]);
    assert!(State::of("c", &node.store).cell("p").is_some());
}

#[test]
fn a_write_more_than_a_day_ahead_is_refused_for_that_and_not_told_of() {
    let mut author = Machine::keyed(2);
    author.now.wall = WallMs(START_MS + 25 * 3_600_000);
    let bundles = said(&write(&mut author, "c", "p", Wished::Put(text(1))));
    let mut node = Machine::with([2]);
    gossip(&mut node, &bundles);
    assert!(told(&node).is_empty());
    let refused = node.call(Call::Status).into_iter().find_map(|output| match output {
        Output::Reply { answer: Ok(Answer::Status(status)), .. } => Some(status.counters.refused.clone()),
        _ => None,
    });
    assert_eq!(refused.unwrap().into_iter().collect::<Vec<_>>(), [("day_ahead", 1)]);
}

#[test]
fn no_more_is_told_than_is_remembered() {
    let mut author = Machine::keyed(2);
    author.now.wall = WallMs(START_MS + 3_600_000);
    let mut bundles = Vec::new();
    for n in 0..limits::DEFERRED + 20 {
        bundles.extend(said(&write(&mut author, "c", &format!("p{n}"), Wished::Put(text(1)))));
    }
    let mut node = Machine::with([2]);
    bundles.chunks(50).for_each(|some| gossip(&mut node, some));
    bundles.chunks(50).for_each(|some| gossip(&mut node, some));
    assert_eq!(events(0, 2 * limits::DEFERRED, &node.store).len(), limits::DEFERRED);
}
