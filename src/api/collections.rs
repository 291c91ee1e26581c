//! Replicated state, read: which collections there are, what is in them, what was, and what lost.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cells::{forgotten, then};
use super::params::{Params, Part, parsed};
use super::problem::{Cause, Problem};
use super::reader::Written;
use super::state::ApiState;
use crate::crdt::{self, CollectionInfo, Conflict, Listed, Past, Reason, Recount, Then};
use crate::types::{Hash, MessageId, NodeId, Version, WallMs, limits};
use crate::wire::kind::state::{Op, collection_fault, path_fault};

/// Entries of a page if nothing else is asked.
const PAGE: usize = 100;
/// Rows counted in one reading of a check.
const COUNT_ROWS: usize = 20_000;
/// How often a check begins anew because something was written meanwhile.
const CHECK_TRIES: usize = 5;

/// The replicated state of a node.
#[derive(Serialize, JsonSchema)]
pub struct Collections {
    /// The root over all collections; equal at nodes that retain the same writes.
    root: Hash,
    /// By name.
    collections: Vec<CollectionInfo>,
}

/// Collections of replicated state.
#[utoipa::path(
    get,
    path = "/v1/state",
    tag = "state",
    responses((status = 200, description = "The collections", body = ref("#/components/schemas/Collections"), content_type = "application/json")),
)]
pub async fn list(State(state): State<ApiState>) -> Result<Json<Collections>, Problem> {
    let root = state.status().await?.state_root.unwrap_or_default();
    let collections = state.read(|view| crdt::collections(view)).await?;
    Ok(Json(Collections { root, collections }))
}

/// Which cells to read.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// At and below this path; by default all of the collection.
    prefix: Option<String>,
    /// After this: `next` of the page before.
    after: Option<String>,
    /// At most so many, 1 to 1,000; by default 100.
    limit: Option<usize>,
}

impl PageParams {
    fn prefix(&self) -> Result<String, Problem> {
        let prefix = self.prefix.clone().unwrap_or_default();
        if prefix.is_empty() { Ok(prefix) } else { path(&prefix) }
    }
}

fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(PAGE);
    let most = limits::STATE_PAGE;
    let fits = (1..=most).contains(&limit);
    if fits { Ok(limit) } else { Err(Problem::request(format!("limit: use 1 to {most}, and read on from `next`"))) }
}

/// A collection's name, if it can be one.
pub fn collection(name: String) -> Result<String, Problem> {
    collection_fault(&name).map_or(Ok(name), |fault| Err(Problem::request(format!("collection: {fault}"))))
}

/// A path, if it can be one.
pub fn path(path: &str) -> Result<String, Problem> {
    path_fault(path).map_or(Ok(path.into()), |fault| Err(Problem::request(format!("path: {fault}"))))
}

/// Which cells to read, and as of when.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CellsParams {
    /// At and below this path; by default all of the collection.
    prefix: Option<String>,
    /// After this: `next` of the page before.
    after: Option<String>,
    /// At most so many, 1 to 1,000; by default 100.
    limit: Option<usize>,
    /// What was there at this time, milliseconds since 1970, by the writes made until then.
    at_ms: Option<u64>,
    /// What this node knew when its next event was to have this number.
    known: Option<u64>,
}

