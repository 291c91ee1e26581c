//! Which write: a version of a cell of replicated state.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::hash::{Domain, Hash};
use super::id::NodeId;
use super::time::Stamp;

/// Names one write, and orders all writes of a cell: by its author's stamp, then by a digest over who said what, so
/// that the order is total even when an author says two things under one stamp. Text form: 48 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version {
    /// When, by its author's hybrid logical clock.
    pub stamp: Stamp,
    /// The first 16 bytes of a digest over author, message and place in it.
    pub digest: [u8; 16],
}

impl Version {
    /// Bytes of the binary form.
    pub const BYTES: usize = 24;
    /// After every version that can be: stamps so far ahead are refused.
    pub const MAX: Version = Version { stamp: Stamp(u64::MAX), digest: [u8::MAX; 16] };

    /// The version that change number `index` of a message makes. `checksum` is the message's, over all its bytes.
    pub fn of(stamp: Stamp, author: NodeId, checksum: Hash, index: u16) -> Version {
        let full = Domain::Write.hash(&[author.as_bytes(), checksum.as_bytes(), &index.to_le_bytes()]);
        let mut digest = [0; 16];
        digest.copy_from_slice(&full.as_bytes()[..16]);
        Version { stamp, digest }
    }

    /// The version after this one; the last has none after it.
    pub fn next(self) -> Version {
        match u128::from_be_bytes(self.digest).checked_add(1) {
            Some(digest) => Version { digest: digest.to_be_bytes(), ..self },
            None => Version { stamp: Stamp(self.stamp.0.saturating_add(1)), digest: [0; 16] },
        }
    }

    /// Stamp 8, big-endian, digest 16: ordered as versions are.
    pub fn to_bytes(self) -> [u8; Version::BYTES] {
        let mut bytes = [0; Version::BYTES];
        bytes[..8].copy_from_slice(&self.stamp.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.digest);
        bytes
    }

    /// Reads [`Version::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Version> {
        let (stamp, digest) = bytes.split_first_chunk::<8>()?;
        Some(Version { stamp: Stamp(u64::from_be_bytes(*stamp)), digest: digest.try_into().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_bytes()))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}+{}", self.stamp, hex::encode(&self.digest[..3]))
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Version, String> {
        let bytes = hex::decode(text).ok().and_then(|bytes| Version::from_bytes(&bytes));
        bytes.ok_or_else(|| format!("`{text}` is not a version: give the 48 hexadecimal digits of one"))
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { self.to_bytes().serialize(to) }
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Version, D::Error> {
        if from.is_human_readable() {
            return String::deserialize(from)?.parse().map_err(de::Error::custom);
        }
        let bytes = <[u8; Version::BYTES]>::deserialize(from)?;
        Version::from_bytes(&bytes).ok_or_else(|| de::Error::custom("a version has 24 bytes"))
    }
}

impl schemars::JsonSchema for Version {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9a-fA-F]{48}$", "description": "A write to replicated state"})
    }
}
