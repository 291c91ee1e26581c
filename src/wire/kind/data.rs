//! Data: synchronisation, settings, agents, and what chains, markets and mines report; the graph is beside it.
//!
//! Pure. Identifiers of other chains are text as that chain writes them. Prices and amounts of markets are decimal
//! fractions as the market gives them; amounts on chains are whole base units.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{BLOB_BYTES, Checks, Rules, VALUE_BYTES};
use super::system::Layer;
use super::value::{Amount, Blob, Json};
use crate::types::{Hash, NodeId, WallMs};
use crate::wire::fault::Faults;

pub use super::graph::{GraphEdge, GraphEvent, GraphNode, GraphUpdate, Vector};

/// A cursor, bytes.
pub const CURSOR_BYTES: usize = 256;

/// Which part of a synchronisation this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncStep {
    /// Who has more than this?
    Request,
    /// The author has this.
    Offer,
    /// Both have the same.
    Complete,
}

/// A collection of data is compared between nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSync {
    /// Name of the collection.
    pub collection: String,
    /// Which part this is.
    pub step: SyncStep,
    /// Items in the range.
    pub items: u64,
    /// Digest of the range; all zeros when it is empty.
    pub root: Hash,
    /// The range's beginning.
    pub from_ms: WallMs,
    /// The range's end.
    pub to_ms: WallMs,
    /// Where to go on, as the other side gave it, 1 to 256 bytes.
    #[serde(default)]
    pub cursor: Option<Blob>,
}

impl Rules for DataSync {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("collection", &self.collection)
            .must(self.items == 0 || self.root != Hash::ZERO, "root", "a range with items has a digest")
            .after("to_ms", self.to_ms, self.from_ms);
        if let Some(cursor) = &self.cursor {
            faults.blob("cursor", cursor, CURSOR_BYTES);
        }
    }
}

/// Another chain has a new block, as seen by the author's node on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockchainUpdate {
    /// Name of the chain.
    pub chain: String,
    /// Height of the block, from 0.
    pub height: u64,
    /// Its hash, as the chain writes it.
    pub block_hash: String,
    /// The hash of the block before.
    pub parent_hash: String,
    /// Its time.
    pub time_ms: WallMs,
    /// Transactions in it.
    pub transactions: u32,
    /// Blocks it took the place of.
    pub reorganised_blocks: u32,
}

impl Rules for BlockchainUpdate {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("chain", &self.chain)
            .name("block_hash", &self.block_hash)
            .name("parent_hash", &self.parent_hash)
            .must(self.block_hash != self.parent_hash, "parent_hash", "must be another block")
            .time("time_ms", self.time_ms)
            .must(
                u64::from(self.reorganised_blocks) <= self.height,
                "reorganised_blocks",
                "must not be over the height",
            );
    }
}

/// How far a coordination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CoordinationPhase {
    /// The affected layers are found.
    Planned,
    /// They are at work.
    Running,
    /// All results are in.
    Completed,
    /// A layer failed.
    Failed,
}

/// What one layer made of its part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerResult {
    /// The layer.
    pub layer: Layer,
    /// Whether it went well.
    pub succeeded: bool,
    /// What came of it, or what went wrong.
    pub detail: String,
    /// Time it took, milliseconds.
    pub took_ms: f64,
}

impl Rules for LayerResult {
    fn check(&self, faults: &mut Faults) {
        faults.text("detail", &self.detail).not_negative("took_ms", self.took_ms);
    }
}

/// One operation runs through several layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerCoordination {
    /// Id of the coordination.
    pub coordination_id: String,
    /// What is to be done.
    pub operation: String,
    /// The layer that asks for it.
    pub origin: Layer,
    /// The layers it touches, each once.
    pub affected: Vec<Layer>,
    /// How far it is.
    pub phase: CoordinationPhase,
    /// What came of it so far, each layer once.
    pub results: Vec<LayerResult>,
    /// To be done by then.
    pub deadline_ms: WallMs,
}

