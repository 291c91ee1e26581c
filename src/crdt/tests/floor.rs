//! The laws of floors: in whatever order writes and floors come, the same is retained; nothing below comes back; nothing
//! is lost without a trace.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::floor::FLOOR;
use super::super::index::Entry;
use super::super::roll::RollRoot;
use super::*;
use crate::types::Stamp;

pub(super) const OPEN: &str = "open";

pub(super) fn version(at: u64) -> Version {
    Version { stamp: Stamp(at << 16), digest: [0; 16] }
}

/// A floor as it is said by a write of its own, later than all others.
pub(super) fn said(collection: &str, floor: Floor, at: u64) -> Member {
    let body = Body {
        author: node(0),
        incarnation: Incarnation(0),
        sequence: 0,
        message: MessageId::new(Stamp(at << 16), 0),
        client: None,
        over: Vec::new(),
        op: Op::Set { value: floor.json() },
    };
    let unit = Unit::at(collection, FLOOR, Part::Register);
    let checksum = Domain::Trace.hash(&[&at.to_be_bytes(), b"floor"]);
    Member { version: Version::of(Stamp(at << 16), node(0), checksum, 0), unit, body }
}

impl Host {
    /// Goes on until nothing is to be done.
    pub(super) fn rest(&mut self, budget: usize) -> Vec<(String, Counted)> {
        let mut counted = Vec::new();
        for _ in 0..10_000 {
            self.step(|merge| merge.sweep(budget));
            counted.extend(self.step(|merge| merge.tend_floors(budget)));
            if self.replica.is_settled() && self.replica.is_at_rest() {
                return counted;
            }
        }
        panic!("it does not come to rest");
    }

    /// Sets a floor here.
    pub(super) fn set_floor(&mut self, collection: &str, below: u64, said_at: u64, budget: usize) -> (Member, Counted) {
        self.set_floor_by(collection, below, budget, &|floor| said(collection, floor, said_at))
    }

    /// The same by what says it.
    pub(super) fn set_floor_by(
        &mut self,
        collection: &str,
        below: u64,
        budget: usize,
        says: &dyn Fn(Floor) -> Member,
    ) -> (Member, Counted) {
        self.rest(budget);
        self.step(|merge| merge.count_floor(collection, version(below), true));
        let (name, counted) = self.rest(budget).pop().unwrap();
        assert_eq!((name.as_str(), counted.late), (collection, false));
        let said = says(counted.floor);
        self.take(&said);
        self.rest(budget);
        assert_eq!(self.replica.floor(collection), Some(counted.floor), "who sets a floor adopts it at once");
        (said, counted)
    }

    /// The whole roll of the floor there is.
    pub(super) fn roll(&self, collection: &str) -> Vec<Entry> {
        let floor = self.replica.floor(collection).unwrap();
        let (mut roll, mut more) = (Vec::new(), true);
        while more {
            let (page, rest) = self.replica.roll(collection, &floor, roll.last().copied(), 3, &self.store).unwrap();
            roll.extend(page);
            more = rest;
        }
        roll
    }

    /// Takes another's roll, if it needs one.
    pub(super) fn take_roll(&mut self, collection: &str, other: &Host) {
        let Some(floor) = other.replica.floor(collection).filter(|floor| self.replica.lacks_roll(collection, floor))
        else {
            return;
        };
        let peer = node(7);
        self.step(|merge| merge.begin_roll(collection, peer, floor, 4, &BTreeSet::new()));
        let roll = other.roll(collection);
        let pages: Vec<&[Entry]> = if roll.is_empty() { vec![&[]] } else { roll.chunks(3).collect() };
        for (n, page) in pages.iter().enumerate() {
            let more = n + 1 < pages.len();
            self.step(|merge| merge.take_roll(collection, peer, page, more)).unwrap();
        }
    }

    pub(super) fn members(&self) -> Vec<Member> {
        let retained = self.rows().into_iter().filter(|(_, row)| row.status.is_retained());
        retained.map(|((unit, version), row)| Member { unit, version, body: row.body }).collect()
    }
}

