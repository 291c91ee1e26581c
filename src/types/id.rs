//! Who and what: nodes, networks, messages, incarnations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use super::hash::{Domain, Hash};
use super::time::Stamp;

/// A node's ed25519 public key.
///
/// Text form: the libp2p peer id of that key (base58btc of an identity multihash, `12D3Koo…`), so that operators see
/// one name for a node everywhere. The conversion loses nothing in either direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

/// Multihash and protobuf header of an ed25519 libp2p peer id (libp2p specs, `peer-ids.md`).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("`{0}` is not a node id: give the peer id that `metanode key show` prints (12D3Koo…)")]
    Node(String),
    #[error("`{0}` is not a network name: use 1 to 32 of a-z, 0-9 and -")]
    Network(String),
    #[error("`{0}` is not a message id: give a UUID, as `metanode pub` prints it")]
    Message(String),
}

impl NodeId {
    /// The bytes of the public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes of the libp2p peer id.
    pub fn peer_id_bytes(&self) -> [u8; 38] {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// The node whose libp2p peer id has these bytes; none for a peer whose key is not ed25519.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Option<NodeId> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        key.try_into().ok().map(NodeId)
    }

    /// The last eight characters of the text form, for logs and tables.
    pub fn short(&self) -> String {
        let text = self.to_string();
        text[text.len().saturating_sub(8)..].to_string()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.peer_id_bytes()).into_string())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.short())
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 64];
        let size = bs58::decode(text).onto(&mut bytes[..]).map_err(|_| IdError::Node(text.into()))?;
        NodeId::from_peer_id_bytes(&bytes[..size]).ok_or_else(|| IdError::Node(text.into()))
    }
}

/// The name operators give a network. 1 to 32 of `a-z`, `0-9`, `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NetworkName(String);

impl NetworkName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 32 bytes under every signature of this network.
    pub fn id(&self) -> NetworkId {
        NetworkId(Domain::Network.hash(&[self.0.as_bytes()]))
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NetworkName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let fits = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(NetworkName(text.into())) } else { Err(IdError::Network(text.into())) }
    }
}

/// The identity of a network: the digest of its name. What is signed for one network means nothing in another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NetworkId(pub Hash);

/// Which life of an author a feed belongs to. Fresh after anything but a clean restart, so that a lost tail or a
/// restored backup begins a new chain instead of forking the old one. JSON: decimal digits in quotes, since many readers
/// of JSON have no integers above 2^53.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Incarnation(pub u64);

impl Serialize for Incarnation {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(&self.0) } else { to.serialize_u64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Incarnation {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Incarnation, D::Error> {
        if !from.is_human_readable() {
            return u64::deserialize(from).map(Incarnation);
        }
        let digits = String::deserialize(from)?;
        let number = digits.parse().map_err(|e| serde::de::Error::custom(format!("an incarnation is digits: {e}")))?;
        Ok(Incarnation(number))
    }
}

impl schemars::JsonSchema for Incarnation {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Incarnation".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9]{1,20}$", "description": "Which life of an author"})
    }
}

/// A message's id: a UUID version 7 (RFC 9562, section 5.7) whose time and counter are the author's hybrid logical
/// clock, so an id says when its message was created and ids of one author only grow.
///
/// ```text
///  48 bits        4     12 bits             2     4 bits           58 bits
///  milliseconds   ver   counter, high part  var   counter, low     the author's suffix for this incarnation
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    const SUFFIX_BITS: u64 = (1 << 58) - 1;

    /// The id of the message created at `stamp` by the author life that `suffix` (58 bits) marks.
    pub fn new(stamp: Stamp, suffix: u64) -> MessageId {
        let counter = u64::from(stamp.counter());
        let high = (stamp.ms() << 16) | 0x7000 | (counter >> 4);
        let low = (0b10 << 62) | ((counter & 0xF) << 58) | (suffix & Self::SUFFIX_BITS);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        MessageId(bytes)
    }

    /// When the message was created, by its author's hybrid logical clock.
    pub fn stamp(&self) -> Stamp {
        let value = u128::from_be_bytes(self.0);
        let ms = (value >> 80) as u64;
        let counter = (((value >> 64) & 0xFFF) << 4 | (value >> 58) & 0xF) as u16;
        Stamp::new(ms, counter)
    }

    /// Whether version and variant are those of a UUID version 7.
    pub fn is_v7(&self) -> bool {
        self.0[6] >> 4 == 7 && self.0[8] >> 6 == 0b10
    }

    /// The bytes, big-endian, as in RFC 9562.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MessageId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::parse_str(text).map(|u| MessageId(*u.as_bytes())).map_err(|_| IdError::Message(text.into()))
    }
}

/// Text for people (JSON), raw bytes on the wire (bincode), for a fixed-size id.
macro_rules! text_or_bytes {
    ($id:ident, $size:literal, $schema:tt) => {
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
                } else {
                    <[u8; $size]>::deserialize(deserializer).map($id)
                }
            }
        }

        impl schemars::JsonSchema for $id {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($id).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

text_or_bytes!(NodeId, 32, {"type": "string", "description": "libp2p peer id of an ed25519 key", "minLength": 40, "maxLength": 64});
text_or_bytes!(MessageId, 16, {"type": "string", "format": "uuid", "description": "UUID version 7"});
