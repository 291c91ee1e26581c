//! A bundle: messages of one author, one topic, one priority, under one signature. What travels, and what is kept.
//!
//! ```text
//!    0 version 1 │ flags 1 │ priority 1 │ topic 1 │ incarnation 8 │ sequence 8 │ clock 8 │ previous 32 │ body_bytes 4
//!   64 network 32 │ author 32 │ count 4 │ root 32
//!  164 signature 64                                         all numbers little-endian
//!  228 codec 1 │ packed_bytes 4
//!  233 body, packed: count times (size 4, message)
//! ```

use bytes::Bytes;

use super::codec::Codec;
use super::feed_id::{FeedId, Slot};
use super::kind::Category;
use super::merkle;
use super::message::{Message, Priority};
use super::proof::Proof;
use super::refusal::Refusal;
use super::seal::{Label, Signature, Statement};
use super::signatures::verify_strict;
use crate::types::{Domain, Hash, Incarnation, NetworkId, NodeId, Stamp, limits};

/// The version of everything on the wire.
pub const WIRE_VERSION: u8 = 1;
/// Bytes of a header, without the signature.
pub const HEADER_BYTES: usize = 164;
/// Bytes of the part of a header that is the statement's position.
const POSITION_BYTES: usize = 64;
/// Bytes of header and signature.
pub const SIGNED_BYTES: usize = HEADER_BYTES + 64;
/// Bytes before the body.
pub const PREFIX_BYTES: usize = SIGNED_BYTES + 5;

const FLAG_EPHEMERAL: u8 = 0x01;
const FLAG_DIRECT: u8 = 0x02;

/// How a bundle goes through the network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Course {
    /// In its author's feed: numbered, kept by everyone, fetched by whoever missed it.
    Feed,
    /// To whoever listens now: outside the feed, kept by nobody.
    Ephemeral,
    /// To one reader: outside the feed, kept by it and by its author.
    Direct,
}

impl Course {
    fn flags(self) -> u8 {
        match self {
            Course::Feed => 0,
            Course::Ephemeral => FLAG_EPHEMERAL,
            Course::Direct => FLAG_DIRECT,
        }
    }

    fn from_flags(flags: u8) -> Option<Course> {
        [Course::Feed, Course::Ephemeral, Course::Direct].into_iter().find(|course| course.flags() == flags)
    }
}

/// What a bundle says of itself, all of it signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// How it travels.
    pub course: Course,
    /// The priority of all its messages.
    pub priority: Priority,
    /// The network it is for.
    pub network: NetworkId,
    /// The feed it belongs to.
    pub feed: FeedId,
    /// Its number in the feed, from 0; 0 outside the feed.
    pub sequence: u64,
    /// The id of the bundle before it; zero for the first and outside the feed.
    pub previous: Hash,
    /// The stamp of its last message.
    pub clock: Stamp,
    /// How many messages.
    pub count: u32,
    /// Size of the body before packing, bytes.
    pub body_bytes: u32,
    /// Merkle root over the messages.
    pub root: Hash,
}

impl Header {
    /// The place it is kept at: in the feed, or, for a direct one, beside it, by its clock. No two bundles of an author
    /// have one clock.
    pub fn slot(&self) -> Slot {
        let sequence = match self.course {
            Course::Feed | Course::Ephemeral => self.sequence,
            Course::Direct => limits::SEQUENCES | self.clock.0,
        };
        Slot { feed: self.feed, sequence }
    }

    /// The bundle's id: a digest of the header, without the signature.
    pub fn id(&self) -> Hash {
        Domain::Bundle.hash(&[&self.encode()])
    }

