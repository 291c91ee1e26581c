//! Replicated state, cell by cell: read, put, delete, many at once, and written again after a conflict.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::collections::{collection, path};
use super::params::{Asked, Params, Part, parsed};
use super::pending::{Held, Sure, held_by_peers};
use super::problem::{Cause, Problem};
use super::state::{ApiState, unexpected};
use crate::crdt::{self, Cell, Condition, Forgotten, Then, Wish, Wished};
use crate::node::{Answer, Call, Restore, Write, Wrote};
use crate::types::{MessageId, Stamp, Version};
use crate::wire::kind::Json as Text;

/// The last millisecond a stamp can have.
const LAST_MS: u64 = (1 << 48) - 1;

/// Which cell.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CellParams {
    /// The path: segments between slashes.
    path: String,
    /// Reading: what was there at this time, milliseconds since 1970, by the writes made until then.
    at_ms: Option<u64>,
    /// Reading: what this node knew when its next event was to have this number, whenever it was written. Events and
    /// their numbers are at `/v1/state/changes`.
    known: Option<u64>,
}

impl CellParams {
    /// Only the present can be written.
    fn present(&self) -> Result<(), Problem> {
        let past = self.at_ms.or(self.known);
        past.map_or(Ok(()), |_| Err(Problem::request("at_ms, known: the past can be read, not written")))
    }
}

/// Which past is asked for, if one is.
pub(super) fn then(at_ms: Option<u64>, known: Option<u64>) -> Result<Option<Then>, Problem> {
    match (at_ms, known) {
        (None, None) => Ok(None),
        (Some(ms), None) => Ok(Some(Then::Made(Stamp::new(ms.min(LAST_MS), u16::MAX)))),
        (None, Some(number)) => Ok(Some(Then::Known(number))),
        (Some(_), Some(_)) => Err(Problem::request("at_ms and known are two pasts; give one")),
    }
}

/// A past that is not remembered, or was not yet: `known_from`, `known_until` or `oldest_ms` says what can be asked.
pub(super) fn forgotten(why: Forgotten) -> Problem {
    let (name, number) = match why {
        Forgotten::OldestMs(ms) => ("oldest_ms", ms),
        Forgotten::KnownFrom(from) => ("known_from", from),
        Forgotten::NotYet(end) => ("known_until", end),
    };
    Problem::new(Cause::NotFound, why.to_string()).with(name, number.into())
}

/// What is at a path, or was: a register, a counter, the elements of a set, or several of them.
#[utoipa::path(
    get,
    path = "/v1/state/{collection}/cell",
    tag = "state",
    params(("collection" = String, Path, description = "Its name"), CellParams),
    responses(
        (status = 200, description = "What is there", body = ref("#/components/schemas/Cell"), content_type = "application/json"),
        (status = 404, description = "Nothing is there; or what was is not remembered, then `known_from` or `oldest_ms` says what is", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Params(params): Params<CellParams>,
) -> Result<Json<Cell>, Problem> {
    let (name, path) = (collection(name)?, path(&params.path)?);
    let nothing = Problem::new(Cause::NotFound, format!("there is nothing at `{path}` in `{name}`"));
    let then = then(params.at_ms, params.known)?;
    let read = state.read(move |view| match then {
        None => Ok(crdt::State::of(&name, view).cell(&path)),
        Some(then) => crdt::State::of(&name, view).cell_at(&path, then),
    });
    let cell = read.await?.map_err(forgotten)?;
    cell.filter(|cell| !cell.is_empty()).map(Json).ok_or(nothing)
}

/// What a register is to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// Its value.
    value: Value,
    /// Only if this version stands.
    #[serde(default)]
    if_version: Option<Version>,
    /// Only if it has no value.
    #[serde(default)]
    if_absent: bool,
    /// Which client writes, for the others to know.
    #[serde(default)]
    client: Option<String>,
    /// How sure to be before the answer: accepted, written or durable, which is usual; or `peers:2`: two others hold it.
    #[serde(default)]
    ack: Sure,
}

/// What writing came to.
#[derive(Serialize, JsonSchema)]
pub struct WrittenCells {
    /// The message that says it; none if there was nothing to do.
    message: Option<MessageId>,
    /// The version each change made, in their order; none where there was nothing to do.
    versions: Vec<Option<Version>>,
    /// Which other nodes hold it, where `ack` asks for some.
    #[serde(flatten)]
    held: Option<Held>,
}

