//! What clients of this node can ask of it, and what they are answered. Reading messages is not here: readers go to
//! the store themselves and slow nobody.

use super::chain::AgreementStatus;
use super::checkpoint::Joined;
use super::deliveries::SubscriptionInfo;
use super::endorse::{Endorse, Gathered, NotAsked};
use super::floors::{CountFloor, FloorCount, FloorRefusal};
use super::output::Stage;
use super::peers::PeerInfo;
use super::queues::Queues;
use super::state::{Restore, Write, Wrote};
use super::status::Status;
use super::ways::{Explained, LinkedNode, Outbox};
use crate::crdt;
use crate::deliver::{Found, Leased, Name, Outcome, Refused, Selector, Settled, Spec, Swept};
use crate::flow::Policy;
use crate::ledger::NotTaken;
use crate::route::Strategy;
use crate::types::chain::TransactionId;
use crate::types::{Incarnation, MessageId, NodeId, Version, limits};
use crate::wire::ledger::Sealed;
use crate::wire::{Destination, Draft, Faults, Priority, Proven};

/// How sure a publisher wants to be before it is answered.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// The messages have ids and places; they are lost if the process dies now.
    Accepted,
    /// They are in the store; they are lost if the machine dies within the flush interval.
    Written,
    /// They are on the disk.
    #[default]
    Durable,
}

impl Ack {
    /// When the answer may leave.
    pub(super) fn stage(self) -> Stage {
        match self {
            Ack::Accepted => Stage::Now,
            Ack::Written => Stage::Committed,
            Ack::Durable => Stage::Flushed,
        }
    }
}

impl std::str::FromStr for Ack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "accepted" => Ok(Ack::Accepted),
            "written" => Ok(Ack::Written),
            "durable" => Ok(Ack::Durable),
            _ => Err(format!("`{text}` is not an acknowledgement: use accepted, written or durable")),
        }
    }
}

/// What a client asks.
#[derive(Debug)]
pub enum Call {
    /// Say these, all or none.
    Publish { drafts: Vec<Draft>, ack: Ack },
    /// How are you?
    Status,
    /// Who is known?
    Peers,
    /// What waits to be said?
    Queues,
    /// Serve the lanes by another rule.
    Schedule(Policy),
    /// Connect to an address.
    Dial { address: String, peer: Option<NodeId> },
    /// Have nothing to do with a peer for so many seconds.
    Ban { peer: NodeId, seconds: u64, reason: String },
    /// Forgive a peer.
    Unban { peer: NodeId },
    /// Create a durable subscription that begins at a position, or change one.
    PutSubscription { name: Name, spec: Box<Spec>, from: u64 },
    /// Remove a durable subscription.
    DropSubscription { name: Name },
    /// Which durable subscriptions are there? One, or all.
    Subscriptions { name: Option<Name> },
    /// Something was found for a subscription; lend up to `most` messages.
    Lease { name: Name, most: usize, found: Option<Found> },
    /// So ended what was lent; answer when that is on the disk, or when it is written.
    Settle { name: Name, outcomes: Vec<(u64, Outcome)>, ack: Ack },
    /// Pause a subscription for this reason, or let it go on.
    PauseSubscription { name: Name, reason: Option<String> },
    /// Bring dead letters back, or remove them; with `dry`, only say which.
    Sweep { selector: Selector, redrive: bool, dry: bool },
    /// Which ways lead to a destination now?
    Explain { to: Destination, strategy: Option<Strategy> },
    /// Who is connected to whom?
    Links,
    /// Which direct messages are not with their readers?
    Outbox,
    /// Which nodes hold a bundle of this node's writes to replicated state, as they claim?
    Holders { incarnation: Incarnation, sequence: u64 },
    /// Write to a collection of replicated state.
    Write(Box<Write>),
    /// Write again what lost a conflict.
    Restore(Box<Restore>),
    /// What would stay below a floor of a collection? Unless it is dry, writing that to its register sets it.
    CountFloor(CountFloor),
    /// Join writes of a checkpoint, each proved, into replicated state.
    Join(Vec<Proven>),
    /// How much is retained of a collection, from one version on, up to and without another?
    Extent { collection: String, from: Version, to: Version },
    /// Have the validators say that they retain as much, before a time, of these collections.
    Endorse(Box<Endorse>),
    /// Take sealed transactions, and pass them on.
    Submit(Box<Sealed>),
    /// How does agreement stand?
    Agreement,
    /// Stop cleanly.
    Stop,
}

