//! Ways over small networks, against all ways there are.

use std::time::Duration;

use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::types::{Mono, NodeId, limits};
use crate::wire::Destination;
use crate::wire::kind::system::{Link, LinkReport};

const NOW: Mono = Mono(0);

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn report(load_percent: f64, links: &[(u8, u32, u32)]) -> LinkReport {
    let link = |(peer, round_trip_us, loss_ppm): &(u8, u32, u32)| Link {
        peer: node(*peer),
        round_trip_us: *round_trip_us,
        loss_ppm: *loss_ppm,
    };
    LinkReport { load_percent, links: links.iter().map(link).collect() }
}

/// This node is 0; 1 and 2 both lead to 3; by 1 it is fast and lossy, by 2 slow and sure.
fn diamond() -> Routes {
    let mut routes = Routes::new(node(0));
    for peer in [1, 2] {
        routes.on_up(node(peer));
        routes.on_round_trip(node(peer), Duration::from_micros(1_000));
    }
    routes.on_report(node(1), &report(0.0, &[(0, 1_000, 0), (3, 2_000, 100_000)]), NOW);
    routes.on_report(node(2), &report(0.0, &[(0, 1_000, 0), (3, 80_000, 0)]), NOW);
    routes.on_report(node(3), &report(0.0, &[(1, 2_000, 100_000), (2, 80_000, 0)]), NOW);
    routes
}

fn ways_to(routes: &Routes, to: u8, strategy: Strategy, now: Mono) -> Vec<Way> {
    routes.ways(&Destination::Node(node(to)), || vec![node(to)], strategy, now)
}

fn firsts(routes: &Routes, strategy: Strategy) -> Vec<NodeId> {
    ways_to(routes, 3, strategy, NOW).iter().map(|way| way.hops[0]).collect()
}

#[test]
fn each_strategy_has_its_own_best_way_and_the_other_as_backup() {
    let routes = diamond();
    assert_eq!(firsts(&routes, Strategy::Fastest), [node(1), node(2)]);
    assert_eq!(firsts(&routes, Strategy::Reliable), [node(2), node(1)]);
    // 0.3 × 80/500 + 0.4 × 0 is more than 0.3 × 2/500 + 0.4 × 0.1.
    assert_eq!(firsts(&routes, Strategy::Balanced), [node(1), node(2)]);
    assert_eq!(firsts(&routes, Strategy::First), [node(1), node(2)]);
    let best = &ways_to(&routes, 3, Strategy::Fastest, NOW)[0];
    assert_eq!((best.hops.as_slice(), best.time_us), ([node(1), node(3)].as_slice(), 1_500));
    assert_eq!(best.success_ppm, 900_000);
}

#[test]
fn load_turns_a_balanced_way_elsewhere() {
    let mut routes = diamond();
    routes.on_report(node(1), &report(90.0, &[(0, 1_000, 0), (3, 2_000, 100_000)]), NOW);
    assert_eq!(firsts(&routes, Strategy::Balanced), [node(2), node(1)]);
    assert_eq!(firsts(&routes, Strategy::Fastest), [node(1), node(2)], "only balanced looks at load");
}

#[test]
fn a_link_that_only_one_end_speaks_of_is_none() {
    let mut routes = diamond();
    routes.on_report(node(4), &report(0.0, &[(0, 1, 0), (9, 1, 0)]), NOW);
    routes.on_up(node(4));
    assert!(ways_to(&routes, 9, Strategy::Fastest, NOW).is_empty(), "9 says nothing of 4");
    routes.on_report(node(9), &report(0.0, &[(4, 1, 0)]), NOW);
    routes.look_anew();
    assert_eq!(ways_to(&routes, 9, Strategy::Fastest, NOW)[0].hops, [node(4), node(9)]);
}

#[test]
fn what_failed_is_tried_last_until_it_works_or_its_time_is_over() {
    let mut routes = diamond();
    routes.on_outcome(node(3), node(1), false, NOW);
    let ways = ways_to(&routes, 3, Strategy::Fastest, NOW);
    assert_eq!((ways[0].hops[0], ways[0].avoided, ways[1].avoided), (node(2), false, true));
    let later = NOW + Duration::from_secs(15);
    assert_eq!(ways_to(&routes, 3, Strategy::Fastest, later)[0].hops[0], node(1));
    routes.on_outcome(node(3), node(1), true, NOW);
    assert_eq!(firsts(&routes, Strategy::Fastest)[0], node(1));
}

/// The ways to a service that these nodes offer.
fn service(routes: &Routes, readers: &[u8], now: Mono) -> Vec<Vec<NodeId>> {
    let readers = || readers.iter().copied().map(node).collect();
    let ways = routes.ways(&Destination::Service("s".into()), readers, Strategy::Fastest, now);
    ways.into_iter().map(|way| way.hops).collect()
}

