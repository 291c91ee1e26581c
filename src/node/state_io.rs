//! What comes to a node about replicated state from its peers, checked.

use crate::types::{NetworkId, NodeId};
use crate::wire::ledger::Endorsed;
use crate::wire::{ListedCollection, Proven, Ranges, Refusal, RollEntry, StateResponse, prove_all};

/// Something about replicated state.
#[derive(Debug)]
pub enum StateInput {
    /// The collections of a peer that was asked under `id`.
    Collections { from: NodeId, id: u64, listed: Vec<ListedCollection>, more: bool },
    /// What a peer says about ranges that it was asked about under `id`, and writes, each of them proved.
    Compared { from: NodeId, id: u64, ranges: Ranges, writes: Vec<Proven> },
    /// The writes that count below a floor, by a peer that was asked under `id`.
    Rolled { from: NodeId, id: u64, entries: Vec<RollEntry>, more: bool },
    /// A peer has looked at what it was given under `id`.
    Taken { from: NodeId, id: u64 },
    /// What a validator says that was asked under `id` to endorse an extent; nobody has checked its signature.
    Endorsed { from: NodeId, id: u64, said: Endorsed },
    /// A peer gives writes, each of them proved; `id` names its request in the response.
    Offered { from: NodeId, id: u64, writes: Vec<Proven> },
}

impl StateInput {
    /// An answer, and what was wrong with the first of its writes that is not what it should be: those before it count.
    pub fn answer(
        from: NodeId,
        id: u64,
        response: StateResponse,
        network: NetworkId,
    ) -> Result<(StateInput, Option<Refusal>), Refusal> {
        Ok(match response {
            StateResponse::Collections { listed, more } => (StateInput::Collections { from, id, listed, more }, None),
            StateResponse::Endorsed(said) => (StateInput::Endorsed { from, id, said }, None),
            StateResponse::Taken => (StateInput::Taken { from, id }, None),
            StateResponse::Rolled { entries, more } => (StateInput::Rolled { from, id, entries, more }, None),
            StateResponse::Compared { ranges, writes } => {
                let ranges = Ranges::decode(&ranges)?;
                let (writes, bad) = prove_all(writes, network);
                (StateInput::Compared { from, id, ranges, writes }, bad)
            }
        })
    }

    /// What it takes in memory, bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        match self {
            StateInput::Compared { writes, .. } | StateInput::Offered { writes, .. } => {
                writes.iter().map(Proven::memory_bytes).sum()
            }
            StateInput::Rolled { entries, .. } => std::mem::size_of_val(entries.as_slice()),
            StateInput::Collections { .. } | StateInput::Taken { .. } | StateInput::Endorsed { .. } => 0,
        }
    }

    /// How many changes of the state it may make.
    pub fn changes(&self) -> usize {
        match self {
            StateInput::Compared { writes, .. } | StateInput::Offered { writes, .. } => {
                writes.iter().flat_map(Proven::writes).map(|said| said.write.changes.len()).sum()
            }
            // The rows of a roll are written, not judged.
            StateInput::Rolled { .. }
            | StateInput::Collections { .. }
            | StateInput::Taken { .. }
            | StateInput::Endorsed { .. } => 0,
        }
    }
}
