//! A graph in memory: what is visible, and what changes when cells do.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::held::{HeldEdge, HeldNode};
use super::path::{EDGES, NODES, Subject, edge_path, field, node_path};
use super::whole;
use crate::crdt::State;
use crate::types::limits;
use crate::wire::kind::data::{GraphEdge, GraphNode, Vector};

/// Registers read of one node or edge.
const FIELDS: usize = 1_024;

/// A graph has more nodes or edges than can be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the graph has more than {most} nodes or edges; read its cells instead, or use several graphs")]
pub struct TooLarge {
    /// So many can be.
    pub most: usize,
}

/// A graph in memory. Edges are here whether they are visible or not; nodes are those that are there.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Graph {
    nodes: BTreeMap<String, HeldNode>,
    edges: BTreeMap<String, HeldEdge>,
    /// Edges by the nodes they name.
    ends: BTreeMap<String, BTreeSet<String>>,
    /// How far it is loaded.
    after: Option<String>,
    edges_now: bool,
}

/// What of an edge can be seen.
type Seen = (String, String, f64, u64);

impl Graph {
    /// Loads the next `most` cells of a graph that is empty at first. True when there are more.
    pub fn load_on(&mut self, state: &State<'_>, most: usize) -> Result<bool, TooLarge> {
        let kind = if self.edges_now { EDGES } else { NODES };
        let page = state.list(kind, self.after.as_deref(), most);
        for cell in &page.cells {
            let value = cell.register.as_ref().and_then(|register| register.value.as_ref());
            if let (Some((id, field)), Some(value)) = (field(kind, &cell.path), value) {
                match self.edges_now {
                    false => self.nodes.entry(id.into()).or_default().take(field, value),
                    true => self.edges.entry(id.into()).or_default().take(field, value),
                }
            }
        }
        self.bounded()?;
        self.after = page.next;
        if self.after.is_some() || !self.edges_now {
            self.edges_now |= self.after.is_none();
            return Ok(true);
        }
        self.nodes.retain(|_, node| node.there);
        self.edges.retain(|_, edge| edge.ends.is_some());
        for (id, (source, target)) in self.edges.iter().filter_map(|(id, edge)| Some((id, edge.ends.as_ref()?))) {
            self.ends.entry(source.clone()).or_default().insert(id.clone());
            self.ends.entry(target.clone()).or_default().insert(id.clone());
        }
        Ok(false)
    }

    fn bounded(&self) -> Result<(), TooLarge> {
        let most = limits::GRAPH_ITEMS;
        if self.nodes.len().max(self.edges.len()) > most { Err(TooLarge { most }) } else { Ok(()) }
    }

    /// Whether a node is there.
    pub fn has(&self, id: &str) -> bool {
        self.nodes.contains_key(id)
    }

    /// The ids of nodes after one, in order.
    pub fn nodes_after(&self, after: Option<&str>) -> impl Iterator<Item = &str> {
        later(&self.nodes, after).map(|(id, _)| id.as_str())
    }

    /// The ids of visible edges after one, in order.
    pub fn edges_after(&self, after: Option<&str>) -> impl Iterator<Item = &str> {
        later(&self.edges, after).filter(|(_, edge)| self.shows(edge)).map(|(id, _)| id.as_str())
    }

    /// Visible edges: id, source, target, weight.
    pub fn visible(&self) -> impl Iterator<Item = (&str, &str, &str, f64)> {
        self.edges.iter().filter(|(_, edge)| self.shows(edge)).filter_map(|(id, edge)| {
            let (source, target) = edge.ends.as_ref()?;
            Some((id.as_str(), source.as_str(), target.as_str(), edge.weight))
        })
    }

    /// Whether an edge is there, visible or not.
    pub fn holds(&self, edge: &str) -> bool {
        self.edges.contains_key(edge)
    }

    /// Whether an edge is there and can be seen.
    pub fn sees(&self, edge: &str) -> bool {
        self.edges.get(edge).is_some_and(|edge| self.shows(edge))
    }

    fn shows(&self, edge: &HeldEdge) -> bool {
        edge.ends.as_ref().is_some_and(|(source, target)| self.has(source) && self.has(target))
    }

    /// The visible edges of a node, in the order of their ids, each with the node at its other end.
    pub fn edges_of(&self, node: &str) -> impl Iterator<Item = (&str, &str)> {
        let edges = self.ends.get(node).filter(|_| self.has(node)).into_iter().flatten();
        let node = node.to_string();
        edges.filter_map(move |id| {
            let (source, target) = self.edges.get(id).filter(|edge| self.shows(edge))?.ends.as_ref()?;
            Some((id.as_str(), if *source == node { target.as_str() } else { source.as_str() }))
        })
    }

    /// The nodes a node is joined with, in order.
    pub fn connections(&self, node: &str) -> Vec<String> {
        let others: BTreeSet<&str> = self.edges_of(node).map(|(_, other)| other).collect();
        others.into_iter().map(String::from).collect()
    }

    /// Where a node is and how it moves, as written.
    pub fn place(&self, node: &str) -> Option<(Vector, Vector)> {
        self.nodes.get(node).map(|node| (node.position, node.velocity))
    }

    /// A node with all its fields.
    pub fn node(&self, id: &str, state: &State<'_>) -> Option<GraphNode> {
        let node = whole::node(id, state).filter(|_| self.has(id))?;
        Some(GraphNode { connections: self.connections(id), ..node })
    }

