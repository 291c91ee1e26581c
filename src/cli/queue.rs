//! `metanode queue`: what waits to be said, by priority, and the rule by which it is served.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ApiArgs, Client, plain, print, print_json, table};
use crate::flow::Policy;

const EXAMPLES: &str = "\
Examples:
  metanode queue ls
  metanode queue scheduler strict
  metanode queue ls --json | jq '.lanes[] | select(.late_messages > 0)'

Schedulers: strict serves the most urgent first, always; weighted gives shares
of 16, 8, 4, 2 and 1; deficit gives the same shares in turns; adaptive gives
more to what waits beyond its deadline. A change holds until the node ends;
`flow.scheduler` in the configuration is for good.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.";

/// Show what waits to be said, and change the rule by which it is served.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct QueueArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: QueueCommand,
}

#[derive(Subcommand, Debug)]
enum QueueCommand {
    /// The lanes, most urgent first
    Ls,
    /// Serve the lanes by another rule
    Scheduler {
        /// strict, weighted, deficit or adaptive
        name: Policy,
    },
}

impl QueueArgs {
    /// Asks the node and prints its answer.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let answer = match &self.command {
            QueueCommand::Ls => client.get(&["queues"]).await?,
            QueueCommand::Scheduler { name } => {
                let body = json!({ "scheduler": name });
                client.json(client.request(Method::PUT, &["queues", "scheduler"], &[]).json(&body)).await?
            }
        };
        if self.api.json {
            return print_json(&answer).map(drop);
        }
        print(&told(&answer)).map(drop)
    }
}

fn told(answer: &Value) -> String {
    let lanes = answer["lanes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let head = ["LANE", "WAITING", "BYTES", "OLDEST", "SENT", "MEAN WAIT", "LONGEST", "DEADLINE", "LATE", "REFUSED"];
    let ms = |value: &Value| value.as_f64().map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms"));
    let row = |lane: &Value| {
        vec![
            plain(&lane["priority"]),
            plain(&lane["waiting_messages"]),
            plain(&lane["waiting_bytes"]),
            ms(&lane["oldest_ms"]),
            plain(&lane["sent_messages"]),
            ms(&lane["mean_wait_ms"]),
            ms(&lane["longest_wait_ms"]),
            ms(&lane["deadline_ms"]),
            plain(&lane["late_messages"]),
            plain(&lane["overflowed_messages"]),
        ]
    };
    let rows: Vec<Vec<String>> = lanes.iter().map(row).collect();
    let window = &answer["window"];
    let (with_room, peers) = (plain(&window["with_room"]), plain(&window["peers"]));
    let window =
        format!("{with_room} of {peers} peers have room, {} bytes on their way", plain(&window["unheld_bytes"]));
    format!("scheduler: {}\nwindow: {window}\n\n{}", plain(&answer["scheduler"]), table(&head, &rows))
}
