//! How messages flow through this node: six stages, rates, alerts. Looked at once a second; asking looks at nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::problem::Problem;
use super::state::ApiState;
use super::status::used;
use crate::deliver::{BreakerState, Counts};
use crate::meter::{
    Alert, AlertRule, AlertState, Alerts, Change, Histogram, LaneReading, Pulse, Rates, Reading, Station, Tally,
};
use crate::node::{Ack, Call, LaneInfo, Outbox, Queues, Status, SubscriptionInfo};
use crate::types::limits;
use crate::wire::kind::monitoring::{LogLevel, LogRecord};
use crate::wire::kind::security::{SecurityAlert, Severity};
use crate::wire::{Draft, Payload, Priority};

/// What was read, and which conditions hold.
#[derive(Clone)]
pub struct Pulses {
    pulse: Arc<Mutex<Pulse>>,
    alerts: Arc<Mutex<Alerts>>,
}

impl Pulses {
    /// Nothing was read yet; the built-in rules with `rules` laid over them.
    pub fn new(rules: &[AlertRule]) -> Pulses {
        Pulses { pulse: Arc::default(), alerts: Arc::new(Mutex::new(Alerts::new(rules))) }
    }

    /// Rates as they were a second ago at most.
    pub fn rates(&self) -> Rates {
        lock(&self.pulse).rates()
    }

    /// Every rule and how it stands.
    pub fn alerts(&self) -> Vec<Alert> {
        lock(&self.alerts).all().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Poisoned by a panic while reading figures: the figures are as good as before.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at everything that is measured, holds the rules against it, and tells what has begun or ended.
pub async fn look(state: &ApiState) -> Result<(), Problem> {
    let (status, queues) = (state.status().await?, state.queues().await?);
    let (subscriptions, outbox) = (state.subscriptions(None).await?, state.outbox().await?);
    let (resident_bytes, disk_bytes) = used(state).await?;
    let (bytes_in, bytes_out) = state.watch.traffic.both();
    let tally = state.watch.pipeline.tally();
    let mut reading = Reading { bytes_in, bytes_out, resident_bytes, disk_bytes, ..Reading::default() };
    read_tally(&mut reading, &tally);
    read_node(&mut reading, &status, &queues);
    read_deliveries(&mut reading, &subscriptions, &outbox);
    let now = state.now();
    reading.at = now.mono;
    let rates = {
        let mut pulse = lock(&state.pulses.pulse);
        pulse.read(reading);
        pulse.rates()
    };
    let changes = lock(&state.pulses.alerts).look(&rates, now);
    for change in changes {
        tell(state, &change).await;
    }
    Ok(())
}

fn read_tally(reading: &mut Reading, tally: &Tally) {
    (reading.messages, reading.bytes) = tally.routed();
    reading.refused = tally.all_refused();
    reading.ages = tally.ages().fold(Histogram::default(), |all, (_, ages)| all.plus(ages));
}

fn read_node(reading: &mut Reading, status: &Status, queues: &Queues) {
    let lane = |lane: &LaneInfo| {
        let full = |part: u64, whole: usize| 100.0 * part as f64 / whole as f64;
        LaneReading {
            waiting_messages: lane.waiting_messages + lane.on_disk_messages,
            oldest_ms: lane.oldest_ms.unwrap_or_default(),
            full_percent: full(lane.waiting_messages, limits::LANE_MESSAGES)
                .max(full(lane.waiting_bytes, limits::LANE_BYTES)),
            overflowed_messages: lane.overflowed_messages,
        }
    };
    reading.lanes.iter_mut().zip(&queues.lanes).for_each(|(place, info)| *place = lane(info));
    reading.peers = status.peers;
    reading.feeds_wanted = status.feeds_wanted;
    reading.clock_offset_ms = status.clock_offset_ms;
    reading.security_events = security_events(status);
}

/// Bytes of peers that were refused for more than a wrong clock, and proven forks.
pub(super) fn security_events(status: &Status) -> u64 {
    let counters = &status.counters;
    let refused = counters.refused.iter().filter(|(reason, _)| !["far_future", "height"].contains(*reason));
    refused.map(|(_, count)| count).sum::<u64>() + counters.forks
}

fn read_deliveries(reading: &mut Reading, subscriptions: &[SubscriptionInfo], outbox: &Outbox) {
    let counts = subscriptions.iter().fold(Counts::default(), |all, one| all.plus(one.counts));
    reading.handed = counts.leased + outbox.counts.sent_bundles;
    reading.retried = counts.leased_again + outbox.counts.failed_bundles;
    reading.dead_letters = subscriptions.iter().map(|one| one.dead).sum::<u64>()
        + outbox.destinations.iter().map(|one| one.dead).sum::<u64>();
    reading.sinks_down = subscriptions.iter().filter(|one| one.breaker != BreakerState::Closed).count() as u64;
}

/// An alert has begun or ended: the log says so, and the network where the rule wants it.
async fn tell(state: &ApiState, change: &Change) {
    let (rule, value) = (&change.alert.rule, change.alert.value);
    if change.firing {
        tracing::warn!(alert = rule.name, value, condition = rule.words(), "an alert fires");
    } else {
        tracing::info!(alert = rule.name, value, "an alert is over");
    }
    if rule.announce {
        let drafts = vec![announcement(state, change)];
        let said = state.client.call(Call::Publish { drafts, ack: Ack::Accepted }).await;
        if let Err(error) = said {
            tracing::warn!(alert = rule.name, %error, "the network could not be told of an alert");
        }
    }
}

fn announcement(state: &ApiState, change: &Change) -> Draft {
    let (alert, time_ms) = (&change.alert, state.wall());
    let state_word = if change.firing { "fires" } else { "is over" };
    let text = format!("{} {state_word}: {}", alert.rule.name, alert.rule.words());
    if alert.rule.is_of_security() {
        let severity = if change.firing { Severity::High } else { Severity::Info };
        let mut draft = Draft::new(&Payload::SecurityAlert(SecurityAlert {
            rule: alert.rule.name.clone(),
            severity,
            subject: None,
            description: text,
            evidence: Vec::new(),
            detected_ms: time_ms,
        }));
        draft.priority = Priority::High;
        return draft;
    }
    let value = alert.value.map(|value| ("value".to_string(), value.to_string()));
    let level = if change.firing { LogLevel::Warn } else { LogLevel::Info };
    Draft::new(&Payload::LogRecord(LogRecord {
        service: "metanode".into(),
        level,
        target: "alert".into(),
        text,
        time_ms,
        trace_id: None,
        fields: [("alert".to_string(), alert.rule.name.clone())].into_iter().chain(value).collect(),
    }))
}

/// A stage and what passed it since the start.
#[derive(Serialize, JsonSchema)]
pub struct StageInfo {
    /// Which.
    stage: Station,
    /// Messages that passed.
    messages: u64,
    /// How long it took, milliseconds: mean, and what 95 and 99 of a hundred did not exceed; none before the first.
    mean_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    /// Messages that were refused, by reason.
    refused: std::collections::BTreeMap<&'static str, u64>,
}

/// How messages flow.
#[derive(Serialize, JsonSchema)]
pub struct Flow {
    /// The stages, in order.
    stages: Vec<StageInfo>,
    /// Rates over the last ten seconds.
    rates: Rates,
    /// Alerts that fire now, by name.
    firing: Vec<String>,
}

/// How messages flow through the six stages, and how fast.
#[utoipa::path(
    get,
    path = "/v1/flow",
    tag = "node",
    responses((status = 200, description = "Stages and rates", body = ref("#/components/schemas/Flow"), content_type = "application/json")),
)]
pub async fn show(State(state): State<ApiState>) -> Json<Flow> {
    let tally = state.watch.pipeline.tally();
    let stages = Station::ALL.into_iter().map(|station| stage_info(station, &tally)).collect();
    Json(Flow { stages, rates: state.pulses.rates(), firing: firing(&state) })
}

