//! The laws of merging, against a stupid model that judges all writes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::access::RULES;
use super::row::{Body, Row};
use super::unit::{Part, Unit, covers};
use super::*;
use crate::types::row::decode;
use crate::types::storage::{Batch, Key, Table, Txn, View};
use crate::types::{Domain, Hash, Incarnation, MemoryStore, MessageId, NodeId, Stamp, Version, WallMs};
use crate::wire::kind::Json;
use crate::wire::kind::state::{Change, CollectionWrite, Op, collection_fault, owner, path_fault};

mod floor;
mod floors;
mod healing;
mod known;
mod reading;

const PATHS: [&str; 6] = ["a", "a/b", "a/b/c", "a/bc", "d", RULES];

pub(super) fn json(value: impl Into<serde_json::Value>) -> Json {
    Json::from(&value.into())
}

pub(super) fn node(n: u8) -> NodeId {
    NodeId(ed25519_dalek::SigningKey::from_bytes(&[n + 1; 32]).verifying_key().to_bytes())
}

/// The collection of node 0.
fn owned() -> String {
    format!("c@{}", node(0))
}

/// A replica with its store.
#[derive(Default)]
pub(super) struct Host {
    pub store: MemoryStore,
    pub replica: Replica,
}

impl Host {
    pub fn step<T>(&mut self, work: impl FnOnce(&mut Merge<'_, '_, '_>) -> T) -> T {
        let mut batch = Batch::default();
        let mut tx = Txn::new(&self.store, &mut batch);
        let done = work(&mut Merge::new(&mut self.replica, &mut tx, WallMs(7)));
        self.replica.save(&mut tx);
        self.store.commit(batch);
        done
    }

    pub fn apply(&mut self, member: &Member) -> Outcome {
        self.step(|merge| merge.apply(member.clone()))
    }

    pub fn take(&mut self, member: &Member) {
        self.apply(member);
    }

    fn settle(&mut self, budget: usize) {
        while self.step(|merge| merge.sweep(budget)) {}
        assert!(self.replica.is_settled());
    }

    fn reload(&mut self) {
        self.replica = Replica::load(&self.store).unwrap();
    }

    fn rows(&self) -> BTreeMap<(Unit, Version), Row> {
        let start = Key::new(Table::State, &[]);
        let mut rows = BTreeMap::new();
        self.store.scan(&start, &start.after_prefix(), &mut |key, value| {
            let Some((unit, row)) = Row::read(key, value) else { return ControlFlow::Continue(()) };
            assert_eq!(decode::<Body>(&row.raw).as_ref(), Some(&row.body), "as its fields are read one by one");
            rows.insert((unit, row.version), row);
            ControlFlow::Continue(())
        });
        rows
    }

    fn retained(&self) -> Places {
        self.rows().into_iter().filter(|(_, row)| row.status.is_retained()).map(|(place, _)| place).collect()
    }

    fn shown(&self) -> Places {
        self.rows().into_iter().filter(|(_, row)| row.status == Status::Kept).map(|(place, _)| place).collect()
    }

    /// What is counted is what is there.
    fn check_counts(&self) {
        for info in collections(&self.store) {
            let mut recount = Recount::default();
            while {
                recount.go_on(&info.name, 3, &self.store);
                recount.next.is_some()
            } {}
            assert_eq!((recount.retained, recount.hash()), (info.retained, info.root));
        }
        let start = Key::new(Table::Member, &[]);
        let mut members = 0;
        self.store.scan(&start, &start.after_prefix(), &mut |_, _| {
            members += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(members, self.retained().len());
        let (_, elements): (Vec<_>, Vec<_>) = self.shown().into_iter().partition(|(unit, _)| unit.part != Part::Set);
        let start = Key::new(Table::State, &[]);
        let mut found = 0;
        self.store.scan(&start, &start.after_prefix(), &mut |key, _| {
            found += usize::from(Unit::read(key).is_some_and(|(unit, _)| unit.part == Part::Element));
            ControlFlow::Continue(())
        });
        assert_eq!(found, elements.len(), "what is found by element is what stands");
    }
}

/// Rows, by where they are.
type Places = BTreeSet<(Unit, Version)>;

/// A fork that is proved: author, life, from this bundle on.
type Forked = (NodeId, Incarnation, u64);

/// Judges all writes at once, by the definitions alone.
struct Model<'a> {
    all: &'a [Member],
    forks: &'a [Forked],
}

impl Model<'_> {
    fn masked(&self, member: &Member) -> bool {
        let body = &member.body;
        self.forks
            .iter()
            .any(|(author, life, at)| body.author == *author && body.incarnation == *life && body.sequence >= *at)
    }

    fn denied(&self, member: &Member) -> bool {
        let Some(owner) = owner(&member.unit.collection) else { return false };
        if owner == member.body.author {
            return false;
        }
        let rules = self.all.iter().filter(|rule| {
            rule.unit.path == RULES
                && rule.unit.part == Part::Register
                && rule.unit.collection == member.unit.collection
        });
        let stood =
            rules.filter(|rule| rule.body.author == owner && !self.masked(rule) && rule.version < member.version);
        let stood = stood.max_by_key(|rule| rule.version);
        let rules: AccessRules = match stood.map(|rule| &rule.body.op) {
            Some(Op::Set { value }) => serde_json::from_str(value.as_str()).unwrap_or_default(),
            _ => AccessRules::default(),
        };
        covers(RULES, &member.unit.path)
            || !rules.rules.iter().any(|rule| {
                let at = rule.prefix.is_empty() || covers(&rule.prefix, &member.unit.path);
                at && match &rule.writers {
                    Writers::Everyone => true,
                    Writers::Nodes(nodes) => nodes.contains(&member.body.author),
                }
            })
    }

    fn eligible(&self) -> Vec<&Member> {
        self.all.iter().filter(|member| !self.masked(member) && !self.denied(member)).collect()
    }

    /// What is retained, and what of it is shown.
    fn judge(&self) -> (Places, Places) {
        let eligible = self.eligible();
        let (mut retained, mut shown) = (BTreeSet::new(), BTreeSet::new());
        for member in &eligible {
            let unit = &member.unit;
            let is_rules = unit.path == RULES && unit.part == Part::Register && owner(&unit.collection).is_some();
            let is_floor = unit.path == FLOOR && unit.part == Part::Register;
            let shaded = !is_rules
                && !is_floor
                && eligible.iter().any(|other| {
                    let here = other.unit.part == Part::Prefix && other.unit.collection == unit.collection;
                    let strictly = unit.part != Part::Prefix || other.unit.path != unit.path;
                    here && strictly
                        && covers(&other.unit.path, &unit.path)
                        && other.version.stamp > member.version.stamp
                });
            let same = || eligible.iter().filter(|other| other.unit == *unit);
            let stands = match &member.body.op {
                Op::Remove => false,
                Op::Add { .. } => !shaded && !same().any(|other| other.body.over.contains(&member.version)),
                _ => !shaded && !same().any(|other| other.version > member.version),
            };
            let place = (unit.clone(), member.version);
            let says_floor = is_floor
                && matches!(&member.body.op, Op::Set { value }
                    if Floor::read(value).is_some_and(|floor| floor.version < member.version));
            let decides = unit.part == Part::Set && !member.body.over.is_empty() || is_rules || says_floor;
            if stands || decides {
                retained.insert(place.clone());
            }
            if stands {
                shown.insert(place);
            }
        }
        (retained, shown)
    }
}

#[derive(Clone, Debug)]
struct Sketch {
    owned: bool,
    path: usize,
    author: u8,
    life: u64,
    stamp: u64,
    op: u8,
    value: u8,
    over: Vec<u8>,
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let over = prop::collection::vec(any::<u8>(), 0..3);
    (any::<bool>(), 0..PATHS.len(), 0..3u8, 0..2u64, 1..12u64, 0..10u8, 0..4u8, over).prop_map(
        |(owned, path, author, life, stamp, op, value, over)| Sketch {
            owned,
            path,
            author,
            life,
            stamp,
            op,
            value,
            over,
        },
    )
}

fn rules(value: u8) -> Json {
    let writers = if value.is_multiple_of(2) { Writers::Everyone } else { Writers::Nodes(vec![node(1)]) };
    let prefix = if value < 2 { "" } else { "a/b" };
    let rules = AccessRules { rules: vec![AccessRule { prefix: prefix.into(), writers }] };
    Json::from(&serde_json::to_value(rules).unwrap())
}

/// Writes drawn from sketches; what they name is what was drawn before, at the same path.
fn members(sketches: &[Sketch]) -> Vec<Member> {
    let mut all: Vec<Member> = Vec::new();
    for (n, sketch) in sketches.iter().enumerate() {
        let collection = if sketch.owned { owned() } else { "open".into() };
        let path = PATHS[sketch.path];
        let op = match sketch.op {
            0..=2 if path == RULES => Op::Set { value: rules(sketch.value) },
            0..=2 => Op::Set { value: json(sketch.value) },
            3 => Op::Delete,
            4 | 5 => Op::Add { element: json(sketch.value) },
            6 => Op::Remove,
            7 => Op::DeletePrefix,
            _ => Op::Count { plus: sketch.value.into(), minus: 1 },
        };
        let mut body = Body {
            author: node(sketch.author),
            incarnation: Incarnation(sketch.life),
            sequence: n as u64 / 3,
            message: MessageId::new(Stamp(sketch.stamp << 16), 0),
            client: None,
            over: Vec::new(),
            op,
        };
        let change = Change { path: path.into(), over: Vec::new(), op: body.op.clone() };
        let unit = Unit::of(&collection, &change, body.author, body.incarnation);
        let there: Vec<Version> = all.iter().filter(|other| other.unit == unit).map(|other| other.version).collect();
        body.over =
            sketch.over.iter().filter_map(|pick| there.get(usize::from(*pick) % there.len().max(1))).copied().collect();
        let checksum = Domain::Trace.hash(&[&(n as u64).to_be_bytes()]);
        let version = Version::of(Stamp(sketch.stamp << 16), body.author, checksum, 0);
        all.push(Member { unit, version, body });
    }
    all
}

#[derive(Clone, Debug)]
enum Deed {
    Apply(usize),
    Sweep(usize),
    Reload,
    Fork(usize),
}

fn deeds(writes: usize) -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        12 => (0..writes).prop_map(Deed::Apply),
        2 => (1..4usize).prop_map(Deed::Sweep),
        1 => Just(Deed::Reload),
    ];
    prop::collection::vec(deed, 0..30)
}

