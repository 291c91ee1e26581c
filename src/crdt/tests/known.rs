//! What was known at an event is what was shown before it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Deed, FORKS, Host, Model, PATHS, Sketch, deeds, forked, json, members, node, owned, play, sketch};
use crate::crdt::row::Row;
use crate::crdt::unit::{Part, Unit};
use crate::crdt::*;
use crate::types::storage::{Batch, Key, Table, Txn, View};
use crate::types::{Incarnation, Stamp, Version};
use crate::wire::kind::state::{Change, Op};

/// What readers see at every path.
fn shown(host: &Host) -> BTreeMap<(String, &'static str), Cell> {
    let mut shown = BTreeMap::new();
    for collection in ["open".to_string(), owned()] {
        let state = State::of(&collection, &host.store);
        for path in PATHS {
            let cell = state.cell(path).filter(|cell| !cell.is_empty());
            shown.extend(cell.map(|cell| ((collection.clone(), path), cell)));
        }
    }
    shown
}

/// The same as it was known then.
fn shown_at(host: &Host, number: u64) -> BTreeMap<(String, &'static str), Cell> {
    let mut shown = BTreeMap::new();
    for collection in ["open".to_string(), owned()] {
        let state = State::of(&collection, &host.store);
        for path in PATHS {
            let cell = state.cell_at(path, Then::Known(number)).unwrap();
            shown.extend(cell.map(|cell| ((collection.clone(), path), cell)));
        }
    }
    shown
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_was_known_is_what_was_shown(
        sketches in prop::collection::vec(sketch(), 1..24),
        deeds in deeds(24),
        forks in prop::collection::btree_map(0..30usize, 0..FORKS.len(), 0..3),
    ) {
        let all = members(&sketches);
        let (mut host, mut then) = (Host::default(), BTreeMap::new());
        let (mut masked, mut came) = (Default::default(), Vec::new());
        for (at, deed) in deeds.iter().enumerate() {
            if let Some(fork) = forks.get(&at) {
                play(&mut host, &[Deed::Fork(*fork)], &all, &mut masked);
            }
            // Feeds see to it that what is masked is not taken any more.
            let late = matches!(deed, Deed::Apply(n) if masked.iter().any(|fork| {
                let (author, life, from) = forked(*fork);
                let body = &all[n % all.len()].body;
                (body.author, body.incarnation) == (author, life) && body.sequence >= from
            }));
            if !late {
                play(&mut host, std::slice::from_ref(deed), &all, &mut masked);
                came.extend(if let Deed::Apply(n) = deed { Some(all[n % all.len()].clone()) } else { None });
            }
            host.settle(3);
            let (number, now) = (host.replica.events_end(), shown(&host));
            // Nothing that is shown changes without an event.
            let before = then.insert(number, now.clone());
            prop_assert!(before.is_none_or(|before| before == now), "{} was shown otherwise", number);
            // The naive way: judge all that had come.
            let forks: Vec<_> = masked.iter().map(|n| forked(*n)).collect();
            let (_, stands) = Model { all: &came, forks: &forks }.judge();
            prop_assert_eq!(host.shown(), stands);
        }
        host.reload();
        for (number, was) in then {
            prop_assert_eq!(shown_at(&host, number), was, "before event {}", number);
        }
    }
}

fn put(host: &mut Host, stamp: u64, op: Op) -> Version {
    let change = Change { path: "x".into(), over: Vec::new(), op };
    let sketches = [Sketch { owned: false, path: 0, author: 1, life: 0, stamp, op: 0, value: 0, over: Vec::new() }];
    let mut member = members(&sketches).remove(0);
    member.unit = Unit::of("c", &change, node(1), Incarnation(0));
    member.version = Version { stamp: Stamp(stamp), digest: [stamp as u8; 16] };
    member.body.op = change.op;
    host.take(&member);
    member.version
}

