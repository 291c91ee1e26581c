//! Transfers that four validator processes agree on. Clients beside them submit at a rate, in packs, to one validator
//! after the other; of each pack one transfer is waited for at another validator, which answers when the certificate
//! of its block was checked there and the block is on its disk.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use ed25519_dalek::SigningKey;
use reqwest::Client;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use super::network::Network;
use super::report::{Figures, Latency, Lines, machine};
use super::{BenchArgs, limit};
use crate::keys::{KeyError, KeyFile, Protection};
use crate::types::chain::{ChainId, TransactionId};
use crate::types::{Domain, NodeId, Tokens};
use crate::wire::ledger::{Body, Order, Pack, Sealed, Transaction};

const VALIDATORS: u32 = 4;
/// Accounts that pay one another. One may have 64 seals waiting.
const ACCOUNTS: usize = 240;
/// What each of them gets, base units.
const FUNDS: Tokens = Tokens(4_000_000);
/// More than a transfer costs at the prices of a new chain.
const FEE: Tokens = Tokens(400);
/// Transfers a second, one step after the other, until one is not kept up with.
const RAMP: [u64; 8] = [250, 500, 1_000, 2_000, 4_000, 6_000, 8_000, 10_000];
/// Clients send so often.
const TICK: Duration = Duration::from_millis(10);
/// Nothing becomes final for so long: the run has failed.
const SILENCE: Duration = Duration::from_secs(20);
/// A rate is kept up with when so much of it is final by the time the next is tried, thousandths.
const KEPT_UP: f64 = 0.95;

/// What `bench ledger` is asked for.
#[derive(Args, Debug)]
pub struct LedgerArgs {
    /// `ledger`: transfers a second; by default more and more, until they are not kept up with. `mixed`: Bulk messages
    /// a second; by default as many as are taken
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) rate: Option<u64>,
    /// `ledger`: transfers under one seal
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=500))]
    per_seal: u64,
    /// `ledger`: seconds at each rate
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// `ledger`: from one block to the next at least, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    cadence_ms: u64,
    /// `ledger`: no transfers; how many empty blocks a second, and how fast one who joins late catches up
    #[arg(long)]
    empty: bool,
}

/// One rate.
#[derive(Serialize)]
struct Step {
    rate: u64,
    seconds: f64,
    submitted: u64,
    refused: u64,
    final_transfers: u64,
    final_per_second: f64,
    latency_ms: Latency,
    samples: usize,
    blocks: u64,
    /// Of the validators together.
    cpu_seconds: f64,
    validator_transactions_per_core_second: f64,
    kept_up: bool,
}

/// Blocks without anything in them.
#[derive(Serialize)]
struct Empty {
    blocks: u64,
    blocks_per_second: f64,
    cpu_seconds: f64,
    late_joiner_blocks: u64,
    late_joiner_seconds: f64,
    late_joiner_blocks_per_second: f64,
}

/// The figures. The JSON form is an interface: `docs/cli.md`.
#[derive(Serialize)]
struct LedgerReport {
    workload: &'static str,
    validators: u32,
    transfers_per_seal: u64,
    cadence_ms: u64,
    /// Sealed bytes for each transfer.
    bytes_per_transfer: f64,
    steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    empty: Option<Empty>,
    resident_bytes: usize,
    limits: limit::Limits,
    machine: String,
}

impl BenchArgs {
    /// Measures the ledger, prints, writes.
    pub(super) async fn run_ledger(&self, folder: &Path) -> anyhow::Result<()> {
        let settings = self.ledger.settings();
        let network = Network::up(folder, VALIDATORS, &[], &settings).await;
        let measured = match network {
            Ok(mut network) => {
                let measured = self.ledger.measure(&mut network).await;
                network.down().await.and(measured)
            }
            Err(e) => Err(e),
        };
        let _ = std::fs::remove_dir_all(folder);
        measured?.hand_over(self.out.as_deref(), self.json)
    }
}

