//! What goes with a direct bundle from its author to its one reader, and what comes back.
//!
//! ```text
//!  author ──Deliver{hops, bundle}──▶ relay ──Deliver──▶ reader
//!         ◀──────── Receipt ───────       ◀── Receipt ──
//! ```
//!
//! The hops are unsigned: whoever carries the bundle writes them. The receipt is signed by the reader, so that no relay
//! can say a bundle was delivered that was not.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use super::message::bincode_config;
use super::refusal::Refusal;
use super::seal::{Label, Signature, Statement};
use crate::types::{Hash, NetworkId, NodeId, WallMs, limits};

/// The header by which a direct message wishes for a way of its own: `fastest`, `reliable`, `balanced` or `first`.
pub const STRATEGY_HEADER: &str = "route-strategy";

/// A node on the way, and when the bundle left it by its own clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Hop {
    /// Which.
    pub node: NodeId,
    /// When, milliseconds since 1970.
    pub at_ms: WallMs,
}

/// The way of a direct bundle.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Hops {
    /// Where it was, its author first.
    pub passed: Vec<Hop>,
    /// Where it is to go, the next first, its reader last.
    pub ahead: Vec<NodeId>,
    /// How often it was sent before.
    pub retries: u32,
}

impl Hops {
    /// In bincode, as beside a kept bundle.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = bincode::serde::encode_to_vec(self, bincode_config());
        debug_assert!(bytes.is_ok(), "a vector takes every way");
        bytes.unwrap_or_default()
    }

    /// What [`Hops::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Hops> {
        let read = bincode::serde::decode_from_slice(bytes, bincode_config()).ok();
        read.filter(|(_, used)| *used == bytes.len()).map(|(hops, _)| hops)
    }

    /// Whether there are no more than a bundle may take, somebody is ahead, and nobody is there twice.
    pub fn check(&self) -> Result<(), Refusal> {
        let mut nodes: Vec<NodeId> = self.passed.iter().map(|hop| hop.node).chain(self.ahead.iter().copied()).collect();
        let count = nodes.len();
        nodes.sort_unstable();
        nodes.dedup();
        if count > limits::HOPS + 1 || nodes.len() < count || self.passed.is_empty() || self.ahead.is_empty() {
            return Err(Refusal::Frame { reason: format!("a way of {count} nodes that is none") });
        }
        Ok(())
    }
}

/// What a reader did with a direct bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Delivery {
    /// It is on its disk.
    Taken = 0,
    /// It had it already.
    Known = 1,
    /// It is not the reader that the messages name.
    NotMine = 2,
    /// It is older than the reader takes.
    Old = 3,
    /// The reader's clock, or the author's, is wrong: its stamp lies in the future.
    Early = 4,
}

impl Delivery {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Delivery::Taken => "delivered",
            Delivery::Known => "delivered before",
            Delivery::NotMine => "the reader does not answer to that destination",
            Delivery::Old => "it is older than its reader takes",
            Delivery::Early => "its stamp lies in the future of its reader",
        }
    }
}

/// A reader's word on a direct bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// Who says so.
    pub reader: NodeId,
    /// Of which bundle.
    pub bundle: Hash,
    /// What became of it.
    pub delivery: Delivery,
    /// When, by the reader's clock.
    pub at: WallMs,
    /// The reader's signature.
    pub signature: Signature,
}

impl Receipt {
    /// Signs a receipt.
    pub fn sign(bundle: Hash, delivery: Delivery, at: WallMs, network: NetworkId, key: &SigningKey) -> Receipt {
        let reader = NodeId(key.verifying_key().to_bytes());
        let mut receipt = Receipt { reader, bundle, delivery, at, signature: Signature([0; 64]) };
        receipt.signature = receipt.statement(network, &receipt.position()).sign(key);
        receipt
    }

    /// Checks the signature.
    pub fn check(&self, network: NetworkId) -> Result<(), Refusal> {
        if self.statement(network, &self.position()).holds(&self.signature) {
            return Ok(());
        }
        Err(Refusal::BadSignature)
    }

    /// Delivery 1 ‖ time 8, little-endian.
    fn position(&self) -> [u8; 9] {
        let mut position = [self.delivery as u8; 9];
        position[1..].copy_from_slice(&self.at.0.to_le_bytes());
        position
    }

    fn statement<'a>(&self, network: NetworkId, position: &'a [u8; 9]) -> Statement<'a> {
        Statement { label: Label::Receipt, network, author: self.reader, count: 1, root: self.bundle, position }
    }
}
