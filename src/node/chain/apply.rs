//! Blocks are executed, and what is decided becomes true: height after height.

use bytes::Bytes;

use super::super::chain_io::ChainOutput;
use super::super::output::{Event, Output, Stage};
use super::super::owner::Turn;
use super::{AHEAD, Chain, Signatures, halt, is_idle};
use crate::consensus;
use crate::ledger::NotExecuted;
use crate::types::NodeId;
use crate::types::chain::{BlockId, Height};
use crate::wire::agreement::{Certificate, Genuine};
use crate::wire::ledger::Block;

impl Chain {
    /// Executes a block whose body is here; none when it is not, or the ledger cannot go on.
    pub(super) fn execute(&mut self, id: BlockId, turn: &mut Turn<'_>) -> Option<bool> {
        if self.bodies.is_executed(id) {
            return Some(true);
        }
        let block = self.bodies.get(id)?;
        match self.ledger.execute(block, &self.pool, &turn.tx, &Signatures) {
            Ok(executed) => {
                // Should it be decided, others may speak of the next height before this node has applied it.
                if executed.next != *self.ledger.next_validators() {
                    self.announce_roster(executed.next.clone(), turn);
                }
                self.bodies.keep_executed(executed);
                Some(true)
            }
            Err(NotExecuted::Refused(why)) => {
                tracing::warn!(block = %id, %why, "a proposed block is not valid");
                Some(false)
            }
            Err(NotExecuted::Fault(fault)) => {
                halt(fault, turn);
                None
            }
        }
    }

    /// Makes the decided block true, once its body is here.
    pub(super) fn apply(&mut self, turn: &mut Turn<'_>) {
        if self.join.is_swapping() {
            return;
        }
        let Some(certificate) = self.decided.take() else { return };
        let id = certificate.value;
        if self.contradicts(certificate.height, id, turn) {
            return;
        }
        if self.execute(id, turn) != Some(true) {
            // It was let go when there were too many: it has to come again.
            self.decided = Some(certificate);
            return;
        }
        let Some(executed) = self.bodies.take(id) else { return };
        let (height, bytes) = (certificate.height, Bytes::from(certificate.encode()));
        self.before = self.ledger.next_validators().clone();
        self.counts.block(&executed.block, &executed.records, certificate.round);
        self.stopwatch.applied(&executed.records);
        self.anchors.note(&executed.block);
        match self.ledger.apply(executed, bytes, &mut self.pool, &mut turn.tx, &Signatures) {
            Ok(()) => {
                tracing::info!(%height, round = certificate.round, block = %id, "block final");
                self.applied = Some(height);
                self.bodies.clear();
                self.announce_roster(self.ledger.next_validators().clone(), turn);
                turn.out.push((Stage::Flushed, Output::Chain(ChainOutput::Applied { height })));
                turn.out.push((Stage::Flushed, Output::Event(Event::Block { height })));
            }
            Err(fault) => halt(fault, turn),
        }
    }

    /// Whether two thirds decided another block than the one the operator trusts: then this node stops.
    pub(super) fn contradicts(&self, height: Height, id: BlockId, turn: &mut Turn<'_>) -> bool {
        let contradicted = self.join.trusted().and_then(|trusted| trusted.allows(height, id).err());
        contradicted.inspect(|why| halt(why, turn)).is_some()
    }

    /// The next height, when everything before it is on the disk.
    pub(super) fn next(&mut self, height: Height, me: NodeId, turn: &mut Turn<'_>) {
        if self.applied != Some(height) {
            return;
        }
        self.applied = None;
        if self.join.is_swapping() {
            return;
        }
        self.stopwatch.settled(is_idle(&self.pool), &mut self.counts.finality, turn.now.mono);
        let out = self.begin_height(self.start_after(height), turn);
        self.follow(out, me, turn);
        self.ahead = self.ahead.split_off(&height.next());
        if let Some((from, certificate, block)) = self.ahead.remove(&height.next()) {
            self.learn(from, certificate, block, me, turn);
            if self.ahead.is_empty() {
                // Who had so many may have more.
                self.ask_decisions(from, turn);
            }
        }
    }

    /// A decision from elsewhere: of this height it is used, of a later one it waits.
    pub(super) fn learn(
        &mut self,
        from: NodeId,
        certificate: Genuine<Certificate>,
        block: Block,
        me: NodeId,
        turn: &mut Turn<'_>,
    ) {
        let (height, id) = (certificate.get().height, block.id());
        if height > self.consensus.height() {
            // The door let it in because validators of now decide it, so it keeps nobody else's place.
            if height.0 - self.consensus.height().0 <= AHEAD {
                self.ahead.entry(height).or_insert((from, certificate, block));
            }
            return;
        }
        if height < self.consensus.height() || certificate.get().value != id {
            return;
        }
        self.bodies.keep(block);
        self.tell(consensus::Input::Heard { from, message: certificate.into_message() }, me, turn);
        self.tell(consensus::Input::Body { block: id }, me, turn);
        self.apply(turn);
    }
}
