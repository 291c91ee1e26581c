//! Crashes: at every record, with a torn one, and without a log.

use std::time::Duration;

use super::member::Vice;
use super::net::{Net, at};

const MINUTE: u64 = 60_000;

fn crash_at(record: u64, torn: bool, seed: u64) -> Net {
    let mut net = Net::new(4, seed);
    net.lost_permille = 50;
    net.members[(record % 4) as usize].crash_at = Some((record / 4 + 1, torn));
    let mut net = net.start();
    net.run(at(MINUTE), 5);
    net
}

#[test]
fn a_crash_at_any_record_torn_or_not_never_leads_to_a_second_signature() {
    for record in 0..160 {
        for torn in [false, true] {
            let net = crash_at(record, torn, record);
            assert!(net.judge.is_content(), "record {record}, torn {torn}");
            let halted: Vec<_> = net.members.iter().filter_map(|m| m.halted.as_deref()).collect();
            assert!(halted.is_empty(), "record {record}, torn {torn}: {halted:?}");
            assert_eq!(net.least(), 5, "record {record}, torn {torn}: {:?}", net.heights());
        }
    }
}

#[test]
fn nodes_that_crash_again_and_again_go_on() {
    for seed in 0..10 {
        let mut net = Net::new(4, seed);
        net.lost_permille = 30;
        let mut net = net.start();
        for k in 0..40 {
            let n = (net.rng.below(4)) as usize;
            let pause = 20 + net.rng.below(200);
            net.run(at(net.now.0 / 1_000 + pause), u64::MAX);
            if net.members[n].life.is_some() {
                net.crash(n, Duration::from_millis(5 + k));
            }
        }
        let before = net.least();
        net.run(at(net.now.0 / 1_000 + MINUTE), before + 3);
        assert!(net.judge.is_content(), "seed {seed}");
        assert!(net.least() >= before + 3, "seed {seed}: {:?}", net.heights());
    }
}

#[test]
fn all_nodes_crash_at_once_and_go_on_where_they_were() {
    for seed in 0..20 {
        let mut net = Net::new(4, seed).start();
        for _ in 0..5 {
            let pause = 30 + net.rng.below(60);
            net.run(at(net.now.0 / 1_000 + pause), u64::MAX);
            (0..4).filter(|n| net.members[*n].life.is_some()).collect::<Vec<_>>().into_iter().for_each(|n| {
                net.crash(n, Duration::from_millis(20));
            });
        }
        let before = net.least();
        net.run(at(net.now.0 / 1_000 + MINUTE), before + 3);
        assert!(net.judge.is_content(), "seed {seed}");
        assert!(net.least() >= before + 3, "seed {seed}: {:?}", net.heights());
    }
}

#[test]
fn all_nodes_crash_at_the_same_record_and_go_on_with_the_bodies_in_their_logs() {
    for record in 1..=30 {
        for (count, torn) in [(4, false), (4, true), (1, false), (1, true)] {
            let mut net = Net::new(count, record);
            net.members.iter_mut().for_each(|member| member.crash_at = Some((record, torn)));
            let mut net = net.start();
            net.run(at(MINUTE), 5);
            assert!(net.judge.is_content(), "{count} nodes, record {record}, torn {torn}");
            assert!(net.least() >= 5, "{count} nodes, record {record}, torn {torn}: {:?}", net.heights());
        }
    }
}

#[test]
fn one_that_loses_its_memory_may_sign_twice_and_still_nobody_disagrees() {
    for seed in 0..20 {
        let mut net = Net::new(4, seed).guilty(1, Vice { forgets: true, ..Vice::default() });
        net.delay = (10_000, 40_000);
        let mut net = net.start();
        for k in 0..20u64 {
            net.run(at(net.now.0 / 1_000 + 30 + k * 7 % 50), u64::MAX);
            if net.members[1].life.is_some() {
                net.crash(1, Duration::from_millis(1));
            }
        }
        net.run(at(net.now.0 / 1_000 + 5_000), u64::MAX);
        assert!(net.judge.is_content(), "seed {seed}");
        assert!(net.least() > 5, "seed {seed}: {:?}", net.heights());
    }
}
