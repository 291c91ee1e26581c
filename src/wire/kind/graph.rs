//! Data: the shared graph, as events on its nodes and edges.
//!
//! Pure. What wins when two events disagree is decided where state is merged, not here.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{Checks, Rules, TEXT_BYTES};
use crate::types::WallMs;
use crate::wire::fault::Faults;

/// A place, or a speed per second, in the graph's own units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// To the right.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Towards the viewer.
    pub z: f64,
}

impl Rules for Vector {
    fn check(&self, faults: &mut Faults) {
        for (axis, number) in [("x", self.x), ("y", self.y), ("z", self.z)] {
            faults.must(number.is_finite(), axis, "must be a finite number");
        }
    }
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphNode {
    /// Its id, unique in the graph.
    pub id: String,
    /// What it is.
    #[serde(rename = "type")]
    pub node_type: String,
    /// What is shown.
    pub title: String,
    /// What is behind it; may be empty.
    pub content: String,
    /// Where it is.
    pub position: Vector,
    /// How it moves.
    pub velocity: Vector,
    /// What else is known of it, by name.
    pub metadata: BTreeMap<String, String>,
    /// Ids of nodes it belongs with, each once.
    pub connections: Vec<String>,
    /// When it last changed.
    pub last_modified_ms: WallMs,
}

impl Rules for GraphNode {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("id", &self.id)
            .name("type", &self.node_type)
            .name("title", &self.title)
            .fits("content", self.content.len(), TEXT_BYTES)
            .part("position", &self.position)
            .part("velocity", &self.velocity)
            .map("metadata", &self.metadata)
            .names("connections", &self.connections)
            .must(!self.connections.contains(&self.id), "connections", "must not name the node itself")
            .time("last_modified_ms", self.last_modified_ms);
    }
}

/// An edge of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphEdge {
    /// Its id, unique in the graph.
    pub id: String,
    /// Id of the node it comes from.
    pub source: String,
    /// Id of the node it goes to; another one.
    pub target: String,
    /// What it is.
    #[serde(rename = "type")]
    pub edge_type: String,
    /// How much it counts, 0 or more.
    pub weight: f64,
    /// What else is known of it, by name.
    pub metadata: BTreeMap<String, String>,
}

impl Rules for GraphEdge {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("id", &self.id)
            .name("source", &self.source)
            .name("target", &self.target)
            .must(self.source != self.target, "target", "must be another node")
            .name("type", &self.edge_type)
            .not_negative("weight", self.weight)
            .map("metadata", &self.metadata);
    }
}

/// Something that happened to the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GraphEvent {
    /// A node is there, or is as it says now.
    NodeAdded(Box<GraphNode>),
    /// A node is gone.
    NodeRemoved {
        /// Its id.
        id: String,
    },
    /// A node is elsewhere.
    NodeMoved {
        /// Its id.
        id: String,
        /// Where it is.
        position: Vector,
        /// How it moves.
        velocity: Vector,
    },
    /// An edge is there, or is as it says now.
    EdgeCreated(Box<GraphEdge>),
    /// An edge is gone.
    EdgeDeleted {
        /// Its id.
        id: String,
    },
    /// An edge counts more or less.
    EdgeWeightChanged {
        /// Its id.
        id: String,
        /// How much it counts, 0 or more.
        weight: f64,
    },
}

impl Rules for GraphEvent {
    fn check(&self, faults: &mut Faults) {
        match self {
            GraphEvent::NodeAdded(node) => faults.part("node_added", &**node),
            GraphEvent::NodeRemoved { id } => faults.name("node_removed/id", id),
            GraphEvent::NodeMoved { id, position, velocity } => faults
                .name("node_moved/id", id)
                .part("node_moved/position", position)
                .part("node_moved/velocity", velocity),
            GraphEvent::EdgeCreated(edge) => faults.part("edge_created", &**edge),
            GraphEvent::EdgeDeleted { id } => faults.name("edge_deleted/id", id),
            GraphEvent::EdgeWeightChanged { id, weight } => {
                faults.name("edge_weight_changed/id", id).not_negative("edge_weight_changed/weight", *weight)
            }
        };
    }
}

/// Nodes and edges of a shared graph have changed, in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphUpdate {
    /// Name of the graph.
    pub graph: String,
    /// What happened, 1 to 1,024 events.
    pub events: Vec<GraphEvent>,
}

impl Rules for GraphUpdate {
    fn check(&self, faults: &mut Faults) {
        faults.name("graph", &self.graph).filled("events", &self.events).parts("events", &self.events);
    }
}
