//! Direct bundles against a list of everything that came.

use std::ops::ControlFlow;

use super::*;
use crate::wire::Hops;

const START: WallMs = WallMs(START_MS);

fn direct(ms: u64, count: u16) -> Verified {
    let key = SigningKey::from_bytes(&[9; 32]);
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
        let mut batch = Batch::default();
        let rules = Retention::from([(Category::Data, rule)]);
        let gone = self.directs.trim(&rules, START, budget, &mut Txn::new(&self.store, &mut batch));
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
