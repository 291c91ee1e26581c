//! Replicated state: merged, kept, repaired, read. Two nodes in one thread, each the real thing on a store of its own;
//! frames go from one to the other without sockets, and time is counted, not waited for. So all that two nodes do
//! counts against one core.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use serde::Serialize;

use super::BenchArgs;
use super::report::{Figures, Lines, machine};
use super::rig::cpu_seconds;
use super::state_rig::{COLLECTION, Rig, WALL, Writer, connect, path};
use crate::crdt::{Member, Merge, Replica, State, Then};
use crate::node::{Input, Output, StateInput};
use crate::types::storage::{Batch, Txn};
use crate::types::{MemoryStore, Stamp};
use crate::wire::{
    Bundle, Category, Payload, Ranges, Request, Response, StateRequest, StateResponse, Verified, prove_all,
};

/// Writes of one bundle.
const BUNDLED: u64 = 1_000;
/// Writes with a seal each, at most: they cost most of the time.
const EACH: u64 = 50_000;
/// Cells that are read.
const READS: u64 = 100_000;
/// Cells of a page that is listed.
const PAGE: usize = 1_000;
/// Rounds between two nodes before it is given up.
const ROUNDS: u32 = 20_000;

/// What a repair took.
#[derive(Serialize, Clone, Copy, Default)]
pub struct Healed {
    /// From the first request to equal roots.
    pub seconds: f64,
    /// Answers that were waited for, one after the other.
    pub round_trips: u32,
    /// Requests and answers; answers among them.
    pub frames: u32,
    pub answers: u32,
    /// Bytes of ranges, fingerprints and tags, both ways, and of the writes with their proofs.
    pub id_bytes: u64,
    pub write_bytes: u64,
    /// Of ranges, for each key that differed.
    pub id_bytes_per_key: f64,
}

/// What was measured.
#[derive(Serialize)]
pub struct StateReport {
    pub workload: &'static str,
    pub keys: u64,
    pub differ: u64,
    pub scattered: bool,
    pub merge_alone_per_second: f64,
    pub kept_one_seal_each_per_second: f64,
    pub kept_in_bundles_per_second: f64,
    /// Of all threads, for each write that is kept in bundles.
    pub kept_processor_microseconds: f64,
    pub heal: Healed,
    pub heal_one: Healed,
    pub index_bytes_per_write: f64,
    pub start_seconds: f64,
    pub read_microseconds: f64,
    pub at_time_cells: u64,
    pub at_time_milliseconds: f64,
    pub machine: String,
}

/// Measures, prints, writes.
pub fn run(args: &BenchArgs, folder: &Path) -> anyhow::Result<()> {
    let measured = measure(args, folder);
    let _ = std::fs::remove_dir_all(folder);
    measured?.hand_over(args.out.as_deref(), args.json)
}

fn measure(args: &BenchArgs, folder: &Path) -> anyhow::Result<StateReport> {
    let (keys, differ) = (args.keys, args.differ.min(args.keys));
    let merge_alone_per_second = merge_alone(keys.min(200_000))?;
    let kept_one_seal_each_per_second = one_seal_each(keys.min(EACH), folder)?;
    let (mut a, mut b) = (Rig::open(folder, 1)?, Rig::open(folder, 2)?);
    let mut common = Writer::new(11);
    let bundle = |from: u64| common.bundle(from..keys.min(from + BUNDLED), |n| stamp(n, keys, keys));
    let wires: Vec<_> = (0..keys).step_by(BUNDLED as usize).map(bundle).collect();
    // One after the other: what one node keeps its store settles on the other core.
    let (mut spent, cpu) = (0.0, cpu_seconds());
    for wire in &wires {
        spent += a.take(std::slice::from_ref(wire))?;
    }
    let kept_processor_microseconds = (cpu_seconds() - cpu) * 1e6 / keys as f64;
    for wire in wires {
        b.take(&[wire])?;
    }
    for (rig, author, from) in [(&mut a, 12, 2 * keys), (&mut b, 13, 3 * keys)] {
        let mut writer = Writer::new(author);
        let spread = if args.scattered { differ } else { u64::MAX };
        for start in (0..differ).step_by(BUNDLED as usize) {
            let end = differ.min(start + BUNDLED);
            let at = |n: u64| stamp(n - from, spread, keys);
            rig.take(&[writer.bundle(from + start..from + end, at)])?;
        }
    }
    let heal = heal(&mut a, &mut b, 2 * differ)?;
    a.take(&[Writer::new(14).bundle(5 * keys..5 * keys + 1, |_| stamp(keys / 2, keys, keys))])?;
    let heal_one = heal_again(&mut a, &mut b)?;
    let index = a.node.replica().index(COLLECTION).context("nothing is retained")?;
    let index_bytes_per_write = a.node.replica().memory_bytes() as f64 / index.total().count as f64;
    a.close()?;
    let start = Instant::now();
    let a = Rig::open(folder, 1)?;
    let start_seconds = start.elapsed().as_secs_f64();
    let (read_microseconds, at_time_cells, at_time_milliseconds) = read(&a, keys)?;
    Ok(StateReport {
        workload: "state",
        keys,
        differ,
        scattered: args.scattered,
        merge_alone_per_second,
        kept_one_seal_each_per_second,
        kept_in_bundles_per_second: keys as f64 / spent,
        kept_processor_microseconds,
        heal,
        heal_one,
        index_bytes_per_write,
        start_seconds,
        read_microseconds,
        at_time_cells,
        at_time_milliseconds,
        machine: machine(),
    })
}

