//! Keys to seal messages for one reader: which are known, and making a new one of this node's.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::problem::{Cause, Problem};
use super::state::{ApiState, unexpected};
use super::vault::{OwnKey, Vault};
use crate::node::{Ack, Announced, Answer, Call, sealing_keys};
use crate::types::{Hash, MessageId, NodeId, WallMs};
use crate::wire::{Draft, key_id};

/// A key that a node has announced.
#[derive(Serialize, JsonSchema)]
pub struct KnownKey {
    node: NodeId,
    key_id: Hash,
    /// Nothing is sealed for it after this.
    expires_ms: WallMs,
    /// The message that announced it.
    message: MessageId,
    /// It is this node's own.
    own: bool,
}

/// Sealing keys.
#[derive(Serialize, JsonSchema)]
pub struct SealingKeys {
    /// The latest of every node, in order of node.
    keys: Vec<KnownKey>,
    /// This node's own, old ones too: the one in use last.
    own: Vec<OwnKey>,
}

/// A new key.
#[derive(Serialize, JsonSchema)]
pub struct Rotated {
    /// The key in use from now on.
    #[serde(flatten)]
    key: OwnKey,
    /// The message that announces it.
    message: MessageId,
}

/// The keys that messages can be sealed for.
#[utoipa::path(
    get,
    path = "/v1/keys",
    tag = "node",
    responses((status = 200, description = "The keys", body = ref("#/components/schemas/SealingKeys"), content_type = "application/json")),
)]
pub async fn list(State(state): State<ApiState>) -> Result<Json<SealingKeys>, Problem> {
    let own_id = state.status().await?.id;
    let own = state.judge.vault().map(Vault::keys).unwrap_or_default();
    let keys = state.read(sealing_keys_of).await?;
    let known = |key: Announced| KnownKey {
        node: key.node,
        key_id: key_id(key.node, &key.public),
        expires_ms: key.expires,
        message: key.message,
        own: key.node == own_id,
    };
    Ok(Json(SealingKeys { keys: keys.into_iter().map(known).collect(), own }))
}

fn sealing_keys_of(view: &super::reader::Timed<'_>) -> Vec<Announced> {
    sealing_keys(view)
}

/// Makes a new sealing key the one in use, and tells everyone.
///
/// What was sealed for the old one can still be read for 90 days; then that key is erased.
#[utoipa::path(
    post,
    path = "/v1/keys/rotate",
    tag = "node",
    responses(
        (status = 201, description = "The new key", body = ref("#/components/schemas/Rotated"), content_type = "application/json"),
        (status = 503, description = "This node has no sealing keys, or they cannot be written", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn rotate(State(state): State<ApiState>) -> Result<(axum::http::StatusCode, Json<Rotated>), Problem> {
    let (judge, wall) = (state.judge.clone(), state.wall());
    let rotated = state.read(move |_| {
        let vault = judge.vault().ok_or_else(no_keys)?;
        let draft = vault.rotate(wall).map_err(|e| Problem::new(Cause::Unavailable, format!("sealing keys: {e}")))?;
        vault.keys().pop().map(|key| (key, draft)).ok_or_else(no_keys)
    });
    let (key, draft) = rotated.await??;
    let message = announced(&state, draft).await?;
    Ok((axum::http::StatusCode::CREATED, Json(Rotated { key, message })))
}

/// Tells everyone of the key in use, where that is news. For the start, and from time to time.
pub async fn tend(state: &ApiState) -> Result<(), Problem> {
    let (judge, wall) = (state.judge.clone(), state.wall());
    let due = state.read(move |_| judge.vault().map(|vault| vault.tend(wall)).transpose()).await?;
    let due = due.map_err(|e| Problem::new(Cause::Unavailable, format!("sealing keys: {e}")))?;
    if let Some(draft) = due.flatten() {
        announced(state, draft).await?;
    }
    Ok(())
}

async fn announced(state: &ApiState, draft: Draft) -> Result<MessageId, Problem> {
    match state.client.call(Call::Publish { drafts: vec![draft], ack: Ack::Durable }).await? {
        Answer::Published { ids } => ids
            .into_iter()
            .next()
            .ok_or_else(|| Problem::new(Cause::Internal, "the node gave the key no message; please report this")),
        other => Err(unexpected(&other)),
    }
}

/// There is nothing to seal or open with.
pub fn no_keys() -> Problem {
    Problem::new(Cause::Unavailable, "this node runs without sealing keys; start it with `metanode start`")
}
