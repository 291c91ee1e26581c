//! What nodes say of themselves: the latest registration of each, by its own word only.

use std::ops::ControlFlow;

use serde::Serialize;

use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{MessageId, NodeId, WallMs};
use crate::wire::kind::system::{NodeRegistration, NodeStatus};
use crate::wire::{Kind, Message, Payload};

/// A node's word about itself.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Registered {
    /// What it says.
    pub registration: NodeRegistration,
    /// In which message.
    pub message: MessageId,
    /// When, by its own clock.
    pub said_ms: WallMs,
    /// It has since said that it leaves.
    pub left: bool,
}

/// How many registrations are kept; those of nodes beyond that are not.
const NODES: usize = 16_384;
/// A registration of more bytes than this is not kept: it says more than how to reach a node.
const ROW_BYTES: usize = 4 * 1024;

/// The registry: the rows are its state, this counts them.
#[derive(Debug, Default)]
pub(super) struct Registry {
    nodes: usize,
}

impl Registry {
    pub fn load(view: &dyn View) -> Registry {
        let start = Key::new(Table::Registry, &[]);
        let mut nodes = 0;
        view.scan(&start, &start.after_prefix(), &mut |_, _| {
            nodes += 1;
            ControlFlow::Continue(())
        });
        Registry { nodes }
    }

    /// A node registers. Only what it says of itself counts, and only if it is later than what it said before.
    pub fn on_registration(
        &mut self,
        author: NodeId,
        message: &Message<'_>,
        said: &NodeRegistration,
        tx: &mut Txn<'_>,
    ) {
        let before = load(author, tx);
        let news = before.as_ref().is_none_or(|b| b.message < message.id);
        let room = message.payload.len() <= ROW_BYTES && (before.is_some() || self.nodes < NODES);
        if said.id != author || !news || !room {
            return;
        }
        self.nodes += usize::from(before.is_none());
        save(author, message.id, false, said, tx);
    }

    /// A node says how it is.
    pub fn on_status(&mut self, author: NodeId, message: &Message<'_>, status: NodeStatus, tx: &mut Txn<'_>) {
        if let Some(before) = load(author, tx).filter(|b| b.message < message.id) {
            let said = NodeRegistration { status, ..before.registration };
            save(author, message.id, before.left, &said, tx);
        }
    }

    /// A node leaves.
    pub fn on_deregistration(&mut self, author: NodeId, message: &Message<'_>, tx: &mut Txn<'_>) {
        if let Some(before) = load(author, tx).filter(|b| b.message < message.id) {
            save(author, message.id, true, &before.registration, tx);
        }
    }
}

/// Every node that has registered, in order of id.
pub fn registered(view: &dyn View) -> Vec<Registered> {
    let start = Key::new(Table::Registry, &[]);
    let mut nodes = Vec::new();
    view.scan(&start, &start.after_prefix(), &mut |_, row| {
        nodes.extend(read(row));
        ControlFlow::Continue(())
    });
    nodes
}

fn key(node: NodeId) -> Key {
    Key::new(Table::Registry, &[node.as_bytes()])
}

fn load(node: NodeId, view: &dyn View) -> Option<Registered> {
    read(&view.get(&key(node))?)
}

/// A row: message id 16, left 1, the registration's bincode form.
fn save(node: NodeId, message: MessageId, left: bool, said: &NodeRegistration, tx: &mut Txn<'_>) {
    let payload = Payload::NodeRegistration(said.clone()).encode();
    tx.put(key(node), [message.as_bytes().as_slice(), &[u8::from(left)], &payload].concat());
}

fn read(row: &[u8]) -> Option<Registered> {
    let (message, rest) = row.split_first_chunk::<16>()?;
    let (left, payload) = rest.split_first()?;
    match Payload::decode(Kind::NodeRegistration, payload) {
        Ok(Payload::NodeRegistration(registration)) => {
            let message = MessageId(*message);
            let said_ms = message.stamp().wall();
            Some(Registered { registration, message, said_ms, left: *left != 0 })
        }
        _ => None,
    }
}
