//! Floors of collections of replicated state: below which version only the writes of a set count.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::collections::collection;
use super::params::{Asked, Part};
use super::problem::{Cause, Problem};
use super::state::{ApiState, unexpected};
use crate::crdt::{self, Condition, FLOOR, Floor, Floors, Wish, Wished};
use crate::node::{Ack, Answer, Call, CountFloor, FloorRefusal, Write};
use crate::types::{Version, limits};

/// The floor of a collection: the one that counts at this node, and a higher one that it has not come to yet.
#[utoipa::path(
    get,
    path = "/v1/state/{collection}/floor",
    tag = "state",
    params(("collection" = String, Path, description = "Its name")),
    responses((status = 200, description = "Each of them, or null", body = ref("#/components/schemas/Floors"), content_type = "application/json")),
)]
pub async fn show(State(state): State<ApiState>, Part(name): Part<String>) -> Result<Json<Floors>, Problem> {
    let name = collection(name)?;
    Ok(Json(state.read(move |view| crdt::floors(&name, view)).await?))
}

/// Where the floor is to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewFloor {
    /// Below what is older than this, milliseconds; by default seven days.
    older_than_ms: u64,
    /// Only say what it would come to.
    dry_run: bool,
}

impl Default for NewFloor {
    fn default() -> NewFloor {
        NewFloor { older_than_ms: limits::FLOOR_AGE.as_millis() as u64, dry_run: false }
    }
}

/// A floor that was set, or what it would come to.
#[derive(Serialize, JsonSchema)]
pub struct FloorSet {
    /// Below which version only a set of writes counts, how many they are, and the sum over them.
    floor: Floor,
    /// Deletes, removals, prefix deletes and former floors that go.
    tombstones: u64,
    /// The write that says so, on the disk; none if it was only counted.
    version: Option<Version>,
}

/// Sets the floor of a collection: what is retained below stays, deletes and removals go, and nothing older comes back.
///
/// It is refused unless every node heard from in the last three days holds the same state. docs/floor.md has the rules.
#[utoipa::path(
    put,
    path = "/v1/state/{collection}/floor",
    tag = "state",
    params(("collection" = String, Path, description = "Its name")),
    request_body(content = ref("#/components/schemas/NewFloor"), content_type = "application/json"),
    responses(
        (status = 200, description = "It is set, or counted", body = ref("#/components/schemas/FloorSet"), content_type = "application/json"),
        (status = 403, description = "It is not this node's to set", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 409, description = "Not now: `peers` names nodes that hold something else", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn put(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Asked(new): Asked<NewFloor>,
) -> Result<Json<FloorSet>, Problem> {
    let name = collection(name)?;
    let older_than = Duration::from_millis(new.older_than_ms);
    let count = CountFloor { collection: name.clone(), older_than, dry: new.dry_run };
    let counted = match state.client.call(Call::CountFloor(count)).await? {
        Answer::Floor(counted) => counted,
        other => return Err(unexpected(&other)),
    };
    let (floor, tombstones) = (counted.floor, counted.tombstones);
    if new.dry_run {
        return Ok(Json(FloorSet { floor, tombstones, version: None }));
    }
    let wish = Wish { path: FLOOR.into(), wished: Wished::Put(floor.json()), condition: Condition::None };
    let write = Write { collection: name, client: None, wishes: vec![wish], restores: None, ack: Ack::Durable };
    match state.client.call(Call::Write(Box::new(write))).await? {
        Answer::Wrote(wrote) => {
            Ok(Json(FloorSet { floor, tombstones, version: wrote.versions.first().copied().flatten() }))
        }
        other => Err(unexpected(&other)),
    }
}

/// Why there is to be no floor; `peers` names the nodes that are waited for.
pub(super) fn refused(why: &FloorRefusal) -> Problem {
    let cause = match why {
        FloorRefusal::Denied(_) => Cause::Forbidden,
        FloorRefusal::NotAbove(_)
        | FloorRefusal::Busy
        | FloorRefusal::NotCounted
        | FloorRefusal::Late
        | FloorRefusal::Members(_) => Cause::Conflict,
    };
    let problem = Problem::new(cause, why.to_string());
    match why {
        FloorRefusal::Members(nodes) => problem.with("peers", serde_json::json!(nodes)),
        FloorRefusal::Denied(_)
        | FloorRefusal::NotAbove(_)
        | FloorRefusal::Busy
        | FloorRefusal::NotCounted
        | FloorRefusal::Late => problem,
    }
}
