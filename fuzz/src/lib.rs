//! What the targets have in common: fixed keys, one network, and bundles sealed around whatever is in them.

pub mod chain;

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use metanode::types::{Hash, Incarnation, MessageId, NetworkId, NetworkName, NodeId, Stamp, WallMs, limits};
use metanode::wire::{
    Bundle, Category, ContentType, Destination, Encryption, FeedId, Header, Message, Priority, Refusal, SignedHeader,
    Verified, root_of,
};

/// When it all happens, milliseconds since 1970.
pub const START_MS: u64 = 1_700_000_000_000;

/// The network of the golden vectors.
pub fn network() -> NetworkId {
    network_name().id()
}

/// Its name.
pub fn network_name() -> NetworkName {
    "golden".parse().expect("`golden` is a network name")
}

/// The key of author `n`; 7 is the one of the golden vectors.
pub fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

/// The author with that key.
pub fn author(n: u8) -> NodeId {
    NodeId(key(n).verifying_key().to_bytes())
}

/// The whole check of bytes from elsewhere.
pub fn check(wire: &[u8]) -> Result<Verified, Refusal> {
    Verified::check(Bundle::decode(Bytes::copy_from_slice(wire))?, network())
}

/// Everything that must be true of a bundle that was believed.
pub fn believed(bundle: &Verified) {
    let header = bundle.header();
    assert_eq!(bundle.id(), header.id());
    assert_eq!(bundle.messages().count(), header.count as usize);
    let items: Vec<Bytes> = bundle.bytes().collect();
    assert_eq!(items.len(), header.count as usize);
    assert_eq!(root_of(items.iter().map(|item| &item[..])), header.root);
    let ids: Vec<MessageId> = bundle.messages().map(|m| m.id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b && a.stamp() <= b.stamp()));
    assert_eq!(ids.first().copied(), Some(bundle.first()));
    assert_eq!(ids.last().map(MessageId::stamp), Some(header.clock));
    assert!(bundle.refused().iter().all(|(index, faults)| *index < header.count && !faults.is_empty()));
    for message in bundle.messages() {
        same_again(&message);
    }
    for index in [0, items.len() / 2, items.len() - 1] {
        let proof = bundle.bundle().prove(&items, index).expect("there is such a message");
        let message = proof.verify(network()).expect("a proof of a message holds");
        assert_eq!(message.id, ids[index]);
    }
    let again = check(bundle.wire()).expect("what was believed once is believed again");
    assert_eq!(again.id(), bundle.id());
}

/// A message says the same after it was written and read.
pub fn same_again(message: &Message<'_>) {
    let bytes = message.encode();
    let again = Message::decode(&bytes).expect("what was written is read");
    assert_eq!(again, *message);
}

/// A sequence worth trying: mostly one of the first 16, else one of the last.
pub fn sequence(n: u8) -> u64 {
    if n < 192 { u64::from(n % 16) } else { limits::SEQUENCES - 1 - u64::from(n % 4) }
}

/// One message of a made-up bundle.
#[derive(Arbitrary, Debug, Clone)]
pub struct Words {
    /// Milliseconds and counts after the message before.
    pub later_ms: u16,
    pub later: u8,
    pub kind: u8,
    pub foreign_topic: bool,
    pub schema_version: u8,
    pub json: bool,
    pub destination: u8,
    pub name: String,
    pub correlation: Option<[u8; 16]>,
    pub parent: Option<[u8; 16]>,
    pub expires: Option<u64>,
    pub tags: Vec<String>,
    pub headers: BTreeMap<String, String>,
    pub sealed: bool,
    pub payload: Vec<u8>,
    /// These bytes instead of a message.
    pub raw: Option<Vec<u8>>,
}

impl Words {
    /// The message, or whatever stands in its place, at `stamp`.
    pub fn bytes(&self, topic: Category, stamp: Stamp) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let name = || self.name.clone();
        let high = if self.foreign_topic { topic.tag() ^ 1 } else { topic.tag() };
        Message {
            id: MessageId::new(stamp, 7),
            kind: u16::from(high) << 8 | u16::from(self.kind % 20),
            schema_version: u16::from(self.schema_version),
            content_type: if self.json { ContentType::Json } else { ContentType::Bincode },
            destination: match self.destination % 6 {
                0 => Destination::Everyone,
                1 => Destination::Node(author(self.kind)),
                2 => Destination::Service(name()),
                3 => Destination::Layer(name()),
                4 => Destination::NodeType(name()),
                _ => Destination::Topic(name()),
            },
            correlation: self.correlation.map(MessageId),
            parent: self.parent.map(MessageId),
            expires: self.expires.map(WallMs),
            tags: self.tags.iter().map(String::as_str).collect(),
            headers: self.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            encryption: self.sealed.then_some(Encryption { key_id: Hash([1; 32]), ephemeral: [2; 32] }),
            payload: &self.payload,
        }
        .encode()
    }
}

/// A bundle made up by the fuzzer, sealed with a key it does not have to guess.
#[derive(Arbitrary, Debug, Clone)]
pub struct Plan {
    pub author: u8,
    pub topic: u8,
    pub ephemeral: bool,
    pub priority: u8,
    pub sequence: u64,
    pub previous: [u8; 32],
    pub words: Vec<Words>,
    /// Lies told by the header, by field, before it is sealed.
    pub lie: Option<(u8, u32)>,
    /// 0 plain, 1 LZ4, 2 zstd's number on plain bytes, else that number.
    pub codec: u8,
    pub packed_lie: Option<u16>,
}

impl Plan {
    /// The bytes that travel.
    pub fn wire(&self) -> Vec<u8> {
        let topic = Category::ALL[usize::from(self.topic) % Category::ALL.len()];
        let mut stamp = Stamp::new(START_MS, 0);
        let (mut items, mut body) = (Vec::new(), Vec::new());
        for words in self.words.iter().take(64) {
            stamp = Stamp(stamp.0 + (u64::from(words.later_ms) << 16) + u64::from(words.later));
            let item = words.bytes(topic, stamp);
            body.extend_from_slice(&(item.len() as u32).to_le_bytes());
            body.extend_from_slice(&item);
            items.push(item);
        }
        let mut header = Header {
            course: if self.ephemeral { metanode::wire::Course::Ephemeral } else { metanode::wire::Course::Feed },
            priority: Priority::ALL[usize::from(self.priority) % 5],
            network: network(),
            feed: FeedId { author: author(self.author), incarnation: Incarnation(1), topic },
            sequence: self.sequence,
            previous: Hash(self.previous),
            clock: stamp,
            count: items.len() as u32,
            body_bytes: body.len() as u32,
            root: root_of(items.iter().map(Vec::as_slice)),
        };
        match self.lie {
            None => {}
            Some((0, n)) => header.count = n,
            Some((1, n)) => header.body_bytes = n,
            Some((2, n)) => header.clock = Stamp(header.clock.0.wrapping_add(u64::from(n))),
            Some((3, n)) => header.clock = Stamp(u64::MAX - u64::from(n)),
            Some((_, n)) => header.root.0[0] ^= n as u8,
        }
        let (tag, packed) = match self.codec {
            1 => (1, lz4_flex::block::compress(&body)),
            other => (other, body),
        };
        let size = self.packed_lie.map_or(packed.len() as u32, u32::from);
        [&signed(header, self.author).encode()[..], &[tag], &size.to_le_bytes(), &packed].concat()
    }
}

/// A header under the signature of author `n`.
pub fn signed(header: Header, n: u8) -> SignedHeader {
    let signature = header.statement(&header.encode()).sign(&key(n));
    SignedHeader { header, signature }
}
