//! Several floors: some that nobody can come to, some whose author says two things in one place.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::floor::FLOOR;
use super::floor::{OPEN, counting, partly_known, put, said, shuffled, version, written};
use super::*;

/// The life in which floors are said.
const LIFE: Incarnation = Incarnation(9);

/// A floor as an author says it, in a life in which nothing else is written.
fn says(author: u8, sequence: u64, floor: Floor, at: u64) -> Member {
    let member = said(OPEN, floor, at);
    let body = Body { author: node(author), incarnation: LIFE, sequence, ..member.body };
    let checksum = Domain::Trace.hash(&[&at.to_be_bytes(), &[author], b"says"]);
    Member { version: Version::of(Stamp(at << 16), node(author), checksum, 0), unit: member.unit, body }
}

/// A floor whose set nobody has.
fn made_up(below: u64) -> Floor {
    Floor { version: version(below), count: 1, root: Hash([below as u8; 32]) }
}

impl Host {
    fn fork(&mut self, author: u8, at: u64) {
        self.step(|merge| merge.mask(node(author), LIFE, at));
    }

    /// Gives another all that it retains. What the other knows to be forked it does not take.
    fn give(&self, other: &mut Host, forked: &dyn Fn(&Member) -> bool) {
        self.members().iter().filter(|member| !forked(member)).for_each(|member| other.take(member));
    }
}

/// Each takes rolls from each and is given what it retains, until nothing changes.
fn exchange(hosts: &mut [Host], forked: &dyn Fn(&Member) -> bool) {
    for _ in 0..10 {
        let before: Vec<Hash> = hosts.iter().map(|host| host.replica.root()).collect();
        let floors: Vec<Option<Floor>> = hosts.iter().map(|host| host.replica.floor(OPEN)).collect();
        let count = hosts.len();
        for (one, two) in (0..count).flat_map(|one| (0..count).map(move |two| (one, two))) {
            if let Ok([one, two]) = hosts.get_disjoint_mut([one, two]) {
                one.take_roll(OPEN, two);
                one.rest(4);
                one.give(two, forked);
                two.replica.doubt();
                two.rest(4);
            }
        }
        let same = hosts.iter().zip(before.iter().zip(&floors));
        let mut same =
            same.map(|(host, (root, floor))| host.replica.root() == *root && host.replica.floor(OPEN) == *floor);
        if same.all(|same| same) {
            return;
        }
    }
    panic!("it goes on and on");
}

#[test]
fn a_floor_that_nobody_can_come_to_hides_none_below_it() {
    let (kept, gone) = (put("a", 1), put("b", 2));
    let deleted = written("b", 3, &[gone.version], Op::Delete);
    let mut hosts = [Host::default(), Host::default(), Host::default()];
    [&kept, &gone, &deleted].into_iter().for_each(|member| hosts[0].take(member));
    let (low, counted) = hosts[0].set_floor(OPEN, 10, 20, 4);
    // One who was away hears of the floor and of one that is made up; another knows nothing yet.
    let fake = says(2, 0, made_up(21), 22);
    [&kept, &gone, &deleted, &put("c", 4), &low, &fake].into_iter().for_each(|member| hosts[1].take(member));
    hosts[1].rest(4);
    hosts[0].take(&fake);
    exchange(&mut hosts, &|_| false);
    for host in &hosts {
        assert_eq!(host.replica.floor(OPEN), Some(counted.floor));
        assert_eq!(host.replica.pending_floor(OPEN), Some(made_up(21)));
        assert_eq!(host.replica.root(), hosts[0].replica.root());
        assert!(State::of(OPEN, &host.store).cell("c").is_none());
    }
    // The next one may be below it.
    let (_, next) = hosts[1].set_floor(OPEN, 15, 23, 4);
    exchange(&mut hosts, &|_| false);
    assert!(hosts.iter().all(|host| host.replica.floor(OPEN) == Some(next.floor)));
}

