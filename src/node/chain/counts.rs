//! What the chain counts since the start: blocks, transactions by what they do, and how long they took to be final.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::types::Mono;
use crate::types::chain::TransactionId;
use crate::wire::ledger::{Block, Outcome, Record, Sealed};

/// Transactions of this node's clients whose time is taken at once; of more it is not.
const TIMED: usize = 65_536;

/// Upper ends of the classes of times, milliseconds; what takes longer than the last is only counted.
pub const FINALITY_MS: [u64; 12] = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];

/// Transactions of one sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ended {
    /// They did what they were to do.
    pub succeeded: u64,
    /// They cost their fee and did nothing else.
    pub failed: u64,
}

/// How long transactions of this node's clients took from being taken to being final on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finality {
    /// How many.
    pub count: u64,
    /// All their times together, milliseconds.
    pub sum_ms: u64,
    /// How many took at most 10, 20, 50, 100, 200, 500 ms, 1, 2, 5, 10, 30 and 60 s, and longer than the class before.
    pub classes: [u64; FINALITY_MS.len()],
}

/// Counts of the chain since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChainCounts {
    /// Blocks that became final here.
    pub blocks: u64,
    /// Of these, decided in a later round than the first.
    pub late_blocks: u64,
    /// Their transactions, by what they do.
    pub transactions: BTreeMap<&'static str, Ended>,
    /// Sealed transactions that were not taken, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// How long those of this node's clients took.
    pub finality: Finality,
    /// Contradictions of validators seen.
    pub evidence: u64,
    /// Of these, not kept for a block: so many wait already.
    pub evidence_dropped: u64,
}

impl ChainCounts {
    /// A block is final.
    pub fn block(&mut self, block: &Block, records: &[Record], round: u32) {
        self.blocks += 1;
        self.late_blocks += u64::from(round > 0);
        let orders = block.transactions().iter().filter_map(|bytes| Sealed::shape(bytes));
        let names = orders.flat_map(|order| order.transactions.into_iter().map(|one| one.body.name()));
        let receipts = records.iter().filter_map(|record| match record {
            Record::Receipt(receipt) => Some(receipt),
            Record::Event(_) => None,
        });
        for (name, receipt) in names.zip(receipts) {
            let ended = self.transactions.entry(name).or_default();
            match receipt.outcome {
                Outcome::Succeeded(_) => ended.succeeded += 1,
                Outcome::Failed(_) => ended.failed += 1,
            }
        }
    }
}

impl Finality {
    fn note(&mut self, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.count += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
        let class = FINALITY_MS.iter().position(|end| ms <= *end).and_then(|class| self.classes.get_mut(class));
        if let Some(class) = class {
            *class += 1;
        }
    }
}

/// Transactions of this node's clients that are not final, and when they came.
#[derive(Default)]
pub(super) struct Stopwatch {
    taken: BTreeMap<TransactionId, Mono>,
    /// Those of the block that is applied, until it is on the disk.
    applied: Vec<Mono>,
}

impl Stopwatch {
    pub fn start(&mut self, ids: &[TransactionId], now: Mono) {
        if self.taken.len() + ids.len() <= TIMED {
            self.taken.extend(ids.iter().map(|id| (*id, now)));
        }
    }

    /// A block with these records is applied.
    pub fn applied(&mut self, records: &[Record]) {
        for record in records {
            if let Record::Receipt(receipt) = record {
                self.applied.extend(self.taken.remove(&receipt.transaction));
            }
        }
    }

    /// It is on the disk. Where nothing waits any more, what never came into a block is forgotten.
    pub fn settled(&mut self, idle: bool, finality: &mut Finality, now: Mono) {
        self.applied.drain(..).for_each(|begun| finality.note(now - begun));
        if idle {
            self.taken.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Hash, NodeId, Tokens};
    use crate::wire::ledger::{Effect, Receipt};

    fn receipt(n: u8) -> Record {
        Record::Receipt(Receipt {
            transaction: TransactionId(Hash([n; 32])),
            account: NodeId([1; 32]),
            nonce: 0,
            fee: Tokens(1),
            gas: 1,
            outcome: Outcome::Succeeded(Effect::Done),
        })
    }

    #[test]
    fn a_time_is_taken_from_being_taken_to_being_on_the_disk() {
        let at = |ms| Mono::default() + Duration::from_millis(ms);
        let (mut watch, mut finality) = (Stopwatch::default(), Finality::default());
        watch.start(&[TransactionId(Hash([1; 32])), TransactionId(Hash([2; 32]))], at(100));
        watch.start(&[TransactionId(Hash([3; 32]))], at(150));
        watch.applied(&[receipt(1), receipt(9)]);
        watch.settled(false, &mut finality, at(170));
        assert_eq!((finality.count, finality.sum_ms, finality.classes[3]), (1, 70, 1));
        watch.applied(&[receipt(2), receipt(3)]);
        watch.settled(true, &mut finality, at(100_000));
        assert_eq!((finality.count, finality.classes.iter().sum::<u64>()), (3, 1), "the others took over a minute");
        watch.start(&[TransactionId(Hash([4; 32]))], at(0));
        watch.settled(true, &mut finality, at(0));
        assert!(watch.taken.is_empty());
    }
}
