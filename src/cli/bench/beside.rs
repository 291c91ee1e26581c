//! This program beside others, in the same minutes on the same machine: bare gossipsub, and a NATS server where there is
//! one, with and without its files. They do less: nobody else signs or checks anything.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::report::{Figures, Report, machine};
use super::{BenchArgs, e2e, nats, pair};
use crate::cli::client::table;
use crate::net::gossip_alone;
use crate::types::limits;

/// Of the messages of a run, as many at most go in a frame of gossipsub each: it takes long.
const ALONE: u64 = 100_000;

/// One contender.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    /// What it does for a message.
    does: &'static str,
    messages: u64,
    messages_per_second: f64,
}

/// All of them. The JSON form is an interface: `docs/cli.md`.
#[derive(Serialize)]
struct Comparison {
    workload: &'static str,
    size_bytes: u32,
    entries: Vec<Entry>,
    /// Why there is no NATS among them.
    nats_missing: Option<String>,
    machine: String,
}

/// Measures, prints, writes.
pub async fn run(args: &BenchArgs, folder: &Path) -> anyhow::Result<()> {
    let measured = measure(args, folder).await;
    let _ = std::fs::remove_dir_all(folder);
    measured?.hand_over(args.out.as_deref(), args.json)
}

async fn measure(args: &BenchArgs, folder: &Path) -> anyhow::Result<Comparison> {
    let mut entries = own(args, folder).await?;
    let payload = vec![7; (args.size as usize).max(8)];
    let alone = args.messages.min(ALONE);
    let time = gossip_alone(&payload, alone).await?;
    entries.push(Entry::new("gossipsub, a message a frame", "carried", alone, time));
    let in_frame = (limits::BUNDLE_TARGET_BYTES / payload.len()).max(1) as u64;
    let frames = args.messages.div_ceil(in_frame);
    let time = gossip_alone(&payload.repeat(in_frame as usize), frames).await?;
    entries.push(Entry::new("gossipsub, 60 KiB frames", "carried", frames * in_frame, time));
    let mut nats_missing = None;
    match nats::measure(args.nats, &folder.join("nats"), &payload, args.messages).await {
        Ok(times) => {
            entries.push(Entry::new("NATS core", "carried by a server", args.messages, times.core));
            let does = "kept in a server's file, flushed now and then, and carried on";
            entries.push(Entry::new("NATS JetStream, file", does, args.messages, times.stream));
        }
        Err(error) => nats_missing = Some(format!("{error:#}")),
    }
    Ok(Comparison { workload: "beside", size_bytes: args.size, entries, nats_missing, machine: machine() })
}

/// This program: between two nodes, and between clients of theirs.
async fn own(args: &BenchArgs, folder: &Path) -> anyhow::Result<Vec<Entry>> {
    let pair = pair::measure(args, &folder.join("pair")).await?;
    let clients = e2e::measure(args, &folder.join("e2e")).await?;
    let entry = |name, does, report: Report| Entry {
        name,
        does,
        messages: report.messages,
        messages_per_second: report.messages_per_second,
    };
    Ok(vec![
        entry("metanode, node to node", "signed, checked, kept and flushed at both nodes", pair),
        entry("metanode, client to client", "the same, posted by one program and followed by another", clients),
    ])
}

impl Entry {
    fn new(name: &'static str, does: &'static str, messages: u64, time: Duration) -> Entry {
        Entry { name, does, messages, messages_per_second: messages as f64 / time.as_secs_f64() }
    }
}

impl Figures for Comparison {
    fn told(&self) -> String {
        let row = |entry: &Entry| {
            let rate = format!("{:.0}", entry.messages_per_second);
            vec![entry.name.to_string(), rate, entry.messages.to_string(), entry.does.to_string()]
        };
        let rows: Vec<Vec<String>> = self.entries.iter().map(row).collect();
        let missing = self.nats_missing.as_ref().map_or(String::new(), |why| format!("\nno NATS: {why}"));
        let table = table(&["WHO", "MESSAGES/S", "MESSAGES", "DOES"], &rows);
        format!("{} byte messages from one to another\n\n{table}{missing}\n{}", self.size_bytes, self.machine)
    }
}
