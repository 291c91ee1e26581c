//! One message cut out of its bundle, provable to anyone who knows the network's name.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::bundle::{SIGNED_BYTES, SignedHeader};
use super::merkle::{self, Path};
use super::message::Message;
use super::refusal::Refusal;
use crate::types::{Hash, NetworkId};

/// A message, its place among the bundle's messages, and the signed header above it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// The header and its author's signature.
    pub signed: SignedHeader,
    /// The message's index in the bundle.
    pub index: u32,
    /// Siblings from the message's leaf to the root.
    pub path: Path,
    /// The bytes that were signed.
    pub message: Bytes,
}

impl Proof {
    /// Checks signature and path; on success the message inside is the author's word.
    pub fn verify(&self, network: NetworkId) -> Result<Message<'_>, Refusal> {
        self.signed.check(network)?;
        let header = &self.signed.header;
        let leaf = merkle::leaf(&self.message);
        let root = merkle::climb(leaf, self.index as usize, header.count as usize, &self.path);
        if root != Some(header.root) {
            return Err(Refusal::BadProof);
        }
        Message::decode(&self.message)
    }
}

impl Proof {
    /// The bytes it is kept as: signed header, index 4, siblings 1, each 32, message.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = self.signed.encode().to_vec();
        bytes.extend_from_slice(&self.index.to_be_bytes());
        // A bundle has at most 4,096 messages: twelve siblings.
        bytes.push(self.path.len() as u8);
        self.path.iter().for_each(|sibling| bytes.extend_from_slice(sibling.as_bytes()));
        bytes.extend_from_slice(&self.message);
        bytes.into()
    }

    /// What [`Proof::to_bytes`] made; not verified. None for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Proof> {
        let (header, rest) = bytes.split_at_checked(SIGNED_BYTES)?;
        let (index, rest) = rest.split_first_chunk::<4>()?;
        let (siblings, rest) = rest.split_first()?;
        let (path, message) = rest.split_at_checked(usize::from(*siblings) * 32)?;
        let path = path.chunks_exact(32).filter_map(|sibling| Some(Hash(sibling.try_into().ok()?)));
        Some(Proof {
            signed: SignedHeader::decode(header).ok()?,
            index: u32::from_be_bytes(*index),
            path: path.collect(),
            message: Bytes::copy_from_slice(message),
        })
    }
}

/// The form a proof is handed around in; hexadecimal in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    header: String,
    index: u32,
    path: Path,
    message: String,
}

impl Serialize for Proof {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form {
            header: hex::encode(self.signed.encode()),
            index: self.index,
            path: self.path.clone(),
            message: hex::encode(&self.message),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Proof {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        let header = hex::decode(&form.header).map_err(de::Error::custom)?;
        if header.len() != SIGNED_BYTES {
            return Err(de::Error::custom(format!("a signed header has {SIGNED_BYTES} bytes")));
        }
        let signed = SignedHeader::decode(&header).map_err(de::Error::custom)?;
        let message = hex::decode(&form.message).map_err(de::Error::custom)?.into();
        Ok(Proof { signed, index: form.index, path: form.path, message })
    }
}