const FORKS: [(u8, u64, u64); 4] = [(1, 0, 3), (1, 1, 0), (0, 0, 5), (1, 0, 1)];

fn forked(n: usize) -> Forked {
    let (author, life, at) = FORKS[n];
    (node(author), Incarnation(life), at)
}

fn play(host: &mut Host, deeds: &[Deed], all: &[Member], forks: &mut BTreeSet<usize>) {
    for deed in deeds {
        match deed {
            Deed::Apply(n) => host.take(&all[n % all.len()]),
            Deed::Sweep(budget) => {
                host.step(|merge| merge.sweep(*budget));
            }
            Deed::Reload => host.reload(),
            Deed::Fork(n) => {
                let (author, life, at) = forked(*n);
                host.step(|merge| merge.mask(author, life, at));
                forks.insert(*n);
            }
        }
    }
}

#[test]
fn an_author_that_forks_lower_and_lower_makes_one_pass_wait() {
    let mut host = Host::default();
    for at in (0..50).rev() {
        host.step(|merge| merge.mask(node(1), Incarnation(0), at));
    }
    host.step(|merge| merge.mask(node(1), Incarnation(0), 9));
    host.reload();
    let start = crate::types::storage::Key::new(Table::Sweep, &[]);
    let mut waiting = 0;
    host.store.scan(&start, &start.after_prefix(), &mut |_, _| {
        waiting += 1;
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(waiting, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn in_whatever_order_and_however_often_the_same_is_retained(
        sketches in prop::collection::vec(sketch(), 1..24),
        deeds in deeds(24),
        rest in Just(()).prop_perturb(|(), mut rng| rng.next_u64()),
    ) {
        let all = members(&sketches);
        let mut host = Host::default();
        play(&mut host, &deeds, &all, &mut BTreeSet::new());
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|n| Domain::Trace.hash(&[&rest.to_be_bytes(), &n.to_be_bytes()]));
        order.iter().for_each(|n| host.take(&all[*n]));
        host.settle(2);
        let (retained, shown) = Model { all: &all, forks: &[] }.judge();
        prop_assert_eq!(host.retained(), retained);
        prop_assert_eq!(host.shown(), shown);
        host.check_counts();
        let root = host.replica.root();
        host.reload();
        prop_assert_eq!(host.replica.root(), root);
    }

    #[test]
    fn what_a_fork_masks_never_counted_whenever_it_is_proved(
        sketches in prop::collection::vec(sketch(), 1..24),
        before in deeds(24),
        forks in prop::collection::btree_set(0..FORKS.len(), 1..3),
        after in deeds(24),
    ) {
        let all = members(&sketches);
        let mut host = Host::default();
        let mut known = BTreeSet::new();
        play(&mut host, &before, &all, &mut known);
        all.iter().for_each(|member| host.take(member));
        let proofs: Vec<Deed> = forks.iter().map(|n| Deed::Fork(*n)).collect();
        play(&mut host, &proofs, &all, &mut known);
        // What is masked is not taken any more: feeds see to that.
        let after: Vec<Deed> = after.into_iter().filter(|deed| !matches!(deed, Deed::Apply(_))).collect();
        play(&mut host, &after, &all, &mut known);
        host.settle(3);
        let forks: Vec<Forked> = known.iter().map(|n| forked(*n)).collect();
        let (retained, shown) = Model { all: &all, forks: &forks }.judge();
        prop_assert_eq!(host.retained(), retained);
        prop_assert_eq!(host.shown(), shown);
        host.check_counts();
    }

    #[test]
    fn no_write_is_lost_without_a_trace(sketches in prop::collection::vec(sketch(), 1..30), budget in 1..5usize) {
        let all = members(&sketches);
        let mut host = Host::default();
        for member in &all {
            host.apply(member);
            host.step(|merge| merge.sweep(budget));
        }
        host.settle(budget);
        let shown = host.shown();
        for member in &all {
            let (collection, path) = member.place();
            let says = !matches!(member.body.op, Op::Remove | Op::DeletePrefix);
            let newer = |other: &&Member| other.unit == member.unit && other.version > member.version;
            let seen = all.iter().any(|other| other.unit == member.unit && other.body.over.contains(&member.version));
            let own_total = member.unit.part == Part::Counter && all.iter().any(|other| newer(&other));
            let prefixes = || all.iter().filter(|other| {
                other.unit.part == Part::Prefix && covers(&other.unit.path, path) && other.unit.collection == collection
            });
            let deleted = prefixes().any(|other| {
                let known = other.body.author == member.body.author || member.body.op == Op::Delete;
                known && other.version.stamp > member.version.stamp
            });
            let logged = conflict(collection, path, member.version, &host.store).is_some();
            let visible = shown.contains(&(member.unit.clone(), member.version));
            prop_assert!(visible || logged || seen || own_total || deleted || !says, "{:?}", member);
            prop_assert!(!(visible && logged), "{:?} stands and is in the conflict log", member);
        }
    }

    /// What two nodes retain is enough: neither has to know what the other has let go.
    #[test]
    fn joining_what_is_retained_is_joining_everything(
        sketches in prop::collection::vec(sketch(), 1..30),
        side in prop::collection::vec(0..3u8, 30),
    ) {
        let all = members(&sketches);
        let mut hosts = [Host::default(), Host::default()];
        for (member, side) in all.iter().zip(&side) {
            // Rules of access are known to both: what a write is judged by comes before it is joined.
            let rules = member.unit.path == RULES;
            hosts.iter_mut().zip([0, 1]).filter(|(_, n)| rules || *side != *n).for_each(|(host, _)| host.take(member));
        }
        hosts.iter_mut().for_each(|host| host.settle(4));
        let said: Vec<Vec<Member>> = hosts.iter().map(|host| {
            let retained = host.rows().into_iter().filter(|(_, row)| row.status.is_retained());
            retained.map(|((unit, version), row)| Member { unit, version, body: row.body }).collect()
        }).collect();
        for (host, other) in hosts.iter_mut().zip([&said[1], &said[0]]) {
            other.iter().for_each(|member| host.take(member));
            host.settle(4);
        }
        let (retained, _) = Model { all: &all, forks: &[] }.judge();
        prop_assert_eq!(hosts[0].retained(), retained);
        prop_assert_eq!(hosts[0].replica.root(), hosts[1].replica.root());
    }

    /// The state at a time is the state of whoever knows what was written until then, and nothing later.
    #[test]
    fn the_past_is_what_was_written_until_then(sketches in prop::collection::vec(sketch(), 1..24), at in 0..13u64) {
        let (all, at) = (members(&sketches), Stamp(at << 16));
        let (mut whole, mut then) = (Host::default(), Host::default());
        all.iter().for_each(|member| whole.take(member));
        all.iter().filter(|member| member.version.stamp <= at).for_each(|member| then.take(member));
        whole.settle(50);
        then.settle(50);
        for collection in ["open".to_string(), owned()] {
            let (whole, then) = (State::of(&collection, &whole.store), State::of(&collection, &then.store));
            for path in PATHS {
                let was = then.cell(path).filter(|cell| !cell.is_empty());
                prop_assert_eq!(whole.cell_at(path, Then::Made(at)), Ok(was), "{} {}", collection, path);
                let now = whole.cell(path).filter(|cell| !cell.is_empty());
                prop_assert_eq!(whole.cell_at(path, Then::Made(Stamp(u64::MAX))), Ok(now), "{} {}", collection, path);
            }
        }
    }

    #[test]
    fn names_and_paths_are_judged_without_panic(text in ".{0,80}") {
        let _ = (collection_fault(&text), path_fault(&text), owner(&text));
        let _ = Unit::parse(text.as_bytes());
    }
}

#[test]
fn a_row_is_found_again_by_its_key() {
    let change = Change { path: "a/b".into(), over: Vec::new(), op: Op::Count { plus: 1, minus: 0 } };
    for unit in [Unit::of("c", &change, node(1), Incarnation(9)), Unit::at("c", "x", Part::Set)] {
        let version = Version { stamp: Stamp(5), digest: [3; 16] };
        assert_eq!(Unit::read(unit.row(version).as_bytes()), Some((unit, version)));
    }
}

/// Bytes on the disk and under the roots must never change.
#[test]
fn rows_and_roots_are_the_golden_ones() {
    let op = Op::Set { value: json(7) };
    let changes = vec![Change { path: "a/b".into(), over: Vec::new(), op }];
    let write = CollectionWrite { collection: "c".into(), client: None, changes };
    let origin = Origin {
        author: NodeId([1; 32]),
        incarnation: Incarnation(2),
        sequence: 3,
        message: MessageId::new(Stamp::new(0x018b_cfe5_6800, 5), 9),
        checksum: Hash([4; 32]),
    };
    let mut host = Host::default();
    Member::of(write, origin).for_each(|member| host.take(&member));
    let start = Key::new(Table::State, &[]);
    let (key, row) = host.store.last(&start, &start.after_prefix()).unwrap();
    assert_eq!(hex::encode(key), "306300612f620002018bcfe56800000567b4c5425b4f26d57bf2c4fe0c06b522");
    let author = "01".repeat(32);
    // It came before the first event.
    let came = "0000000000000000";
    assert_eq!(hex::encode(row), format!("11{came}{author}0203018bcfe56800700094000000000000090000000137"));
    let root = &collections(&host.store)[0].root;
    assert_eq!(root.to_string(), "7196867959b5662f15d4e5dab55d45ffd4b569bc542ff6a33185beb0a6015c7a");
    let state = "d5b099e565d0c66bc856d077739f474c5c4b44d8d18f6fccbd6598ca9e8f5a8c";
    assert_eq!(host.replica.root().to_string(), state);
}

#[test]
fn a_prefix_is_one_of_segments() {
    assert!(covers("a/b", "a/b") && covers("a/b", "a/b/c"));
    assert!(!covers("a/b", "a/bc") && !covers("a/b", "a"));
}
