//! The stages' numbers for Prometheus: histograms that are counted elsewhere, written out.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::meter::{Class, Histogram, Rates, Tally};
use crate::store::Writes;

type Labels = Vec<(&'static str, String)>;
type Fraction = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Histograms with their labels.
#[derive(Debug)]
struct Times(Vec<(Labels, Histogram)>);

impl EncodeMetric for Times {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (labels, times) in &self.0 {
            let seconds = |us: u64| us as f64 / 1e6;
            let buckets: Vec<(f64, u64)> =
                times.buckets().map(|(end, count)| (end.map_or(f64::MAX, seconds), count)).collect();
            let mut encoder = encoder.encode_family(labels)?;
            encoder.encode_histogram::<NoLabelSet>(seconds(times.sum_us()), times.count(), &buckets, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn labels(class: Class) -> Labels {
    vec![("priority", class.priority.to_string()), ("category", class.category.to_string())]
}

/// Messages, refusals and times by stage; the age of what comes.
pub fn stages(room: &mut Registry, tally: &Tally) {
    let (messages, refused) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
    let mut times = Vec::new();
    for (station, class, histogram) in tally.passed() {
        let mut labels = labels(class);
        labels.push(("stage", station.to_string()));
        messages.get_or_create(&labels).inc_by(histogram.count());
        times.push((labels, *histogram));
    }
    for (station, reason, count) in tally.refused() {
        let labels = vec![("stage", station.to_string()), ("reason", reason.to_string())];
        refused.get_or_create(&labels).inc_by(count);
    }
    room.register("messages", "Messages that passed a stage", messages);
    room.register("refused_messages", "Messages refused at a stage, by reason", refused);
    room.register_with_unit("duration", "Time a stage took", Unit::Seconds, Times(times));
    let ages = tally.ages().map(|(class, ages)| (labels(class), *ages)).collect();
    let help = "From creation at the author until kept here, of what came live";
    room.register_with_unit("latency", help, Unit::Seconds, Times(ages));
}

/// Rates over the last ten seconds, and how many alerts fire.
pub fn rates(room: &mut Registry, rates: &Rates, firing: usize) {
    let numbers = [
        ("messages_per_second", "Messages routed a second", rates.messages_per_second),
        ("bytes_per_second", "Bytes routed a second", rates.bytes_per_second),
        ("peak_messages_per_second", "The most messages routed in a second", rates.peak_messages_per_second),
        ("peak_bytes_per_second", "The most bytes routed in a second", rates.peak_bytes_per_second),
        ("error_ratio", "Messages refused, of those routed or refused", rates.error_percent / 100.0),
        ("retry_ratio", "Messages handed out again, of those handed out", rates.retry_percent / 100.0),
        ("security_events_per_minute", "Refused bytes of peers and forks a minute", rates.security_events_per_minute),
        ("firing_alerts", "Alerts that fire", firing as f64),
    ];
    for (name, help, value) in numbers {
        let number = Fraction::default();
        number.set(value);
        room.register(name, help, number);
    }
}

/// Bytes on connections.
pub fn traffic(room: &mut Registry, (bytes_in, bytes_out): (u64, u64)) {
    for (name, help, bytes) in [
        ("received_bytes", "Bytes that came on connections", bytes_in),
        ("sent_bytes", "Bytes that went on connections", bytes_out),
    ] {
        count(room, name, help, bytes);
    }
}

/// What was written to the store.
pub fn writes(room: &mut Registry, writes: Writes) {
    count(room, "commits", "Batches committed", writes.commits);
    count(room, "written_rows", "Rows put or removed", writes.rows);
    count(room, "written_bytes", "Bytes of rows, keys included", writes.bytes);
    count(room, "flushes", "Flushes waited for", writes.flushes);
}

fn count(room: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    room.register(name, help, counter);
}
