//! All feeds of a node, and the one question asked of them: where does this bundle go?

use std::cell::Cell;
use std::collections::BTreeMap;

use super::chain::Chain;
use super::fork::Fork;
use super::log::Stored;
use crate::types::storage::{Txn, View};
use crate::types::{Domain, Hash, NodeId, limits};
use crate::wire::{Bundle, Category, FeedId, Head, SignedHeader, Slot, Verified};

/// What became of a bundle.
#[derive(Debug)]
pub enum Placed {
    /// It continues its chain. Those held for it come next: see [`Feeds::release`].
    Appended(Verified),
    /// It fills in history, next below what was held.
    Prepended(Verified),
    /// It came early and is held in memory; bundles before it are missing.
    Held,
    /// Nothing changed.
    Not(NotPlaced),
    /// It proves that its author said two things. The chain is cut there. `first`: that was not known of the feed.
    Forked { fork: Box<Fork>, first: bool },
}

/// Why a bundle is not taken. None of these is the carrier's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotPlaced {
    /// It is here already.
    Duplicate,
    /// It was let go by the retention rule, or lies below what can be linked.
    Old,
    /// It came too early and there is no room to hold it.
    NoRoom,
    /// Its author is known to have forked the feed at or before it.
    AfterFork,
    /// There are as many feeds as this node follows.
    TooManyFeeds,
    /// It is for one reader, and came as if it were for everyone.
    Misdirected,
    /// This node does not follow the topic.
    NotFollowed,
}

impl NotPlaced {
    /// A short stable word for metrics.
    pub const fn code(self) -> &'static str {
        match self {
            NotPlaced::Duplicate => "duplicate",
            NotPlaced::Old => "old",
            NotPlaced::NoRoom => "no_room",
            NotPlaced::AfterFork => "after_fork",
            NotPlaced::TooManyFeeds => "too_many_feeds",
            NotPlaced::Misdirected => "misdirected",
            NotPlaced::NotFollowed => "not_followed",
        }
    }
}

/// The feeds a node follows.
#[derive(Debug, Default)]
pub struct Feeds {
    chains: BTreeMap<FeedId, Chain>,
    held: BTreeMap<FeedId, Early>,
    held_bytes: usize,
    /// Whose feeds are followed whatever else is.
    own: Option<NodeId>,
    /// The digests over heads, until something changes.
    roots: Cell<Option<Roots>>,
}

/// Digests over heads: of all feeds, and of those of each topic, in the order of [`Category::ALL`].
#[derive(Clone, Copy, Debug)]
struct Roots {
    all: Hash,
    topics: [Hash; Category::ALL.len()],
}

/// Bundles of a feed that came before their turn.
#[derive(Debug, Default)]
struct Early {
    bundles: BTreeMap<u64, Verified>,
    /// How often [`Feeds::age_held`] has found nothing to have moved.
    age: u32,
}

impl Early {
    fn memory_bytes(&self) -> usize {
        self.bundles.values().map(Verified::memory_bytes).sum()
    }
}

impl Feeds {
    /// The feeds as the store has them.
    pub fn load(view: &dyn View) -> Result<Feeds, String> {
        let chains = Chain::load_all(view)?.into_iter().collect();
        Ok(Feeds { chains, ..Feeds::default() })
    }

    /// The same at the node `own`: there is always room for its own feeds.
    pub fn of(self, own: NodeId) -> Feeds {
        Feeds { own: Some(own), ..self }
    }

    /// Where a feed stands.
    pub fn chain(&self, feed: FeedId) -> Option<&Chain> {
        self.chains.get(&feed)
    }

    /// All feeds, in order.
    pub fn chains(&self) -> impl Iterator<Item = (&FeedId, &Chain)> {
        self.chains.iter()
    }

