//! `metanode sim`: whole networks in one thread, from a seed.

use std::io::{self, ErrorKind, Write};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::sim::{Report, Scenario, run, run_traced};
use crate::types::{Domain, Hash};

/// Seeds of each scenario when the command line names none.
const SEEDS: u64 = 10;
/// The most seeds of each scenario.
const MOST_SEEDS: u64 = 1_000_000;

const EXAMPLES: &str = "\
Examples:
  metanode sim                                    ten seeds of every scenario
  metanode sim --scenario crash --seeds 500       five hundred of one
  metanode sim --scenario crash --seed 7 --trace  one run, event by event

Scenarios: calm, lossy, partition, crash, restart, skew, clock-jumps, equivocation, liar,
late-joiner, retention, oblivion, floor, saturated, everything; of a chain:
chain-calm, chain-lossy, chain-partition, chain-slow, chain-droppers,
chain-twins, chain-crash, chain-full, chain-late, chain-snapshot,
chain-amnesia, chain-endorse, chain-everything.
Exit code 1 when a promise was broken; the seed and the command that runs it
again are printed.";

/// Run simulated networks with faults, and check what nodes promise.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SimArgs {
    /// What goes wrong; `all` runs every scenario.
    #[arg(long, value_name = "S", default_value = "all")]
    scenario: String,
    /// The first seed; alone, the only one.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many seeds, one after the other [default: 10, or 1 with --seed].
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=MOST_SEEDS))]
    seeds: Option<u64>,
    /// Print what happens in one run, one line for each event.
    #[arg(long, conflicts_with_all = ["json", "seeds"])]
    trace: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl SimArgs {
    /// Runs them all; fails when one of them does.
    pub fn run(self) -> anyhow::Result<()> {
        let scenarios = match self.scenario.as_str() {
            "all" => Scenario::ALL.to_vec(),
            name => vec![name.parse::<Scenario>().map_err(|e| anyhow::anyhow!("{e}, or all"))?],
        };
        let first = self.seed.unwrap_or(1);
        if self.trace {
            let [scenario] = scenarios[..] else { bail!("--trace prints one run; name its --scenario") };
            return trace(scenario, first);
        }
        let seeds = self.seeds.unwrap_or(if self.seed.is_some() { 1 } else { SEEDS });
        let runs: Vec<(Scenario, u64)> =
            scenarios.iter().flat_map(|scenario| (0..seeds).map(|n| (*scenario, first.wrapping_add(n)))).collect();
        let reports = run_all(&runs);
        if self.json {
            writeln!(io::stdout().lock(), "{}", object(&self.scenario, seeds, &reports))?;
        } else {
            table(&scenarios, &reports)?;
        }
        outcome(&reports)
    }
}

/// Runs on every processor; the reports come in the order of `runs`.
fn run_all(runs: &[(Scenario, u64)]) -> Vec<Report> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {elapsed} of {duration}  {msg}");
    let bar = ProgressBar::new(runs.len() as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some((scenario, seed)) = runs.get(index)
        {
            let report = run(*scenario, *seed);
            bar.inc(1);
            bar.set_message(scenario.name());
            done.push((index, report));
        }
        done
    };
    let mut reports: Vec<(usize, Report)> = thread::scope(|scope| {
        let count = thread::available_parallelism().map_or(1, NonZero::get).min(runs.len());
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
        // A run catches its own panics; a worker that panics all the same takes the command with it.
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    bar.finish_and_clear();
    reports.sort_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// The digest of one run is its trace's; of several, the digest of theirs in order.
fn trace_hash(reports: &[Report]) -> Hash {
    match reports {
        [report] => report.trace_hash,
        several => {
            let hashes: Vec<&[u8]> = several.iter().map(|r| r.trace_hash.as_bytes().as_slice()).collect();
            Domain::Trace.hash(&hashes)
        }
    }
}

fn object(scenario: &str, seeds: u64, reports: &[Report]) -> Value {
    let failing = reports.iter().filter_map(|report| {
        let failure = report.failure.as_ref()?;
        Some(json!({
            "scenario": report.scenario.name(),
            "seed": report.seed,
            "judge": failure.judge.name(),
            "detail": failure.detail,
            "replay": report.replay(),
        }))
    });
    json!({
        "scenario": scenario,
        "seeds": seeds,
        "failing": failing.collect::<Vec<_>>(),
        "trace_hash": trace_hash(reports),
    })
}

fn table(scenarios: &[Scenario], reports: &[Report]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let columns = ("SCENARIO", "RUNS", "FAILED", "STEPS", "MESSAGES", "BLOCKS", "SIMULATED", "ALIKE AFTER");
    let (a, b, c, d, e, f, g, h) = columns;
    writeln!(out, "{a:<16} {b:>6} {c:>6} {d:>9} {e:>9} {f:>8} {g:>10} {h:>11}")?;
    for scenario in scenarios {
        let of_it = || reports.iter().filter(|r| r.scenario == *scenario);
        let failed = of_it().filter(|r| r.failure.is_some()).count();
        let steps: u64 = of_it().map(|r| r.steps).sum();
        let messages: u64 = of_it().map(|r| r.messages).sum();
        let blocks: u64 = of_it().map(|r| r.blocks).sum();
        let seconds: f64 = of_it().map(|r| r.sim_seconds).sum();
        let alike = of_it().filter_map(|r| r.alike_seconds).fold(0.0, f64::max);
        let (name, runs) = (scenario.name(), of_it().count());
        writeln!(
            out,
            "{name:<16} {runs:>6} {failed:>6} {steps:>9} {messages:>9} {blocks:>8} {seconds:>8.0} s {alike:>9.1} s"
        )?;
    }
    for report in reports {
        if let Some(failure) = &report.failure {
            let (name, seed, judge) = (report.scenario.name(), report.seed, failure.judge.name());
            let at = failure.at_us as f64 / 1e6;
            writeln!(out, "\n{name} seed {seed}: {judge}, at {at:.3} s: {}", failure.detail)?;
            writeln!(out, "  {}", report.replay())?;
        }
    }
    writeln!(out, "\ntrace hash {}", trace_hash(reports))
}

fn trace(scenario: Scenario, seed: u64) -> anyhow::Result<()> {
    let (report, lines) = run_traced(scenario, seed);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .and_then(|()| writeln!(out, "trace hash {}", report.trace_hash))
        .and_then(|()| out.flush());
    match written {
        // `metanode sim --trace | head` is no fault.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
        outcome => outcome?,
    }
    outcome(&[report])
}

fn outcome(reports: &[Report]) -> anyhow::Result<()> {
    let failed: Vec<&Report> = reports.iter().filter(|r| r.failure.is_some()).collect();
    match failed.first() {
        Some(first) => {
            bail!("{} of {} runs broke a promise; see one: {} --trace", failed.len(), reports.len(), first.replay())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_the_fields_scripts_read() {
        let reports = run_all(&[(Scenario::Calm, 1), (Scenario::Calm, 2)]);
        let object = object("calm", 2, &reports);
        assert_eq!((&object["scenario"], &object["seeds"]), (&json!("calm"), &json!(2)));
        assert_eq!(object["failing"], json!([]));
        assert_eq!(object["trace_hash"], json!(trace_hash(&reports)));
        assert_eq!(trace_hash(&reports[..1]), reports[0].trace_hash);
    }
}
