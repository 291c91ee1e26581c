//! System: nodes and services, how they are, what they can do, and where they stand; resources are beside it.
//!
//! Pure. The author of a message is in its envelope; a node named in a payload is the one spoken about.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Category;
use super::name::named;
use super::rules::{Checks, Rules, VALUE_BYTES};
use crate::types::{Hash, Incarnation, NodeId, WallMs, limits};
use crate::wire::fault::Faults;

pub use super::capacity::{
    AllocationStatus, BalancingStrategy, CapacityUpdate, LoadBalancing, ProviderShare, ResourceAllocation, Resources,
};

/// Feed heads in one heartbeat.
pub const HEARTBEAT_HEADS: usize = 64;

named! {
    /// What a node is for. It decides which topics it follows, which services it offers, what it may send.
    pub enum NodeType, "node type", "`metanode init --help` lists them" {
        /// Lets clients and other networks in.
        Gateway,
        /// Collects transactions before they are ordered.
        Mempool,
        /// Orders.
        Consensus,
        /// Brings signed data from outside.
        Oracle,
        /// Keeps.
        Storage,
        /// Keeps the log that only grows.
        Audit,
        /// Makes and verifies proofs.
        Proof,
        /// Knows the interfaces of banks.
        BankApiRegistry,
        /// Knows the interfaces of authorities.
        GovernmentApiRegistry,
        /// Knows services that are not public.
        ShadowRegistry,
        /// Works for rewards.
        Mining,
        /// Votes.
        Validator,
        /// Certifies documents and times.
        Notary,
        /// Serves enterprises.
        BpciServer,
        /// Connects an enterprise's own systems.
        EnterpriseGateway,
        /// Checks what others do against the rules.
        ComplianceNode,
    }
}

named! {
    /// The layers, in the order in which messages flow between neighbours.
    pub enum Layer, "layer", "HttpCage, ZkLockMobilePort, DockLockPlatform, EncCluster, BpiCore or BpciEnterprise" {
        /// Web requests under policy.
        HttpCage,
        /// Mobile devices and their proofs.
        ZkLockMobilePort,
        /// Containers.
        DockLockPlatform,
        /// Encrypted computing.
        EncCluster,
        /// Mempool, validators, economy.
        BpiCore,
        /// Policy and compliance of enterprises.
        BpciEnterprise,
    }
}

/// A connection of the author.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// To whom.
    pub peer: NodeId,
    /// Time there and back, microseconds, smoothed.
    pub round_trip_us: u32,
    /// Of a million direct messages over it, as many come to nothing, smoothed.
    pub loss_ppm: u32,
}

impl Rules for Link {
    fn check(&self, faults: &mut Faults) {
        faults.must(self.loss_ppm <= 1_000_000, "loss_ppm", "is of a million");
    }
}

/// To whom the author is connected, and how well: what routes are made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkReport {
    /// How much of what it can do it is doing, 0 to 100.
    pub load_percent: f64,
    /// Its connections, at most 64, each peer once.
    pub links: Vec<Link>,
}

impl Rules for LinkReport {
    fn check(&self, faults: &mut Faults) {
        let peers: Vec<_> = self.links.iter().map(|link| link.peer).collect();
        faults
            .percent("load_percent", self.load_percent)
            .fits("links", self.links.len(), limits::LINKS)
            .distinct("links", &peers)
            .parts("links", &self.links);
    }
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// Not ready yet.
    Starting,
    /// Doing its work.
    Active,
    /// Doing less than it should.
    Degraded,
    /// Finishing what it has, taking nothing new.
    Draining,
    /// Stopped by its operator for a while.
    Maintenance,
    /// Gone.
    Offline,
}

/// A way in to a node or service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// libp2p.
    P2p,
    /// HTTP request and response.
    Http,
    /// WebSocket.
    WebSocket,
    /// Framed bytes over TCP.
    RawSocket,
    /// gRPC.
    Grpc,
    /// MQTT.
    Mqtt,
}

/// Where something can be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// How to speak there.
    pub protocol: Protocol,
    /// Multiaddress or URL.
    pub address: String,
}

impl Rules for Endpoint {
    fn check(&self, faults: &mut Faults) {
        faults.address("address", &self.address);
    }
}

/// Where one feed stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedHead {
    /// The feed's topic.
    pub topic: Category,
    /// The life of the author that it belongs to.
    pub incarnation: Incarnation,
    /// Number of its last bundle, from 0.
    pub sequence: u64,
    /// That bundle's hash.
    pub hash: Hash,
}

impl Rules for FeedHead {
    fn check(&self, faults: &mut Faults) {
        faults.hash("hash", &self.hash);
    }
}

/// A digest over the heads of all feeds of a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicRoot {
    /// The topic.
    pub topic: Category,
    /// Equal at two nodes whose feeds of the topic end alike.
    pub root: Hash,
}

impl Rules for TopicRoot {
    fn check(&self, faults: &mut Faults) {
        faults.hash("root", &self.root);
    }
}

