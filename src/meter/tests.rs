//! Counting, rates and alerts: laws, and the cases an operator meets.

use proptest::prelude::*;

use super::*;
use crate::types::{Mono, Now, WallMs};
use crate::wire::{Category, Draft, Filter, Kind, Payload, Priority};

fn trade() -> Draft {
    let vectors = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/kinds.json"));
    let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
    let vector = vectors.iter().find(|v| v["kind"] == "Data/ExchangeData").unwrap();
    Draft::new(&Payload::from_json(Kind::ExchangeData, &vector["payload"]).unwrap())
}

proptest! {
    /// A quantile lies in the bucket of the value that a sorted list has there.
    #[test]
    fn quantiles_are_those_of_a_sorted_list_to_within_a_bucket(
        mut times in prop::collection::vec(0_u64..12_000_000, 1..200), part in 0.01_f64..1.0,
    ) {
        let mut histogram = Histogram::default();
        times.iter().for_each(|time| histogram.note(*time, 1));
        times.sort_unstable();
        let place = ((part * times.len() as f64).ceil() as usize).clamp(1, times.len()) - 1;
        let exact = times[place];
        let end = BUCKETS_US.iter().copied().find(|end| *end >= exact).unwrap_or(10_000_000) as f64;
        let begin = BUCKETS_US.iter().copied().rev().find(|end| *end < exact).unwrap_or(0) as f64;
        let told = histogram.quantile_us(part).unwrap();
        prop_assert!((begin..=end).contains(&told), "{told} for {exact}");
        prop_assert_eq!(histogram.count(), times.len() as u64);
        prop_assert_eq!(histogram.sum_us(), times.iter().sum::<u64>());
    }

    #[test]
    fn what_was_added_can_be_taken_away_again(
        one in prop::collection::vec(0_u64..20_000_000, 0..50), two in prop::collection::vec(0_u64..20_000_000, 0..50),
    ) {
        let of = |times: &[u64]| times.iter().fold(Histogram::default(), |mut all, time| { all.note(*time, 1); all });
        prop_assert_eq!(of(&one).plus(&of(&two)).since(&of(&one)), of(&two));
    }
}

#[test]
fn drafts_are_counted_by_rank_and_category_and_refusals_by_reason() {
    let mut urgent = trade();
    urgent.priority = Priority::Critical;
    let drafts = vec![trade(), urgent, trade()];
    let mut tally = Tally::default();
    for passage in Passage::drafts(Station::Preprocess, &drafts, 70, Outcome::Passed) {
        tally.note(&passage);
    }
    for passage in Passage::drafts(Station::Validate, &drafts, 0, Outcome::Refused("full")) {
        tally.note(&passage);
    }
    tally.note(&Passage::unread(Station::Preprocess, true, 2, "malformed"));
    let passed: Vec<(Station, Priority, u64)> =
        tally.passed().map(|(station, class, times)| (station, class.priority, times.count())).collect();
    assert_eq!(passed, [(Station::Preprocess, Priority::Critical, 1), (Station::Preprocess, Priority::Normal, 2)]);
    let refused: Vec<_> = tally.refused().collect();
    assert_eq!(refused, [(Station::Preprocess, "malformed", 2), (Station::Validate, "full", 3)]);
    assert_eq!((tally.all_refused(), tally.routed()), (5, (0, 0)));
}

#[test]
fn what_has_no_ids_yet_is_seen_by_its_kind_and_category() {
    let passage = Passage::drafts(Station::Validate, &[trade(), trade()], 5, Outcome::Passed).remove(0);
    let of = |filter: Filter| passage.seen(&filter).len();
    assert_eq!(passage.seen(&Filter::default())[0].messages, 2);
    assert_eq!(of(Filter { categories: [Category::Data].into(), ..Filter::default() }), 1);
    assert_eq!(of(Filter { categories: [Category::System].into(), ..Filter::default() }), 0);
    assert_eq!(of(Filter { kinds: [Kind::ExchangeData].into(), ..Filter::default() }), 1);
    assert_eq!(of(Filter { tags: ["a".to_string()].into(), ..Filter::default() }), 0, "nobody knows its tags");
}

fn reading(second: u64, messages: u64) -> Reading {
    Reading { at: Mono(second * 1_000_000), messages, bytes: 100 * messages, ..Reading::default() }
}

#[test]
fn rates_are_of_the_last_ten_seconds_and_the_peak_of_all_time() {
    let mut pulse = Pulse::default();
    assert_eq!(pulse.rates(), Rates::default());
    for second in 0..30 {
        // A burst in the third second, then ten a second.
        pulse.read(reading(second, 10 * second + if second >= 3 { 500 } else { 0 }));
    }
    let rates = pulse.rates();
    assert_eq!((rates.messages_per_second, rates.bytes_per_second), (10.0, 1000.0));
    assert_eq!((rates.peak_messages_per_second, rates.peak_bytes_per_second), (510.0, 51_000.0));
    assert_eq!(rates.latency_ms, None);
}

