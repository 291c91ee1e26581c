//! Leases, retries, breakers and dead letters, against a stupid model and a store that crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::types::storage::{Batch, Key, Table, Txn, View};
use crate::types::{MemoryStore, MessageId, Mono, Now, WallMs, limits};
use crate::wire::Filter;

/// Messages from this position on were let go.
const GONE: u64 = 1 << 40;
/// Messages from this position on are so large that four of them fill the dead letters.
const LARGE: u64 = 1 << 30;

fn fetch(position: u64, _: &dyn View) -> Option<Letter> {
    static LARGE_MESSAGE: [u8; limits::DEAD_LETTER_BYTES / 4] = [0; limits::DEAD_LETTER_BYTES / 4];
    let proof = if position >= LARGE { Bytes::from_static(&LARGE_MESSAGE) } else { Bytes::from_static(b"proof") };
    let id = MessageId((u128::from(position)).to_be_bytes());
    (position < GONE).then_some(Letter { id, proof })
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn nack(sink_down: bool) -> Outcome {
    Outcome::Nack { reason: "no".into(), after: None, sink_down }
}

fn park() -> Outcome {
    Outcome::Park { disposition: Disposition::Rejected, reason: "never".into() }
}

/// Subscriptions over a store, with a log of which every position matches that is no multiple of three.
struct World {
    store: MemoryStore,
    deliveries: Deliveries,
    now: Now,
    log_end: u64,
}

impl World {
    fn new(spec: Spec) -> World {
        let store = MemoryStore::default();
        let deliveries = Deliveries::load(fetch, &store).unwrap();
        let now = Now { mono: Mono(0), wall: WallMs(1_700_000_000_000) };
        let mut world = World { store, deliveries, now, log_end: 0 };
        world.step(|d, _, tx| d.put(&name("a"), spec, 0, tx)).unwrap();
        world.store.flush();
        world
    }

    fn step<T>(&mut self, work: impl FnOnce(&mut Deliveries, Now, &mut Txn<'_>) -> T) -> T {
        let mut batch = Batch::default();
        let mut tx = Txn::new(&self.store, &mut batch);
        let done = work(&mut self.deliveries, self.now, &mut tx);
        self.deliveries.tick(self.now, &mut tx);
        self.deliveries.save(&mut tx);
        self.store.commit(batch);
        done
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono = self.now.mono + Duration::from_millis(ms);
        self.now.wall = self.now.wall.plus(Duration::from_millis(ms));
        self.step(|_, _, _| ());
    }

    /// Leases as a worker does: reads on where it is told to.
    fn take(&mut self, most: usize) -> Leased {
        let end = self.log_end;
        let mut found = None;
        loop {
            let leased = self.step(|d, now, _| d.lease(&name("a"), most, found.as_ref(), end, now.mono)).unwrap();
            match &leased.look {
                Some(look) if leased.leases.is_empty() && look.from < end => {
                    let wanted = (look.from..end).filter(|p| p % 3 != 0).take(look.room);
                    let positions: Vec<u64> = wanted.collect();
                    let full = positions.len() == look.room;
                    let next = positions.last().filter(|_| full).map_or(end, |last| last + 1);
                    found = Some(Found { from: look.from, next, positions, missed: 0 });
                }
                Some(_) | None => {
                    if !leased.leases.is_empty() {
                        self.store.flush();
                    }
                    return leased;
                }
            }
        }
    }

    fn settle(&mut self, position: u64, outcome: Outcome) -> Settled {
        let settled = self.step(|d, now, tx| d.settle(&name("a"), &[(position, outcome)], now, tx)).unwrap();
        self.store.flush();
        settled
    }

    fn crash(&mut self) {
        self.store.crash(0);
        self.deliveries = Deliveries::load(fetch, &self.store).unwrap();
        self.now.mono = Mono(0);
    }

    fn subscription(&self) -> &Subscription {
        self.deliveries.get(&name("a")).unwrap().0
    }

    fn dead(&self) -> BTreeSet<u64> {
        let page = dead_letters(&Selector::default(), usize::MAX, usize::MAX, &self.store);
        page.letters.into_iter().map(|dead| dead.position).collect()
    }

    fn redrive(&mut self, selector: Selector, dry: bool) -> Result<Swept, Refused> {
        let swept = self.step(|d, _, tx| d.redrive(&selector, dry, tx));
        self.store.flush();
        swept
    }

    fn breaker(&self) -> BreakerState {
        self.subscription().breaker().state(self.now.mono)
    }
}

fn spec() -> Spec {
    Spec { ack_wait_ms: 1_000, max_attempts: 3, retry_ms: 100, retry_max_ms: 1_000, max_open: 8, ..Spec::default() }
}

#[derive(Clone, Debug)]
enum Op {
    Grow(u64),
    Take(usize),
    Settle(usize, u8),
    Pass(u64),
    Jump(i64),
    Crash,
    Redrive,
    Pause,
    Resume,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..20u64).prop_map(Op::Grow),
        8 => (1..6usize).prop_map(Op::Take),
        8 => (0..8usize, 0..8u8).prop_map(|(which, how)| Op::Settle(which, how)),
        4 => (1..1_500u64).prop_map(Op::Pass),
        1 => (-10_000_000_000i64..10_000_000_000).prop_map(Op::Jump),
        1 => Just(Op::Crash),
        1 => Just(Op::Redrive),
        1 => Just(Op::Pause),
        2 => Just(Op::Resume),
    ]
}

