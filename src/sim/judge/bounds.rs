//! Queues stay within their bounds.

use super::Verdict;
use crate::types::limits;

/// Outputs a step may have whatever came in: timers, and what was held back.
const OUTPUTS: usize = 512;
/// Outputs for each thing that came in.
const OUTPUTS_EACH: usize = 8;

/// What a node carries after a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Inputs of the step; a bundle in an answer and a draft in a call count one each.
    pub inputs: usize,
    /// Outputs of the step.
    pub outputs: usize,
    /// Bundles in memory, waiting for others.
    pub held: usize,
    /// Feeds followed.
    pub feeds: usize,
    /// Ranges asked for and neither answered nor late.
    pub flights: usize,
    /// Peers connected.
    pub peers: usize,
}

/// Checks a load.
pub fn bounds(load: &Load) -> Verdict {
    let outputs = OUTPUTS + OUTPUTS_EACH * load.inputs;
    let within = |what: &str, have: usize, most: usize| {
        if have <= most { Ok(()) } else { Err(format!("{have} {what}; at most {most} may be")) }
    };
    within("outputs in one step", load.outputs, outputs)?;
    within("bundles held", load.held, limits::HELD_PER_FEED * load.feeds.max(64))?;
    within("feeds", load.feeds, limits::FEEDS)?;
    within("peers", load.peers, limits::KNOWN_PEERS)?;
    within("ranges under way", load.flights, limits::RANGES_IN_FLIGHT)
}
