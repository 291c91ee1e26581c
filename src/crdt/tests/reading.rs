//! Wishes, and reading what came of them.

use proptest::prelude::*;

use super::{Host, json, node};
use crate::crdt::*;
use crate::types::storage::{Batch, Key, Table};
use crate::types::{Domain, Incarnation, MessageId, NodeId, Stamp, Version, limits};
use crate::wire::kind::state::{Change, CollectionWrite, Op};

/// A node that writes: its replica and its clock.
struct Writer {
    host: Host,
    id: NodeId,
    clock: u64,
}

impl Writer {
    fn new(n: u8) -> Writer {
        Writer { host: Host::default(), id: node(n), clock: 1 }
    }

    fn wish(&self, path: &str, wished: Wished, condition: Condition) -> Result<Option<(Change, Stamp)>, Refused> {
        let wish = Wish { path: path.into(), wished, condition };
        resolve("c", &wish, (self.id, Incarnation(1)), &self.host.store)
    }

    /// Writes as the node does: later than everything that was seen. What others are to be told.
    fn write(&mut self, path: &str, wished: Wished) -> Option<Member> {
        let (change, after) = self.wish(path, wished, Condition::None).unwrap()?;
        self.clock = self.clock.max(after.0) + 1;
        let write = CollectionWrite { collection: "c".into(), client: None, changes: vec![change] };
        let message = MessageId::new(Stamp(self.clock), 0);
        let checksum = Domain::Trace.hash(&[self.id.as_bytes(), &self.clock.to_be_bytes()]);
        let origin = Origin { author: self.id, incarnation: Incarnation(1), sequence: self.clock, message, checksum };
        let member = Member::of(write, origin).next().unwrap();
        assert_eq!(self.host.apply(&member), Outcome::Applied, "who has seen a value can replace it");
        self.host.settle(100);
        Some(member)
    }

    fn cell(&self, path: &str) -> Option<Cell> {
        State::of("c", &self.host.store).cell(path)
    }

    fn value(&self, path: &str) -> Option<String> {
        Some(self.cell(path)?.register?.value?.as_str().to_string())
    }

    fn elements(&self, path: &str) -> Vec<String> {
        let cell = self.cell(path);
        let elements = cell.map(|cell| cell.elements).unwrap_or_default();
        elements.iter().map(|element| element.element.as_str().to_string()).collect()
    }

    fn count(&self, path: &str) -> i64 {
        self.cell(path).and_then(|cell| cell.counter).map_or(0, |counter| counter.value)
    }

    fn take(&mut self, members: &[Option<Member>]) {
        members.iter().flatten().for_each(|member| self.host.take(member));
        self.host.settle(100);
    }
}

#[test]
fn a_register_is_put_read_deleted_and_put_again() {
    let mut a = Writer::new(1);
    assert!(a.cell("x").is_none());
    a.write("x", Wished::Put(json(1)));
    let first = a.cell("x").unwrap().register.unwrap();
    assert_eq!((first.value, first.author), (Some(json(1)), a.id));
    assert!(matches!(a.wish("x", Wished::Put(json(2)), Condition::Absent), Err(Refused::Changed { .. })));
    let other = Condition::Version(Version::default());
    assert!(matches!(a.wish("x", Wished::Put(json(2)), other), Err(Refused::Changed { .. })));
    assert!(a.wish("x", Wished::Put(json(2)), Condition::Version(first.version)).unwrap().is_some());
    a.write("x", Wished::Delete);
    assert!(a.cell("x").unwrap().is_empty());
    assert!(a.write("x", Wished::Delete).is_none(), "there is nothing to delete");
    assert!(a.wish("x", Wished::Put(json(2)), Condition::Absent).unwrap().is_some());
    a.write("x", Wished::Put(json("again")));
    assert_eq!(a.value("x"), Some("\"again\"".into()));
    assert!(conflicts("c", "", None, 10, &a.host.store).is_empty(), "it had seen everything");
}

