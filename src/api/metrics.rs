//! Numbers for Prometheus, `metanode_<room>_<what>_<unit>`. Labels are of closed lists: category, reason, method,
//! route, status; never an id.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::chain_metrics::chain;
use super::problem::{Cause, Problem};
use super::stages;
use super::state::ApiState;
use super::status::used;
use super::vault::Counted;
use crate::deliver::{BreakerState, Counts};
use crate::node::{LaneInfo, Queues, Status, SubscriptionInfo};

/// Upper ends of the latency buckets, seconds: from 50 µs.
const BUCKETS: [f64; 16] = [5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 10.0];

pub(super) type Labels = Vec<(&'static str, String)>;

/// What the API counts of itself.
pub struct Requests {
    count: Family<Labels, Counter>,
    latency: Family<Labels, Histogram, fn() -> Histogram>,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests { count: Family::default(), latency: Family::new_with_constructor(|| Histogram::new(BUCKETS)) }
    }
}

impl Requests {
    fn note(&self, method: &str, route: &str, status: u16, took: Duration) {
        let route = ("route", route.to_string());
        self.latency.get_or_create(&vec![route.clone()]).observe(took.as_secs_f64());
        let labels = vec![("method", method.to_string()), route, ("status", status.to_string())];
        self.count.get_or_create(&labels).inc();
    }
}

/// Counts a request and the time until its answer begins.
pub async fn measure(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    // A method can be any word; only the usual ones become labels.
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "OPTIONS" | "PUT" | "PATCH" | "DELETE") => known,
        _ => "other",
    }
    .to_string();
    let began = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    state.requests.note(&method, route, response.status().as_u16(), began.elapsed());
    response
}

/// The node's numbers, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "node",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")),
)]
pub async fn metrics(State(state): State<ApiState>) -> Result<Response, Problem> {
    let status = state.status().await?;
    let used = used(&state).await?;
    let mut text = String::new();
    let mut registry = registry(&state, &status, used);
    let room = registry.sub_registry_with_prefix("flow");
    flow(room, &state.queues().await?);
    stages::rates(room, &state.pulses.rates(), super::flow::firing(&state).len());
    stages::stages(registry.sub_registry_with_prefix("stage"), &state.watch.pipeline.tally());
    stages::traffic(registry.sub_registry_with_prefix("net"), state.watch.traffic.both());
    stages::writes(registry.sub_registry_with_prefix("store"), state.store.writes());
    packing(registry.sub_registry_with_prefix("packing"), &status);
    deliver(registry.sub_registry_with_prefix("deliver"), &state.subscriptions(None).await?);
    if let Some(agreement) = state.agreement().await? {
        chain(registry.sub_registry_with_prefix("chain"), &agreement);
    }
    let (schemas, (refused, withheld)) = (registry.sub_registry_with_prefix("schema"), state.judge.counts());
    counter(schemas, "refused_messages", "Messages of clients that their registered schema refuses", refused);
    counter(schemas, "withheld_messages", "Messages not handed out because their schema refuses them", withheld);
    if let Some(vault) = state.judge.vault() {
        sealed(registry.sub_registry_with_prefix("sealed"), &vault.counted());
    }
    encode(&mut text, &registry).map_err(|e| Problem::new(Cause::Internal, format!("cannot be written: {e}")))?;
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media)], text).into_response())
}

/// All numbers, as they are now.
fn registry(state: &ApiState, status: &Status, (resident, disk): (Option<u64>, u64)) -> Registry {
    let mut registry = Registry::with_prefix("metanode");
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The program", build);
    let api = registry.sub_registry_with_prefix("api");
    api.register("requests", "Requests answered", state.requests.count.clone());
    let help = "Time from a request to the beginning of its answer";
    api.register_with_unit("latency", help, Unit::Seconds, state.requests.latency.clone());
    gauge(api, "subscribers", "Clients that follow messages", state.subscribers() as u64);
    node(registry.sub_registry_with_prefix("node"), status, resident);
    feed(registry.sub_registry_with_prefix("feed"), status);
    replicated(registry.sub_registry_with_prefix("state"), status);
    gauge(registry.sub_registry_with_prefix("store"), "disk_bytes", "Size on the disk", disk);
    registry
}