    /// A visible edge with all its fields.
    pub fn edge(&self, id: &str, state: &State<'_>) -> Option<GraphEdge> {
        whole::edge(id, state).filter(|_| self.sees(id))
    }

    /// Reads anew what was touched, and tells what is different. [`Subject::All`] is not for here: load it anew.
    pub fn observe(&mut self, touched: &BTreeSet<Subject>, state: &State<'_>) -> Result<Vec<Change>, TooLarge> {
        let (mut nodes, mut edges) = (BTreeMap::new(), BTreeSet::new());
        for subject in touched {
            match subject {
                Subject::All => {}
                Subject::Edge(id) => {
                    edges.insert(id.clone());
                }
                Subject::Node(id) => {
                    nodes.insert(id.clone(), self.nodes.get(id).copied());
                    edges.extend(self.ends.get(id).into_iter().flatten().cloned());
                }
            }
        }
        let before: BTreeMap<String, Option<Seen>> = edges.iter().map(|id| (id.clone(), self.seen(id))).collect();
        touched.iter().for_each(|subject| self.read(subject, state));
        self.bounded()?;
        Ok(self.differences(&nodes, &before, state))
    }

    fn seen(&self, id: &str) -> Option<Seen> {
        let edge = self.edges.get(id).filter(|edge| self.shows(edge))?;
        let (source, target) = edge.ends.clone()?;
        Some((source, target, edge.weight, edge.rest))
    }

    fn read(&mut self, subject: &Subject, state: &State<'_>) {
        match subject {
            Subject::All => {}
            Subject::Node(id) => {
                let mut node = HeldNode::default();
                each(NODES, &node_path(id), state, |field, value| node.take(field, value));
                self.nodes.remove(id);
                self.nodes.extend(node.there.then(|| (id.clone(), node)));
            }
            Subject::Edge(id) => {
                let mut edge = HeldEdge::default();
                each(EDGES, &edge_path(id), state, |field, value| edge.take(field, value));
                self.put_edge(id, edge);
            }
        }
    }

    fn put_edge(&mut self, id: &str, edge: HeldEdge) {
        if let Some((source, target)) = self.edges.remove(id).and_then(|old| old.ends) {
            for end in [source, target] {
                if let Some(edges) = self.ends.get_mut(&end) {
                    edges.remove(id);
                    if edges.is_empty() {
                        self.ends.remove(&end);
                    }
                }
            }
        }
        if let Some((source, target)) = &edge.ends {
            for end in [source, target] {
                self.ends.entry(end.clone()).or_default().insert(id.into());
            }
            self.edges.insert(id.into(), edge);
        }
    }

    /// In an order in which no edge is ever without its ends.
    fn differences(
        &self,
        nodes: &BTreeMap<String, Option<HeldNode>>,
        edges: &BTreeMap<String, Option<Seen>>,
        state: &State<'_>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let joins = |seen: &Option<Seen>| seen.as_ref().map(|(source, target, ..)| (source.clone(), target.clone()));
        for (id, before) in edges {
            if before.is_some() && joins(before) != joins(&self.seen(id)) {
                changes.push(Change::EdgeDeleted { id: id.clone() });
            }
        }
        let gone = nodes.iter().filter(|(id, before)| before.is_some() && !self.has(id));
        changes.extend(gone.map(|(id, _)| Change::NodeRemoved { id: id.clone() }));
        for (id, before) in nodes {
            let Some(now) = self.nodes.get(id) else { continue };
            let whole = || self.node(id, state).map(Box::new);
            let Some(before) = before else {
                changes.extend(whole().map(|node| Change::NodeAdded { node }));
                continue;
            };
            if (before.position, before.velocity) != (now.position, now.velocity) {
                let (position, velocity) = (now.position, now.velocity);
                changes.push(Change::NodeMoved { id: id.clone(), position, velocity });
            }
            if before.rest != now.rest {
                changes.extend(whole().map(|node| Change::NodeChanged { node }));
            }
        }
        for (id, before) in edges {
            let Some(now) = self.seen(id) else { continue };
            let whole = || whole::edge(id, state).map(Box::new);
            let Some((source, target, weight, rest)) = before else {
                changes.extend(whole().map(|edge| Change::EdgeCreated { edge }));
                continue;
            };
            if (source, target) != (&now.0, &now.1) {
                changes.extend(whole().map(|edge| Change::EdgeCreated { edge }));
                continue;
            }
            if *weight != now.2 {
                changes.push(Change::EdgeWeightChanged { id: id.clone(), weight: now.2 });
            }
            if *rest != now.3 {
                changes.extend(whole().map(|edge| Change::EdgeChanged { edge }));
            }
        }
        changes
    }
}

fn later<'a, T>(map: &'a BTreeMap<String, T>, after: Option<&str>) -> impl Iterator<Item = (&'a String, &'a T)> {
    use std::ops::Bound;
    let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_string()));
    map.range((from, Bound::Unbounded))
}

/// Every register with a value at a path and below it.
fn each(
    kind: &str,
    path: &str,
    state: &State<'_>,
    mut take: impl FnMut(super::path::Field<'_>, &crate::wire::kind::Json),
) {
    for cell in state.list(path, None, FIELDS).cells {
        let value = cell.register.as_ref().and_then(|register| register.value.as_ref());
        if let (Some((_, field)), Some(value)) = (field(kind, &cell.path), value) {
            take(field, value);
        }
    }
}
