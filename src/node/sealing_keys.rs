//! The keys that messages for a node are sealed with, by the nodes' own word: the latest of each counts.

use std::ops::ControlFlow;

use super::owner::Turn;
use crate::types::storage::{Key, Table, View};
use crate::types::{MessageId, NodeId, WallMs};
use crate::wire::kind::security::{KeyAlgorithm, KeyExchange};
use crate::wire::{Message, SEALING_CHANNEL};

/// A node's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Whose.
    pub node: NodeId,
    /// In which message it was announced.
    pub message: MessageId,
    /// Nothing is sealed for it after this.
    pub expires: WallMs,
    /// The X25519 key.
    pub public: [u8; 32],
}

/// A node announces a key. Only its own counts, and only the latest; there is one row for each author that is followed.
pub(super) fn on_key(author: NodeId, message: &Message<'_>, said: &KeyExchange, turn: &mut Turn<'_>) {
    let own = said.peer == author && said.channel_id == SEALING_CHANNEL && said.algorithm == KeyAlgorithm::X25519;
    let news = sealing_key(author, &turn.tx).is_none_or(|before| before.message < message.id);
    if own && news && said.public_key.0.len() == 32 {
        let expires = said.expires_ms.0.to_be_bytes();
        let row = [message.id.as_bytes().as_slice(), &expires, &said.public_key.0].concat();
        turn.tx.put(key(author), row);
    }
}

/// A node's key, if it has announced one.
pub fn sealing_key(node: NodeId, view: &dyn View) -> Option<Announced> {
    read(node, &view.get(&key(node))?)
}

/// Every key there is, in order of node.
pub fn sealing_keys(view: &dyn View) -> Vec<Announced> {
    let start = Key::new(Table::SealingKey, &[]);
    let mut found = Vec::new();
    view.scan(&start, &start.after_prefix(), &mut |key, row| {
        let node = key.get(1..).and_then(|node| node.try_into().ok()).map(NodeId);
        found.extend(node.and_then(|node| read(node, row)));
        ControlFlow::Continue(())
    });
    found
}

fn key(node: NodeId) -> Key {
    Key::new(Table::SealingKey, &[node.as_bytes()])
}

/// A row: message id 16, expires 8, the key 32.
fn read(node: NodeId, row: &[u8]) -> Option<Announced> {
    let (message, rest) = row.split_first_chunk::<16>()?;
    let (expires, public) = rest.split_first_chunk::<8>()?;
    Some(Announced {
        node,
        message: MessageId(*message),
        expires: WallMs(u64::from_be_bytes(*expires)),
        public: public.try_into().ok()?,
    })
}
