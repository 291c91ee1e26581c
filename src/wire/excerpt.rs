//! Some messages of a bundle, provable without the others: what is left of a bundle when only these still matter.
//!
//! ```text
//!    0 signed header 228
//!  228 kept 4 │ their indices 4 each, ascending
//!      hashes 4 │ each 32: those beside the ways up from the kept messages, level by level, from left to right
//!      codec 1 │ body_bytes 4 │ body, packed: kept times (size 4, message)        all numbers little-endian
//! ```
//!
//! All of a bundle takes no hash at all, one message of n takes log2(n); one signature is enough for any number.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::bundle::{Bundle, Course, Header, SIGNED_BYTES, SignedHeader, divide};
use super::codec::{Codec, Packing};
use super::kind::state::CollectionWrite;
use super::kind::{Category, Kind, Payload};
use super::merkle::{self, Partial};
use super::message::{ContentType, Message};
use super::refusal::Refusal;
use super::verified::check_payload;
use crate::types::{Hash, MessageId, NetworkId, limits};

/// Levels of a tree over the most messages a bundle can have.
const LEVELS: usize = limits::BUNDLE_MESSAGES.ilog2() as usize;

/// An excerpt whose shape is right and whose word nobody has checked yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excerpt {
    signed: SignedHeader,
    items: BTreeMap<u32, Bytes>,
    beside: Vec<Hash>,
}

impl Excerpt {
    /// The messages `keep` of a bundle whose messages are `items`; none if there are no such ones.
    pub fn of(bundle: &Bundle, items: &[Bytes], keep: &BTreeSet<u32>) -> Option<Excerpt> {
        let leaves: Vec<Hash> = items.iter().map(|item| merkle::leaf(item)).collect();
        let all = items.iter().zip(0..).map(|(item, index)| (index, item.clone())).collect();
        let whole = Excerpt { signed: bundle.signed_header().clone(), items: all, beside: Vec::new() };
        whole.cut(&Partial::of(&leaves), keep)
    }

    /// The same with fewer messages; none if nothing is left, or the hashes do not lead to the root.
    pub fn narrow(&self, keep: &BTreeSet<u32>) -> Option<Excerpt> {
        self.cut(&self.tree()?, keep)
    }

    /// The same with the messages of another excerpt of the same bundle; none if it is not of the same.
    pub fn join(&self, other: &Excerpt) -> Option<Excerpt> {
        let mut tree = self.tree()?;
        tree.join(other.tree().filter(|_| other.header().id() == self.header().id())?);
        let items: BTreeMap<u32, Bytes> = self.items.iter().chain(&other.items).map(|(n, i)| (*n, i.clone())).collect();
        let keep = items.keys().copied().collect();
        Excerpt { signed: self.signed.clone(), items, beside: Vec::new() }.cut(&tree, &keep)
    }

    fn cut(&self, tree: &Partial, keep: &BTreeSet<u32>) -> Option<Excerpt> {
        let kept = self.items.iter().filter(|(index, _)| keep.contains(index));
        let items: BTreeMap<u32, Bytes> = kept.map(|(index, item)| (*index, item.clone())).collect();
        let beside = tree.beside(items.keys().map(|index| *index as usize))?;
        (!items.is_empty()).then(|| Excerpt { signed: self.signed.clone(), items, beside })
    }

    fn tree(&self) -> Option<Partial> {
        let leaves = self.items.iter().map(|(index, item)| (*index as usize, merkle::leaf(item))).collect();
        let tree = Partial::climb(self.header().count as usize, leaves, &self.beside)?;
        (tree.root() == self.header().root).then_some(tree)
    }

    /// What the bundle says of itself.
    pub fn header(&self) -> &Header {
        &self.signed.header
    }

    /// Header and signature.
    pub fn signed_header(&self) -> &SignedHeader {
        &self.signed
    }

    /// The messages by their index in the bundle.
    pub fn items(&self) -> &BTreeMap<u32, Bytes> {
        &self.items
    }

    /// The bytes that travel.
    pub fn encode(&self) -> Bytes {
        let body = self.body();
        self.write(&body, Packing::Lz4.pack(&body))
    }

    /// The same, packed once more tightly: the bytes that are kept.
    pub fn encode_tight(&self) -> Bytes {
        let body = self.body();
        self.write(&body, Codec::pack_tight(&body))
    }

    /// The same, not packed: for what packs many of them.
    pub fn encode_plain(&self) -> Bytes {
        self.write(&self.body(), (Codec::Plain, None))
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for item in self.items.values() {
            body.extend_from_slice(&(item.len() as u32).to_le_bytes());
            body.extend_from_slice(item);
        }
        body
    }

    fn write(&self, body: &[u8], (codec, packed): (Codec, Option<Vec<u8>>)) -> Bytes {
        let packed = packed.as_deref().unwrap_or(body);
        let mut bytes = self.signed.encode().to_vec();
        bytes.extend_from_slice(&(self.items.len() as u32).to_le_bytes());
        self.items.keys().for_each(|index| bytes.extend_from_slice(&index.to_le_bytes()));
        bytes.extend_from_slice(&(self.beside.len() as u32).to_le_bytes());
        self.beside.iter().for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
        bytes.push(codec as u8);
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(packed);
        bytes.into()
    }

