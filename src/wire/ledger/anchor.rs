//! Anchors: roots over replicated state that a block carries, and their proof.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::proof::{Finality, FinalityForm, NotProof, PROOF_FINALITIES};
use super::{binary, exactly};
use crate::types::{Hash, WallMs, limits};

/// Anchors of one block.
pub const BLOCK_ANCHORS: usize = 16;
/// An anchor, bytes, at most.
pub const ANCHOR_BYTES: usize = limits::NAME_BYTES + 64;

/// A collection of replicated state as the node that made the block held it: who retains the same writes has the same
/// root. Nobody else vouches for it, as others may hold more or less at that moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// The collection.
    pub collection: String,
    /// The clock of the latest write in it.
    pub clock_ms: WallMs,
    /// The root over its retained writes.
    pub root: Hash,
}

impl Anchor {
    /// The one form in bytes, bincode.
    pub fn encode(&self) -> Bytes {
        binary(self).into()
    }

    /// Reads [`Anchor::encode`].
    pub fn decode(bytes: &[u8]) -> Option<Anchor> {
        let fits = |anchor: &Anchor| (1..=limits::NAME_BYTES).contains(&anchor.collection.len());
        exactly::<Anchor>(bytes).filter(|anchor| fits(anchor) && !anchor.collection.chars().any(char::is_control))
    }
}

/// Whether a block may carry these: few, ascending by collection, each once.
pub fn are_proper(anchors: &[Anchor]) -> bool {
    anchors.len() <= BLOCK_ANCHORS && anchors.is_sorted_by(|a, b| a.collection < b.collection)
}

/// All anchors of a decided block, for anyone who knows the chain's validators at some height.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnchorProof {
    /// From the first change of validators after the trusted ones to the block's header.
    pub finalities: Vec<Finality>,
    /// Everything under the header's root of anchors.
    pub anchors: Vec<Anchor>,
}

/// The form it is handed around in: JSON with hexadecimal.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    finalities: Vec<FinalityForm>,
    anchors: Vec<Anchor>,
}

impl AnchorProof {
    /// The JSON form.
    pub fn to_json(&self) -> String {
        let finalities = self.finalities.iter().map(FinalityForm::of).collect();
        serde_json::to_string_pretty(&Form { finalities, anchors: self.anchors.clone() }).unwrap_or_default()
    }

    /// Reads [`AnchorProof::to_json`]; nothing is verified.
    pub fn from_json(text: &str) -> Result<AnchorProof, NotProof> {
        let Form { finalities, anchors } = serde_json::from_str(text).map_err(|_| NotProof::Form)?;
        if !(1..=PROOF_FINALITIES).contains(&finalities.len()) {
            return Err(NotProof::Finalities(finalities.len()));
        }
        if !are_proper(&anchors) {
            return Err(NotProof::Form);
        }
        let finalities = finalities.into_iter().map(FinalityForm::finality).collect::<Result<_, _>>()?;
        Ok(AnchorProof { finalities, anchors })
    }
}
