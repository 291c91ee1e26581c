//! Shortest paths from a node: Dijkstra's algorithm, through `petgraph`.
//!
//! Of several shortest paths the one with the fewest edges counts, of those the one whose last edge has the smallest id:
//! so one graph has one answer.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Add;

use petgraph::algo::dijkstra;
use petgraph::graph::{DiGraph, NodeIndex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::view::Graph;

/// Which way edges lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From source to target.
    #[default]
    Forward,
    /// Both ways.
    Both,
}

/// The last step of the shortest path to a node; the paths to all nodes together are a tree.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Route {
    /// The length of the whole path.
    pub distance: f64,
    /// How many edges it has.
    pub edges: u32,
    /// The node before this one; none at the beginning.
    pub before: Option<String>,
    /// The edge that leads from there.
    pub edge: Option<String>,
}

/// A path while it is looked for: its length, its edges, the last of them by rank.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Leg {
    length: f64,
    edges: u32,
    last: u32,
}

impl Add for Leg {
    type Output = Leg;

    fn add(self, next: Leg) -> Leg {
        Leg { length: self.length + next.length, edges: self.edges.saturating_add(next.edges), last: next.last }
    }
}

impl PartialOrd for Leg {
    fn partial_cmp(&self, other: &Leg) -> Option<Ordering> {
        let length = self.length.total_cmp(&other.length);
        Some(length.then(self.edges.cmp(&other.edges)).then(self.last.cmp(&other.last)))
    }
}

/// The shortest paths from a node to all that can be reached, by their ids, itself among them; none if it is not there.
pub fn routes(graph: &Graph, from: &str, direction: Direction) -> Option<BTreeMap<String, Route>> {
    let ids: Vec<&str> = graph.nodes_after(None).collect();
    let place = |id: &str| ids.binary_search(&id).ok().map(NodeIndex::new);
    let start = place(from)?;
    let edges: Vec<(&str, &str, &str, f64)> = graph.visible().collect();
    let mut ways: DiGraph<(), Leg> = DiGraph::with_capacity(ids.len(), edges.len());
    for _ in &ids {
        ways.add_node(());
    }
    for ((_, source, target, weight), rank) in edges.iter().zip(0..) {
        let (Some(source), Some(target)) = (place(source), place(target)) else { continue };
        let leg = Leg { length: *weight, edges: 1, last: rank };
        ways.add_edge(source, target, leg);
        if direction == Direction::Both {
            ways.add_edge(target, source, leg);
        }
    }
    let found = dijkstra(&ways, start, None, |way| *way.weight());
    let route = |(node, leg): (NodeIndex, Leg)| {
        let id = *ids.get(node.index())?;
        let last = edges.get(leg.last as usize).filter(|_| leg.edges > 0);
        let before = last.map(|(_, source, target, _)| if id == *target { *source } else { *target });
        let route = Route {
            distance: leg.length,
            edges: leg.edges,
            before: before.map(String::from),
            edge: last.map(|(edge, ..)| String::from(*edge)),
        };
        Some((id.to_string(), route))
    };
    Some(found.into_iter().filter_map(route).collect())
}

/// The nodes of the path to `to`, from the beginning; empty if it cannot be reached.
pub fn nodes_to(routes: &BTreeMap<String, Route>, to: &str) -> Vec<String> {
    let mut nodes = Vec::new();
    let mut at = routes.get_key_value(to);
    while let Some((id, route)) = at {
        nodes.push(id.clone());
        at = route.before.as_ref().and_then(|before| routes.get_key_value(before));
    }
    nodes.reverse();
    nodes
}
