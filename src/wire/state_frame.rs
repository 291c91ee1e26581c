//! What nodes ask one another about replicated state: which collections there are, what of one differs, and the writes
//! themselves, each with its proof.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::excerpt::{Excerpt, Proven};
use super::ledger::{Endorsed, EndorsementAsk};
use super::refusal::Refusal;
use crate::types::{Hash, NetworkId, Version, limits};

/// What a node retains of a collection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CollectionHead {
    /// Its name.
    pub name: String,
    /// How many writes.
    pub retained: u64,
    /// The sum over them.
    pub root: Hash,
}

/// A collection as a node lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListedCollection {
    /// What is retained of it.
    pub head: CollectionHead,
    /// The floor that counts there: its roll can be asked for.
    pub floor: Option<FloorName>,
}

/// What a node asks about another's state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StateRequest {
    /// The collections after this one, in the order of their names.
    Collections { after: Option<String> },
    /// What of these ranges of a collection differs, or writes in them: see [`super::Ranges`].
    Compare { collection: String, ranges: Bytes },
    /// These writes are for the asked: excerpts of bundles, each of another bundle.
    Take { writes: Vec<Bytes> },
    /// Whether the asked, a validator, retains as much, and signs it.
    Endorse(Box<EndorsementAsk>),
    /// The writes that count below a floor of a collection, after this one: see `docs/floor.md`.
    Roll { collection: String, floor: FloorName, after: Option<RollEntry> },
}

/// A floor: the version below which only the writes of a set count, and count and root of the set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FloorName {
    /// Below this.
    pub version: Version,
    /// How many.
    pub count: u64,
    /// The hash over them, in their order: [`crate::types::Domain::Roll`].
    pub root: Hash,
}

/// A write that counts below a floor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct RollEntry {
    /// Which.
    pub version: Version,
    /// What the root counts it as.
    pub digest: Hash,
}

/// What a node answers about its state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StateResponse {
    /// Collections in which something is retained; `more` when there are some after the last.
    Collections { listed: Vec<ListedCollection>, more: bool },
    /// What is said about the ranges, and the writes that were asked for.
    Compared { ranges: Bytes, writes: Vec<Bytes> },
    /// The writes were looked at.
    Taken,
    /// The signature, or why there is none.
    Endorsed(Endorsed),
    /// The writes that count below the floor, in order; `more` when there are some after the last.
    Rolled { entries: Vec<RollEntry>, more: bool },
}

impl StateRequest {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let name = match self {
            StateRequest::Collections { after } => after.as_ref(),
            StateRequest::Compare { collection, .. } | StateRequest::Roll { collection, .. } => Some(collection),
            StateRequest::Take { .. } | StateRequest::Endorse(_) => None,
        };
        match self {
            _ if name.is_some_and(|name| name.len() > limits::COLLECTION_BYTES) => {
                Err(Refusal::Frame { reason: "the name of no collection".into() })
            }
            StateRequest::Take { writes } => within(writes),
            StateRequest::Endorse(asked) => match asked.extent.fault() {
                Some(fault) => Err(Refusal::Frame { reason: fault.into() }),
                None => Ok(()),
            },
            StateRequest::Collections { .. } | StateRequest::Compare { .. } | StateRequest::Roll { .. } => Ok(()),
        }
    }
}

impl StateResponse {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        match self {
            StateResponse::Collections { listed, .. } if listed.len() > limits::COLLECTION_HEADS => {
                Err(Refusal::Frame { reason: format!("{} collections", listed.len()) })
            }
            StateResponse::Compared { writes, .. } => within(writes),
            StateResponse::Endorsed(Endorsed::Differs(head)) if head.name.len() > limits::COLLECTION_BYTES => {
                Err(Refusal::Frame { reason: "the name of no collection".into() })
            }
            StateResponse::Rolled { entries, .. } if entries.len() > limits::ROLL_ENTRIES => {
                Err(Refusal::Frame { reason: format!("{} writes of a roll", entries.len()) })
            }
            StateResponse::Collections { .. }
            | StateResponse::Taken
            | StateResponse::Endorsed(_)
            | StateResponse::Rolled { .. } => Ok(()),
        }
    }
}

fn within(writes: &[Bytes]) -> Result<(), Refusal> {
    if writes.len() > limits::EXCERPTS {
        return Err(Refusal::Frame { reason: format!("excerpts of {} bundles", writes.len()) });
    }
    Ok(())
}

/// Checks excerpts that came together, up to the first that is not what it should be: each of another bundle, and all
/// of them no more than one frame may unpack to.
pub fn prove_all(writes: Vec<Bytes>, network: NetworkId) -> (Vec<Proven>, Option<Refusal>) {
    let (mut good, mut slots, mut bytes) = (Vec::new(), std::collections::BTreeSet::new(), 0);
    for wire in writes {
        let read = Excerpt::decode(&wire).and_then(|excerpt| {
            bytes += excerpt.items().values().map(Bytes::len).sum::<usize>();
            if bytes > limits::WRITES_BYTES + 2 * limits::BUNDLE_BYTES {
                return Err(Refusal::TooLarge { size_bytes: bytes });
            }
            if !slots.insert(excerpt.header().slot()) {
                return Err(Refusal::Frame { reason: "two excerpts of one bundle".into() });
            }
            excerpt.prove(network)
        });
        match read {
            Ok(proven) => good.push(proven),
            Err(refusal) => return (good, Some(refusal)),
        }
    }
    (good, None)
}
