//! Queues: what this node's clients want said and what waits, by priority.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::params::Asked;
use super::problem::Problem;
use super::state::{ApiState, unexpected};
use crate::flow::Policy;
use crate::node::{Answer, Call, Queues};

/// The lanes, most urgent first.
#[utoipa::path(
    get,
    path = "/v1/queues",
    tag = "node",
    responses((status = 200, description = "The lanes", body = ref("#/components/schemas/Queues"), content_type = "application/json")),
)]
pub async fn list(State(state): State<ApiState>) -> Result<Json<Queues>, Problem> {
    state.queues().await.map(Json)
}

/// How lanes are to be served.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// `strict`, `weighted`, `deficit` or `adaptive`.
    scheduler: Policy,
}

/// Serves the lanes by another rule from now on, until the node ends.
#[utoipa::path(
    put,
    path = "/v1/queues/scheduler",
    tag = "node",
    request_body(content = ref("#/components/schemas/Schedule"), content_type = "application/json"),
    responses((status = 200, description = "The lanes as they are now", body = ref("#/components/schemas/Queues"), content_type = "application/json")),
)]
pub async fn schedule(
    State(state): State<ApiState>,
    Asked(Schedule { scheduler }): Asked<Schedule>,
) -> Result<Json<Queues>, Problem> {
    match state.client.call(Call::Schedule(scheduler)).await? {
        Answer::Queues(queues) => Ok(Json(queues)),
        other => Err(unexpected(&other)),
    }
}
