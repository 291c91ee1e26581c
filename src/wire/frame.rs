//! The sync protocol: one request, one response, over a libp2p stream of its own. Bincode, bounded.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::agreement::{ChainRequest, ChainResponse};
use super::bundle::SIGNED_BYTES;
use super::direct::{Hops, Receipt};
use super::feed_id::FeedId;
use super::message::bincode_config;
use super::refusal::Refusal;
use super::state_frame::{StateRequest, StateResponse};
use crate::types::{Hash, Incarnation, NodeId, limits};

/// Where a feed stands at some node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// The feed.
    pub feed: FeedId,
    /// The first sequence the node still holds; `next` when it holds nothing.
    pub floor: u64,
    /// One past the last sequence.
    pub next: u64,
    /// The id of the bundle before `next`; zeros when there is none.
    pub hash: Hash,
    /// Where the author said two things, if the node has proof of it: see [`Request::Fork`].
    pub forked: Option<u64>,
}

impl Head {
    /// The last sequence the node holds.
    pub fn last(&self) -> Option<u64> {
        self.next.checked_sub(1).filter(|last| *last >= self.floor)
    }
}

/// What a node asks of another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// The heads of all feeds after this one, in order.
    Heads { after: Option<FeedId> },
    /// Bundles `from..=to` of a feed.
    Range {
        feed: FeedId,
        from: u64,
        to: u64,
        /// From `to` downwards, for filling in history.
        newest_first: bool,
    },
    /// The proof that the author of a feed said two things.
    Fork { feed: FeedId },
    /// A direct bundle: for the asked, or to be carried on.
    Deliver { hops: Hops, bundle: Bytes },
    /// About the chain.
    Chain(ChainRequest),
    /// About replicated state.
    State(StateRequest),
    /// How far the feeds of one life of an author are held: their heads, in order, however few.
    Ends { author: NodeId, incarnation: Incarnation },
}

/// Why a request was not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Unserved {
    /// The asker asks too much; wait.
    Busy,
    /// The feed is not known here.
    UnknownFeed,
    /// The asker was refused altogether.
    Banned,
    /// There is no way on from here.
    NoRoute,
}

/// What a node answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Response {
    /// Heads in order of feed; `more` when there are some after the last.
    Heads { heads: Vec<Head>, more: bool },
    /// Bundles in the order asked for, as many as fit, and the first sequence still held.
    Range { floor: u64, bundles: Vec<Bytes> },
    /// Two signed headers that cannot both stand in one feed, the lower sequence first.
    Fork { first: Bytes, second: Bytes },
    /// Nothing.
    Unserved(Unserved),
    /// What became of a direct bundle.
    Receipt(Receipt),
    /// About the chain.
    Chain(ChainResponse),
    /// About replicated state.
    State(StateResponse),
}

impl Request {
    /// The bytes on the stream.
    pub fn encode(&self) -> Bytes {
        encode(self)
    }

    /// Reads a request, all of `bytes` and no more.
    pub fn decode(bytes: &[u8]) -> Result<Request, Refusal> {
        let request = decode(bytes)?;
        match &request {
            Request::Range { from, to, .. } if from > to => Err(Refusal::Frame { reason: "an empty range".into() }),
            Request::Deliver { bundle, .. } if bundle.len() > limits::DIRECT_BYTES => {
                Err(Refusal::TooLarge { size_bytes: bundle.len() })
            }
            Request::Deliver { hops, .. } => hops.check().map(|()| request),
            Request::State(said) => said.check().map(|()| request),
            Request::Chain(asked) if !asked.is_proper() => {
                Err(Refusal::Frame { reason: "a branch that is not in its one form".into() })
            }
            Request::Range { .. }
            | Request::Heads { .. }
            | Request::Fork { .. }
            | Request::Chain(_)
            | Request::Ends { .. } => Ok(request),
        }
    }
}

impl Response {
    /// The bytes on the stream.
    pub fn encode(&self) -> Bytes {
        encode(self)
    }

    /// Reads a response, all of `bytes` and no more.
    pub fn decode(bytes: &[u8]) -> Result<Response, Refusal> {
        let response = decode(bytes)?;
        match &response {
            Response::Heads { heads, .. } if heads.len() > limits::HEADS => {
                Err(Refusal::Frame { reason: format!("{} heads", heads.len()) })
            }
            Response::Range { bundles, .. } if bundles.len() > limits::RANGE_BUNDLES => {
                Err(Refusal::Frame { reason: format!("{} bundles", bundles.len()) })
            }
            Response::Fork { first, second } if first.len().max(second.len()) > SIGNED_BYTES => {
                Err(Refusal::Frame { reason: "more than two signed headers".into() })
            }
            Response::Heads { .. }
            | Response::Range { .. }
            | Response::Fork { .. }
            | Response::Unserved(_)
            | Response::Receipt(_) => Ok(response),
            Response::Chain(said) => match said.excess() {
                Some(reason) => Err(Refusal::Frame { reason }),
                None => Ok(response),
            },
            Response::State(said) => said.check().map(|()| response),
        }
    }
}

fn encode<T: Serialize>(frame: &T) -> Bytes {
    let bytes = bincode::serde::encode_to_vec(frame, bincode_config());
    debug_assert!(bytes.is_ok(), "a vector takes every frame");
    bytes.unwrap_or_default().into()
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, Refusal> {
    if bytes.len() > limits::FRAME_BYTES {
        return Err(Refusal::TooLarge { size_bytes: bytes.len() });
    }
    let (frame, used) = bincode::serde::decode_from_slice(bytes, bincode_config())
        .map_err(|e| Refusal::Frame { reason: e.to_string() })?;
    if used != bytes.len() {
        return Err(Refusal::Frame { reason: format!("{} bytes after the frame", bytes.len() - used) });
    }
    Ok(frame)
}