    /// All feeds after one, in order.
    pub fn chains_after(&self, after: Option<FeedId>) -> impl Iterator<Item = (&FeedId, &Chain)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.chains.range((after.map_or(Unbounded, Excluded), Unbounded))
    }

    /// For retention, which changes what is held.
    pub(super) fn chain_mut(&mut self, feed: FeedId) -> Option<&mut Chain> {
        self.roots.set(None);
        self.chains.get_mut(&feed)
    }

    /// The lowest sequence held in memory for a feed, waiting for those before it.
    pub fn lowest_held(&self, feed: FeedId) -> Option<u64> {
        self.held.get(&feed)?.bundles.first_key_value().map(|(sequence, _)| *sequence)
    }

    /// Bundles held in memory, waiting for those before them.
    pub fn held_count(&self) -> usize {
        self.held.values().map(|early| early.bundles.len()).sum()
    }

    /// Called at a steady pace: what has waited for [`limits::HELD_TICKS`] calls for those before it is let go.
    pub fn age_held(&mut self) {
        let mut freed = 0;
        self.held.retain(|_, early| {
            early.age += 1;
            let keep = early.age <= limits::HELD_TICKS;
            freed += if keep { 0 } else { early.memory_bytes() };
            keep
        });
        self.held_bytes -= freed;
    }

    /// Forgets feeds of which nothing is left, once most of the room for feeds is taken. Returns how many.
    pub fn forget_empty(&mut self, tx: &mut Txn<'_>) -> usize {
        if self.chains.len() < limits::FEEDS / 4 * 3 {
            return 0;
        }
        let empty = |chain: &Chain| chain.bytes == 0 && chain.forked.is_none();
        let gone = self.chains.extract_if(.., |feed, chain| Some(feed.author) != self.own && empty(chain));
        gone.map(|(feed, _)| tx.delete(Chain::key(feed))).count()
    }

    /// A digest over the heads of all feeds of which something is held or a fork is known: equal at two nodes that
    /// hold and know the same.
    pub fn heads_root(&self) -> Hash {
        self.roots().all
    }

    /// The same over the feeds of one topic.
    pub fn topic_root(&self, topic: Category) -> Hash {
        let roots = self.roots().topics;
        roots.into_iter().zip(Category::ALL).find_map(|(root, of)| (of == topic).then_some(root)).unwrap_or_default()
    }

    fn roots(&self) -> Roots {
        let roots = self.roots.get().unwrap_or_else(|| self.hash_heads());
        self.roots.set(Some(roots));
        roots
    }

    fn hash_heads(&self) -> Roots {
        let mut all = Domain::Heads.hasher();
        let mut topics = Category::ALL.map(|topic| (topic, Domain::Heads.hasher()));
        for head in self.chains.iter().filter_map(|(feed, chain)| chain.announcement(*feed)) {
            let of_topic = topics.iter_mut().find(|(topic, _)| *topic == head.feed.topic);
            for hasher in [&mut all].into_iter().chain(of_topic.map(|(_, hasher)| hasher)) {
                hasher.update(&head.feed.to_bytes());
                hasher.update(&head.next.to_be_bytes());
                hasher.update(head.hash.as_bytes());
                hasher.update(&head.forked.unwrap_or(u64::MAX).to_be_bytes());
            }
        }
        let done = |hasher: &blake3::Hasher| Hash(*hasher.finalize().as_bytes());
        Roots { all: done(&all), topics: topics.each_ref().map(|(_, hasher)| done(hasher)) }
    }

    /// What this node tells of the feeds of `author` in one life.
    pub fn heads_of(&self, author: NodeId, incarnation: crate::types::Incarnation) -> Vec<Head> {
        self.chains
            .iter()
            .filter(|(feed, _)| feed.author == author && feed.incarnation == incarnation)
            .filter(|(_, chain)| chain.holds_something())
            .filter_map(|(feed, chain)| chain.announcement(*feed))
            .collect()
    }

    /// Whether a feed that is not followed yet can be.
    fn has_room_for(&self, feed: FeedId) -> bool {
        if self.own == Some(feed.author) {
            return true;
        }
        let first = FeedId { topic: Category::System, incarnation: Default::default(), ..feed };
        let of_author = self.chains.range(first..).take_while(|(id, _)| id.author == feed.author);
        self.chains.len() < limits::FEEDS && of_author.count() < limits::FEEDS_PER_AUTHOR
    }

    /// Finds the place of a bundle. `may_start` allows a feed to begin above 0: the bundle was asked for as the first
    /// one a peer still holds.
    pub fn offer(&mut self, bundle: Verified, may_start: bool, tx: &mut Txn<'_>) -> Placed {
        let header = bundle.header();
        let (feed, sequence) = (header.feed, header.sequence);
        self.roots.set(None);
        if !self.chains.contains_key(&feed) {
            if !self.has_room_for(feed) {
                return Placed::Not(NotPlaced::TooManyFeeds);
            }
            if sequence > 0 && !may_start {
                return self.hold(0, bundle);
            }
            self.chains.insert(feed, Chain::starting_at(header));
        }
        let Some(chain) = self.chains.get(&feed) else { return Placed::Not(NotPlaced::TooManyFeeds) };
        if chain.forked.is_some_and(|at| sequence >= at) {
            return Placed::Not(NotPlaced::AfterFork);
        }
        if sequence > chain.next {
            // Everything between is gone everywhere: go on from here, and say where the links begin anew. Stamps grow
            // along a feed, over what is gone as well.
            if may_start {
                if bundle.first().stamp() <= chain.clock {
                    return Placed::Not(NotPlaced::Old);
                }
                if let Some(chain) = self.chains.get_mut(&feed) {
                    chain.join_at(bundle.header());
                }
                return self.append(feed, bundle, tx);
            }
            return self.hold(chain.next, bundle);
        }
        if sequence == chain.next {
            return self.append(feed, bundle, tx);
        }
        if sequence >= chain.joined {
            return self.compare(&bundle, tx);
        }
        let links = sequence + 1 == chain.joined && sequence >= chain.trimmed.max(chain.below());
        if links { self.prepend(feed, bundle, tx) } else { Placed::Not(NotPlaced::Old) }
    }

    fn append(&mut self, feed: FeedId, bundle: Verified, tx: &mut Txn<'_>) -> Placed {
        let Some(chain) = self.chains.get_mut(&feed) else { return Placed::Not(NotPlaced::TooManyFeeds) };
        let header = bundle.header();
        let linked = chain.next == chain.joined || header.previous == chain.head;
        if !linked || bundle.first().stamp() <= chain.clock {
            let before = Slot { feed, sequence: header.sequence.saturating_sub(1) };
            return self.fork_with(&bundle, before, tx);
        }
        (chain.next, chain.head, chain.clock) = (header.sequence + 1, bundle.id(), header.clock);
        chain.stored = chain.stored.max(chain.next);
        if chain.next - chain.joined == 1 && chain.lower.is_empty() {
            // The first one held: what retention has next, unless something after a fork is left still lower.
            chain.base = if chain.bytes == 0 { header.sequence } else { chain.base.min(header.sequence) };
        }
        chain.messages += u64::from(header.count);
        Placed::Appended(bundle)
    }

    fn prepend(&mut self, feed: FeedId, bundle: Verified, tx: &mut Txn<'_>) -> Placed {
        let Some(chain) = self.chains.get_mut(&feed) else { return Placed::Not(NotPlaced::Old) };
        if bundle.id() != chain.joined_previous {
            let above = Slot { feed, sequence: chain.joined };
            return self.fork_with(&bundle, above, tx);
        }
        let header = bundle.header();
        if chain.below() > 0 && header.sequence == chain.below() {
            return self.join_runs(bundle, tx);
        }
        (chain.joined, chain.joined_previous) = (header.sequence, header.previous);
        chain.base = chain.base.min(chain.joined);
        chain.messages += u64::from(header.count);
        Placed::Prepended(bundle)
    }

    /// The last bundle missing between two runs: they are one if it follows the lower one.
    fn join_runs(&mut self, bundle: Verified, tx: &mut Txn<'_>) -> Placed {
        let feed = bundle.header().feed;
        let Some(chain) = self.chains.get_mut(&feed) else { return Placed::Not(NotPlaced::Old) };
        let Some(run) = chain.lower.last().cloned() else { return Placed::Not(NotPlaced::Old) };
        let end = Slot { feed, sequence: run.end.saturating_sub(1) };
        let lower = Feeds::signed_header(end, tx).map(|signed| signed.header.id());
        if lower.is_some_and(|id| id != bundle.header().previous) {
            return self.fork_with(&bundle, end, tx);
        }
        let first = Feeds::signed_header(Slot { feed, sequence: run.start }, tx);
        chain.lower.pop();
        chain.joined = run.start;
        chain.joined_previous = first.map(|signed| signed.header.previous).unwrap_or_default();
        chain.messages += u64::from(bundle.header().count);
        Placed::Prepended(bundle)
    }

    /// A bundle in a slot that is taken: the same one again, or a fork.
    fn compare(&mut self, bundle: &Verified, tx: &mut Txn<'_>) -> Placed {
        let chain_head = self.chains.get(&bundle.header().feed).map(|c| (c.next, c.head));
        if chain_head == Some((bundle.header().sequence + 1, bundle.id())) {
            return Placed::Not(NotPlaced::Duplicate);
        }
        self.fork_with(bundle, bundle.slot(), tx)
    }

    /// Cuts the chain if `bundle` and the one stored in `slot` prove a fork.
    fn fork_with(&mut self, bundle: &Verified, slot: Slot, tx: &mut Txn<'_>) -> Placed {
        let stored = Stored::load(slot, tx).and_then(|s| Bundle::decode(s.wire).ok());
        match stored.and_then(|other| Fork::between(bundle.signed_header(), other.signed_header())) {
            Some(fork) => {
                let first = self.chain(fork.feed()).is_none_or(|chain| chain.forked.is_none());
                self.cut(&fork, tx);
                Placed::Forked { fork: Box::new(fork), first }
            }
            None => Placed::Not(NotPlaced::Duplicate),
        }
    }

    /// Whether a proof that a feed forked at `at` says more than is known, and there is room to keep it.
    pub fn lacks_fork(&self, feed: FeedId, at: u64) -> bool {
        match self.chains.get(&feed) {
            Some(chain) => chain.forked.is_none_or(|known| at < known),
            None => self.has_room_for(feed),
        }
    }

    /// Keeps a proof of a fork and takes nothing at or after it into the chain any more. False when as much or more
    /// was known.
    pub fn cut(&mut self, fork: &Fork, tx: &mut Txn<'_>) -> bool {
        let (feed, at) = (fork.feed(), fork.sequence());
        if !self.lacks_fork(feed, at) {
            return false;
        }
        self.roots.set(None);
        let chain = self.chains.entry(feed).or_default();
        if let Some(sequence) = chain.forked.replace(at) {
            Fork::remove(Slot { feed, sequence }, tx);
        }
        chain.cut_at(feed, at, tx);
        fork.save(tx);
        chain.save(feed, tx);
        let dropped = self.held.remove(&feed).unwrap_or_default();
        self.held_bytes -= dropped.memory_bytes();
        true
    }

    fn hold(&mut self, next: u64, bundle: Verified) -> Placed {
        let (feed, sequence, size) = (bundle.header().feed, bundle.header().sequence, bundle.memory_bytes());
        let held = self.held.get(&feed).map(|early| &early.bundles);
        if held.and_then(|held| held.get(&sequence)).is_some_and(|other| other.id() == bundle.id()) {
            return Placed::Not(NotPlaced::Duplicate);
        }
        let count = held.map_or(0, BTreeMap::len);
        let near = sequence - next <= limits::HELD_PER_FEED as u64 || count == 0;
        let room = count < limits::HELD_PER_FEED && self.held_bytes + size <= limits::HELD_BYTES;
        if !near || !room {
            return Placed::Not(NotPlaced::NoRoom);
        }
        self.held_bytes += size;
        if let Some(other) = self.held.entry(feed).or_default().bundles.insert(sequence, bundle) {
            self.held_bytes -= other.memory_bytes();
        }
        Placed::Held
    }

    /// The bundle held in memory that continues its chain now, if there is one.
    pub fn release(&mut self, feed: FeedId) -> Option<Verified> {
        let next = self.chains.get(&feed)?.next;
        let early = self.held.get_mut(&feed)?;
        // What is held below the end is in the chain already, or stands against it; either way it is not needed.
        let kept = early.bundles.split_off(&next);
        let passed = std::mem::replace(&mut early.bundles, kept);
        let bundle = early.bundles.remove(&next);
        early.age = 0;
        if early.bundles.is_empty() {
            self.held.remove(&feed);
        }
        let freed = passed.values().chain(&bundle).map(Verified::memory_bytes).sum::<usize>();
        self.held_bytes -= freed;
        bundle
    }

    /// Notes the bytes a bundle takes, and writes the feed's row.
    pub fn stored(&mut self, feed: FeedId, bytes: u64, tx: &mut Txn<'_>) {
        if let Some(chain) = self.chains.get_mut(&feed) {
            chain.bytes += bytes;
            chain.save(feed, tx);
        }
    }

    /// The signed header stored in a slot.
    pub fn signed_header(slot: Slot, view: &dyn View) -> Option<SignedHeader> {
        let stored = Stored::load(slot, view)?;
        Some(Bundle::decode(stored.wire).ok()?.signed_header().clone())
    }
}
