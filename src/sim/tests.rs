//! Every judge can object, and a run can be run again.

use std::collections::BTreeSet;

use super::judge::{Durable, Holdings, Idle, Load, Prefixes, Subscriber, Unique, ban, bounds, convergence, halt};
use super::scenario::Fault;

use super::*;
use crate::feed::{Chain, Feeds, Retention};
use crate::types::{Hash, Incarnation, MemoryStore, MessageId, NodeId, Stamp, WallMs, limits};
use crate::wire::{Category, FeedId, Slot};

const AUTHOR: NodeId = NodeId([1; 32]);
const FEED: FeedId = FeedId { author: AUTHOR, incarnation: Incarnation(1), topic: Category::External };

fn slot(sequence: u64) -> Slot {
    Slot { feed: FEED, sequence }
}

fn hash(n: u8) -> Hash {
    Hash([n; 32])
}

fn id(ms: u64) -> MessageId {
    MessageId::new(Stamp::new(ms, 0), 7)
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for scenario in [Scenario::Lossy, Scenario::Everything, Scenario::ChainEverything] {
        let (one, two) = (run(scenario, 7), run(scenario, 7));
        assert_eq!(one, two);
        assert_ne!(one.trace_hash, run(scenario, 8).trace_hash);
    }
}

#[test]
fn a_readable_trace_is_the_same_run() {
    let (report, lines) = run_traced(Scenario::Crash, 3);
    assert_eq!(report, run(Scenario::Crash, 3));
    assert!(lines.iter().any(|line| line.contains("publish")), "{} lines", lines.len());
}

#[test]
fn prefix_objects_to_another_bundle_in_a_slot() {
    let mut prefixes = Prefixes::default();
    assert_eq!(prefixes.wrote(slot(0), hash(1)), Ok(()));
    assert_eq!(prefixes.wrote(slot(0), hash(1)), Ok(()));
    assert_eq!(prefixes.holds(slot(0), hash(1)), Ok(()));
    assert!(prefixes.holds(slot(0), hash(2)).is_err(), "changed on the way");
    assert!(prefixes.holds(slot(1), hash(2)).is_err(), "never written");
    assert!(prefixes.wrote(slot(0), hash(3)).is_err(), "its author contradicts itself");
}

#[test]
fn prefix_objects_to_a_chain_its_author_did_not_write() {
    let mut prefixes = Prefixes::default();
    assert_eq!(prefixes.wrote(slot(0), hash(1)), Ok(()));
    let chain = Chain { next: 1, stored: 1, head: hash(1), ..Chain::default() };
    assert_eq!(prefixes.chain(FEED, &chain, false), Ok(()));
    assert!(prefixes.chain(FEED, &Chain { next: 2, ..chain.clone() }, false).is_err(), "longer than written");
    assert!(prefixes.chain(FEED, &Chain { head: hash(9), ..chain.clone() }, false).is_err(), "another end");
    assert!(prefixes.chain(FEED, &Chain { forked: Some(0), ..chain.clone() }, true).is_err(), "no honest author forks");
    assert!(prefixes.chain(FEED, &Chain { joined: 5, ..chain }, true).is_err(), "out of order");
}

#[test]
fn once_objects_to_repetition_and_to_going_back() {
    let mut reader = Subscriber::default();
    assert_eq!(reader.deliver(0, Some(id(1))), Ok(()));
    assert_eq!(reader.deliver(3, Some(id(2))), Ok(()));
    assert!(reader.deliver(3, Some(id(3))).is_err(), "the same position");
    reader.reconnect(1);
    assert_eq!(reader.deliver(1, Some(id(2))), Ok(()), "lost in a crash and delivered again");
    assert!(reader.deliver(2, Some(id(1))).is_err(), "not lost, and delivered again");
}

#[test]
fn durable_objects_to_a_message_that_is_gone() {
    let (store, feeds, mut promised) = (MemoryStore::default(), Feeds::default(), Durable::default());
    promised.acknowledge(id(1), AUTHOR, &store);
    assert!(promised.check(id(1), &feeds, &Retention::new(), &store).is_err());
    promised.forgive(&store);
    assert_eq!(promised.count(), 0);
}

#[test]
fn bounds_objects_to_each_bound() {
    let load = Load { inputs: 1, feeds: 1, ..Load::default() };
    assert_eq!(bounds(&load), Ok(()));
    for broken in [
        Load { outputs: 10_000, ..load },
        Load { held: limits::HELD_PER_FEED * 64 + 1, ..load },
        Load { feeds: limits::FEEDS + 1, ..load },
        Load { flights: limits::RANGES_IN_FLIGHT + 1, ..load },
        Load { peers: limits::KNOWN_PEERS + 1, ..load },
    ] {
        assert!(bounds(&broken).is_err(), "{broken:?}");
    }
}