    /// Reads what [`Excerpt::encode`] made; checks its shape, not its word.
    pub fn decode(bytes: &Bytes) -> Result<Excerpt, Refusal> {
        let signed = SignedHeader::decode(bytes)?;
        let mut rest = bytes.slice(SIGNED_BYTES..);
        let indices = take_list::<4>(&mut rest, signed.header.count as usize)?;
        let indices: Vec<u32> = indices.into_iter().map(u32::from_le_bytes).collect();
        let beside = take_list::<32>(&mut rest, indices.len() * LEVELS)?;
        let [codec] = take::<1>(&mut rest)?;
        let body_bytes = u32::from_le_bytes(take::<4>(&mut rest)?) as usize;
        let body = Bytes::from(Codec::from_tag(codec)?.unpack(&rest, body_bytes)?);
        let grow = indices.windows(2).all(|pair| pair.first() < pair.last());
        let messages: Option<Vec<Bytes>> = divide(&body).map(|item| item.map(|item| body.slice_ref(item))).collect();
        let messages = messages.filter(|messages| grow && !indices.is_empty() && messages.len() == indices.len());
        let items = indices.into_iter().zip(messages.ok_or(Refusal::Division)?).collect();
        Ok(Excerpt { signed, items, beside: beside.into_iter().map(Hash).collect() })
    }

    /// Checks everything about it that does not depend on when or where it is seen.
    pub fn prove(self, network: NetworkId) -> Result<Proven, Refusal> {
        let header = &self.signed.header;
        if header.course != Course::Feed {
            return Err(Refusal::OutsideFeed);
        }
        if header.feed.topic != Category::Data {
            return Err(Refusal::WrongTopic);
        }
        self.signed.check(network)?;
        self.tree().ok_or(Refusal::BadProof)?;
        let mut writes = Vec::new();
        let (mut before, span_ms) = (None, limits::BUNDLE_SPAN.as_millis() as u64);
        for (index, item) in &self.items {
            let message = Message::decode(item)?;
            let stamp = message.id.stamp();
            let of_time = stamp <= header.clock && stamp.ms() + span_ms >= header.clock.ms();
            if before.is_some_and(|before| message.id <= before) || !of_time {
                return Err(Refusal::Ids);
            }
            before = Some(message.id);
            writes.extend(write_in(&message).map(|said| Said {
                index: *index,
                message: message.id,
                checksum: merkle::checksum(item),
                write: said,
            }));
        }
        Ok(Proven { excerpt: self, writes })
    }
}

/// A sound write to replicated state and the message that it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Said {
    /// The message's index in its bundle.
    pub index: u32,
    /// Its id.
    pub message: MessageId,
    /// The digest of its bytes.
    pub checksum: Hash,
    /// What it says.
    pub write: CollectionWrite,
}

/// The write that a message is, if it is a sound one that this node can read.
pub fn write_in(message: &Message<'_>) -> Option<CollectionWrite> {
    let readable = message.known_kind() == Some(Kind::CollectionWrite) && message.encryption.is_none();
    if !readable || check_payload(message).is_err() {
        return None;
    }
    let payload = match message.content_type {
        ContentType::Bincode => Payload::decode(Kind::CollectionWrite, message.payload).ok()?,
        ContentType::Json => {
            Payload::from_json_str(Kind::CollectionWrite, std::str::from_utf8(message.payload).ok()?).ok()?
        }
    };
    if let Payload::CollectionWrite(write) = payload { Some(write) } else { None }
}

/// An excerpt that is genuine, with the writes in it.
#[derive(Clone, PartialEq, Debug)]
pub struct Proven {
    excerpt: Excerpt,
    writes: Vec<Said>,
}

impl Proven {
    /// The excerpt.
    pub fn excerpt(&self) -> &Excerpt {
        &self.excerpt
    }

    /// What the bundle says of itself.
    pub fn header(&self) -> &Header {
        self.excerpt.header()
    }

    /// The writes, in order.
    pub fn writes(&self) -> &[Said] {
        &self.writes
    }

    /// What it takes in memory, bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        2 * self.excerpt.items.values().map(Bytes::len).sum::<usize>() + SIGNED_BYTES
    }
}

fn take<const N: usize>(rest: &mut Bytes) -> Result<[u8; N], Refusal> {
    let truncated = Refusal::Truncated { have: rest.len(), need: N };
    let field = *rest.first_chunk::<N>().ok_or(truncated)?;
    let _ = rest.split_to(N);
    Ok(field)
}

/// A number of items, at most `most`, and the items.
fn take_list<const N: usize>(rest: &mut Bytes, most: usize) -> Result<Vec<[u8; N]>, Refusal> {
    let count = u32::from_le_bytes(take::<4>(rest)?);
    if count as usize > most {
        return Err(Refusal::Count { count });
    }
    let need = count as usize * N;
    if rest.len() < need {
        return Err(Refusal::Truncated { have: rest.len(), need });
    }
    Ok(rest.split_to(need).as_chunks::<N>().0.to_vec())
}
