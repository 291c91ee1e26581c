//! The feed machine: sound bundles of a few authors in any order, with gaps, forks, late beginnings and retention.
//! After each step the invariants of `src/feed/mod.rs` hold, in memory and after loading from the store.
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::Arbitrary;
use metanode::feed::{Chain, Feeds, Fork, Log, Placed, Retention, Room, Rule, Stored, page, trim};
use metanode::types::storage::{Batch, Txn, View};
use metanode::types::{Hash, Incarnation, MemoryStore, MessageId, Stamp, WallMs, limits};
use metanode::wire::{Bundle, Category, Course, FeedId, Filter, Header, Message, Pending, Priority, Slot, Verified};
use metanode_fuzz::{START_MS, author, key, network, sequence};

const AUTHORS: u8 = 3;
/// Bundles of an author's chain.
const LENGTH: u64 = 24;
/// Above this a chain is not looked through bundle by bundle.
const LOOKED_THROUGH: u64 = 256;

#[derive(Arbitrary, Debug, Clone)]
enum Act {
    /// Bundle `n` of the author's chain, or of its second chain, which parts from the first at 12.
    Offer { author: u8, n: u8, second: bool, may_start: bool },
    /// A bundle that is in no chain.
    Stray { author: u8, sequence: u8, previous: bool, later: u8, may_start: bool },
    /// Two bundles at once, as evidence.
    Evidence { author: u8, n: u8 },
    /// Retention, so many seconds later.
    Trim { seconds: u16, budget: u8 },
    /// The process ends and begins again.
    Reopen,
}

#[derive(Default)]
struct Keeper {
    store: MemoryStore,
    feeds: Feeds,
    log: Log,
}

type Made = BTreeMap<(u8, bool, u64), Verified>;

fn feed(n: u8) -> FeedId {
    FeedId { author: author(n % AUTHORS), incarnation: Incarnation(1), topic: Category::Data }
}

fn bundle(n: u8, sequence: u64, previous: Hash, at_s: u64, payload: &[u8]) -> Verified {
    let mut pending = Pending::default();
    pending.push(&Message {
        id: MessageId::new(Stamp::new(START_MS + at_s * 1000, 0), u64::from(n)),
        kind: 0x05EE,
        schema_version: 1,
        content_type: Default::default(),
        destination: Default::default(),
        correlation: (at_s % 2 == 0).then_some(MessageId([3; 16])),
        parent: None,
        expires: None,
        tags: Vec::new(),
        headers: BTreeMap::new(),
        encryption: None,
        payload,
    });
    let header = Header {
        course: Course::Feed,
        priority: Priority::Normal,
        network: network(),
        feed: feed(n),
        sequence,
        previous,
        clock: Stamp(0),
        count: 0,
        body_bytes: 0,
        root: Hash::ZERO,
    };
    pending.seal(header, &key(n % AUTHORS)).expect("there is a message")
}

/// Bundle `n` of a chain, made once.
fn made(cache: &mut Made, author: u8, second: bool, n: u64) -> Verified {
    let (author, second) = (author % AUTHORS, second && n >= 12);
    if let Some(there) = cache.get(&(author, second, n)) {
        return there.clone();
    }
    let previous = if n == 0 { Hash::ZERO } else { made(cache, author, second, n - 1).id() };
    let fresh = bundle(author, n, previous, n + 1, if second { b"no" } else { b"yes" });
    cache.insert((author, second, n), fresh.clone());
    fresh
}

