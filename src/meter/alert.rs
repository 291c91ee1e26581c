//! Conditions on rates, and which of them hold.
//!
//! ```text
//!   quiet ──holds──▶ pending ──held for so long──▶ firing ──did not hold for so long──▶ quiet
//!              ◀──does not──┘
//! ```

use serde::{Deserialize, Serialize};

use super::pulse::Rates;
use crate::types::{Mono, Now, WallMs};

/// What a condition can be on: one number of [`Rates`] each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    MessagesPerSecond,
    BytesPerSecond,
    LatencyMeanMs,
    LatencyP95Ms,
    LatencyP99Ms,
    ErrorPercent,
    RetryPercent,
    OverflowPerSecond,
    WaitingMessages,
    OldestWaitMs,
    CriticalWaitMs,
    QueueFullPercent,
    DeadLetters,
    SinksDown,
    Peers,
    BytesInPerSecond,
    BytesOutPerSecond,
    SecurityEventsPerMinute,
    FeedsWanted,
    ClockOffsetMs,
    DiskBytes,
    ResidentBytes,
}

impl Metric {
    /// Its value now; none while there is nothing to measure.
    pub fn of(self, rates: &Rates) -> Option<f64> {
        let latency = rates.latency_ms;
        match self {
            Metric::MessagesPerSecond => Some(rates.messages_per_second),
            Metric::BytesPerSecond => Some(rates.bytes_per_second),
            Metric::LatencyMeanMs => latency.map(|latency| latency.mean),
            Metric::LatencyP95Ms => latency.map(|latency| latency.p95),
            Metric::LatencyP99Ms => latency.map(|latency| latency.p99),
            Metric::ErrorPercent => Some(rates.error_percent),
            Metric::RetryPercent => Some(rates.retry_percent),
            Metric::OverflowPerSecond => Some(rates.overflow_per_second),
            Metric::WaitingMessages => Some(rates.waiting_messages as f64),
            Metric::OldestWaitMs => Some(rates.oldest_wait_ms),
            Metric::CriticalWaitMs => Some(rates.critical_wait_ms),
            Metric::QueueFullPercent => Some(rates.queue_full_percent),
            Metric::DeadLetters => Some(rates.dead_letters as f64),
            Metric::SinksDown => Some(rates.sinks_down as f64),
            Metric::Peers => Some(rates.peers as f64),
            Metric::BytesInPerSecond => Some(rates.bytes_in_per_second),
            Metric::BytesOutPerSecond => Some(rates.bytes_out_per_second),
            Metric::SecurityEventsPerMinute => Some(rates.security_events_per_minute),
            Metric::FeedsWanted => Some(rates.feeds_wanted as f64),
            Metric::ClockOffsetMs => rates.clock_offset_ms.map(|ms| ms as f64),
            Metric::DiskBytes => Some(rates.disk_bytes as f64),
            Metric::ResidentBytes => rates.resident_bytes.map(|bytes| bytes as f64),
        }
    }
}

/// On which side of the threshold a number is worth an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Comparison {
    Above,
    Below,
}

/// A condition that an operator wants to hear of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertRule {
    /// Its name. One with the name of a built-in rule takes its place.
    pub name: String,
    /// On which number.
    pub metric: Metric,
    /// `above` or `below` the threshold.
    pub comparison: Comparison,
    /// A finite number.
    pub threshold: f64,
    /// For how long the condition must hold before the alert fires, and not hold before it ends, seconds.
    #[serde(default = "one_minute")]
    pub for_s: u64,
    /// Whether the network is told, too: a SecurityAlert for what concerns security, a LogRecord for the rest.
    #[serde(default)]
    pub announce: bool,
    /// False takes a built-in rule away.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// The threshold of a rule that was checked is a finite number.
impl Eq for AlertRule {}

fn one_minute() -> u64 {
    60
}

fn yes() -> bool {
    true
}

impl AlertRule {
    fn holds(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Above => value > self.threshold,
            Comparison::Below => value < self.threshold,
        }
    }

    /// Whether it concerns security rather than operation.
    pub fn is_of_security(&self) -> bool {
        self.metric == Metric::SecurityEventsPerMinute
    }

    /// The condition in words.
    pub fn words(&self) -> String {
        let metric = serde_json::to_value(self.metric).ok();
        let metric = metric.as_ref().and_then(|metric| metric.as_str()).unwrap_or_default();
        let side = match self.comparison {
            Comparison::Above => "above",
            Comparison::Below => "below",
        };
        format!("{metric} {side} {} for {} s", self.threshold, self.for_s)
    }
}

