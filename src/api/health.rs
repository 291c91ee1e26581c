//! Whether the process lives, and whether it is of use. For service managers and load balancers.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::params::Params;
use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::node::Status;

/// The clock may be off the peers' median by so much, milliseconds.
const CLOCK_MS: u64 = 5_000;
/// The node answers within this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The process lives.
#[derive(Serialize, JsonSchema)]
pub struct Alive {
    alive: bool,
}

/// Whether the process lives: it answers, so it does.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "node",
    responses((status = 200, description = "It lives", body = ref("#/components/schemas/Alive"), content_type = "application/json")),
)]
pub async fn live() -> Json<Alive> {
    Json(Alive { alive: true })
}

/// How much to say.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadyParams {
    /// Tell each check.
    verbose: Option<String>,
}

/// One thing that was checked.
#[derive(Serialize, JsonSchema)]
pub struct Check {
    name: &'static str,
    ok: bool,
    /// What was found.
    detail: String,
}

/// Whether the node is of use.
#[derive(Serialize, JsonSchema)]
pub struct Readiness {
    ready: bool,
    /// Each check, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Check>>,
}

/// Whether the node is of use: its store is healthy, it answers, its clock is right, its feeds are caught up.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "node",
    params(ReadyParams),
    responses(
        (status = 200, description = "It is", body = ref("#/components/schemas/Readiness"), content_type = "application/json"),
        (status = 503, description = "It is not; `checks` says why", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn ready(State(state): State<ApiState>, Params(params): Params<ReadyParams>) -> Response {
    let checks = checks(&state).await;
    let failed: Vec<String> =
        checks.iter().filter(|check| !check.ok).map(|check| format!("{}: {}", check.name, check.detail)).collect();
    if failed.is_empty() {
        let checks = params.verbose.is_some_and(|v| v != "false").then_some(checks);
        return Json(Readiness { ready: true, checks }).into_response();
    }
    let problem = Problem::new(Cause::Unavailable, format!("not ready: {}", failed.join("; ")));
    problem.with("ready", json!(false)).with("checks", json!(checks)).into_response()
}

async fn checks(state: &ApiState) -> Vec<Check> {
    let store = match state.store.healthy() {
        Ok(()) => Check { name: "store", ok: true, detail: "reads and writes".into() },
        Err(e) => Check { name: "store", ok: false, detail: e.to_string() },
    };
    let status = tokio::time::timeout(ANSWER_WITHIN, state.status()).await;
    let status =
        status.unwrap_or_else(|_| Err(Problem::new(Cause::TimedOut, "the node is busy or stuck; see its log")));
    match status {
        Ok(status) => vec![
            store,
            Check { name: "node", ok: true, detail: format!("up for {} s, {} peers", status.uptime_s, status.peers) },
            clock(&status),
            feeds(&status),
        ],
        Err(problem) => vec![store, Check { name: "node", ok: false, detail: problem.to_string() }],
    }
}

fn clock(status: &Status) -> Check {
    let Some(offset) = status.clock_offset_ms else {
        return Check { name: "clock", ok: true, detail: "no peers to compare with".into() };
    };
    let ok = offset.unsigned_abs() <= CLOCK_MS;
    let advice = if ok { "" } else { "; set this machine's clock (is NTP running?)" };
    Check { name: "clock", ok, detail: format!("the peers' median is {offset} ms from this clock{advice}") }
}

fn feeds(status: &Status) -> Check {
    let wanted = status.feeds_wanted;
    let ok = wanted == 0;
    let detail = if ok { "nothing known is missing".into() } else { format!("{wanted} feeds are being caught up") };
    Check { name: "feeds", ok, detail }
}