/// What counts of all writes: below the floors only what is on their rolls.
pub(super) fn counting(all: &[Member], rolls: &BTreeMap<String, (Floor, Vec<Entry>)>) -> Vec<Member> {
    let counts = |member: &&Member| {
        let Some((floor, roll)) = rolls.get(&member.unit.collection) else { return true };
        let entry = Entry { version: member.version, digest: member.digest() };
        member.version >= floor.version || roll.contains(&entry)
    };
    all.iter().filter(counts).cloned().collect()
}

fn has_trace(member: &Member, all: &[Member], host: &Host, shown: &Places) -> bool {
    let (collection, path) = member.place();
    let says = !matches!(member.body.op, Op::Delete | Op::Remove | Op::DeletePrefix) && path != FLOOR;
    let same = |other: &&Member| other.unit == member.unit;
    let seen = all.iter().filter(same).any(|other| other.body.over.contains(&member.version));
    let counted_on =
        member.unit.part == Part::Counter && all.iter().filter(same).any(|other| other.version > member.version);
    let deleted = all.iter().any(|other| {
        let above = other.unit.part == Part::Prefix && covers(&other.unit.path, path);
        let own = other.body.author == member.body.author && other.unit.collection == collection;
        above && own && other.version.stamp > member.version.stamp
    });
    let logged = conflict(collection, path, member.version, &host.store).is_some();
    !says || seen || counted_on || deleted || logged || shown.contains(&(member.unit.clone(), member.version))
}

/// Writes, fewer than so many, and those of them that whoever sets floors knows.
pub(super) fn partly_known(most: usize) -> impl Strategy<Value = (Vec<Member>, Vec<Member>)> {
    let drawn = (prop::collection::vec(sketch(), 1..most), prop::collection::vec(any::<bool>(), most));
    drawn.prop_map(|(sketches, knows)| {
        let all = members(&sketches);
        let known = all.iter().zip(knows).filter(|(_, knows)| *knows).map(|(member, _)| member.clone()).collect();
        (all, known)
    })
}

/// Writes in an order drawn by a seed.
pub(super) fn shuffled<'a>(all: impl IntoIterator<Item = &'a Member>, seed: u64) -> Vec<&'a Member> {
    let mut order: Vec<&Member> = all.into_iter().collect();
    order.sort_by_key(|member| {
        Domain::Trace.hash(&[&seed.to_be_bytes(), &member.version.to_bytes(), member.place().1.as_bytes()])
    });
    order
}

