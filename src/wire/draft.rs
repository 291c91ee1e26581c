//! What a client asks its node to say. The node gives it an id and a place; the draft holds the rest.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::bundle::Course;
use super::fault::{FaultCode, Faults};
use super::kind::{Kind, Payload};
use super::message::{ContentType, Destination, Encryption, Message, Priority};
use crate::types::{Hash, MessageId, WallMs, limits};

/// What one signature is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Seal {
    /// As many messages as wait together: the fast way, and each of them can still be proved alone.
    #[default]
    Bundle,
    /// This message only: what is shown of it to others says nothing of its neighbours.
    Each,
}

impl std::fmt::Display for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Seal::Bundle => "bundle",
            Seal::Each => "each",
        })
    }
}

impl std::str::FromStr for Seal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bundle" => Ok(Seal::Bundle),
            "each" => Ok(Seal::Each),
            _ => Err(format!("`{text}` is not a way to sign: use bundle or each")),
        }
    }
}

/// A message without an id, its payload typed and checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Draft {
    kind: Kind,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
    /// Set once the payload is sealed for its reader.
    encryption: Option<Encryption>,
    /// Only the node it is for may read it: it does not leave before its payload is sealed.
    pub confidential: bool,
    /// How urgent.
    pub priority: Priority,
    /// For whom.
    pub destination: Destination,
    /// The conversation it belongs to.
    pub correlation: Option<MessageId>,
    /// The message it follows from.
    pub parent: Option<MessageId>,
    /// After this it means nothing.
    pub expires: Option<WallMs>,
    /// Words to filter by.
    pub tags: Vec<String>,
    /// The application's own entries.
    pub headers: BTreeMap<String, String>,
    /// What its signature is over.
    pub seal: Seal,
    /// A second draft with the same key is the same message.
    pub idempotency: Option<Hash>,
}

impl Draft {
    /// A draft that says `payload` to everyone at Normal priority.
    pub fn new(payload: &Payload) -> Draft {
        Draft {
            kind: payload.kind(),
            payload: payload.encode(),
            encryption: None,
            confidential: false,
            priority: Priority::Normal,
            destination: Destination::Everyone,
            correlation: None,
            parent: None,
            expires: None,
            tags: Vec::new(),
            headers: BTreeMap::new(),
            seal: Seal::Bundle,
            idempotency: None,
        }
    }

    /// The kind of its payload.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How it travels: what goes to one reader goes directly, unless it is worth something now or never.
    pub fn course(&self) -> Course {
        match (self.kind.is_ephemeral(), self.destination.is_direct()) {
            (true, _) => Course::Ephemeral,
            (false, true) => Course::Direct,
            (false, false) => Course::Feed,
        }
    }

    /// Whether its payload is sealed for one reader.
    pub fn is_sealed(&self) -> bool {
        self.encryption.is_some()
    }

    /// Puts the sealed payload in the place of the open one.
    pub(super) fn close(&mut self, encryption: Encryption, ciphertext: Vec<u8>) {
        self.payload.zeroize();
        (self.payload, self.encryption) = (ciphertext, Some(encryption));
    }

    /// The payload in its binary form; its ciphertext once it is sealed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What its message takes in the common case, bytes: payload, tags, headers, and what surrounds them.
    pub fn size_bytes(&self) -> usize {
        const FIXED: usize = 96;
        const LENGTH: usize = 5;
        let tags: usize = self.tags.iter().map(|tag| tag.len() + LENGTH).sum();
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 2 * LENGTH).sum();
        let name = self.destination.name().map_or(0, str::len);
        FIXED + name + tags + headers + self.payload.len()
    }

    /// Everything that is wrong with what surrounds the payload.
    pub fn check(&self, wall: WallMs, faults: &mut Faults) {
        let mut limit = |holds: bool, path: &str, detail: fmt::Arguments<'_>| {
            if !holds {
                faults.add(FaultCode::TooLarge, path, detail.to_string());
            }
        };
        let name = limits::NAME_BYTES;
        limit(self.tags.len() <= limits::TAGS, "/tags", format_args!("at most {} tags", limits::TAGS));
        limit(self.tags.iter().all(|t| t.len() <= name), "/tags", format_args!("a tag has at most {name} bytes"));
        limit(self.headers.len() <= limits::HEADERS, "/headers", format_args!("at most {} headers", limits::HEADERS));
        limit(
            self.headers.keys().all(|k| k.len() <= name),
            "/headers",
            format_args!("a name has at most {name} bytes"),
        );
        let value = limits::HEADER_VALUE_BYTES;
        limit(
            self.headers.values().all(|v| v.len() <= value),
            "/headers",
            format_args!("a value has at most {value} bytes"),
        );
        let fits = self.destination.name().is_none_or(|n| (1..=name).contains(&n.len()));
        limit(fits, "/destination", format_args!("a name has 1 to {name} bytes"));
        // Ids and times that are seldom there, and what sealing adds.
        const SELDOM: usize = 144;
        let (size, most) = (self.size_bytes() + SELDOM, limits::MESSAGE_BYTES);
        limit(size <= most, "/payload", format_args!("with tags and headers it has {size} bytes; {most} are allowed"));
        if self.expires.is_some_and(|at| at <= wall) {
            faults.add(FaultCode::Expired, "/expires_at", "expires_at is past");
        }
    }

    /// The message this draft becomes under `id`.
    pub fn message(&self, id: MessageId) -> Message<'_> {
        Message {
            id,
            kind: self.kind.tag(),
            schema_version: self.kind.schema_version(),
            content_type: ContentType::Bincode,
            destination: self.destination.clone(),
            correlation: self.correlation,
            parent: self.parent,
            expires: self.expires,
            tags: self.tags.iter().map(String::as_str).collect(),
            headers: self.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            encryption: self.encryption.clone(),
            payload: &self.payload,
        }
    }
}