fn node(room: &mut Registry, status: &Status, resident: Option<u64>) {
    gauge(room, "uptime_seconds", "Since the start", status.uptime_s);
    gauge(room, "peers", "Connected peers", status.peers);
    if let Some(bytes) = resident {
        gauge(room, "resident_bytes", "Memory in RAM", bytes);
    }
    if let Some(ms) = status.clock_offset_ms {
        let offset: Gauge<f64, std::sync::atomic::AtomicU64> = Gauge::default();
        offset.set(ms as f64 / 1000.0);
        room.register("clock_offset_seconds", "The peers' median clock less this node's", offset);
    }
    let counters = &status.counters;
    counter(room, "published_messages", "Messages clients of this node published", counters.published_messages);
    counter(room, "gossip_bundles", "Bundles that came by gossip", counters.gossip_bundles);
    counter(room, "repaired_bundles", "Bundles that came because they were asked for", counters.repaired_bundles);
    counter(room, "ephemeral_bundles", "Bundles that are not kept", counters.ephemeral_bundles);
    counter(room, "repairs_asked", "Ranges asked of peers", counters.repairs_asked);
    counter(room, "repairs_failed", "Ranges that brought nothing", counters.repairs_failed);
    counter(room, "requests_put_off", "Requests of peers that asked too much", counters.requests_put_off);
    let refused: Family<Labels, Counter> = Family::default();
    for (reason, count) in &counters.refused {
        refused.get_or_create(&vec![("reason", reason.to_string())]).inc_by(*count);
    }
    room.register("refused", "What was refused, by reason", refused);
}

fn packing(room: &mut Registry, status: &Status) {
    let counters = &status.counters;
    counter(room, "kept_bundles", "Bundles kept", counters.kept_bundles);
    counter(room, "unpacked_bytes", "Bytes of their messages before packing", counters.unpacked_bytes);
    counter(room, "packed_bytes", "Bytes of their messages as they travel", counters.packed_bytes);
}

fn sealed(room: &mut Registry, counted: &Counted) {
    counter(room, "sent_messages", "Messages of clients sealed for one reader", counted.sealed);
    counter(room, "opened_messages", "Sealed messages opened for a reader here", counted.opened);
    let closed: Family<Labels, Counter> = Family::default();
    for (reason, count) in &counted.closed {
        closed.get_or_create(&vec![("reason", reason.to_string())]).inc_by(*count);
    }
    room.register("closed_messages", "Sealed messages that stayed closed to a reader here, by reason", closed);
}

fn replicated(room: &mut Registry, status: &Status) {
    let counters = &status.counters;
    counter(room, "merged_changes", "Changes of replicated state that count", counters.merged_changes);
    counter(room, "sessions", "Comparisons of the state with peers that retained something else", counters.sessions);
    counter(room, "healed_changes", "Changes that such comparisons brought", counters.healed_changes);
    counter(room, "superseded_changes", "Changes later than which something stands", counters.superseded_changes);
    counter(room, "floored_changes", "Changes below a floor that do not count", counters.floored_changes);
    counter(room, "denied_changes", "Changes their authors may not make", counters.denied_changes);
    counter(room, "unmerged_changes", "Changes for which there was no room", counters.unmerged_changes);
}

fn flow(room: &mut Registry, queues: &Queues) {
    let labels = |lane: &LaneInfo| vec![("priority", lane.priority.to_string())];
    let gauges = |of: fn(&LaneInfo) -> u64| {
        let family = Family::default();
        queues.lanes.iter().for_each(|lane| set(&family, &labels(lane), of(lane)));
        family
    };
    let counters = |of: fn(&LaneInfo) -> u64| {
        let family: Family<Labels, Counter> = Family::default();
        for lane in &queues.lanes {
            family.get_or_create(&labels(lane)).inc_by(of(lane));
        }
        family
    };
    room.register("waiting_messages", "Messages that wait to be said", gauges(|lane| lane.waiting_messages));
    room.register("waiting_bytes", "Bytes that wait to be said", gauges(|lane| lane.waiting_bytes));
    room.register("sent_messages", "Messages that left their lane", counters(|lane| lane.sent_messages));
    room.register("sent_bytes", "Bytes that left their lane", counters(|lane| lane.sent_bytes));
    room.register("late_messages", "Messages that waited beyond their deadline", counters(|lane| lane.late_messages));
    let help = "Messages that found their lane full and were refused";
    room.register("overflowed_messages", help, counters(|lane| lane.overflowed_messages));
    gauge(
        room,
        "unheld_bytes",
        "Bytes that were said and a peer that keeps up lacks, at most",
        queues.window.unheld_bytes,
    );
    let full = queues.window.peers - queues.window.with_room;
    gauge(room, "full_peers", "Peers that keep up and lack their share, so that the lanes may wait", full as u64);
    let waits: Family<Labels, Counter<f64, std::sync::atomic::AtomicU64>> = Family::default();
    for lane in &queues.lanes {
        waits.get_or_create(&labels(lane)).inc_by(lane.mean_wait_ms * lane.sent_messages as f64 / 1e3);
    }
    room.register_with_unit("wait", "Time messages waited, together", Unit::Seconds, waits);
}