/// When write `n` of `count` was made: all of them spread over the time of the common ones, or after all of those.
fn stamp(n: u64, count: u64, keys: u64) -> Stamp {
    let span = keys.max(1) * 655;
    let at = if count == u64::MAX { span + n * 655 + 655 } else { n * (span / count.max(1)) + 1 };
    Stamp((WALL.0 << 16) + at)
}

fn merge_alone(count: u64) -> anyhow::Result<f64> {
    let mut writer = Writer::new(10);
    let wire = |from: u64| writer.writes(from..count.min(from + BUNDLED), |n| stamp(n, count, count));
    let members: Vec<Member> = (0..count).step_by(BUNDLED as usize).flat_map(wire).collect();
    let (mut store, mut replica) = (MemoryStore::default(), Replica::default());
    let mut members = members.into_iter();
    let mut spent = 0.0;
    while members.len() > 0 {
        let start = Instant::now();
        let mut batch = Batch::default();
        let mut tx = Txn::new(&store, &mut batch);
        for member in members.by_ref().take(4_096) {
            Merge::new(&mut replica, &mut tx, WALL).apply(member);
        }
        replica.save(&mut tx);
        spent += start.elapsed().as_secs_f64();
        store.commit(batch);
        store.flush();
    }
    Ok(count as f64 / spent)
}

fn one_seal_each(count: u64, folder: &Path) -> anyhow::Result<f64> {
    let (mut rig, mut writer) = (Rig::open(folder, 3)?, Writer::new(15));
    let wires: Vec<_> = (0..count).map(|n| writer.bundle(n..n + 1, |n| stamp(n, count, count))).collect();
    let mut spent = 0.0;
    for step in wires.chunks(512) {
        spent += rig.take(step)?;
    }
    Ok(count as f64 / spent)
}

fn heal(a: &mut Rig, b: &mut Rig, differ: u64) -> anyhow::Result<Healed> {
    let (mut to_a, mut to_b) = (connect(b.id), connect(a.id));
    shuttle(a, b, (&mut to_a, &mut to_b), differ)
}

fn heal_again(a: &mut Rig, b: &mut Rig) -> anyhow::Result<Healed> {
    shuttle(a, b, (&mut Vec::new(), &mut Vec::new()), 1)
}

/// Carries frames between two nodes until their states are the same.
fn shuttle(
    a: &mut Rig,
    b: &mut Rig,
    (to_a, to_b): (&mut Vec<Input>, &mut Vec<Input>),
    differ: u64,
) -> anyhow::Result<Healed> {
    let (mut healed, mut began) = (Healed::default(), None::<Instant>);
    for _ in 0..ROUNDS {
        if a.node.replica().root() == b.node.replica().root() && a.node.is_settled() && b.node.is_settled() {
            healed.seconds = began.map_or(0.0, |began| began.elapsed().as_secs_f64());
            healed.id_bytes_per_key = healed.id_bytes as f64 / differ.max(1) as f64;
            return Ok(healed);
        }
        let before = (healed.frames, healed.answers);
        for output in a.step(std::mem::take(to_a))? {
            carry(output, a, b, (&mut *to_a, &mut *to_b), &mut healed, &mut began)?;
        }
        for output in b.step(std::mem::take(to_b))? {
            carry(output, b, a, (&mut *to_b, &mut *to_a), &mut healed, &mut began)?;
        }
        healed.round_trips += u32::from(healed.answers > before.1);
        // Under way there is no waiting; before, heartbeats take their time.
        let pause_us = if healed.frames > before.0 { 100 } else { 250_000 };
        a.pass(pause_us);
        b.pass(pause_us);
    }
    bail!("two states did not become the same in {ROUNDS} rounds");
}

