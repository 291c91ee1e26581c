//! Chains against a stupid model, forks, repair, the log and its readers, retention.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::types::storage::{Batch, Key, Table, Txn, View};
use crate::types::{Hash, Incarnation, MemoryStore, MessageId, Mono, NetworkName, NodeId, Stamp, WallMs, limits};
use crate::wire::{
    Category, Course, FeedId, Filter, Header, Kind, Message, Pending, Priority, Request, Slot, Verified,
};

mod direct;
mod repair;
mod runs;

const EVERYTHING: Room = Room { messages: usize::MAX, bytes: usize::MAX };
const START_MS: u64 = 1_700_000_000_000;

/// An author who says what it is told to, honest or not.
struct Author {
    key: SigningKey,
    topic: Category,
    next: u64,
    previous: Hash,
    clock: u64,
}

impl Author {
    fn new(seed: u8) -> Author {
        Author {
            key: SigningKey::from_bytes(&[seed; 32]),
            topic: Category::Data,
            next: 0,
            previous: Hash::ZERO,
            clock: 0,
        }
    }

    fn feed(&self) -> FeedId {
        let author = NodeId(self.key.verifying_key().to_bytes());
        FeedId { author, incarnation: Incarnation(1), topic: self.topic }
    }

    fn twin(&self) -> Author {
        Author { key: self.key.clone(), ..*self }
    }

    /// The next bundle, of so many messages, with this payload.
    fn say(&mut self, count: usize, payload: &[u8]) -> Verified {
        let network: NetworkName = "test".parse().unwrap();
        let mut pending = Pending::default();
        for _ in 0..count {
            self.clock += 1;
            let id = MessageId::new(Stamp::new(START_MS + self.clock * 1000, 0), u64::from(self.key.to_bytes()[0]));
            pending.push(&Message {
                id,
                kind: u16::from(self.topic.tag()) << 8 | 0xEE,
                schema_version: 1,
                content_type: Default::default(),
                destination: Default::default(),
                correlation: self.clock.is_multiple_of(2).then_some(MessageId([9; 16])),
                parent: None,
                expires: None,
                tags: if self.clock.is_multiple_of(3) { vec!["third"] } else { vec![] },
                headers: BTreeMap::new(),
                encryption: None,
                payload,
            });
        }
        let header = Header {
            course: Course::Feed,
            priority: Priority::Normal,
            network: network.id(),
            feed: self.feed(),
            sequence: self.next,
            previous: self.previous,
            clock: Stamp(0),
            count: 0,
            body_bytes: 0,
            root: Hash::ZERO,
        };
        let bundle = pending.seal(header, &self.key).unwrap();
        self.next += 1;
        self.previous = bundle.id();
        bundle
    }

    fn chain(seed: u8, length: usize) -> Vec<Verified> {
        let mut author = Author::new(seed);
        (0..length).map(|n| author.say(1 + n % 3, b"payload")).collect()
    }
}

/// A node's feeds, its log and its store, without the node.
#[derive(Default)]
struct Keeper {
    store: MemoryStore,
    feeds: Feeds,
    log: Log,
    /// Since the start, milliseconds.
    elapsed_ms: u64,
}

impl Keeper {
    fn with<T>(&mut self, act: impl FnOnce(&mut Feeds, &mut Log, &mut Txn<'_>) -> T) -> T {
        let mut batch = Batch::default();
        let done = act(&mut self.feeds, &mut self.log, &mut Txn::new(&self.store, &mut batch));
        self.store.commit(batch);
        done
    }

    /// Offers a bundle as the node does, those it frees included. Says what became of the first.
    fn offer(&mut self, bundle: &Verified, may_start: bool) -> &'static str {
        let feed = bundle.header().feed;
        let mut next = Some(bundle.clone());
        let mut first = None;
        let now = WallMs(START_MS + self.elapsed_ms);
        while let Some(bundle) = next.take() {
            let placed = self.with(|feeds, log, tx| match feeds.offer(bundle, may_start, tx) {
                Placed::Appended(bundle) => {
                    let (_, bytes) = log.append(&bundle, None, now, tx);
                    feeds.stored(feed, bytes, tx);
                    "appended"
                }
                Placed::Prepended(bundle) => {
                    let (_, bytes) = log.append(&bundle, None, now, tx);
                    feeds.stored(feed, bytes, tx);
                    "prepended"
                }
                Placed::Held => "held",
                Placed::Forked { .. } => "forked",
                Placed::Not(NotPlaced::Duplicate) => "duplicate",
                Placed::Not(NotPlaced::Old) => "old",
                Placed::Not(NotPlaced::NoRoom) => "no room",
                Placed::Not(NotPlaced::AfterFork) => "after fork",
                Placed::Not(NotPlaced::TooManyFeeds) => "too many",
                Placed::Not(NotPlaced::Misdirected | NotPlaced::NotFollowed) => "not for here",
            });
            if placed == "appended" {
                next = self.feeds.release(feed);
            }
            first = first.or(Some(placed));
        }
        first.unwrap()
    }

