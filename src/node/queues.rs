//! What waits to be said, for clients.

use serde::Serialize;

use super::owner::{Node, Turn};
use crate::flow::{DEADLINES, LaneState, Policy, WindowState};
use crate::wire::Priority;

/// The lanes of what this node says.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Queues {
    /// The rule by which lanes are served.
    pub scheduler: Policy,
    /// Most urgent first.
    pub lanes: Vec<LaneInfo>,
    /// What was said and peers do not hold yet: while it is full, the lanes wait.
    pub window: WindowState,
}

/// One lane; counts are since the start.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct LaneInfo {
    /// Which messages: those of this rank.
    pub priority: Priority,
    /// How soon a message is to be on its way, milliseconds.
    pub deadline_ms: u64,
    /// Messages and bytes that wait now.
    pub waiting_messages: u64,
    pub waiting_bytes: u64,
    /// How long the oldest has waited, milliseconds; none when nothing waits.
    pub oldest_ms: Option<f64>,
    /// Messages and bytes that left.
    pub sent_messages: u64,
    pub sent_bytes: u64,
    /// How long they waited, on average and at most, milliseconds.
    pub mean_wait_ms: f64,
    pub longest_wait_ms: f64,
    /// Messages that waited longer than the deadline.
    pub late_messages: u64,
    /// Messages that found the lane full: refused (Critical, High), or dropped (Low, Bulk).
    pub overflowed_messages: u64,
    /// Messages that found the lane full and waited on the disk, and those that wait there now (Normal).
    pub spilled_messages: u64,
    pub on_disk_messages: u64,
    pub on_disk_bytes: u64,
}

impl Node {
    pub(super) fn queues(&self, turn: &Turn<'_>) -> Queues {
        let mut lanes: Vec<LaneInfo> = self.lanes.states(turn.now.mono).into_iter().map(LaneInfo::from).collect();
        if let Some(normal) = lanes.iter_mut().find(|lane| lane.priority == Priority::Normal) {
            (normal.on_disk_messages, normal.on_disk_bytes) = self.spill.depth();
        }
        Queues { scheduler: self.lanes.policy(), lanes, window: self.window.state() }
    }
}

impl From<LaneState> for LaneInfo {
    fn from(state: LaneState) -> LaneInfo {
        let (counts, ms) = (state.counts, |us: u64| us as f64 / 1e3);
        LaneInfo {
            priority: state.priority,
            deadline_ms: DEADLINES[state.priority as usize].as_millis() as u64,
            waiting_messages: state.messages as u64,
            waiting_bytes: state.bytes as u64,
            oldest_ms: state.oldest.map(|time| ms(time.as_micros() as u64)),
            sent_messages: counts.messages,
            sent_bytes: counts.bytes,
            mean_wait_ms: ms(counts.waited_us) / (counts.messages.max(1) as f64),
            longest_wait_ms: ms(counts.longest_us),
            late_messages: counts.late,
            overflowed_messages: counts.overflowed,
            spilled_messages: counts.spilled,
            on_disk_messages: 0,
            on_disk_bytes: 0,
        }
    }
}
