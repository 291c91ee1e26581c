//! Twins (Bano and others, "Twins: BFT systems made robust", 2021): two nodes with one key are an adversary that
//! says two things without a line of code that lies.

use std::time::Duration;

use super::net::{Cut, Net, at};

fn run(seed: u64, twins: &[usize]) -> Net {
    let mut net = Net::new(4, seed * 104_729);
    for of in twins {
        net = net.twin(*of);
    }
    net.cadence = Duration::from_millis(150);
    let period = Duration::from_millis(40 + seed % 7 * 40);
    let mut net = net.cut(0, 4_000, Cut::Slices(period)).start();
    net.run(at(4_500), u64::MAX);
    net
}

#[test]
fn with_one_pair_of_twins_honest_nodes_never_disagree() {
    let (mut accused, mut heights) = (0, 0);
    for seed in 1..=60 {
        let net = run(seed, &[3]);
        assert!(net.judge.is_content(), "seed {seed}");
        accused += net.judge.accused;
        heights += net.least();
    }
    assert!(accused > 0, "the twins were not even noticed");
    assert!(heights > 60, "nothing was decided: {heights}");
}

#[test]
fn with_two_of_four_twinned_the_harness_sees_a_disagreement() {
    let seen = (1..=60).filter(|seed| run(*seed, &[2, 3]).judge.disagreements > 0).count();
    assert!(seen > 0, "beyond the bound, and nothing went wrong: the harness is blind");
}
