//! Who holds what this node has written to replicated state, as others claim: by the heads of its feed that they show,
//! and by roots that are its own.

use std::collections::BTreeMap;

use super::owner::Node;
use crate::types::{Incarnation, NodeId, limits};
use crate::wire::kind::system::TopicRoot;
use crate::wire::{Category, FeedId, Head};

/// How far others hold this life's feed of Data.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// One past the last bundle each of them holds.
    next: BTreeMap<NodeId, u64>,
}

impl Holders {
    fn note(&mut self, node: NodeId, next: u64) {
        let room = self.next.len() < limits::KNOWN_PEERS;
        if room || self.next.contains_key(&node) {
            let known = self.next.entry(node).or_default();
            *known = next.max(*known);
        }
    }
}

impl Node {
    pub(super) fn own_writes(&self) -> FeedId {
        FeedId { author: self.id, incarnation: self.life.incarnation, topic: Category::Data }
    }

    /// A peer showed how far it holds a feed. What it says of this node's own counts if it is the same chain.
    pub(super) fn note_holder(&mut self, from: NodeId, head: &Head) {
        if head.feed != self.own_writes() || head.forked.is_some() || from == self.id {
            return;
        }
        let Some(chain) = self.feeds.chain(head.feed) else { return };
        if head.next < chain.next || (head.next == chain.next && head.hash == chain.head) {
            self.holders.note(from, head.next);
        }
    }

    /// A node shows the roots over what it holds: where that of Data is this node's own, it holds everything.
    pub(super) fn note_roots(&mut self, author: NodeId, roots: &[TopicRoot]) {
        let own = self.feeds.topic_root(Category::Data);
        let alike = roots.iter().any(|said| said.topic == Category::Data && said.root == own);
        let next = self.feeds.chain(self.own_writes()).map_or(0, |chain| chain.next);
        if alike && next > 0 && author != self.id {
            self.holders.note(author, next);
        }
    }

    /// Who holds a bundle of this node's writes, as they claim. Nothing is known of former lives.
    pub(super) fn holders(&self, incarnation: Incarnation, sequence: u64) -> Vec<NodeId> {
        let own = incarnation == self.life.incarnation;
        self.holders.next.iter().filter(|(_, next)| own && **next > sequence).map(|(node, _)| *node).collect()
    }
}