fn condition(if_version: Option<Version>, if_absent: bool) -> Result<Condition, Problem> {
    match (if_version, if_absent) {
        (None, false) => Ok(Condition::None),
        (None, true) => Ok(Condition::Absent),
        (Some(version), false) => Ok(Condition::Version(version)),
        (Some(_), true) => Err(Problem::new(Cause::Invalid, "if_version and if_absent cannot both hold; give one")),
    }
}

/// Puts a value into a register. Whoever has not seen it, and writes as well, is told.
#[utoipa::path(
    put,
    path = "/v1/state/{collection}/cell",
    tag = "state",
    params(("collection" = String, Path, description = "Its name"), CellParams),
    request_body(content = ref("#/components/schemas/Put"), content_type = "application/json"),
    responses(
        (status = 200, description = "It stands here", body = ref("#/components/schemas/WrittenCells"), content_type = "application/json"),
        (status = 403, description = "The collection is another node's", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 409, description = "Another version stands; it is in `current`", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn put(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Params(params): Params<CellParams>,
    Asked(put): Asked<Put>,
) -> Result<Json<WrittenCells>, Problem> {
    params.present()?;
    let condition = condition(put.if_version, put.if_absent)?;
    let wished = Wished::Put(Text::from(&put.value));
    let wishes = vec![Wish { path: path(&params.path)?, wished, condition }];
    let Sure { ack, peers } = put.ack;
    write(&state, Write { collection: collection(name)?, client: put.client, wishes, restores: None, ack }, peers).await
}

/// What to delete.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteParams {
    /// The path.
    path: String,
    /// Everything at the path and below it, not only the register.
    #[serde(default)]
    prefix: bool,
    /// Only if this version of the register stands.
    if_version: Option<String>,
    /// Which client writes, for the others to know.
    client: Option<String>,
    /// How sure to be before the answer: accepted, written or durable, which is usual; or `peers:2`: two others hold it.
    ack: Option<String>,
}

/// Deletes a register, or everything at and below a path.
#[utoipa::path(
    delete,
    path = "/v1/state/{collection}/cell",
    tag = "state",
    params(("collection" = String, Path, description = "Its name"), DeleteParams),
    responses(
        (status = 200, description = "It is gone here", body = ref("#/components/schemas/WrittenCells"), content_type = "application/json"),
        (status = 409, description = "Another version stands; it is in `current`", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn remove(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Params(params): Params<DeleteParams>,
) -> Result<Json<WrittenCells>, Problem> {
    let if_version = parsed("if_version", params.if_version.as_deref())?;
    if params.prefix && if_version.is_some() {
        return Err(Problem::request("if_version: one version is not all that is below a path"));
    }
    let wished = if params.prefix { Wished::DeletePrefix } else { Wished::Delete };
    let wishes = vec![Wish { path: path(&params.path)?, wished, condition: condition(if_version, false)? }];
    let Sure { ack, peers } = parsed("ack", params.ack.as_deref())?.unwrap_or_default();
    let write_to = Write { collection: collection(name)?, client: params.client, wishes, restores: None, ack };
    write(&state, write_to, peers).await
}

/// What is done at a path.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Do {
    /// The register is to have this value.
    Put(Value),
    /// The register is to have none.
    Delete,
    /// Nothing is to be at the path or below it.
    DeletePrefix,
    /// The set is to have this element.
    Add(Value),
    /// The set is not to have this element.
    Remove(Value),
    /// The set is to have this element in place of all that are there now. Who does so without having seen another's
    /// leaves both: a register that keeps what is concurrent.
    Assign(Value),
    /// The counter is to have so much more, or less.
    Count(i64),
}

/// One change of many.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Where.
    path: String,
    /// What.
    #[serde(rename = "do")]
    does: Do,
    /// Only if this version of the register stands.
    #[serde(default)]
    if_version: Option<Version>,
    /// Only if the register has no value.
    #[serde(default)]
    if_absent: bool,
}

/// Changes that are made together or not at all, everywhere.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// 1 to 64 of them, each of another cell.
    changes: Vec<Step>,
    /// Which client writes, for the others to know.
    #[serde(default)]
    client: Option<String>,
    /// How sure to be before the answer: accepted, written or durable, which is usual; or `peers:2`: two others hold it.
    #[serde(default)]
    ack: Sure,
}