#[test]
fn what_is_let_go_says_from_when_on_it_is_remembered() {
    let mut host = Host::default();
    for stamp in 1..=200 {
        put(&mut host, stamp, Op::Set { value: json(stamp) });
    }
    let state = State::of("c", &host.store);
    let Err(Forgotten::KnownFrom(from)) = state.cell_at("x", Then::Known(1)) else { panic!("it is remembered") };
    let then = state.cell_at("x", Then::Known(from)).unwrap().and_then(|cell| cell.register?.value);
    assert!(then.is_some() && state.cell_at("x", Then::Known(from - 1)).is_err());
    let listed = state.list_at("", None, 10, Then::Known(1)).unwrap();
    let forgotten = ForgottenPath { path: "x".into(), why: Forgotten::KnownFrom(from) };
    assert_eq!((listed.cells, listed.forgotten), (vec![], vec![forgotten]));
    let end = host.replica.events_end();
    assert_eq!(state.cell_at("x", Then::Known(end)), Ok(state.cell("x")));
    assert_eq!(state.cell_at("x", Then::Known(end + 1)), Err(Forgotten::NotYet(end)));
    let past = state.history_at("x", None, 3, Then::Known(end - 1)).unwrap();
    assert_eq!((past.len(), past[0].status, past[1].status), (3, Status::Kept, Status::Superseded));
    assert_eq!((past[0].arrived, past[0].written_ms), (Some(end - 2), state.history("x", None, 2)[1].written_ms));
    assert!(state.history_at("x", None, 3, Then::Known(1)).is_err());
}

/// One share of a counter may be forgotten while another is not: their sum is not told then.
#[test]
fn a_counter_of_which_a_part_is_forgotten_is_not_summed() {
    let mut host = Host::default();
    let mut count = |author: u8, stamp: u64| {
        let change = Change { path: "n".into(), over: Vec::new(), op: Op::Count { plus: stamp, minus: 0 } };
        let sketches = [Sketch { owned: false, path: 0, author, life: 0, stamp, op: 8, value: 0, over: Vec::new() }];
        let mut member = members(&sketches).remove(0);
        member.unit = Unit::of("c", &change, node(author), Incarnation(0));
        member.version = Version { stamp: Stamp(stamp << 16), digest: [stamp as u8; 16] };
        member.body.op = change.op;
        host.take(&member);
    };
    count(2, 1);
    (2..200).for_each(|stamp| count(1, stamp));
    let state = State::of("c", &host.store);
    assert!(matches!(state.cell_at("n", Then::Made(Stamp(2 << 16))), Err(Forgotten::OldestMs(_))));
    assert!(matches!(state.cell_at("n", Then::Known(2)), Err(Forgotten::KnownFrom(_))));
}

/// Rows of a store that was written before it was remembered when writes came.
#[test]
fn rows_of_before_are_read_and_said_not_to_be_remembered() {
    let mut host = Host::default();
    for stamp in 1..4 {
        put(&mut host, stamp, Op::Set { value: json(stamp) });
    }
    let mut batch = Batch::default();
    let mut tx = Txn::new(&host.store, &mut batch);
    for ((unit, version), row) in host.rows() {
        tx.put(unit.row(version), Row { arrived: None, ..row.clone() }.encode(row.status, row.masked));
    }
    tx.delete(Key::new(Table::Arrival, &[]));
    host.store.commit(batch);
    let row = host.store.last(&Unit::at("c", "x", Part::Register).key(), &Key::new(Table::Member, &[])).unwrap().1;
    assert_eq!(row.first(), Some(&(Status::Kept as u8)), "as it was written then");
    host.reload();
    let from = host.replica.events_end();
    put(&mut host, 4, Op::Delete);
    let state = State::of("c", &host.store);
    assert_eq!(state.cell_at("x", Then::Known(from - 1)), Err(Forgotten::KnownFrom(from)));
    let then = state.cell_at("x", Then::Known(from)).unwrap().and_then(|cell| cell.register?.value);
    assert_eq!((then, state.cell_at("x", Then::Known(host.replica.events_end()))), (Some(json(3)), Ok(None)));
}
