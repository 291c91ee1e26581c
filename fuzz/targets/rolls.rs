//! Rolls of floors, handed over by peers in pieces, wrong, cut short, several at once: a floor counts only if someone says
//! it and only with its own roll, below it nothing else is retained, the node comes to rest, and a restart changes nothing.
//! And damaged rows of floors and rolls make nobody panic.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Arbitrary;
use metanode::crdt::{Entry, FLOOR, Floor, Member, Merge, Origin, Recount, Replica, RollRoot, collections, retained};
use metanode::types::storage::{Batch, Key, Table, Txn};
use metanode::types::{Domain, Hash, Incarnation, MemoryStore, MessageId, Stamp, Version, WallMs};
use metanode::wire::kind::Json;
use metanode::wire::kind::state::{Change, CollectionWrite, Op};
use metanode_fuzz::author;

const NAME: &str = "c";
const PATHS: [&str; 4] = ["a", "a/b", "b", "c"];
/// Writes there are, and the life in which floors are said.
const WRITES: u8 = 24;
const LIFE: Incarnation = Incarnation(9);

/// A set of writes: those picked of all below a stamp. With another count than it has, nobody has it.
#[derive(Arbitrary, Debug)]
struct Set {
    below: u8,
    picks: u32,
    count: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum Deed {
    Write {
        n: u8,
    },
    Say {
        set: u8,
        by: u8,
    },
    Fork {
        by: u8,
        at: u8,
    },
    Begin {
        peer: u8,
        set: u8,
    },
    /// What follows in the roll that the peer hands over, or in another; spoiled or not.
    Page {
        peer: u8,
        set: Option<u8>,
        most: u8,
        spoil: u8,
        more: bool,
    },
    Drop {
        peer: u8,
    },
    Count {
        below: u8,
        staged: bool,
    },
    Tend {
        budget: u8,
    },
    Doubt,
    Restart,
}

#[derive(Arbitrary, Debug)]
struct Plan {
    sets: Vec<Set>,
    deeds: Vec<Deed>,
    rows: Vec<(bool, Vec<u8>, Vec<u8>)>,
}

struct World {
    store: MemoryStore,
    replica: Replica,
    writes: Vec<Member>,
    floors: Vec<(Floor, Vec<Entry>)>,
    /// Who said which floor, and in which bundle.
    said: Vec<(u8, u64, Floor)>,
    forks: BTreeMap<u8, u64>,
}

fn member(path: &str, op: Op, by: u8, life: Incarnation, sequence: u64, at: u64) -> Member {
    let changes = vec![Change { path: path.into(), over: Vec::new(), op }];
    let write = CollectionWrite { collection: NAME.into(), client: None, changes };
    let checksum = Domain::Trace.hash(&[&[by], &sequence.to_be_bytes(), path.as_bytes()]);
    let message = MessageId::new(Stamp(at << 16), 0);
    let origin = Origin { author: author(by), incarnation: life, sequence, message, checksum };
    Member::of(write, origin).next().expect("it has one change")
}

fn write(n: u8) -> Member {
    let value = Json::from(&serde_json::Value::from(n));
    let op = match n % 6 {
        0 | 1 => Op::Set { value },
        2 => Op::Delete,
        3 => Op::Add { element: value },
        4 => Op::DeletePrefix,
        _ => Op::Count { plus: n.into(), minus: 1 },
    };
    member(PATHS[usize::from(n / 2) % PATHS.len()], op, n % 3, Incarnation(0), n.into(), 1 + u64::from(n))
}

fn version(at: u8) -> Version {
    Version { stamp: Stamp(u64::from(at % (WRITES + 8)) << 16), digest: [0; 16] }
}

fn root(entries: &[Entry], at: Version) -> Floor {
    let mut root = RollRoot::default();
    entries.iter().for_each(|entry| root.add(entry));
    root.floor(at)
}

/// A floor and the roll that is its own, or as good as.
fn floor(set: &Set, writes: &[Member]) -> (Floor, Vec<Entry>) {
    let below = version(set.below);
    let picked = writes.iter().enumerate().filter(|(n, write)| (set.picks >> n) & 1 == 1 && write.version() < below);
    let entry = |(_, write): (usize, &Member)| Entry { version: write.version(), digest: write.digest() };
    let mut roll: Vec<Entry> = picked.map(entry).collect();
    roll.sort_unstable();
    let floor = root(&roll, below);
    (Floor { count: set.count.map_or(floor.count, u64::from), ..floor }, roll)
}

impl World {
    fn step<T>(&mut self, work: impl FnOnce(&mut Merge<'_, '_, '_>) -> T) -> T {
        let mut batch = Batch::default();
        let mut tx = Txn::new(&self.store, &mut batch);
        let done = work(&mut Merge::new(&mut self.replica, &mut tx, WallMs(1)));
        self.replica.save(&mut tx);
        self.store.commit(batch);
        done
    }

    fn restart(&mut self) {
        self.replica = Replica::load(&self.store).expect("what was written is read");
    }

    fn set(&self, n: u8) -> Option<&(Floor, Vec<Entry>)> {
        self.floors.get(usize::from(n) % self.floors.len().max(1))
    }

    fn perform(&mut self, deed: &Deed) {
        match *deed {
            Deed::Write { n } => {
                let member = self.writes[usize::from(n) % self.writes.len()].clone();
                self.step(|merge| merge.apply(member.clone()));
            }
            Deed::Say { set, by } => self.say(set, by % 3),
            Deed::Fork { by, at } => {
                let (by, at) = (by % 3, u64::from(at % 16));
                let lowest = self.forks.entry(by).or_insert(at);
                *lowest = at.min(*lowest);
                self.step(|merge| merge.mask(author(by), LIFE, at));
            }
            Deed::Begin { peer, set } => {
                if let Some(floor) = self.set(set).map(|(floor, _)| *floor) {
                    self.step(|merge| merge.begin_roll(NAME, author(peer % 3), floor, 2, &BTreeSet::new()));
                }
            }
            Deed::Page { peer, set, most, spoil, more } => self.page(peer % 3, set, most, spoil, more),
            Deed::Drop { peer } => self.step(|merge| merge.drop_roll(NAME, author(peer % 3))),
            Deed::Count { below, staged } => self.step(|merge| merge.count_floor(NAME, version(below), staged)),
            Deed::Tend { budget } => self.tend(1 + usize::from(budget % 8)),
            Deed::Doubt => self.replica.doubt(),
            Deed::Restart => self.restart(),
        }
    }

    /// Someone says a floor, later than all writes. Of one that has forked nothing later is taken.
    fn say(&mut self, set: u8, by: u8) {
        let Some(floor) = self.set(set).map(|(floor, _)| *floor) else { return };
        let sequence = self.said.iter().filter(|(author, ..)| *author == by).count() as u64;
        if self.forks.get(&by).is_some_and(|at| *at <= sequence) {
            return;
        }
        let at = 100 + self.said.len() as u64;
        self.said.push((by, sequence, floor));
        let member = member(FLOOR, Op::Set { value: floor.json() }, by, LIFE, sequence, at);
        self.step(|merge| merge.apply(member.clone()));
    }

    fn page(&mut self, peer: u8, set: Option<u8>, most: u8, spoil: u8, more: bool) {
        let Some((floor, last)) = self.replica.taking(NAME, author(peer)) else { return };
        let own = self.floors.iter().find(|(one, _)| *one == floor);
        let handed = set.and_then(|set| self.set(set)).or(own);
        let roll = handed.map(|(_, roll)| roll.clone()).unwrap_or_default();
        let rest = roll.into_iter().filter(|entry| Some(*entry) > last);
        let mut page: Vec<Entry> = rest.take(usize::from(most % 12)).collect();
        match spoil % 8 {
            0 => page.reverse(),
            1 => page.iter_mut().for_each(|entry| entry.digest = Hash([spoil; 32])),
            2 => page.iter_mut().take(1).for_each(|entry| entry.version = floor.version),
            3 => page.extend(last),
            _ => {}
        }
        // Who hands over nonsense is not listened to any more.
        if self.step(|merge| merge.take_roll(NAME, author(peer), &page, more)).is_err() {
            self.step(|merge| merge.drop_roll(NAME, author(peer)));
        }
    }

    fn tend(&mut self, budget: usize) {
        self.step(|merge| merge.sweep(budget));
        self.step(|merge| merge.tend_floors(budget));
    }

    fn rest(&mut self) {
        for _ in 0..5_000 {
            if self.replica.is_settled() && self.replica.is_at_rest() {
                return;
            }
            self.tend(7);
        }
        panic!("it does not come to rest");
    }

    /// The roll of a floor that counts.
    fn roll(&self, floor: &Floor) -> Vec<Entry> {
        let (mut roll, mut more) = (Vec::new(), true);
        while more {
            let page = self.replica.roll(NAME, floor, roll.last().copied(), 5, &self.store);
            let (page, rest) = page.expect("whoever has come to a floor has its roll");
            assert!(!rest || !page.is_empty());
            roll.extend(page);
            more = rest;
        }
        roll
    }

    /// What must hold after every deed.
    fn check(&self) {
        let Some(counts) = self.replica.floor(NAME) else { return };
        let roll = self.roll(&counts);
        assert!(roll.is_sorted_by(|a, b| a < b) && roll.iter().all(|entry| entry.version < counts.version));
        assert_eq!(root(&roll, counts.version), counts);
        assert!(self.said.iter().any(|(.., floor)| *floor == counts), "nobody ever said it");
        assert!(self.replica.pending_floor(NAME).is_none_or(|pending| pending > counts));
    }

    /// What must hold when nothing is left to be done.
    fn check_at_rest(&mut self) {
        self.rest();
        self.check();
        if let Some(counts) = self.replica.floor(NAME) {
            let stands = |(by, sequence, floor): &(u8, u64, Floor)| {
                *floor == counts && self.forks.get(by).is_none_or(|at| sequence < at)
            };
            assert!(self.said.iter().any(stands), "whoever said it has forked");
            let roll = self.roll(&counts);
            let below = retained(NAME, None, usize::MAX, &self.store).into_iter();
            let mut below = below.filter(|entry| entry.version < counts.version);
            assert!(below.all(|entry| roll.binary_search(&entry).is_ok()), "what is on no roll is gone");
        }
        for info in collections(&self.store) {
            let mut count = Recount::default();
            count.go_on(&info.name, usize::MAX, &self.store);
            assert_eq!((count.retained, count.hash()), (info.retained, info.root));
        }
        let held = |replica: &Replica| (replica.root(), replica.floor(NAME));
        let before = held(&self.replica);
        self.restart();
        assert_eq!(held(&self.replica), before);
    }
}

libfuzzer_sys::fuzz_target!(|plan: Plan| {
    let store = MemoryStore::default();
    let replica = Replica::load(&store).expect("an empty store is sound");
    let writes: Vec<Member> = (0..WRITES).map(write).collect();
    let floors = plan.sets.iter().take(8).map(|set| floor(set, &writes)).collect();
    let mut world = World { store, replica, writes, floors, said: Vec::new(), forks: BTreeMap::new() };
    for deed in plan.deeds.iter().take(80) {
        world.perform(deed);
        world.check();
    }
    world.check_at_rest();
    let mut batch = Batch::default();
    for (is_roll, key, value) in plan.rows.iter().take(16) {
        batch.put(Key::new(if *is_roll { Table::Roll } else { Table::Floor }, &[key]), value.clone());
    }
    world.store.commit(batch);
    if let Ok(replica) = Replica::load(&world.store) {
        world.replica = replica;
        world.step(|merge| merge.count_floor(NAME, version(9), true));
        (0..50).for_each(|_| world.tend(7));
    }
});