/// The rules that fire now, by name.
pub(super) fn firing(state: &ApiState) -> Vec<String> {
    let firing = state.pulses.alerts().into_iter().filter(|alert| alert.state == AlertState::Firing);
    firing.map(|alert| alert.rule.name).collect()
}

fn stage_info(stage: Station, tally: &Tally) -> StageInfo {
    let of_stage = tally.passed().filter(|(station, ..)| *station == stage);
    let times = of_stage.fold(Histogram::default(), |all, (_, _, times)| all.plus(times));
    let ms = |us: Option<f64>| us.map(|us| us / 1e3);
    StageInfo {
        stage,
        messages: times.count(),
        mean_ms: ms(times.mean_us()),
        p95_ms: ms(times.quantile_us(0.95)),
        p99_ms: ms(times.quantile_us(0.99)),
        refused: tally.refused().filter(|(station, ..)| *station == stage).map(|(_, why, n)| (why, n)).collect(),
    }
}

/// Rules and how they stand.
#[derive(Serialize, JsonSchema)]
pub struct AlertList {
    alerts: Vec<Alert>,
}

/// Every alert rule, and whether it fires.
#[utoipa::path(
    get,
    path = "/v1/alerts",
    tag = "node",
    responses((status = 200, description = "Rules by name", body = ref("#/components/schemas/AlertList"), content_type = "application/json")),
)]
pub async fn alerts(State(state): State<ApiState>) -> Json<AlertList> {
    Json(AlertList { alerts: state.pulses.alerts() })
}