/// The author is alive, and this is where its own feeds stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Since its process began, seconds.
    pub uptime_s: u64,
    /// Peers connected.
    pub peers: u32,
    /// Messages it holds.
    pub messages: u64,
    /// Of each topic it follows, the digest over the heads of the feeds it holds.
    pub roots: Vec<TopicRoot>,
    /// The digest over what it retains of replicated state, if it follows Data.
    #[serde(default)]
    pub state_root: Option<Hash>,
    /// Its wall clock.
    pub clock_ms: WallMs,
    /// The heads of its own feeds, at most [`HEARTBEAT_HEADS`], each feed once.
    pub heads: Vec<FeedHead>,
}

impl Heartbeat {
    /// Whether another says the same of what its author holds, and of how many it is connected with.
    pub fn holds_as(&self, other: &Heartbeat) -> bool {
        let of = |beat: &Heartbeat| (beat.peers, beat.messages, beat.state_root);
        of(self) == of(other) && self.roots == other.roots && self.heads == other.heads
    }
}

impl Rules for Heartbeat {
    fn check(&self, faults: &mut Faults) {
        let feeds: Vec<_> = self.heads.iter().map(|head| (head.topic, head.incarnation)).collect();
        let topics: Vec<_> = self.roots.iter().map(|root| root.topic).collect();
        faults
            .time("clock_ms", self.clock_ms)
            .distinct("roots", &topics)
            .parts("roots", &self.roots)
            .fits("heads", self.heads.len(), HEARTBEAT_HEADS)
            .distinct("heads", &feeds)
            .parts("heads", &self.heads);
    }
}

/// The author's own status has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusUpdate {
    /// The new status.
    pub status: NodeStatus,
    /// The status before.
    #[serde(default)]
    pub previous: Option<NodeStatus>,
    /// How much of what it can do it is doing, 0 to 100.
    pub load_percent: f64,
    /// Why; needed for anything but starting and active.
    #[serde(default)]
    pub reason: Option<String>,
    /// Since when.
    pub since_ms: WallMs,
}

impl Rules for StatusUpdate {
    fn check(&self, faults: &mut Faults) {
        let well = matches!(self.status, NodeStatus::Starting | NodeStatus::Active);
        faults
            .must(self.previous != Some(self.status), "previous", "must differ from the new status")
            .percent("load_percent", self.load_percent)
            .must(well || self.reason.is_some(), "reason", "must say why the node is not active")
            .text_if("reason", &self.reason)
            .time("since_ms", self.since_ms);
    }
}

/// One setting of a node, changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationChange {
    /// Key in the configuration file, with dots.
    pub key: String,
    /// Value before, as TOML; none if it was not set.
    #[serde(default)]
    pub old: Option<String>,
    /// Value after, as TOML; none if it is taken away.
    #[serde(default)]
    pub new: Option<String>,
}

impl Rules for ConfigurationChange {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("key", &self.key)
            .fits("old", self.old.as_ref().map_or(0, String::len), VALUE_BYTES)
            .fits("new", self.new.as_ref().map_or(0, String::len), VALUE_BYTES)
            .must(self.old != self.new, "new", "must differ from the old value");
    }
}

/// Settings of a node, or of all, are to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationUpdate {
    /// The node to change; none means every node.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// Number of this update, from 1, growing.
    pub version: u64,
    /// What changes, each key once.
    pub changes: Vec<ConfigurationChange>,
    /// When it takes effect; none means at once.
    #[serde(default)]
    pub effective_ms: Option<WallMs>,
    /// Whether the node must be restarted for it.
    pub restart_needed: bool,
}

impl Rules for ConfigurationUpdate {
    fn check(&self, faults: &mut Faults) {
        let keys: Vec<_> = self.changes.iter().map(|change| change.key.as_str()).collect();
        faults.some("version", self.version).filled("changes", &self.changes).distinct("changes", &keys);
        faults.parts("changes", &self.changes);
        if let Some(at) = self.effective_ms {
            faults.time("effective_ms", at);
        }
    }
}

/// What is said about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiscoveryAction {
    /// Who offers it?
    Query,
    /// The author does.
    Announce,
    /// The author does no more.
    Withdraw,
}

/// A service is asked for, offered or withdrawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceDiscovery {
    /// Name of the service.
    pub service: String,
    /// Asked for, offered or withdrawn.
    pub action: DiscoveryAction,
    /// Version of the service.
    #[serde(default)]
    pub version: Option<String>,
    /// Where it is offered; needed for an announcement.
    pub endpoints: Vec<Endpoint>,
    /// What it can do, by name.
    pub capabilities: Vec<String>,
    /// An announcement counts for this long, seconds.
    pub ttl_s: u32,
}

