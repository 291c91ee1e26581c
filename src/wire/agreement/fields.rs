//! Fields of fixed size, taken off the front of bytes that may end too early.

use super::super::refusal::Refusal;
use super::super::seal::Signature;
use crate::types::chain::{BlockId, Height};
use crate::types::{Hash, NodeId};

/// What is left to read.
pub struct Fields<'a> {
    rest: &'a [u8],
    size_bytes: usize,
}

impl<'a> Fields<'a> {
    pub fn of(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes, size_bytes: bytes.len() }
    }

    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let need = self.size_bytes - self.rest.len() + N;
        let truncated = Refusal::Truncated { have: self.size_bytes, need };
        let (field, rest) = self.rest.split_first_chunk().ok_or(truncated)?;
        self.rest = rest;
        Ok(*field)
    }

    pub fn u8(&mut self) -> Result<u8, Refusal> {
        self.take().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, Refusal> {
        self.take().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Refusal> {
        self.take().map(u32::from_le_bytes)
    }

    /// Heights count from 1.
    pub fn height(&mut self) -> Result<Height, Refusal> {
        match u64::from_le_bytes(self.take()?) {
            0 => Err(malformed("height 0; heights count from 1")),
            height => Ok(Height(height)),
        }
    }

    pub fn block(&mut self) -> Result<BlockId, Refusal> {
        self.take().map(|bytes| BlockId(Hash(bytes)))
    }

    /// A block or none: one byte that says which, and 32 that are zero if there is none.
    pub fn block_or_none(&mut self) -> Result<Option<BlockId>, Refusal> {
        match (self.u8()?, self.block()?) {
            (0, BlockId(Hash::ZERO)) => Ok(None),
            (1, block) => Ok(Some(block)),
            _ => Err(malformed("a value that is neither there nor absent")),
        }
    }

    pub fn node(&mut self) -> Result<NodeId, Refusal> {
        self.take().map(NodeId)
    }

    pub fn signature(&mut self) -> Result<Signature, Refusal> {
        self.take().map(Signature)
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), Refusal> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(malformed(format!("{more} bytes after its end"))),
        }
    }
}

pub fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::Agreement { reason: reason.into() }
}

pub fn put_block_or_none(block: Option<BlockId>, bytes: &mut Vec<u8>) {
    bytes.push(u8::from(block.is_some()));
    bytes.extend_from_slice(&block.map_or(Hash::ZERO, |block| block.0).0);
}
