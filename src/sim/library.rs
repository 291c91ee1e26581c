//! Bundles that were verified once, by their bytes: the real check, not repeated for every node.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::types::{Hash, NetworkId};
use crate::wire::{Bundle, Refusal, Verified};

/// The checked bundles of a run.
pub struct Library {
    network: NetworkId,
    known: BTreeMap<Hash, Result<Verified, Refusal>>,
}

impl Library {
    /// An empty one.
    pub fn new(network: NetworkId) -> Library {
        Library { network, known: BTreeMap::new() }
    }

    /// What the real check says of these bytes.
    pub fn verify(&mut self, bytes: &Bytes) -> Result<Verified, Refusal> {
        let network = self.network;
        let check = || Verified::check(Bundle::decode(bytes.clone())?, network);
        self.known.entry(Library::name(bytes)).or_insert_with(check).clone()
    }

    /// What the real check says of a gossip frame: one bad bundle spoils it.
    pub fn frame(&mut self, bytes: &Bytes) -> Result<Vec<Verified>, Refusal> {
        Bundle::split(bytes.clone())?.iter().map(|bundle| self.verify(bundle.wire())).collect()
    }

    /// A name for bytes, whatever they are.
    pub fn name(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }
}
