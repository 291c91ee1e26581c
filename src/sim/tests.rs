use super::*;

#[test]
fn the_same_seed_gives_the_same_trace() {
    for scenario in [Scenario::Lossy, Scenario::Everything] {
        let (one, two) = (run(scenario, 7), run(scenario, 7));
        assert_eq!(one.trace_hash, two.trace_hash);
    }
}
