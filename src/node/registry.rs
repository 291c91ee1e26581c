//! What nodes say of themselves: the latest registration of each, by its own word only.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde::Serialize;

use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{MessageId, NodeId, WallMs};
use crate::wire::kind::system::{NodeRegistration, NodeStatus};
use crate::wire::{Destination, Kind, Message, Payload};

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

/// The registry: the rows are its state; this knows who is in them, and who answers to what.
#[derive(Debug, Default)]
pub(super) struct Registry {
    nodes: BTreeSet<NodeId>,
    offers: BTreeMap<Destination, BTreeSet<NodeId>>,
}

impl Registry {
    pub fn load(view: &dyn View) -> Registry {
        let start = Key::new(Table::Registry, &[]);
        let mut registry = Registry::default();
        view.scan(&start, &start.after_prefix(), &mut |_, row| {
            if let Some(registered) = read(row) {
                registry.note(registered.registration.id, None, Some(&registered));
            }
            ControlFlow::Continue(())
        });
        registry
    }

    /// Whether a node has registered.
    pub fn has(&self, node: NodeId) -> bool {
        self.nodes.contains(&node)
    }

    /// The nodes that offer a service or stand in a layer, as far as they are at work.
    pub fn offering(&self, to: &Destination) -> impl Iterator<Item = NodeId> {
        self.offers.get(to).into_iter().flatten().copied()
    }

    /// A node says something else of itself than before.
    fn note(&mut self, node: NodeId, before: Option<&Registered>, after: Option<&Registered>) {
        for to in before.into_iter().flat_map(offers) {
            if let Some(nodes) = self.offers.get_mut(&to) {
                nodes.remove(&node);
                if nodes.is_empty() {
                    self.offers.remove(&to);
                }
            }
        }
        for to in after.into_iter().flat_map(offers) {
            self.offers.entry(to).or_default().insert(node);
        }
        self.nodes.insert(node);
    }

    fn save(&mut self, before: Option<&Registered>, after: &Registered, tx: &mut Txn<'_>) {
        let node = after.registration.id;
        self.note(node, before, Some(after));
        save(node, after, tx);
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
        let room = message.payload.len() <= ROW_BYTES && (before.is_some() || self.nodes.len() < NODES);
        if said.id != author || !news || !room {
            return;
        }
        self.save(before.as_ref(), &registered(message.id, false, said.clone()), tx);
    }

    /// A node says how it is.
    pub fn on_status(&mut self, author: NodeId, message: &Message<'_>, status: NodeStatus, tx: &mut Txn<'_>) {
        if let Some(before) = load(author, tx).filter(|b| b.message < message.id) {
            let said = NodeRegistration { status, ..before.registration.clone() };
            self.save(Some(&before), &registered(message.id, before.left, said), tx);
        }
    }

    /// A node leaves.
    pub fn on_deregistration(&mut self, author: NodeId, message: &Message<'_>, tx: &mut Txn<'_>) {
        if let Some(before) = load(author, tx).filter(|b| b.message < message.id) {
            self.save(Some(&before), &registered(message.id, true, before.registration.clone()), tx);
        }
    }
}

fn registered(message: MessageId, left: bool, registration: NodeRegistration) -> Registered {
    Registered { registration, message, said_ms: message.stamp().wall(), left }
}

/// What a node answers to beside its own name: its services and its layer, while it is at work.
fn offers(node: &Registered) -> Vec<Destination> {
    let said = &node.registration;
    let works = match said.status {
        NodeStatus::Starting | NodeStatus::Active | NodeStatus::Degraded => !node.left,
        NodeStatus::Draining | NodeStatus::Maintenance | NodeStatus::Offline => false,
    };
    let services = said.capabilities.iter().map(|name| Destination::Service(name.clone()));
    let all = services.chain([Destination::Layer(said.layer.to_string())]);
    if works { all.collect() } else { Vec::new() }
}

/// Every node that has registered, in order of id.
pub fn all(view: &dyn View) -> Vec<Registered> {
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
fn save(node: NodeId, said: &Registered, tx: &mut Txn<'_>) {
    let payload = Payload::NodeRegistration(said.registration.clone()).encode();
    tx.put(key(node), [said.message.as_bytes().as_slice(), &[u8::from(said.left)], &payload].concat());
}

fn read(row: &[u8]) -> Option<Registered> {
    let (message, rest) = row.split_first_chunk::<16>()?;
    let (left, payload) = rest.split_first()?;
    match Payload::decode(Kind::NodeRegistration, payload) {
        Ok(Payload::NodeRegistration(registration)) => Some(registered(MessageId(*message), *left != 0, registration)),
        _ => None,
    }
}
