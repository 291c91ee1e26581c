//! `metanode testnet perturb`: nodes put wrong on purpose, for a time.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::args::{DirArgs, duration};
use super::record::{NodeRecord, Record};
use super::{print, process};
use crate::cli::client::{ApiArgs, Client};

const EXAMPLES: &str = "\
Examples:
  metanode testnet perturb partition 0 1 --for 20s     node-0 and node-1 apart from all others
  metanode testnet perturb partition node-3            one alone, for 30 s
  metanode testnet perturb delay 2 --by 150ms --jitter 50ms --for 1m
  metanode testnet perturb loss --percent 5            at all nodes
  metanode testnet perturb clock 1 --by -60m --for 10s
  metanode testnet perturb show                        what is wrong, and for how long yet
  metanode testnet perturb heal                        end all of it at once
  metanode testnet wait --converged --connected        and do they find together again?

Everything ends by itself after --for, an hour at most, whatever becomes of this
command. What is wrong already stays so: a node can be slow and cut off at once.
The same thing again replaces the one before.

No privileges are needed: each node does it to itself, at its connections. Only
a node that was started with --perturbable can be told to, as those of
`testnet up` are; it listens on this machine alone.";

/// Put nodes wrong on purpose, for a time: cut off, slow, lossy, with a wrong clock.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PerturbArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Cut some nodes off from all others: connections fall, dials fail, on both sides.
    Partition {
        /// The nodes on one side: node-2, or 2; all others are on the other.
        #[arg(required = true, value_name = "NODE")]
        names: Vec<String>,
        #[command(flatten)]
        spell: Spell,
    },
    /// Let what comes to nodes come late. Networks over TCP only.
    Delay {
        #[command(flatten)]
        nodes: Nodes,
        /// How late: up to 10s.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        by: Duration,
        /// And up to so much more, each time another.
        #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration)]
        jitter: Duration,
        #[command(flatten)]
        spell: Spell,
    },
    /// Lose packets that come to nodes: they come when they are sent again, after 200 ms, 400 ms and so on, and what is
    /// behind them waits, as over TCP. Networks over TCP only.
    Loss {
        #[command(flatten)]
        nodes: Nodes,
        /// So many of a hundred.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=90))]
        percent: u8,
        #[command(flatten)]
        spell: Spell,
    },
    /// Put the wall clocks of nodes ahead, or behind with a minus; they jump, and jump back.
    Clock {
        #[command(flatten)]
        nodes: Nodes,
        /// How far: 500ms, 30s, 60m, -60m.
        #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = signed_ms)]
        by: i64,
        #[command(flatten)]
        spell: Spell,
    },
    /// End at once what is wrong with nodes.
    Heal {
        #[command(flatten)]
        nodes: Nodes,
        #[command(flatten)]
        place: DirArgs,
    },
    /// Show what is wrong with nodes, and for how long yet.
    Show {
        #[command(flatten)]
        nodes: Nodes,
        #[command(flatten)]
        place: DirArgs,
    },
}

#[derive(Debug, Args)]
struct Nodes {
    /// The nodes: node-2, or 2 [default: all that run].
    #[arg(value_name = "NODE")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
struct Spell {
    /// For how long: up to 60m.
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = duration)]
    lasts: Duration,
    #[command(flatten)]
    place: DirArgs,
}

/// What each node is told.
type Order<'a> = (&'a NodeRecord, Option<Value>);

impl PerturbArgs {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let place = self.verb.place();
        let record = Record::read(&std::path::absolute(&place.dir)?)?;
        let orders = self.verb.orders(&record)?;
        let method = match &self.verb {
            Verb::Heal { .. } => Method::DELETE,
            Verb::Show { .. } => Method::GET,
            Verb::Partition { .. } | Verb::Delay { .. } | Verb::Loss { .. } | Verb::Clock { .. } => Method::POST,
        };
        let mut told: Vec<(&NodeRecord, Value)> = Vec::new();
        for (node, body) in &orders {
            match tell(node, method.clone(), body.as_ref()).await {
                Ok(answer) => told.push((node, answer)),
                Err(e) => {
                    if method == Method::POST {
                        undo(&told).await;
                    }
                    return Err(e.context(node.name.clone()));
                }
            }
        }
        report(&record, &told, place.json)
    }
}

impl Verb {
    fn place(&self) -> &DirArgs {
        match self {
            Verb::Partition { spell, .. }
            | Verb::Delay { spell, .. }
            | Verb::Loss { spell, .. }
            | Verb::Clock { spell, .. } => &spell.place,
            Verb::Heal { place, .. } | Verb::Show { place, .. } => place,
        }
    }

    /// What each node that runs is told.
    fn orders<'a>(&self, record: &'a Record) -> anyhow::Result<Vec<Order<'a>>> {
        let (names, body) = match self {
            Verb::Partition { names, spell } => return partition(record, names, spell),
            Verb::Delay { nodes, by, jitter, spell } => {
                let body =
                    json!({"what": "delay", "by_ms": ms(*by), "jitter_ms": ms(*jitter), "for_ms": ms(spell.lasts)});
                (&nodes.names, Some(body))
            }
            Verb::Loss { nodes, percent, spell } => {
                (&nodes.names, Some(json!({"what": "loss", "percent": percent, "for_ms": ms(spell.lasts)})))
            }
            Verb::Clock { nodes, by, spell } => {
                (&nodes.names, Some(json!({"what": "clock", "by_ms": by, "for_ms": ms(spell.lasts)})))
            }
            Verb::Heal { nodes, .. } | Verb::Show { nodes, .. } => (&nodes.names, None),
        };
        Ok(chosen(record, names)?.into_iter().map(|node| (node, body.clone())).collect())
    }
}