impl Keeper {
    fn with<T>(&mut self, act: impl FnOnce(&mut Feeds, &mut Log, &mut Txn<'_>) -> T) -> T {
        let mut batch = Batch::default();
        let done = act(&mut self.feeds, &mut self.log, &mut Txn::new(&self.store, &mut batch));
        self.store.commit(batch);
        done
    }

    /// As the node does it.
    fn offer(&mut self, bundle: Verified, may_start: bool) {
        let feed = bundle.header().feed;
        let mut next = Some((bundle, may_start));
        while let Some((bundle, may_start)) = next.take() {
            let appended = self.with(|feeds, log, tx| match feeds.offer(bundle, may_start, tx) {
                Placed::Appended(bundle) => {
                    let (_, bytes) = log.append(&bundle, None, WallMs(START_MS), tx);
                    feeds.stored(feed, bytes, tx);
                    true
                }
                Placed::Prepended(bundle) => {
                    let (_, bytes) = log.append(&bundle, None, WallMs(START_MS), tx);
                    feeds.stored(feed, bytes, tx);
                    false
                }
                Placed::Held | Placed::Forked { .. } | Placed::Not(_) => false,
            });
            if appended {
                next = self.feeds.release(feed).map(|held| (held, false));
            }
        }
    }

    fn holds(&self) {
        let mut kept = 0;
        for (feed, chain) in self.feeds.chains() {
            let shape = format!("{chain:?}");
            assert!(chain.trimmed <= chain.joined.max(chain.next), "trimmed is not above: {shape}");
            assert!(chain.joined <= chain.next, "joined, next: {shape}");
            assert!(chain.base <= chain.joined || chain.joined == chain.next, "base: {shape}");
            self.accounts_for_every_row(*feed, chain);
            let upper = chain.joined..chain.next;
            let runs = chain.lower.iter().chain([&upper]);
            assert!(runs.clone().zip(runs.skip(1)).all(|(a, b)| a.start < a.end && a.end < b.start), "runs: {shape}");
            assert!(chain.next <= chain.stored, "stored: {shape}");
            assert!(chain.forked.is_none_or(|at| chain.next <= at), "nothing at or after a fork: {shape}");
            if chain.next - chain.joined > LOOKED_THROUGH {
                continue;
            }
            let mut before: Option<(Hash, Stamp)> = None;
            for sequence in chain.joined..chain.next {
                let slot = Slot { feed: *feed, sequence };
                let stored = Stored::load(slot, &self.store).unwrap_or_else(|| panic!("{sequence} is held: {shape}"));
                let bundle = Bundle::decode(stored.wire).expect("what is kept is a bundle");
                let header = bundle.header();
                if let Some((id, clock)) = before {
                    assert_eq!(header.previous, id, "each names the one before: {shape}");
                    assert!(header.clock > clock, "stamps grow: {shape}");
                }
                before = Some((header.id(), header.clock));
                kept += u64::from(header.count);
            }
            if let Some((id, _)) = before {
                assert_eq!(chain.head, id, "head: {shape}");
            }
        }
        assert!(kept <= self.log.end(), "every message held has had a position");
        let read = page(0, Room { messages: usize::MAX, bytes: usize::MAX }, &Filter::default(), WallMs(START_MS), &self.store);
        assert!(read.entries.len() as u64 >= kept, "every message in a chain is read from the log");
        assert!(read.entries.windows(2).all(|pair| pair[0].position < pair[1].position), "in order");
        assert!(self.feeds.held_count() <= usize::from(AUTHORS) * limits::HELD_PER_FEED);
    }

    /// Retention finds what is in the store, and nothing beside it.
    fn accounts_for_every_row(&self, feed: FeedId, chain: &Chain) {
        let (low, high) = (Slot { feed, sequence: 0 }, Slot { feed, sequence: u64::MAX });
        let (mut bytes, mut lowest, mut end) = (0, None, 0);
        self.store.scan(&Stored::key(low), &Stored::key(high), &mut |key, row| {
            let slot = Slot::from_bytes(&key[1..]).expect("a key of a bundle");
            lowest = lowest.or(Some(slot.sequence));
            (bytes, end) = (bytes + row.len() as u64, slot.sequence + 1);
            std::ops::ControlFlow::Continue(())
        });
        assert_eq!(chain.bytes, bytes, "bytes: {chain:?}");
        assert!(end <= chain.stored, "nothing lies at or past what is stored: {chain:?}");
        assert!(lowest.is_none_or(|lowest| lowest == chain.base), "base is the lowest, {lowest:?}: {chain:?}");
    }

    fn reopen(&mut self) {
        let feeds = Feeds::load(&self.store).expect("what was written is read");
        assert_eq!(feeds.heads_root(), self.feeds.heads_root());
        assert!(feeds.chains().eq(self.feeds.chains()), "the store says what memory says");
        let log = Log::load(&self.store);
        assert_eq!(log.end(), self.log.end(), "a position is given once");
        (self.feeds, self.log) = (feeds, log);
    }
}

libfuzzer_sys::fuzz_target!(|acts: Vec<Act>| {
    let (mut keeper, mut cache, mut now_s) = (Keeper::default(), Made::new(), 0);
    for act in acts.into_iter().take(200) {
        let end = keeper.log.end();
        match act {
            Act::Offer { author, n, second, may_start } => {
                keeper.offer(made(&mut cache, author, second, u64::from(n) % LENGTH), may_start);
            }
            Act::Stray { author, sequence: n, previous, later, may_start } => {
                let sequence = sequence(n);
                let previous = if sequence == 0 { Hash::ZERO } else { Hash([1 + u8::from(previous); 32]) };
                keeper.offer(bundle(author, sequence, previous, u64::from(later), b"stray"), may_start);
            }
            Act::Evidence { author, n } => {
                let n = 12 + u64::from(n) % (LENGTH - 12);
                let (a, b) = (made(&mut cache, author, false, n), made(&mut cache, author, true, n));
                let fork = Fork::between(a.signed_header(), b.signed_header()).expect("two bundles in one slot");
                keeper.with(|feeds, _, tx| feeds.cut(&fork, tx));
                assert!(keeper.feeds.chain(feed(author)).is_some_and(|c| c.forked.is_some_and(|at| at <= n)));
            }
            Act::Trim { seconds, budget } => {
                now_s += u64::from(seconds % 16);
                let rule = Rule { max_age: Some(Duration::from_secs(10)), max_bytes: Some(4096) };
                let rules = Retention::from([(Category::Data, rule)]);
                let wall = WallMs(START_MS + now_s * 1000);
                let budget = usize::from(budget) + 1;
                let gone = keeper.with(|feeds, log, tx| {
                    let gone = trim(feeds, &rules, wall, budget, tx);
                    if gone > 0 {
                        log.save(tx);
                    }
                    gone
                });
                assert!(gone <= budget);
            }
            Act::Reopen => keeper.reopen(),
        }
        keeper.holds();
        assert!(keeper.log.end() >= end, "the log only grows");
    }
});