/// What a client is answered.
#[derive(Debug)]
pub enum Answer {
    /// The messages' ids, in the order of the drafts.
    Published { ids: Vec<MessageId> },
    /// They were dropped: this lane is full, and loses what finds no room.
    Dropped { lane: Priority, count: usize },
    /// The node's state.
    Status(Box<Status>),
    /// All peers known.
    Peers(Vec<PeerInfo>),
    /// What waits to be said.
    Queues(Queues),
    /// Durable subscriptions, by name.
    Subscriptions(Vec<SubscriptionInfo>),
    /// What is lent.
    Leased(Leased),
    /// What settling came to.
    Settled(Settled),
    /// What became of dead letters.
    Swept(Swept),
    /// The ways to a destination.
    Explained(Box<Explained>),
    /// Who is connected to whom.
    Links(Vec<LinkedNode>),
    /// Direct messages that are not with their readers.
    Outbox(Outbox),
    /// Nodes that hold what was asked for, in the order of ids.
    Holders(Vec<NodeId>),
    /// What writing to a collection came to.
    Wrote(Wrote),
    /// What a floor would come to.
    Floor(FloorCount),
    /// What joining writes of a checkpoint came to.
    Joined(Joined),
    /// How many writes, and the sum over them.
    Extent(crdt::Sum),
    /// What the validators said.
    Endorsed(Box<Gathered>),
    /// The transactions wait for a block.
    Submitted { ids: Vec<TransactionId> },
    /// How agreement stands, if the node takes part in a chain.
    Agreement(Option<Box<AgreementStatus>>),
    /// It is done.
    Done,
}

/// Why a call is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallRefusal {
    #[error("message {index} is not valid: {faults}")]
    Invalid { index: usize, faults: Faults },
    #[error("at most {} messages in one call", limits::PUBLISH_BATCH)]
    TooMany,
    #[error("the {lane} lane is full: {} messages or {} MiB wait; send again in a moment", limits::LANE_MESSAGES, limits::LANE_BYTES >> 20)]
    Full { lane: Priority },
    #[error("nobody is known that answers to {to}; `metanode route ls` shows who is there and what they offer")]
    NoReader { to: Destination },
    #[error("{} messages wait for {to} already; send again when it has some", limits::SUBSCRIPTION_OPEN)]
    NoRoom { to: Destination },
    #[error("peer {0} is not known")]
    UnknownPeer(NodeId),
    #[error(transparent)]
    Deliver(#[from] Refused),
    #[error(transparent)]
    State(#[from] crdt::Refused),
    #[error(transparent)]
    Floor(#[from] FloorRefusal),
    #[error("this node takes part in no chain; give it one with `chain.genesis`")]
    NoChain,
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    #[error(transparent)]
    NotAsked(#[from] NotAsked),
    #[error("the node is stopping")]
    Stopping,
}

impl CallRefusal {
    /// A short stable word for metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            CallRefusal::Invalid { .. } => "invalid",
            CallRefusal::TooMany => "too_many",
            CallRefusal::Full { .. } => "full",
            CallRefusal::NoReader { .. } => "no_reader",
            CallRefusal::NoRoom { .. } => "no_room",
            CallRefusal::UnknownPeer(_) => "unknown_peer",
            CallRefusal::Deliver(_) => "deliver",
            CallRefusal::State(_) => "state",
            CallRefusal::Floor(_) => "floor",
            CallRefusal::NoChain => "no_chain",
            CallRefusal::NotTaken(_) => "not_taken",
            CallRefusal::NotAsked(why) => why.code(),
            CallRefusal::Stopping => "stopping",
        }
    }
}
