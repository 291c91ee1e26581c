//! A message: what an author says, once.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::kind::{Category, Kind};
use super::refusal::Refusal;
use crate::types::{Hash, MessageId, NodeId, WallMs, limits};

/// How urgent the author holds a message to be. Ordered from most to least urgent.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[repr(u8)]
pub enum Priority {
    Critical = 0,
    High = 1,
    #[default]
    Normal = 2,
    Low = 3,
    Bulk = 4,
}

impl Priority {
    /// Every priority, most urgent first.
    pub const ALL: [Priority; 5] =
        [Priority::Critical, Priority::High, Priority::Normal, Priority::Low, Priority::Bulk];

    /// The priority with this byte on the wire.
    pub fn from_tag(tag: u8) -> Option<Priority> {
        Priority::ALL.get(usize::from(tag)).copied()
    }

    /// The name, as in the documents: `Critical`.
    pub const fn name(self) -> &'static str {
        match self {
            Priority::Critical => "Critical",
            Priority::High => "High",
            Priority::Normal => "Normal",
            Priority::Low => "Low",
            Priority::Bulk => "Bulk",
        }
    }

    /// The rank a message is handled at: one left at Normal is ranked by its category (requirement B2).
    pub fn rank(self, category: Category) -> Priority {
        if self != Priority::Normal {
            return self;
        }
        match category {
            Category::Security => Priority::Critical,
            Category::Consensus | Category::Economic => Priority::High,
            Category::Monitoring => Priority::Low,
            Category::System | Category::Data | Category::Governance | Category::External => Priority::Normal,
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Priority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Priority::ALL
            .into_iter()
            .find(|p| p.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("`{text}` is not a priority: use Critical, High, Normal, Low or Bulk"))
    }
}

/// Whom a message is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// Everyone in the network.
    #[default]
    Everyone,
    /// One node: the message goes to it alone.
    Node(NodeId),
    /// One of those that offer a service, by name: the message goes to it alone.
    Service(String),
    /// One of the nodes of a layer, by name: the message goes to it alone.
    Layer(String),
    /// Every node of a type, by name.
    NodeType(String),
    /// Whoever follows an application topic, by name.
    Topic(String),
}

/// How a payload's bytes are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ContentType {
    /// The kind's typed payload in bincode.
    #[default]
    #[serde(rename = "application/x-bincode")]
    Bincode,
    /// The kind's typed payload as JSON text.
    #[serde(rename = "application/json")]
    Json,
}

impl ContentType {
    /// The media type.
    pub const fn name(self) -> &'static str {
        match self {
            ContentType::Bincode => "application/x-bincode",
            ContentType::Json => "application/json",
        }
    }
}

/// How a payload was sealed for one reader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Encryption {
    /// Which of the reader's keys.
    pub key_id: Hash,
    /// The sender's ephemeral public key (X25519).
    pub ephemeral: [u8; 32],
}

/// What an author says, once. Signed, and kept as the bytes that were signed. Its creation time is in its id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message<'a> {
    /// Unique, and growing along a feed.
    pub id: MessageId,
    /// The kind's tag: category in the high byte, type in the low. May be one this node does not know.
    pub kind: u16,
    /// Version of the kind's payload, from 1.
    pub schema_version: u16,
    /// How `payload` is to be read.
    pub content_type: ContentType,
    /// Whom it is for.
    pub destination: Destination,
    /// The id all messages of one conversation share.
    pub correlation: Option<MessageId>,
    /// The message this one follows from.
    pub parent: Option<MessageId>,
    /// After this it means nothing any more.
    pub expires: Option<WallMs>,
    /// Words to filter by.
    #[serde(borrow)]
    pub tags: Vec<&'a str>,
    /// The application's own entries.
    #[serde(borrow)]
    pub headers: BTreeMap<&'a str, &'a str>,
    /// Set when the payload is sealed for one reader.
    pub encryption: Option<Encryption>,
    /// The payload's bytes.
    #[serde(borrow, with = "serde_bytes")]
    pub payload: &'a [u8],
}

/// The bincode configuration of every structure on the wire: little-endian, variable-length integers.
pub(super) fn bincode_config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<{ limits::FRAME_BYTES }>()
}

