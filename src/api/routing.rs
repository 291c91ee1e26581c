//! Routes: the ways to a destination, and the direct messages that wait for one.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::params::{Params, parsed};
use super::problem::Problem;
use super::state::{ApiState, unexpected};
use crate::node::{Answer, Call, Explained, Outbox};
use crate::route::Strategy;
use crate::wire::Destination;

/// Which ways are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RouteParams {
    /// A node's id, `service:NAME` or `layer:NAME`.
    to: Option<String>,
    /// `fastest`, `reliable`, `balanced` or `first`; by default what the node is set to.
    strategy: Option<String>,
}

/// How a message for a destination would go now: every way with its time, success and load, the best first.
#[utoipa::path(
    get,
    path = "/v1/routes",
    tag = "routes",
    params(RouteParams),
    responses((status = 200, description = "The ways", body = ref("#/components/schemas/Explained"), content_type = "application/json")),
)]
pub async fn explain(
    State(state): State<ApiState>,
    Params(params): Params<RouteParams>,
) -> Result<Json<Explained>, Problem> {
    let to: Option<Destination> = parsed("to", params.to.as_deref())?;
    let to = to.ok_or_else(|| Problem::request("say where: `to` is a node's id, service:NAME or layer:NAME"))?;
    let strategy: Option<Strategy> = parsed("strategy", params.strategy.as_deref())?;
    match state.client.call(Call::Explain { to, strategy }).await? {
        Answer::Explained(explained) => Ok(Json(*explained)),
        other => Err(unexpected(&other)),
    }
}

/// Messages to single readers that are not with them yet.
#[utoipa::path(
    get,
    path = "/v1/outbox",
    tag = "routes",
    responses((status = 200, description = "By destination", body = ref("#/components/schemas/Outbox"), content_type = "application/json")),
)]
pub async fn outbox(State(state): State<ApiState>) -> Result<Json<Outbox>, Problem> {
    state.outbox().await.map(Json)
}