#[test]
fn a_floor_whose_author_forked_counts_no_longer() {
    let (kept, gone) = (put("a", 1), put("b", 2));
    let deleted = written("b", 3, &[gone.version], Op::Delete);
    let mut hosts = [Host::default(), Host::default(), Host::default()];
    for host in &mut hosts {
        [&kept, &gone, &deleted].into_iter().for_each(|member| host.take(member));
    }
    hosts[2].take(&put("c", 4));
    let (floor, counted) = hosts[0].set_floor_by(OPEN, 10, 4, &|floor| says(0, 1, floor, 20));
    hosts[1].take(&floor);
    hosts[1].rest(4);
    assert_eq!(hosts[1].replica.floor(OPEN), Some(counted.floor));
    assert_eq!(hosts[1].apply(&put("c", 4)), Outcome::Floored);
    // The third hears of the fork, and never of the floor.
    hosts.iter_mut().for_each(|host| host.fork(0, 0));
    hosts.iter_mut().for_each(|host| drop(host.rest(4)));
    exchange(&mut hosts, &|member| member.body.incarnation == LIFE);
    for host in &mut hosts {
        assert_eq!(host.replica.floor(OPEN), None);
        assert!(State::of(OPEN, &host.store).cell("c").is_some(), "what was refused is taken");
        let lost = conflicts(OPEN, "", None, 9, &host.store);
        assert!(lost.iter().all(|lost| lost.path() == FLOOR), "{lost:?}");
        // What went is forgotten all the same.
        host.reload();
        assert_eq!(host.replica.floor(OPEN), None);
    }
    assert_eq!(hosts[0].replica.root(), hosts[2].replica.root());
    assert!(State::of(OPEN, &hosts[0].store).cell_at("a", Then::Made(Stamp(5 << 16))).is_err());
    // Another says another.
    let (_, next) = hosts[1].set_floor_by(OPEN, 12, 4, &|floor| says(1, 0, floor, 21));
    exchange(&mut hosts, &|member| member.body.author == node(0) && member.body.incarnation == LIFE);
    assert!(hosts.iter().all(|host| host.replica.floor(OPEN) == Some(next.floor)));
}

#[test]
fn what_was_counted_for_a_client_outlives_a_restart() {
    let mut host = Host::default();
    (1..6).for_each(|n| host.take(&put(&format!("p/{n}"), n)));
    host.step(|merge| merge.count_floor(OPEN, version(10), true));
    let counted = host.rest(4).pop().unwrap().1;
    host.reload();
    // What takes the place of one of them is above: nobody could count the same again.
    host.take(&put("p/3", 15));
    assert!(host.replica.has_counted(OPEN, &counted.floor));
    host.take(&said(OPEN, counted.floor, 20));
    host.rest(4);
    assert_eq!(host.replica.floor(OPEN), Some(counted.floor));
    assert_eq!(host.roll(OPEN).len(), 5);
}