impl Rules for LayerCoordination {
    fn check(&self, faults: &mut Faults) {
        let done: Vec<_> = self.results.iter().map(|result| result.layer).collect();
        faults
            .name("coordination_id", &self.coordination_id)
            .name("operation", &self.operation)
            .filled("affected", &self.affected)
            .distinct("affected", &self.affected)
            .distinct("results", &done)
            .must(
                done.iter().all(|layer| self.affected.contains(layer)),
                "affected",
                "must name each layer with a result",
            )
            .parts("results", &self.results)
            .time("deadline_ms", self.deadline_ms);
    }
}

/// One setting has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsDelta {
    /// Path of the setting, parts with dots.
    pub path: String,
    /// Its value before; none if there was none.
    #[serde(default)]
    pub old: Option<Json>,
    /// Its value now; none if it is gone.
    #[serde(default)]
    pub new: Option<Json>,
    /// When.
    pub time_ms: WallMs,
    /// The client that changed it.
    pub client: String,
}

impl Rules for SettingsDelta {
    fn check(&self, faults: &mut Faults) {
        let size = |value: &Option<Json>| value.as_ref().map_or(0, |json| json.as_str().len());
        faults
            .address("path", &self.path)
            .must(self.path.split('.').all(|part| !part.is_empty()), "path", "must have no empty part")
            .fits("old", size(&self.old), VALUE_BYTES)
            .fits("new", size(&self.new), VALUE_BYTES)
            .must(self.old != self.new, "new", "must differ from the old value")
            .time("time_ms", self.time_ms)
            .name("client", &self.client);
    }
}

/// What an agent says about a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AgentEvent {
    /// It is given to another agent.
    Assigned {
        /// The agent that shall do it.
        assignee: String,
        /// What is to be done.
        instructions: String,
        /// By then, if by any time.
        #[serde(default)]
        deadline_ms: Option<WallMs>,
    },
    /// So much of it is done.
    Progress {
        /// 0 to 100.
        percent: f64,
        /// What was done last.
        note: String,
    },
    /// It is done.
    Completed {
        /// What came of it, in words.
        summary: String,
        /// What came of it, for programs.
        #[serde(default)]
        result: Option<Json>,
    },
    /// Others are asked for help.
    Collaboration {
        /// The agents asked, at least one.
        with: Vec<String>,
        /// What for.
        request: String,
    },
    /// Something learned, for all.
    KnowledgeShare {
        /// What it is about.
        topic: String,
        /// What was learned.
        content: String,
    },
    /// It went wrong.
    Error {
        /// A name for programs.
        code: String,
        /// What went wrong, for people.
        detail: String,
        /// Whether trying again may help.
        retryable: bool,
    },
}

impl Rules for AgentEvent {
    fn check(&self, faults: &mut Faults) {
        match self {
            AgentEvent::Assigned { assignee, instructions, deadline_ms } => {
                faults.name("assigned/assignee", assignee).text("assigned/instructions", instructions);
                if let Some(at) = deadline_ms {
                    faults.time("assigned/deadline_ms", *at);
                }
            }
            AgentEvent::Progress { percent, note } => {
                faults.percent("progress/percent", *percent).text("progress/note", note);
            }
            AgentEvent::Completed { summary, result } => {
                let size = result.as_ref().map_or(0, |json| json.as_str().len());
                faults.text("completed/summary", summary).fits("completed/result", size, BLOB_BYTES);
            }
            AgentEvent::Collaboration { with, request } => {
                faults.filled("collaboration/with", with).names("collaboration/with", with);
                faults.text("collaboration/request", request);
            }
            AgentEvent::KnowledgeShare { topic, content } => {
                faults.name("knowledge_share/topic", topic).text("knowledge_share/content", content);
            }
            AgentEvent::Error { code, detail, retryable: _ } => {
                faults.name("error/code", code).text("error/detail", detail);
            }
        }
    }
}

/// An agent reports on a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentMessage {
    /// Id of the task.
    pub task_id: String,
    /// The agent that speaks.
    pub agent: String,
    /// What it says.
    pub event: AgentEvent,
}

impl Rules for AgentMessage {
    fn check(&self, faults: &mut Faults) {
        faults.name("task_id", &self.task_id).name("agent", &self.agent).part("event", &self.event);
    }
}

