//! Edges of a graph: pages, one, put, patched, taken out.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Item, Named, PageParams, WriteParams, invalid, wish};
use crate::api::cells::WrittenCells;
use crate::api::params::{Asked, Params};
use crate::api::problem::{Cause, Problem};
use crate::api::reader::Written;
use crate::api::state::ApiState;
use crate::graph::{EdgeWant, without_edge};
use crate::wire::kind::data::GraphEdge;

/// A page of edges.
#[derive(Serialize, JsonSchema)]
pub struct GraphEdges {
    /// Those that are visible, in the order of ids.
    edges: Vec<GraphEdge>,
    /// Go on after this id; none at the end.
    next: Option<String>,
}

/// The visible edges of a graph, in pages, in the order of ids.
#[utoipa::path(
    get,
    path = "/v1/graphs/{graph}/edges",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), PageParams),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/GraphEdges"), content_type = "application/json")),
)]
pub async fn list_edges(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(params): Params<PageParams>,
) -> Result<Written, Problem> {
    let limit = params.limit()?;
    let read = state.read_graph(&name, move |graph, cells| {
        let mut ids = graph.edges_after(params.after.as_deref());
        let page: Vec<&str> = ids.by_ref().take(limit).collect();
        let next = ids.next().and(page.last()).map(|last| last.to_string());
        let edges = page.into_iter().filter_map(|id| graph.edge(id, cells)).collect();
        Written::new(&GraphEdges { edges, next })
    });
    read.await?
}

/// An edge, if both its ends are there.
#[utoipa::path(
    get,
    path = "/v1/graphs/{graph}/edges/{id}",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), ("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The edge", body = ref("#/components/schemas/GraphEdge"), content_type = "application/json"),
        (status = 404, description = "It is not visible", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show_edge(State(state): State<ApiState>, item: Item) -> Result<Json<GraphEdge>, Problem> {
    let (id, missing) = (item.id.clone(), no_edge(&item));
    let edge = state.read_graph(&item.graph, move |graph, cells| graph.edge(&id, cells)).await?;
    edge.map(Json).ok_or(missing)
}

/// Adds an edge, or changes it: its ends, and the fields that are named. It is visible when both its ends are there.
#[utoipa::path(
    put,
    path = "/v1/graphs/{graph}/edges/{id}",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), ("id" = String, Path, description = "Its id"), WriteParams),
    request_body(content = ref("#/components/schemas/EdgeWant"), content_type = "application/json"),
    responses(
        (status = 200, description = "It is there", body = ref("#/components/schemas/WrittenCells"), content_type = "application/json"),
        (status = 422, description = "It cannot be so", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn put_edge(
    State(state): State<ApiState>,
    item: Item,
    Params(params): Params<WriteParams>,
    Asked(want): Asked<EdgeWant>,
) -> Result<Json<WrittenCells>, Problem> {
    let wishes = want.wishes(&item.id, true).map_err(invalid)?;
    wish(&state, item.graph, wishes, params).await
}

/// Changes the fields of a visible edge that are named.
#[utoipa::path(
    patch,
    path = "/v1/graphs/{graph}/edges/{id}",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), ("id" = String, Path, description = "Its id"), WriteParams),
    request_body(content = ref("#/components/schemas/EdgeWant"), content_type = "application/json"),
    responses(
        (status = 200, description = "They are so", body = ref("#/components/schemas/WrittenCells"), content_type = "application/json"),
        (status = 404, description = "It is not visible", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn patch_edge(
    State(state): State<ApiState>,
    item: Item,
    Params(params): Params<WriteParams>,
    Asked(want): Asked<EdgeWant>,
) -> Result<Json<WrittenCells>, Problem> {
    let wishes = want.wishes(&item.id, false).map_err(invalid)?;
    if !state.graph(&item.graph).await?.graph().sees(&item.id) {
        return Err(no_edge(&item));
    }
    wish(&state, item.graph, wishes, params).await
}

/// Takes an edge out, visible or not.
#[utoipa::path(
    delete,
    path = "/v1/graphs/{graph}/edges/{id}",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), ("id" = String, Path, description = "Its id"), WriteParams),
    responses(
        (status = 200, description = "It is gone", body = ref("#/components/schemas/WrittenCells"), content_type = "application/json"),
        (status = 404, description = "It is not there", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn remove_edge(
    State(state): State<ApiState>,
    item: Item,
    Params(params): Params<WriteParams>,
) -> Result<Json<WrittenCells>, Problem> {
    if !state.graph(&item.graph).await?.graph().holds(&item.id) {
        return Err(no_edge(&item));
    }
    wish(&state, item.graph, vec![without_edge(&item.id)], params).await
}

fn no_edge(item: &Item) -> Problem {
    let Item { graph, id } = item;
    let detail = format!("there is no edge `{id}` in the graph `{graph}`, or an end of it is not there");
    Problem::new(Cause::NotFound, detail)
}
