//! Simulated networks: every scenario with a few seeds. More of them: `metanode sim --seeds 500`.

use metanode::sim::{Scenario, run};

const SEEDS: u64 = 2;

fn keeps_its_promises(scenario: Scenario) {
    for seed in 1..=SEEDS {
        let report = run(scenario, seed);
        assert!(report.failure.is_none(), "{:?}\nrun again with: {} --trace", report.failure, report.replay());
        assert!(report.steps > 100 && report.messages > 20, "nothing happened: {report:?}");
    }
}

macro_rules! scenarios {
    ($($name:ident: $scenario:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                keeps_its_promises(Scenario::$scenario);
            }
        )*

        #[test]
        fn every_scenario_is_run() {
            assert_eq!([$(Scenario::$scenario),*], Scenario::ALL);
        }
    };
}

scenarios! {
    a_calm_network_keeps_its_promises: Calm,
    a_lossy_network_keeps_its_promises: Lossy,
    a_network_that_fell_apart_keeps_its_promises: Partition,
    a_network_whose_nodes_crash_keeps_its_promises: Crash,
    a_network_whose_nodes_restart_keeps_its_promises: Restart,
    a_network_with_wrong_clocks_keeps_its_promises: Skew,
    a_network_whose_clocks_jump_by_an_hour_keeps_its_promises: ClockJumps,
    a_network_with_an_equivocator_keeps_its_promises: Equivocation,
    a_network_with_a_liar_keeps_its_promises: Liar,
    a_network_one_joins_late_keeps_its_promises: LateJoiner,
    a_network_that_forgets_keeps_its_promises: Retention,
    a_network_that_forgets_how_its_state_was_written_keeps_its_promises: Oblivion,
    a_network_whose_deletes_go_below_floors_keeps_its_promises: Floor,
    a_saturated_network_keeps_its_promises: Saturated,
    a_network_with_all_troubles_keeps_its_promises: Everything,
    a_calm_chain_keeps_its_promises: ChainCalm,
    a_lossy_chain_keeps_its_promises: ChainLossy,
    a_chain_that_fell_apart_keeps_its_promises: ChainPartition,
    a_chain_with_a_slow_validator_keeps_its_promises: ChainSlow,
    a_chain_with_droppers_keeps_its_promises: ChainDroppers,
    a_chain_with_twins_keeps_its_promises: ChainTwins,
    a_chain_whose_validators_crash_keeps_its_promises: ChainCrash,
    a_chain_with_a_full_disk_keeps_its_promises: ChainFull,
    a_chain_one_joins_late_keeps_its_promises: ChainLate,
    a_chain_one_joins_by_its_state_keeps_its_promises: ChainSnapshot,
    a_chain_whose_validators_forget_keeps_its_promises: ChainAmnesia,
    a_chain_whose_validators_endorse_keeps_its_promises: ChainEndorse,
    a_chain_with_all_troubles_keeps_its_promises: ChainEverything,
}