#[test]
fn unique_objects_to_an_id_used_twice_and_to_a_stamp_that_does_not_grow() {
    let mut unique = Unique::default();
    assert_eq!(unique.message(AUTHOR, id(10)), Ok(()));
    assert!(unique.message(NodeId([2; 32]), id(10)).is_err());
    assert!(unique.message(AUTHOR, MessageId::new(Stamp::new(9, 0), 1)).is_err());
    unique.forget_stamps(AUTHOR);
    assert_eq!(unique.message(AUTHOR, MessageId::new(Stamp::new(8, 0), 1)), Ok(()));
}

#[test]
fn convergence_objects_to_whatever_differs() {
    let chain = Chain { next: 2, stored: 2, head: hash(2), ..Chain::default() };
    let whole = Holdings {
        host: 0,
        root: hash(1),
        chains: [(FEED, chain.clone())].into(),
        bundles: [(slot(0), hash(1)), (slot(1), hash(2))].into(),
    };
    let villains = BTreeSet::from([AUTHOR]);
    let alike = |other: Holdings, villains: &BTreeSet<NodeId>| {
        convergence(&[whole.clone(), Holdings { host: 1, ..other }], &Retention::new(), villains)
    };
    assert_eq!(alike(whole.clone(), &villains), Ok(()));
    assert!(alike(Holdings { root: hash(9), ..whole.clone() }, &villains).is_err(), "another root");
    let mut holed = whole.clone();
    holed.bundles.remove(&slot(0));
    assert!(alike(holed, &villains).is_err(), "a hole");
    let knows = Holdings { chains: [(FEED, Chain { forked: Some(2), ..chain })].into(), ..whole.clone() };
    assert!(alike(knows, &villains).is_err(), "one knows of a fork, the other does not");
    let mut other_half = whole.clone();
    other_half.bundles.insert(slot(2), hash(3));
    let mut half = other_half.clone();
    half.bundles.insert(slot(2), hash(4));
    let verdict = convergence(&[half, other_half], &Retention::new(), &villains);
    assert!(verdict.is_err(), "two bundles in a slot beyond the chain, and nobody says so");
}

#[test]
fn ban_objects_to_honest_victims_only() {
    assert!(ban(AUTHOR, true, WallMs(5), "").is_err());
    assert_eq!(ban(AUTHOR, true, WallMs(0), ""), Ok(()), "forgiven");
    assert_eq!(ban(AUTHOR, false, WallMs(5), ""), Ok(()));
}

#[test]
fn halt_objects_to_faults_only() {
    assert!(halt(Some("broken")).is_err());
    assert_eq!(halt(None), Ok(()));
}

#[test]
fn idle_objects_to_running_in_circles() {
    let mut idle = Idle::default();
    let circles = (0..1000).try_for_each(|_| idle.step(false, true));
    assert!(circles.is_err());
    let mut idle = Idle::default();
    assert_eq!((0..1000).try_for_each(|n| idle.step(n % 20 == 0, true)), Ok(()));
}

#[test]
fn a_store_that_loses_what_was_flushed_is_caught() {
    // The whole way, not one judge alone: the disk forgets what it was told to keep.
    let plan = Plan::draw(Scenario::Crash, 1);
    let broken = (1..40).find_map(|seed| {
        let mut world = World::new(plan.clone(), seed, Trace::new(false)).unwrap();
        world.hosts.iter_mut().for_each(|host| host.forgetful = true);
        world.run();
        world.failure
    });
    let judge = broken.map(|failure| failure.judge);
    assert!(matches!(judge, Some(Judge::Durable | Judge::Unique | Judge::Prefix)), "{judge:?}");
}

#[test]
fn with_two_of_four_twinned_the_judges_see_a_disagreement() {
    // Beyond the bound: if nothing went wrong here, the judges would be blind. Each of the others hears one of each pair.
    let seen = (1..20).find_map(|seed| {
        let mut plan = Plan::draw(Scenario::ChainCalm, seed);
        let mut chain = plan.chain.take()?;
        chain::twins(&mut plan, &mut chain, &[2, 3], &mut rng::Rng::new(seed, "twins"));
        chain.slices_us = None;
        plan.faults.extend([(1_000_000, Fault::Cut { side: 0b00_1101 }), (plan.storm_us, Fault::Mend)]);
        plan.chain = Some(chain);
        let mut world = World::new(plan, seed, Trace::new(false)).unwrap();
        world.run();
        world.failure.filter(|failure| failure.judge == Judge::Agreement)
    });
    assert!(seen.is_some(), "two pairs of twins, and all agree");
}

