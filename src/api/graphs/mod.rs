//! The shared graph over the API: nodes, edges, ways, what changes, positions in motion.
//!
//! ```text
//!  put, patch, delete ──wishes──▶ Call::Write
//!  state's events ──▶ hub: the graph in memory ──▶ pages, neighbours, paths
//!                        └──▶ changes ──▶ events and frames
//! ```

mod edges;
mod follow;
mod hub;
mod live;
mod nodes;
mod positions;
mod ways;

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::Deserialize;

pub use hub::Graphs;
pub use {edges::*, follow::*, nodes::*, positions::*, ways::*};

use super::cells::{WrittenCells, write};
use super::collections::collection;
use super::params::parsed;
use super::pending::Sure;
use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::crdt::Wish;
use crate::graph::{TooLarge, id_fault};
use crate::node::Write;
use crate::types::limits;

/// Which graph.
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|e| Problem::request(e.body_text()))?;
        collection(name).map(Named)
    }
}

/// Which node or edge of which graph.
pub struct Item {
    pub graph: String,
    pub id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Item {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Item, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((graph, id)) = path.map_err(|e| Problem::request(e.body_text()))?;
        Ok(Item { graph: collection(graph)?, id: checked("id", id)? })
    }
}

/// An id, if it can be one.
fn checked(name: &str, id: String) -> Result<String, Problem> {
    id_fault(&id).map_or(Ok(id), |fault| Err(Problem::request(format!("{name}: {fault}"))))
}

/// A page of ids.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// After this id: `next` of the page before.
    after: Option<String>,
    /// At most so many, 1 to 1,000; by default 100.
    limit: Option<usize>,
}

impl PageParams {
    fn limit(&self) -> Result<usize, Problem> {
        let (limit, most) = (self.limit.unwrap_or(100), limits::STATE_PAGE);
        let fits = (1..=most).contains(&limit);
        if fits { Ok(limit) } else { Err(Problem::request(format!("limit: use 1 to {most}, and read on from `next`"))) }
    }
}

/// Who writes, and how sure to be before the answer.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WriteParams {
    /// Which client writes, for the others to know.
    client: Option<String>,
    /// accepted, written or durable, which is usual; or `peers:2`: two others hold it.
    ack: Option<String>,
}

/// Writes all of `wishes` or nothing.
async fn wish(
    state: &ApiState,
    graph: String,
    wishes: Vec<Wish>,
    params: WriteParams,
) -> Result<Json<WrittenCells>, Problem> {
    let Sure { ack, peers } = parsed("ack", params.ack.as_deref())?.unwrap_or_default();
    write(state, Write { collection: graph, client: params.client, wishes, restores: None, ack }, peers).await
}

fn invalid(fault: String) -> Problem {
    Problem::new(Cause::Invalid, fault)
}

fn too_large(error: TooLarge) -> Problem {
    Problem::new(Cause::Unavailable, error.to_string())
}

fn no_node(graph: &str, id: &str) -> Problem {
    Problem::new(Cause::NotFound, format!("there is no node `{id}` in the graph `{graph}`"))
}