#[test]
fn what_is_no_floor_and_what_is_one_of_many_is_no_more_than_history() {
    let floors = |host: &Host| {
        let rows = host.members().into_iter().filter(|member| member.unit.path == FLOOR);
        rows.map(|member| member.version).collect::<BTreeSet<Version>>()
    };
    let garbage = |at: u64| {
        let member = says(1, at, made_up(2), at);
        let op = if at.is_multiple_of(2) { Op::Delete } else { Op::Set { value: json("high") } };
        Member { body: Body { op, ..member.body }, ..member }
    };
    let (mut host, mut other) = (Host::default(), Host::default());
    let own = says(0, 0, made_up(1), 50);
    host.take(&own);
    let noise: Vec<Member> = (100..400).map(garbage).collect();
    noise.iter().for_each(|member| host.take(member));
    assert_eq!(floors(&host), BTreeSet::from([own.version, noise[299].version]), "and what was said last");
    // One author says three hundred, the highest first and last: of others' nothing is taken.
    let many: Vec<Member> = (0..300).map(|n| says(2, n, made_up(3 + (n + 150) % 300), 500 + n)).collect();
    many.iter().for_each(|member| host.take(member));
    many.iter().rev().chain(&noise).chain([&own]).for_each(|member| other.take(member));
    let highest = many.iter().filter(|member| {
        Floor::said(&Row::new(member.version, Status::Kept, member.body.clone())) >= Some(made_up(295))
    });
    let mut expected: BTreeSet<Version> = highest.map(|member| member.version).collect();
    assert_eq!(expected.len(), 8);
    expected.extend([own.version, many[299].version]);
    for host in [&mut host, &mut other] {
        assert_eq!(floors(host), expected);
        let rows = host.rows().len();
        assert!(rows < 150, "{rows} rows of one register");
        host.check_counts();
    }
    assert_eq!(host.replica.root(), other.replica.root());
    // Of a forked one's nothing counts.
    for host in [&mut host, &mut other] {
        host.fork(2, 0);
        host.rest(500);
        assert_eq!(host.replica.pending_floor(OPEN), Some(made_up(1)));
        host.reload();
        assert_eq!(host.replica.pending_floor(OPEN), Some(made_up(1)));
    }
    // What was let go at one of them only, the other hands over.
    let forked = |member: &Member| member.body.author == node(2);
    host.give(&mut other, &forked);
    other.give(&mut host, &forked);
    assert_eq!(host.replica.root(), other.replica.root());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Floors are set one after the other, others are made up, and the setter may be found to have forked. Three nodes
    /// hear of all of it in different orders, and come to the same.
    #[test]
    fn of_several_floors_the_highest_that_can_be_come_to_counts_everywhere(
        (all, known) in partly_known(24),
        steps in prop::collection::vec(1..6u64, 1..4),
        fakes in prop::collection::vec((1..3u8, 2..25u64), 0..4),
        fork in prop::option::of(0..4u64),
        orders in prop::array::uniform3(any::<u64>()),
        budget in 1..6usize,
    ) {
        let mut hosts = [Host::default(), Host::default(), Host::default()];
        known.iter().for_each(|member| hosts[0].take(member));
        let (mut floors, mut rolls, mut below) = (Vec::new(), BTreeMap::new(), 1);
        for (n, step) in (0..).zip(&steps) {
            below += step;
            let (said, counted) = hosts[0].set_floor_by(OPEN, below, budget, &|floor| says(0, n, floor, 30 + n));
            rolls.insert(counted.floor, hosts[0].roll(OPEN));
            floors.push(said);
        }
        let made_up = fakes.iter().zip(0..).map(|((author, below), n)| says(*author, n, made_up(*below), 40 + n));
        floors.extend(made_up);
        let everything: Vec<Member> = all.iter().chain(&floors).cloned().collect();
        let forked = |member: &Member| {
            member.body.author == node(0) && member.body.incarnation == LIFE && Some(member.body.sequence) >= fork && fork.is_some()
        };
        for (n, (host, seed)) in hosts.iter_mut().zip(orders).enumerate() {
            let order = shuffled(&everything, seed);
            // The first two hear of the fork late, the last one soon.
            let proof = if n == 2 { order.len() / 3 } else { order.len() };
            for (at, member) in order.iter().enumerate() {
                if at == proof && let Some(fork) = fork {
                    host.fork(0, fork);
                }
                if at < proof || !forked(member) {
                    host.take(member);
                }
                host.step(|merge| merge.sweep(budget));
                host.step(|merge| merge.tend_floors(budget));
            }
            if n != 2 && let Some(fork) = fork {
                host.fork(0, fork);
            }
            host.rest(budget);
        }
        exchange(&mut hosts, &forked);
        let counts = hosts[0].replica.floor(OPEN);
        match fork {
            None => prop_assert_eq!(counts, rolls.keys().last().copied(), "the last one that was set"),
            Some(fork) => {
                let sound: BTreeSet<Floor> = rolls.keys().take(fork as usize).copied().collect();
                prop_assert!(counts.is_none_or(|floor| sound.contains(&floor)), "{:?}", counts);
            }
        }
        for host in &mut hosts {
            prop_assert_eq!(host.replica.floor(OPEN), counts);
            host.check_counts();
            host.check_traces(&all, budget);
        }
        prop_assert_eq!(hosts[0].retained(), hosts[1].retained());
        prop_assert_eq!(hosts[0].retained(), hosts[2].retained());
        if let (None, Some(counts)) = (fork, counts) {
            let rolls = BTreeMap::from([(OPEN.to_string(), (counts, rolls[&counts].clone()))]);
            let (retained, shown) = Model { all: &counting(&everything, &rolls), forks: &[] }.judge();
            prop_assert_eq!(hosts[0].retained(), retained);
            prop_assert_eq!(hosts[0].shown(), shown);
        }
    }
}
