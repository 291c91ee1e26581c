//! Nodes of a graph: pages, one, put, patched, taken out; and who is next to one.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Item, Named, PageParams, WriteParams, invalid, no_node, wish};
use crate::api::cells::WrittenCells;
use crate::api::params::{Asked, Params};
use crate::api::problem::Problem;
use crate::api::reader::Written;
use crate::api::state::ApiState;
use crate::graph::{NodeWant, without_node};
use crate::wire::kind::data::{GraphEdge, GraphNode};

/// A page of nodes.
#[derive(Serialize, JsonSchema)]
pub struct GraphNodes {
    /// In the order of ids.
    nodes: Vec<GraphNode>,
    /// Go on after this id; none at the end.
    next: Option<String>,
}

/// A neighbour.
#[derive(Serialize, JsonSchema)]
pub struct Neighbour {
    /// The node.
    node: GraphNode,
    /// The edges between the two.
    edges: Vec<GraphEdge>,
}

/// Who is next to a node.
#[derive(Serialize, JsonSchema)]
pub struct Neighbours {
    /// In the order of ids.
    neighbours: Vec<Neighbour>,
    /// Go on after this id; none at the end.
    next: Option<String>,
}

/// The nodes of a graph, in pages, in the order of ids.
#[utoipa::path(
    get,
    path = "/v1/graphs/{graph}/nodes",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), PageParams),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/GraphNodes"), content_type = "application/json")),
)]
pub async fn list_nodes(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(params): Params<PageParams>,
) -> Result<Written, Problem> {
    let limit = params.limit()?;
    let read = state.read_graph(&name, move |graph, cells| {
        let mut ids = graph.nodes_after(params.after.as_deref());
        let page: Vec<&str> = ids.by_ref().take(limit).collect();
        let next = ids.next().and(page.last()).map(|last| last.to_string());
        let nodes = page.into_iter().filter_map(|id| graph.node(id, cells)).collect();
        Written::new(&GraphNodes { nodes, next })
    });
    read.await?
}

/// A node.
#[utoipa::path(
    get,
    path = "/v1/graphs/{graph}/nodes/{id}",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), ("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The node", body = ref("#/components/schemas/GraphNode"), content_type = "application/json"),
        (status = 404, description = "It is not there", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show_node(State(state): State<ApiState>, item: Item) -> Result<Json<GraphNode>, Problem> {
    let (id, missing) = (item.id.clone(), no_node(&item.graph, &item.id));
    let node = state.read_graph(&item.graph, move |graph, cells| graph.node(&id, cells)).await?;
    node.map(Json).ok_or(missing)
}

/// Adds a node, or changes the fields that are named.
#[utoipa::path(
    put,
    path = "/v1/graphs/{graph}/nodes/{id}",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), ("id" = String, Path, description = "Its id"), WriteParams),
    request_body(content = ref("#/components/schemas/NodeWant"), content_type = "application/json"),
    responses(
        (status = 200, description = "It is there", body = ref("#/components/schemas/WrittenCells"), content_type = "application/json"),
        (status = 422, description = "It cannot be so", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn put_node(
    State(state): State<ApiState>,
    item: Item,
    Params(params): Params<WriteParams>,
    Asked(want): Asked<NodeWant>,
) -> Result<Json<WrittenCells>, Problem> {
    let wishes = want.wishes(&item.id, true).map_err(invalid)?;
    wish(&state, item.graph, wishes, params).await
}

/// Changes the fields of a node that are named. Whoever takes the node out at the same time wins.
#[utoipa::path(
    patch,
    path = "/v1/graphs/{graph}/nodes/{id}",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), ("id" = String, Path, description = "Its id"), WriteParams),
    request_body(content = ref("#/components/schemas/NodeWant"), content_type = "application/json"),
    responses(
        (status = 200, description = "They are so", body = ref("#/components/schemas/WrittenCells"), content_type = "application/json"),
        (status = 404, description = "It is not there", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn patch_node(
    State(state): State<ApiState>,
    item: Item,
    Params(params): Params<WriteParams>,
    Asked(want): Asked<NodeWant>,
) -> Result<Json<WrittenCells>, Problem> {
    let wishes = want.wishes(&item.id, false).map_err(invalid)?;
    if !state.graph(&item.graph).await?.graph().has(&item.id) {
        return Err(no_node(&item.graph, &item.id));
    }
    wish(&state, item.graph, wishes, params).await
}

/// Takes a node out; its edges are hidden until it is there again.
#[utoipa::path(
    delete,
    path = "/v1/graphs/{graph}/nodes/{id}",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), ("id" = String, Path, description = "Its id"), WriteParams),
    responses(
        (status = 200, description = "It is gone", body = ref("#/components/schemas/WrittenCells"), content_type = "application/json"),
        (status = 404, description = "It is not there", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn remove_node(
    State(state): State<ApiState>,
    item: Item,
    Params(params): Params<WriteParams>,
) -> Result<Json<WrittenCells>, Problem> {
    if !state.graph(&item.graph).await?.graph().has(&item.id) {
        return Err(no_node(&item.graph, &item.id));
    }
    wish(&state, item.graph, vec![without_node(&item.id)], params).await
}

/// The nodes next to one, by visible edges in either direction, with those edges.
#[utoipa::path(
    get,
    path = "/v1/graphs/{graph}/nodes/{id}/neighbours",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), ("id" = String, Path, description = "The node's id"), PageParams),
    responses(
        (status = 200, description = "The neighbours", body = ref("#/components/schemas/Neighbours"), content_type = "application/json"),
        (status = 404, description = "The node is not there", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn neighbours(
    State(state): State<ApiState>,
    item: Item,
    Params(params): Params<PageParams>,
) -> Result<Written, Problem> {
    let (limit, missing) = (params.limit()?, no_node(&item.graph, &item.id));
    let id = item.id;
    let read = state.read_graph(&item.graph, move |graph, cells| {
        if !graph.has(&id) {
            return Err(missing);
        }
        let others = graph.connections(&id);
        let mut ids = others.iter().filter(|other| params.after.as_ref().is_none_or(|after| *other > after));
        let page: Vec<&String> = ids.by_ref().take(limit).collect();
        let next = ids.next().and(page.last()).map(|last| last.to_string());
        let neighbour = |other: &String| {
            let between = graph.edges_of(&id).filter(|(_, end)| end == other);
            let edges = between.filter_map(|(edge, _)| graph.edge(edge, cells)).collect();
            Some(Neighbour { node: graph.node(other, cells)?, edges })
        };
        Written::new(&Neighbours { neighbours: page.into_iter().filter_map(neighbour).collect(), next })
    });
    read.await?
}
