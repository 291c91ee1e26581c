//! The kinds of messages and their schemas.

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::params::Part;
use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::wire::kind::UnknownName;
use crate::wire::{Category, Kind};

/// One kind of message.
#[derive(Serialize, JsonSchema)]
pub struct KindInfo {
    /// As it is given when publishing: `Data/ExchangeData`.
    kind: String,
    category: Category,
    message_type: &'static str,
    /// Its number on the wire.
    tag: u16,
    /// Version of its schema.
    schema_version: u16,
    /// Its messages are not kept.
    ephemeral: bool,
    /// What it says, in one line.
    description: &'static str,
}

/// All kinds.
#[derive(Serialize, JsonSchema)]
pub struct Kinds {
    kinds: Vec<KindInfo>,
}

/// One kind and the schema of its payload.
#[derive(Serialize, JsonSchema)]
pub struct KindSchema {
    #[serde(flatten)]
    info: KindInfo,
    /// JSON Schema, draft 2020-12.
    schema: Value,
}

impl From<Kind> for KindInfo {
    fn from(kind: Kind) -> KindInfo {
        KindInfo {
            kind: kind.to_string(),
            category: kind.category(),
            message_type: kind.name(),
            tag: kind.tag(),
            schema_version: kind.schema_version(),
            ephemeral: kind.is_ephemeral(),
            description: kind.description(),
        }
    }
}

/// All kinds of messages.
#[utoipa::path(
    get,
    path = "/v1/kinds",
    tag = "kinds",
    responses((status = 200, description = "The kinds", body = ref("#/components/schemas/Kinds"), content_type = "application/json")),
)]
pub async fn list(State(_): State<ApiState>) -> Json<Kinds> {
    Json(Kinds { kinds: Kind::ALL.iter().map(|kind| KindInfo::from(*kind)).collect() })
}

/// A kind by its type, and the schema of its payload.
#[utoipa::path(
    get,
    path = "/v1/kinds/{kind}",
    tag = "kinds",
    params(("kind" = String, Path, description = "The type: `ExchangeData`")),
    responses(
        (status = 200, description = "The kind", body = ref("#/components/schemas/KindSchema"), content_type = "application/json"),
        (status = 404, description = "No such kind", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(State(_): State<ApiState>, Part(kind): Part<String>) -> Result<Json<KindSchema>, Problem> {
    known(&kind)
}

/// A kind by its category and type, and the schema of its payload.
#[utoipa::path(
    get,
    path = "/v1/kinds/{category}/{message_type}",
    tag = "kinds",
    params(
        ("category" = String, Path, description = "The category: `Data`"),
        ("message_type" = String, Path, description = "The type: `ExchangeData`"),
    ),
    responses(
        (status = 200, description = "The kind", body = ref("#/components/schemas/KindSchema"), content_type = "application/json"),
        (status = 404, description = "No such kind", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show_of_category(
    State(_): State<ApiState>,
    Path((category, message_type)): Path<(String, String)>,
) -> Result<Json<KindSchema>, Problem> {
    known(&format!("{category}/{message_type}"))
}

fn known(text: &str) -> Result<Json<KindSchema>, Problem> {
    let kind: Kind = text.parse().map_err(|e: UnknownName| Problem::new(Cause::NotFound, e.to_string()))?;
    Ok(Json(KindSchema { info: kind.into(), schema: kind.schema() }))
}
