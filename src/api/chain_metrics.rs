//! Numbers of the chain for Prometheus, `metanode_chain_…`; the rules to be alarmed by are in docs/prometheus/chain.yml.

use std::fmt;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::{Labels, counter, gauge};
use crate::node::{AgreementStatus, FINALITY_MS, Finality};

/// How agreement stands, and what the chain has counted.
pub fn chain(room: &mut Registry, status: &AgreementStatus) {
    let AgreementStatus { counts, .. } = status;
    gauge(room, "height", "The height that is agreed on; the one before is final", status.height.0);
    gauge(room, "round", "The attempt at it, from 0", status.round.into());
    gauge(room, "halted", "Whether agreement has stopped here", u64::from(status.phase == "halted"));
    gauge(room, "votes", "Whether this node votes", u64::from(status.votes));
    gauge(room, "abstains", "Whether it does not because its log is lost", u64::from(status.abstains));
    gauge(room, "validators", "Validators of the height", status.validators.len() as u64);
    let power = status.validators.iter().map(|validator| validator.power).sum();
    gauge(room, "validators_power", "Their power together", power);
    gauge(room, "pool_seals", "Sealed groups that wait for a block", status.waiting);
    gauge(room, "pool_transactions", "Transactions that wait for a block", status.waiting_transactions);
    gauge(room, "pool_bytes", "Their size", status.waiting_bytes);
    counter(room, "blocks", "Blocks that became final here", counts.blocks);
    counter(room, "late_blocks", "Of these, decided in a later round than the first", counts.late_blocks);
    counter(room, "evidence", "Contradictions of validators seen", counts.evidence);
    counter(room, "dropped_evidence", "Of these, not kept: too many wait", counts.evidence_dropped);
    let transactions: Family<Labels, Counter> = Family::default();
    for (name, ended) in &counts.transactions {
        for (outcome, count) in [("succeeded", ended.succeeded), ("failed", ended.failed)] {
            let labels = vec![("type", name.to_string()), ("outcome", outcome.to_string())];
            transactions.get_or_create(&labels).inc_by(count);
        }
    }
    room.register("transactions", "Final transactions, by what they do and how they ended", transactions);
    let refused: Family<Labels, Counter> = Family::default();
    for (reason, count) in &counts.refused {
        refused.get_or_create(&vec![("reason", reason.to_string())]).inc_by(*count);
    }
    room.register("refused_seals", "Sealed groups that were not taken, by reason", refused);
    let help = "From being taken from a client to being final on the disk";
    room.register_with_unit("finality", help, Unit::Seconds, Histogram(counts.finality.clone()));
}

/// Times that were put into classes where they were taken.
struct Histogram(Finality);

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let Finality { count, sum_ms, classes } = &self.0;
        let ends = FINALITY_MS.iter().map(|ms| *ms as f64 / 1e3);
        let mut buckets: Vec<(f64, u64)> = ends.zip(classes.iter().copied()).collect();
        buckets.push((f64::INFINITY, count.saturating_sub(classes.iter().sum())));
        encoder.encode_histogram::<NoLabelSet>(*sum_ms as f64 / 1e3, *count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn times_become_a_histogram_whose_last_class_has_no_end() {
        let mut finality = Finality { count: 4, sum_ms: 61_500, ..Finality::default() };
        (finality.classes[0], finality.classes[4]) = (1, 2);
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register_with_unit("finality", "h", Unit::Seconds, Histogram(finality));
        encode(&mut text, &registry).unwrap();
        for line in [
            "finality_seconds_sum 61.5",
            "finality_seconds_count 4",
            "finality_seconds_bucket{le=\"0.01\"} 1",
            "finality_seconds_bucket{le=\"0.2\"} 3",
            "finality_seconds_bucket{le=\"60.0\"} 3",
            "finality_seconds_bucket{le=\"+Inf\"} 4",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