/// The nodes that are named, which must run; without names all that run.
fn chosen<'a>(record: &'a Record, names: &[String]) -> anyhow::Result<Vec<&'a NodeRecord>> {
    if names.is_empty() {
        let up: Vec<_> = record.nodes.iter().filter(|node| process::running(node).is_some()).collect();
        anyhow::ensure!(!up.is_empty(), "no node runs; `metanode testnet up` starts them");
        return Ok(up);
    }
    let named = names.iter().map(|name| {
        let node = record.nodes.get(record.place(name)?).context("the node is gone")?;
        let name = &node.name;
        anyhow::ensure!(
            process::running(node).is_some(),
            "{name} is not running; `metanode testnet start {name}` starts it"
        );
        Ok(node)
    });
    named.collect()
}

/// Each node that runs is told of all on the other side, those that do not run with them: they are cut off when they
/// start.
fn partition<'a>(record: &'a Record, names: &[String], spell: &Spell) -> anyhow::Result<Vec<Order<'a>>> {
    let side = names.iter().map(|name| record.place(name)).collect::<anyhow::Result<Vec<usize>>>()?;
    let ids = |inside: bool| -> Vec<&str> {
        let all = record.nodes.iter().enumerate();
        all.filter(|(n, _)| side.contains(n) == inside).map(|(_, node)| node.id.as_str()).collect()
    };
    let (these, others) = (ids(true), ids(false));
    if others.is_empty() {
        bail!("all nodes are on one side; name those of one side only");
    }
    let order = |(n, node): (usize, &'a NodeRecord)| {
        let peers = if side.contains(&n) { &others } else { &these };
        (node, Some(json!({"what": "cut", "peers": peers, "for_ms": ms(spell.lasts)})))
    };
    let up = record.nodes.iter().enumerate().filter(|(_, node)| process::running(node).is_some());
    let orders: Vec<Order<'a>> = up.map(order).collect();
    anyhow::ensure!(!orders.is_empty(), "no node runs; `metanode testnet up` starts them");
    Ok(orders)
}

fn client(node: &NodeRecord) -> anyhow::Result<Client> {
    Client::new(&ApiArgs { api: node.api.parse()?, json: true })
}

async fn tell(node: &NodeRecord, method: Method, body: Option<&Value>) -> anyhow::Result<Value> {
    let client = client(node)?;
    let request = client.request(method, &["perturbation"], &[]);
    client
        .json(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
}

/// Not all could be told: then nothing is to be wrong at any.
async fn undo(told: &[(&NodeRecord, Value)]) {
    for (node, _) in told {
        if let Err(e) = tell(node, Method::DELETE, None).await {
            eprintln!("{}: {e:#}; it ends by itself", node.name);
        }
    }
}

fn report(record: &Record, told: &[(&NodeRecord, Value)], json: bool) -> anyhow::Result<()> {
    if json {
        let rows: Vec<Value> =
            told.iter().map(|(node, answer)| json!({"name": node.name, "perturbation": answer})).collect();
        return print::json(&json!({"nodes": rows}));
    }
    let row = |(node, answer): &(&NodeRecord, Value)| {
        let cells = ["cut", "delay", "loss", "clock"].map(|what| cell(record, what, &answer[what]));
        std::iter::once(node.name.clone()).chain(cells).collect()
    };
    print::table(&["NAME", "CUT OFF FROM", "DELAY", "LOSS", "CLOCK"], &told.iter().map(row).collect::<Vec<_>>())
}

/// One thing that is wrong, and how long yet.
fn cell(record: &Record, what: &str, told: &Value) -> String {
    let Some(left_ms) = told["left_ms"].as_u64() else { return "-".into() };
    let number = |name: &str| told[name].as_i64().unwrap_or_default();
    let text = match what {
        "cut" => {
            let cut = |node: &&NodeRecord| told["peers"].as_array().is_some_and(|p| p.contains(&json!(node.id)));
            record.nodes.iter().filter(cut).map(|node| node.name.as_str()).collect::<Vec<_>>().join(" ")
        }
        "delay" => format!("{} to {} ms", number("by_ms"), number("by_ms") + number("jitter_ms")),
        "loss" => format!("{} %", number("percent")),
        _ => format!("{:+} ms", number("by_ms")),
    };
    format!("{text}, {:.1} s", left_ms as f64 / 1_000.0)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A length of time that may be less than nothing, milliseconds.
fn signed_ms(text: &str) -> Result<i64, String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let ms = i64::try_from(ms(duration(rest)?)).map_err(|_| format!("`{text}` is too long; write 60m or -60m"))?;
    Ok(sign * ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_ahead_and_behind() {
        let cases = [("60m", 3_600_000), ("+1s", 1_000), ("-60m", -3_600_000), ("-500ms", -500)];
        for (text, expected) in cases {
            assert_eq!(signed_ms(text), Ok(expected), "{text}");
        }
        assert!(signed_ms("--1s").is_err() && signed_ms("-").is_err());
    }
}
