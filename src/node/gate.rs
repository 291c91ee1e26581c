//! When what a step wants may leave: the rule of [`Stage`] and of a step's barrier, for whoever runs a node.

use std::collections::BTreeMap;

use super::output::{Output, Stage};
use crate::consensus::Record;
use crate::types::chain::Height;

/// Records on which no word rests are held back at most up to so many, and so many bytes.
const HELD: usize = 256;
const HELD_BYTES: usize = 1 << 20;

/// Records of agreement's log, each with its height.
type Records = Vec<(Height, Record)>;

/// Holds outputs back until what they rest on is committed, or on the disk. Those of one stage leave in the order in
/// which they came: what waits for a barrier never leaves after something that came later and did not have to wait.
#[derive(Debug, Default)]
pub struct Gate {
    /// Flushes asked for so far.
    epoch: u64,
    /// Until this epoch is flushed, nothing that waits for a commit leaves.
    barrier: u64,
    flushed: u64,
    /// By the epoch whose flush frees them.
    waiting: BTreeMap<u64, Vec<Output>>,
    /// The same for agreement's log, which has flushes of its own.
    log_epoch: u64,
    logged: u64,
    words: BTreeMap<u64, Vec<Output>>,
    /// Records that no word rests on yet: what others said, mostly. They go with the next word, in one flush; a crash
    /// before that loses nothing that anybody was told of.
    held: Records,
    held_bytes: usize,
}

/// What a commit brings about.
#[derive(Debug, Default)]
pub struct Freed {
    /// These leave now.
    pub outputs: Vec<Output>,
    /// Everything committed so far is to be flushed, and [`Gate::flushed`] told of it under this number.
    pub flush: Option<u64>,
    /// These are to be written to agreement's log, and [`Gate::logged`] told of it under this number.
    pub log: Option<(u64, Records)>,
}

impl Gate {
    /// A step's batch is committed; `flush`, `barrier` and `records` are the step's own.
    pub fn committed(&mut self, outputs: Vec<(Stage, Output)>, flush: bool, barrier: bool, records: Records) -> Freed {
        self.epoch += u64::from(flush);
        let log = self.take_records(records, outputs.iter().any(|(stage, _)| *stage == Stage::Logged));
        if barrier {
            self.barrier = self.epoch;
        }
        let held = self.barrier > self.flushed;
        let (mut freed, mut committed) = (Vec::new(), Vec::new());
        for (stage, output) in outputs {
            match stage {
                Stage::Now => freed.push(output),
                Stage::Committed if !held => committed.push(output),
                Stage::Committed => self.waiting.entry(self.barrier).or_default().push(output),
                Stage::Flushed => self.waiting.entry(self.epoch).or_default().push(output),
                Stage::Logged | Stage::Repeated if self.logged >= self.log_epoch => committed.push(output),
                Stage::Logged | Stage::Repeated => self.words.entry(self.log_epoch).or_default().push(output),
            }
        }
        freed.append(&mut committed);
        Freed { outputs: freed, flush: flush.then_some(self.epoch), log }
    }

    /// Takes a step's records, and gives those that are to be written now: all, when something is said.
    fn take_records(&mut self, records: Records, is_said: bool) -> Option<(u64, Records)> {
        if let Some((height, _)) = records.last() {
            // The heights before are decided, and their blocks on the disk.
            self.held.retain(|(of, _)| of == height);
        }
        self.held_bytes += records.iter().map(|(_, record)| record.size_bytes()).sum::<usize>();
        self.held.extend(records);
        let is_due = is_said || self.held.len() >= HELD || self.held_bytes >= HELD_BYTES;
        if self.held.is_empty() || !is_due {
            return None;
        }
        (self.log_epoch, self.held_bytes) = (self.log_epoch + 1, 0);
        Some((self.log_epoch, std::mem::take(&mut self.held)))
    }

    /// Everything that was committed when `epoch` was asked for is on the disk: what waited for that leaves.
    pub fn flushed(&mut self, epoch: u64) -> Vec<Output> {
        self.flushed = self.flushed.max(epoch);
        let rest = self.waiting.split_off(&(self.flushed + 1));
        std::mem::replace(&mut self.waiting, rest).into_values().flatten().collect()
    }

    /// The records of all steps up to `epoch` are on the disk: what waited for them leaves.
    pub fn logged(&mut self, epoch: u64) -> Vec<Output> {
        self.logged = self.logged.max(epoch);
        let rest = self.words.split_off(&(self.logged + 1));
        std::mem::replace(&mut self.words, rest).into_values().flatten().collect()
    }

    /// Whether anything waits for the disk.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.words.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::Wait;

    fn dial(n: u64) -> Output {
        Output::Dial { address: n.to_string(), peer: None }
    }