/// What must be so, in the simplest words.
#[derive(Default)]
struct Model {
    /// Who has what until when.
    out: BTreeMap<u64, Mono>,
    handed: BTreeSet<u64>,
    acked: BTreeSet<u64>,
    paused: bool,
}

impl Model {
    fn took(&mut self, leased: &Leased, world: &World) {
        assert!(!self.paused || leased.leases.is_empty(), "paused, and handed out");
        for lease in &leased.leases {
            assert!(!self.acked.contains(&lease.position), "{} was acknowledged", lease.position);
            assert!(self.out.get(&lease.position).is_none_or(|ends| *ends <= world.now.mono), "two at once");
            assert!(lease.position % 3 != 0 && lease.position < world.log_end);
            assert_eq!(lease.attempt > 1, !self.handed.insert(lease.position), "marked wrongly: {lease:?}");
            self.out.insert(lease.position, world.now.mono + Duration::from_secs(1));
        }
    }

    fn holds(&self, world: &World) {
        let (one, dead) = (world.subscription(), world.dead());
        for position in (0..one.scanned()).filter(|p| p % 3 != 0) {
            let states = [self.acked.contains(&position), dead.contains(&position), one.open.contains_key(&position)];
            assert_eq!(states.iter().filter(|is| **is).count(), 1, "{position}: acked, dead, open {states:?}");
        }
        assert!(one.depths().iter().sum::<usize>() == one.open.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_is_lost_nothing_comes_after_its_acknowledgement_and_duplicates_are_marked(
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let (mut world, mut model) = (World::new(spec()), Model::default());
        for op in ops {
            match op {
                Op::Grow(count) => world.log_end += count,
                Op::Take(most) => {
                    let leased = world.take(most);
                    model.took(&leased, &world);
                }
                Op::Settle(which, how) => {
                    let Some(position) = model.out.keys().nth(which).copied() else { continue };
                    let outcome = match how {
                        0..4 => Outcome::Ack,
                        4 => park(),
                        5 => nack(true),
                        6 => Outcome::Stop { reason: "enough".into() },
                        _ => nack(false),
                    };
                    let settled = world.settle(position, outcome.clone());
                    if settled.unknown.is_empty() {
                        model.out.remove(&position);
                        model.paused |= matches!(outcome, Outcome::Stop { .. });
                        if outcome == Outcome::Ack {
                            model.acked.insert(position);
                        }
                    }
                }
                Op::Pass(ms) => world.pass(ms),
                Op::Jump(ms) => world.now.wall = WallMs(world.now.wall.0.saturating_add_signed(ms)),
                Op::Crash => {
                    world.crash();
                    model.out.clear();
                    model.paused = world.subscription().paused().is_some();
                }
                Op::Redrive => drop(world.redrive(Selector::default(), false).unwrap()),
                Op::Pause | Op::Resume => {
                    model.paused = matches!(op, Op::Pause);
                    let reason = model.paused.then(|| "by hand".to_string());
                    world.step(|d, _, _| d.pause(&name("a"), reason)).unwrap();
                    world.store.flush();
                }
            }
            model.holds(&world);
        }
        // In the end everything can be had, and be done.
        world.step(|d, _, _| d.pause(&name("a"), None)).unwrap();
        model.paused = false;
        world.redrive(Selector::default(), false).unwrap();
        let mut idle = 0;
        while idle < 3 {
            let leased = world.take(5);
            model.took(&leased, &world);
            idle = if leased.leases.is_empty() { idle + 1 } else { 0 };
            for lease in leased.leases {
                prop_assert_eq!(world.settle(lease.position, Outcome::Ack).settled, 1);
                model.acked.insert(lease.position);
                model.out.remove(&lease.position);
            }
            world.pass(1_000);
            let dead = world.dead().len();
            if dead > 0 {
                world.redrive(Selector::default(), false).unwrap();
            }
        }
        let all: BTreeSet<u64> = (0..world.log_end).filter(|p| p % 3 != 0).collect();
        prop_assert_eq!(&model.acked, &all);
        prop_assert!(world.deliveries.next_wake().is_none_or(|due| due > world.now.mono), "a due timer was left");
    }

    #[test]
    fn waits_double_within_their_bounds(first in 1..5_000u64, most in 5_000..100_000u64, n in 1..200u32, seed: u64) {
        let wait = delay(Duration::from_millis(first), Duration::from_millis(most), n, seed);
        let whole = (u128::from(first) << (n - 1).min(64)).min(u128::from(most));
        prop_assert!(wait.as_micros() <= whole * 1_000);
        prop_assert!(wait.as_micros() >= whole * 1_000 / 2);
    }

    #[test]
    fn a_damaged_row_is_refused_by_name(at in 0..200usize, with: u8, cut in 0..4usize) {
        let mut world = World::new(spec());
        world.log_end = 9;
        let lease = world.take(4).leases[1];
        world.settle(lease.position, nack(false));
        for table in [Table::Progress, Table::Failure, Table::Dead] {
            let prefix = Key::new(table, &[]);
            let (mut key, mut row) = (Vec::new(), Vec::new());
            world.store.scan(&prefix, &prefix.after_prefix(), &mut |k, v| {
                (key, row) = (k.to_vec(), v.to_vec());
                std::ops::ControlFlow::Break(())
            });
            if row.is_empty() {
                continue;
            }
            row.truncate(row.len().saturating_sub(cut).max(1));
            let place = at % row.len();
            row[place] = with;
            let mut store = world.store.clone();
            let mut batch = Batch::default();
            batch.put(Key::new(table, &[&key[1..]]), row);
            store.commit(batch);
            // It is read as something, or refused; never a panic.
            if let Err(refused) = Deliveries::load(fetch, &store) {
                prop_assert!(refused.contains("subscription"), "{}", refused);
            }
        }
    }
}

#[test]
fn rows_that_are_cut_or_contradict_themselves_are_refused() {
    let mut world = World::new(spec());
    world.log_end = 9;
    world.take(2);
    let key = Key::new(Table::Progress, &[b"a"]);
    let row = world.store.get(&key).unwrap();
    for size in 0..row.len() {
        let mut store = world.store.clone();
        let mut batch = Batch::default();
        batch.put(key.clone(), row.slice(..size));
        store.commit(batch);
        let refused = Deliveries::load(fetch, &store).err().unwrap();
        assert_eq!(refused, "the progress of the subscription a cannot be read");
    }
    let mut longer = row.to_vec();
    longer.push(0);
    let mut store = world.store.clone();
    let mut batch = Batch::default();
    batch.put(key.clone(), longer);
    batch.delete(Key::new(Table::Progress, &[b"b"]));
    store.commit(batch);
    assert!(Deliveries::load(fetch, &store).is_err());
}

#[test]
fn a_worker_that_never_answers_costs_time_and_in_the_end_its_message() {
    let mut world = World::new(spec());
    world.log_end = 2;
    for attempt in 1..=3 {
        let leased = world.take(5);
        assert_eq!(leased.leases, [Lease { position: 1, attempt, failures: attempt - 1 }]);
        assert!(world.take(5).leases.is_empty(), "it is out");
        world.pass(1_000);
        world.pass(400);
    }
    assert!(world.take(5).leases.is_empty());
    let dead = dead_letter(&name("a"), 1, &world.store).unwrap();
    assert_eq!((dead.disposition, dead.attempts, dead.history.len()), (Disposition::MaxAttempts, 3, 3));
    assert_eq!(dead.reason, "no answer within 1000 ms");
    assert_eq!(letter(&name("a"), 1, &world.store).unwrap(), "proof");
    assert_eq!(world.subscription().counts().timed_out, 3);
}

#[test]
fn a_late_acknowledgement_counts_while_the_message_is_open() {
    let mut world = World::new(spec());
    world.log_end = 2;
    world.take(1);
    world.pass(1_000);
    assert_eq!(world.settle(1, Outcome::Ack).settled, 1);
    assert_eq!(world.settle(1, Outcome::Ack).unknown, [1]);
    world.pass(5_000);
    assert!(world.take(1).leases.is_empty());
}

#[test]
fn a_sink_that_is_down_is_probed_and_kills_nothing() {
    let mut world = World::new(Spec { max_attempts: 4, max_open: 4, ..spec() });
    world.log_end = 100;
    for lease in world.take(3).leases {
        world.settle(lease.position, nack(true));
    }
    assert_eq!(world.breaker(), BreakerState::Open);
    let mut probes = 0;
    for _ in 0..600 {
        world.pass(500);
        let leases = world.take(4).leases;
        assert!(leases.len() <= 1, "only one is tried");
        for lease in leases {
            assert!(world.take(4).leases.is_empty());
            probes += 1;
            world.settle(lease.position, nack(true));
        }
    }
    assert!((6..25).contains(&probes), "{probes} probes in five minutes");
    assert!(world.dead().is_empty());
    world.pass(60_000);
    let probe = world.take(4).leases[0];
    assert_eq!(world.breaker(), BreakerState::HalfOpen);
    world.deliveries.take_woken();
    world.settle(probe.position, Outcome::Ack);
    assert_eq!(world.breaker(), BreakerState::Closed);
    assert!(world.deliveries.take_woken().contains(&name("a")), "who waits is told");
    assert!(world.take(4).leases.len() > 1);
}

#[test]
fn what_was_under_way_when_the_breaker_opened_makes_it_no_slower() {
    let mut world = World::new(Spec { max_open: 100, ..spec() });
    world.log_end = 1_000;
    for lease in world.take(64).leases {
        world.settle(lease.position, nack(true));
    }
    assert!(world.subscription().breaker().left(world.now.mono) <= limits::BREAKER_FIRST);
}

#[test]
fn a_poisoned_message_does_not_stop_the_others() {
    let mut world = World::new(spec());
    world.log_end = 60;
    let mut acked = 0;
    for _ in 0..200 {
        for lease in world.take(3).leases {
            let bad = lease.position == 1;
            world.settle(lease.position, if bad { nack(true) } else { Outcome::Ack });
            acked += u64::from(!bad);
            assert_ne!(world.breaker(), BreakerState::Open);
        }
        world.pass(100);
    }
    assert_eq!((acked, world.dead()), (39, BTreeSet::from([1])));
}

#[test]
fn a_pause_holds_everything_and_outlives_a_crash() {
    let mut world = World::new(spec());
    world.log_end = 9;
    let first = world.take(1).leases[0];
    world.settle(first.position, Outcome::Stop { reason: "the table is full".into() });
    world.crash();
    let leased = world.take(5);
    assert_eq!((leased.leases.len(), leased.paused.as_deref()), (0, Some("the table is full")));
    assert_eq!(world.deliveries.next_wake(), None);
    world.step(|d, _, _| d.pause(&name("a"), None)).unwrap();
    assert_eq!(world.take(1).leases[0], Lease { position: first.position, attempt: 2, failures: 0 });
}

#[test]
fn what_was_not_handed_out_goes_back_unmarked() {
    let mut world = World::new(spec());
    world.log_end = 3;
    world.take(2);
    world.settle(2, Outcome::Return);
    assert_eq!(world.take(2).leases, [Lease { position: 2, attempt: 1, failures: 0 }]);
}

#[test]
fn wall_clock_jumps_change_nothing() {
    let mut world = World::new(spec());
    world.log_end = 3;
    world.take(2);
    for wall in [0, u64::MAX, 1_700_000_000_000] {
        world.now.wall = WallMs(wall);
        world.step(|_, _, _| ());
        assert!(world.take(2).leases.is_empty(), "the leases hold");
    }
}

#[test]
fn dead_letters_are_redriven_and_dropped_by_selection() {
    let mut world = World::new(spec());
    world.log_end = 9;
    for lease in world.take(6).leases {
        world.settle(lease.position, park());
    }
    assert_eq!(world.dead().len(), 6);
    let at = |position| Selector { subscription: Some(name("a")), position: Some(position), ..Selector::default() };
    assert_eq!(world.redrive(at(4), true).unwrap().done, 1);
    assert_eq!(world.dead().len(), 6, "a dry run does nothing");
    assert_eq!(world.redrive(at(4), false).unwrap().done, 1);
    let again = world.redrive(at(4), false).unwrap_err();
    assert_eq!(again, Refused::NotDead { name: name("a"), position: 4 });
    assert_eq!(world.take(9).leases, [Lease { position: 4, attempt: 2, failures: 0 }]);
    world.settle(4, Outcome::Ack);
    assert_eq!(world.redrive(at(4), false).unwrap_err(), again, "it was delivered");

    let other = Selector { disposition: Some(Disposition::Expired), ..Selector::default() };
    assert_eq!(world.redrive(other, false).unwrap().done, 0);
    let early = Selector { before: Some(world.now.wall), ..Selector::default() };
    assert_eq!(world.redrive(early, true).unwrap().done, 0);
    let refused = world.step(|d, _, tx| d.remove(&name("a"), tx)).unwrap_err();
    assert_eq!(refused, Refused::HasDead { name: name("a"), dead: 5 });
    world.crash();
    let drop_all = |world: &mut World, dry| world.step(|d, _, tx| d.drop_dead(&Selector::default(), dry, tx)).unwrap();
    assert_eq!(drop_all(&mut world, true).done, 5);
    assert_eq!(drop_all(&mut world, false).done, 5);
    assert!(letter(&name("a"), 1, &world.store).is_none());
    world.step(|d, _, tx| d.remove(&name("a"), tx)).unwrap();
    let left = [Table::Subscription, Table::Progress, Table::Failure, Table::Dead, Table::Letter];
    for prefix in left.map(|table| Key::new(table, &[])) {
        assert_eq!(world.store.last(&prefix, &prefix.after_prefix()), None);
    }
}

#[test]
fn a_page_of_dead_letters_says_where_to_go_on() {
    let mut world = World::new(spec());
    world.log_end = 9;
    for lease in world.take(6).leases {
        world.settle(lease.position, park());
    }
    let (mut selector, mut seen) = (Selector::default(), Vec::new());
    loop {
        let page = dead_letters(&selector, 4, 3, &world.store);
        assert!(page.letters.len() <= 3);
        seen.extend(page.letters.into_iter().map(|dead| dead.position));
        selector.after = page.next;
        if selector.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 4, 5, 7, 8]);
}

#[test]
fn a_message_that_is_gone_stays_dead_and_says_why() {
    let mut world = World::new(spec());
    world.log_end = GONE + 9;
    let found = Found { from: 0, next: GONE + 2, positions: vec![GONE + 1], missed: 7 };
    let end = world.log_end;
    world.step(|d, now, _| d.lease(&name("a"), 1, Some(&found), end, now.mono)).unwrap();
    world.settle(GONE + 1, park());
    let dead = dead_letter(&name("a"), GONE + 1, &world.store).unwrap();
    assert_eq!((dead.message, dead.size_bytes, world.subscription().counts().missed), (None, 0, 7));
    let swept = world.redrive(Selector::default(), false).unwrap();
    assert_eq!((swept.done, swept.stays.len()), (0, 1));
    assert!(swept.stays[0].2.contains("retention"));
}

#[test]
fn full_dead_letters_put_dying_off_and_lose_nothing() {
    let mut world = World::new(spec());
    world.log_end = LARGE + 6;
    let found = Found { from: 0, next: LARGE + 6, positions: (LARGE..LARGE + 6).collect(), missed: 0 };
    let end = world.log_end;
    let leased = world.step(|d, now, _| d.lease(&name("a"), 6, Some(&found), end, now.mono)).unwrap();
    for lease in leased.leases {
        world.settle(lease.position, park());
    }
    assert_eq!(world.dead(), (LARGE..LARGE + 4).collect());
    world.pass(1_000);
    let again: Vec<u64> = world.take(6).leases.iter().map(|lease| lease.position).collect();
    assert_eq!(again, [LARGE + 4, LARGE + 5]);
    world.step(|d, _, tx| d.drop_dead(&Selector::default(), false, tx)).unwrap();
    world.settle(LARGE + 4, park());
    assert_eq!(world.dead(), [LARGE + 4].into());
}

#[test]
fn more_subscriptions_than_fit_are_refused_and_those_that_do_cost_little() {
    let mut world = World::new(spec());
    let mut refused = 0;
    for n in 0..10_000 {
        let put = world.step(|d, _, tx| d.put(&name(&n.to_string()), spec(), 0, tx));
        refused += usize::from(put == Err(Refused::TooMany));
    }
    assert_eq!(refused, 10_000 - (limits::SUBSCRIPTIONS - 1));
    let reloaded = Deliveries::load(fetch, &world.store).unwrap();
    assert_eq!(reloaded.all().count(), limits::SUBSCRIPTIONS);
}

#[test]
fn a_filter_stays_and_the_rest_may_change() {
    let mut world = World::new(spec());
    let other = Spec { filter: Filter { tags: ["x".to_string()].into(), ..Filter::default() }, ..spec() };
    let refused = world.step(|d, _, tx| d.put(&name("a"), other, 0, tx));
    assert_eq!(refused, Err(Refused::Filter(name("a"))));
    world.step(|d, _, tx| d.put(&name("a"), Spec { max_attempts: 9, ..spec() }, 0, tx)).unwrap();
    world.store.flush();
    world.crash();
    assert_eq!(world.subscription().spec().max_attempts, 9);
    let wrong = Spec { max_open: 0, ack_wait_ms: 1, ..spec() };
    let Err(Refused::Spec(faults)) = world.step(|d, _, tx| d.put(&name("a"), wrong, 0, tx)) else { panic!() };
    assert_eq!(faults.len(), 2, "{faults:?}");
    for url in ["", "http://", "http:///x", "ftp://a", "https://a"] {
        let sink = Sink::Webhook { url: url.into() };
        assert_eq!(Spec { sink, ..spec() }.faults().len(), 1, "{url}");
    }
}

#[test]
fn names_are_plain() {
    for good in ["a", "orders.v2_x-1", &"n".repeat(64)] {
        assert!(good.parse::<Name>().is_ok());
    }
    for bad in ["", "a b", "a/b", "é", "a\0", &"n".repeat(65)] {
        assert!(bad.parse::<Name>().is_err(), "{bad}");
    }
}
