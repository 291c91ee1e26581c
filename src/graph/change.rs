//! What happens to a graph, as it is told.

use schemars::JsonSchema;
use serde::Serialize;

use crate::wire::kind::data::{GraphEdge, GraphNode, Vector};

/// A difference between the graph before and after. Told one after the other they never leave an edge without its ends.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[serde(tag = "event")]
pub enum Change {
    /// A node is there.
    NodeAdded {
        /// The node.
        node: Box<GraphNode>,
    },
    /// A node is gone.
    NodeRemoved {
        /// Its id.
        id: String,
    },
    /// A node is elsewhere, or moves otherwise.
    NodeMoved {
        /// Its id.
        id: String,
        /// Where it is.
        position: Vector,
        /// How it moves.
        velocity: Vector,
    },
    /// Another field of a node is not what it was.
    NodeChanged {
        /// The node as it is now.
        node: Box<GraphNode>,
    },
    /// An edge is there, and both its ends are.
    EdgeCreated {
        /// The edge.
        edge: Box<GraphEdge>,
    },
    /// An edge is gone, or one of its ends is, or it joins others now.
    EdgeDeleted {
        /// Its id.
        id: String,
    },
    /// An edge is longer or shorter.
    EdgeWeightChanged {
        /// Its id.
        id: String,
        /// How long it is.
        weight: f64,
    },
    /// Another field of an edge is not what it was.
    EdgeChanged {
        /// The edge as it is now.
        edge: Box<GraphEdge>,
    },
}

impl Change {
    /// The name it is told under.
    pub fn name(&self) -> &'static str {
        match self {
            Change::NodeAdded { .. } => "NodeAdded",
            Change::NodeRemoved { .. } => "NodeRemoved",
            Change::NodeMoved { .. } => "NodeMoved",
            Change::NodeChanged { .. } => "NodeChanged",
            Change::EdgeCreated { .. } => "EdgeCreated",
            Change::EdgeDeleted { .. } => "EdgeDeleted",
            Change::EdgeWeightChanged { .. } => "EdgeWeightChanged",
            Change::EdgeChanged { .. } => "EdgeChanged",
        }
    }

    /// Whether shortest paths may be others afterwards.
    pub fn concerns_paths(&self) -> bool {
        match self {
            Change::NodeAdded { .. }
            | Change::NodeRemoved { .. }
            | Change::EdgeCreated { .. }
            | Change::EdgeDeleted { .. }
            | Change::EdgeWeightChanged { .. } => true,
            Change::NodeMoved { .. } | Change::NodeChanged { .. } | Change::EdgeChanged { .. } => false,
        }
    }
}
