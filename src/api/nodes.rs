//! Nodes by their own word, and what this node sees of them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::params::{Params, Part};
use super::problem::{Cause, Problem};
use super::state::{ApiState, unexpected};
use crate::node::{Answer, Call, PeerInfo, Registered, registered};
use crate::types::{NodeId, WallMs, limits};
use crate::wire::kind::system::{Endpoint, Layer, Link, NodeStatus, NodeType};

/// Heartbeats that may fail to come before a node counts as late, and as silent.
const LATE_BEATS: u32 = 2;
const SILENT_BEATS: u32 = 5;
/// Penalty points at which nothing is left of a peer's trust.
const NO_TRUST: u32 = 100;

/// How a node is, by its heartbeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Heard within three heartbeats; this node itself.
    Healthy,
    /// Not heard for some.
    Late,
    /// Not heard for fifteen, or not connected any more.
    Silent,
    /// This node has no contact with it.
    Unknown,
    /// It said that it leaves.
    Left,
}

/// A node, as this one knows it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NodeInfo {
    id: NodeId,
    /// What it is for, by its own word.
    #[serde(rename = "type")]
    node_type: Option<NodeType>,
    /// The layer it stands in.
    layer: Option<Layer>,
    /// Ways in.
    endpoints: Vec<Endpoint>,
    /// What it can do.
    capabilities: Vec<String>,
    /// How it said it is.
    status: Option<NodeStatus>,
    /// Version of its software.
    version: Option<String>,
    /// When it registered, milliseconds since 1970, by its own clock.
    registered_ms: Option<WallMs>,
    /// When this node last heard of it, milliseconds since 1970.
    last_seen_ms: Option<WallMs>,
    /// How this node finds it.
    health: Health,
    /// 1 less a hundredth for each penalty point; 0 while it is banned.
    trust_score: f64,
    /// Whether a connection stands.
    connected: bool,
}

/// The nodes of the network.
#[derive(Serialize, JsonSchema)]
pub struct Nodes {
    /// Those that have registered, peers that have not, and this one; in order of id.
    nodes: Vec<NodeInfo>,
}

/// A connection, each once.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Edge {
    source: NodeId,
    target: NodeId,
    /// Time there and back, microseconds; none where it is not known yet.
    round_trip_us: Option<u32>,
    /// Of a million direct messages over it, as many come to nothing.
    loss_ppm: Option<u32>,
}

/// The network as seen from this node.
#[derive(Serialize, JsonSchema)]
pub struct Topology {
    nodes: Vec<NodeInfo>,
    /// This node's own connections, and those of others that both ends speak of.
    edges: Vec<Edge>,
}

/// Which nodes.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NodeParams {
    /// Of this type: `Notary`.
    #[serde(rename = "type")]
    #[param(value_type = Option<String>)]
    node_type: Option<NodeType>,
    /// In this layer: `BpiCore`.
    #[param(value_type = Option<String>)]
    layer: Option<Layer>,
    /// That can do this: `notary`.
    capability: Option<String>,
    /// That are healthy, late, silent, unknown or left.
    #[param(value_type = Option<String>)]
    health: Option<Health>,
}

impl NodeParams {
    fn take(&self, node: &NodeInfo) -> bool {
        self.node_type.is_none_or(|wanted| node.node_type == Some(wanted))
            && self.layer.is_none_or(|wanted| node.layer == Some(wanted))
            && self.capability.as_ref().is_none_or(|wanted| node.capabilities.contains(wanted))
            && self.health.is_none_or(|wanted| node.health == wanted)
    }
}

/// The nodes of the network: type, layer, endpoints, capabilities, status, health, trust.
#[utoipa::path(
    get,
    path = "/v1/nodes",
    tag = "nodes",
    params(NodeParams),
    responses((status = 200, description = "The nodes", body = ref("#/components/schemas/Nodes"), content_type = "application/json")),
)]
pub async fn list(State(state): State<ApiState>, Params(params): Params<NodeParams>) -> Result<Json<Nodes>, Problem> {
    let (_, mut nodes) = nodes(&state).await?;
    nodes.retain(|node| params.take(node));
    Ok(Json(Nodes { nodes }))
}

