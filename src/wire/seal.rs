//! The one primitive under every signature: ed25519 over a statement about n items.

use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

use super::signatures::{Claim, verify_strict};
use crate::types::{Domain, Hash, NetworkId, NodeId};

/// What kind of statement a signature makes, so that one can never be passed off as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Label {
    /// A bundle of messages in a feed.
    Bundle = 1,
    /// The receipt of a direct bundle.
    Receipt = 2,
    /// A validator's first vote in a round.
    Prevote = 3,
    /// A validator's second vote in a round.
    Precommit = 4,
    /// A block put to the vote.
    Proposal = 5,
    /// Transactions of one account.
    Transactions = 6,
    /// The manifest of a checkpoint of replicated state.
    Checkpoint = 0x60,
    /// A validator's word on how much there is of replicated state.
    Endorsement = 0x70,
}

/// An ed25519 signature (RFC 8032), 64 bytes. In order of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(from = "[[u8; 32]; 2]", into = "[[u8; 32]; 2]")]
pub struct Signature(pub [u8; 64]);

impl From<[[u8; 32]; 2]> for Signature {
    fn from(halves: [[u8; 32]; 2]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(halves.as_flattened());
        Signature(bytes)
    }
}

impl From<Signature> for [[u8; 32]; 2] {
    fn from(signature: Signature) -> [[u8; 32]; 2] {
        let mut halves = [[0; 32]; 2];
        halves.as_flattened_mut().copy_from_slice(&signature.0);
        halves
    }
}

/// What is signed: that `author`, in `network`, at `position`, says the `count` items whose Merkle root is `root`.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// What kind of statement.
    pub label: Label,
    /// In which network.
    pub network: NetworkId,
    /// By whom.
    pub author: NodeId,
    /// How many items.
    pub count: u32,
    /// The root over the items.
    pub root: Hash,
    /// Where the statement stands; its layout belongs to the label.
    pub position: &'a [u8],
}

impl Statement<'_> {
    /// The 32 bytes handed to ed25519: the seal domain's digest of label ‖ network ‖ author ‖ count ‖ root ‖ position.
    pub fn digest(&self) -> Hash {
        Domain::Seal.hash(&[
            &[self.label as u8],
            self.network.0.as_bytes(),
            self.author.as_bytes(),
            &self.count.to_le_bytes(),
            self.root.as_bytes(),
            self.position,
        ])
    }

    /// Signs the statement.
    pub fn sign(&self, key: &SigningKey) -> Signature {
        Signature(key.sign(self.digest().as_bytes()).to_bytes())
    }

    /// Whether `signature` is the author's. Strict verification: no small-order keys or points, canonical encodings
    /// only, so that no two nodes can differ on an answer.
    pub fn holds(&self, signature: &Signature) -> bool {
        verify_strict(&[self.claim(signature)]) == [true]
    }

    /// That the author signed this.
    pub fn claim(&self, signature: &Signature) -> Claim {
        Claim { author: self.author, said: self.digest(), signature: signature.0 }
    }
}
