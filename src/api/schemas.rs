//! The registry of schemas: what is registered, registering, and comparing without registering.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::params::{Asked, Params, Part};
use super::problem::{Cause, LineFault, Problem};
use super::state::{ApiState, unexpected};
use crate::node::{Ack, Answer, Call};
use crate::schema::{Conflict, Document, Subject, Verdict, Version, subjects};
use crate::types::{MessageId, NodeId, WallMs};
use crate::wire::kind::Json as Text;
use crate::wire::kind::schemas::{Compatibility, SchemaRegistration};
use crate::wire::{Draft, Fault, FaultCode, Faults, Payload};

/// Subjects of one page, by default and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1_000;

/// One subject.
#[derive(Serialize, JsonSchema)]
pub struct SchemaSummary {
    /// The type of Custom messages it is about.
    subject: String,
    /// Who registered it first, and alone may go on; none while nothing counts.
    owner: Option<NodeId>,
    /// The last version; 0 while nothing counts.
    latest: u32,
    /// What the next version is held to.
    compatibility: Compatibility,
    /// Registrations that do not count.
    not_counted: usize,
}

/// Subjects, in order of name.
#[derive(Serialize, JsonSchema)]
pub struct Schemas {
    schemas: Vec<SchemaSummary>,
    /// There are more: ask with `after` set to the last one.
    more: bool,
}

/// A version and where it was said.
#[derive(Serialize, JsonSchema)]
pub struct SchemaVersionInfo {
    version: u32,
    /// What the next version is held to.
    compatibility: Compatibility,
    /// The message that registered it.
    message: MessageId,
    author: NodeId,
    /// When its author said it, by its own clock; when it came to this node. Milliseconds since 1970.
    said_ms: WallMs,
    arrived_ms: WallMs,
    /// Size of the document as compact text.
    size_bytes: usize,
}

/// A version with its document.
#[derive(Serialize, JsonSchema)]
pub struct SchemaVersion {
    subject: String,
    #[serde(flatten)]
    info: SchemaVersionInfo,
    /// JSON Schema, draft 2020-12.
    schema: Value,
}

/// A registration that does not count.
#[derive(Serialize, JsonSchema)]
pub struct NotCounted {
    #[serde(flatten)]
    info: SchemaVersionInfo,
    /// Why not.
    #[schemars(with = "Vec<super::problem::FaultForm>")]
    faults: Vec<Fault>,
}

/// A subject with all that was ever registered for it.
#[derive(Serialize, JsonSchema)]
pub struct SchemaHistory {
    #[serde(flatten)]
    summary: SchemaSummary,
    /// Those that count, 1 first.
    versions: Vec<SchemaVersionInfo>,
    /// Those that do not, in order of message id.
    passed: Vec<NotCounted>,
}

/// A new version.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchema {
    /// JSON Schema, draft 2020-12, up to 32 KiB.
    schema: Value,
    /// What the version after it is to be held to; by default what this one is held to, and `backward` for the first.
    compatibility: Option<Compatibility>,
    /// The number it is to have; by default the next.
    version: Option<u32>,
}

/// A schema to be compared.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaToCheck {
    schema: Value,
    /// What it is held to; by default what the last version asks for.
    compatibility: Option<Compatibility>,
}

/// What a comparison came to.
#[derive(Serialize, JsonSchema)]
pub struct SchemaCheck {
    subject: String,
    /// What it was held to.
    compatibility: Compatibility,
    verdict: Verdict,
    /// The versions it does not go with, the last one first.
    conflicts: Vec<Conflict>,
}

/// Which subjects.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SchemaParams {
    /// Those after this one.
    after: Option<String>,
    /// At most so many, 1 to 1,000; by default 100.
    limit: Option<usize>,
}

/// The subjects of the registry.
#[utoipa::path(
    get,
    path = "/v1/schemas",
    tag = "schemas",
    params(SchemaParams),
    responses((status = 200, description = "Subjects", body = ref("#/components/schemas/Schemas"), content_type = "application/json")),
)]
pub async fn list(
    State(state): State<ApiState>,
    Params(params): Params<SchemaParams>,
) -> Result<Json<Schemas>, Problem> {
    let limit = params.limit.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(Problem::request(format!("limit: use 1 to {LONGEST_PAGE}")));
    }
    let judge = state.judge.clone();
    let read = state.read(move |view| {
        let mut names = subjects(params.after.as_deref(), limit + 1, view);
        let more = names.len() > limit;
        names.truncate(limit);
        let schemas = names.iter().filter_map(|name| judge.subject(name)).map(|subject| summary(&subject)).collect();
        Schemas { schemas, more }
    });
    read.await.map(Json)
}

