//! Laws of the schedulers: shares, starvation, and who is served first.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Serves `rounds` loads of `sizes` bytes, all lanes of `busy` never empty. Bytes by lane.
fn served(policy: Policy, busy: [bool; LANES], sizes: &[usize], rounds: usize) -> [usize; LANES] {
    let mut scheduler = Scheduler::new(policy);
    let waits = busy.map(|busy| busy.then_some(Duration::ZERO));
    let mut bytes = [0; LANES];
    for n in 0..rounds {
        let Some(lane) = scheduler.next(&waits) else { break };
        let size = sizes[n % sizes.len()];
        scheduler.served(lane, size, Duration::ZERO);
        bytes[lane as usize] += size;
    }
    bytes
}

fn policies() -> impl Strategy<Value = Policy> {
    prop::sample::select(Policy::ALL.to_vec())
}

proptest! {
    #[test]
    fn some_lane_is_served_whenever_one_waits_and_none_otherwise(policy in policies(), busy: [bool; LANES]) {
        let lane = Scheduler::new(policy).next(&busy.map(|busy| busy.then_some(Duration::ZERO)));
        prop_assert_eq!(lane.is_some(), busy.contains(&true));
        prop_assert!(lane.is_none_or(|lane| busy[lane as usize]));
    }

    /// What every rule but the strict one promises: by bytes, 16 to 8 to 4 to 2 to 1, whatever the loads' sizes.
    #[test]
    fn busy_lanes_get_their_shares(
        policy in prop::sample::select(vec![Policy::Weighted, Policy::Deficit, Policy::Adaptive]),
        busy: [bool; LANES], sizes in prop::collection::vec(1usize..65_536, 1..20),
    ) {
        prop_assume!(busy.contains(&true));
        let bytes = served(policy, busy, &sizes, 40_000);
        let weights = [16.0, 8.0, 4.0, 2.0, 1.0];
        let shares: f64 = weights.iter().zip(busy).filter(|(_, busy)| *busy).map(|(weight, _)| *weight).sum();
        let all: usize = bytes.iter().sum();
        for n in 0..LANES {
            let due = if busy[n] { all as f64 * weights[n] / shares } else { 0.0 };
            // A turn of the coarsest rule, and a load.
            let slack = 2.0 * (16.0 * 16_384.0 + 65_536.0);
            prop_assert!((bytes[n] as f64 - due).abs() <= slack, "lane {}: {} of {}, due {}", n, bytes[n], all, due);
        }
    }

    /// A lane that was empty saved nothing up, and a lane that was busy alone owes nothing.
    #[test]
    fn what_becomes_busy_is_served_soon_and_does_not_take_all(
        policy in prop::sample::select(vec![Policy::Weighted, Policy::Deficit, Policy::Adaptive]),
        before in 0usize..5_000, lane in 0usize..LANES,
    ) {
        let mut scheduler = Scheduler::new(policy);
        let bulk = [None, None, None, None, Some(Duration::ZERO)];
        for _ in 0..before {
            let lane = scheduler.next(&bulk).unwrap();
            scheduler.served(lane, 60_000, Duration::ZERO);
        }
        let mut both = bulk;
        both[lane] = Some(Duration::ZERO);
        let order: Vec<usize> = (0..40).map(|_| {
            let lane = scheduler.next(&both).unwrap();
            scheduler.served(lane, 60_000, Duration::ZERO);
            lane as usize
        }).collect();
        prop_assert!(order[..2].contains(&lane), "{:?}", order);
        prop_assert!(order.contains(&4), "{:?}", order);
    }
}

#[test]
fn the_strict_rule_starves_and_no_other_does() {
    let all = [true; LANES];
    assert_eq!(served(Policy::Strict, all, &[1000], 1000), [1_000_000, 0, 0, 0, 0]);
    for policy in [Policy::Weighted, Policy::Deficit, Policy::Adaptive] {
        let bytes = served(policy, all, &[1000], 1000);
        assert!(bytes.iter().all(|bytes| *bytes > 0), "{policy}: {bytes:?}");
    }
}

#[test]
fn the_adaptive_rule_hurries_what_is_late() {
    let share = |late: Duration| {
        let mut scheduler = Scheduler::new(Policy::Adaptive);
        let waits = [None, None, Some(late), None, Some(Duration::ZERO)];
        let mut normal = 0;
        for _ in 0..1000 {
            let lane = scheduler.next(&waits).unwrap();
            scheduler.served(lane, 1000, waits[lane as usize].unwrap());
            normal += usize::from(lane == Priority::Normal);
        }
        normal
    };
    let (punctual, late) = (share(Duration::ZERO), share(Duration::from_millis(450)));
    assert!((790..=810).contains(&punctual), "{punctual} of 1000: four to one");
    assert!((945..=960).contains(&late), "{late} of 1000: twenty to one");
}

/// Calls of 4,096 drafts until one finds no room.
fn fill(lanes: &mut Lanes, priority: Priority) -> Vec<Draft> {
    let drafts: Vec<Draft> = (0..4096).map(|_| parcel(Kind::ExchangeData, priority, 0).draft).collect();
    let mut calls = 0;
    while lanes.fit(&drafts) == Fit::All {
        drafts.iter().cloned().for_each(|draft| push(lanes, Parcel { draft, call: calls, index: 0 }));
        calls += 1;
    }
    assert!(lanes.states(Mono(0))[priority as usize].messages <= limits::LANE_MESSAGES && calls > 1);
    drafts
}

