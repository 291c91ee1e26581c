//! What clients of the simulated nodes say.

use std::collections::BTreeMap;

use super::rng::Rng;
use crate::crdt::{Condition, Wish, Wished};
use crate::node::{Ack, Write};
use crate::types::{Domain, MessageId, WallMs};
use crate::wire::kind::data::SettingsDelta;
use crate::wire::kind::external::Custom;
use crate::wire::kind::monitoring::{LogLevel, LogRecord, MetricSample, MetricType, Metrics};
use crate::wire::kind::schemas::{Compatibility, SchemaRegistration};
use crate::wire::kind::security::{SecurityAlert, Severity};
use crate::wire::kind::state::{Change, CollectionWrite, Op};
use crate::wire::kind::system::{NodeStatus, StatusUpdate};
use crate::wire::kind::{Blob, Json};
use crate::wire::{Draft, Payload, Priority};

/// One publish call: what, and how sure the client wants to be.
pub fn call(rng: &mut Rng, bursts: u64, known: &[MessageId], wall: WallMs) -> (Vec<Draft>, Ack) {
    let count = if rng.chance(bursts) { rng.within(20, 200) } else { rng.within(1, 4) };
    let drafts = (0..count).map(|_| draft(rng, known, wall)).collect();
    let ack = rng.pick(&[Ack::Accepted, Ack::Written, Ack::Durable, Ack::Durable]).unwrap_or_default();
    (drafts, ack)
}

/// What a node says of itself when a life begins.
pub fn registration(wall: WallMs) -> Draft {
    Draft::new(&Payload::StatusUpdate(status(wall)))
}

/// One write to the state, of few cells, so that clients get in one another's way.
pub fn write(rng: &mut Rng) -> Write {
    let wishes = (0..rng.within(1, 3)).map(|_| wish(rng)).collect();
    let ack = rng.pick(&[Ack::Accepted, Ack::Written, Ack::Durable, Ack::Durable]).unwrap_or_default();
    Write { collection: collection(rng), client: None, wishes, restores: None, ack }
}

/// A collection that clients write to.
pub fn collection(rng: &mut Rng) -> String {
    if rng.chance(700) { "sim".into() } else { "other".into() }
}

fn path(rng: &mut Rng) -> String {
    rng.pick(&["a", "a/b", "a/c", "b", "c/d/e", "c/f"]).unwrap_or("a").into()
}

fn wish(rng: &mut Rng) -> Wish {
    let value = Json::from(&serde_json::Value::from(rng.below(6)));
    let wished = match rng.below(24) {
        0..=9 => Wished::Put(value),
        10 | 11 => Wished::Delete,
        12..=14 => Wished::Add(value),
        15 | 16 => Wished::Remove(value),
        17 | 18 => Wished::Assign(value),
        19..=22 => Wished::Count(rng.below(9) as i64 - 4),
        _ => Wished::DeletePrefix,
    };
    let condition = if rng.chance(100) { Condition::Absent } else { Condition::None };
    Wish { path: path(rng), wished, condition }
}

/// A write that says nothing of what its author had seen.
pub fn scribble(rng: &mut Rng) -> Draft {
    let value = Json::from(&serde_json::Value::from(rng.below(6)));
    let op = match rng.below(4) {
        0 => Op::Set { value },
        1 => Op::Delete,
        2 => Op::Add { element: value },
        _ => Op::DeletePrefix,
    };
    let change = Change { path: path(rng), over: Vec::new(), op };
    let write = CollectionWrite { collection: collection(rng), client: None, changes: vec![change] };
    Draft::new(&Payload::CollectionWrite(write))
}

/// A version of the schema of one of a few types; most come at the wrong time, or from the wrong author.
pub fn schema(rng: &mut Rng) -> Draft {
    let subject = rng.pick(&["sim.orders", "sim.trades", "sim.alarms"]).unwrap_or("sim.orders").into();
    let field = rng.pick(&["a", "b", "c"]).unwrap_or("a");
    let kind = rng.pick(&["string", "integer"]).unwrap_or("string");
    let schema = serde_json::json!({"type": "object", "properties": {field: {"type": kind}}});
    let compatibility = rng.pick(&Compatibility::ALL).unwrap_or_default();
    let version = rng.within(1, 4) as u32;
    let said = SchemaRegistration { subject, version, compatibility, schema: Json::from(&schema) };
    Draft::new(&Payload::SchemaRegistration(said))
}

/// The plainest draft of all.
pub fn order(rng: &mut Rng) -> Draft {
    Draft::new(&Payload::Custom(custom(rng)))
}

fn draft(rng: &mut Rng, known: &[MessageId], wall: WallMs) -> Draft {
    let mut draft = Draft::new(&payload(rng, wall));
    if rng.chance(300) {
        draft.priority = rng.pick(&Priority::ALL).unwrap_or_default();
    }
    if rng.chance(200) {
        draft.correlation = rng.pick(known);
    }
    if rng.chance(50) {
        draft.expires = Some(WallMs(wall.0 + rng.within(100, 20_000)));
    }
    if rng.chance(80) && !draft.kind().is_ephemeral() {
        draft.idempotency = Some(Domain::Idempotency.hash(&[&[rng.below(20) as u8]]));
    }
    draft
}

fn payload(rng: &mut Rng, wall: WallMs) -> Payload {
    match rng.below(8) {
        0 => Payload::LogRecord(log(rng, wall)),
        1 => Payload::Metrics(metrics(rng, wall)),
        2 => Payload::SecurityAlert(alert(wall)),
        3 => Payload::StatusUpdate(status(wall)),
        4 => Payload::SettingsDelta(delta(rng, wall)),
        _ => Payload::Custom(custom(rng)),
    }
}

fn custom(rng: &mut Rng) -> Custom {
    let size = rng.within(0, 900) as usize;
    let body = if rng.chance(500) { rng.bytes(size) } else { vec![b'a'; 4 * size] };
    Custom {
        type_name: "sim.order".into(),
        schema_version: 1,
        content_type: "application/octet-stream".into(),
        body: Blob(body),
    }
}

fn log(rng: &mut Rng, wall: WallMs) -> LogRecord {
    LogRecord {
        service: "sim".into(),
        level: LogLevel::Info,
        target: "sim".into(),
        text: format!("number {}", rng.draw()),
        time_ms: wall,
        trace_id: None,
        fields: BTreeMap::new(),
    }
}

fn metrics(rng: &mut Rng, wall: WallMs) -> Metrics {
    let sample = MetricSample {
        name: "load".into(),
        metric_type: MetricType::Gauge,
        value: rng.below(100) as f64,
        labels: BTreeMap::new(),
    };
    let end_ms = WallMs(wall.0 + 1);
    Metrics { service: "sim".into(), start_ms: wall, end_ms, samples: vec![sample] }
}

fn alert(wall: WallMs) -> SecurityAlert {
    SecurityAlert {
        rule: "sim".into(),
        severity: Severity::Info,
        subject: None,
        description: "something was seen".into(),
        evidence: Vec::new(),
        detected_ms: wall,
    }
}

fn status(wall: WallMs) -> StatusUpdate {
    StatusUpdate { status: NodeStatus::Active, previous: None, load_percent: 1.0, reason: None, since_ms: wall }
}

fn delta(rng: &mut Rng, wall: WallMs) -> SettingsDelta {
    SettingsDelta {
        path: format!("sim.setting{}", rng.below(10)),
        old: None,
        new: Some(Json::from(&serde_json::Value::from(rng.draw()))),
        time_ms: wall,
        client: "sim".into(),
    }
}