impl Host {
    /// Each of all writes stands, was seen, or is in the log, and none that stands is there. A restart changes nothing.
    pub(super) fn check_traces(&mut self, all: &[Member], budget: usize) {
        let stands = self.shown();
        for member in all {
            assert!(has_trace(member, all, self, &stands), "{member:?}");
            let logged = conflict(&member.unit.collection, &member.unit.path, member.version, &self.store).is_some();
            assert!(!(logged && stands.contains(&(member.unit.clone(), member.version))), "{member:?}");
        }
        let held = |host: &Host| (host.replica.root(), host.replica.pending_floor(OPEN));
        let before = held(self);
        self.reload();
        self.rest(budget);
        assert_eq!(held(self), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// One node sets a floor by what it knows; others know other things, hear of it at any time, and come to it by
    /// what they have or by its roll.
    #[test]
    fn floors_converge_and_nothing_below_comes_back(
        (all, known) in partly_known(30),
        below in 2..13u64,
        deeds in deeds(30),
        at in 0..30usize,
        budget in 1..6usize,
        seed in any::<u64>(),
    ) {
        let (mut setter, mut other) = (Host::default(), Host::default());
        known.iter().for_each(|member| setter.take(member));
        let names = [OPEN.to_string(), owned()];
        let mut rolls = BTreeMap::new();
        let mut floors = Vec::new();
        for name in &names {
            let (said, counted) = setter.set_floor(name, below, 20, budget);
            let kept = setter.members().iter().filter(|m| m.unit.collection == *name && m.version < version(below)).count();
            prop_assert_eq!(counted.floor.count, kept as u64, "what is left is what was counted");
            rolls.insert(name.clone(), (counted.floor, setter.roll(name)));
            floors.push(said);
        }
        let order = shuffled(&all, seed);
        let at = at % (order.len() + 1);
        play(&mut other, &deeds, &all, &mut BTreeSet::new());
        for (n, member) in order.iter().enumerate() {
            if n == at {
                floors.iter().for_each(|said| other.take(said));
                other.rest(budget);
                names.iter().for_each(|name| other.take_roll(name, &setter));
            }
            other.take(member);
            other.step(|merge| merge.sweep(budget));
        }
        floors.iter().for_each(|said| other.take(said));
        other.rest(budget);
        names.iter().for_each(|name| other.take_roll(name, &setter));
        order.iter().rev().for_each(|member| setter.take(member));
        [&mut setter, &mut other].into_iter().for_each(|host| drop(host.rest(budget)));
        let everything: Vec<Member> = all.iter().chain(&floors).cloned().collect();
        let counting = counting(&everything, &rolls);
        let (retained, shown) = Model { all: &counting, forks: &[] }.judge();
        // What the setter let go of may be on the other's side only, and is handed over.
        for (giver, taker) in [(0, 1), (1, 0)] {
            let hosts = [setter.members(), other.members()];
            let taker = if taker == 0 { &mut setter } else { &mut other };
            hosts[giver].iter().for_each(|member| taker.take(member));
            taker.rest(budget);
        }
        for host in [&mut setter, &mut other] {
            prop_assert_eq!(names.each_ref().map(|name| host.replica.floor(name)), names.each_ref().map(|name| Some(rolls[name].0)));
            prop_assert_eq!(&host.retained(), &retained);
            prop_assert_eq!(&host.shown(), &shown);
            host.check_counts();
            host.check_traces(&all, budget);
        }
        prop_assert_eq!(setter.replica.root(), other.replica.root());
    }

    /// A node that has what the setter had needs nobody, and loses nothing but tombstones.
    #[test]
    fn who_has_the_same_adopts_by_itself(
        sketches in prop::collection::vec(sketch(), 1..30), below in 2..14u64, budget in 1..6usize,
    ) {
        let mut all = members(&sketches);
        // Nobody with a clock that is right has seen what is later than its own stamp.
        all.iter_mut().for_each(|member| member.body.over.retain(|seen| *seen < member.version));
        let (mut setter, mut other) = (Host::default(), Host::default());
        all.iter().for_each(|member| setter.take(member));
        all.iter().rev().for_each(|member| other.take(member));
        other.rest(budget);
        let before = other.shown();
        let (said, counted) = setter.set_floor(OPEN, below, 20, budget);
        other.take(&said);
        other.rest(budget);
        prop_assert_eq!(other.replica.floor(OPEN), Some(counted.floor));
        prop_assert_eq!(setter.replica.root(), other.replica.root());
        let values = |places: Places| -> Places {
            let is_delete = |(unit, version): &(Unit, Version)| {
                let of = all.iter().find(|member| member.unit == *unit && member.version == *version);
                of.is_none_or(|member| matches!(member.body.op, Op::Delete | Op::Remove | Op::DeletePrefix))
            };
            places.into_iter().filter(|place| !is_delete(place)).collect()
        };
        prop_assert_eq!(values(other.shown()), values(before), "no value goes");
        let lost = conflicts(OPEN, "", None, 1_000, &other.store);
        prop_assert!(lost.iter().all(|lost| lost.reason != Reason::Floor));
    }

    /// Floors rise, whichever is said or heard first; the highest takes the others with it.
    #[test]
    fn the_highest_floor_counts_in_whatever_order_they_are_heard(
        sketches in prop::collection::vec(sketch(), 1..20),
        lows in (2..8u64, 8..14u64),
        late in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let all = members(&sketches);
        let mut setter = Host::default();
        all.iter().for_each(|member| setter.take(member));
        // The lower one may be said after the higher one.
        let (low_at, high_at) = if late { (31, 30) } else { (30, 31) };
        let (low, _) = setter.set_floor(OPEN, lows.0, low_at, 5);
        let (high, counted) = setter.set_floor(OPEN, lows.1, high_at, 5);
        let mut other = Host::default();
        for member in shuffled(all.iter().chain([&low, &high]), seed) {
            other.take(member);
            other.rest(3);
        }
        other.take_roll(OPEN, &setter);
        other.rest(3);
        prop_assert_eq!(other.replica.floor(OPEN), Some(counted.floor));
        prop_assert_eq!(setter.replica.root(), other.replica.root());
        prop_assert_eq!(other.replica.pending_floor(OPEN), None);
    }
}

pub(super) fn written(path: &str, at: u64, over: &[Version], op: Op) -> Member {
    let body = Body {
        author: node(1),
        incarnation: Incarnation(0),
        sequence: at,
        message: MessageId::new(Stamp(at << 16), 0),
        client: None,
        over: over.to_vec(),
        op,
    };
    let checksum = Domain::Trace.hash(&[&at.to_be_bytes(), path.as_bytes()]);
    let change = Change { path: path.into(), over: Vec::new(), op: body.op.clone() };
    let unit = Unit::of(OPEN, &change, body.author, body.incarnation);
    Member { unit, version: Version::of(Stamp(at << 16), node(1), checksum, 0), body }
}

pub(super) fn put(path: &str, at: u64) -> Member {
    written(path, at, &[], Op::Set { value: json(at) })
}

#[test]
fn a_roll_that_does_not_come_to_the_floor_changes_nothing() {
    let mut setter = Host::default();
    (1..6).for_each(|n| setter.take(&put(&format!("p/{n}"), n)));
    let (said, counted) = setter.set_floor(OPEN, 10, 20, 4);
    let mut other = Host::default();
    other.take(&said);
    other.rest(4);
    assert_eq!(other.replica.pending_floor(OPEN), Some(counted.floor));
    let (peer, roll) = (node(3), setter.roll(OPEN));
    let mut false_rolls = vec![roll[1..].to_vec(), roll.iter().rev().copied().collect(), Vec::new()];
    let added = Entry { version: version(9), digest: Hash([1; 32]) };
    false_rolls.push(roll.iter().copied().chain([added]).collect());
    let above = Entry { version: version(11), digest: Hash([1; 32]) };
    false_rolls.push(roll[1..].iter().copied().chain([above]).collect());
    // As many, in order, and with the same sum: one write in place of another, and a third that makes up for it.
    let revived = Entry { version: version(0), digest: Hash([7; 32]) };
    let mut balanced = [&[revived][..], &roll[1..]].concat();
    let sum = |entries: &[Entry]| entries.iter().fold(Root::default(), |sum, entry| sum.with(entry.digest));
    let last = balanced.pop().unwrap();
    let digest = sum(&roll).minus(sum(&balanced)).hash();
    balanced.push(Entry { digest, ..last });
    assert_eq!((balanced.len(), sum(&balanced)), (roll.len(), sum(&roll)));
    false_rolls.push(balanced);
    for entries in false_rolls {
        other.step(|merge| merge.begin_roll(OPEN, peer, counted.floor, 4, &BTreeSet::new()));
        assert!(other.step(|merge| merge.take_roll(OPEN, peer, &entries, false)).is_err());
        other.step(|merge| merge.drop_roll(OPEN, peer));
        other.rest(2);
        assert_eq!(other.replica.floor(OPEN), None);
        let start = Key::new(Table::Roll, &[]);
        assert!(other.store.last(&start, &start.after_prefix()).is_none(), "nothing of it stays");
    }
    other.take_roll(OPEN, &setter);
    other.rest(2);
    assert_eq!(other.replica.floor(OPEN), Some(counted.floor));
    (1..6).for_each(|n| other.take(&put(&format!("p/{n}"), n)));
    assert_eq!(other.replica.root(), setter.replica.root());
}

#[test]
fn a_count_that_comes_to_no_more_than_an_older_one_is_lost_with_a_trace() {
    let count = |at| written("n", at, &[], Op::Count { plus: 0, minus: 1 });
    let (early, late) = (count(3), count(7));
    let is_logged =
        |host: &Host| conflict(OPEN, "n", late.version, &host.store).is_some_and(|found| found.reason == Reason::Floor);
    // The older one is on the roll, and stands.
    let mut setter = Host::default();
    setter.take(&early);
    setter.set_floor(OPEN, 10, 20, 4);
    setter.take(&late);
    assert!(is_logged(&setter));
    // It is not, and stands only until it is judged.
    let (mut setter, mut other) = (Host::default(), Host::default());
    let (said, _) = setter.set_floor(OPEN, 10, 20, 4);
    [&early, &said].into_iter().for_each(|member| other.take(member));
    other.rest(4);
    other.take_roll(OPEN, &setter);
    other.take(&late);
    other.rest(4);
    assert!(is_logged(&other));
}

#[test]
fn what_a_node_wrote_while_it_was_away_is_in_its_log_and_comes_back_anew() {
    let (kept, gone) = (put("a", 1), put("b", 2));
    let deleted = written("b", 3, &[gone.version], Op::Delete);
    let (mut setter, mut away) = (Host::default(), Host::default());
    [&kept, &gone, &deleted].into_iter().for_each(|member| setter.take(member));
    let mine = put("c", 4);
    let undone = written("a", 5, &[kept.version], Op::Delete);
    [&kept, &gone, &mine, &undone].into_iter().for_each(|member| away.take(member));
    let (said, counted) = setter.set_floor(OPEN, 10, 20, 9);
    assert_eq!((counted.floor.count, counted.tombstones), (1, 1));
    away.take(&said);
    away.rest(9);
    assert_eq!(away.replica.floor(OPEN), None, "what is here does not come to it");
    away.take_roll(OPEN, &setter);
    away.rest(9);
    assert_eq!(away.replica.root(), setter.replica.root());
    let lost: BTreeSet<(String, Version, Reason)> = conflicts(OPEN, "", None, 100, &away.store)
        .iter()
        .map(|lost| (lost.path().to_string(), lost.version, lost.reason))
        .collect();
    let expected = [&gone, &mine, &undone].map(|m| (m.unit.path.clone(), m.version, Reason::Floor));
    assert_eq!(lost, BTreeSet::from(expected));
    // At the setter they are refused, and in the log once; the delete had seen what it deleted.
    for member in [&mine, &mine, &gone] {
        assert_eq!(setter.apply(member), Outcome::Floored);
    }
    assert_eq!(setter.replica.root(), away.replica.root(), "nothing comes back");
    assert_eq!(setter.apply(&deleted), Outcome::Floored);
    let logged: Vec<String> = conflicts(OPEN, "", None, 9, &setter.store).iter().map(|l| l.path().into()).collect();
    assert_eq!(logged, ["c"], "who names what was refused has seen it");
    // Below the floor nothing is remembered; above it what is there.
    let state = State::of(OPEN, &setter.store);
    assert_eq!(state.cell_at("a", Then::Made(Stamp(9 << 16))), Err(Forgotten::OldestMs(version(10).stamp.ms())));
    assert!(state.cell_at("a", Then::Made(Stamp(12 << 16))).unwrap().is_some());
    assert!(matches!(state.cell_at("a", Then::Known(1)), Err(Forgotten::KnownFrom(_))));
    // What is written anew is above the floor.
    let wish = Wish { path: "c".into(), wished: Wished::Put(json(4)), condition: Condition::None };
    let (_, after) = resolve(OPEN, &wish, (node(1), Incarnation(0)), &away.store).unwrap().unwrap();
    assert!(after >= counted.floor.version.stamp);
}

#[test]
fn a_floor_above_its_own_stamp_and_what_is_no_floor_are_none() {
    let mut host = Host::default();
    host.take(&put("a", 1));
    let floor = RollRoot::default().floor(version(30));
    host.take(&said(OPEN, floor, 20));
    let mut garbage = said(OPEN, floor, 21);
    garbage.body.op = Op::Set { value: json("high") };
    host.take(&garbage);
    host.rest(3);
    assert_eq!((host.replica.floor(OPEN), host.replica.pending_floor(OPEN)), (None, None));
    host.take(&said(
        OPEN,
        Floor { count: crate::types::limits::FLOOR_WRITES + 1, ..RollRoot::default().floor(version(9)) },
        21,
    ));
    host.rest(3);
    assert_eq!(host.replica.pending_floor(OPEN), None, "of more writes than any node holds");
    // One whose set nobody has is waited for, and changes nothing.
    host.take(&said(OPEN, RollRoot::default().floor(version(10)), 22));
    host.rest(3);
    assert!(host.replica.floor(OPEN).is_none() && host.replica.pending_floor(OPEN).is_some());
    assert!(State::of(OPEN, &host.store).cell("a").is_some());
    assert_eq!(collections(&host.store)[0].floors.pending, host.replica.pending_floor(OPEN));
}

#[test]
fn what_comes_below_while_it_is_counted_makes_the_count_void() {
    let mut host = Host::default();
    (2..6).for_each(|n| host.take(&put(&format!("p/{n}"), n)));
    host.step(|merge| merge.count_floor(OPEN, version(10), true));
    host.step(|merge| merge.tend_floors(2));
    host.take(&put("p/1", 1));
    let counted = host.rest(2).pop().unwrap().1;
    assert!(counted.late);
    let start = Key::new(Table::Roll, &[]);
    let has_rows = |host: &Host| host.store.last(&start, &start.after_prefix()).is_some();
    host.step(|merge| merge.count_floor(OPEN, version(10), false));
    host.step(|merge| merge.tend_floors(4));
    assert!(!has_rows(&host), "a count that is not for a floor writes nothing");
    let counted = host.rest(2).pop().unwrap().1;
    assert_eq!((counted.late, counted.floor.count), (false, 5));
    // Wherever it comes: others that were asked before may not have it.
    host.step(|merge| merge.count_floor(OPEN, version(10), true));
    host.step(|merge| merge.tend_floors(2));
    assert!(has_rows(&host));
    host.take(&put("p/9", 9));
    assert!(host.rest(2).pop().unwrap().1.late);
    assert!(!has_rows(&host), "nor is anything left of one that is void");
}

/// A write to the collection of node 0 by another node, which no rule names.
fn strange(path: &str, at: u64, over: &[Version], op: Op) -> Member {
    let member = written(path, at, over, op);
    Member { unit: Unit { collection: owned(), ..member.unit }, ..member }
}

#[test]
fn who_may_not_write_takes_nothing_out_of_the_log() {
    let mut host = Host::default();
    let by_owner = |member: Member| Member { body: Body { author: node(0), ..member.body }, ..member };
    let kept = by_owner(strange("a", 1, &[], Op::Set { value: json(1) }));
    host.take(&kept);
    host.set_floor(&owned(), 10, 20, 4);
    let lost = by_owner(strange("a", 3, &[], Op::Set { value: json(2) }));
    let is_logged = |host: &Host, lost: &Member| conflict(&owned(), "a", lost.version, &host.store).is_some();
    assert_eq!(host.apply(&lost), Outcome::Floored);
    assert!(is_logged(&host, &lost));
    // Below the floor and above it, whoever is in no rule has seen nothing.
    assert_eq!(host.apply(&strange("a", 4, &[lost.version], Op::Delete)), Outcome::Floored);
    assert_eq!(host.apply(&strange("a", 21, &[lost.version], Op::Delete)), Outcome::Denied);
    assert!(is_logged(&host, &lost));
    // A denied row that names a write does not keep it from being told of.
    let next = by_owner(strange("a", 5, &[], Op::Set { value: json(3) }));
    assert_eq!(host.apply(&strange("a", 22, &[next.version], Op::Delete)), Outcome::Denied);
    assert_eq!(host.apply(&next), Outcome::Floored);
    assert!(is_logged(&host, &next));
    assert_eq!(host.apply(&by_owner(strange("a", 6, &[lost.version], Op::Delete))), Outcome::Floored);
    assert!(!is_logged(&host, &lost), "its owner may");
}

/// Bytes on the disk must never change.
#[test]
fn rows_of_floors_are_the_golden_ones() {
    let mut host = Host::default();
    host.take(&put("a", 1));
    let (said, _) = host.set_floor(OPEN, 10, 20, 9);
    let last = |table| {
        let start = Key::new(table, &[]);
        let (key, value) = host.store.last(&start, &start.after_prefix()).unwrap();
        (hex::encode(key), hex::encode(value))
    };
    let digest = put("a", 1).digest();
    let entry = format!("{}{digest}", put("a", 1).version);
    assert_eq!(last(Table::Roll), (format!("3a6f70656e000000000000000000{entry}"), String::new()));
    let floor = host.replica.floor(OPEN).unwrap();
    let root = floor.root;
    let adopted = format!("01{}01{root}0000", floor.version);
    let gone = format!("{}02", floor.version);
    assert_eq!(last(Table::Floor), ("3b6f70656e".into(), format!("{adopted}00{gone}0100")));
    let Op::Set { value } = said.body.op else { panic!("a value") };
    assert_eq!(value.as_str(), format!(r#"{{"count":1,"root":"{root}","version":"{}"}}"#, floor.version));
}