    fn sequences(&self, feed: FeedId) -> BTreeSet<u64> {
        let chain = self.feeds.chain(feed).cloned().unwrap_or_default();
        (0..chain.next).filter(|s| Stored::load(Slot { feed, sequence: *s }, &self.store).is_some()).collect()
    }

    fn reopened(&self) -> Keeper {
        Keeper {
            store: self.store.clone(),
            feeds: Feeds::load(&self.store).unwrap(),
            log: Log::load(&self.store),
            elapsed_ms: self.elapsed_ms,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever the order and the repetition, the chain is what a set of the bundles offered has from 0 without a gap.
    #[test]
    fn a_chain_is_the_longest_gapless_beginning(length in 1usize..30, order in prop::collection::vec(any::<prop::sample::Index>(), 0..90)) {
        let bundles = Author::chain(1, length);
        let feed = bundles[0].header().feed;
        let mut keeper = Keeper::default();
        let mut offered = BTreeSet::new();
        for index in order {
            let n = index.index(length);
            keeper.offer(&bundles[n], false);
            offered.insert(n as u64);
            let whole = (0..).take_while(|n| offered.contains(n)).count() as u64;
            let next = keeper.feeds.chain(feed).map_or(0, |c| c.next);
            prop_assert_eq!(next, whole);
            prop_assert_eq!(keeper.sequences(feed), (0..whole).collect::<BTreeSet<_>>());
        }
        let again = keeper.reopened();
        prop_assert_eq!(again.feeds.heads_root(), keeper.feeds.heads_root());
        prop_assert_eq!(again.log.end(), keeper.log.end());
    }

    /// The order of arrival makes no difference to the root.
    #[test]
    fn equal_chains_have_equal_roots(order in Just((0..24usize).collect::<Vec<_>>()).prop_shuffle()) {
        let bundles: Vec<Verified> = (1..=3).flat_map(|seed| Author::chain(seed, 8)).collect();
        let (mut straight, mut shuffled) = (Keeper::default(), Keeper::default());
        bundles.iter().for_each(|b| { straight.offer(b, false); });
        order.iter().for_each(|n| { shuffled.offer(&bundles[*n], false); });
        prop_assert_eq!(straight.feeds.heads_root(), shuffled.feeds.heads_root());
    }

    /// Two nodes that saw two branches in any order end with the same root once each has the other's proof.
    #[test]
    fn a_fork_cuts_both_sides_to_the_same_chain(common in 1usize..6, left in 1usize..6, right in 1usize..6) {
        let mut author = Author::new(1);
        let trunk: Vec<Verified> = (0..common).map(|_| author.say(1, b"trunk")).collect();
        let mut twin = author.twin();
        let ours: Vec<Verified> = (0..left).map(|_| author.say(1, b"left")).collect();
        let theirs: Vec<Verified> = (0..right).map(|_| twin.say(1, b"right")).collect();
        let (mut one, mut two) = (Keeper::default(), Keeper::default());
        trunk.iter().chain(&ours).for_each(|b| { one.offer(b, false); });
        trunk.iter().chain(&theirs).for_each(|b| { two.offer(b, false); });
        prop_assert_eq!(one.offer(&theirs[0], false), "forked");
        let proof = Fork::all(&one.store).pop().unwrap();
        prop_assert_eq!(proof.sequence(), common as u64);
        two.with(|feeds, _, tx| feeds.cut(&proof, tx));
        prop_assert_eq!(one.feeds.heads_root(), two.feeds.heads_root());
        prop_assert_eq!(one.offer(&ours[0], false), "after fork");
        prop_assert_eq!(two.reopened().feeds.heads_root(), one.feeds.heads_root());
        let (a, b) = proof.headers();
        prop_assert!(Fork::check(&a.encode(), &b.encode(), a.header.network).is_ok());
        prop_assert!(Fork::check(&a.encode(), &a.encode(), a.header.network).is_err());
    }

    /// A reader who reads page by page, whatever the size, sees what one who reads all at once sees.
    #[test]
    fn pages_add_up(length in 1usize..20, size in 1usize..7, from in 0u64..30) {
        let mut keeper = Keeper::default();
        Author::chain(1, length).iter().for_each(|b| { keeper.offer(b, false); });
        for filter in [Filter::default(), Filter { tags: ["third".to_string()].into(), ..Filter::default() }] {
            let whole = page(from, EVERYTHING, &filter, WallMs(START_MS), &keeper.store);
            let (mut read, mut at) = (Vec::new(), from);
            loop {
                let some = page(at, Room::of(size), &filter, WallMs(START_MS), &keeper.store);
                prop_assert!(some.entries.len() <= size);
                let done = some.next == at;
                at = some.next;
                read.extend(some.entries);
                if done { break; }
            }
            prop_assert_eq!(&read, &whole.entries);
            prop_assert!(read.windows(2).all(|w| w[0].position < w[1].position));
        }
    }
}

#[test]
fn a_broken_link_is_as_good_a_proof_as_two_in_one_place() {
    let mut author = Author::new(1);
    let first = author.say(1, b"trunk");
    let mut twin = author.twin();
    let ours = author.say(1, b"left");
    twin.say(1, b"right");
    let after_theirs = twin.say(1, b"right again");
    let mut keeper = Keeper::default();
    assert_eq!(keeper.offer(&first, false), "appended");
    assert_eq!(keeper.offer(&ours, false), "appended");
    assert_eq!(keeper.offer(&after_theirs, false), "forked");
    assert_eq!(Fork::all(&keeper.store)[0].sequence(), 1);
}

#[test]
fn a_fork_below_all_that_is_held_leaves_what_came_before_it_to_be_had() {
    let mut author = Author::new(1);
    let trunk: Vec<Verified> = (0..3).map(|_| author.say(1, b"trunk")).collect();
    let mut twin = author.twin();
    let ours: Vec<Verified> = (0..4).map(|_| author.say(1, b"left")).collect();
    let theirs = twin.say(1, b"right");
    let (mut late, mut early) = (Keeper::default(), Keeper::default());
    ours[2..].iter().for_each(|bundle| assert_eq!(late.offer(bundle, true), "appended"));
    trunk.iter().for_each(|bundle| assert_eq!(early.offer(bundle, false), "appended"));
    let fork = Fork::between(ours[0].signed_header(), theirs.signed_header()).unwrap();
    for keeper in [&mut late, &mut early] {
        assert!(keeper.with(|feeds, _, tx| feeds.cut(&fork, tx)));
    }
    trunk.iter().for_each(|bundle| assert_eq!(late.offer(bundle, false), "appended"));
    assert_eq!(late.feeds.heads_root(), early.feeds.heads_root());
    let all = Retention::from([(Category::Data, Rule { max_age: None, max_bytes: Some(0) })]);
    let gone = late.with(|feeds, _, tx| trim(feeds, &all, WallMs(START_MS), 100, tx));
    assert_eq!(gone, 5, "three of the chain and two after the fork; the hole between costs nothing");
    let chain = late.feeds.chain(author.feed()).unwrap();
    assert_eq!((chain.bytes, chain.base, chain.joined, chain.next), (0, 7, 3, 3));
}

#[test]
fn a_late_joiner_starts_where_history_starts_and_fills_in_what_turns_up() {
    let bundles = Author::chain(1, 10);
    let feed = bundles[0].header().feed;
    let mut keeper = Keeper::default();
    assert_eq!(keeper.offer(&bundles[6], true), "appended");
    assert_eq!(keeper.offer(&bundles[7], false), "appended");
    assert_eq!(keeper.offer(&bundles[2], false), "old", "nothing links it yet");
    for n in (0..6).rev() {
        assert_eq!(keeper.offer(&bundles[n], false), "prepended");
    }
    assert_eq!(keeper.sequences(feed), (0..8).collect());
    let mut whole = Keeper::default();
    bundles[..8].iter().for_each(|b| {
        whole.offer(b, false);
    });
    assert_eq!(keeper.feeds.heads_root(), whole.feeds.heads_root());
}

#[test]
fn what_nobody_holds_any_more_is_stepped_over_and_can_be_filled_in_later() {
    let bundles = Author::chain(1, 12);
    let feed = bundles[0].header().feed;
    let mut keeper = Keeper::default();
    for bundle in &bundles[..3] {
        keeper.offer(bundle, false);
    }
    assert_eq!(keeper.offer(&bundles[8], true), "appended");
    let chain = keeper.feeds.chain(feed).unwrap();
    assert_eq!((chain.base, chain.below(), chain.joined, chain.next), (0, 3, 8, 9));
    for n in (3..8).rev() {
        assert_eq!(keeper.offer(&bundles[n], false), "prepended");
    }
    let chain = keeper.feeds.chain(feed).unwrap();
    assert_eq!((chain.base, chain.below(), chain.joined, chain.next), (0, 0, 0, 9));
}

#[test]
fn what_goes_on_after_a_hole_with_an_older_stamp_changes_nothing() {
    let mut author = Author::new(1);
    let mut keeper = Keeper::default();
    author.clock = 100;
    let first = author.say(1, b"first");
    (author.next, author.clock) = (9, 10);
    let later = author.say(1, b"later, and earlier");
    keeper.offer(&first, false);
    let before = keeper.feeds.chain(author.feed()).cloned();
    assert_eq!(keeper.offer(&later, true), "old");
    assert_eq!(keeper.feeds.chain(author.feed()).cloned(), before);
    assert_eq!(keeper.reopened().feeds.heads_root(), keeper.feeds.heads_root());
}

#[test]
fn memory_for_early_bundles_is_bounded() {
    let bundles = Author::chain(1, limits::HELD_PER_FEED * 2);
    let mut keeper = Keeper::default();
    let held = bundles[1..].iter().filter(|b| keeper.offer(b, false) == "held").count();
    assert_eq!(held, limits::HELD_PER_FEED);
    assert_eq!(keeper.offer(&bundles[0], false), "appended");
    assert_eq!(keeper.feeds.held_count(), 0);
}

#[test]
fn a_message_is_found_by_its_id_with_a_proof_and_a_conversation_by_its_name() {
    let mut keeper = Keeper::default();
    let bundles: Vec<Verified> = (1..4).flat_map(|seed| Author::chain(seed, 9)).collect();
    bundles.iter().for_each(|b| {
        keeper.offer(b, false);
    });
    let network: NetworkName = "test".parse().unwrap();
    let mut correlated = 0;
    for bundle in &bundles {
        for message in bundle.messages() {
            let found = find(message.id, &keeper.store).unwrap();
            assert_eq!(found.entry.message().unwrap(), message);
            assert_eq!(found.proof.verify(network.id()).unwrap().id, message.id);
            correlated += usize::from(message.correlation.is_some());
        }
    }
    assert!(find(MessageId::new(Stamp::new(START_MS, 3), 0), &keeper.store).is_none());
    let (conversation, _) = conversation(MessageId([9; 16]), Room::of(1000), &keeper.store);
    assert_eq!(conversation.len(), correlated);
}

#[test]
fn readers_start_where_they_say() {
    let mut keeper = Keeper::default();
    Author::chain(1, 6).iter().for_each(|b| {
        keeper.offer(b, false);
    });
    let at = |start| start_position(start, &keeper.store);
    let end = keeper.log.end();
    assert_eq!((at(Start::Beginning), at(Start::End), at(Start::Last(2))), (0, end, end - 2));
    assert_eq!((at(Start::Position(4)), at(Start::Position(9999))), (4, end));
    assert_eq!((at(Start::Since(WallMs(START_MS))), at(Start::Since(WallMs(START_MS + 1)))), (0, end));
}

#[test]
fn retention_lets_go_by_age_and_by_bytes_oldest_first() {
    let mut keeper = Keeper::default();
    let bundles = Author::chain(1, 20);
    bundles.iter().for_each(|b| {
        keeper.offer(b, false);
    });
    let feed = bundles[0].header().feed;
    let root = keeper.feeds.heads_root();
    let rule = |max_age, max_bytes| Retention::from([(Category::Data, Rule { max_age, max_bytes })]);
    let oldest_kept = bundles[5].header().clock.wall();
    let by_age = rule(Some(Duration::from_secs(5)), None);
    let gone = keeper.with(|feeds, _, tx| trim(feeds, &by_age, oldest_kept.plus(Duration::from_secs(5)), 100, tx));
    assert_eq!(gone, 5);
    assert_eq!(keeper.sequences(feed), (5..20).collect());
    let bytes = keeper.feeds.chain(feed).unwrap().bytes;
    let by_bytes = rule(None, Some(bytes / 2));
    keeper.with(|feeds, _, tx| trim(feeds, &by_bytes, WallMs(START_MS), 100, tx));
    let kept = keeper.feeds.chain(feed).unwrap().clone();
    assert!(kept.bytes <= bytes / 2 && kept.bytes > bytes / 4, "{} of {bytes}", kept.bytes);
    assert_eq!(keeper.feeds.heads_root(), root, "letting go changes no head");
    assert_eq!(keeper.offer(&bundles[0], false), "old");
    let read = page(0, Room::of(1000), &Filter::default(), WallMs(START_MS), &keeper.store);
    assert_eq!(read.missed, read.entries[0].position);
    let gone_first = bundles[0].first();
    assert!(find(gone_first, &keeper.store).is_none());
    assert!(conversation(MessageId([9; 16]), Room::of(1000), &keeper.store).0.len() < 20);
    let all = rule(None, Some(0));
    keeper.with(|feeds, _, tx| trim(feeds, &all, WallMs(START_MS), 100, tx));
    assert_eq!((keeper.feeds.chain(feed).unwrap().bytes, bounds(&keeper.store)), (0, (0, 0)));
    assert_eq!(
        keeper.feeds.heads_root(),
        Keeper::default().feeds.heads_root(),
        "a feed of which nothing is held is no news"
    );
}

#[test]
fn bytes_take_the_end_of_a_feed_only_when_nothing_else_is_left() {
    let mut keeper = Keeper::default();
    let (old, young) = (Author::chain(1, 1), Author::chain(2, 10));
    old.iter().chain(&young).for_each(|b| {
        keeper.offer(b, false);
    });
    let (old, young) = (old[0].header().feed, young[0].header().feed);
    let bytes = |keeper: &Keeper, feed| keeper.feeds.chain(feed).unwrap().bytes;
    let mut trim_to = |most| {
        let rule = Retention::from([(Category::Data, Rule { max_age: None, max_bytes: Some(most) })]);
        keeper.with(|feeds, _, tx| trim(feeds, &rule, WallMs(START_MS), 100, tx));
        (bytes(&keeper, old), bytes(&keeper, young), keeper.sequences(young).len())
    };
    let (head, _, left) = trim_to(3 * 400);
    assert!(head > 0 && left > 1, "the older head stays while the other feed has more than its own");
    let (one, other, left) = trim_to(head + head);
    assert!(one > 0 && other > 0 && left == 1);
    let (one, other, _) = trim_to(head);
    assert!(one == 0 && other > 0, "then the oldest head goes");
}

#[test]
fn a_second_hole_does_not_hide_the_first() {
    let bundles = Author::chain(1, 12);
    let feed = bundles[0].header().feed;
    let mut keeper = Keeper::default();
    for (n, may_start) in [(0, false), (1, false), (4, true), (5, false), (9, true)] {
        assert_eq!(keeper.offer(&bundles[n], may_start), "appended");
    }
    assert_eq!(keeper.reopened().feeds.chain(feed).unwrap().lower, [0..2, 4..6]);
    for n in [8, 7, 6, 3, 2] {
        assert_eq!(keeper.offer(&bundles[n], false), "prepended", "{n}");
    }
    assert_eq!(keeper.sequences(feed), (0..10).collect());
    assert!(keeper.feeds.chain(feed).unwrap().lower.is_empty());
}

#[test]
fn a_fork_below_two_holes_leaves_the_run_it_is_in() {
    let mut author = Author::new(1);
    let trunk: Vec<Verified> = (0..6).map(|_| author.say(1, b"trunk")).collect();
    let mut twin = author.twin();
    let ours: Vec<Verified> = (0..6).map(|_| author.say(1, b"left")).collect();
    let theirs: Vec<Verified> = (0..6).map(|_| twin.say(1, b"right")).collect();
    let mut keeper = Keeper::default();
    for bundle in [&trunk[0], &trunk[4], &trunk[5], &ours[0], &ours[4]] {
        assert_eq!(keeper.offer(bundle, true), "appended");
    }
    let fork = Fork::between(ours[0].signed_header(), theirs[0].signed_header()).unwrap();
    assert!(keeper.with(|feeds, _, tx| feeds.cut(&fork, tx)));
    let chain = keeper.feeds.chain(author.feed()).unwrap();
    assert_eq!((chain.joined, chain.next, chain.head), (4, 6, trunk[5].id()));
    assert_eq!((chain.lower.len(), chain.lower.first()), (1, Some(&(0..1))));
}

#[test]
fn a_fork_where_everything_was_let_go_lets_the_chain_begin_there() {
    let mut author = Author::new(1);
    let trunk: Vec<Verified> = (0..3).map(|_| author.say(1, b"trunk")).collect();
    let mut twin = author.twin();
    let (ours, theirs) = (author.say(1, b"left"), twin.say(1, b"right"));
    let mut keeper = Keeper::default();
    trunk.iter().chain([&ours]).for_each(|bundle| assert_eq!(keeper.offer(bundle, false), "appended"));
    let all = Retention::from([(Category::Data, Rule { max_age: None, max_bytes: Some(0) })]);
    keeper.with(|feeds, _, tx| trim(feeds, &all, WallMs(START_MS), 100, tx));
    let fork = Fork::between(ours.signed_header(), theirs.signed_header()).unwrap();
    assert!(keeper.with(|feeds, _, tx| feeds.cut(&fork, tx)));
    let chain = keeper.feeds.chain(author.feed()).unwrap();
    assert_eq!((chain.trimmed, chain.joined, chain.next, chain.forked), (3, 3, 3, Some(3)));
}

#[test]
fn what_waits_for_a_gap_that_does_not_close_is_let_go() {
    let bundles = Author::chain(1, 6);
    let feed = bundles[0].header().feed;
    let mut keeper = Keeper::default();
    assert_eq!(keeper.offer(&bundles[5], false), "held");
    for _ in 0..limits::HELD_TICKS {
        keeper.feeds.age_held();
    }
    assert_eq!(keeper.feeds.lowest_held(feed), Some(5));
    keeper.feeds.age_held();
    assert_eq!(keeper.feeds.held_count(), 0);
}

#[test]
fn early_bundles_are_charged_for_what_they_unpack_to() {
    let mut author = Author::new(1);
    let large = vec![b'x'; 200_000];
    let bundles: Vec<Verified> = (0..40).map(|_| author.say(4, &large)).collect();
    let mut keeper = Keeper::default();
    let held = bundles[1..].iter().filter(|bundle| keeper.offer(bundle, false) == "held").count();
    assert!(bundles[1].wire().len() < 20_000, "it packs well");
    assert!(held <= limits::HELD_BYTES / 800_000, "{held}");
}

#[test]
fn the_log_goes_on_where_it_was_when_everything_was_let_go() {
    let mut keeper = Keeper::default();
    Author::chain(1, 5).iter().for_each(|b| {
        keeper.offer(b, false);
    });
    let end = keeper.log.end();
    let nothing = Retention::from([(Category::Data, Rule { max_age: None, max_bytes: Some(0) })]);
    keeper.with(|feeds, log, tx| {
        trim(feeds, &nothing, WallMs(START_MS), 100, tx);
        log.save(tx);
    });
    assert_eq!(keeper.reopened().log.end(), end, "a position is given once");
    assert_eq!(bounds(&keeper.store), (end, end));
}

#[test]
fn a_proof_above_the_fork_leaves_two_roots_until_the_place_is_found() {
    let mut author = Author::new(1);
    let trunk: Vec<Verified> = (0..2).map(|_| author.say(1, b"trunk")).collect();
    let mut twin = author.twin();
    let ours: Vec<Verified> = (0..3).map(|_| author.say(1, b"left")).collect();
    let theirs: Vec<Verified> = (0..3).map(|_| twin.say(1, b"right")).collect();
    let (mut one, mut two) = (Keeper::default(), Keeper::default());
    trunk.iter().chain(&ours).for_each(|b| {
        one.offer(b, false);
    });
    trunk.iter().chain(&theirs).for_each(|b| {
        two.offer(b, false);
    });
    let proof = Fork::between(ours[2].signed_header(), theirs[2].signed_header()).unwrap();
    one.with(|feeds, _, tx| feeds.cut(&proof, tx));
    two.with(|feeds, _, tx| feeds.cut(&proof, tx));
    assert_ne!(one.feeds.heads_root(), two.feeds.heads_root(), "below the proof they still hold different bundles");
    assert_eq!(one.feeds.chain(author.feed()).unwrap().head, ours[1].id(), "the head is the last that is left");
    assert_eq!(one.offer(&theirs[1], false), "forked");
    assert_eq!(one.offer(&theirs[0], false), "forked");
    let lowest = Fork::all(&one.store).into_iter().min_by_key(Fork::sequence).unwrap();
    two.with(|feeds, _, tx| feeds.cut(&lowest, tx));
    assert_eq!(one.feeds.heads_root(), two.feeds.heads_root());
}

#[test]
fn a_fork_known_to_one_alone_is_in_its_heads_even_with_nothing_held() {
    let mut author = Author::new(1);
    let mut twin = author.twin();
    let proof = Fork::between(author.say(1, b"left").signed_header(), twin.say(1, b"right").signed_header()).unwrap();
    let (mut one, two) = (Keeper::default(), Keeper::default());
    one.with(|feeds, _, tx| feeds.cut(&proof, tx));
    let head = one.feeds.chain(author.feed()).unwrap().announcement(author.feed()).unwrap();
    assert_eq!((head.last(), head.forked), (None, Some(0)));
    assert_ne!(one.feeds.heads_root(), two.feeds.heads_root(), "the other must have reason to ask");
    assert_eq!(Fork::load(Slot { feed: author.feed(), sequence: 0 }, &one.store), Some(proof));
    assert!(two.feeds.lacks_fork(author.feed(), 0) && !one.feeds.lacks_fork(author.feed(), 0));
}

#[test]
fn two_runs_are_one_only_if_the_second_follows_the_first() {
    let mut author = Author::new(1);
    let trunk: Vec<Verified> = (0..2).map(|_| author.say(1, b"trunk")).collect();
    let mut twin = author.twin();
    let ours = author.say(1, b"left");
    let theirs: Vec<Verified> = (0..4).map(|_| twin.say(1, b"right")).collect();
    let mut keeper = Keeper::default();
    trunk.iter().chain([&ours]).for_each(|b| {
        keeper.offer(b, false);
    });
    assert_eq!(keeper.offer(&theirs[3], true), "appended");
    assert_eq!(keeper.offer(&theirs[2], false), "prepended");
    assert_eq!(keeper.offer(&theirs[1], false), "forked", "it names another bundle before it");
    let chain = keeper.feeds.chain(author.feed()).unwrap();
    assert_eq!((chain.forked, chain.next, chain.head), (Some(2), 2, trunk[1].id()));
}

#[test]
fn runs_that_became_one_are_still_filled_in_below() {
    let bundles = Author::chain(1, 8);
    let feed = bundles[0].header().feed;
    let mut keeper = Keeper::default();
    for (n, may_start) in [(2, true), (3, false), (6, true), (5, false), (4, false), (1, false), (0, false)] {
        let placed = keeper.offer(&bundles[n], may_start);
        assert!(["appended", "prepended"].contains(&placed), "{n}: {placed}");
    }
    assert_eq!(keeper.sequences(feed), (0..7).collect());
}