/// What is in a collection, in pages, in the order of paths; or what was, with the paths of which that is forgotten.
#[utoipa::path(
    get,
    path = "/v1/state/{collection}/cells",
    tag = "state",
    params(("collection" = String, Path, description = "Its name"), CellsParams),
    responses(
        (status = 200, description = "A page", body = ref("#/components/schemas/Listed"), content_type = "application/json"),
        (status = 404, description = "There was no such time; `known_from` or `known_until` says what can be asked", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn cells(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Params(params): Params<CellsParams>,
) -> Result<Written, Problem> {
    let CellsParams { prefix, after, limit: most, at_ms, known } = params;
    let (then, page) = (then(at_ms, known)?, PageParams { prefix, after, limit: most });
    let (name, prefix, limit) = (collection(name)?, page.prefix()?, limit(page.limit)?);
    let read = state.read(move |view| {
        let (cells, after) = (crdt::State::of(&name, view), page.after.as_deref());
        let listed: Listed = match then {
            None => cells.list(&prefix, after, limit),
            Some(then) => cells.list_at(&prefix, after, limit, then).map_err(forgotten)?,
        };
        Written::new(&listed)
    });
    read.await?
}

/// Which past to read.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PastParams {
    /// The path.
    path: String,
    /// Older than this version: `next` of the page before.
    before: Option<String>,
    /// At most so many, 1 to 1,000; by default 100.
    limit: Option<usize>,
    /// Those that this node knew when its next event was to have this number, with what they counted for then.
    known: Option<u64>,
}

/// The writes to a path.
#[derive(Serialize, JsonSchema)]
pub struct History {
    /// Those that are known, newest first.
    writes: Vec<Past>,
    /// Go on before this version; none at the end.
    next: Option<Version>,
}

/// The writes to a path that are known, newest first. Of each cell the newest 32 are remembered, or a few more.
#[utoipa::path(
    get,
    path = "/v1/state/{collection}/history",
    tag = "state",
    params(("collection" = String, Path, description = "Its name"), PastParams),
    responses(
        (status = 200, description = "A page", body = ref("#/components/schemas/History"), content_type = "application/json"),
        (status = 404, description = "What was known then is not remembered; `known_from` says what is", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn history(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Params(params): Params<PastParams>,
) -> Result<Written, Problem> {
    let (name, path, limit) = (collection(name)?, path(&params.path)?, limit(params.limit)?);
    let before = parsed::<Version>("before", params.before.as_deref())?;
    let read = state.read(move |view| {
        let cells = crdt::State::of(&name, view);
        let writes = match params.known {
            None => cells.history(&path, before, limit),
            Some(number) => cells.history_at(&path, before, limit, Then::Known(number)).map_err(forgotten)?,
        };
        let next = writes.last().filter(|_| writes.len() == limit).map(|past| past.version);
        Written::new(&History { writes, next })
    });
    read.await?
}

/// A write that lost.
#[derive(Serialize, JsonSchema)]
pub struct Lost {
    /// Where.
    path: String,
    /// Which.
    version: Version,
    /// What took its place, if something did.
    winner: Option<Version>,
    /// Why it does not stand.
    reason: Reason,
    /// When that was found, by this node's clock.
    found_ms: WallMs,
    /// What it did.
    op: Op,
    /// Who wrote it.
    author: NodeId,
    /// In which message.
    message: MessageId,
    /// When, by its author's clock.
    written_ms: u64,
    /// Which client of the author, if it said.
    client: Option<String>,
}

impl Lost {
    fn of(conflict: &Conflict) -> Lost {
        let body = conflict.body();
        Lost {
            path: conflict.path().into(),
            version: conflict.version,
            winner: conflict.winner,
            reason: conflict.reason,
            found_ms: conflict.at,
            op: body.op.clone(),
            author: body.author,
            message: body.message,
            written_ms: conflict.version.stamp.ms(),
            client: body.client.clone(),
        }
    }
}

/// A page of the conflict log.
#[derive(Serialize, JsonSchema)]
pub struct Conflicts {
    /// In the order of paths.
    conflicts: Vec<Lost>,
    /// Read on with `after` this; none at the end.
    next: Option<String>,
}

/// The conflict log: writes that do not stand and were not seen by what took their place.
///
/// It is this node's own: what one node saw as a conflict, another may have seen in order.
#[utoipa::path(
    get,
    path = "/v1/state/{collection}/conflicts",
    tag = "state",
    params(("collection" = String, Path, description = "Its name"), PageParams),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/Conflicts"), content_type = "application/json")),
)]
pub async fn conflicts(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Params(params): Params<PageParams>,
) -> Result<Written, Problem> {
    let (name, prefix, limit) = (collection(name)?, params.prefix()?, limit(params.limit)?);
    let unchanged = |_| Problem::request("after: give `next` of the page before unchanged");
    let after = params.after.map(hex::decode).transpose().map_err(unchanged)?;
    let read = state.read(move |view| {
        let found = crdt::conflicts(&name, &prefix, after.as_deref(), limit, view);
        let next = found.last().filter(|_| found.len() == limit).map(|last| hex::encode(last.cursor()));
        Written::new(&Conflicts { conflicts: found.iter().map(Lost::of).collect(), next })
    });
    read.await?
}

/// Whether what is counted of a collection is what is there.
#[derive(Serialize, JsonSchema)]
pub struct Checked {
    /// The collection.
    collection: String,
    /// Count and root are those of the rows.
    sound: bool,
    /// Writes that are retained, as counted, and as found.
    retained: u64,
    found: u64,
    /// The root, as kept, and over what was found.
    root: Hash,
    found_root: Hash,
}

/// Recounts a collection from its rows, and compares.
#[utoipa::path(
    get,
    path = "/v1/state/{collection}/check",
    tag = "state",
    params(("collection" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "What was found", body = ref("#/components/schemas/Checked"), content_type = "application/json"),
        (status = 503, description = "It is written to without a pause", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn check(State(state): State<ApiState>, Part(name): Part<String>) -> Result<Json<Checked>, Problem> {
    let name = collection(name)?;
    for _ in 0..CHECK_TRIES {
        let before = info(&state, &name).await?;
        let mut count = Recount::default();
        while {
            let (name, mut part) = (name.clone(), count);
            let read = state.read(move |view| {
                part.go_on(&name, COUNT_ROWS, view);
                part
            });
            count = read.await?;
            count.next.is_some()
        } {}
        if info(&state, &name).await? == before {
            let sound = (before.retained, before.root) == (count.retained, count.hash());
            let (retained, root) = (before.retained, before.root);
            let (found, found_root) = (count.retained, count.hash());
            return Ok(Json(Checked { collection: name, sound, retained, found, root, found_root }));
        }
    }
    Err(Problem::new(Cause::Unavailable, format!("`{name}` is written to without a pause; check it in a quieter hour")))
}

async fn info(state: &ApiState, name: &str) -> Result<CollectionInfo, Problem> {
    let all = state.read(|view| crdt::collections(view)).await?;
    let found = all.into_iter().find(|info| info.name == name);
    found.ok_or_else(|| Problem::new(Cause::NotFound, format!("nothing is in the collection `{name}`")))
}
