//! The figures of a run. The JSON form is an interface: `docs/cli.md`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::BenchArgs;
use super::limit::Limits;
use crate::node::Counters;

/// Figures as they are handed over: in JSON, and told to people. The JSON form is an interface: `docs/cli.md`.
pub trait Figures: Serialize {
    /// For people.
    fn told(&self) -> String;

    /// Prints, and writes where that was asked for.
    fn hand_over(&self, out: Option<&Path>, json: bool) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        if let Some(path) = out {
            std::fs::write(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        println!("{}", if json { text } else { self.told() });
        Ok(())
    }
}

/// Figures for people: lines of a name and a value each, and lines as they are.
#[derive(Default)]
pub struct Lines(Vec<String>);

impl Lines {
    pub fn row(&mut self, name: &str, value: String) {
        self.0.push(format!("{name:<22}{value}"));
    }

    pub fn line(&mut self, line: String) {
        self.0.push(line);
    }

    pub fn text(self) -> String {
        self.0.join("\n")
    }
}

/// Percentiles, milliseconds.
#[derive(Serialize, Clone, Copy, Default)]
pub struct Latency {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Latency {
    /// The percentiles of samples in milliseconds.
    pub fn of(mut samples: Vec<f64>) -> Latency {
        samples.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let last = samples.len().saturating_sub(1);
            samples.get((part * last as f64).round() as usize).copied().unwrap_or(0.0)
        };
        Latency { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999) }
    }
}

/// What was measured.
#[derive(Serialize)]
pub struct Report {
    pub workload: &'static str,
    pub nodes: u32,
    pub size_bytes: u32,
    pub seal: String,
    pub messages: u64,
    pub seconds: f64,
    pub messages_per_second: f64,
    pub megabytes_per_second: f64,
    pub latency_ms: Latency,
    pub by_priority: BTreeMap<&'static str, Latency>,
    pub cpu_seconds: f64,
    pub resident_bytes: usize,
    #[serde(flatten)]
    pub traffic: Traffic,
    pub limits: Limits,
    pub machine: String,
}

/// What readers took from others, over all of them.
#[derive(Serialize, Clone, Copy, Default)]
pub struct Traffic {
    /// Bundles as they came, bytes.
    pub wire_bytes: u64,
    pub repaired_bundles: u64,
    pub repairs_asked: u64,
    pub repairs_failed: u64,
}

impl Traffic {
    /// What a node counted.
    pub fn of(counters: &Counters) -> Traffic {
        Traffic {
            wire_bytes: counters.kept_bytes,
            repaired_bundles: counters.repaired_bundles,
            repairs_asked: counters.repairs_asked,
            repairs_failed: counters.repairs_failed,
        }
    }

    /// The same from a node's status.
    pub fn read(status: &Value) -> Traffic {
        let count = |name: &str| status["counters"][name].as_u64().unwrap_or_default();
        Traffic {
            wire_bytes: count("kept_bytes"),
            repaired_bundles: count("repaired_bundles"),
            repairs_asked: count("repairs_asked"),
            repairs_failed: count("repairs_failed"),
        }
    }

    pub fn add(&mut self, other: Traffic) {
        self.wire_bytes += other.wire_bytes;
        self.repaired_bundles += other.repaired_bundles;
        self.repairs_asked += other.repairs_asked;
        self.repairs_failed += other.repairs_failed;
    }
}

/// How long a run took, seconds, and of how many processors' time.
pub struct Spent {
    pub seconds: f64,
    pub cpu_seconds: f64,
}

/// Memory of this process, bytes.
pub fn resident_bytes() -> usize {
    memory_stats::memory_stats().map_or(0, |memory| memory.physical_mem)
}

impl Report {
    /// What `args` asked for was carried in the time that was `spent`. Latency, traffic and memory are the caller's to
    /// add.
    pub fn new(workload: &'static str, nodes: u32, args: &BenchArgs, limits: Limits, spent: Spent) -> Report {
        let per_second = args.messages as f64 / spent.seconds;
        Report {
            workload,
            nodes,
            size_bytes: args.size,
            seal: args.seal.to_string(),
            messages: args.messages,
            seconds: spent.seconds,
            messages_per_second: per_second,
            megabytes_per_second: per_second * f64::from(args.size) / 1e6,
            latency_ms: Latency::default(),
            by_priority: BTreeMap::new(),
            cpu_seconds: spent.cpu_seconds,
            resident_bytes: 0,
            traffic: Traffic::default(),
            limits,
            machine: machine(),
        }
    }
}

impl Figures for Report {
    fn told(&self) -> String {
        let mut lines = Lines::default();
        let mut row = |name: &str, value: String| lines.row(name, value);
        row(
            "workload",
            format!("{}, {} nodes, {} byte messages, {} seal", self.workload, self.nodes, self.size_bytes, self.seal),
        );
        row("messages", format!("{} in {:.2} s", self.messages, self.seconds));
        row("rate", format!("{:.0} messages/s, {:.1} MB/s", self.messages_per_second, self.megabytes_per_second));
        let l = self.latency_ms;
        row("latency", format!("p50 {:.1}  p95 {:.1}  p99 {:.1}  p999 {:.1} ms", l.p50, l.p95, l.p99, l.p999));
        for (name, l) in &self.by_priority {
            row(name, format!("p50 {:.1}  p95 {:.1}  p99 {:.1}  p999 {:.1} ms", l.p50, l.p95, l.p99, l.p999));
        }
        row("processor", format!("{:.2} s", self.cpu_seconds));
        row("memory", format!("{:.0} MB resident", self.resident_bytes as f64 / 1e6));
        row("on the wire", format!("{:.1} MB", self.traffic.wire_bytes as f64 / 1e6));
        let (asked, failed) = (self.traffic.repairs_asked, self.traffic.repairs_failed);
        let repaired = self.traffic.repaired_bundles;
        row("by repair", format!("{repaired} bundles in {asked} requests, {failed} of them in vain"));
        let limits = &self.limits;
        row(
            "one core here",
            format!(
                "signs {:.0}, verifies {:.0}, hashes {:.0} messages a second",
                limits.signatures_per_second, limits.verifications_per_second, limits.hashes_per_second
            ),
        );
        row("machine", self.machine.clone());
        lines.text()
    }
}

/// What machine this is, as far as it says.
pub(super) fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).map(|l| l.trim_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
    format!("{cores} cores, {}", model.unwrap_or(std::env::consts::ARCH))
}