#[test]
fn who_comes_late_takes_in_the_state_from_those_who_do_not_lie() {
    let (mut joined, mut lied) = (0, 0);
    for seed in 1..=6 {
        let plan = Plan::draw(Scenario::ChainSnapshot, seed);
        let late = plan.hosts - 1;
        let mut world = World::new(plan, seed, Trace::new(false)).unwrap();
        world.run();
        assert_eq!(world.failure, None, "seed {seed}");
        joined += usize::from(crate::ledger::chain::joined(&world.hosts[late].store).is_some());
        let blamed = world.hosts[late].process.as_ref().map(|process| process.node.refused("agreement"));
        lied += usize::from(blamed > Some(0));
    }
    assert!(joined > 2 && lied > 0, "{joined} came by the state, {lied} were lied to");
}

#[test]
fn made_up_floors_and_false_rolls_keep_nobody_apart() {
    let (mut rolls, mut unreachable) = (0, 0);
    for seed in 1..=8 {
        let mut plan = Plan::draw(Scenario::Floor, seed);
        plan.villains = vec![villain::Role::Forger { forks: u64::is_multiple_of(seed, 2) }];
        let mut world = World::new(plan, seed, Trace::new(false)).unwrap();
        world.run();
        assert_eq!(world.failure, None, "seed {seed}");
        let running = world.hosts.iter().filter_map(|host| host.process.as_ref());
        let nodes: Vec<&crate::node::Node> = running.map(|process| &process.node).collect();
        rolls += nodes.iter().map(|node| node.refused("unasked")).sum::<u64>();
        unreachable += usize::from(nodes.iter().any(|node| node.replica().pending_floors().next().is_some()));
    }
    assert!(
        rolls > 0 && unreachable > 0,
        "{rolls} false rolls were refused, {unreachable} runs had floors nobody can come to"
    );
}

#[test]
fn a_validator_that_forgets_its_log_is_seen() {
    // The disk says that it has what it was given of agreement's log, and does not.
    let seen = (1..30).find_map(|seed| {
        let mut world = World::new(Plan::draw(Scenario::ChainCrash, seed), seed, Trace::new(false)).unwrap();
        world.hosts.iter_mut().for_each(|host| host.disk.forgetful = true);
        world.run();
        world.failure.filter(|failure| failure.judge == Judge::Signatures)
    });
    assert!(seen.is_some(), "logs were lost, and nobody signed twice");
}

#[test]
fn saturated_lanes_overflow_by_every_rule_and_all_of_it_adds_up() {
    let (mut dropped, mut refused) = (0, 0);
    for seed in 1..=3 {
        let mut world = World::new(Plan::draw(Scenario::Saturated, seed), seed, Trace::new(false)).unwrap();
        world.run();
        assert_eq!(world.failure, None, "seed {seed}");
        let (more_dropped, more_refused) = world.accounts.overflowed();
        (dropped, refused) = (dropped + more_dropped, refused + more_refused);
    }
    assert!(dropped > 0 && refused > 0, "{dropped} dropped, {refused} pushed back");
}

mod flow {
    //! The judges of what clients say and what workers take.

    use std::collections::BTreeSet;

    use super::id;
    use crate::node::{Answer, CallRefusal};
    use crate::sim::judge::{Accounts, settled};
    use crate::wire::{Draft, Priority};

    fn draft(priority: Priority) -> Draft {
        let mut draft = crate::sim::workload::order(&mut crate::sim::rng::Rng::new(1, "judge"));
        draft.priority = priority;
        draft
    }

    fn accounts(priority: Priority, answer: Result<Answer, CallRefusal>) -> (Accounts, Result<(), String>) {
        let mut accounts = Accounts::default();
        accounts.asked(0, 1, 7, &[draft(priority), draft(priority)]);
        let verdict = accounts.answered(0, 1, 7, &answer);
        (accounts, verdict)
    }

    #[test]
    fn flow_objects_to_what_is_lost_against_the_rule() {
        let dropped = |lane| Ok(Answer::Dropped { lane, count: 2 });
        assert!(accounts(Priority::Bulk, dropped(Priority::Bulk)).1.is_ok());
        assert!(accounts(Priority::Critical, dropped(Priority::Critical)).1.is_err(), "Critical is never dropped");
        assert!(accounts(Priority::Bulk, dropped(Priority::Low)).1.is_err(), "it was not of that lane");
        let full = |lane| Err(CallRefusal::Full { lane });
        assert!(accounts(Priority::High, full(Priority::High)).1.is_ok());
        assert!(accounts(Priority::Bulk, full(Priority::Bulk)).1.is_err(), "Bulk pushes nobody back");
        let partly = Ok(Answer::Published { ids: vec![id(1)] });
        assert!(accounts(Priority::Normal, partly).1.is_err(), "one of two");
    }

