//! The envelope: what a client sees of a message, under the names of the documents.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::feed::Entry;
use crate::types::{Hash, Incarnation, MessageId, NodeId, WallMs};
use crate::wire::{
    Category, Codec, ContentType, Destination, Hop, Hops, Kind, Message, Payload, Priority, Proof, checksum,
};

/// A message and everything known of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Envelope<'a> {
    /// UUID version 7; unique in the network.
    pub id: MessageId,
    /// The conversation it belongs to.
    pub correlation_id: Option<MessageId>,
    /// The message it follows from.
    pub parent_id: Option<MessageId>,
    /// What it is about.
    pub category: String,
    /// Its type within the category.
    pub message_type: String,
    /// As its author ranked it.
    pub priority: Priority,
    /// Its author.
    pub source: NodeId,
    /// Whom it is for.
    pub destination: Destination,
    /// The nodes it passed, its author first, when it came directly. The way of what is gossiped is not recorded.
    pub routing_path: Vec<Hop>,
    /// What it says: the typed payload, or `{"hex": …}` where this node does not know the kind, the version or the
    /// key.
    #[schemars(with = "serde_json::Value")]
    pub payload: Body<'a>,
    /// About the payload.
    pub metadata: Metadata<'a>,
    /// When its author created it, milliseconds since 1970.
    pub created_at: WallMs,
    /// After this it means nothing, milliseconds since 1970.
    pub expires_at: Option<WallMs>,
    /// How often its delivery was tried again.
    pub retry_count: u32,
    /// The ed25519 signature over the bundle it came in, hexadecimal.
    pub signature: String,
    /// The reader's key it is sealed for.
    pub encryption_key_id: Option<Hash>,
    /// BLAKE3 over 0x00 and the signed bytes: its leaf in the tree under the signature.
    pub checksum: Hash,
    /// Its place in this node's log; none for what is not kept.
    pub position: Option<u64>,
    /// When it came to this node, milliseconds since 1970.
    pub arrived_at: Option<WallMs>,
    /// The life of its author.
    pub incarnation: Incarnation,
    /// Its bundle's number in the author's feed.
    pub sequence: u64,
}

/// About a payload.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Metadata<'a> {
    /// Version of the kind's schema.
    pub schema_version: u16,
    /// The media type its bytes were signed as.
    pub content_type: ContentType,
    /// The encoding of those bytes.
    pub encoding: &'static str,
    /// How the bundle around it is packed.
    pub compression: &'static str,
    /// Size of those bytes.
    pub size_bytes: usize,
    /// Words to filter by.
    pub tags: Vec<&'a str>,
    /// The application's own entries.
    pub custom_headers: BTreeMap<&'a str, &'a str>,
}

/// A payload, read as well as this node can.
#[derive(Debug)]
pub enum Body<'a> {
    /// Of a known kind.
    Typed(Box<Payload>),
    /// Sealed, or of a kind or version this node does not know.
    Bytes(&'a [u8]),
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Body::Typed(payload) => payload.serialize(to),
            Body::Bytes(bytes) => to.collect_map([("hex", hex::encode(bytes))]),
        }
    }
}

impl<'a> Body<'a> {
    fn of(message: &Message<'a>) -> Body<'a> {
        Body::typed(message).map_or(Body::Bytes(message.payload), |payload| Body::Typed(Box::new(payload)))
    }

    fn typed(message: &Message<'a>) -> Option<Payload> {
        let kind = message.known_kind()?;
        if message.encryption.is_some() || message.schema_version != kind.schema_version() {
            return None;
        }
        match message.content_type {
            ContentType::Bincode => Payload::decode(kind, message.payload).ok(),
            ContentType::Json => Payload::from_json_str(kind, std::str::from_utf8(message.payload).ok()?).ok(),
        }
    }
}

impl<'a> Envelope<'a> {
    /// A message of the log; none if its bytes are damaged.
    pub fn kept(entry: &'a Entry) -> Option<Envelope<'a>> {
        let known = Known::of_entry(entry);
        Some(Envelope::new(entry.message()?, &entry.bytes, Known { position: Some(entry.position), ..known }))
    }

    /// A message that is not kept.
    pub fn ephemeral(entry: &'a Entry) -> Option<Envelope<'a>> {
        Some(Envelope::new(entry.message()?, &entry.bytes, Known::of_entry(entry)))
    }

    /// The message that a proof is about; the proof is not checked here.
    pub fn proved(proof: &'a Proof) -> Option<Envelope<'a>> {
        let header = &proof.signed.header;
        let known = Known {
            position: None,
            arrived: None,
            author: header.feed.author,
            incarnation: header.feed.incarnation,
            sequence: header.sequence,
            priority: header.priority,
            signature: &proof.signed.signature.0,
            codec: Codec::Plain,
            hops: None,
        };
        Some(Envelope::new(Message::decode(&proof.message).ok()?, &proof.message, known))
    }

    fn new(message: Message<'a>, bytes: &'a [u8], known: Known<'a>) -> Envelope<'a> {
        let (category, message_type) = names(message.kind);
        Envelope {
            id: message.id,
            correlation_id: message.correlation,
            parent_id: message.parent,
            category,
            message_type,
            priority: known.priority,
            source: known.author,
            routing_path: known.hops.map(|hops| hops.passed.clone()).unwrap_or_default(),
            payload: Body::of(&message),
            metadata: Metadata {
                schema_version: message.schema_version,
                content_type: message.content_type,
                encoding: encoding(message.content_type),
                compression: known.codec.name(),
                size_bytes: message.payload.len(),
                tags: message.tags,
                custom_headers: message.headers,
            },
            created_at: message.id.stamp().wall(),
            expires_at: message.expires,
            retry_count: known.hops.map_or(0, |hops| hops.retries),
            signature: hex::encode(known.signature),
            encryption_key_id: message.encryption.map(|e| e.key_id),
            checksum: checksum(bytes),
            position: known.position,
            arrived_at: known.arrived,
            incarnation: known.incarnation,
            sequence: known.sequence,
            destination: message.destination,
        }
    }
}

/// What is known of a message from what is around it.
struct Known<'a> {
    position: Option<u64>,
    arrived: Option<WallMs>,
    author: NodeId,
    incarnation: Incarnation,
    sequence: u64,
    priority: Priority,
    signature: &'a [u8; 64],
    codec: Codec,
    hops: Option<&'a Hops>,
}

impl<'a> Known<'a> {
    fn of_entry(entry: &'a Entry) -> Known<'a> {
        Known {
            position: None,
            arrived: Some(entry.arrived),
            author: entry.author,
            incarnation: entry.incarnation,
            sequence: entry.sequence,
            priority: entry.priority,
            signature: &entry.signature.0,
            codec: entry.codec,
            hops: entry.hops.as_ref(),
        }
    }
}

/// Category and type, as numbers where this node does not know them.
fn names(tag: u16) -> (String, String) {
    let [high, low] = tag.to_be_bytes();
    let category = Category::from_tag(high).map_or_else(|| high.to_string(), |c| c.name().to_string());
    let message_type = Kind::from_tag(tag).map_or_else(|| low.to_string(), |k| k.name().to_string());
    (category, message_type)
}

const fn encoding(content: ContentType) -> &'static str {
    match content {
        ContentType::Bincode => "bincode",
        ContentType::Json => "utf-8",
    }
}
