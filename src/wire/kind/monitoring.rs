//! Monitoring: metrics, logs and traces, and what services, executions, connections and tools tell about themselves.
//!
//! Pure. Trace and span ids are those of W3C Trace Context: 16 and 8 bytes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{BLOB_BYTES, Checks, Rules};
use super::system::{Health, Protocol};
use super::value::{Blob, Json};
use crate::types::{MessageId, NodeId, WallMs};
use crate::wire::fault::Faults;

/// A trace id, bytes.
pub const TRACE_ID_BYTES: usize = 16;
/// A span id, bytes.
pub const SPAN_ID_BYTES: usize = 8;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricType {
    /// Something that only grows.
    Counter,
    /// Something that goes up and down.
    Gauge,
}

/// One number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricSample {
    /// Name, with its unit at the end.
    pub name: String,
    /// What it counts.
    pub metric_type: MetricType,
    /// How much.
    pub value: f64,
    /// What tells it from others of its name.
    pub labels: BTreeMap<String, String>,
}

impl Rules for MetricSample {
    fn check(&self, faults: &mut Faults) {
        faults.name("name", &self.name).must(self.value.is_finite(), "value", "must be a finite number");
        if self.metric_type == MetricType::Counter {
            faults.not_negative("value", self.value);
        }
        faults.map("labels", &self.labels);
    }
}

/// Numbers a service measured over a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Name of the service.
    pub service: String,
    /// Measured from.
    pub start_ms: WallMs,
    /// Measured until.
    pub end_ms: WallMs,
    /// The numbers, 1 to 1,024.
    pub samples: Vec<MetricSample>,
}

impl Rules for Metrics {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("service", &self.service)
            .time("start_ms", self.start_ms)
            .after("end_ms", self.end_ms, self.start_ms)
            .filled("samples", &self.samples)
            .parts("samples", &self.samples);
    }
}

/// How much a log record matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Each step.
    Trace,
    /// For who looks for a fault.
    Debug,
    /// For who wants to know.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something does not work.
    Error,
}

/// A service wrote this into its log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogRecord {
    /// Name of the service.
    pub service: String,
    /// How much it matters.
    pub level: LogLevel,
    /// The part of the program.
    pub target: String,
    /// What it says.
    pub text: String,
    /// When.
    pub time_ms: WallMs,
    /// The trace it belongs to, 16 bytes.
    #[serde(default)]
    pub trace_id: Option<Blob>,
    /// What else it says, by name.
    pub fields: BTreeMap<String, String>,
}

impl Rules for LogRecord {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("service", &self.service)
            .name("target", &self.target)
            .text("text", &self.text)
            .time("time_ms", self.time_ms)
            .map("fields", &self.fields);
        if let Some(id) = &self.trace_id {
            faults.sized("trace_id", id, TRACE_ID_BYTES);
        }
    }
}

/// Which end of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpanType {
    /// Neither.
    Internal,
    /// Who is asked.
    Server,
    /// Who asks.
    Client,
    /// Who sends a message.
    Producer,
    /// Who handles one.
    Consumer,
}

/// A piece of work and its time, as a part of a larger one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceSpan {
    /// The whole it belongs to, 16 bytes.
    pub trace_id: Blob,
    /// Its own id, 8 bytes.
    pub span_id: Blob,
    /// The work it is a part of, 8 bytes.
    #[serde(default)]
    pub parent_span_id: Option<Blob>,
    /// What was done.
    pub name: String,
    /// Name of the service that did it.
    pub service: String,
    /// Which end of a call it is.
    pub span_type: SpanType,
    /// When it began.
    pub start_ms: WallMs,
    /// How long it took, microseconds.
    pub duration_us: u64,
    /// What went wrong, if something did.
    #[serde(default)]
    pub error: Option<String>,
    /// What else is known, by name.
    pub attributes: BTreeMap<String, String>,
}

impl Rules for TraceSpan {
    fn check(&self, faults: &mut Faults) {
        faults
            .sized("trace_id", &self.trace_id, TRACE_ID_BYTES)
            .sized("span_id", &self.span_id, SPAN_ID_BYTES)
            .must(self.parent_span_id.as_ref() != Some(&self.span_id), "parent_span_id", "must be another span")
            .name("name", &self.name)
            .name("service", &self.service)
            .time("start_ms", self.start_ms)
            .text_if("error", &self.error)
            .map("attributes", &self.attributes);
        if let Some(id) = &self.parent_span_id {
            faults.sized("parent_span_id", id, SPAN_ID_BYTES);
        }
    }
}

/// What became of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LifecycleEvent {
    /// It begins.
    Starting,
    /// It takes work.
    Started,
    /// It is well or not, other than before.
    HealthChanged,
    /// It ends.
    Stopping,
    /// It has ended.
    Stopped,
    /// It ended without being asked.
    Crashed,
}

/// A service began, ended or changed (stream `hooks.service_lifecycle`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceLifecycle {
    /// Name of the service.
    pub service: String,
    /// Which one of several.
    pub instance: String,
    /// Its version.
    pub version: String,
    /// What became of it.
    pub event: LifecycleEvent,
    /// How it is; needed when that changed.
    #[serde(default)]
    pub health: Option<Health>,
    /// What it ended with; needed when it crashed.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Times it was started again.
    pub restarts: u32,
    /// Services it needs, by name.
    pub dependencies: Vec<String>,
    /// When.
    pub time_ms: WallMs,
}