    /// The bytes, as laid out above.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        put(&[WIRE_VERSION, self.course.flags(), self.priority as u8, self.feed.topic.tag()]);
        put(&self.feed.incarnation.0.to_le_bytes());
        put(&self.sequence.to_le_bytes());
        put(&self.clock.0.to_le_bytes());
        put(&self.previous.0);
        put(&self.body_bytes.to_le_bytes());
        put(&self.network.0.0);
        put(&self.feed.author.0);
        put(&self.count.to_le_bytes());
        put(&self.root.0);
        bytes
    }

    /// Reads a header; checks its shape, not its signature.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, Refusal> {
        let mut fields = Fields(bytes);
        let [version, flags, priority, topic] = fields.take();
        if version != WIRE_VERSION {
            return Err(Refusal::Version { version });
        }
        let course = Course::from_flags(flags).ok_or(Refusal::Flags { flags })?;
        let topic = Category::from_tag(topic).ok_or(Refusal::Topic { tag: topic })?;
        let incarnation = Incarnation(u64::from_le_bytes(fields.take()));
        let sequence = u64::from_le_bytes(fields.take());
        let clock = Stamp(u64::from_le_bytes(fields.take()));
        let previous = Hash(fields.take());
        let body_bytes = u32::from_le_bytes(fields.take());
        let network = NetworkId(Hash(fields.take()));
        let author = NodeId(fields.take());
        let count = u32::from_le_bytes(fields.take());
        let header = Header {
            course,
            priority: Priority::from_tag(priority).ok_or(Refusal::Priority { tag: priority })?,
            network,
            feed: FeedId { author, incarnation, topic },
            sequence,
            previous,
            clock,
            count,
            body_bytes,
            root: Hash(fields.take()),
        };
        header.within_limits()?;
        Ok(header)
    }

    fn within_limits(&self) -> Result<(), Refusal> {
        if self.count == 0 || self.count as usize > limits::BUNDLE_MESSAGES {
            return Err(Refusal::Count { count: self.count });
        }
        if self.body_bytes as usize > limits::BUNDLE_BYTES {
            return Err(Refusal::TooLarge { size_bytes: self.body_bytes as usize });
        }
        if self.sequence >= limits::SEQUENCES {
            return Err(Refusal::Sequence { sequence: self.sequence });
        }
        let first = self.sequence == 0;
        if (self.course != Course::Feed && !first) || (first != (self.previous == Hash::ZERO)) {
            return Err(Refusal::OutsideFeed);
        }
        if self.course == Course::Direct && self.clock.0 >= limits::SEQUENCES {
            return Err(Refusal::Sequence { sequence: self.clock.0 });
        }
        Ok(())
    }

    /// What the author signs.
    pub fn statement<'a>(&self, encoded: &'a [u8; HEADER_BYTES]) -> Statement<'a> {
        Statement {
            label: Label::Bundle,
            network: self.network,
            author: self.feed.author,
            count: self.count,
            root: self.root,
            position: &encoded[..POSITION_BYTES],
        }
    }
}

/// Takes fields off the front of a header; the sizes of [`Header::decode`] add up to [`HEADER_BYTES`].
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *field
    }
}

/// A header with the author's signature over it: proof of what a feed's slot holds, without the messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedHeader {
    /// What is signed.
    pub header: Header,
    /// By the author.
    pub signature: Signature,
}

impl SignedHeader {
    /// Header, then signature.
    pub fn encode(&self) -> [u8; SIGNED_BYTES] {
        let mut bytes = [0; SIGNED_BYTES];
        bytes[..HEADER_BYTES].copy_from_slice(&self.header.encode());
        bytes[HEADER_BYTES..].copy_from_slice(&self.signature.0);
        bytes
    }

    /// Reads header and signature from the front of `bytes`; checks shape only.
    pub fn decode(bytes: &[u8]) -> Result<SignedHeader, Refusal> {
        let truncated = Refusal::Truncated { have: bytes.len(), need: SIGNED_BYTES };
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Err(truncated) };
        let Some((signature, _)) = rest.split_first_chunk::<64>() else { return Err(truncated) };
        Ok(SignedHeader { header: Header::decode(header)?, signature: Signature(*signature) })
    }

    /// Checks network and signature.
    pub fn check(&self, network: NetworkId) -> Result<(), Refusal> {
        SignedHeader::check_all([self], network).pop().unwrap_or(Err(Refusal::BadSignature))
    }

    /// The same of many, each by itself: together it costs less.
    pub fn check_all<'a>(
        headers: impl IntoIterator<Item = &'a SignedHeader>,
        network: NetworkId,
    ) -> Vec<Result<(), Refusal>> {
        let headers: Vec<&SignedHeader> = headers.into_iter().collect();
        let here = headers.iter().filter(|signed| signed.header.network == network);
        let claims = here.map(|signed| signed.header.statement(&signed.header.encode()).claim(&signed.signature));
        let mut signed = verify_strict(&claims.collect::<Vec<_>>()).into_iter();
        let answer = |of: &SignedHeader| match of.header.network == network {
            false => Err(Refusal::WrongNetwork),
            true if signed.next() == Some(true) => Ok(()),
            true => Err(Refusal::BadSignature),
        };
        headers.into_iter().map(answer).collect()
    }
}

/// A bundle whose shape is right and whose word nobody has checked yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle {
    pub(super) signed: SignedHeader,
    pub(super) codec: Codec,
    pub(super) wire: Bytes,
}