impl Step {
    fn wish(self) -> Result<Wish, Problem> {
        let wished = match self.does {
            Do::Put(value) => Wished::Put(Text::from(&value)),
            Do::Delete => Wished::Delete,
            Do::DeletePrefix => Wished::DeletePrefix,
            Do::Add(element) => Wished::Add(Text::from(&element)),
            Do::Remove(element) => Wished::Remove(Text::from(&element)),
            Do::Assign(element) => Wished::Assign(Text::from(&element)),
            Do::Count(by) => Wished::Count(by),
        };
        let condition = condition(self.if_version, self.if_absent)?;
        if condition != Condition::None && !matches!(wished, Wished::Put(_) | Wished::Delete) {
            return Err(Problem::new(Cause::Invalid, "if_version and if_absent are for put and delete"));
        }
        Ok(Wish { path: path(&self.path)?, wished, condition })
    }
}

/// Makes several changes of a collection at once: registers, sets, counters. All of them or none; every node sees all of
/// them or none.
#[utoipa::path(
    post,
    path = "/v1/state/{collection}/batch",
    tag = "state",
    params(("collection" = String, Path, description = "Its name")),
    request_body(content = ref("#/components/schemas/Batch"), content_type = "application/json"),
    responses(
        (status = 200, description = "They stand here", body = ref("#/components/schemas/WrittenCells"), content_type = "application/json"),
        (status = 409, description = "Another version stands; it is in `current`", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 422, description = "They cannot be kept", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn batch(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Asked(batch): Asked<Batch>,
) -> Result<Json<WrittenCells>, Problem> {
    if batch.changes.is_empty() {
        return Err(Problem::new(Cause::Invalid, "changes: there must be at least one"));
    }
    let wishes = batch.changes.into_iter().map(Step::wish).collect::<Result<Vec<_>, _>>()?;
    let Sure { ack, peers } = batch.ack;
    let write_to = Write { collection: collection(name)?, client: batch.client, wishes, restores: None, ack };
    write(&state, write_to, peers).await
}

/// What is to be written again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Again {
    /// Where.
    path: String,
    /// Which version of the conflict log.
    version: Version,
    /// Which client writes, for the others to know.
    #[serde(default)]
    client: Option<String>,
    /// How sure to be before the answer: accepted, written or durable, which is usual; or `peers:2`: two others hold it.
    #[serde(default)]
    ack: Sure,
}

/// Writes again what lost a conflict: it takes the place of what stands, and leaves the conflict log.
#[utoipa::path(
    post,
    path = "/v1/state/{collection}/restore",
    tag = "state",
    params(("collection" = String, Path, description = "Its name")),
    request_body(content = ref("#/components/schemas/Again"), content_type = "application/json"),
    responses(
        (status = 200, description = "It stands here", body = ref("#/components/schemas/WrittenCells"), content_type = "application/json"),
        (status = 404, description = "It is not in the conflict log", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn restore(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Asked(again): Asked<Again>,
) -> Result<Json<WrittenCells>, Problem> {
    let restore = Restore {
        collection: collection(name)?,
        path: path(&again.path)?,
        version: again.version,
        client: again.client,
        ack: again.ack.ack,
    };
    answered(&state, state.client.call(Call::Restore(Box::new(restore))).await?, again.ack.peers).await
}

/// Writes, and waits until so many others hold it.
pub(super) async fn write(state: &ApiState, write: Write, peers: u16) -> Result<Json<WrittenCells>, Problem> {
    answered(state, state.client.call(Call::Write(Box::new(write))).await?, peers).await
}

async fn answered(state: &ApiState, answer: Answer, peers: u16) -> Result<Json<WrittenCells>, Problem> {
    match answer {
        Answer::Wrote(Wrote { message, versions }) => {
            let held = match message {
                Some(message) => held_by_peers(state, message, peers).await?,
                None => None,
            };
            Ok(Json(WrittenCells { message, versions, held }))
        }
        other => Err(unexpected(&other)),
    }
}