#[test]
fn two_who_had_not_seen_each_other_are_told() {
    let (mut a, mut b) = (Writer::new(1), Writer::new(2));
    let one = a.write("x", Wished::Put(json("a")));
    let two = b.write("x", Wished::Put(json("b")));
    a.take(std::slice::from_ref(&two));
    b.take(std::slice::from_ref(&one));
    assert_eq!(a.value("x"), b.value("x"));
    assert_eq!(a.host.replica.root(), b.host.replica.root());
    for host in [&a.host, &b.host] {
        let lost = conflicts("c", "", None, 10, &host.store);
        assert_eq!((lost.len(), lost[0].reason), (1, Reason::Concurrent));
        let told = events(0, 10, &host.store);
        let told = told.iter().find(|event| event.what == What::Lost(Reason::Concurrent)).unwrap();
        assert_eq!((told.version, told.other), (lost[0].version, lost[0].winner));
        assert_eq!(conflict("c", "x", lost[0].version, &host.store).as_ref(), Some(&lost[0]));
    }
    // Whoever has seen both ends it.
    let three = a.write("x", Wished::Put(json("both")));
    b.take(&[three]);
    assert_eq!((a.value("x"), b.value("x")), (Some("\"both\"".into()), Some("\"both\"".into())));
}

#[test]
fn a_key_that_no_program_writes_does_not_hide_the_events_beside_it() {
    let mut a = Writer::new(1);
    a.write("x", Wished::Put(json("a")));
    let whole = (first_event(&a.host.store), events_end(&a.host.store), events(0, 10, &a.host.store).len());
    let mut batch = Batch::default();
    for key in [&[0xff; 8][..], &[0xff], &[]] {
        batch.put(Key::new(Table::Change, &[key]), vec![7]);
    }
    a.host.store.commit(batch);
    let store = &a.host.store;
    assert_eq!((first_event(store), events_end(store), events(0, 10, store).len()), whole);
}

#[test]
fn adding_wins_over_a_removal_that_had_not_seen_it() {
    let (mut a, mut b) = (Writer::new(1), Writer::new(2));
    let one = a.write("s", Wished::Add(json("x")));
    b.take(&[one]);
    let removed = b.write("s", Wished::Remove(json("x")));
    let again = a.write("s", Wished::Add(json("x")));
    let other = a.write("s", Wished::Add(json("y")));
    assert!(b.elements("s").is_empty());
    a.take(&[removed]);
    b.take(&[again, other]);
    for writer in [&a, &b] {
        assert_eq!(writer.elements("s"), ["\"x\"", "\"y\""]);
    }
    assert!(b.write("s", Wished::Remove(json("z"))).is_none(), "it is not there");
}

#[test]
fn several_values_stand_until_someone_has_seen_them_all() {
    let (mut a, mut b) = (Writer::new(1), Writer::new(2));
    let one = a.write("v", Wished::Assign(json(1)));
    let two = b.write("v", Wished::Assign(json(2)));
    a.take(&[two]);
    b.take(&[one]);
    assert_eq!((a.elements("v").len(), b.elements("v").len()), (2, 2));
    let three = b.write("v", Wished::Assign(json(3)));
    a.take(&[three]);
    assert_eq!((a.elements("v"), b.elements("v")), (vec!["3".to_string()], vec!["3".to_string()]));
}

#[test]
fn counters_add_up_whoever_counts() {
    let (mut a, mut b) = (Writer::new(1), Writer::new(2));
    let said: Vec<_> = [5, -2, 10].map(|by| a.write("n", Wished::Count(by))).into();
    let other = b.write("n", Wished::Count(100));
    // Only the last total is needed, and an earlier one that comes later changes nothing.
    b.take(&[said[2].clone(), said[0].clone()]);
    a.take(&[other]);
    assert_eq!((a.count("n"), b.count("n")), (113, 113));
    assert!(matches!(a.wish("n", Wished::Count(i64::MIN), Condition::None), Ok(Some(_))));
}

#[test]
fn a_prefix_goes_with_everything_below_it_and_what_was_not_seen_is_told() {
    let (mut a, mut b) = (Writer::new(1), Writer::new(2));
    let said: Vec<_> = ["p", "p/q", "p/q/r", "pq"].map(|path| a.write(path, Wished::Put(json(path)))).into();
    b.take(&said);
    let mut late = Writer::new(3);
    let unseen = late.write("p/unseen", Wished::Put(json(1)));
    let counted = a.write("p/n", Wished::Count(3));
    b.take(std::slice::from_ref(&counted));
    let gone = b.write("p", Wished::DeletePrefix);
    for writer in [&mut a, &mut b] {
        writer.take(&[gone.clone(), unseen.clone()]);
        let paths: Vec<String> =
            State::of("c", &writer.host.store).list("", None, 10).cells.into_iter().map(|cell| cell.path).collect();
        assert_eq!(paths, ["pq"]);
        let lost = conflicts("c", "p", None, 10, &writer.host.store);
        assert_eq!(lost.iter().map(|c| (c.path(), c.reason)).collect::<Vec<_>>(), [("p/unseen", Reason::Prefix)]);
    }
    // What is written after it stands, and counters begin anew.
    a.write("p/q", Wished::Put(json("new")));
    a.write("p/n", Wished::Count(1));
    assert_eq!((a.value("p/q"), a.count("p/n")), (Some("\"new\"".into()), 1));
}

