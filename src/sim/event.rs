//! What can happen in a run, and when.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::scenario::Fault;
use crate::node::Channel;
use crate::types::NodeId;
use crate::wire::Category;

/// What gossip is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    /// Bundles.
    Feeds(Category),
    /// The chain.
    Chain(Channel),
}

impl Topic {
    /// A byte of its own.
    pub fn tag(self) -> u8 {
        match self {
            Topic::Feeds(category) => category.tag(),
            Topic::Chain(Channel::Agreement) => 254,
            Topic::Chain(Channel::Transactions) => 255,
        }
    }
}

/// Something that is due. Peers by number: hosts first, then villains.
pub enum Event {
    /// A machine starts.
    Boot { host: usize },
    /// A machine takes a step.
    Step { host: usize, life: u64 },
    /// A node wanted to be called; `wake` numbers its wishes.
    Wake { host: usize, life: u64, wake: u64 },
    /// A machine's disk has what it was given.
    Flushed { host: usize, life: u64 },
    /// A machine's disk has what it was given of agreement's log.
    Logged { host: usize, life: u64 },
    /// Gossip arrives over a connection.
    Gossip { from: usize, to: usize, link: u64, topic: Topic, bytes: Bytes },
    /// A request arrives; `life` and `id` are the asker's.
    Request { from: usize, to: usize, link: u64, life: u64, id: u64, bytes: Bytes },
    /// The answer arrives at the asker.
    Response { from: usize, to: usize, link: u64, life: u64, id: u64, bytes: Bytes },
    /// No answer came.
    Silence { host: usize, life: u64, id: u64 },
    /// A dial ends.
    Dialled { host: usize, life: u64, address: String, peer: Option<NodeId> },
    /// A machine notices that a connection is gone.
    Gone { host: usize, life: u64, peer: usize },
    /// A machine hears where another can be reached.
    Hear { host: usize, of: usize },
    /// A client calls.
    Call,
    /// A client who cannot wait has something to say.
    Probe,
    /// A worker looks for something to do.
    Work { host: usize, life: u64 },
    /// A villain does what villains do.
    Mischief { villain: usize },
    /// Something goes wrong.
    Fault(Fault),
    /// The storm is over.
    Heal,
    /// Are all alike yet?
    Compare,
}

/// Events by time, then in the order they were added.
#[derive(Default)]
pub struct Agenda {
    events: BTreeMap<(u64, u64), Event>,
    added: u64,
}

impl Agenda {
    /// Adds an event.
    pub fn add(&mut self, at_us: u64, event: Event) {
        self.added += 1;
        self.events.insert((at_us, self.added), event);
    }

    /// The next event and its time.
    pub fn pop(&mut self) -> Option<(u64, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
