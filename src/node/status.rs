//! What the node says of itself to its clients.

use std::collections::BTreeMap;

use serde::Serialize;

use super::owner::{Node, Turn};
use crate::crdt::Outcome;
use crate::feed::NotPlaced;
use crate::types::{Hash, Incarnation, NodeId};
use crate::wire::{Category, PREFIX_BYTES, Verified};

/// Counts since the start.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Counters {
    /// Messages clients of this node published.
    pub published_messages: u64,
    /// Messages kept, from anyone.
    pub kept_messages: u64,
    /// Bundles kept.
    pub kept_bundles: u64,
    /// Bytes kept, as they travel.
    pub kept_bytes: u64,
    /// Bytes of the messages in them, before packing and as they travel.
    pub unpacked_bytes: u64,
    pub packed_bytes: u64,
    /// Bundles that came by gossip.
    pub gossip_bundles: u64,
    /// Bundles that came because they were asked for.
    pub repaired_bundles: u64,
    /// Bundles that are not kept: heartbeats and metrics.
    pub ephemeral_bundles: u64,
    /// Bundles here already.
    pub duplicate_bundles: u64,
    /// Bundles not taken: too old, after a fork, no room, too many feeds.
    pub unplaced_bundles: u64,
    /// Messages that break a rule of their kind; kept in the chain, delivered to nobody.
    pub faulty_messages: u64,
    /// Bundles let go by the retention rule.
    pub retired_bundles: u64,
    /// Ranges asked of peers, and those that brought nothing.
    pub repairs_asked: u64,
    pub repairs_failed: u64,
    /// Requests of peers that asked too much.
    pub requests_put_off: u64,
    /// Changes of replicated state that count, that came later than what stands in their place, that their authors
    /// may not make, that are below a floor, and for which there is no room.
    pub merged_changes: u64,
    pub superseded_changes: u64,
    pub denied_changes: u64,
    pub floored_changes: u64,
    pub unmerged_changes: u64,
    /// Comparisons of the state with peers that retained something else, and changes they brought that were new.
    pub sessions: u64,
    pub healed_changes: u64,
    /// Authors caught saying two things in one place.
    pub forks: u64,
    /// What was refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

impl Node {
    /// How often something from outside was refused, by the short word for why.
    pub fn refused(&self, code: &str) -> u64 {
        self.counters.refused.get(code).copied().unwrap_or_default()
    }
}

impl Counters {
    pub(super) fn kept(&mut self, bundle: &Verified) {
        self.kept_messages += u64::from(bundle.count());
        self.kept_bundles += 1;
        self.kept_bytes += bundle.wire().len() as u64;
        self.unpacked_bytes += u64::from(bundle.header().body_bytes);
        self.packed_bytes += bundle.wire().len().saturating_sub(PREFIX_BYTES) as u64;
        self.faulty_messages += bundle.refused().len() as u64;
    }

    pub(super) fn merged(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Applied => self.merged_changes += 1,
            Outcome::Superseded => self.superseded_changes += 1,
            Outcome::Denied => self.denied_changes += 1,
            Outcome::Floored => self.floored_changes += 1,
            Outcome::NoRoom => self.unmerged_changes += 1,
            Outcome::Duplicate => {}
        }
    }

    pub(super) fn not_placed(&mut self, reason: NotPlaced) {
        match reason {
            NotPlaced::Duplicate => self.duplicate_bundles += 1,
            NotPlaced::Old
            | NotPlaced::NoRoom
            | NotPlaced::AfterFork
            | NotPlaced::TooManyFeeds
            | NotPlaced::Misdirected
            | NotPlaced::NotFollowed => {
                self.unplaced_bundles += 1;
            }
        }
    }
}

/// What one category holds.
#[derive(Clone, Copy, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct CategoryTotals {
    /// Feeds.
    pub feeds: u64,
    /// Messages taken into feeds, those let go since included.
    pub messages: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// The node's state, for people and programs.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Status {
    /// Who.
    pub id: NodeId,
    /// In which network.
    pub network: String,
    /// In which life.
    pub incarnation: Incarnation,
    /// For how long, seconds.
    pub uptime_s: u64,
    /// Connected peers.
    pub peers: u64,
    /// Messages in all feeds, those let go since included. Equal at nodes that hold the same.
    pub messages: u64,
    /// The position the next message will have in this node's log.
    pub log_end: u64,
    /// By category.
    pub categories: BTreeMap<Category, CategoryTotals>,
    /// The digest over the heads of all feeds. Equal at nodes that hold the same.
    pub heads_root: Hash,
    /// The same for each topic that this node follows.
    pub heads_roots: BTreeMap<Category, Hash>,
    /// The digest over the replicated state. Equal at nodes that retain the same writes; none at a node whose type does
    /// not follow Data.
    pub state_root: Option<Hash>,
    /// The ledger's height; there is none before there is a ledger.
    pub height: Option<u64>,
    /// The root of the ledger's state after that height. Equal at nodes of one chain at one height.
    pub chain_root: Option<Hash>,
    /// Feeds with something missing.
    pub feeds_wanted: u64,
    /// Bundles in memory that wait for those before them.
    pub bundles_held: u64,
    /// Median of the peers' clocks less this node's, milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// Counts since the start.
    pub counters: Counters,
}

impl Node {
    pub(super) fn status(&self, turn: &Turn<'_>) -> Status {
        let mut categories: BTreeMap<Category, CategoryTotals> = BTreeMap::new();
        for (feed, chain) in self.feeds.chains() {
            let totals = categories.entry(feed.topic).or_default();
            totals.feeds += 1;
            totals.messages += chain.messages;
            totals.bytes += chain.bytes;
        }
        Status {
            id: self.id,
            network: self.setup.network.to_string(),
            incarnation: self.life.incarnation,
            uptime_s: (turn.now.mono - self.started).as_secs(),
            peers: self.peers.connected().count() as u64,
            messages: categories.values().map(|c| c.messages).sum(),
            log_end: self.log.end(),
            categories,
            heads_root: self.feeds.heads_root(),
            heads_roots: self.topic_roots().collect(),
            state_root: self.follows(Category::Data).then(|| self.replica().root()),
            height: self.chain.as_ref().map(|chain| chain.head().0.0),
            chain_root: self.chain.as_ref().map(|chain| chain.head().1),
            feeds_wanted: self.repair.wanted_count() as u64,
            bundles_held: self.feeds.held_count() as u64,
            clock_offset_ms: self.peers.clock_offset_ms(),
            counters: self.counters.clone(),
        }
    }
}
