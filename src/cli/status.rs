//! `metanode status`: how a node is. With `--json`, the document of `/v1/status` as it is.

use clap::Args;
use serde_json::Value;

use super::client::{ApiArgs, Client, pairs, plain, print, print_json, size, table};

const EXAMPLES: &str = "\
Examples:
  metanode status
  metanode status --api http://127.0.0.1:9000 --json | jq .heads_root

Nodes that hold the same messages have the same heads root.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.";

/// Show how a node is.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    #[command(flatten)]
    api: ApiArgs,
}

impl StatusArgs {
    /// Asks and prints.
    pub async fn run(self) -> anyhow::Result<()> {
        let status = Client::new(&self.api)?.get(&["status"]).await?;
        if self.api.json {
            return print_json(&status).map(drop);
        }
        print(&told(&status)).map(drop)
    }
}

fn told(status: &Value) -> String {
    let mut rows = Vec::new();
    for name in ["id", "network", "version", "incarnation"] {
        rows.push((name, plain(&status[name])));
    }
    rows.push(("up", uptime(status["uptime_s"].as_u64().unwrap_or_default())));
    for (title, name) in [
        ("peers", "peers"),
        ("messages", "messages"),
        ("log end", "log_end"),
        ("heads root", "heads_root"),
        ("state root", "state_root"),
        ("height", "height"),
        ("feeds wanted", "feeds_wanted"),
        ("bundles held", "bundles_held"),
        ("clock offset, ms", "clock_offset_ms"),
        ("subscribers", "subscribers"),
        ("alerts", "firing_alerts"),
    ] {
        rows.push((title, plain(&status[name])));
    }
    rows.extend([("memory", size(&status["resident_bytes"])), ("disk", size(&status["disk_bytes"]))]);
    let categories = status["categories"].as_object().into_iter().flatten();
    let categories: Vec<Vec<String>> = categories
        .map(|(name, totals)| {
            vec![name.clone(), plain(&totals["feeds"]), plain(&totals["messages"]), size(&totals["bytes"])]
        })
        .collect();
    let head = pairs(&rows);
    if categories.is_empty() {
        return head;
    }
    format!("{head}\n\n{}", table(&["CATEGORY", "FEEDS", "MESSAGES", "SIZE"], &categories))
}

/// A length of time as a person reads it.
pub fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