impl<'a> Message<'a> {
    /// The bytes that are signed.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.payload.len());
        self.encode_into(&mut bytes);
        bytes
    }

    /// Appends the bytes that are signed.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        let written = bincode::serde::encode_into_std_write(self, bytes, bincode_config());
        debug_assert!(written.is_ok(), "a vector takes every message");
    }

    /// Reads one message, all of `bytes` and no more.
    pub fn decode(bytes: &'a [u8]) -> Result<Message<'a>, Refusal> {
        if bytes.len() > limits::MESSAGE_BYTES {
            return Err(Refusal::MessageTooLarge { size_bytes: bytes.len() });
        }
        let (message, used): (Message<'a>, usize) = bincode::serde::borrow_decode_from_slice(bytes, bincode_config())
            .map_err(|e| Refusal::Message { reason: e.to_string() })?;
        if used != bytes.len() {
            return Err(Refusal::Message { reason: format!("{} bytes after the message", bytes.len() - used) });
        }
        message.within_limits()?;
        Ok(message)
    }

    /// The known kind of the tag.
    pub fn known_kind(&self) -> Option<Kind> {
        Kind::from_tag(self.kind)
    }

    fn within_limits(&self) -> Result<(), Refusal> {
        let reason = if !self.id.is_v7() {
            "its id is not a UUID version 7"
        } else if self.tags.len() > limits::TAGS || self.tags.iter().any(|t| t.len() > limits::NAME_BYTES) {
            "too many or too long tags"
        } else if self.headers.len() > limits::HEADERS
            || self.headers.iter().any(|(k, v)| k.len() > limits::NAME_BYTES || v.len() > limits::HEADER_VALUE_BYTES)
        {
            "too many or too long headers"
        } else if self.destination.name().is_some_and(|n| n.is_empty() || n.len() > limits::NAME_BYTES) {
            "its destination's name is empty or too long"
        } else {
            return Ok(());
        };
        Err(Refusal::Message { reason: reason.into() })
    }
}

impl fmt::Display for Destination {
    /// In one word, as [`Destination::from_str`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Everyone => f.write_str("everyone"),
            Destination::Node(id) => write!(f, "node:{id}"),
            Destination::Service(name) => write!(f, "service:{name}"),
            Destination::Layer(name) => write!(f, "layer:{name}"),
            Destination::NodeType(name) => write!(f, "node_type:{name}"),
            Destination::Topic(name) => write!(f, "topic:{name}"),
        }
    }
}

impl FromStr for Destination {
    type Err = String;

    /// `everyone`, a node's id, or `node:`, `service:`, `layer:`, `node_type:`, `topic:` and a name.
    fn from_str(text: &str) -> Result<Destination, String> {
        if text == "everyone" {
            return Ok(Destination::Everyone);
        }
        let (sort, name) = text.split_once(':').unwrap_or(("node", text));
        let name_of = || name.to_string();
        match sort {
            "node" => name.parse::<NodeId>().map(Destination::Node).map_err(|e| e.to_string()),
            "service" => Ok(Destination::Service(name_of())),
            "layer" => Ok(Destination::Layer(name_of())),
            "node_type" => Ok(Destination::NodeType(name_of())),
            "topic" => Ok(Destination::Topic(name_of())),
            _ => Err(format!(
                "`{sort}` is no sort of destination: use everyone, a node's id, service:NAME, layer:NAME, \
                 node_type:NAME or topic:NAME"
            )),
        }
    }
}

impl Destination {
    /// Whether it is one reader, so that a message goes to it alone and not to everyone.
    pub fn is_direct(&self) -> bool {
        match self {
            Destination::Node(_) | Destination::Service(_) | Destination::Layer(_) => true,
            Destination::Everyone | Destination::NodeType(_) | Destination::Topic(_) => false,
        }
    }

    /// The name inside a destination that has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Destination::Everyone | Destination::Node(_) => None,
            Destination::Service(n) | Destination::Layer(n) | Destination::NodeType(n) | Destination::Topic(n) => {
                Some(n)
            }
        }
    }
}
