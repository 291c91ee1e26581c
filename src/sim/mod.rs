//! Whole networks in one thread, from one seed: real nodes on stores in memory, with faults and judges.
//!
//! Pure apart from its seeded randomness: no clock, no socket, no thread. A run is a scenario and a seed; the same two
//! give the same run, to the last byte of its trace. Nodes, wire format and verification are the real ones; the
//! driver's loop, the network and the disk are imitated.
//!
//! ```text
//!   scenario, seed ─▶ plan ─▶ world: agenda of events ─▶ hosts, villains ─▶ judges ─▶ report
//!                               ▲                            │
//!                               └──── frames, timers, faults ┘
//! ```
//!
//! The weather loses, doubles and delays frames; it never changes their bytes, since connections are encrypted and a
//! changed byte breaks them. Changed bytes come from villains only.

mod chain;
mod event;
mod faults;
mod forger;
mod host;
mod judge;
mod library;
mod links;
mod process;
mod report;
mod rng;
mod scenario;
mod trace;
mod traffic;
mod urgent;
mod villain;
mod worker;
mod workload;
mod world;

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use judge::{Failure, Judge};
pub use report::Report;
pub use scenario::Scenario;

use scenario::Plan;
use trace::Trace;
use world::World;

/// Runs a scenario with a seed.
pub fn run(scenario: Scenario, seed: u64) -> Report {
    play(scenario, seed, Trace::new(false)).0
}

/// Runs a scenario with a seed and keeps what happened, one line each.
pub fn run_traced(scenario: Scenario, seed: u64) -> (Report, Vec<String>) {
    let (report, trace) = play(scenario, seed, Trace::new(true));
    (report, trace.into_lines())
}

fn play(scenario: Scenario, seed: u64, trace: Trace) -> (Report, Trace) {
    let mut world = match World::new(Plan::draw(scenario, seed), seed, trace) {
        Ok(world) => world,
        Err(fault) => unreachable!("every plan is of a network that can begin: {fault}"),
    };
    // A panic is a finding like any other: it must not hide which seed it came from.
    if catch_unwind(AssertUnwindSafe(|| world.run())).is_err() {
        world.judge(Judge::Panic, Err("a node panicked; the message is on standard error".into()));
    }
    let report = Report {
        scenario,
        seed,
        steps: world.steps,
        messages: world.unique.count() as u64,
        blocks: world.chain.as_ref().map_or(0, |chain| chain.ledgers.height().0),
        transactions: world.chain.as_ref().map_or(0, |chain| chain.ledgers.transactions() as u64),
        sim_seconds: world.now_us as f64 / 1e6,
        alike_seconds: world.alike_us.map(|us| us as f64 / 1e6),
        trace_hash: world.trace.hash(),
        failure: world.failure,
    };
    (report, world.trace)
}