impl Bundle {
    /// Takes a frame apart. Nothing is unpacked or allocated for what the frame claims.
    pub fn decode(wire: Bytes) -> Result<Bundle, Refusal> {
        if wire.len() < PREFIX_BYTES {
            return Err(Refusal::Truncated { have: wire.len(), need: PREFIX_BYTES });
        }
        if wire.len() > limits::BUNDLE_BYTES + PREFIX_BYTES {
            return Err(Refusal::TooLarge { size_bytes: wire.len() });
        }
        let signed = SignedHeader::decode(&wire)?;
        let mut prefix = Fields(&wire[SIGNED_BYTES..PREFIX_BYTES]);
        let [codec] = prefix.take();
        let packed_bytes = u32::from_le_bytes(prefix.take()) as usize;
        let need = packed_bytes.saturating_add(PREFIX_BYTES);
        if wire.len() != need {
            return Err(Refusal::Truncated { have: wire.len(), need });
        }
        Ok(Bundle { signed, codec: Codec::from_tag(codec)?, wire })
    }

    /// How long the bundle at the front of `bytes` says it is.
    pub fn size_of(bytes: &[u8]) -> Option<usize> {
        let packed_bytes = bytes.get(PREFIX_BYTES - 4..)?.first_chunk::<4>()?;
        Some((u32::from_le_bytes(*packed_bytes) as usize).saturating_add(PREFIX_BYTES))
    }

    /// How urgent a gossip frame says its first bundle is. Nothing is checked yet: this decides who waits, not what is
    /// believed.
    pub fn urgency(frame: &[u8]) -> Priority {
        let (priority, topic) = (frame.get(2).copied(), frame.get(3).copied());
        let priority = priority.and_then(Priority::from_tag).unwrap_or(Priority::Bulk);
        topic.and_then(Category::from_tag).map_or(Priority::Bulk, |topic| priority.rank(topic))
    }

    /// Takes a gossip frame apart: one bundle after the other, each with its size in front of its body.
    pub fn split(frame: Bytes) -> Result<Vec<Bundle>, Refusal> {
        let (mut rest, mut bundles, mut body_bytes) = (frame, Vec::new(), 0);
        while !rest.is_empty() || bundles.is_empty() {
            if bundles.len() == limits::FRAME_BUNDLES {
                return Err(Refusal::Frame { reason: format!("more than {} bundles", limits::FRAME_BUNDLES) });
            }
            let truncated = Refusal::Truncated { have: rest.len(), need: PREFIX_BYTES };
            let need = Bundle::size_of(&rest).ok_or(truncated)?;
            if rest.len() < need {
                return Err(Refusal::Truncated { have: rest.len(), need });
            }
            let bundle = Bundle::decode(rest.split_to(need))?;
            body_bytes += bundle.header().body_bytes as usize;
            if body_bytes > limits::FRAME_BODY_BYTES {
                return Err(Refusal::TooLarge { size_bytes: body_bytes });
            }
            bundles.push(bundle);
        }
        Ok(bundles)
    }

    /// What it says of itself.
    pub fn header(&self) -> &Header {
        &self.signed.header
    }

    /// Header and signature.
    pub fn signed_header(&self) -> &SignedHeader {
        &self.signed
    }

    /// How the body is packed.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The bytes it came as.
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// The body, unpacked within the bound its header was checked for.
    pub fn unpack(&self) -> Result<Bytes, Refusal> {
        let packed = self.wire.slice(PREFIX_BYTES..);
        let size_bytes = self.signed.header.body_bytes as usize;
        match self.codec {
            Codec::Plain if packed.len() == size_bytes => Ok(packed),
            Codec::Plain => Err(Refusal::Packing),
            Codec::Lz4 | Codec::Zstd => self.codec.unpack(&packed, size_bytes).map(Bytes::from),
        }
    }
}

impl Bundle {
    /// The messages' bytes of this bundle's unpacked body, up to the first place where it does not divide.
    pub fn divide<'a>(&self, body: &'a Bytes) -> impl Iterator<Item = Bytes> + use<'a> {
        divide(body).map_while(|item| item.map(|item| body.slice_ref(item)))
    }

    /// Cuts one of the bundle's messages out, with the proof that makes it stand alone.
    pub fn prove(&self, items: &[Bytes], index: usize) -> Option<Proof> {
        let message = items.get(index)?.clone();
        let path = merkle::path(items.iter().map(|item| merkle::leaf(item)).collect(), index)?;
        Some(Proof { signed: self.signed.clone(), index: index as u32, path, message })
    }
}

/// The messages of an unpacked body, as far as they can be read.
pub fn messages_in(body: &[u8]) -> impl Iterator<Item = Message<'_>> {
    divide(body).flatten().filter_map(|item| Message::decode(item).ok())
}

/// Divides an unpacked body into its messages' bytes; `None` ends a body that does not divide.
pub(super) fn divide(body: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let item = rest.split_first_chunk::<4>().and_then(|(size, tail)| {
            let size = u32::from_le_bytes(*size) as usize;
            tail.split_at_checked(size)
        });
        rest = item.map_or(&[], |(_, tail)| tail);
        Some(item.map(|(item, _)| item))
    })
}
