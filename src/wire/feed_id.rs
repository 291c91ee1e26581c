//! Names of feeds and of places in them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kind::Category;
use crate::types::{Incarnation, NetworkName, NodeId};

/// The chain of one author's bundles on one topic in one life. Ordered by author, incarnation, topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FeedId {
    /// Who signs.
    pub author: NodeId,
    /// Which life of the author.
    pub incarnation: Incarnation,
    /// The topic; there is one for each category.
    pub topic: Category,
}

impl FeedId {
    /// Bytes of [`FeedId::to_bytes`].
    pub const BYTES: usize = 41;

    /// Author, incarnation (big-endian), topic: sorts as the id does.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..32].copy_from_slice(self.author.as_bytes());
        bytes[32..40].copy_from_slice(&self.incarnation.0.to_be_bytes());
        bytes[40] = self.topic.tag();
        bytes
    }

    /// The id with these bytes; none when the topic is unknown or the length is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<FeedId> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let (author, rest) = bytes.split_first_chunk::<32>()?;
        let (incarnation, rest) = rest.split_first_chunk::<8>()?;
        Some(FeedId {
            author: NodeId(*author),
            incarnation: Incarnation(u64::from_be_bytes(*incarnation)),
            topic: Category::from_tag(*rest.first()?)?,
        })
    }
}

impl fmt::Display for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:016x}/{}", self.author, self.incarnation.0, self.topic.slug())
    }
}

/// A place in a feed: the feed and a sequence number from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Slot {
    /// The feed.
    pub feed: FeedId,
    /// The bundle's number in it.
    pub sequence: u64,
}

impl Slot {
    /// Bytes of [`Slot::to_bytes`].
    pub const BYTES: usize = FeedId::BYTES + 8;

    /// The feed's bytes, then the sequence, big-endian.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..FeedId::BYTES].copy_from_slice(&self.feed.to_bytes());
        bytes[FeedId::BYTES..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }

    /// The slot with these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Slot> {
        let (feed, sequence) = bytes.split_at_checked(FeedId::BYTES)?;
        Some(Slot { feed: FeedId::from_bytes(feed)?, sequence: u64::from_be_bytes(sequence.try_into().ok()?) })
    }
}

/// The gossip topic of a category in a network: `/metanode/<network>/<category>/<wire version>`.
pub fn topic_name(network: &NetworkName, category: Category) -> String {
    format!("/metanode/{network}/{}/{}", category.slug(), super::WIRE_VERSION)
}
