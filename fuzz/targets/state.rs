//! Writes to replicated state in any order, and a store whose rows are damaged: what is merged twice in different orders
//! is the same, what is counted is what is there, and no row makes a reader panic.
#![no_main]

use arbitrary::Arbitrary;
use metanode::crdt::{
    Member, Merge, Origin, Recount, Replica, State, collections, conflicts, events, events_end, first_event,
};
use metanode::types::storage::{Batch, Key, Table, Txn};
use metanode::types::{Hash, Incarnation, MemoryStore, MessageId, Stamp, Version, WallMs};
use metanode::wire::kind::Json;
use metanode::wire::kind::state::{Change, CollectionWrite, Op};
use metanode_fuzz::author;

const PATHS: [&str; 6] = ["a", "a/b", "a/b/c", "a/bc", "d", "_access"];

#[derive(Arbitrary, Debug)]
struct Write {
    author: u8,
    life: u8,
    stamp: u8,
    path: u8,
    op: u8,
    value: u8,
    over: Vec<u8>,
    owned: bool,
}

#[derive(Arbitrary, Debug)]
struct Plan {
    writes: Vec<Write>,
    forks: Vec<(u8, u8, u8)>,
    budget: u8,
    rows: Vec<(u8, Vec<u8>, Vec<u8>)>,
}

fn members(writes: &[Write]) -> Vec<Member> {
    let mut versions: Vec<Version> = Vec::new();
    let mut members = Vec::new();
    for (n, write) in writes.iter().take(32).enumerate() {
        let value = Json::from(&serde_json::Value::from(write.value % 4));
        let op = match write.op % 7 {
            0 | 1 => Op::Set { value },
            2 => Op::Delete,
            3 => Op::Add { element: value },
            4 => Op::Remove,
            5 => Op::DeletePrefix,
            _ => Op::Count { plus: write.value.into(), minus: 1 },
        };
        let over = write.over.iter().take(3).filter_map(|pick| versions.get(usize::from(*pick) % versions.len().max(1)));
        let path = PATHS[usize::from(write.path) % PATHS.len()].to_string();
        let changes = vec![Change { path, over: over.copied().collect(), op }];
        let collection = if write.owned { format!("c@{}", author(1)) } else { "c".into() };
        let write_ = CollectionWrite { collection, client: None, changes };
        let origin = Origin {
            author: author(write.author % 3),
            incarnation: Incarnation((write.life % 2).into()),
            sequence: (n / 4) as u64,
            message: MessageId::new(Stamp(u64::from(write.stamp) << 16), 0),
            checksum: Hash([n as u8; 32]),
        };
        let made: Vec<Member> = Member::of(write_, origin).collect();
        versions.extend(made.iter().map(Member::version));
        members.extend(made);
    }
    members
}

fn merged<'a>(members: impl Iterator<Item = &'a Member>, plan: &Plan, store: &mut MemoryStore) -> Hash {
    let mut replica = Replica::load(store).expect("an empty store is sound");
    let mut step = |work: &mut dyn FnMut(&mut Merge<'_, '_, '_>) -> bool| {
        let mut batch = Batch::default();
        let mut tx = Txn::new(store, &mut batch);
        let more = work(&mut Merge::new(&mut replica, &mut tx, WallMs(1)));
        replica.save(&mut tx);
        store.commit(batch);
        more
    };
    for member in members {
        step(&mut |merge| {
            merge.apply(member.clone());
            merge.sweep(usize::from(plan.budget % 4))
        });
    }
    for (who, life, at) in plan.forks.iter().take(4) {
        step(&mut |merge| {
            merge.mask(author(who % 3), Incarnation((life % 2).into()), (at % 16).into());
            false
        });
    }
    while step(&mut |merge| merge.sweep(7)) {}
    for info in collections(store) {
        let mut count = Recount::default();
        count.go_on(&info.name, usize::MAX, store);
        assert_eq!((count.retained, count.hash()), (info.retained, info.root));
    }
    Replica::load(store).expect("what was written is read").root()
}

libfuzzer_sys::fuzz_target!(|plan: Plan| {
    let members = members(&plan.writes);
    let (mut one, mut two) = (MemoryStore::default(), MemoryStore::default());
    assert_eq!(merged(members.iter(), &plan, &mut one), merged(members.iter().rev(), &plan, &mut two));
    let mut batch = Batch::default();
    for (table, key, value) in plan.rows.iter().take(32) {
        let tables = [Table::State, Table::Member, Table::Conflict, Table::Change, Table::Collection, Table::Sweep];
        batch.put(Key::new(tables[usize::from(*table) % tables.len()], &[key]), value.clone());
    }
    one.commit(batch);
    for name in ["c", &format!("c@{}", author(1))] {
        let state = State::of(name, &one);
        state.list("", None, 100);
        for path in PATHS {
            state.cell(path);
            state.history(path, None, 100);
        }
        conflicts(name, "", None, 100, &one);
        Recount::default().go_on(name, usize::MAX, &one);
    }
    let told = events(first_event(&one), 100, &one);
    assert!(told.iter().all(|event| event.number < events_end(&one)));
    told.iter().for_each(|event| drop((event.body(&one), event.other_op(&one))));
    drop(Replica::load(&one));
});
