//! A copy of what is retained of replicated state, in files: chunks of writes with their proofs, and a signed manifest
//! that names them.
//!
//! ```text
//!  chunk      unpacked bytes 4 │ one zstd frame of: bundles 4, then for each of them
//!             size 4 │ excerpt │ for each of its messages: which changes are meant, a bit each 8
//!  manifest   "metanode/checkpoint/1" 21 │ signer 32 │ signature 64 │ what it says, bincode
//! ```
//!
//! Numbers are little-endian. A chunk's name is the BLAKE3 hash of its file. Nothing is believed because it is in a
//! chunk: every write is proved by its author's signature. The manifest says that nothing is missing.

use std::collections::BTreeSet;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use super::excerpt::{Excerpt, Proven};
use super::kind::state::collection_fault;
use super::refusal::Refusal;
use super::seal::{Label, Signature, Statement};
use crate::types::row;
use crate::types::{Domain, Hash, NetworkId, NodeId, Stamp, WallMs, limits};

/// What a manifest begins with.
const MAGIC: &[u8; 21] = b"metanode/checkpoint/1";
/// What stands before a manifest's word, bytes.
const SIGNED: usize = MAGIC.len() + 32 + 64;
/// Zstd's level for what is packed once and kept long.
const LEVEL: i32 = 9;

/// Some messages of a bundle, and which of their changes are meant: a bit for each change of each message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkPart {
    /// The messages with their proof.
    pub excerpt: Excerpt,
    /// One for each message, in order.
    pub marks: Vec<u64>,
}

/// A chunk whose shape is right and whose word nobody has checked yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chunk {
    /// Each of another bundle.
    pub parts: Vec<ChunkPart>,
}

impl Chunk {
    /// The bytes of its file; none if it is larger than a chunk may be.
    pub fn encode(&self) -> Option<Bytes> {
        let mut body = (self.parts.len() as u32).to_le_bytes().to_vec();
        for part in &self.parts {
            let excerpt = part.excerpt.encode_plain();
            body.extend_from_slice(&(excerpt.len() as u32).to_le_bytes());
            body.extend_from_slice(&excerpt);
            part.marks.iter().for_each(|mark| body.extend_from_slice(&mark.to_le_bytes()));
        }
        let packed = zstd::bulk::compress(&body, LEVEL).ok().filter(|_| body.len() <= limits::CHUNK_BYTES)?;
        Some([&(body.len() as u32).to_le_bytes(), packed.as_slice()].concat().into())
    }

    /// Reads what [`Chunk::encode`] made; checks its shape, not its word.
    pub fn decode(bytes: &[u8]) -> Result<Chunk, Refusal> {
        let (size, packed) = number(bytes)?;
        let size_bytes = size as usize;
        if size_bytes > limits::CHUNK_BYTES || packed.len() > limits::CHUNK_BYTES {
            return Err(Refusal::TooLarge { size_bytes: size_bytes.max(packed.len()) });
        }
        let body = zstd::bulk::decompress(packed, size_bytes).ok().filter(|body| body.len() == size_bytes);
        let body = Bytes::from(body.ok_or(Refusal::Packing)?);
        let (count, mut rest) = number(&body)?;
        if count as usize > limits::EXCERPTS {
            return Err(Refusal::Count { count });
        }
        let (mut parts, mut unpacked) = (Vec::new(), 0);
        for _ in 0..count {
            let (size, after) = number(rest)?;
            let (excerpt, after) = split(after, size as usize)?;
            let excerpt = Excerpt::decode(&body.slice_ref(excerpt))?;
            unpacked += excerpt.items().values().map(Bytes::len).sum::<usize>();
            if unpacked > limits::CHUNK_BYTES {
                return Err(Refusal::TooLarge { size_bytes: unpacked });
            }
            let (marks, after) = split(after, 8 * excerpt.items().len())?;
            let marks = marks.as_chunks::<8>().0.iter().map(|mark| u64::from_le_bytes(*mark)).collect();
            parts.push(ChunkPart { excerpt, marks });
            rest = after;
        }
        if rest.is_empty() { Ok(Chunk { parts }) } else { Err(Refusal::Division) }
    }

    /// Checks every excerpt; all of them are what they should be, or the chunk is refused.
    pub fn prove(self, network: NetworkId) -> Result<Vec<(Proven, Vec<u64>)>, Refusal> {
        let mut slots = BTreeSet::new();
        let proved = self.parts.into_iter().map(|part| {
            if !slots.insert(part.excerpt.header().slot()) {
                return Err(Refusal::Frame { reason: "two excerpts of one bundle".into() });
            }
            Ok((part.excerpt.prove(network)?, part.marks))
        });
        proved.collect()
    }
}

