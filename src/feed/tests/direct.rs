//! Direct bundles against a list of everything that came.

use std::ops::ControlFlow;

use super::*;
use crate::feed::direct::Stays;
use crate::wire::Hops;

const START: WallMs = WallMs(START_MS);

fn direct(ms: u64, count: u16) -> Verified {
    direct_by(9, ms, count)
}

fn direct_by(seed: u8, ms: u64, count: u16) -> Verified {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let mut pending = Pending::default();
    pending.push(&Message {
        id: MessageId::new(Stamp::new(START_MS + ms, count), 7),
        kind: u16::from(Category::Data.tag()) << 8 | 0xEE,
        schema_version: 1,
        content_type: Default::default(),
        destination: Default::default(),
        correlation: None,
        parent: None,
        expires: None,
        tags: vec![],
        headers: BTreeMap::new(),
        encryption: None,
        payload: b"for one reader",
    });
    let author = NodeId(key.verifying_key().to_bytes());
    let header = Header {
        course: Course::Direct,
        priority: Priority::Normal,
        network: "feeds".parse::<NetworkName>().unwrap().id(),
        feed: FeedId { author, incarnation: Incarnation(1), topic: Category::Data },
        sequence: 0,
        previous: Hash::ZERO,
        clock: Stamp(0),
        count: 0,
        body_bytes: 0,
        root: Hash::ZERO,
    };
    pending.seal(header, &key).unwrap()
}

/// A reader: what it keeps, and where.
#[derive(Default)]
struct Reader {
    store: MemoryStore,
    log: Log,
    directs: Directs,
}

impl Reader {
    fn take(&mut self, bundle: &Verified) -> Result<(), NotPlaced> {
        let mut batch = Batch::default();
        let tx = &mut Txn::new(&self.store, &mut batch);
        self.directs.check(bundle, START, tx)?;
        let (_, bytes) = self.log.append(bundle, Some(Hops::default()), START, tx);
        self.directs.stored(bundle.slot(), bytes, tx);
        self.store.commit(batch);
        Ok(())
    }

    fn trim(&mut self, rule: Rule, budget: usize) -> usize {
        self.trim_but(rule, START, budget, &|_, _| false)
    }

    fn trim_but(&mut self, rule: Rule, wall: WallMs, budget: usize, stays: Stays<'_>) -> usize {
        let mut batch = Batch::default();
        let rules = Retention::from([(Category::Data, rule)]);
        let gone = self.directs.trim(&rules, wall, budget, stays, &mut Txn::new(&self.store, &mut batch));
        self.store.commit(batch);
        gone
    }
}

proptest! {
    /// In whatever order bundles come, how often, and whenever retention takes some: none is kept twice, and what went
    /// never comes back, over restarts.
    #[test]
    fn nothing_is_taken_twice(
        deeds in prop::collection::vec((0u64..12, 0u8..10), 1..60),
    ) {
        let mut reader = Reader::default();
        let mut came = BTreeSet::new();
        for (ms, deed) in deeds {
            match deed {
                0 => reader.directs = Directs::load(&reader.store),
                1 => drop(reader.trim(Rule { max_age: None, max_bytes: Some(900) }, 2)),
                _ => {
                    let bundle = direct(ms, 0);
                    if reader.take(&bundle).is_ok() {
                        prop_assert!(came.insert(bundle.id()), "it was taken before");
                    }
                }
            }
            let mut kept = 0;
            bundles_from(0, &reader.store, &mut |slot, stored| {
                assert!(stored.hops.is_some(), "{slot:?} says how it came");
                kept += 1;
                ControlFlow::Continue(())
            });
            prop_assert_eq!(kept > 0, reader.directs.bytes(Category::Data) > 0);
            prop_assert_eq!(Directs::load(&reader.store).bytes(Category::Data), reader.directs.bytes(Category::Data));
        }
    }
}

#[test]
fn retention_takes_the_oldest_and_nothing_as_old_is_taken_after() {
    let mut reader = Reader::default();
    for ms in [5, 1, 3] {
        reader.take(&direct(ms, 0)).unwrap();
    }
    assert_eq!(reader.take(&direct(3, 0)), Err(NotPlaced::Duplicate));
    let one = reader.directs.bytes(Category::Data) / 3;
    assert_eq!(reader.trim(Rule { max_age: None, max_bytes: Some(2 * one) }, 100), 1);
    assert_eq!(reader.take(&direct(1, 0)), Err(NotPlaced::Old));
    assert_eq!(reader.take(&direct(0, 0)), Err(NotPlaced::Old), "older than what went");
    assert_eq!(reader.take(&direct(2, 0)), Ok(()));
    assert_eq!(reader.trim(Rule { max_age: Some(Duration::ZERO), max_bytes: None }, 100), 0, "none is from the past");
    let ancient = direct(0, 0).header().clock.wall().plus(limits::DIRECT_AGE + Duration::from_millis(1));
    assert_eq!(Directs::default().check(&direct(0, 0), ancient, &reader.store), Err(NotPlaced::Old));
}