#[test]
fn of_many_readers_the_nearest_is_found_and_another_once_that_has_failed() {
    let mut routes = diamond();
    routes.on_report(node(4), &report(0.0, &[(3, 10_000, 0)]), NOW);
    let of_three = report(0.0, &[(1, 2_000, 100_000), (2, 80_000, 0), (4, 10_000, 0)]);
    routes.on_report(node(3), &of_three, NOW);
    assert_eq!(service(&routes, &[3, 4], NOW), [vec![node(1), node(3)], vec![node(2), node(3)]]);
    let [second, third] = [1, 2].map(|seconds| NOW + Duration::from_secs(seconds));
    assert_eq!(service(&routes, &[2, 4], second)[0], [node(2)], "a neighbour itself is one");
    routes.on_declined(node(3), second);
    let ways = service(&routes, &[3, 4], third);
    assert_eq!(ways[0], [node(1), node(3), node(4)], "behind it is another");
    assert_eq!(ways[2..], [vec![node(1), node(3)], vec![node(2), node(3)]], "it is tried last");
}

#[test]
fn a_failure_marks_what_was_found_and_finds_nothing_anew() {
    let mut routes = diamond();
    assert_eq!(firsts(&routes, Strategy::Fastest), [node(1), node(2)]);
    routes.on_outcome(node(3), node(1), false, NOW);
    let asked = || -> Vec<NodeId> { panic!("searched again") };
    let ways = routes.ways(&Destination::Node(node(3)), asked, Strategy::Fastest, NOW);
    assert_eq!((ways[0].hops[0], ways[1].avoided), (node(2), true));
}

#[test]
fn strangers_that_report_make_room_for_neighbours_and_theirs() {
    let mut routes = diamond();
    for n in 0..limits::LINK_REPORTS as u16 {
        let mut id = [0xEE; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        routes.on_report(NodeId(id), &report(0.0, &[]), NOW);
    }
    routes.on_up(node(5));
    assert!(routes.on_report(node(5), &report(0.0, &[(0, 1, 0), (6, 1, 0)]), NOW), "a neighbour");
    assert!(routes.on_report(node(6), &report(0.0, &[(5, 1, 0)]), NOW), "a neighbour's neighbour");
    assert!(!routes.on_report(node(7), &report(0.0, &[]), NOW), "a stranger");
    assert_eq!(ways_to(&routes, 6, Strategy::First, NOW)[0].hops, [node(5), node(6)]);
    assert!(routes.has(node(3)) && routes.topology().count() <= limits::LINK_REPORTS);
}

#[test]
fn old_reports_count_no_more() {
    let mut routes = diamond();
    routes.forget_old(NOW + Duration::from_secs(29));
    assert_eq!(ways_to(&routes, 3, Strategy::First, NOW).len(), 2);
    routes.forget_old(NOW + Duration::from_secs(30));
    routes.look_anew();
    assert!(ways_to(&routes, 3, Strategy::First, NOW).is_empty());
    assert_eq!(ways_to(&routes, 1, Strategy::First, NOW).len(), 1, "own links need no report");
}

#[test]
fn losses_fade_and_round_trips_follow() {
    let mut link = Quality::default();
    link.on_round_trip(Duration::from_micros(800));
    assert_eq!(link.round_trip_us, 800, "the first sample counts whole");
    (0..200).for_each(|_| link.on_round_trip(Duration::from_micros(100)));
    assert_eq!(link.round_trip_us, 100);
    link.on_outcome(false);
    assert_eq!(link.loss_ppm, 125_000);
    (0..200).for_each(|_| link.on_outcome(true));
    assert_eq!(link.loss_ppm, 0);
}

/// Every way without a loop, by trying them all.
fn cheapest_by_hand(links: &[(u8, u8, u32)], to: u8) -> Option<u64> {
    fn walk(at: u8, to: u8, cost: u64, seen: &mut Vec<u8>, links: &[(u8, u8, u32)], best: &mut Option<u64>) {
        if at == to {
            *best = Some(best.map_or(cost, |b| b.min(cost)));
            return;
        }
        for (a, b, time) in links {
            for (from, next) in [(a, b), (b, a)] {
                if *from == at && !seen.contains(next) && seen.len() < 8 {
                    seen.push(*next);
                    walk(*next, to, cost + u64::from(*time) / 2 + 1, seen, links, best);
                    seen.pop();
                }
            }
        }
    }
    let mut best = None;
    walk(0, to, 0, &mut vec![0], links, &mut best);
    best
}

proptest! {
    /// The way found is as cheap as the cheapest of all there are.
    #[test]
    fn no_way_is_cheaper_than_the_one_found(raw in prop::collection::btree_map((0u8..6, 0u8..6), 2u32..1_000, 1..12)) {
        let links: Vec<(u8, u8, u32)> = raw.into_iter().filter(|((a, b), _)| a < b).map(|((a, b), t)| (a, b, t * 2)).collect();
        let mut routes = Routes::new(node(0));
        for n in 0..6u8 {
            let own: Vec<(u8, u32, u32)> = links
                .iter()
                .filter_map(|(a, b, t)| if *a == n { Some((*b, *t, 0)) } else if *b == n { Some((*a, *t, 0)) } else { None })
                .collect();
            if n == 0 {
                for (peer, time, _) in &own {
                    routes.on_up(node(*peer));
                    routes.on_round_trip(node(*peer), Duration::from_micros(u64::from(*time)));
                }
            }
            routes.on_report(node(n), &report(0.0, &own), NOW);
        }
        for to in 1..6u8 {
            let found = ways_to(&routes, to, Strategy::Fastest, NOW);
            prop_assert!(found.iter().all(|way| !way.hops.contains(&node(0))), "no way comes back");
            prop_assert_eq!(found.first().map(|way| way.cost), cheapest_by_hand(&links, to));
        }
    }
}
