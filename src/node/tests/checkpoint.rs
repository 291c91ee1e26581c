//! Checkpoints of one node's state, joined into another's.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::crdt::{Condition, Wish, Wished, collections};
use crate::types::Version;
use crate::wire::kind::Json;
use crate::wire::{Chunk, Proven};

/// A client writes to a collection.
pub(super) fn write(machine: &mut Machine, collection: &str, path: &str, wished: Wished) -> Vec<Output> {
    let wishes = vec![Wish { path: path.into(), wished, condition: Condition::None }];
    let write = Write { collection: collection.into(), client: None, wishes, restores: None, ack: Ack::Accepted };
    let outputs = machine.call(Call::Write(Box::new(write)));
    let wrote = |output: &Output| matches!(output, Output::Reply { answer: Ok(Answer::Wrote(_)), .. });
    assert!(outputs.iter().any(wrote), "{outputs:?}");
    outputs
}

pub(super) fn text(value: impl Into<serde_json::Value>) -> Json {
    Json::from(&value.into())
}

/// All chunks of a collection, as files.
fn chunks(machine: &Machine, collection: &str) -> Vec<Bytes> {
    let (mut files, mut after) = (Vec::new(), None::<Version>);
    while let Some(cut) = cut(collection, after, None, &machine.store) {
        assert!(Some(cut.last) > after && cut.unproved == 0);
        after = Some(cut.last);
        files.push(cut.chunk.encode().unwrap());
    }
    files
}

fn proved(file: &[u8]) -> Vec<(Proven, Vec<u64>)> {
    Chunk::decode(file).unwrap().prove(network()).unwrap()
}

fn join(machine: &mut Machine, file: &[u8]) -> Joined {
    let writes = proved(file).into_iter().map(|(proven, _)| proven).collect();
    let outputs = machine.call(Call::Join(writes));
    let joined = outputs.iter().find_map(|output| match output {
        Output::Reply { answer: Ok(Answer::Joined(joined)), .. } => Some(*joined),
        _ => None,
    });
    while !machine.node.is_settled() {
        machine.tell(Input::Tick);
    }
    joined.unwrap()
}

/// A node of the same network with nothing in it.
fn other() -> Machine {
    Machine::new(Retention::new())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_cut_is_what_is_retained_and_joined_it_is_the_same(
        deeds in prop::collection::vec((0..5u8, 0..4u8, 0..7u8, 0..3u8), 1..60),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let mut machine = Machine::new(Retention::new());
        for (place, below, what, value) in deeds {
            let path = if below == 0 { format!("p{place}") } else { format!("p{place}/{below}") };
            let wished = match what {
                0..=2 => Wished::Put(text(value)),
                3 => Wished::Delete,
                4 => Wished::Add(text(value)),
                5 => Wished::Count(i64::from(value)),
                _ if value == 0 => Wished::DeletePrefix,
                _ => Wished::Remove(text(value)),
            };
            write(&mut machine, if place == 4 { "d" } else { "c" }, &path, wished);
            while !machine.node.is_settled() {
                machine.tell(Input::Tick);
            }
        }
        let mut fresh = other();
        for info in collections(&machine.store) {
            let (files, mut tally) = (chunks(&machine, &info.name), Tally::default());
            for file in &files {
                tally.add(&info.name, &proved(file)).unwrap();
            }
            prop_assert_eq!((tally.writes, tally.hash()), (info.retained, info.root));
            // In whatever order, and some of them again.
            let some = order.iter().map(|pick| pick.get(&files));
            for file in some.chain(files.iter().rev()) {
                join(&mut fresh, file);
            }
        }
        prop_assert_eq!(fresh.node.replica().root(), machine.node.replica().root());
        let unproved = |info: &crate::crdt::CollectionInfo| unproved(fresh.node.replica(), &info.name, &fresh.store).len();
        prop_assert_eq!(collections(&fresh.store).iter().map(unproved).sum::<usize>(), 0);
    }
}

#[test]
fn large_collections_are_cut_into_chunks_that_follow_each_other() {
    let mut machine = Machine::new(Retention::new());
    for n in 0..60u32 {
        let value: String = (0..50_000u32).map(|k| char::from(b'a' + ((n * 31 + k * k) % 23) as u8)).collect();
        write(&mut machine, "c", &format!("p/{n}"), Wished::Put(text(value)));
    }
    let files = chunks(&machine, "c");
    assert!(files.len() >= 3, "{} chunks", files.len());
    assert!(files.iter().all(|file| file.len() <= limits::CHUNK_BYTES));
    let mut tally = Tally::default();
    let counted: u64 = files.iter().map(|file| u64::from(tally.add("c", &proved(file)).unwrap())).sum();
    assert_eq!((counted, tally.hash()), (60, collections(&machine.store)[0].root));
    // Out of order they are noticed, and so is what is no write of the collection.
    let mut wrong = Tally::default();
    wrong.add("c", &proved(&files[1])).unwrap();
    assert!(wrong.add("c", &proved(&files[0])).is_err());
    assert!(Tally::default().add("other", &proved(&files[0])).is_err());
    let beyond: Vec<_> = proved(&files[0]).into_iter().map(|(proven, marks)| (proven, vec![2; marks.len()])).collect();
    assert!(Tally::default().add("c", &beyond).is_err(), "there is one change in each message");
}

#[test]
fn a_chunk_from_the_future_waits_and_a_node_without_a_state_takes_none() {
    let mut machine = Machine::new(Retention::new());
    machine.pass(60_000);
    write(&mut machine, "c", "p", Wished::Put(text(json!({"a": 1}))));
    let file = chunks(&machine, "c").remove(0);
    let mut fresh = other();
    assert_eq!(join(&mut fresh, &file), Joined { ahead: 1, ..Joined::default() });
    assert!(collections(&fresh.store).is_empty());
    fresh.pass(60_000);
    assert_eq!(join(&mut fresh, &file), Joined { new: 1, ..Joined::default() });
    assert_eq!(join(&mut fresh, &file), Joined::default(), "it is here");
    fresh.call(Call::Stop);
    let outputs = fresh.call(Call::Join(proved(&file).into_iter().map(|(proven, _)| proven).collect()));
    let stopping = |output: &Output| matches!(output, Output::Reply { answer: Err(CallRefusal::Stopping), .. });
    assert!(outputs.iter().any(stopping));
}

/// Writes that were replaced while chunks were cut are in a later chunk as what replaced them.
#[test]
fn what_is_replaced_while_it_is_copied_is_not_lost() {
    let mut machine = Machine::new(Retention::new());
    let large: String = (0..50_000u32).map(|k| char::from(b'a' + (k * k % 23) as u8)).collect();
    for n in 0..50 {
        write(&mut machine, "c", &format!("p/{n}"), Wished::Put(text(large.as_str())));
    }
    let (mut fresh, mut after, mut round) = (other(), None, 0);
    while let Some(cut) = cut("c", after, None, &machine.store) {
        after = Some(cut.last);
        join(&mut fresh, &cut.chunk.encode().unwrap());
        // One that was copied, one that was not; a few times.
        for n in [0, 49].into_iter().filter(|_| round < 3) {
            write(&mut machine, "c", &format!("p/{n}"), Wished::Put(text(round)));
        }
        round += 1;
    }
    assert_eq!(fresh.node.replica().root(), machine.node.replica().root());
    let paths: BTreeSet<String> =
        crate::crdt::State::of("c", &fresh.store).list("", None, 100).cells.into_iter().map(|cell| cell.path).collect();
    assert_eq!(paths.len(), 50);
}
