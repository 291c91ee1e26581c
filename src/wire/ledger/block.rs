//! Blocks: a header that agreement is about, and the body it stands for.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use super::anchor::{Anchor, BLOCK_ANCHORS, are_proper};
use crate::types::chain::{BlockId, ChainId, Height};
use crate::types::{Domain, Hash, NodeId, WallMs};
use crate::wire::merkle;

/// A block, bytes.
pub const BLOCK_BYTES: usize = 1 << 20;
/// Seals in a block, each over one transaction or several.
pub const BLOCK_SEALS: usize = 8192;
/// Gas of all transactions of a block: what any validator executes well within a second.
pub const BLOCK_GAS: u64 = 400_000;
/// Pieces of evidence in a block.
pub const BLOCK_EVIDENCE: usize = 16;
/// One piece of evidence, bytes.
pub const EVIDENCE_BYTES: usize = 4096;

/// The first byte of a header.
const VERSION: u8 = 2;

/// What a block's id is taken over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct BlockHeader {
    /// The chain.
    pub chain: ChainId,
    /// Height, from 1.
    pub height: Height,
    /// The round in which it was first proposed, from 0.
    pub round: u32,
    /// When it was made, by its proposer; later than the block before.
    pub time_ms: WallMs,
    /// The block before; zeros at height 1.
    pub parent: BlockId,
    /// Root over its sealed transactions, as they travel.
    pub transactions_root: Hash,
    /// Root of the state after it.
    pub state_root: Hash,
    /// Root over the records of what it did.
    pub receipts_root: Hash,
    /// The validators that decide it.
    pub validators: Hash,
    /// The validators that decide the next one.
    pub next_validators: Hash,
    /// Root over the evidence in it.
    pub evidence_root: Hash,
    /// Root over the anchors in it.
    pub anchors_root: Hash,
    /// Who made it.
    pub proposer: NodeId,
}

/// Why bytes are no block.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotBlock {
    #[error("{0} bytes; a block has at most {BLOCK_BYTES}")]
    TooLarge(usize),
    #[error("block version {0}; this node reads {VERSION}")]
    Version(u8),
    #[error("the bytes do not divide into a header and what it counts")]
    Division,
    #[error("{0} seals; a block has at most {BLOCK_SEALS}")]
    Seals(usize),
    #[error("more than {BLOCK_EVIDENCE} pieces of evidence, or one of more than {EVIDENCE_BYTES} bytes")]
    Evidence,
    #[error("more than {BLOCK_ANCHORS} anchors, or one that is none, or not in the order of their collections")]
    Anchors,
    #[error("the header does not stand for this body")]
    Roots,
}

/// A block whose body is the one its header stands for. Its transactions are not checked, nor is anything executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    header: BlockHeader,
    transactions: Vec<Bytes>,
    evidence: Vec<Bytes>,
    anchors: Vec<Anchor>,
}

impl BlockHeader {
    /// Bytes of a header.
    pub const BYTES: usize = 1 + 8 + 4 + 8 + 10 * 32;

    /// The one form in bytes: version, height, round and time, little-endian, then ten times 32 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.height.0.to_le_bytes());
        bytes.extend_from_slice(&self.round.to_le_bytes());
        bytes.extend_from_slice(&self.time_ms.0.to_le_bytes());
        let BlockHeader { chain, parent, transactions_root, state_root, receipts_root, .. } = self;
        let BlockHeader { validators, next_validators, evidence_root, proposer, .. } = self;
        let digests = [chain.as_bytes(), parent.as_bytes(), transactions_root.as_bytes(), state_root.as_bytes()];
        let more = [receipts_root.as_bytes(), validators.as_bytes(), next_validators.as_bytes()];
        digests.into_iter().chain(more).for_each(|digest| bytes.extend_from_slice(digest));
        bytes.extend_from_slice(evidence_root.as_bytes());
        bytes.extend_from_slice(self.anchors_root.as_bytes());
        bytes.extend_from_slice(proposer.as_bytes());
        bytes
    }

    /// Reads [`BlockHeader::encode`].
    pub fn decode(bytes: &[u8]) -> Result<BlockHeader, NotBlock> {
        if bytes.len() != Self::BYTES {
            return Err(NotBlock::Division);
        }
        let mut rest = bytes;
        let [version] = *take(&mut rest)?;
        if version != VERSION {
            return Err(NotBlock::Version(version));
        }
        let height = Height(u64::from_le_bytes(*take(&mut rest)?));
        let round = u32::from_le_bytes(*take(&mut rest)?);
        let time_ms = WallMs(u64::from_le_bytes(*take(&mut rest)?));
        let mut digest = || take(&mut rest).map(|bytes| Hash(*bytes));
        Ok(BlockHeader {
            height,
            round,
            time_ms,
            chain: ChainId(digest()?),
            parent: BlockId(digest()?),
            transactions_root: digest()?,
            state_root: digest()?,
            receipts_root: digest()?,
            validators: digest()?,
            next_validators: digest()?,
            evidence_root: digest()?,
            anchors_root: digest()?,
            proposer: NodeId(digest()?.0),
        })
    }

    /// The block's id.
    pub fn id(&self) -> BlockId {
        BlockId(Domain::Block.hash(&[&self.encode()]))
    }
}