/// How far a transaction is on its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionStatus {
    /// Seen, in no block.
    Pending,
    /// In a block.
    Confirmed,
    /// In a block, without effect.
    Failed,
}

/// A transaction was seen on another chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// Name of the chain.
    pub chain: String,
    /// Its hash, as the chain writes it.
    pub hash: String,
    /// Who pays, as the chain writes it.
    pub sender: String,
    /// Who is paid; none for a contract's creation.
    #[serde(default)]
    pub recipient: Option<String>,
    /// Symbol of what is paid.
    pub asset: String,
    /// How much, base units.
    pub amount: Amount,
    /// Paid for the transaction, base units of the chain's own asset.
    pub fee: Amount,
    /// How far it is.
    pub status: TransactionStatus,
    /// Height of its block; needed once it is in one.
    #[serde(default)]
    pub block_height: Option<u64>,
    /// When: of the block, or when it was seen.
    pub time_ms: WallMs,
    /// How suspicious it is, 0 to 100, if someone has judged.
    #[serde(default)]
    pub risk_score: Option<f64>,
}

impl Rules for Transaction {
    fn check(&self, faults: &mut Faults) {
        let pending = self.status == TransactionStatus::Pending;
        faults
            .name("chain", &self.chain)
            .name("hash", &self.hash)
            .name("sender", &self.sender)
            .name_if("recipient", &self.recipient)
            .name("asset", &self.asset)
            .must(pending || self.block_height.is_some(), "block_height", "must say in which block it is")
            .must(!pending || self.block_height.is_none(), "block_height", "a pending one is in no block")
            .time("time_ms", self.time_ms);
        if let Some(score) = self.risk_score {
            faults.percent("risk_score", score);
        }
    }
}

/// Which way the taker of a trade went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// It bought.
    Buy,
    /// It sold.
    Sell,
}

/// A trade was made on an exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeData {
    /// Name of the exchange.
    pub exchange: String,
    /// What was traded for what: `XRP/ETH`.
    pub symbol: String,
    /// When, by the exchange.
    pub time_ms: WallMs,
    /// Its id, unique for exchange and symbol.
    pub trade_id: String,
    /// Which way the taker went.
    pub side: Side,
    /// Price of one unit, in the second of the pair.
    pub price: f64,
    /// Units traded, of the first of the pair.
    pub amount: f64,
    /// Paid in all, in the second of the pair.
    pub cost: f64,
}

impl Rules for ExchangeData {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("exchange", &self.exchange)
            .name("symbol", &self.symbol)
            .time("time_ms", self.time_ms)
            .name("trade_id", &self.trade_id)
            .positive("price", self.price)
            .positive("amount", self.amount)
            .not_negative("cost", self.cost);
    }
}

/// How a mining machine did, measured once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MiningMetrics {
    /// Id of the machine.
    pub miner_id: String,
    /// Where it stands.
    pub site: String,
    /// The node that answers for it, if one does.
    #[serde(default)]
    pub operator: Option<NodeId>,
    /// Hashes per second.
    pub hash_rate_hs: f64,
    /// Power drawn, watts.
    pub power_watts: f64,
    /// Hottest part, degrees Celsius, -60 to 200.
    pub temperature_celsius: f64,
    /// Shares the pool took.
    pub shares_accepted: u64,
    /// Shares it refused.
    pub shares_rejected: u64,
    /// Since it was switched on, seconds.
    pub uptime_s: u64,
    /// When it was measured.
    pub measured_ms: WallMs,
}

impl Rules for MiningMetrics {
    fn check(&self, faults: &mut Faults) {
        let possible = (-60.0..=200.0).contains(&self.temperature_celsius);
        faults
            .name("miner_id", &self.miner_id)
            .name("site", &self.site)
            .not_negative("hash_rate_hs", self.hash_rate_hs)
            .not_negative("power_watts", self.power_watts)
            .must(possible, "temperature_celsius", "must be from -60 to 200")
            .time("measured_ms", self.measured_ms);
    }
}