/// The rules a node has unless its configuration says otherwise.
pub fn built_in() -> Vec<AlertRule> {
    use Comparison::{Above, Below};
    let rule = |name: &str, metric, comparison, threshold, for_s, announce| AlertRule {
        name: name.into(),
        metric,
        comparison,
        threshold,
        for_s,
        announce,
        enabled: true,
    };
    vec![
        rule("alone", Metric::Peers, Below, 1.0, 120, false),
        rule("behind", Metric::FeedsWanted, Above, 0.0, 120, false),
        rule("clock", Metric::ClockOffsetMs, Above, 2_000.0, 60, false),
        rule("critical_waits", Metric::CriticalWaitMs, Above, 1_000.0, 5, false),
        rule("dead_letters", Metric::DeadLetters, Above, 0.0, 60, false),
        rule("errors", Metric::ErrorPercent, Above, 5.0, 60, false),
        rule("overflow", Metric::OverflowPerSecond, Above, 0.0, 10, false),
        rule("queue_full", Metric::QueueFullPercent, Above, 80.0, 30, false),
        rule("retries", Metric::RetryPercent, Above, 20.0, 60, false),
        rule("security", Metric::SecurityEventsPerMinute, Above, 10.0, 30, true),
        rule("sinks_down", Metric::SinksDown, Above, 0.0, 60, false),
        rule("slow", Metric::LatencyP99Ms, Above, 5_000.0, 60, false),
    ]
}

/// How a rule stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// The condition does not hold.
    Quiet,
    /// It holds, not yet for long enough.
    Pending,
    /// It held for long enough, and has not been over for as long.
    Firing,
}

/// A rule and how it stands.
#[derive(Clone, PartialEq, Debug, Serialize, schemars::JsonSchema)]
pub struct Alert {
    #[serde(flatten)]
    pub rule: AlertRule,
    pub state: AlertState,
    /// The number when it was last looked at; none while there is nothing to measure.
    pub value: Option<f64>,
    /// Since when it is in this state, milliseconds since 1970; none when it always was.
    pub since_ms: Option<WallMs>,
    /// How often it has fired since the start.
    pub fired: u64,
}

/// An alert has begun or ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// The alert as it is now.
    pub alert: Alert,
    /// Whether it fires now.
    pub firing: bool,
}

#[derive(Clone, Debug)]
struct Watched {
    alert: Alert,
    /// Since when the condition is other than the state says.
    turned: Option<Mono>,
}

/// All rules of a node.
#[derive(Clone, Debug)]
pub struct Alerts {
    watched: Vec<Watched>,
}

impl Alerts {
    /// The built-in rules with `own` laid over them by name.
    pub fn new(own: &[AlertRule]) -> Alerts {
        let mut rules: Vec<AlertRule> =
            built_in().into_iter().filter(|rule| own.iter().all(|other| other.name != rule.name)).collect();
        rules.extend(own.iter().filter(|rule| rule.enabled).cloned());
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        let quiet = |rule| Alert { rule, state: AlertState::Quiet, value: None, since_ms: None, fired: 0 };
        Alerts { watched: rules.into_iter().map(|rule| Watched { alert: quiet(rule), turned: None }).collect() }
    }

    /// Every rule, by name.
    pub fn all(&self) -> impl Iterator<Item = &Alert> {
        self.watched.iter().map(|watched| &watched.alert)
    }

    /// Holds the rules against what is so now; what has begun or ended with that.
    pub fn look(&mut self, rates: &Rates, now: Now) -> Vec<Change> {
        self.watched.iter_mut().filter_map(|watched| watched.look(rates, now)).collect()
    }
}

impl Watched {
    fn look(&mut self, rates: &Rates, now: Now) -> Option<Change> {
        let alert = &mut self.alert;
        alert.value = alert.rule.metric.of(rates);
        let holds = alert.value.is_some_and(|value| alert.rule.holds(value));
        let fires = alert.state == AlertState::Firing;
        if holds == fires {
            if alert.state == AlertState::Pending {
                (alert.state, alert.since_ms) = (AlertState::Quiet, Some(now.wall));
            }
            self.turned = None;
            return None;
        }
        let turned = *self.turned.get_or_insert(now.mono);
        if (now.mono - turned).as_secs() < alert.rule.for_s {
            if alert.state == AlertState::Quiet {
                (alert.state, alert.since_ms) = (AlertState::Pending, Some(now.wall));
            }
            return None;
        }
        self.turned = None;
        alert.state = if holds { AlertState::Firing } else { AlertState::Quiet };
        alert.since_ms = Some(now.wall);
        alert.fired += u64::from(holds);
        Some(Change { alert: alert.clone(), firing: holds })
    }
}