/// One node of the network.
#[utoipa::path(
    get,
    path = "/v1/nodes/{id}",
    tag = "nodes",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The node", body = ref("#/components/schemas/NodeInfo"), content_type = "application/json"),
        (status = 404, description = "It is not known", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(State(state): State<ApiState>, Part(id): Part<NodeId>) -> Result<Json<NodeInfo>, Problem> {
    let (_, nodes) = nodes(&state).await?;
    let missing =
        || Problem::new(Cause::NotFound, format!("nothing is known of the node {id}; /v1/nodes lists those that are"));
    nodes.into_iter().find(|node| node.id == id).map(Json).ok_or_else(missing)
}

/// Nodes, and the connections between them that this one knows.
#[utoipa::path(
    get,
    path = "/v1/topology",
    tag = "nodes",
    responses((status = 200, description = "The topology", body = ref("#/components/schemas/Topology"), content_type = "application/json")),
)]
pub async fn topology(State(state): State<ApiState>) -> Result<Json<Topology>, Problem> {
    let (own, nodes) = nodes(&state).await?;
    let linked = match state.client.call(Call::Links).await? {
        Answer::Links(linked) => linked,
        other => return Err(unexpected(&other)),
    };
    let mut edges: BTreeMap<(NodeId, NodeId), Option<Link>> = BTreeMap::new();
    for peer in nodes.iter().filter(|node| node.connected && node.id != own) {
        edges.insert((own.min(peer.id), own.max(peer.id)), None);
    }
    for (node, link) in linked.into_iter().flat_map(|one| one.links.into_iter().map(move |link| (one.node, link))) {
        edges.insert((node.min(link.peer), node.max(link.peer)), Some(link));
    }
    let edges = edges.into_iter().map(|((source, target), link)| Edge {
        source,
        target,
        round_trip_us: link.as_ref().map(|link| link.round_trip_us),
        loss_ppm: link.as_ref().map(|link| link.loss_ppm),
    });
    Ok(Json(Topology { edges: edges.collect(), nodes }))
}

async fn nodes(state: &ApiState) -> Result<(NodeId, Vec<NodeInfo>), Problem> {
    let own = state.status().await?.id;
    let peers = state.peers().await?;
    let said = state.read(|view| registered(view)).await?;
    Ok((own, joined(own, state.wall(), said, peers)))
}

fn joined(own: NodeId, wall: WallMs, said: Vec<Registered>, peers: Vec<PeerInfo>) -> Vec<NodeInfo> {
    let mut nodes: BTreeMap<NodeId, NodeInfo> =
        peers.iter().map(|p| p.id).chain([own]).map(|id| (id, NodeInfo::unknown(id))).collect();
    for one in said {
        nodes.insert(one.registration.id, NodeInfo::said(one));
    }
    for peer in peers {
        if let Some(node) = nodes.get_mut(&peer.id) {
            node.seen(&peer);
        }
    }
    if let Some(node) = nodes.get_mut(&own) {
        (node.health, node.last_seen_ms, node.connected) = (Health::Healthy, Some(wall), true);
    }
    nodes.into_values().collect()
}

impl NodeInfo {
    fn unknown(id: NodeId) -> NodeInfo {
        NodeInfo {
            id,
            node_type: None,
            layer: None,
            endpoints: Vec::new(),
            capabilities: Vec::new(),
            status: None,
            version: None,
            registered_ms: None,
            last_seen_ms: None,
            health: Health::Unknown,
            trust_score: 1.0,
            connected: false,
        }
    }

    fn said(Registered { registration, said_ms, left, .. }: Registered) -> NodeInfo {
        NodeInfo {
            node_type: Some(registration.node_type),
            layer: Some(registration.layer),
            endpoints: registration.endpoints,
            capabilities: registration.capabilities,
            status: Some(if left { NodeStatus::Offline } else { registration.status }),
            version: Some(registration.version),
            registered_ms: Some(said_ms),
            health: if left { Health::Left } else { Health::Unknown },
            ..NodeInfo::unknown(registration.id)
        }
    }

    fn seen(&mut self, peer: &PeerInfo) {
        self.connected = peer.connected;
        self.last_seen_ms = Some(peer.last_seen_ms).filter(|at| *at > WallMs(0));
        let trust = 1.0 - f64::from(peer.penalty.min(NO_TRUST)) / f64::from(NO_TRUST);
        self.trust_score = if peer.banned_until_ms.is_some() { 0.0 } else { trust };
        if self.health != Health::Left {
            self.health = health(peer);
        }
    }
}

fn health(peer: &PeerInfo) -> Health {
    let beats = |count: u32| limits::HEARTBEAT_AT_REST.saturating_mul(count).as_millis() as u64;
    match peer.heartbeat_age_ms {
        Some(age) if age <= beats(LATE_BEATS) => Health::Healthy,
        Some(age) if age <= beats(SILENT_BEATS) => Health::Late,
        Some(_) => Health::Silent,
        // A connection that stands but has not brought a heartbeat yet is neither well nor ill.
        None if peer.connected || peer.last_seen_ms == WallMs(0) => Health::Unknown,
        None => Health::Silent,
    }
}
