//! A network that loses, doubles, reorders and cuts; nodes that drop, lie and dawdle.

use std::time::Duration;

use super::member::Vice;
use super::net::{Cut, Net, at};

const MINUTE: u64 = 60_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn content(net: &Net, what: &str) {
    assert!(net.judge.is_content(), "{what}: a promise was broken, heights {:?}", net.heights());
    let halted: Vec<_> = net.members.iter().filter_map(|m| m.halted.as_deref()).collect();
    assert!(halted.is_empty(), "{what}: {halted:?}");
}

#[test]
fn four_nodes_decide_height_after_height_in_the_first_round() {
    let mut net = Net::new(4, 1).start();
    net.run(at(MINUTE), 50);
    content(&net, "calm");
    assert_eq!((net.least(), net.judge.highest_round, net.judge.accused), (50, 0, 0));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut net = Net::new(4, seed);
        (net.lost_permille, net.doubled_permille) = (100, 100);
        let mut net = net.start();
        net.run(at(MINUTE), 15);
        let chain: Vec<_> = net.members[0].disk.chain.iter().map(|certificate| certificate.value).collect();
        (chain, net.now, net.letters)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn loss_up_to_a_third_doubling_and_reordering_slow_it_down_and_do_no_harm() {
    for seed in 0..62 {
        let mut net = Net::new(4, seed);
        net.lost_permille = seed % 31 * 10;
        net.doubled_permille = seed % 3 * 100;
        net.delay = (500, 2_000 + seed % 5 * 12_000);
        let mut net = net.start();
        net.run(at(2 * MINUTE), 8);
        content(&net, &format!("seed {seed}"));
        assert_eq!(net.least(), 8, "seed {seed}: {:?}", net.heights());
    }
}

#[test]
fn after_a_cut_is_healed_something_is_decided_within_three_rounds() {
    let cuts = [
        ("2-2", vec![Cut::Apart(vec![0, 1])]),
        ("3-1", vec![Cut::Apart(vec![3])]),
        ("mute", vec![Cut::Mute(2)]),
        ("deaf", vec![Cut::Deaf(1)]),
        ("mute and deaf", vec![Cut::Mute(2), Cut::Deaf(1)]),
        ("rotating", vec![Cut::Slices(ms(120))]),
    ];
    for (name, cuts) in cuts {
        for seed in 0..8 {
            let mut net = Net::new(4, seed);
            for cut in &cuts {
                net = net.cut(300, 2_300, cut.clone());
            }
            let mut net = net.start();
            net.run(at(2_300), u64::MAX);
            let (before, round) = (net.least(), highest_round_now(&net));
            net.run(at(2_300 + MINUTE), before + 3);
            content(&net, &format!("{name}, seed {seed}"));
            assert!(net.least() >= before + 3, "{name}, seed {seed}: {:?}", net.heights());
            let decided = net.judge.rounds.iter().filter(|(height, _)| height.0 > before + 1).map(|(_, round)| *round);
            let late = decided.max().unwrap_or(0);
            assert!(late <= round + 3, "{name}, seed {seed}: healed in round {round}, decided in {late}");
        }
    }
}

fn highest_round_now(net: &Net) -> u32 {
    net.members.iter().filter_map(|m| m.life.as_ref()).map(|life| life.round()).max().unwrap_or(0)
}

#[test]
fn two_halves_decide_nothing_while_they_are_apart() {
    let mut net = Net::new(4, 3).cut(0, 5_000, Cut::Apart(vec![0, 1])).start();
    net.run(at(5_000), 1);
    assert_eq!(net.heights(), [0, 0, 0, 0]);
}

#[test]
fn a_slow_proposer_costs_its_rounds_and_no_more() {
    for seed in 0..6 {
        let mut net = Net::new(4, seed).guilty(1, Vice { slow: ms(1_000), ..Vice::default() }).start();
        net.run(at(MINUTE), 20);
        content(&net, "slow");
        assert_eq!(net.least(), 20);
        assert!((1..=2).contains(&net.judge.highest_round), "{}", net.judge.highest_round);
    }
}

#[test]
fn a_proposer_that_says_nothing_or_gives_no_bodies_is_passed() {
    for seed in 0..6 {
        let mut net = Net::new(4, seed).guilty(2, Vice { drops_proposals: true, ..Vice::default() }).start();
        net.run(at(MINUTE), 20);
        content(&net, "proposal dropper");
        assert_eq!(net.least(), 20);
    }
}

#[test]
fn an_invalid_block_is_voted_down() {
    for seed in 0..6 {
        let mut net = Net::new(4, seed).guilty(0, Vice { builds_rubbish: true, ..Vice::default() }).start();
        net.run(at(MINUTE), 20);
        content(&net, "rubbish");
        assert_eq!(net.least(), 20);
        assert!(!net.judge.rubbish.is_empty());
    }
}

#[test]
fn blocks_from_the_future_that_are_of_now_for_some_cost_rounds_and_stop_nobody() {
    for seed in 0..12 {
        let hasty = Vice { hasty: ms(300), ..Vice::default() };
        let mut net = Net::new(4, seed).guilty(1, hasty);
        // For one its blocks are of now at once, for the others later than a proposal is waited for.
        net.members[3].behind = ms(seed * 40);
        let mut net = net.start();
        net.run(at(MINUTE), 20);
        content(&net, &format!("seed {seed}"));
        assert_eq!(net.least(), 20, "seed {seed}: {:?}", net.heights());
    }
}

#[test]
fn one_that_does_not_vote_is_not_missed_and_two_stop_everything() {
    let silent = Vice { drops_votes: true, ..Vice::default() };
    let mut net = Net::new(4, 1).guilty(3, silent).start();
    net.run(at(MINUTE), 20);
    content(&net, "one vote dropper");
    assert_eq!(net.least(), 20);
    let mut net = Net::new(4, 1).guilty(3, silent).guilty(2, silent).start();
    net.run(at(10_000), 1);
    content(&net, "two vote droppers");
    assert_eq!(net.heights(), [0, 0, 0, 0], "half of the power must not decide");
}

#[test]
fn who_votes_twice_is_accused_and_nobody_else() {
    let mut accused = 0;
    for seed in 0..20 {
        let mut net = Net::new(4, seed).guilty(1, Vice { equivocates: true, ..Vice::default() });
        net.lost_permille = seed % 4 * 50;
        let mut net = net.start();
        net.run(at(MINUTE), 8);
        content(&net, &format!("seed {seed}"));
        assert_eq!(net.least(), 8);
        accused += net.judge.accused;
    }
    assert!(accused > 100, "{accused}");
}

#[test]
fn all_at_once_from_many_seeds() {
    for seed in 0..100 {
        let one = (seed % 4) as usize;
        let mut net = Net::new(4, seed * 7_919).guilty(one, Vice { equivocates: true, ..Vice::default() });
        net.lost_permille = seed % 20 * 10;
        net.doubled_permille = 50;
        let cut = match seed % 3 {
            0 => Cut::Apart(vec![(seed % 4) as usize]),
            1 => Cut::Mute(((seed + 1) % 4) as usize),
            _ => Cut::Slices(ms(40 + seed % 7 * 30)),
        };
        let mut net = net.cut(100, 1_500, cut).start();
        net.run(at(2 * MINUTE), 4);
        content(&net, &format!("seed {seed}"));
        assert!(net.least() >= 4, "seed {seed}: {:?}", net.heights());
    }
}
