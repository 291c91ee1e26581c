//! Transactions are told to the others: those of a few milliseconds together, and again while they wait.
//!
//! A frame costs each of its readers more than the seal in it, so what comes close behind a frame waits for the next.
//! Gossip may lose a frame, and a node that does not make blocks depends on those that do. So a node says what its own
//! clients gave it until it is in a block: all of it when it comes, then a pack's worth each time it looks around.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::chain_io::{ChainOutput, Channel};
use super::super::output::Output;
use super::super::owner::Turn;
use super::Chain;
use crate::ledger::Mempool;
use crate::types::{Hash, Mono};
use crate::wire::ledger::{PACK_BYTES, Pack, Sealed};

/// From one frame of fresh transactions to the next at least: a part of the time from block to block.
pub(super) const GATHERED: Duration = Duration::from_millis(5);

/// What this node's clients gave it.
#[derive(Default)]
pub(super) struct Gossip {
    /// Not said yet.
    fresh: Vec<Bytes>,
    /// Nothing fresh is said before this.
    next: Mono,
    /// Said, and not known to be in a block: the one that was said last is at the end.
    said: VecDeque<Hash>,
    /// Numbers packs, from anywhere on.
    again: u16,
}

impl Gossip {
    /// What waited when the node stopped is said again.
    pub fn new(again: u16, pool: &Mempool) -> Gossip {
        let said = pool.seals().map(|sealed| sealed.leaf()).collect();
        Gossip { fresh: Vec::new(), next: Mono::default(), said, again }
    }

    /// Something of a client of this node waits.
    pub fn add(&mut self, sealed: &Sealed) {
        self.fresh.push(sealed.bytes().clone());
        self.said.push_back(sealed.leaf());
    }

    /// A client sent again what it had sent: it may be that nobody else has heard.
    pub fn repeat(&mut self, sealed: &Sealed) {
        self.fresh.push(sealed.bytes().clone());
    }

    /// When there is something fresh to say.
    pub fn next_wake(&self) -> Option<Mono> {
        (!self.fresh.is_empty()).then_some(self.next)
    }

    /// Of what still waits, as much as one pack holds; what does not wait any more is forgotten.
    fn rest(&mut self, pool: &Mempool) -> Vec<Bytes> {
        let (mut again, mut bytes) = (Vec::new(), 0);
        for _ in 0..self.said.len() {
            let Some(leaf) = self.said.pop_front() else { break };
            let Some(sealed) = pool.seal(&leaf).map(Arc::clone) else { continue };
            bytes += sealed.bytes().len();
            if bytes > PACK_BYTES / 2 && !again.is_empty() {
                self.said.push_front(leaf);
                break;
            }
            again.push(sealed.bytes().clone());
            self.said.push_back(leaf);
        }
        again
    }
}

impl Chain {
    /// What came since the last frame is said, unless that was just now.
    pub(super) fn say_fresh(&mut self, turn: &mut Turn<'_>) {
        if self.gossip.next_wake().is_none_or(|due| due > turn.now.mono) {
            return;
        }
        self.gossip.next = turn.now.mono + GATHERED;
        let fresh = std::mem::take(&mut self.gossip.fresh);
        self.say_packs(fresh, turn);
    }

    /// What still waits is said again.
    pub(super) fn say_again(&mut self, turn: &mut Turn<'_>) {
        let rest = self.gossip.rest(&self.pool);
        self.say_packs(rest, turn);
    }

    fn say_packs(&mut self, seals: Vec<Bytes>, turn: &mut Turn<'_>) {
        for pack in Pack::all(&mut self.gossip.again, seals) {
            let bytes = pack.encode();
            turn.want(Output::Chain(ChainOutput::Say { channel: Channel::Transactions, bytes }));
        }
    }
}