#[test]
fn pages_of_paths_and_conflicts_are_read_on() {
    let mut a = Writer::new(1);
    for n in 0..7 {
        a.write(&format!("d/{n}"), Wished::Put(json(n)));
    }
    a.write("d/3", Wished::Delete);
    let state = State::of("c", &a.host.store);
    let (mut after, mut paths) = (None, Vec::new());
    loop {
        let page = state.list("d", after.as_deref(), 2);
        paths.extend(page.cells.into_iter().map(|cell| cell.path));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paths, ["d/0", "d/1", "d/2", "d/4", "d/5", "d/6"]);
    let past = state.history("d/3", None, 10);
    assert_eq!(past.iter().map(|p| p.status).collect::<Vec<_>>(), [Status::Kept, Status::Superseded]);
    assert_eq!(state.history("d/3", Some(past[0].version), 10).len(), 1);
    assert_eq!(state.version("d/3", past[1].version).unwrap().op, Op::Set { value: json(3) });
}

#[test]
fn history_is_bounded_and_what_lost_stays() {
    let (mut a, mut b) = (Writer::new(1), Writer::new(2));
    b.clock = 1;
    let lost = b.write("x", Wished::Put(json("lost")));
    a.clock = 10;
    a.write("x", Wished::Put(json(0)));
    a.take(&[lost]);
    for n in 0..400 {
        a.write("x", Wished::Put(json(n)));
    }
    let state = State::of("c", &a.host.store);
    let oldest = state.history("x", None, usize::MAX).pop().unwrap().version.stamp;
    assert!(state.cell_at("x", Then::Made(oldest)).unwrap().is_some());
    assert_eq!(state.cell_at("x", Then::Made(Stamp(oldest.0 - 1))), Err(Forgotten::OldestMs(oldest.ms())));
    let known = state.history("x", None, usize::MAX).len();
    assert!((limits::CELL_HISTORY..=4 * limits::CELL_HISTORY).contains(&known), "{known}");
    let lost = conflicts("c", "", None, 10, &a.host.store);
    assert_eq!(lost[0].body().op, Op::Set { value: json("lost") });
}

#[test]
fn only_the_owner_and_whom_it_names_may_write() {
    let (owner, guest) = (node(0), node(1));
    let collection = format!("c@{owner}");
    let host = Host::default();
    let wish = |path: &str, value| Wish { path: path.into(), wished: Wished::Put(value), condition: Condition::None };
    let ask = |who, wish: &Wish| resolve(&collection, wish, (who, Incarnation(1)), &host.store);
    assert!(ask(owner, &wish("a", json(1))).is_ok());
    assert!(matches!(ask(guest, &wish("a", json(1))), Err(Refused::Denied { .. })));
    assert!(matches!(ask(guest, &wish("_access", json(1))), Err(Refused::Denied { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// However far apart the clocks are: who has seen a value can replace it, and all who hear of it agree.
    #[test]
    fn who_has_seen_a_value_can_replace_it(clocks in prop::collection::vec(0..1_000_000u64, 3), turns in prop::collection::vec((0..3usize, 0..7u8, 0..3u8), 1..20)) {
        let mut writers: Vec<Writer> = (0..3).map(Writer::new).collect();
        writers.iter_mut().zip(&clocks).for_each(|(writer, clock)| writer.clock = *clock);
        for (who, what, place) in turns {
            let (path, other) = (["p", "p/q", "r"][usize::from(place)], json(place));
            let wished = match what {
                0 => Wished::Put(other),
                1 => Wished::Delete,
                2 => Wished::DeletePrefix,
                3 => Wished::Add(other),
                4 => Wished::Remove(other),
                5 => Wished::Assign(other),
                _ => Wished::Count(3),
            };
            let said = writers[who].write(path, wished);
            writers.iter_mut().for_each(|writer| writer.take(std::slice::from_ref(&said)));
        }
        let roots: Vec<_> = writers.iter().map(|writer| writer.host.replica.root()).collect();
        prop_assert!(roots.iter().all(|root| *root == roots[0]));
        prop_assert!(writers.iter().all(|w| conflicts("c", "", None, 9, &w.host.store).is_empty()), "all had seen all");
    }
}
