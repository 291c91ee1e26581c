//! With whom this node compares its state, and what is remembered of them while it does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::peers::scramble;
use crate::crdt::{Asked, Floor, Session};
use crate::types::{Mono, NodeId, limits};
use crate::wire::ListedCollection;

/// How long two roots must have differed: twice heard, where the feeds are alike; else the feeds have so long to bring
/// what they can. The node with the higher id waits for the other to begin.
const ALIKE: Duration = Duration::from_secs(1);
const NOT_ALIKE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(5);
/// Peers whose sessions are remembered.
const PEERS: usize = limits::KNOWN_PEERS;

/// What is remembered of a peer while it is connected.
#[derive(Debug, Default)]
pub(super) struct Partner {
    /// Since when its root is another one.
    pub differs: Option<Mono>,
    /// Its feeds end as this node's do.
    pub feeds_alike: bool,
    /// It is left alone until then.
    pub due: Mono,
    pub backoff: Duration,
    pub strikes: u32,
    pub audit_due: Option<Mono>,
    /// It is asked which floors it has come to again then.
    pub floors_due: Mono,
}

/// A comparison with one peer.
#[derive(Debug)]
pub(super) struct Talk {
    /// Collections that differ and come next.
    pub next: VecDeque<String>,
    /// What the peer has listed so far, by name; none once its list is complete.
    pub listing: Option<BTreeMap<String, ListedCollection>>,
    pub current: Option<(String, Session)>,
    pub flights: BTreeMap<u64, Flight>,
    pub deadline: Mono,
    pub frames: u32,
    pub bytes: u64,
    /// Nothing of what the peer lists differs.
    pub is_alike: bool,
    /// Writes that came and were new.
    pub useful: u64,
    pub promised: u64,
    pub kept: u64,
    /// Floors that the peer has come to and this node has not, and that are said, by collection.
    pub offers: BTreeMap<String, Floor>,
    /// The collection whose roll it is asked for.
    pub roll: Option<String>,
}

#[derive(Debug)]
pub(super) enum Flight {
    Collections,
    Compare(Asked),
    Take,
    Roll,
}

/// What this node compares with its peers.
#[derive(Debug)]
pub(super) struct Healing {
    pub partners: BTreeMap<NodeId, Partner>,
    pub talks: BTreeMap<NodeId, Talk>,
    salt: u64,
}

impl Healing {
    pub fn new(entropy: u64) -> Healing {
        Healing { partners: BTreeMap::new(), talks: BTreeMap::new(), salt: scramble(entropy ^ 0x5A17) }
    }

    pub fn draw(&mut self) -> u64 {
        self.salt = scramble(self.salt);
        self.salt
    }

    /// A peer has said what its root is: the same as here or not, and whether its feeds end alike. If floors are said that
    /// this node has not come to, the peer may have: the root is the same where a floor takes nothing away.
    pub fn on_beat(&mut self, peer: NodeId, same: bool, lacks_rolls: bool, feeds_alike: bool, now: Mono) {
        if !self.partners.contains_key(&peer) && self.partners.len() >= PEERS {
            return;
        }
        let partner = self.partners.entry(peer).or_default();
        partner.feeds_alike = feeds_alike;
        if same && !(lacks_rolls && partner.floors_due <= now) {
            (partner.differs, partner.backoff, partner.strikes) = (None, Duration::ZERO, 0);
            partner.audit_due.get_or_insert(now + limits::AUDIT_EVERY);
        } else {
            partner.differs.get_or_insert(now);
        }
    }

    /// When something is to be done even if nothing happens. A peer that differs is looked at when something happens,
    /// which heartbeats do.
    pub fn next_wake(&self) -> Option<Mono> {
        self.talks.values().map(|talk| talk.deadline).min()
    }

    /// The peers to begin with now, and whether because they differ.
    pub fn due(&self, own: NodeId, now: Mono) -> Vec<(NodeId, bool)> {
        let free = limits::SESSIONS.saturating_sub(self.talks.len());
        let idle = self.partners.iter().filter(|(peer, partner)| !self.talks.contains_key(peer) && partner.due <= now);
        let due = idle.filter_map(|(peer, partner)| {
            let turn = if own < *peer { Duration::ZERO } else { PATIENCE };
            let patience = turn + if partner.feeds_alike { ALIKE } else { NOT_ALIKE };
            let differs = partner.differs.is_some_and(|since| since + patience <= now);
            let audit = partner.differs.is_none() && partner.audit_due.is_some_and(|due| due <= now);
            (differs || audit).then_some((*peer, differs))
        });
        due.take(free).collect()
    }
}

impl Talk {
    pub fn new(now: Mono) -> Talk {
        Talk {
            next: VecDeque::new(),
            listing: Some(BTreeMap::new()),
            current: None,
            flights: BTreeMap::new(),
            deadline: now + limits::SESSION_TIME,
            frames: 0,
            bytes: 0,
            is_alike: false,
            useful: 0,
            promised: 0,
            kept: 0,
            offers: BTreeMap::new(),
            roll: None,
        }
    }

    /// It is known what differs. What was compared before that is gone on with, unless it is to have another floor first,
    /// or it turned out to be the same.
    pub fn settle_guess(&mut self) {
        let Some((name, _)) = &self.current else { return };
        if self.offers.contains_key(name) || !self.next.contains(name) {
            self.drop_guess();
        } else {
            self.next.retain(|next| next != name);
        }
    }

    /// What was compared before it was known what differs is not gone on with. An answer to it is not looked at.
    pub fn drop_guess(&mut self) {
        self.current = None;
        self.flights.retain(|_, flight| !matches!(flight, Flight::Compare(_)));
    }

    pub fn is_spent(&self) -> bool {
        self.frames >= limits::SESSION_FRAMES || self.bytes >= limits::SESSION_BYTES
    }

    pub fn is_over(&self, now: Mono) -> bool {
        let done = self.listing.is_none() && self.current.is_none() && self.next.is_empty();
        self.deadline <= now || (self.flights.is_empty() && (self.is_spent() || done))
    }
}