fn deliver(room: &mut Registry, subscriptions: &[SubscriptionInfo]) {
    let sum = |of: fn(&SubscriptionInfo) -> u64| subscriptions.iter().map(of).sum::<u64>();
    gauge(room, "subscriptions", "Durable subscriptions", subscriptions.len() as u64);
    gauge(room, "paused_subscriptions", "Of these, paused", sum(|one| u64::from(one.paused.is_some())));
    let down = sum(|one| u64::from(one.breaker != BreakerState::Closed));
    gauge(room, "down_subscriptions", "Of these, with a sink that is down", down);
    let messages = Family::default();
    let states = [
        ("ready", sum(|one| one.ready)),
        ("leased", sum(|one| one.leased)),
        ("waiting", sum(|one| one.waiting)),
        ("dead", sum(|one| one.dead)),
    ];
    states.iter().for_each(|(state, count)| set(&messages, &vec![("state", state.to_string())], *count));
    room.register("messages", "Messages of durable subscriptions that are not settled", messages);
    let counts = subscriptions.iter().fold(Counts::default(), |all, one| all.plus(one.counts));
    counter(room, "leased_messages", "Messages handed out", counts.leased);
    counter(room, "leased_again_messages", "Messages handed out again", counts.leased_again);
    counter(room, "acknowledged_messages", "Messages acknowledged", counts.acknowledged);
    counter(room, "failed_messages", "Messages that failed", counts.failed);
    counter(room, "timed_out_messages", "Messages without an answer in time", counts.timed_out);
    counter(room, "died_messages", "Messages that became dead letters", counts.died);
    counter(room, "unknown_messages", "Answers for messages that nobody has", counts.unknown);
    counter(room, "missed_messages", "Messages let go before they were looked at", counts.missed);
}

fn feed(room: &mut Registry, status: &Status) {
    let (messages, bytes, feeds) = (Family::default(), Family::default(), Family::default());
    for (category, totals) in &status.categories {
        let labels: Labels = vec![("category", category.to_string())];
        set(&messages, &labels, totals.messages);
        set(&bytes, &labels, totals.bytes);
        set(&feeds, &labels, totals.feeds);
    }
    room.register("messages", "Messages taken into feeds, those let go since included", messages);
    room.register("stored_bytes", "Bytes on disk", bytes);
    room.register("feeds", "Feeds followed", feeds);
    gauge(room, "log_end_messages", "The position the next message will have", status.log_end);
    gauge(room, "wanted_feeds", "Feeds with something missing", status.feeds_wanted);
    gauge(room, "held_bundles", "Bundles in memory that wait for those before them", status.bundles_held);
    let counters = &status.counters;
    counter(room, "kept_messages", "Messages kept", counters.kept_messages);
    counter(room, "kept_bundles", "Bundles kept", counters.kept_bundles);
    counter(room, "kept_bytes", "Bytes kept, as they travel", counters.kept_bytes);
    counter(room, "duplicate_bundles", "Bundles that were here already", counters.duplicate_bundles);
    counter(room, "unplaced_bundles", "Bundles not taken", counters.unplaced_bundles);
    counter(room, "faulty_messages", "Messages that break a rule of their kind", counters.faulty_messages);
    counter(room, "retired_bundles", "Bundles let go by the retention rule", counters.retired_bundles);
    counter(room, "forks", "Authors caught saying two things in one place", counters.forks);
}

fn set(family: &Family<Labels, Gauge>, labels: &Labels, value: u64) {
    family.get_or_create(labels).set(i64::try_from(value).unwrap_or(i64::MAX));
}

pub(super) fn gauge(room: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    room.register(name, help, gauge);
}

pub(super) fn counter(room: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    room.register(name, help, counter);
}