#[test]
fn errors_retries_and_latency_are_of_what_happened_meanwhile() {
    let mut pulse = Pulse::default();
    let mut ages = Histogram::default();
    ages.note(9_000_000, 50);
    pulse.read(Reading { refused: 7, handed: 10, retried: 10, ages, ..reading(1, 100) });
    ages.note(3_000, 100);
    pulse.read(Reading { refused: 32, handed: 20, retried: 11, ages, ..reading(2, 175) });
    let rates = pulse.rates();
    assert_eq!((rates.error_percent, rates.retry_percent), (25.0, 10.0));
    let latency = rates.latency_ms.unwrap();
    assert_eq!(latency.mean, 3.0);
    assert!((2.0..=5.0).contains(&latency.p99), "{latency:?}: what came before does not count");
}

fn now(second: u64) -> Now {
    Now { mono: Mono(second * 1_000_000), wall: WallMs(1_000 * second) }
}

fn own(metric: Metric, comparison: Comparison, threshold: f64, for_s: u64) -> Alerts {
    let name = "own".to_string();
    let rule = AlertRule { name, metric, comparison, threshold, for_s, announce: false, enabled: true };
    let off = built_in().into_iter().map(|rule| AlertRule { enabled: false, ..rule });
    Alerts::new(&off.chain([rule]).collect::<Vec<_>>())
}

#[test]
fn an_alert_fires_when_its_condition_has_held_and_ends_when_it_has_not_for_as_long() {
    let mut alerts = own(Metric::DeadLetters, Comparison::Above, 4.0, 10);
    let dead = |dead_letters| Rates { dead_letters, ..Rates::default() };
    let state = |alerts: &Alerts| alerts.all().next().unwrap().state;
    assert_eq!(alerts.all().count(), 1);
    assert!(alerts.look(&dead(4), now(0)).is_empty());
    assert_eq!(state(&alerts), AlertState::Quiet, "not above");
    assert!(alerts.look(&dead(5), now(1)).is_empty() && alerts.look(&dead(5), now(10)).is_empty());
    assert_eq!(state(&alerts), AlertState::Pending);
    assert!(alerts.look(&dead(0), now(11)).is_empty(), "once not, and it begins anew");
    assert!(alerts.look(&dead(5), now(12)).is_empty() && alerts.look(&dead(5), now(21)).is_empty());
    let fired = alerts.look(&dead(9), now(22));
    assert!(matches!(&fired[..], [Change { firing: true, alert }] if alert.value == Some(9.0)), "{fired:?}");
    assert!(alerts.look(&dead(0), now(23)).is_empty() && alerts.look(&dead(9), now(30)).is_empty());
    assert!(alerts.look(&dead(0), now(31)).is_empty());
    assert_eq!(state(&alerts), AlertState::Firing, "a dip does not end it");
    let ended = alerts.look(&dead(0), now(41));
    assert!(matches!(&ended[..], [Change { firing: false, .. }]), "{ended:?}");
    assert_eq!((state(&alerts), alerts.all().next().unwrap().fired), (AlertState::Quiet, 1));
}

#[test]
fn a_number_that_is_not_there_holds_no_condition() {
    let mut alerts = own(Metric::LatencyP99Ms, Comparison::Below, 1e9, 0);
    assert!(alerts.look(&Rates::default(), now(1)).is_empty());
    let latency_ms = Some(Latency { mean: 1.0, p95: 1.0, p99: 1.0 });
    assert_eq!(alerts.look(&Rates { latency_ms, ..Rates::default() }, now(2)).len(), 1);
}

#[test]
fn a_rule_of_ones_own_takes_the_place_of_the_built_in_one_of_its_name() {
    let names = |alerts: &Alerts| alerts.all().map(|alert| alert.rule.name.clone()).collect::<Vec<_>>();
    let whole = names(&Alerts::new(&[]));
    let mut slow = built_in().into_iter().find(|rule| rule.name == "slow").unwrap();
    slow.threshold = 20.0;
    let alerts = Alerts::new(std::slice::from_ref(&slow));
    assert_eq!(names(&alerts), whole);
    assert_eq!(alerts.all().find(|alert| alert.rule.name == "slow").unwrap().rule.threshold, 20.0);
    slow.enabled = false;
    assert_eq!(names(&Alerts::new(&[slow])).len(), whole.len() - 1);
}
