//! How a node begins: what it is given, and which life of its author this is.

use serde::{Deserialize, Serialize};

use super::chain::ChainSetup;
use super::role::Role;
use crate::feed::Retention;
use crate::flow::{Bounds, Policy};
use crate::route::Strategy;
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Domain, Incarnation, NetworkName, NodeId, Now, Stamp, row};
use crate::wire::{Draft, Packing};

/// What a node is given at its start.
#[derive(Clone)]
pub struct Setup {
    /// The network's name.
    pub network: NetworkName,
    /// The author's key.
    pub key: ed25519_dalek::SigningKey,
    /// Fresh randomness, for the life's number and for jitter.
    pub entropy: u64,
    /// Marks the place the store is in, so that a copy of it elsewhere begins a new life. See `docs/storage.md`.
    pub place: u64,
    /// Addresses to connect to for ever, with the peer's id where it is known.
    pub bootstrap: Vec<(String, Option<NodeId>)>,
    /// Known peers are dialled while fewer than this are connected.
    pub target_peers: usize,
    /// How what this node says shares the way out.
    pub scheduler: Policy,
    /// How much of it waits at most.
    pub lanes: Bounds,
    /// How far what this node says is packed at most.
    pub packing: Packing,
    /// Which way direct messages go, unless they wish for another.
    pub strategy: Strategy,
    /// What it follows, offers and may send.
    pub role: Role,
    /// How long messages are kept.
    pub retention: Retention,
    /// A floor of a collection waits for every node heard from in this time.
    pub floor_waits: std::time::Duration,
    /// What the node says of itself at every start.
    pub registration: Option<Draft>,
    /// The chain it takes part in, if any.
    pub chain: Option<ChainSetup>,
}

/// The life of an author: begun, and ended cleanly or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Life {
    /// Its number.
    pub incarnation: Incarnation,
    /// Whether the store was flushed and closed at its end.
    pub clean: bool,
    /// Where the store was.
    pub place: u64,
    /// No stamp at or above this has been used.
    pub ceiling: Stamp,
}

impl Life {
    fn key() -> Key {
        Key::new(Table::Meta, &[b"life"])
    }

    /// The life as the store has it.
    pub fn load(view: &dyn View) -> Option<Life> {
        row::decode(&view.get(&Life::key())?)
    }

    /// Writes the row.
    pub fn save(&self, tx: &mut Txn<'_>) {
        tx.put(Life::key(), row::encode(self));
    }

    /// The life this start begins: the former one goes on only if it ended cleanly and in this place.
    pub fn begin(former: Option<Life>, setup: &Setup, now: Now) -> Life {
        let ceiling = former.map_or(Stamp(0), |life| life.ceiling);
        let resumed = former.filter(|life| life.clean && life.place == setup.place);
        let fresh = Incarnation((now.wall.0 << 16) | (setup.entropy & 0xFFFF));
        let incarnation = resumed.map_or(fresh, |life| life.incarnation);
        Life { incarnation, clean: false, place: setup.place, ceiling }
    }

    /// What sets the ids of this life of an author apart from those of everyone else who has the same stamp.
    pub fn id_suffix(&self, author: NodeId) -> u64 {
        let digest = Domain::Bundle.hash(&[author.as_bytes(), &self.incarnation.0.to_be_bytes()]);
        digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}
