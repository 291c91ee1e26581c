//! What a run found.

use super::judge::Failure;
use super::scenario::Scenario;
use crate::types::Hash;

/// A run, in numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// What went wrong in it.
    pub scenario: Scenario,
    /// What it was drawn from.
    pub seed: u64,
    /// Steps of all nodes.
    pub steps: u64,
    /// Messages honest nodes let out, heartbeats included.
    pub messages: u64,
    /// Heights that were decided.
    pub blocks: u64,
    /// Transactions that became final.
    pub transactions: u64,
    /// Simulated time.
    pub sim_seconds: f64,
    /// From the end of the faults until all were alike, simulated.
    pub alike_seconds: Option<f64>,
    /// The digest of everything that happened.
    pub trace_hash: Hash,
    /// The promise that was broken, if one was.
    pub failure: Option<Failure>,
}

impl Report {
    /// The command that runs it again.
    pub fn replay(&self) -> String {
        format!("metanode sim --scenario {} --seed {}", self.scenario.name(), self.seed)
    }
}