/// Takes one output of `from` to `to`: heartbeats, and what is about the state. Feeds bring nothing here.
fn carry(
    output: Output,
    from: &Rig,
    to: &Rig,
    (back, there): (&mut Vec<Input>, &mut Vec<Input>),
    healed: &mut Healed,
    began: &mut Option<Instant>,
) -> anyhow::Result<()> {
    match output {
        Output::Publish { topic: Category::System, bytes } => {
            let bundles = Bundle::split(bytes)?.into_iter().map(|bundle| Verified::check(bundle, to.network()));
            there.push(Input::Bundle { from: from.id, ticket: 0, bundles: bundles.collect::<Result<_, _>>()? });
        }
        Output::Request { id, request: Request::State(request), .. } => {
            began.get_or_insert_with(Instant::now);
            healed.frames += 1;
            let request = match Request::decode(&Request::State(request).encode())? {
                Request::State(StateRequest::Take { writes }) => {
                    healed.write_bytes += writes.iter().map(|write| write.len() as u64).sum::<u64>();
                    let (writes, bad) = prove_all(writes, to.network());
                    bad.map_or(Ok(()), Err)?;
                    there.push(Input::State(StateInput::Offered { from: from.id, id, writes }));
                    return Ok(());
                }
                request => request,
            };
            if let Request::State(StateRequest::Compare { ranges, .. }) = &request {
                healed.id_bytes += ranges.len() as u64;
                Ranges::decode(ranges)?;
            }
            there.push(Input::Request { from: from.id, id, request });
        }
        Output::Respond { id, response: Response::State(response) } => {
            healed.frames += 1;
            healed.answers += 1;
            if let StateResponse::Compared { ranges, writes } = &response {
                healed.id_bytes += ranges.len() as u64;
                healed.write_bytes += writes.iter().map(|write| write.len() as u64).sum::<u64>();
            }
            let (input, bad) = StateInput::answer(from.id, id, response, to.network())?;
            bad.map_or(Ok(()), Err)?;
            there.push(Input::State(input));
        }
        // Nobody answers: what the feeds could bring is not measured here.
        Output::Request { to, id, .. } => back.push(Input::Failed { from: to, id }),
        _ => {}
    }
    Ok(())
}

/// How long it takes to read a cell, and to list many as they were at a time.
fn read(rig: &Rig, keys: u64) -> anyhow::Result<(f64, u64, f64)> {
    let state = State::of(COLLECTION, &rig.store);
    let cells = keys.min(READS);
    // In an order that has nothing to do with that of the rows.
    let picked = |n: u64| path(n.wrapping_mul(0x9E37_79B1) % keys.max(1));
    let start = Instant::now();
    for n in 0..cells {
        state.cell(&picked(n)).context("a cell that was written is not there")?;
    }
    let read = start.elapsed().as_secs_f64() / cells as f64 * 1e6;
    let (start, at) = (Instant::now(), stamp(keys / 2, keys, keys));
    let (mut listed, mut after) = (0, None::<String>);
    while listed < cells {
        let page = state.list_at("", after.as_deref(), PAGE, Then::Made(at))?;
        listed += page.cells.len() as u64;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let spent = start.elapsed().as_secs_f64() * 1e3;
    if listed == 0 {
        bail!("nothing was there at the time");
    }
    Ok((read, listed, spent))
}

impl Figures for StateReport {
    fn told(&self) -> String {
        let mut lines = Lines::default();
        let mut row = |name: &str, value: String| lines.row(name, value);
        let how = if self.scattered { "scattered" } else { "the newest" };
        row("workload", format!("state, {} keys, {} differ on each side, {how}", self.keys, self.differ));
        row("merge alone", format!("{:.0} writes/s", self.merge_alone_per_second));
        row("merged and kept", format!("{:.0} writes/s, one seal each", self.kept_one_seal_each_per_second));
        row("", format!("{:.0} writes/s, in bundles of {BUNDLED}", self.kept_in_bundles_per_second));
        row("", format!("{:.1} µs of processor for each of those, all threads", self.kept_processor_microseconds));
        for (name, healed) in [("heal", self.heal), ("heal one", self.heal_one)] {
            row(name, format!("{:.4} s, {} round trips, {} frames", healed.seconds, healed.round_trips, healed.frames));
            let (ids, writes) = (healed.id_bytes as f64 / 1e3, healed.write_bytes as f64 / 1e3);
            let each = healed.id_bytes_per_key;
            row("", format!("{ids:.1} kB of ids, {each:.1} bytes a key; {writes:.1} kB of writes with proofs"));
        }
        row("memory", format!("{:.1} bytes for each retained write", self.index_bytes_per_write));
        row("start to serving", format!("{:.2} s", self.start_seconds));
        row("read", format!("{:.1} µs a cell", self.read_microseconds));
        row("at a time", format!("{:.0} ms for {} cells", self.at_time_milliseconds, self.at_time_cells));
        row("machine", self.machine.clone());
        lines.text()
    }
}

/// The members a bundle's writes make.
pub(super) fn members(bundle: &Verified) -> Vec<Member> {
    let slot = bundle.slot();
    let said = |message: crate::wire::Message<'_>| {
        let payload = Payload::decode(crate::wire::Kind::CollectionWrite, message.payload).ok()?;
        let Payload::CollectionWrite(write) = payload else { return None };
        let origin = crate::crdt::Origin {
            author: slot.feed.author,
            incarnation: slot.feed.incarnation,
            sequence: slot.sequence,
            message: message.id,
            checksum: crate::wire::checksum(&message.encode()),
        };
        Some(Member::of(write, origin).collect::<Vec<_>>())
    };
    bundle.messages().filter_map(said).flatten().collect()
}