#[test]
fn a_full_lane_overflows_by_its_own_rule_and_holds_back_no_other() {
    let rules = [
        (Priority::Critical, Fit::PushBack(Priority::Critical), 2 * 4096),
        (Priority::High, Fit::PushBack(Priority::High), 2 * 4096),
        (Priority::Low, Fit::Drop(Priority::Low), 2 * 4096),
        (Priority::Bulk, Fit::Drop(Priority::Bulk), 2 * 4096),
    ];
    for (priority, expected, overflowed) in rules {
        let mut lanes = Lanes::new(Policy::Weighted);
        let drafts = fill(&mut lanes, priority);
        assert_eq!(lanes.fit(&drafts), expected);
        let other = if priority == Priority::High { Priority::Low } else { Priority::High };
        assert_eq!(lanes.fit(&[parcel(Kind::ExchangeData, other, 0).draft]), Fit::All, "another lane has room");
        let state = &lanes.states(Mono(0))[priority as usize];
        assert_eq!((state.messages, state.counts.overflowed), (lanes.waiting(), overflowed));
    }
    let mut lanes = Lanes::new(Policy::Weighted);
    let mut drafts = fill(&mut lanes, Priority::Normal);
    assert_eq!(lanes.fit(&drafts), Fit::Spill);
    assert!(!lanes.wants_spilled());
    fill(&mut lanes, Priority::Bulk);
    drafts.push(parcel(Kind::ExchangeData, Priority::Bulk, 0).draft);
    assert_eq!(lanes.fit(&drafts), Fit::Drop(Priority::Bulk), "a call is not cut in two: what drops comes before");
    while lanes.take(Pass::All, Mono(0)).is_some() {}
    assert!(lanes.wants_spilled());
}

#[test]
fn a_lane_counts_what_waited_and_what_was_late() {
    let mut lanes = Lanes::new(Policy::Weighted);
    lanes.push(parcel(Kind::SecurityAlert, Priority::Normal, 1), Mono(0));
    lanes.push(parcel(Kind::SecurityAlert, Priority::Normal, 2), Mono(15_000));
    let state = lanes.states(Mono(20_000))[0];
    assert_eq!((state.messages, state.oldest), (2, Some(Duration::from_millis(20))));
    assert_eq!(lanes.take(Pass::All, Mono(20_000)).unwrap().parcels.len(), 2);
    let state = lanes.states(Mono(20_000))[0];
    assert_eq!((state.messages, state.bytes, state.oldest), (0, 0, None));
    let counts = state.counts;
    assert_eq!((counts.messages, counts.late, counts.waited_us, counts.longest_us), (2, 1, 25_000, 20_000));
}

/// Rounds until a Bulk message left that waited while Critical ones kept coming; none within three hundred.
fn rounds_of_bulk(policy: Policy) -> Option<usize> {
    let mut lanes = Lanes::new(policy);
    push(&mut lanes, parcel(Kind::ExchangeData, Priority::Bulk, 1));
    let urgent = parcel(Kind::SecurityAlert, Priority::Critical, 0).draft;
    for round in 0..300 {
        while lanes.states(Mono(0))[0].messages < 200 {
            push(&mut lanes, Parcel { draft: urgent.clone(), call: 0, index: 0 });
        }
        if lanes.take(Pass::All, Mono(0))?.parcels.iter().any(|parcel| parcel.call == 1) {
            return Some(round);
        }
    }
    None
}

#[test]
fn bulk_behind_a_flood_of_critical_leaves_soon_except_under_the_strict_rule() {
    assert_eq!(rounds_of_bulk(Policy::Strict), None);
    for policy in [Policy::Weighted, Policy::Deficit, Policy::Adaptive] {
        let rounds = rounds_of_bulk(policy);
        assert!(rounds.is_some_and(|rounds| rounds < 100), "{policy}: {rounds:?}");
    }
}

#[test]
fn critical_leaves_before_bulk_that_came_earlier_whatever_the_rule() {
    for policy in Policy::ALL {
        let mut lanes = Lanes::new(policy);
        let bulk = parcel(Kind::ExchangeData, Priority::Bulk, 0).draft;
        for call in 0..2_000 {
            push(&mut lanes, Parcel { draft: bulk.clone(), call, index: 0 });
        }
        lanes.take(Pass::All, Mono(0));
        push(&mut lanes, parcel(Kind::SecurityAlert, Priority::Critical, 1000));
        let next: Vec<u64> = (0..2).filter_map(|_| Some(lanes.take(Pass::All, Mono(0))?.parcels[0].call)).collect();
        assert!(next.contains(&1000), "{policy}: {next:?}");
        push(&mut lanes, parcel(Kind::SecurityAlert, Priority::Critical, 1001));
        assert_eq!(lanes.take_urgent(Pass::All, Mono(0)).unwrap().parcels[0].call, 1001, "{policy}");
    }
}
