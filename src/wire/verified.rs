//! A bundle whose author, root and messages have been checked: the only form the node takes.

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::bundle::{Bundle, Course, Header, PREFIX_BYTES, SIGNED_BYTES, SignedHeader, divide};
use super::codec::{Codec, Packing};
use super::fault::Faults;
use super::feed_id::Slot;
use super::kind::{Kind, Payload};
use super::merkle;
use super::message::{ContentType, Message};
use super::refusal::Refusal;
use super::signatures::TOGETHER;
use crate::types::{Hash, MessageId, NetworkId, Stamp, limits};

/// A message that belongs to a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Correlated {
    /// Its index in the bundle.
    pub index: u32,
    /// The conversation.
    pub correlation: MessageId,
    /// The message.
    pub id: MessageId,
}

/// A bundle that is genuine: right network, strict signature, root over the messages, ids that grow within the
/// bundle's time, every message well formed. Whether single messages break their kind's rules is noted, not fatal:
/// the chain must be able to go on past them.
#[derive(Clone, Debug)]
pub struct Verified {
    bundle: Bundle,
    id: Hash,
    body: Bytes,
    first: MessageId,
    correlated: Vec<Correlated>,
    writes: Vec<u32>,
    refused: Vec<(u32, Faults)>,
}

impl Verified {
    /// Checks everything about a bundle that does not depend on when or where it is seen.
    pub fn check(bundle: Bundle, network: NetworkId) -> Result<Verified, Refusal> {
        bundle.signed.check(network)?;
        Verified::signed(bundle)
    }

    /// The same of many, in their order. Signatures are checked some at a time, which costs less for each.
    pub fn check_all(bundles: Vec<Bundle>, network: NetworkId) -> impl Iterator<Item = Result<Verified, Refusal>> {
        let mut rest = bundles.into_iter();
        let mut checked = Vec::new().into_iter();
        std::iter::from_fn(move || {
            if checked.len() == 0 {
                let some: Vec<Bundle> = rest.by_ref().take(TOGETHER).collect();
                let signed = SignedHeader::check_all(some.iter().map(|bundle| &bundle.signed), network);
                checked = some.into_iter().zip(signed).collect::<Vec<_>>().into_iter();
            }
            let (bundle, signed): (Bundle, Result<(), Refusal>) = checked.next()?;
            Some(signed.and_then(|()| Verified::signed(bundle)))
        })
    }

    /// Checks what is under a signature that was checked.
    fn signed(bundle: Bundle) -> Result<Verified, Refusal> {
        let body = bundle.unpack()?;
        let mut survey = Survey::default();
        for item in divide(&body) {
            survey.take(bundle.header(), item.ok_or(Refusal::Division)?)?;
        }
        survey.finish(bundle, body)
    }

    /// What the bundle says of itself.
    pub fn header(&self) -> &Header {
        self.bundle.header()
    }

    /// Header and signature.
    pub fn signed_header(&self) -> &SignedHeader {
        self.bundle.signed_header()
    }

    /// The place in the feed.
    pub fn slot(&self) -> Slot {
        self.header().slot()
    }

    /// The bundle's id.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// The bytes that travel and are kept.
    pub fn wire(&self) -> &Bytes {
        self.bundle.wire()
    }

    /// What it takes in memory, bytes: as it came, and unpacked.
    pub fn memory_bytes(&self) -> usize {
        let unpacked = if self.bundle.codec() == Codec::Plain { 0 } else { self.body.len() };
        self.wire().len() + unpacked
    }

    /// The messages, unpacked: each with its size in front of it.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How many messages.
    pub fn count(&self) -> u32 {
        self.header().count
    }

    /// The id of the first message.
    pub fn first(&self) -> MessageId {
        self.first
    }

    /// The messages that belong to conversations.
    pub fn correlated(&self) -> &[Correlated] {
        &self.correlated
    }

    /// The sound messages that write to replicated state, by index.
    pub fn writes(&self) -> &[u32] {
        &self.writes
    }

    /// The messages that break a rule of their kind, by index; they are kept in the chain and delivered to nobody.
    pub fn refused(&self) -> &[(u32, Faults)] {
        &self.refused
    }

    /// The messages, in order.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        divide(&self.body).flatten().filter_map(|item| Message::decode(item).ok())
    }

    /// The messages' signed bytes, in order.
    pub fn bytes(&self) -> impl Iterator<Item = Bytes> {
        self.bundle.divide(&self.body)
    }

    /// The bundle that was checked.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }
}

/// What is learned of a body, message by message.
#[derive(Default)]
struct Survey {
    leaves: Vec<Hash>,
    first: Option<MessageId>,
    last: Option<MessageId>,
    correlated: Vec<Correlated>,
    writes: Vec<u32>,
    refused: Vec<(u32, Faults)>,
}

