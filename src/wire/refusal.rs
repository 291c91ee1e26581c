//! Why bytes from elsewhere are not taken.

use std::time::Duration;

use crate::types::NodeId;

/// What was wrong with a bundle, a frame or a proof. Every case is the sender's or the author's doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("truncated: {have} bytes where {need} are needed")]
    Truncated { have: usize, need: usize },
    #[error("too large: {size_bytes} bytes")]
    TooLarge { size_bytes: usize },
    #[error("a message of {size_bytes} bytes; at most {} are allowed", crate::types::limits::MESSAGE_BYTES)]
    MessageTooLarge { size_bytes: usize },
    #[error("wire version {version}; this node speaks {}", super::WIRE_VERSION)]
    Version { version: u8 },
    #[error("made for another network")]
    WrongNetwork,
    #[error("unknown topic {tag}")]
    Topic { tag: u8 },
    #[error("unknown priority {tag}")]
    Priority { tag: u8 },
    #[error("unknown flags {flags:#04x}")]
    Flags { flags: u8 },
    #[error("unknown codec {tag}")]
    Codec { tag: u8 },
    #[error("{count} messages in a bundle; 1 to {} are allowed", crate::types::limits::BUNDLE_MESSAGES)]
    Count { count: u32 },
    #[error("the body does not unpack to the size its header gives")]
    Packing,
    #[error("the body does not divide into the messages its header counts")]
    Division,
    #[error("the signature is not the author's")]
    BadSignature,
    #[error("the root over the messages is not the one that was signed")]
    BadRoot,
    #[error("the path does not lead from the message to the signed root")]
    BadProof,
    #[error("message ids do not grow, or are not of the bundle's time")]
    Ids,
    #[error("a message of another topic")]
    WrongTopic,
    #[error("a malformed message: {reason}")]
    Message { reason: String },
    #[error("sequence {sequence}; a feed ends before 2^63")]
    Sequence { sequence: u64 },
    #[error(
        "a place in a feed for what is outside it, a first bundle with one before it, or a kind in the wrong place"
    )]
    OutsideFeed,
    #[error("{ahead:?} ahead of this node's clock")]
    FarFuture { ahead: Duration },
    #[error("{ahead:?} ahead of this node's clock, more than a day")]
    DayAhead { ahead: Duration },
    #[error("not a frame of the sync protocol: {reason}")]
    Frame { reason: String },
    #[error("an answer that was not asked for: {reason}")]
    Unasked { reason: &'static str },
    #[error("not a message of agreement: {reason}")]
    Agreement { reason: String },
    #[error("about height {height}; this node is at {at}")]
    Height { height: u64, at: u64 },
    #[error("{node} is no validator of that height")]
    Stranger { node: NodeId },
}

impl Refusal {
    /// What the carrier loses in score: what any honest relay would have caught costs most, what may be an old
    /// version little, and a stamp from the future nothing, because the wrong clock may be this node's own.
    pub const fn penalty(&self) -> u32 {
        match self {
            Refusal::FarFuture { .. } | Refusal::DayAhead { .. } | Refusal::Height { .. } => 0,
            Refusal::Version { .. } | Refusal::WrongNetwork => 5,
            Refusal::Topic { .. } | Refusal::Priority { .. } | Refusal::Flags { .. } | Refusal::Codec { .. } => 10,
            Refusal::Truncated { .. }
            | Refusal::TooLarge { .. }
            | Refusal::MessageTooLarge { .. }
            | Refusal::Count { .. }
            | Refusal::Packing
            | Refusal::Division
            | Refusal::BadSignature
            | Refusal::BadRoot
            | Refusal::BadProof
            | Refusal::Ids
            | Refusal::WrongTopic
            | Refusal::Message { .. }
            | Refusal::Sequence { .. }
            | Refusal::OutsideFeed
            | Refusal::Frame { .. }
            | Refusal::Unasked { .. }
            | Refusal::Agreement { .. }
            | Refusal::Stranger { .. } => 25,
        }
    }

    /// A short stable word for metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Refusal::Truncated { .. } => "truncated",
            Refusal::TooLarge { .. } | Refusal::MessageTooLarge { .. } => "too_large",
            Refusal::Version { .. } => "version",
            Refusal::WrongNetwork => "wrong_network",
            Refusal::Topic { .. } => "topic",
            Refusal::Priority { .. } => "priority",
            Refusal::Flags { .. } => "flags",
            Refusal::Codec { .. } => "codec",
            Refusal::Count { .. } => "count",
            Refusal::Packing => "packing",
            Refusal::Division => "division",
            Refusal::BadSignature => "bad_signature",
            Refusal::BadRoot => "bad_root",
            Refusal::BadProof => "bad_proof",
            Refusal::Ids => "ids",
            Refusal::WrongTopic => "wrong_topic",
            Refusal::Message { .. } => "message",
            Refusal::Sequence { .. } => "sequence",
            Refusal::OutsideFeed => "outside_feed",
            Refusal::FarFuture { .. } => "far_future",
            Refusal::DayAhead { .. } => "day_ahead",
            Refusal::Frame { .. } => "frame",
            Refusal::Unasked { .. } => "unasked",
            Refusal::Agreement { .. } => "agreement",
            Refusal::Height { .. } => "height",
            Refusal::Stranger { .. } => "stranger",
        }
    }
}
