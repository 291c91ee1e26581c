//! Peers: who is known, connected, banned.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::params::{Asked, Part};
use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::node::{Call, PeerInfo};
use crate::types::{NodeId, dialable};

/// The longest ban: ten years, seconds.
const BAN_SECONDS: u64 = 10 * 365 * 24 * 3600;
/// Bytes of a ban's reason.
const REASON_BYTES: usize = 512;
/// Bytes of an address.
const ADDRESS_BYTES: usize = 512;

/// All peers known.
#[derive(Serialize, JsonSchema)]
pub struct Peers {
    /// In order of id.
    peers: Vec<PeerInfo>,
}

/// All peers this node knows.
#[utoipa::path(
    get,
    path = "/v1/peers",
    tag = "peers",
    responses((status = 200, description = "The peers", body = ref("#/components/schemas/Peers"), content_type = "application/json")),
)]
pub async fn list(State(state): State<ApiState>) -> Result<Json<Peers>, Problem> {
    Ok(Json(Peers { peers: state.peers().await? }))
}

/// One peer.
#[utoipa::path(
    get,
    path = "/v1/peers/{id}",
    tag = "peers",
    params(("id" = String, Path, description = "The peer's id")),
    responses(
        (status = 200, description = "The peer", body = ref("#/components/schemas/PeerInfo"), content_type = "application/json"),
        (status = 404, description = "Not known", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(State(state): State<ApiState>, Part(id): Part<NodeId>) -> Result<Json<PeerInfo>, Problem> {
    let found = state.peers().await?.into_iter().find(|peer| peer.id == id);
    found.map(Json).ok_or_else(|| {
        Problem::new(Cause::NotFound, format!("peer {id} is not known; `metanode peer ls` lists those that are"))
    })
}

/// How a peer is banned.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// For so many seconds, 1 to 315,360,000.
    seconds: u64,
    /// Why, for people.
    #[serde(default)]
    reason: String,
}

/// Bans a peer: connections to it end, and new ones are refused.
#[utoipa::path(
    post,
    path = "/v1/peers/{id}/ban",
    tag = "peers",
    params(("id" = String, Path, description = "The peer's id")),
    request_body(content = ref("#/components/schemas/Ban"), content_type = "application/json"),
    responses((status = 200, description = "The peer as it is now", body = ref("#/components/schemas/PeerInfo"), content_type = "application/json")),
)]
pub async fn ban(
    State(state): State<ApiState>,
    Part(id): Part<NodeId>,
    Asked(Ban { seconds, reason }): Asked<Ban>,
) -> Result<Json<PeerInfo>, Problem> {
    if !(1..=BAN_SECONDS).contains(&seconds) {
        return Err(Problem::new(Cause::Invalid, format!("seconds: use 1 to {BAN_SECONDS}")));
    }
    if reason.len() > REASON_BYTES {
        return Err(Problem::new(Cause::Invalid, format!("reason: at most {REASON_BYTES} bytes")));
    }
    if state.status().await?.id == id {
        return Err(Problem::new(Cause::Invalid, "this is the node itself; name another one"));
    }
    let reason = if reason.is_empty() { "banned by the operator".into() } else { reason };
    state.order(Call::Ban { peer: id, seconds, reason }).await?;
    show(State(state), Part(id)).await
}

/// Ends a ban and forgives all penalties.
#[utoipa::path(
    post,
    path = "/v1/peers/{id}/unban",
    tag = "peers",
    params(("id" = String, Path, description = "The peer's id")),
    responses(
        (status = 200, description = "The peer as it is now", body = ref("#/components/schemas/PeerInfo"), content_type = "application/json"),
        (status = 404, description = "Not known", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn unban(State(state): State<ApiState>, Part(id): Part<NodeId>) -> Result<Json<PeerInfo>, Problem> {
    state.order(Call::Unban { peer: id }).await?;
    show(State(state), Part(id)).await
}

/// Where to connect to.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dial {
    /// A multiaddress, with the peer's id at its end if it is known: `/ip4/192.0.2.1/udp/7700/quic-v1/p2p/12D3Koo…`.
    address: String,
}

/// Connects to an address. The answer says that it is being tried; `/v1/peers` says what came of it.
#[utoipa::path(
    post,
    path = "/v1/dial",
    tag = "peers",
    request_body(content = ref("#/components/schemas/Dial"), content_type = "application/json"),
    responses((status = 202, description = "It is being tried", body = ref("#/components/schemas/Dial"), content_type = "application/json")),
)]
pub async fn dial(
    State(state): State<ApiState>,
    Asked(Dial { address }): Asked<Dial>,
) -> Result<(StatusCode, Json<Dial>), Problem> {
    let peer = peer_of(&address)?;
    state.order(Call::Dial { address: address.clone(), peer }).await?;
    Ok((StatusCode::ACCEPTED, Json(Dial { address })))
}

/// The peer that an address names at its end.
fn peer_of(address: &str) -> Result<Option<NodeId>, Problem> {
    let fits = if address.len() > ADDRESS_BYTES { Err("it is too long".into()) } else { dialable(address) };
    if let Err(cause) = fits {
        let advice = "use a multiaddress as `metanode start` prints it: /ip4/192.0.2.1/udp/7700/quic-v1/p2p/12D3Koo…";
        return Err(Problem::new(Cause::Invalid, format!("address: `{}`: {cause}; {advice}", cut(address))));
    }
    let Some((_, id)) = address.rsplit_once("/p2p/") else { return Ok(None) };
    let id = NodeId::from_str(id).map_err(|e| Problem::new(Cause::Invalid, format!("address: {e}")))?;
    Ok(Some(id))
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
