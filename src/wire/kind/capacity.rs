//! System: machine resources, who gets them, and how work is spread over them.
//!
//! Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{Checks, Rules};
use crate::types::{NodeId, WallMs};
use crate::wire::fault::Faults;

/// An amount of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Thousandths of a processor.
    pub cpu_millicores: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Disk, bytes.
    pub storage_bytes: u64,
    /// Network, bytes per second.
    pub bandwidth_bytes_per_s: u64,
}

impl Resources {
    /// Whether nothing is more than in `other`.
    pub fn fits_in(&self, other: &Resources) -> bool {
        self.cpu_millicores <= other.cpu_millicores
            && self.memory_bytes <= other.memory_bytes
            && self.storage_bytes <= other.storage_bytes
            && self.bandwidth_bytes_per_s <= other.bandwidth_bytes_per_s
    }
}

/// What becomes of a claim on resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllocationStatus {
    /// Asked for.
    Requested,
    /// Granted.
    Granted,
    /// Refused.
    Refused,
    /// Given back.
    Released,
}

/// Machine resources are asked for, granted, refused or given back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceAllocation {
    /// Id of the claim, unique for its author.
    pub allocation_id: String,
    /// The node whose resources they are.
    pub node: NodeId,
    /// The service that uses them.
    pub service: String,
    /// What becomes of the claim.
    pub status: AllocationStatus,
    /// How much.
    pub resources: Resources,
    /// From when.
    pub start_ms: WallMs,
    /// Until when.
    pub end_ms: WallMs,
}

impl Rules for ResourceAllocation {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("allocation_id", &self.allocation_id)
            .name("service", &self.service)
            .must(self.resources != Resources::default(), "resources", "must ask for something")
            .time("start_ms", self.start_ms)
            .after("end_ms", self.end_ms, self.start_ms);
    }
}

/// How a route is chosen among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BalancingStrategy {
    /// Least latency.
    Fastest,
    /// Fewest failures.
    Reliable,
    /// 0.3 latency, 0.4 reliability, 0.3 load.
    Balanced,
    /// The first that works.
    First,
}

/// One provider's part of the work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderShare {
    /// The provider.
    pub node: NodeId,
    /// Its part of the requests, 0 to 100.
    pub share_percent: f64,
    /// Its average answer time, milliseconds.
    pub latency_ms: f64,
    /// How many of its answers are good, 0 to 1.
    pub reliability: f64,
    /// How much of what it can do it is doing, 0 to 100.
    pub load_percent: f64,
}

impl Rules for ProviderShare {
    fn check(&self, faults: &mut Faults) {
        faults
            .percent("share_percent", self.share_percent)
            .not_negative("latency_ms", self.latency_ms)
            .fraction("reliability", self.reliability)
            .percent("load_percent", self.load_percent);
    }
}

/// How requests to a service are spread over its providers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancing {
    /// Name of the service.
    pub service: String,
    /// How providers are chosen.
    pub strategy: BalancingStrategy,
    /// The providers, each once; their shares make 100.
    pub providers: Vec<ProviderShare>,
    /// When it was measured.
    pub measured_ms: WallMs,
}

impl Rules for LoadBalancing {
    fn check(&self, faults: &mut Faults) {
        let nodes: Vec<_> = self.providers.iter().map(|provider| provider.node).collect();
        let sum: f64 = self.providers.iter().map(|provider| provider.share_percent).sum();
        faults
            .name("service", &self.service)
            .filled("providers", &self.providers)
            .distinct("providers", &nodes)
            .must((sum - 100.0).abs() < 0.01, "providers", "shares must add up to 100")
            .parts("providers", &self.providers)
            .time("measured_ms", self.measured_ms);
    }
}

/// How much the author can do, and how much of it is in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CapacityUpdate {
    /// All there is.
    pub total: Resources,
    /// What is in use.
    pub used: Resources,
    /// Messages waiting.
    pub queued_messages: u64,
    /// Messages a second it can handle.
    pub messages_per_s: u64,
    /// When it was measured.
    pub measured_ms: WallMs,
}

impl Rules for CapacityUpdate {
    fn check(&self, faults: &mut Faults) {
        faults
            .some("total/cpu_millicores", self.total.cpu_millicores)
            .some("total/memory_bytes", self.total.memory_bytes)
            .must(self.used.fits_in(&self.total), "used", "must not be more than the total")
            .some("messages_per_s", self.messages_per_s)
            .time("measured_ms", self.measured_ms);
    }
}