    fn names(outputs: Vec<Output>) -> Vec<String> {
        let name = |output: Output| match output {
            Output::Dial { address, .. } => address,
            other => format!("{other:?}"),
        };
        outputs.into_iter().map(name).collect()
    }

    #[test]
    fn what_needs_no_disk_leaves_at_once_and_the_rest_when_it_is_there() {
        let mut gate = Gate::default();
        let freed =
            gate.committed(vec![(Stage::Flushed, dial(1)), (Stage::Committed, dial(2))], true, false, Vec::new());
        assert_eq!((names(freed.outputs), freed.flush), (vec!["2".into()], Some(1)));
        assert!(gate.is_waiting());
        assert_eq!(names(gate.flushed(1)), ["1"]);
        assert!(!gate.is_waiting());
    }

    #[test]
    fn a_barrier_keeps_the_order_even_when_a_later_step_waits_for_a_later_flush() {
        let mut gate = Gate::default();
        assert!(gate.committed(vec![(Stage::Committed, dial(1))], true, true, Vec::new()).outputs.is_empty());
        let second = vec![(Stage::Committed, dial(2)), (Stage::Flushed, dial(9))];
        assert!(gate.committed(second, true, false, Vec::new()).outputs.is_empty());
        assert!(gate.committed(vec![(Stage::Committed, dial(3))], false, false, Vec::new()).outputs.is_empty());
        assert_eq!(names(gate.flushed(1)), ["1", "2", "3"], "the barrier is over for all of them");
        assert_eq!(names(gate.committed(vec![(Stage::Committed, dial(4))], false, false, Vec::new()).outputs), ["4"]);
        assert_eq!(names(gate.flushed(2)), ["9"]);
    }

    fn records(height: u64, rounds: std::ops::Range<u32>) -> Records {
        rounds.map(|round| (Height(height), Record::Timeout { wait: Wait::Propose, round })).collect()
    }

    #[test]
    fn words_wait_for_all_records_before_them_and_for_nothing_else() {
        let mut gate = Gate::default();
        let said = vec![(Stage::Logged, dial(1)), (Stage::Committed, dial(2))];
        let freed = gate.committed(said, false, false, records(1, 0..1));
        assert_eq!(
            (names(freed.outputs), freed.flush, freed.log),
            (vec!["2".into()], None, Some((1, records(1, 0..1))))
        );
        let freed = gate.committed(vec![(Stage::Logged, dial(3))], true, true, Vec::new());
        assert!(freed.outputs.is_empty() && freed.log.is_none());
        assert_eq!(names(gate.logged(1)), ["1", "3"], "no flush of the store is waited for");
        let freed = gate.committed(vec![(Stage::Logged, dial(4))], false, false, Vec::new());
        assert_eq!(names(freed.outputs), ["4"]);
    }

    #[test]
    fn records_that_no_word_rests_on_are_written_with_the_next_word() {
        let mut gate = Gate::default();
        let said = |n| vec![(Stage::Logged, dial(n))];
        assert!(gate.committed(Vec::new(), false, false, records(1, 0..2)).log.is_none());
        assert!(!gate.is_waiting(), "nobody waits for them");
        let repeated = gate.committed(vec![(Stage::Repeated, dial(1))], false, false, records(1, 2..3));
        assert_eq!((names(repeated.outputs), repeated.log), (vec!["1".into()], None), "nor what says nothing new");
        let freed = gate.committed(said(2), false, false, Vec::new());
        assert_eq!((freed.outputs.len(), freed.log), (0, Some((1, records(1, 0..3)))), "also of a step without any");
        let repeated = gate.committed(vec![(Stage::Repeated, dial(3))], false, false, records(1, 3..4));
        assert!(repeated.outputs.is_empty() && repeated.log.is_none(), "it may be a word that is being written");
        assert_eq!(names(gate.logged(1)), ["2", "3"]);
        // Those of a height that is over are of no use; too many do not wait.
        let freed = gate.committed(said(4), false, false, records(2, 0..1));
        assert_eq!(freed.log, Some((2, records(2, 0..1))));
        let many = HELD as u32;
        assert!(gate.committed(Vec::new(), false, false, records(2, 1..many)).log.is_none());
        let freed = gate.committed(Vec::new(), false, false, records(2, many..many + 1));
        assert_eq!(freed.log, Some((3, records(2, 1..many + 1))));
    }

    #[test]
    fn what_is_said_now_waits_for_no_barrier() {
        let mut gate = Gate::default();
        let freed = gate.committed(vec![(Stage::Committed, dial(1)), (Stage::Now, dial(2))], true, true, Vec::new());
        assert_eq!(names(freed.outputs), ["2"]);
    }
}
