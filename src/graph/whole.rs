//! Nodes and edges with all their fields: one as it is now, or all as they were at a time.

use std::collections::{BTreeMap, BTreeSet};

use super::held::{WEIGHT, ZERO, ends, text, vector, weight};
use super::path::{EDGES, Field, NODES, edge_path, field, node_path};
use super::view::TooLarge;
use crate::crdt::{Cell, Register, State, Then};
use crate::types::{Stamp, WallMs, limits};
use crate::wire::kind::data::{GraphEdge, GraphNode};

/// Registers of one node or edge that are read: many times what one write can give it.
const FIELDS: usize = 1_024;

/// A node, as far as its registers were read.
#[derive(Default)]
struct NodeParts {
    there: bool,
    node: Option<GraphNode>,
}

/// An edge, as far as its registers were read.
#[derive(Default)]
struct EdgeParts {
    ends: Option<(String, String)>,
    kind: Option<String>,
    weight: Option<f64>,
    metadata: BTreeMap<String, String>,
}

fn blank(id: &str) -> GraphNode {
    GraphNode {
        id: id.into(),
        node_type: "node".into(),
        title: id.into(),
        content: String::new(),
        position: ZERO,
        velocity: ZERO,
        metadata: BTreeMap::new(),
        connections: Vec::new(),
        last_modified_ms: WallMs(0),
    }
}

impl NodeParts {
    fn take(&mut self, id: &str, field: Field<'_>, register: &Register) {
        let node = self.node.get_or_insert_with(|| blank(id));
        node.last_modified_ms = node.last_modified_ms.max(WallMs(register.written_ms));
        let Some(value) = &register.value else { return };
        match field {
            Field::Itself => self.there = true,
            Field::Type => node.node_type = text(value).unwrap_or_else(|| "node".into()),
            Field::Title => node.title = text(value).unwrap_or_else(|| id.into()),
            Field::Content => node.content = text(value).unwrap_or_default(),
            Field::Position => node.position = vector(value).unwrap_or(ZERO),
            Field::Velocity => node.velocity = vector(value).unwrap_or(ZERO),
            Field::Metadata(name) => node.metadata.extend(text(value).map(|text| (name.into(), text))),
            Field::Weight => {}
        }
    }

    fn whole(self) -> Option<GraphNode> {
        self.node.filter(|_| self.there)
    }
}

impl EdgeParts {
    fn take(&mut self, field: Field<'_>, register: &Register) {
        let Some(value) = &register.value else { return };
        match field {
            Field::Itself => self.ends = ends(value),
            Field::Type => self.kind = text(value),
            Field::Weight => self.weight = weight(value),
            Field::Metadata(name) => self.metadata.extend(text(value).map(|text| (name.into(), text))),
            Field::Title | Field::Content | Field::Position | Field::Velocity => {}
        }
    }

    fn whole(self, id: &str) -> Option<GraphEdge> {
        let (source, target) = self.ends?;
        Some(GraphEdge {
            id: id.into(),
            source,
            target,
            edge_type: self.kind.unwrap_or_else(|| "edge".into()),
            weight: self.weight.unwrap_or(WEIGHT),
            metadata: self.metadata,
        })
    }
}

/// A node as it is now, without its connections; none if it is not there.
pub fn node(id: &str, state: &State<'_>) -> Option<GraphNode> {
    let mut parts = NodeParts::default();
    for Cell { path, register, .. } in state.list(&node_path(id), None, FIELDS).cells {
        if let (Some((_, field)), Some(register)) = (field(NODES, &path), register) {
            parts.take(id, field, &register);
        }
    }
    parts.whole()
}

/// An edge as it is now, visible or not; none if it is not there.
pub fn edge(id: &str, state: &State<'_>) -> Option<GraphEdge> {
    let mut parts = EdgeParts::default();
    for Cell { path, register, .. } in state.list(&edge_path(id), None, FIELDS).cells {
        if let (Some((_, field)), Some(register)) = (field(EDGES, &path), register) {
            parts.take(field, &register);
        }
    }
    parts.whole(id)
}

/// A graph at a time, read piece by piece.
#[derive(Default)]
pub struct Whole {
    at: Stamp,
    nodes: BTreeMap<String, NodeParts>,
    edges: BTreeMap<String, EdgeParts>,
    /// Registers of which is not remembered what they held then.
    forgotten: u64,
    after: Option<String>,
    /// Nodes are through.
    edges_now: bool,
}

/// A graph as it was.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Was {
    /// In the order of ids, with their connections.
    pub nodes: Vec<GraphNode>,
    /// Those that were visible, in the order of ids.
    pub edges: Vec<GraphEdge>,
    /// Registers of which is not remembered what they held then.
    pub forgotten: u64,
}

impl Whole {
    /// The graph by what was stamped until `at`.
    pub fn at(at: Stamp) -> Whole {
        Whole { at, ..Whole::default() }
    }

    /// Reads on, at most `most` paths. True when there are more.
    pub fn go_on(&mut self, state: &State<'_>, most: usize) -> Result<bool, TooLarge> {
        for _ in 0..most {
            let kind = if self.edges_now { EDGES } else { NODES };
            let Some(path) = state.path_after(kind, self.after.as_deref()) else {
                if self.edges_now {
                    return Ok(false);
                }
                (self.edges_now, self.after) = (true, None);
                continue;
            };
            self.take(kind, &path, state);
            if self.nodes.len() + self.edges.len() > limits::GRAPH_PAST_ITEMS {
                return Err(TooLarge { most: limits::GRAPH_PAST_ITEMS });
            }
            self.after = Some(path);
        }
        Ok(true)
    }

    fn take(&mut self, kind: &str, path: &str, state: &State<'_>) {
        let Some((id, field)) = field(kind, path) else { return };
        let register = match state.cell_at(path, Then::Made(self.at)) {
            Ok(cell) => cell.and_then(|cell| cell.register),
            Err(_) => {
                self.forgotten += 1;
                None
            }
        };
        let Some(register) = register else { return };
        if kind == NODES {
            self.nodes.entry(id.into()).or_default().take(id, field, &register);
        } else {
            self.edges.entry(id.into()).or_default().take(field, &register);
        }
    }

    /// What it came to.
    pub fn finish(self) -> Was {
        let nodes = self.nodes.into_iter().filter_map(|(id, parts)| Some((id, parts.whole()?)));
        let mut nodes: BTreeMap<String, GraphNode> = nodes.collect();
        let edges = self.edges.into_iter().filter_map(|(id, parts)| parts.whole(&id));
        let visible = |edge: &GraphEdge| nodes.contains_key(&edge.source) && nodes.contains_key(&edge.target);
        let edges: Vec<GraphEdge> = edges.filter(visible).collect();
        let mut joined: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for edge in &edges {
            joined.entry(&edge.source).or_default().insert(&edge.target);
            joined.entry(&edge.target).or_default().insert(&edge.source);
        }
        for (id, others) in joined {
            if let Some(node) = nodes.get_mut(id) {
                node.connections = others.into_iter().map(String::from).collect();
            }
        }
        Was { nodes: nodes.into_values().collect(), edges, forgotten: self.forgotten }
    }
}