/// A subject: its versions, and what was registered and does not count.
#[utoipa::path(
    get,
    path = "/v1/schemas/{subject}",
    tag = "schemas",
    params(("subject" = String, Path, description = "The type of Custom messages")),
    responses(
        (status = 200, description = "The subject", body = ref("#/components/schemas/SchemaHistory"), content_type = "application/json"),
        (status = 404, description = "Nobody registered it", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn history(State(state): State<ApiState>, Part(name): Part<String>) -> Result<Json<SchemaHistory>, Problem> {
    let subject = known(&state, name).await?;
    let passed = subject
        .passed()
        .iter()
        .map(|passed| NotCounted { info: info(&passed.registration), faults: passed.faults.as_slice().to_vec() });
    Ok(Json(SchemaHistory {
        summary: summary(&subject),
        versions: subject.versions().iter().map(|version| info(&version.registration)).collect(),
        passed: passed.collect(),
    }))
}

/// One version of a schema.
#[utoipa::path(
    get,
    path = "/v1/schemas/{subject}/versions/{version}",
    tag = "schemas",
    params(
        ("subject" = String, Path, description = "The type of Custom messages"),
        ("version" = String, Path, description = "Its number, or `latest`"),
    ),
    responses(
        (status = 200, description = "The version", body = ref("#/components/schemas/SchemaVersion"), content_type = "application/json"),
        (status = 404, description = "No such version", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(state): State<ApiState>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<SchemaVersion>, Problem> {
    let number: Option<u32> = match version.as_str() {
        "latest" => None,
        digits => Some(digits.parse().map_err(|_| Problem::request("a version is a number from 1, or `latest`"))?),
    };
    let subject = known(&state, name).await?;
    let found = subject.version(number.unwrap_or(subject.latest()));
    let found = found.ok_or_else(|| {
        let detail = format!("{} has no version {version}; the last is {}", subject.name(), subject.latest());
        Problem::new(Cause::NotFound, detail)
    })?;
    Ok(Json(shown(&subject, found)))
}

/// Registers a new version.
///
/// Answers when the registration is on the disk here; it reaches the other nodes like any message. What is the last
/// version already is not registered again: it is answered with 200.
#[utoipa::path(
    post,
    path = "/v1/schemas/{subject}/versions",
    tag = "schemas",
    params(("subject" = String, Path, description = "The type of Custom messages")),
    request_body(content = ref("#/components/schemas/NewSchema"), content_type = "application/json"),
    responses(
        (status = 201, description = "Registered", body = ref("#/components/schemas/SchemaVersion"), content_type = "application/json"),
        (status = 200, description = "It is the last version already", body = ref("#/components/schemas/SchemaVersion"), content_type = "application/json"),
        (status = 422, description = "It may not be registered, and why", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn add(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Asked(asked): Asked<NewSchema>,
) -> Result<(StatusCode, Json<SchemaVersion>), Problem> {
    let own = state.status().await?.id;
    let subject = subject(&state, name.clone()).await?;
    if let Some(last) = already(&subject, own, &asked) {
        return Ok((StatusCode::OK, Json(shown(&subject, last))));
    }
    let usual = if subject.latest() == 0 { Compatibility::default() } else { subject.compatibility() };
    let payload = Payload::SchemaRegistration(SchemaRegistration {
        subject: name.clone(),
        version: asked.version.unwrap_or(subject.latest() + 1),
        compatibility: asked.compatibility.unwrap_or(usual),
        schema: Text::from(&asked.schema),
    });
    let mut faults = Faults::default();
    payload.check(&mut faults);
    let draft = Draft::new(&payload);
    if faults.is_empty() {
        let (judge, draft) = (state.judge.clone(), draft.clone());
        faults = state.read(move |_| judge.before(own, &draft)).await?;
    }
    if !faults.is_empty() {
        return Err(refused(&name, &faults));
    }
    let id = said(&state, draft).await?;
    let subject = known(&state, name.clone()).await?;
    match subject.counted(id) {
        Some(version) => Ok((StatusCode::CREATED, Json(shown(&subject, version)))),
        None => {
            let passed = subject.passed().iter().find(|passed| passed.registration.message == id);
            Err(refused(&name, &passed.map(|passed| passed.faults.clone()).unwrap_or_default()))
        }
    }
}

/// Compares a schema with the versions there are; registers nothing.
#[utoipa::path(
    post,
    path = "/v1/schemas/{subject}/check",
    tag = "schemas",
    params(("subject" = String, Path, description = "The type of Custom messages")),
    request_body(content = ref("#/components/schemas/SchemaToCheck"), content_type = "application/json"),
    responses(
        (status = 200, description = "What it came to", body = ref("#/components/schemas/SchemaCheck"), content_type = "application/json"),
        (status = 422, description = "It is no schema for this registry", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn check(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Asked(asked): Asked<SchemaToCheck>,
) -> Result<Json<SchemaCheck>, Problem> {
    let subject = subject(&state, name).await?;
    let compared = state.read(move |_| {
        let compatibility = asked.compatibility.unwrap_or(subject.compatibility());
        let document =
            Document::read(&asked.schema, "/payload/schema").map_err(|faults| refused(subject.name(), &faults))?;
        let conflicts = subject.conflicts(compatibility, &document);
        Ok(SchemaCheck { subject: subject.name().into(), compatibility, verdict: Verdict::of(&conflicts), conflicts })
    });
    compared.await?.map(Json)
}

/// A subject as it is now, or an empty one.
async fn subject(state: &ApiState, name: String) -> Result<Arc<Subject>, Problem> {
    let judge = state.judge.clone();
    let read = state.read(move |_| judge.subject(&name).unwrap_or_else(|| Arc::new(Subject::fold(&name, Vec::new()))));
    read.await
}

/// A subject that somebody registered.
async fn known(state: &ApiState, name: String) -> Result<Arc<Subject>, Problem> {
    let judge = state.judge.clone();
    let missing = format!("nobody registered a schema for `{name}`; `metanode schema ls` lists those there are");
    let found = state.read(move |_| judge.subject(&name)).await?;
    found.ok_or_else(|| Problem::new(Cause::NotFound, missing))
}

/// The last version, if it is what is to be registered.
fn already<'a>(subject: &'a Subject, own: NodeId, asked: &NewSchema) -> Option<&'a Version> {
    let last = subject.versions().last().filter(|_| subject.owner() == Some(own))?;
    let same = *last.document.source() == asked.schema
        && asked.compatibility.is_none_or(|mode| mode == subject.compatibility())
        && asked.version.is_none_or(|version| version == subject.latest());
    same.then_some(last)
}

async fn said(state: &ApiState, draft: Draft) -> Result<MessageId, Problem> {
    match state.client.call(Call::Publish { drafts: vec![draft], ack: Ack::Durable }).await? {
        Answer::Published { ids } => ids
            .into_iter()
            .next()
            .ok_or_else(|| Problem::new(Cause::Internal, "the node gave the registration no id; please report this")),
        other => Err(unexpected(&other)),
    }
}

fn refused(subject: &str, faults: &Faults) -> Problem {
    let relative = |fault: &Fault| Fault {
        path: fault.path.strip_prefix("/payload").unwrap_or(&fault.path).into(),
        ..fault.clone()
    };
    let faults: Vec<LineFault> =
        faults.as_slice().iter().map(|fault| LineFault { line: None, fault: relative(fault) }).collect();
    let owned = faults.iter().any(|one| one.fault.code == FaultCode::NotAuthorised);
    let advice = if owned {
        "`metanode schema history` shows who owns it"
    } else {
        "mend it and try again; docs/schemas.md says what a schema may say and what is compared"
    };
    Problem::new(Cause::Invalid, format!("this is no next version of {subject}; {advice}"))
        .with("faults", json!(faults))
}

fn summary(subject: &Subject) -> SchemaSummary {
    SchemaSummary {
        subject: subject.name().into(),
        owner: subject.owner(),
        latest: subject.latest(),
        compatibility: subject.compatibility(),
        not_counted: subject.passed().len(),
    }
}

fn shown(subject: &Subject, version: &Version) -> SchemaVersion {
    SchemaVersion {
        subject: subject.name().into(),
        info: info(&version.registration),
        schema: version.document.source().clone(),
    }
}

fn info(registration: &crate::schema::Registration) -> SchemaVersionInfo {
    let said = &registration.said;
    SchemaVersionInfo {
        version: said.version,
        compatibility: said.compatibility,
        message: registration.message,
        author: registration.author,
        said_ms: registration.message.stamp().wall(),
        arrived_ms: registration.arrived,
        size_bytes: said.schema.as_str().len(),
    }
}