impl LedgerArgs {
    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![("cadence_ms", self.cadence_ms.to_string())];
        if self.empty {
            settings.push(("heartbeat_ms", "1".into()));
        }
        settings
    }

    async fn measure(&self, network: &mut Network) -> anyhow::Result<LedgerReport> {
        let http = Client::builder().no_proxy().build()?;
        let limits = limit::measure(256);
        let mut report = LedgerReport {
            workload: "ledger",
            validators: VALIDATORS,
            transfers_per_seal: self.per_seal,
            cadence_ms: self.cadence_ms,
            bytes_per_transfer: 0.0,
            steps: Vec::new(),
            empty: None,
            resident_bytes: 0,
            limits,
            machine: machine(),
        };
        if self.empty {
            report.empty = Some(self.empty_blocks(&http, network).await?);
        } else {
            let mut payers = Payers::fund(&http, network).await?;
            // Of a copy: a nonce that is used up here would leave a gap.
            report.bytes_per_transfer = payers.clone().seal(self.per_seal)?.bytes().len() as f64 / self.per_seal as f64;
            let rates = self.rate.map_or(RAMP.to_vec(), |rate| vec![rate]);
            for rate in rates {
                let step = self.step(rate, &mut payers, &http, network).await?;
                let kept_up = step.kept_up;
                report.steps.push(step);
                if !kept_up {
                    break;
                }
            }
        }
        report.resident_bytes = network.resident_bytes();
        Ok(report)
    }

    /// So many transfers a second for a while.
    async fn step(&self, rate: u64, payers: &mut Payers, http: &Client, network: &Network) -> anyhow::Result<Step> {
        let counted = Counted::of(http, &network.nodes[0].api).await?;
        let (cpu, start) = (network.cpu_seconds(), Instant::now());
        let (mut packs, mut waits, mut submitted) = (JoinSet::new(), JoinSet::new(), 0);
        let mut ticks = tokio::time::interval(TICK);
        let until = Duration::from_secs(self.seconds);
        for turn in 0usize.. {
            ticks.tick().await;
            let elapsed = start.elapsed();
            if elapsed >= until {
                break;
            }
            let due = (rate as f64 * elapsed.as_secs_f64()) as u64;
            let count = due.saturating_sub(submitted) / self.per_seal;
            if count == 0 {
                continue;
            }
            submitted += count * self.per_seal;
            let seals = (0..count).map(|_| payers.seal(self.per_seal)).collect::<anyhow::Result<Vec<_>>>()?;
            let sample = seals.first().and_then(|sealed| sealed.ids().first()).copied();
            let at = &network.nodes[turn % network.nodes.len()].api;
            let there = &network.nodes[(turn + 1) % network.nodes.len()].api;
            let begun = Instant::now();
            for pack in Pack::all(&mut 0, seals.iter().map(|sealed| sealed.bytes().clone())) {
                packs.spawn(post(http.clone(), at.clone(), pack.encode()));
            }
            if let Some(id) = sample {
                waits.spawn(wait(http.clone(), there.clone(), id, begun));
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let now = Counted::of(http, &network.nodes[0].api).await?;
        let cpu_seconds = network.cpu_seconds() - cpu;
        let mut refused = 0;
        while let Some(answer) = packs.join_next().await {
            refused += answer?? * self.per_seal;
        }
        let (mut latencies, mut late) = (Vec::new(), 0);
        while let Some(waited) = waits.join_next().await {
            waited??.map_or_else(|| late += 1, |took| latencies.push(took));
        }
        let final_transfers = now.transfers - counted.transfers;
        Ok(Step {
            rate,
            seconds,
            submitted,
            refused,
            final_transfers,
            final_per_second: final_transfers as f64 / seconds,
            samples: latencies.len(),
            kept_up: late == 0 && refused == 0 && final_transfers as f64 >= KEPT_UP * submitted as f64,
            latency_ms: Latency::of(latencies),
            blocks: now.blocks - counted.blocks,
            cpu_seconds,
            validator_transactions_per_core_second: final_transfers as f64 * f64::from(VALIDATORS) / cpu_seconds,
        })
    }

    /// Empty blocks, and then one who was not there.
    async fn empty_blocks(&self, http: &Client, network: &mut Network) -> anyhow::Result<Empty> {
        let api = network.nodes[0].api.clone();
        let (first, cpu, start) = (Counted::of(http, &api).await?, network.cpu_seconds(), Instant::now());
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let blocks = Counted::of(http, &api).await?.blocks - first.blocks;
        let (seconds, cpu_seconds) = (start.elapsed().as_secs_f64(), network.cpu_seconds() - cpu);
        let height = Counted::of(http, &api).await?.height;
        let begun = Instant::now();
        let listening = network.join().await?;
        let joined = network.nodes.last().context("the node that joined is gone")?.api.clone();
        while Counted::of(http, &joined).await?.height < height {
            if begun.elapsed() > SILENCE {
                bail!("a node that joined late is not at height {height} after {SILENCE:?}");
            }
            tokio::time::sleep(TICK).await;
        }
        let caught_up = (begun.elapsed().as_secs_f64() - listening).max(f64::MIN_POSITIVE);
        Ok(Empty {
            blocks,
            blocks_per_second: blocks as f64 / seconds,
            cpu_seconds,
            late_joiner_blocks: height,
            late_joiner_seconds: caught_up,
            late_joiner_blocks_per_second: height as f64 / caught_up,
        })
    }
}

/// What a validator has counted.
struct Counted {
    height: u64,
    blocks: u64,
    transfers: u64,
}

impl Counted {
    async fn of(http: &Client, api: &str) -> anyhow::Result<Counted> {
        let chain: Value = http.get(format!("{api}/v1/chain")).send().await?.error_for_status()?.json().await?;
        let transfers = &chain["counts"]["transactions"]["transfer"];
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        Ok(Counted {
            height: number(&chain["height"]).saturating_sub(1),
            blocks: number(&chain["counts"]["blocks"]),
            transfers: number(&transfers["succeeded"]) + number(&transfers["failed"]),
        })
    }
}

/// Submits a pack; how many of its seals are refused.
async fn post(http: Client, api: String, pack: Bytes) -> anyhow::Result<u64> {
    let request = http.post(format!("{api}/v1/chain/packs")).header("content-type", "application/x-metanode-pack");
    let answer: Value = request.body(pack).send().await?.error_for_status()?.json().await?;
    Ok(answer["refused"].as_array().map_or(0, |refused| refused.len() as u64))
}

/// Waits at a validator until a transaction is final there; milliseconds since it was submitted, none if it was not.
async fn wait(http: Client, api: String, id: TransactionId, begun: Instant) -> anyhow::Result<Option<f64>> {
    let url = format!("{api}/v1/chain/transactions/{id}?wait_ms={}", SILENCE.as_millis());
    let answer = http.get(url).send().await?;
    if answer.status().as_u16() == 404 {
        return Ok(None);
    }
    answer.error_for_status()?;
    Ok(Some(begun.elapsed().as_secs_f64() * 1e3))
}

/// Accounts that pay one another, one after the other.
#[derive(Clone)]
struct Payers {
    chain: ChainId,
    keys: Vec<(SigningKey, NodeId, u64)>,
    turn: usize,
}

impl Payers {
    /// Gives each of them something, from the first validator's account.
    async fn fund(http: &Client, network: &Network) -> anyhow::Result<Payers> {
        let node = network.nodes.first().context("there is no validator")?;
        let file = KeyFile::read(&node.home.join("key.json"))?;
        // Keys of such a network are plain: nobody is asked for a passphrase.
        let rich = file.open(Protection::PlainAllowed, || Err(KeyError::EmptyPassphrase("the validator's key")))?;
        let status: Value = http.get(format!("{}/v1/chain", node.api)).send().await?.json().await?;
        let chain: ChainId = status["chain"].as_str().unwrap_or_default().parse().context("no chain")?;
        let key =
            |n: usize| SigningKey::from_bytes(Domain::Trace.hash(&[b"payer", &(n as u64).to_be_bytes()]).as_bytes());
        let keys = (0..ACCOUNTS).map(key).map(|key| {
            let id = NodeId(key.verifying_key().to_bytes());
            (key, id, 0)
        });
        let keys: Vec<(SigningKey, NodeId, u64)> = keys.collect();
        let transactions = keys.iter().map(|(_, to, _)| transfer(*to, FUNDS)).collect();
        let order = Order { chain, account: rich.node_id(), nonce: 0, transactions };
        let sealed = order.seal(rich.signing_key())?;
        let id = sealed.ids().last().copied().context("nobody is paid")?;
        let packs = Pack::all(&mut 0, [sealed.bytes().clone()]);
        for pack in packs {
            if post(http.clone(), node.api.clone(), pack.encode()).await? > 0 {
                bail!("the accounts of the benchmark could not be funded");
            }
        }
        for node in &network.nodes {
            wait(http.clone(), node.api.clone(), id, Instant::now()).await?.context("no block was made")?;
        }
        Ok(Payers { chain, keys, turn: 0 })
    }

    /// Transfers of the next account, under one seal.
    fn seal(&mut self, count: u64) -> anyhow::Result<Sealed> {
        let all = self.keys.len();
        let turn = self.turn % all;
        self.turn += 1;
        let to = self.keys.get((turn + 1) % all).map(|(_, id, _)| *id).context("there are accounts")?;
        let (key, account, nonce) = self.keys.get_mut(turn).context("there are accounts")?;
        let transactions = (0..count).map(|_| transfer(to, Tokens(1))).collect();
        let order = Order { chain: self.chain, account: *account, nonce: *nonce, transactions };
        let sealed = order.seal(key)?;
        *nonce = sealed.next_nonce();
        Ok(sealed)
    }
}

fn transfer(to: NodeId, amount: Tokens) -> Transaction {
    Transaction { fee: FEE, body: Body::Transfer { to, amount, memo: None } }
}

impl Figures for LedgerReport {
    fn told(&self) -> String {
        let mut lines = Lines::default();
        lines.row(
            "workload",
            format!("ledger, {} validators, {} transfers a seal", self.validators, self.transfers_per_seal),
        );
        lines.row("cadence", format!("{} ms at least", self.cadence_ms));
        if !self.steps.is_empty() {
            lines.row("sealed bytes", format!("{:.0} a transfer", self.bytes_per_transfer));
            let (a, b, c, d, e, f, g, h) =
                ("RATE", "FINAL/S", "P50 MS", "P95", "P99", "BLOCKS/S", "CORES", "VTX/CORE S");
            lines.line(format!("{a:>8} {b:>9} {c:>8} {d:>8} {e:>8} {f:>9} {g:>6} {h:>11}"));
        }
        for step in &self.steps {
            let l = step.latency_ms;
            lines.line(format!(
                "{:>8} {:>9.0} {:>8.1} {:>8.1} {:>8.1} {:>9.1} {:>6.2} {:>11.0}{}",
                step.rate,
                step.final_per_second,
                l.p50,
                l.p95,
                l.p99,
                step.blocks as f64 / step.seconds,
                step.cpu_seconds / step.seconds,
                step.validator_transactions_per_core_second,
                if step.kept_up { "" } else { "  not kept up with" }
            ));
        }
        if let Some(empty) = &self.empty {
            lines.row(
                "empty blocks",
                format!("{:.0} a second, {:.2} s of processor", empty.blocks_per_second, empty.cpu_seconds),
            );
            let (blocks, seconds) = (empty.late_joiner_blocks, empty.late_joiner_seconds);
            lines.row(
                "joining late",
                format!("{blocks} blocks in {seconds:.2} s, {:.0}/s", empty.late_joiner_blocks_per_second),
            );
        }
        lines.row("memory", format!("{:.0} MB resident", self.resident_bytes as f64 / 1e6));
        lines.row("one core here", format!("verifies {:.0} signatures a second", self.limits.verifications_per_second));
        lines.row("machine", self.machine.clone());
        lines.text()
    }
}