/// When what is kept of an author was said.
fn clocks(reader: &Reader, seed: u8) -> Vec<u64> {
    let author = direct_by(seed, 0, 0).header().feed.author;
    let mut clocks = Vec::new();
    bundles_from(0, &reader.store, &mut |slot, _| {
        if slot.feed.author == author {
            clocks.push(Stamp(slot.sequence & !limits::SEQUENCES).ms() - START_MS);
        }
        ControlFlow::Continue(())
    });
    clocks
}

#[test]
fn a_flood_takes_from_whoever_floods_and_nothing_of_others_is_old_for_it() {
    let mut reader = Reader::default();
    reader.take(&direct_by(1, 0, 0)).unwrap();
    reader.take(&direct_by(1, 2, 0)).unwrap();
    (100..130).for_each(|ms| reader.take(&direct_by(2, ms, 0)).unwrap());
    let one = reader.directs.bytes(Category::Data) / 32;
    assert_eq!(reader.trim(Rule { max_age: None, max_bytes: Some(6 * one) }, 100), 26);
    assert_eq!(clocks(&reader, 1), [0, 2], "the honest one's oldest are older than all of the flood's");
    assert_eq!(clocks(&reader, 2), [126, 127, 128, 129]);
    assert_eq!(reader.take(&direct_by(1, 1, 0)), Ok(()), "late, and taken");
    assert_eq!(reader.take(&direct_by(2, 1, 0)), Err(NotPlaced::Old));
    reader.directs = Directs::load(&reader.store);
    assert_eq!(reader.take(&direct_by(2, 125, 0)), Err(NotPlaced::Old), "over a restart");
    assert_eq!(reader.take(&direct_by(1, 3, 0)), Ok(()));
}

#[test]
fn what_is_to_be_delivered_stays_and_costs_nobody_else_anything() {
    let mut reader = Reader::default();
    (0..10).for_each(|ms| reader.take(&direct_by(1, ms, 0)).unwrap());
    reader.take(&direct_by(2, 5, 0)).unwrap();
    let own = direct_by(1, 0, 0).header().feed.author;
    let one = reader.directs.bytes(Category::Data) / 11;
    let small = Rule { max_age: None, max_bytes: Some(3 * one) };
    let odd = |slot: Slot, _: &Stored| slot.feed.author == own && slot.sequence >> 16 & 1 == 1;
    let all = |slot: Slot, _: &Stored| slot.feed.author == own;
    assert_eq!(reader.trim_but(small, START, 100, &all), 0);
    let aged = Rule { max_age: Some(Duration::from_millis(1)), max_bytes: None };
    assert_eq!(reader.trim_but(aged, WallMs(START_MS + 6), 100, &all), 0, "not by age either");
    let gone = reader.trim_but(small, START, 100, &odd);
    assert_eq!((gone, clocks(&reader, 1).len(), clocks(&reader, 2)), (5, 5, vec![5]));
    assert_eq!(reader.trim(small, 100), 3, "it is delivered, and goes like any other");
}

#[test]
fn more_authors_than_there_is_room_for_come_again_and_the_oldest_make_room() {
    let mut reader = Reader::default();
    let mut batch = Batch::default();
    let tx = &mut Txn::new(&reader.store, &mut batch);
    for n in 0..limits::DIRECT_LIVES as u64 {
        let mut slot = direct_by(1, n, 0).slot();
        slot.feed.incarnation = Incarnation(1_000 + n);
        reader.directs.stored(slot, 100, tx);
    }
    reader.store.commit(batch);
    assert_eq!(reader.trim(Rule::default(), 100), 0, "what is kept for ever has room for all");
    let bounded = Rule { max_age: None, max_bytes: Some(u64::MAX) };
    assert_eq!(reader.trim(bounded, 100), 100);
    assert_eq!(reader.take(&direct_by(2, 150, 0)), Err(NotPlaced::NoRoom), "not for good");
    assert_eq!(reader.trim(bounded, 100), 0);
    assert_eq!(reader.take(&direct_by(2, 200, 0)), Ok(()));
    assert_eq!(reader.take(&direct_by(3, 1, 0)), Err(NotPlaced::Old), "as old as what went");
}
