//! Shortest paths in a graph, and the graph as it was.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Named, checked, no_node, too_large};
use crate::api::params::Params;
use crate::api::problem::{Cause, Problem};
use crate::api::reader::Written;
use crate::api::state::ApiState;
use crate::crdt;
use crate::graph::{Direction, Graph, Route, Whole, nodes_to, routes};
use crate::types::{Stamp, WallMs};
use crate::wire::kind::data::{GraphEdge, GraphNode};

/// Paths looked at in one reading.
const PATHS: usize = 500;
/// The last millisecond a stamp can have.
const LAST_MS: u64 = (1 << 48) - 1;

/// Which paths.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PathParams {
    /// The node they begin at.
    from: String,
    /// Only the path to this node.
    to: Option<String>,
    /// Edges lead from source to target only, which is usual; `false`: both ways.
    directed: Option<bool>,
}

/// The shortest path to a node.
#[derive(Clone, PartialEq, Serialize, JsonSchema)]
pub struct ShortestPath {
    /// Where it leads.
    to: String,
    /// Its length: the sum of the weights.
    distance: f64,
    /// How many edges it has.
    edges: u32,
    /// The node before the last; none at the beginning. The paths to all nodes are a tree.
    before: Option<String>,
    /// The last edge.
    edge: Option<String>,
    /// All its nodes, if one path was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<String>>,
}

/// Shortest paths from a node.
#[derive(Serialize, JsonSchema)]
pub struct ShortestPaths {
    /// Where they begin.
    from: String,
    /// In the order of the ids where they lead; nodes that cannot be reached are not there.
    paths: Vec<ShortestPath>,
}

/// Paths as they are found: where they lead, and the last step.
pub type Found = BTreeMap<String, Route>;

impl PathParams {
    fn direction(&self) -> Direction {
        if self.directed.unwrap_or(true) { Direction::Forward } else { Direction::Both }
    }

    /// The ids, if they can be ids.
    pub fn check(&self) -> Result<(), Problem> {
        checked("from", self.from.clone())?;
        self.to.clone().map_or(Ok(()), |to| checked("to", to).map(drop))
    }

    /// The paths in a graph; none where they begin at no node.
    pub fn find(&self, graph: &Graph) -> Option<Found> {
        routes(graph, &self.from, self.direction())
    }

    /// As they are told: all, or the one that was asked for.
    pub fn told(&self, found: &Found) -> ShortestPaths {
        let wanted = found.iter().filter(|(id, _)| self.to.as_ref().is_none_or(|to| to == *id));
        let paths = wanted.map(|(id, route)| self.path(id, route, found)).collect();
        ShortestPaths { from: self.from.clone(), paths }
    }

    /// One of them as it is told.
    pub fn path(&self, to: &str, route: &Route, found: &Found) -> ShortestPath {
        let Route { distance, edges, before, edge } = route.clone();
        let nodes = self.to.as_ref().map(|_| nodes_to(found, to));
        ShortestPath { to: to.into(), distance, edges, before, edge, nodes }
    }

    /// Where they begin.
    pub fn begins(&self) -> &str {
        &self.from
    }

    /// Whether a path is one that was asked for.
    pub fn wants(&self, to: &str) -> bool {
        self.to.as_ref().is_none_or(|wanted| wanted == to)
    }
}

/// Shortest paths from a node to one or to all that can be reached. The weight of an edge is its length.
#[utoipa::path(
    get,
    path = "/v1/graphs/{graph}/paths",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), PathParams),
    responses(
        (status = 200, description = "The paths", body = ref("#/components/schemas/ShortestPaths"), content_type = "application/json"),
        (status = 404, description = "The node is not there, or `to` cannot be reached", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn paths(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(params): Params<PathParams>,
) -> Result<Written, Problem> {
    params.check()?;
    let missing = no_node(&name, &params.from);
    let read = state.read_graph(&name, move |graph, _| {
        let told = params.told(&params.find(graph).ok_or(missing)?);
        if let (Some(to), true) = (&params.to, told.paths.is_empty()) {
            let detail = format!("no path leads from `{}` to `{to}`", params.from);
            return Err(Problem::new(Cause::NotFound, detail));
        }
        Written::new(&told)
    });
    read.await?
}

/// Which time.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AtParams {
    /// By the writes made until then, milliseconds since 1970.
    at_ms: u64,
}

/// A graph as it was.
#[derive(Serialize, JsonSchema)]
pub struct GraphAt {
    /// When.
    at_ms: WallMs,
    /// In the order of ids.
    nodes: Vec<GraphNode>,
    /// Those that were visible, in the order of ids.
    edges: Vec<GraphEdge>,
    /// Fields of which is not remembered what they were then; they are left out.
    forgotten: u64,
}

/// The graph as it was at a time, replayed from the writes made until then.
#[utoipa::path(
    get,
    path = "/v1/graphs/{graph}/at",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), AtParams),
    responses(
        (status = 200, description = "The graph", body = ref("#/components/schemas/GraphAt"), content_type = "application/json"),
        (status = 503, description = "It is too large to be replayed whole", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn at(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(params): Params<AtParams>,
) -> Result<Json<GraphAt>, Problem> {
    let at = Stamp::new(params.at_ms.min(LAST_MS), u16::MAX);
    let (mut whole, mut more) = (Whole::at(at), true);
    while more {
        let name = name.clone();
        let read = state.read(move |view| {
            let more = whole.go_on(&crdt::State::of(&name, view), PATHS);
            (whole, more)
        });
        let (on, again) = read.await?;
        (whole, more) = (on, again.map_err(too_large)?);
    }
    let was = whole.finish();
    Ok(Json(GraphAt { at_ms: at.wall(), nodes: was.nodes, edges: was.edges, forgotten: was.forgotten }))
}