    #[test]
    fn flow_objects_when_it_does_not_add_up() {
        let (accounts, verdict) = accounts(Priority::Normal, Ok(Answer::Published { ids: vec![id(1), id(2)] }));
        assert_eq!(verdict, Ok(()));
        assert_eq!(accounts.add_up(|_, _| true), Ok(()));
        assert!(accounts.add_up(|_, at| at == id(1)).is_err(), "one is not kept");
        let mut waits = Accounts::default();
        waits.asked(0, 1, 7, &[draft(Priority::Normal)]);
        assert!(waits.add_up(|_, _| true).is_err(), "nobody answered");
    }

    #[test]
    fn deliver_objects_to_what_is_open_twice_ended_or_made_up() {
        let set = |items: &[u64]| items.iter().copied().collect::<BTreeSet<u64>>();
        assert_eq!(settled(&set(&[1, 2, 3]), &set(&[1, 2]), &set(&[3])), Ok(()));
        assert!(settled(&set(&[1, 2, 3]), &set(&[1]), &set(&[3])).is_err());
        assert!(settled(&set(&[1, 2]), &set(&[1, 2]), &set(&[2])).is_err());
        assert!(settled(&set(&[1]), &set(&[1, 2]), &set(&[])).is_err());
    }
}

mod state {
    //! The judges of the state.

    use super::*;
    use crate::crdt::{Condition, Member, Merge, Origin, Replica, Wish, Wished};
    use crate::sim::judge::{Promise, Writings, counts};
    use crate::types::storage::{Batch, Key, Table, Txn, View};
    use crate::wire::kind::Json;
    use crate::wire::kind::state::{Change, CollectionWrite, Op};

    fn member(ms: u64, author: u8) -> Member {
        let op = Op::Set { value: Json::from(&serde_json::Value::from(author)) };
        let changes = vec![Change { path: "a".into(), over: Vec::new(), op }];
        let write = CollectionWrite { collection: "c".into(), client: None, changes };
        let (message, checksum) = (id(ms), hash(author));
        let author = NodeId([author; 32]);
        let origin = Origin { author, incarnation: Incarnation(1), sequence: 0, message, checksum };
        Member::of(write, origin).next().unwrap()
    }

    fn apply(store: &mut MemoryStore, replica: &mut Replica, member: &Member) {
        let mut batch = Batch::default();
        let mut tx = Txn::new(store, &mut batch);
        Merge::new(replica, &mut tx, WallMs(1)).apply(member.clone());
        replica.save(&mut tx);
        store.commit(batch);
    }

    #[test]
    fn survival_objects_to_a_write_that_is_nowhere() {
        let (mut store, mut replica) = (MemoryStore::default(), Replica::default());
        let (ours, theirs) = (member(1, 1), member(2, 2));
        let wish = Wish { path: "a".into(), wished: Wished::Put(Json::from(&1.into())), condition: Condition::None };
        let promise = Promise::of("c", &wish, ours.version(), (AUTHOR, Incarnation(1))).unwrap();
        let check = |store: &MemoryStore| Writings::default().check(&promise, store);
        assert!(check(&store).is_err(), "it is not there");
        apply(&mut store, &mut replica, &ours);
        assert_eq!(check(&store), Ok(()));
        apply(&mut store, &mut replica, &theirs);
        assert_eq!(check(&store), Ok(()), "it is in the conflict log");
        let mut batch = Batch::default();
        let start = Key::new(Table::Conflict, &[]);
        store.scan(&start, &start.after_prefix(), &mut |key, _| {
            batch.delete(Key::new(Table::Conflict, &[&key[1..]]));
            std::ops::ControlFlow::Continue(())
        });
        store.commit(batch);
        assert!(check(&store).is_err(), "no trace is left");
    }

    #[test]
    fn counts_objects_to_a_row_that_is_gone() {
        let (mut store, mut replica) = (MemoryStore::default(), Replica::default());
        apply(&mut store, &mut replica, &member(1, 1));
        assert_eq!(counts(&replica, &store), Ok(()));
        let start = Key::new(Table::State, &[]);
        let (key, _) = store.last(&start, &start.after_prefix()).unwrap();
        let mut batch = Batch::default();
        batch.delete(Key::new(Table::State, &[&key[1..]]));
        store.commit(batch);
        assert!(counts(&replica, &store).is_err());
    }
}
