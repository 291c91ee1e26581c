//! How the node is: one document for people, scripts and dashboards. Its names are an interface.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::node::Status;

/// The node's state and what it uses of the machine.
#[derive(Serialize, JsonSchema)]
pub struct NodeState {
    #[serde(flatten)]
    status: Status,
    /// Version of the program.
    version: &'static str,
    /// Memory of the process that is in RAM, bytes; none where the system does not tell.
    resident_bytes: Option<u64>,
    /// The store's size on the disk, bytes.
    disk_bytes: u64,
    /// Clients that follow messages now.
    subscribers: usize,
    /// Alerts that fire now, by name.
    firing_alerts: Vec<String>,
}

/// The node's state.
#[utoipa::path(
    get,
    path = "/v1/status",
    tag = "node",
    responses((status = 200, description = "The state", body = ref("#/components/schemas/NodeState"), content_type = "application/json")),
)]
pub async fn show(State(state): State<ApiState>) -> Result<Json<NodeState>, Problem> {
    let status = state.status().await?;
    let (resident_bytes, disk_bytes) = used(&state).await?;
    let (subscribers, firing_alerts) = (state.subscribers(), super::flow::firing(&state));
    let version = env!("CARGO_PKG_VERSION");
    Ok(Json(NodeState { status, version, resident_bytes, disk_bytes, subscribers, firing_alerts }))
}

/// Memory and disk in use, bytes.
pub async fn used(state: &ApiState) -> Result<(Option<u64>, u64), Problem> {
    let store = state.store.clone();
    let work = move || (memory_stats::memory_stats().map(|used| used.physical_mem as u64), store.disk_bytes());
    let used = tokio::task::spawn_blocking(work).await;
    used.map_err(|e| Problem::new(Cause::Internal, format!("cannot be measured: {e}")))
}
