//! Nothing is delivered twice to a subscriber, or out of order.

use std::collections::BTreeMap;

use super::Verdict;
use crate::types::MessageId;

/// A client that reads a node's log from a cursor on.
#[derive(Default)]
pub struct Subscriber {
    cursor: u64,
    delivered: BTreeMap<MessageId, u64>,
}

impl Subscriber {
    /// Where it reads on.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// A message of an honest author is delivered from a position; ids of others may be anything.
    pub fn deliver(&mut self, position: u64, id: Option<MessageId>) -> Verdict {
        if position < self.cursor {
            return Err(format!("position {position} after the cursor was at {}", self.cursor));
        }
        self.cursor = position + 1;
        match id.and_then(|id| Some((id, self.delivered.insert(id, position)?))) {
            Some((id, before)) => Err(format!("message {id} at {position}, delivered from {before} before")),
            None => Ok(()),
        }
    }

    /// A page ended here.
    pub fn read_to(&mut self, next: u64) {
        self.cursor = self.cursor.max(next);
    }

    /// The node came back and its log ends at `end`: what was above it may come again.
    pub fn reconnect(&mut self, end: u64) {
        self.cursor = self.cursor.min(end);
        self.delivered.retain(|_, position| *position < end);
    }
}