/// A chunk as the manifest names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChunkName {
    /// The BLAKE3 hash of its file, which is also the file's name.
    pub hash: Hash,
    /// The file's size, bytes.
    pub bytes: u32,
    /// Writes that are meant.
    pub writes: u32,
}

/// What is said of a collection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CollectionChunks {
    /// Its name.
    pub name: String,
    /// Writes in all its chunks.
    pub writes: u64,
    /// The sum over them, as the collection's root has it.
    pub root: Hash,
    /// The latest stamp among them.
    pub clock: Stamp,
    /// From the oldest writes to the newest: each begins later than the one before it ends.
    pub chunks: Vec<ChunkName>,
}

/// What is in a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// In which network it was written.
    pub network: NetworkId,
    /// When the checkpoint was made, by the clock of whoever made it.
    pub made: WallMs,
    /// By name.
    pub collections: Vec<CollectionChunks>,
}

/// A manifest, and who says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedManifest {
    /// What is said.
    pub manifest: Manifest,
    /// Who says it.
    pub signer: NodeId,
    /// The signature under it.
    pub signature: Signature,
}

impl SignedManifest {
    /// The manifest, signed.
    pub fn sign(manifest: Manifest, key: &SigningKey) -> SignedManifest {
        let signer = NodeId(key.verifying_key().to_bytes());
        let signature = statement(&manifest, signer).sign(key);
        SignedManifest { manifest, signer, signature }
    }

    /// The bytes of its file.
    pub fn encode(&self) -> Vec<u8> {
        [MAGIC.as_slice(), self.signer.as_bytes(), &self.signature.0, &row::encode(&self.manifest)].concat()
    }

    /// Reads what [`SignedManifest::encode`] made, and checks signature, names, numbers and sizes.
    pub fn decode(bytes: &[u8]) -> Result<SignedManifest, Refusal> {
        if bytes.len() > limits::ROW_BYTES {
            return Err(Refusal::TooLarge { size_bytes: bytes.len() });
        }
        let (head, body) = split(bytes, SIGNED)?;
        let (signer, signature) = head
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_first_chunk::<32>())
            .ok_or_else(|| Refusal::Frame { reason: "a manifest begins with `metanode/checkpoint/1`".into() })?;
        let signature = signature.try_into().map_err(|_| Refusal::BadSignature)?;
        let manifest: Manifest =
            row::decode(body).ok_or_else(|| Refusal::Frame { reason: "not the fields of a manifest".into() })?;
        if row::encode(&manifest) != body {
            return Err(Refusal::Frame { reason: "numbers longer than they need to be".into() });
        }
        let signed = SignedManifest { manifest, signer: NodeId(*signer), signature: Signature(signature) };
        if !statement(&signed.manifest, signed.signer).holds(&signed.signature) {
            return Err(Refusal::BadSignature);
        }
        signed.manifest.check().map_err(|reason| Refusal::Frame { reason })?;
        Ok(signed)
    }
}

impl Manifest {
    fn check(&self) -> Result<(), String> {
        if !self.collections.is_sorted_by(|one, next| one.name < next.name) {
            return Err("collections out of order".into());
        }
        for CollectionChunks { name, writes, chunks, .. } in &self.collections {
            if collection_fault(name).is_some() {
                return Err("the name of no collection".into());
            }
            if let Some(chunk) = chunks.iter().find(|chunk| chunk.bytes as usize > limits::CHUNK_BYTES) {
                return Err(format!("a chunk of {} bytes", chunk.bytes));
            }
            if chunks.iter().map(|chunk| u64::from(chunk.writes)).sum::<u64>() != *writes {
                return Err(format!("the chunks of {name} do not have the writes it has"));
            }
        }
        Ok(())
    }
}

fn statement(manifest: &Manifest, author: NodeId) -> Statement<'static> {
    Statement {
        label: Label::Checkpoint,
        network: manifest.network,
        author,
        count: manifest.collections.len() as u32,
        root: Domain::Checkpoint.hash(&[&row::encode(manifest)]),
        position: &[],
    }
}

fn split(bytes: &[u8], size: usize) -> Result<(&[u8], &[u8]), Refusal> {
    bytes.split_at_checked(size).ok_or(Refusal::Truncated { have: bytes.len(), need: size })
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), Refusal> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Refusal::Truncated { have: bytes.len(), need: 4 })?;
    Ok((u32::from_le_bytes(*number), rest))
}
