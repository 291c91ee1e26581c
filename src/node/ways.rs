//! What clients ask about ways to other nodes, and about the direct messages that wait for one.

use serde::Serialize;

use super::owner::{Node, Turn};
use super::post::PostCounts;
use crate::deliver::{BreakerState, Counts};
use crate::route::{Strategy, Way};
use crate::types::{NodeId, WallMs};
use crate::wire::Destination;
use crate::wire::kind::system::Link;

/// How a message for a destination would go now.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Explained {
    /// Where to, in one word: `node:ID`, `service:NAME` or `layer:NAME`.
    pub to: String,
    /// What decides.
    pub strategy: Strategy,
    /// Those that answer to it, this node not counted.
    pub readers: Vec<NodeId>,
    /// Whether this node answers to it itself: then a message stays here.
    pub here: bool,
    /// Every way, the best first; the others are its backups.
    pub ways: Vec<Way>,
    /// How long a message is to take, microseconds: there, without what the disk of its reader takes.
    pub estimated_us: Option<u64>,
    /// Why there is no way, if there is none.
    pub reason: Option<String>,
}

/// A node and its links that both ends speak of.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct LinkedNode {
    /// Which.
    pub node: NodeId,
    /// How loaded it says it is, percent.
    pub load_percent: u8,
    /// To whom it is connected, and how well.
    pub links: Vec<Link>,
}

/// Direct messages of this node that are not with their readers, and what was done with others.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Outbox {
    /// By destination.
    pub destinations: Vec<Waiting>,
    /// Counts since the start.
    pub counts: PostCounts,
}

/// Messages that wait for one destination.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Waiting {
    /// Which, in one word.
    pub to: String,
    /// Messages that go next, that are under way, and that wait after a failure.
    pub ready: u64,
    pub under_way: u64,
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Whether it is tried.
    pub breaker: BreakerState,
    /// When it is tried again, milliseconds from now.
    pub probe_in_ms: Option<u64>,
    /// Why a message last came back, and when.
    pub last_failure: Option<String>,
    pub last_failure_ms: Option<WallMs>,
    /// Counts since the destination was first written to, or the start.
    pub counts: Counts,
}

impl Node {
    pub(super) fn explain(&self, to: &Destination, strategy: Option<Strategy>, turn: &Turn<'_>) -> Explained {
        let strategy = strategy.unwrap_or(self.setup.strategy);
        let (readers, here) = (self.readers(to), self.answers_to(to));
        let ways = if here { Vec::new() } else { self.ways(to, strategy, turn.now.mono) };
        let reason = (ways.is_empty() && !here).then(|| match (to, readers.len()) {
            (Destination::Everyone | Destination::Topic(_) | Destination::NodeType(_), _) => {
                "it is for everyone, by gossip; only messages to a node, a service or a layer have a way".into()
            }
            (_, 0) => format!("nobody is known that answers to {to}"),
            (_, 1) => "it is not connected, and nobody who is knows it".into(),
            (_, count) => format!("none of the {count} that answer to it is connected or known to who is"),
        });
        let estimated_us = ways.first().map(|way| way.time_us);
        Explained { to: to.to_string(), strategy, readers, here, ways, estimated_us, reason }
    }

    pub(super) fn linked(&self) -> Vec<LinkedNode> {
        let nodes = self.routes.topology();
        nodes.map(|(node, load_percent, links)| LinkedNode { node, load_percent, links }).collect()
    }

    pub(super) fn outbox(&self, turn: &Turn<'_>) -> Outbox {
        let waiting = self.deliveries.destinations().map(|(name, one)| {
            let [ready, under_way, waiting] = one.depths().map(|depth| depth as u64);
            let breaker = one.breaker().state(turn.now.mono);
            let last = one.last_failure();
            Waiting {
                to: name.destination().unwrap_or_default().to_string(),
                ready,
                under_way,
                waiting,
                dead: self.deliveries.get(name).map_or(0, |(_, dead)| dead),
                breaker,
                probe_in_ms: (breaker == BreakerState::Open)
                    .then(|| one.breaker().left(turn.now.mono).as_millis() as u64),
                last_failure: last.map(|note| note.reason.clone()),
                last_failure_ms: last.map(|note| note.at_ms),
                counts: one.counts(),
            }
        });
        Outbox { destinations: waiting.collect(), counts: self.post.counts }
    }
}