impl Block {
    /// A block around a body; the roots over it are set in the header.
    pub fn new(header: BlockHeader, transactions: Vec<Bytes>, evidence: Vec<Bytes>) -> Block {
        let transactions_root = merkle::root_of(transactions.iter().map(|item| &item[..]));
        let evidence_root = merkle::root_of(evidence.iter().map(|item| &item[..]));
        let header = BlockHeader { transactions_root, evidence_root, anchors_root: Hash::ZERO, ..header };
        Block { header, transactions, evidence, anchors: Vec::new() }
    }

    /// The same block with these anchors; those beyond [`BLOCK_ANCHORS`] are left out.
    pub fn anchored(self, mut anchors: Vec<Anchor>) -> Block {
        anchors.truncate(BLOCK_ANCHORS);
        anchors.sort_by(|a, b| a.collection.cmp(&b.collection));
        anchors.dedup_by(|a, b| a.collection == b.collection);
        let header = BlockHeader { anchors_root: anchors_root(&anchors), ..self.header };
        Block { header, anchors, ..self }
    }

    /// Roots over replicated state that its proposer held.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// What it says of itself.
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// Its id.
    pub fn id(&self) -> BlockId {
        self.header.id()
    }

    /// Its sealed transactions, in order, as they travel.
    pub fn transactions(&self) -> &[Bytes] {
        &self.transactions
    }

    /// The evidence in it, which agreement can read.
    pub fn evidence(&self) -> &[Bytes] {
        &self.evidence
    }

    /// The one form in bytes: header, transactions, evidence, anchors; each list as a count and, for each item, size and bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header.encode();
        let anchors = self.anchors.iter().map(Anchor::encode).collect();
        for list in [&self.transactions, &self.evidence, &anchors] {
            bytes.extend_from_slice(&(list.len() as u32).to_le_bytes());
            for item in list {
                bytes.extend_from_slice(&(item.len() as u32).to_le_bytes());
                bytes.extend_from_slice(item);
            }
        }
        bytes
    }

    /// Reads [`Block::encode`]; the body must be the one the header stands for.
    pub fn decode(bytes: Bytes) -> Result<Block, NotBlock> {
        if bytes.len() > BLOCK_BYTES {
            return Err(NotBlock::TooLarge(bytes.len()));
        }
        let header = BlockHeader::decode(bytes.get(..BlockHeader::BYTES).ok_or(NotBlock::Division)?)?;
        let mut rest = bytes.slice(BlockHeader::BYTES..);
        let transactions = list(&mut rest, BLOCK_SEALS, NotBlock::Seals)?;
        let evidence = list(&mut rest, BLOCK_EVIDENCE, |_| NotBlock::Evidence)?;
        let anchors = list(&mut rest, BLOCK_ANCHORS, |_| NotBlock::Anchors)?;
        if !rest.is_empty() {
            return Err(NotBlock::Division);
        }
        if evidence.iter().any(|piece| piece.len() > EVIDENCE_BYTES) {
            return Err(NotBlock::Evidence);
        }
        let anchors: Option<Vec<Anchor>> = anchors.iter().map(|bytes| Anchor::decode(bytes)).collect();
        let anchors = anchors.filter(|anchors| are_proper(anchors)).ok_or(NotBlock::Anchors)?;
        let block = Block::new(header.clone(), transactions, evidence).anchored(anchors);
        if block.header == header { Ok(block) } else { Err(NotBlock::Roots) }
    }
}

/// What a header says of a block's anchors.
pub fn anchors_root(anchors: &[Anchor]) -> Hash {
    let items: Vec<Bytes> = anchors.iter().map(Anchor::encode).collect();
    merkle::root_of(items.iter().map(|item| &item[..]))
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], NotBlock> {
    let (first, after) = rest.split_first_chunk().ok_or(NotBlock::Division)?;
    *rest = after;
    Ok(first)
}

fn list(rest: &mut Bytes, most: usize, too_many: fn(usize) -> NotBlock) -> Result<Vec<Bytes>, NotBlock> {
    let number = |rest: &mut Bytes| {
        let (first, _) = rest.split_first_chunk::<4>().ok_or(NotBlock::Division)?;
        let number = u32::from_le_bytes(*first) as usize;
        let _ = rest.split_to(4);
        Ok(number)
    };
    let count = number(rest)?;
    if count > most {
        return Err(too_many(count));
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let size = number(rest)?;
        if size > rest.len() {
            return Err(NotBlock::Division);
        }
        items.push(rest.split_to(size));
    }
    Ok(items)
}
