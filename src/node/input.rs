//! Everything that can happen to a node.

use std::time::Duration;

use super::call::Call;
use super::chain_io::ChainInput;
use super::state_io::StateInput;
use crate::feed::Fork;
use crate::types::NodeId;
use crate::wire::{Head, Hops, Packing, Receipt, Refusal, Request, Verified};

/// Everything that can happen to a node.
#[derive(Debug)]
pub enum Input {
    /// Bundles came in one gossip frame; `ticket` names it in the verdict.
    Bundle { from: NodeId, ticket: u64, bundles: Vec<Verified> },
    /// Bytes from a peer were not what they should be.
    Refused { from: NodeId, refusal: Refusal },
    /// The first connection to a peer stands; `address` is where it was dialled, if it was.
    PeerUp { peer: NodeId, dialled: Option<String> },
    /// A connected peer asks for what it is sent to be packed no further than that.
    Packs { peer: NodeId, packing: Packing },
    /// The last connection to a peer is gone.
    PeerDown { peer: NodeId },
    /// Addresses at which a peer may be reached.
    Addresses { peer: NodeId, addresses: Vec<String> },
    /// A dial came to nothing.
    DialFailed { peer: Option<NodeId>, address: Option<String> },
    /// A peer asks; `id` names the request in the response.
    Request { from: NodeId, id: u64, request: Request },
    /// Heads that were asked for under `id`.
    Heads { from: NodeId, id: u64, heads: Vec<Head>, more: bool },
    /// Bundles that were asked for under `id`, each of them verified.
    Range { from: NodeId, id: u64, floor: u64, bundles: Vec<Verified> },
    /// The proof of a fork that was asked for under `id`, its signatures checked.
    Fork { from: NodeId, id: u64, fork: Box<Fork> },
    /// A direct bundle came: for this node, or to be passed on; `id` names the request in the response.
    Deliver { from: NodeId, id: u64, hops: Hops, bundle: Box<Verified> },
    /// A reader's word on a direct bundle sent under `id`, its signature checked.
    Receipt { from: NodeId, id: u64, receipt: Receipt },
    /// A connected peer answered a ping after so long.
    RoundTrip { peer: NodeId, time: Duration },
    /// What was asked for under `id` will not come.
    Failed { from: NodeId, id: u64 },
    /// Something about the chain has come.
    Chain(ChainInput),
    /// Something about replicated state has come.
    State(StateInput),
    /// A client of this node asks; `id` names the call in the reply.
    Call { id: u64, call: Call },
    /// Time has passed.
    Tick,
}