impl Survey {
    fn take(&mut self, header: &Header, item: &[u8]) -> Result<(), Refusal> {
        if self.leaves.len() >= header.count as usize {
            return Err(Refusal::Division);
        }
        let message = Message::decode(item)?;
        if message.kind >> 8 != u16::from(header.feed.topic.tag()) {
            return Err(Refusal::WrongTopic);
        }
        if self.last.is_some_and(|last| message.id <= last) {
            return Err(Refusal::Ids);
        }
        if message.known_kind().is_some_and(|k| k.is_ephemeral() != (header.course == Course::Ephemeral)) {
            return Err(Refusal::OutsideFeed);
        }
        match check_payload(&message) {
            Ok(()) => self.note_write(&message),
            Err(faults) => self.refused.push((self.leaves.len() as u32, faults)),
        }
        self.note(&message, merkle::leaf(item));
        Ok(())
    }

    fn note_write(&mut self, message: &Message<'_>) {
        if message.kind == Kind::CollectionWrite.tag() {
            self.writes.push(self.leaves.len() as u32);
        }
    }

    fn note(&mut self, message: &Message<'_>, leaf: Hash) {
        if let Some(correlation) = message.correlation {
            self.correlated.push(Correlated { index: self.leaves.len() as u32, correlation, id: message.id });
        }
        self.leaves.push(leaf);
        self.first = self.first.or(Some(message.id));
        self.last = Some(message.id);
    }

    fn finish(self, bundle: Bundle, body: Bytes) -> Result<Verified, Refusal> {
        let header = bundle.header();
        if self.leaves.len() != header.count as usize {
            return Err(Refusal::Division);
        }
        let (Some(first), Some(last)) = (self.first, self.last) else { return Err(Refusal::Division) };
        let span_ms = limits::BUNDLE_SPAN.as_millis() as u64;
        if last.stamp() != header.clock || first.stamp().ms() + span_ms < header.clock.ms() {
            return Err(Refusal::Ids);
        }
        if merkle::root(self.leaves) != header.root {
            return Err(Refusal::BadRoot);
        }
        let id = header.id();
        let Survey { correlated, writes, refused, .. } = self;
        Ok(Verified { bundle, id, body, first, correlated, writes, refused })
    }
}

/// Whether a payload is what its kind asks for. A kind, a version or a sealed payload this node cannot read passes.
pub(super) fn check_payload(message: &Message<'_>) -> Result<(), Faults> {
    let Some(kind) = message.known_kind() else { return Ok(()) };
    if message.encryption.is_some() || message.schema_version != kind.schema_version() {
        return Ok(());
    }
    let payload = match message.content_type {
        ContentType::Bincode => Payload::decode(kind, message.payload)?,
        ContentType::Json => {
            let text = std::str::from_utf8(message.payload).unwrap_or("");
            Payload::from_json_str(kind, text)?
        }
    };
    let mut faults = Faults::default();
    payload.check(&mut faults);
    faults.or(())
}

/// A bundle being filled by its author.
#[derive(Default)]
pub struct Pending {
    body: Vec<u8>,
    survey: Survey,
}

impl Pending {
    /// Appends a message; the caller stamps ids that grow.
    pub fn push(&mut self, message: &Message<'_>) {
        let at = self.body.len();
        self.body.extend_from_slice(&[0; 4]);
        message.encode_into(&mut self.body);
        let size = (self.body.len() - at - 4) as u32;
        self.body[at..at + 4].copy_from_slice(&size.to_le_bytes());
        let leaf = merkle::leaf(&self.body[at + 4..]);
        self.survey.note_write(message);
        self.survey.note(message, leaf);
    }

    /// How many messages.
    pub fn count(&self) -> usize {
        self.survey.leaves.len()
    }

    /// Size of the body so far, bytes.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// When its first message was created; none while it is empty.
    pub fn opened(&self) -> Option<Stamp> {
        self.survey.first.map(|id| id.stamp())
    }

    /// Seals what was filled in: count, size, clock and root of `header` are set from the messages, the rest is the
    /// caller's. None when there is no message.
    pub fn seal(self, header: Header, key: &SigningKey) -> Option<Verified> {
        self.seal_packed(header, key, Packing::default())
    }

    /// The same, packed no further than that.
    pub fn seal_packed(self, mut header: Header, key: &SigningKey, packing: Packing) -> Option<Verified> {
        let Pending { body, mut survey } = self;
        header.clock = survey.last?.stamp();
        header.count = survey.leaves.len() as u32;
        header.body_bytes = body.len() as u32;
        header.root = merkle::root(std::mem::take(&mut survey.leaves));
        let encoded = header.encode();
        let signature = header.statement(&encoded).sign(key);
        let signed = SignedHeader { header, signature };
        let (codec, packed) = packing.pack(&body);
        let packed = packed.as_ref().unwrap_or(&body);
        let mut wire = Vec::with_capacity(PREFIX_BYTES + packed.len());
        wire.extend_from_slice(&encoded);
        wire.extend_from_slice(&signed.signature.0);
        debug_assert_eq!(wire.len(), SIGNED_BYTES);
        wire.push(codec as u8);
        wire.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        wire.extend_from_slice(packed);
        let id = signed.header.id();
        let bundle = Bundle { signed, codec, wire: wire.into() };
        let (first, correlated, writes) = (survey.first?, survey.correlated, survey.writes);
        Some(Verified { bundle, id, body: body.into(), first, correlated, writes, refused: Vec::new() })
    }
}