impl Rules for ServiceDiscovery {
    fn check(&self, faults: &mut Faults) {
        let announced = self.action == DiscoveryAction::Announce;
        faults
            .name("service", &self.service)
            .name_if("version", &self.version)
            .must(!announced || !self.endpoints.is_empty(), "endpoints", "an announcement says where")
            .parts("endpoints", &self.endpoints)
            .names("capabilities", &self.capabilities)
            .must(!announced || self.ttl_s > 0, "ttl_s", "an announcement counts for a while");
    }
}

/// How deep a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthProbe {
    /// Does it run?
    Liveness,
    /// Can it take work?
    Readiness,
    /// Do the things it needs work too?
    Deep,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// All is well.
    Healthy,
    /// It works, with less than it should have.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// The author looked at a node or service, and found this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// The node looked at.
    pub node: NodeId,
    /// The service on it; none means the node itself.
    #[serde(default)]
    pub service: Option<String>,
    /// How deep.
    pub probe: HealthProbe,
    /// What was found.
    pub health: Health,
    /// Time to the answer, milliseconds; none if there was none.
    #[serde(default)]
    pub latency_ms: Option<f64>,
    /// What is wrong; needed when it is not healthy.
    #[serde(default)]
    pub detail: Option<String>,
    /// When.
    pub checked_ms: WallMs,
}

impl Rules for HealthCheck {
    fn check(&self, faults: &mut Faults) {
        faults
            .name_if("service", &self.service)
            .must(self.health == Health::Healthy || self.detail.is_some(), "detail", "must say what is wrong")
            .text_if("detail", &self.detail)
            .time("checked_ms", self.checked_ms);
        if let Some(latency_ms) = self.latency_ms {
            faults.not_negative("latency_ms", latency_ms);
        }
    }
}

/// A node says what it is and where it can be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeRegistration {
    /// The node.
    pub id: NodeId,
    /// What it is for.
    pub node_type: NodeType,
    /// The layer it stands in.
    pub layer: Layer,
    /// Ways in, at least one.
    pub endpoints: Vec<Endpoint>,
    /// What it can do, by name.
    pub capabilities: Vec<String>,
    /// How it is.
    pub status: NodeStatus,
    /// Version of its software.
    pub version: String,
    /// When the author last heard from it; none when the author is the node.
    #[serde(default)]
    pub last_seen_ms: Option<WallMs>,
    /// How far the author trusts it, 0 to 1.
    #[serde(default)]
    pub trust_score: Option<f64>,
}

impl Rules for NodeRegistration {
    fn check(&self, faults: &mut Faults) {
        faults
            .filled("endpoints", &self.endpoints)
            .parts("endpoints", &self.endpoints)
            .names("capabilities", &self.capabilities)
            .must(self.endpoints.len() <= 16, "endpoints", "at most 16 are of use")
            .must(self.capabilities.len() <= 64, "capabilities", "at most 64 are of use")
            .must(self.status != NodeStatus::Offline, "status", "a node that is gone is deregistered")
            .name("version", &self.version);
        if let Some(at) = self.last_seen_ms {
            faults.time("last_seen_ms", at);
        }
        if let Some(score) = self.trust_score {
            faults.fraction("trust_score", score);
        }
    }
}

/// Why a node leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// Its operator stops it for good.
    Shutdown,
    /// Another node takes its place.
    Replaced,
    /// It was voted out or revoked.
    Expelled,
    /// It has not been heard from.
    Unreachable,
}

/// A node is no longer part of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeDeregistration {
    /// The node.
    pub id: NodeId,
    /// Why.
    pub reason: LeaveReason,
    /// The node that takes its place; needed when it is replaced.
    #[serde(default)]
    pub successor: Option<NodeId>,
    /// From when.
    pub effective_ms: WallMs,
}

impl Rules for NodeDeregistration {
    fn check(&self, faults: &mut Faults) {
        let replaced = self.reason == LeaveReason::Replaced;
        faults
            .must(!replaced || self.successor.is_some(), "successor", "must name the node that replaces it")
            .must(self.successor != Some(self.id), "successor", "must be another node")
            .time("effective_ms", self.effective_ms);
    }
}

/// How far a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationPhase {
    /// Announced.
    Planned,
    /// Data is moving.
    Transferring,
    /// Done.
    Completed,
    /// Given up; the node stays.
    Aborted,
}

/// A node moves to another layer or to other addresses, keeping its identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeMigration {
    /// The node.
    pub id: NodeId,
    /// How far it is.
    pub phase: MigrationPhase,
    /// The layer it leaves.
    pub from_layer: Layer,
    /// The layer it goes to; the same when only the addresses change.
    pub to_layer: Layer,
    /// Ways in afterwards.
    pub endpoints: Vec<Endpoint>,
    /// When it begins.
    pub start_ms: WallMs,
    /// When it must be over.
    pub deadline_ms: WallMs,
}

impl Rules for NodeMigration {
    fn check(&self, faults: &mut Faults) {
        faults
            .filled("endpoints", &self.endpoints)
            .parts("endpoints", &self.endpoints)
            .time("start_ms", self.start_ms)
            .after("deadline_ms", self.deadline_ms, self.start_ms);
    }
}
