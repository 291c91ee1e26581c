//! No honest node bans an honest node, none gives up, none runs in circles.

use super::Verdict;
use crate::types::{NodeId, WallMs};

/// Steps with nothing to do, one after the other, without time passing.
const CIRCLES: u32 = 30;

/// An honest node bans a peer.
pub fn ban(peer: NodeId, honest: bool, until: WallMs, reason: &str) -> Verdict {
    let forgives = until == WallMs(0);
    if honest && !forgives { Err(format!("{peer:?} is banned and is honest: {reason}")) } else { Ok(()) }
}

/// A node stops.
pub fn halt(fault: Option<&str>) -> Verdict {
    fault.map_or(Ok(()), |fault| Err(fault.to_string()))
}

/// Counts the steps a node takes for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle {
    circles: u32,
}

impl Idle {
    /// After a step: whether anything came in or went out, and whether the node wants another at once.
    pub fn step(&mut self, busy: bool, again_at_once: bool) -> Verdict {
        self.circles = if busy || !again_at_once { 0 } else { self.circles + 1 };
        if self.circles < CIRCLES {
            return Ok(());
        }
        Err(format!("{CIRCLES} steps for nothing, and it wants the next one at once"))
    }
}