impl Rules for ServiceLifecycle {
    fn check(&self, faults: &mut Faults) {
        let changed = self.event == LifecycleEvent::HealthChanged;
        let crashed = self.event == LifecycleEvent::Crashed;
        faults
            .name("service", &self.service)
            .name("instance", &self.instance)
            .name("version", &self.version)
            .must(!changed || self.health.is_some(), "health", "must say how it is")
            .must(!crashed || self.exit_code.is_some(), "exit_code", "must say what it ended with")
            .names("dependencies", &self.dependencies)
            .must(!self.dependencies.contains(&self.service), "dependencies", "must not name the service itself")
            .time("time_ms", self.time_ms);
    }
}

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Well.
    Success,
    /// Not well.
    Failure,
    /// Not in time.
    Timeout,
    /// Someone stopped it.
    Cancelled,
}

/// An operation was executed (stream `hooks.execution_intelligence`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionIntelligence {
    /// Id of the execution.
    pub execution_id: String,
    /// The session it belongs to.
    #[serde(default)]
    pub session_id: Option<String>,
    /// What was done.
    pub operation: String,
    /// The tool it was done with.
    #[serde(default)]
    pub tool: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong; needed for a failure.
    #[serde(default)]
    pub error: Option<String>,
    /// When it began.
    pub start_ms: WallMs,
    /// How long it took, milliseconds.
    pub duration_ms: f64,
    /// Processor time, milliseconds.
    pub cpu_ms: f64,
    /// Memory at most, bytes.
    pub memory_bytes: u64,
    /// The message that led to it.
    #[serde(default)]
    pub cause: Option<MessageId>,
}

impl Rules for ExecutionIntelligence {
    fn check(&self, faults: &mut Faults) {
        let failed = self.outcome == Outcome::Failure;
        faults
            .name("execution_id", &self.execution_id)
            .name_if("session_id", &self.session_id)
            .name("operation", &self.operation)
            .name_if("tool", &self.tool)
            .must(!failed || self.error.is_some(), "error", "must say what went wrong")
            .text_if("error", &self.error)
            .time("start_ms", self.start_ms)
            .not_negative("duration_ms", self.duration_ms)
            .not_negative("cpu_ms", self.cpu_ms);
    }
}

/// One service called another (stream `proxy.communication_intelligence`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommunicationIntelligence {
    /// Who called.
    pub source: String,
    /// Who was called; another service.
    pub target: String,
    /// How.
    pub protocol: Protocol,
    /// What was asked for.
    pub operation: String,
    /// Bytes asked with.
    pub request_bytes: u64,
    /// Bytes answered with.
    pub response_bytes: u64,
    /// How long it took, milliseconds.
    pub latency_ms: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// The protocol's own number for that.
    #[serde(default)]
    pub status_code: Option<u16>,
    /// Times it was tried again.
    pub retries: u32,
    /// Whether the answer came from a cache.
    pub cached: bool,
    /// When it began.
    pub time_ms: WallMs,
}

impl Rules for CommunicationIntelligence {
    fn check(&self, faults: &mut Faults) {
        let http = self.protocol == Protocol::Http;
        let status = self.status_code.is_none_or(|code| !http || (100..600).contains(&code));
        faults
            .name("source", &self.source)
            .name("target", &self.target)
            .must(self.source != self.target, "target", "must be another service")
            .name("operation", &self.operation)
            .not_negative("latency_ms", self.latency_ms)
            .must(status, "status_code", "must be from 100 to 599 for HTTP")
            .time("time_ms", self.time_ms);
    }
}

/// What became of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolAction {
    /// It can be used.
    Registered,
    /// It is other than before.
    Updated,
    /// It should not be used any more.
    Deprecated,
    /// It cannot be used any more.
    Removed,
}

/// A tool is offered, changed or taken away (stream `tools.registration_events`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolRegistration {
    /// Name of the tool.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// What became of it.
    pub action: ToolAction,
    /// The node that offers it.
    pub provider: NodeId,
    /// What it does.
    pub description: String,
    /// Where it can be reached; needed when it can be used.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// JSON Schema of what it takes.
    #[serde(default)]
    pub input_schema: Option<Json>,
    /// What it can do, by name.
    pub capabilities: Vec<String>,
}

impl Rules for ToolRegistration {
    fn check(&self, faults: &mut Faults) {
        let usable = matches!(self.action, ToolAction::Registered | ToolAction::Updated);
        let schema = self.input_schema.as_ref().map_or(0, |json| json.as_str().len());
        faults
            .name("tool", &self.tool)
            .name("version", &self.version)
            .text("description", &self.description)
            .must(!usable || self.endpoint.is_some(), "endpoint", "must say where the tool is")
            .fits("input_schema", schema, BLOB_BYTES)
            .names("capabilities", &self.capabilities);
        if let Some(address) = &self.endpoint {
            faults.address("endpoint", address);
        }
    }
}
