//! When what a step wants may leave: the rule of [`Stage`] and of a step's barrier, for whoever runs a node.

use std::collections::BTreeMap;

use super::output::{Output, Stage};

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
}

/// What a commit brings about.
#[derive(Debug, Default)]
pub struct Freed {
    /// These leave now.
    pub outputs: Vec<Output>,
    /// Everything committed so far is to be flushed, and [`Gate::flushed`] told of it under this number.
    pub flush: Option<u64>,
    /// The step's records are to be written to agreement's log, and [`Gate::logged`] told of it under this number.
    pub log: Option<u64>,
}

impl Gate {
    /// A step's batch is committed; `flush`, `barrier` and `log` (whether it has records) are the step's own.
    pub fn committed(&mut self, outputs: Vec<(Stage, Output)>, flush: bool, barrier: bool, log: bool) -> Freed {
        self.epoch += u64::from(flush);
        self.log_epoch += u64::from(log);
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
                Stage::Logged if self.logged >= self.log_epoch => committed.push(output),
                Stage::Logged => self.words.entry(self.log_epoch).or_default().push(output),
            }
        }
        freed.append(&mut committed);
        Freed { outputs: freed, flush: flush.then_some(self.epoch), log: log.then_some(self.log_epoch) }
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
        let freed = gate.committed(vec![(Stage::Flushed, dial(1)), (Stage::Committed, dial(2))], true, false, false);
        assert_eq!((names(freed.outputs), freed.flush), (vec!["2".into()], Some(1)));
        assert!(gate.is_waiting());
        assert_eq!(names(gate.flushed(1)), ["1"]);
        assert!(!gate.is_waiting());
    }

    #[test]
    fn a_barrier_keeps_the_order_even_when_a_later_step_waits_for_a_later_flush() {
        let mut gate = Gate::default();
        assert!(gate.committed(vec![(Stage::Committed, dial(1))], true, true, false).outputs.is_empty());
        let second = vec![(Stage::Committed, dial(2)), (Stage::Flushed, dial(9))];
        assert!(gate.committed(second, true, false, false).outputs.is_empty());
        assert!(gate.committed(vec![(Stage::Committed, dial(3))], false, false, false).outputs.is_empty());
        assert_eq!(names(gate.flushed(1)), ["1", "2", "3"], "the barrier is over for all of them");
        assert_eq!(names(gate.committed(vec![(Stage::Committed, dial(4))], false, false, false).outputs), ["4"]);
        assert_eq!(names(gate.flushed(2)), ["9"]);
    }

    #[test]
    fn words_wait_for_all_records_before_them_and_for_nothing_else() {
        let mut gate = Gate::default();
        let freed = gate.committed(vec![(Stage::Logged, dial(1)), (Stage::Committed, dial(2))], false, false, true);
        assert_eq!((names(freed.outputs), freed.flush, freed.log), (vec!["2".into()], None, Some(1)));
        assert!(gate.committed(vec![(Stage::Logged, dial(3))], true, true, false).outputs.is_empty());
        assert_eq!(names(gate.logged(1)), ["1", "3"], "no flush of the store is waited for");
        assert_eq!(names(gate.committed(vec![(Stage::Logged, dial(4))], false, false, false).outputs), ["4"]);
    }

    #[test]
    fn what_is_said_now_waits_for_no_barrier() {
        let mut gate = Gate::default();
        let freed = gate.committed(vec![(Stage::Committed, dial(1)), (Stage::Now, dial(2))], true, true, false);
        assert_eq!(names(freed.outputs), ["2"]);
    }
}
