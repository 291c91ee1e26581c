//! `metanode route`: who is connected to whom, how a message would go, and what waits for its reader.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::client::{ApiArgs, Client, pairs, plain, print, print_json, table, time};
use crate::route::Strategy;
use crate::wire::Destination;

const EXAMPLES: &str = "\
Examples:
  metanode route ls
  metanode route explain service:notary
  metanode route explain 12D3Koo… --strategy fastest --json
  metanode route pending

A message to a node, a service or a layer goes to one reader alone, over other
nodes if need be, and waits here until that reader has it or its time is over.
Strategies: fastest (least time), reliable (least loss), balanced (0.3 time,
0.4 loss, 0.3 load), first (fewest hops). The node's own is
`flow.route_strategy`; a message may wish for another by the header
`route-strategy`.

Exit codes: 0 done, 1 failed (no way), 2 wrong usage, 3 no node answers at the API.";

/// Show links, ways to other nodes, and messages that wait for their readers.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RouteArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: RouteCommand,
}

#[derive(Subcommand, Debug)]
enum RouteCommand {
    /// The links of the network, with their round trips and losses
    Ls,
    /// How a message for a destination would go now, and what its backups are
    Explain {
        /// A node's id, service:NAME or layer:NAME
        to: Destination,
        /// fastest, reliable, balanced or first; by default what the node is set to
        #[arg(long, value_name = "STRATEGY")]
        strategy: Option<Strategy>,
    },
    /// Messages to single readers that are not with them yet
    Pending,
}

impl RouteArgs {
    /// Asks the node and prints its answer.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let answer = match &self.command {
            RouteCommand::Ls => client.get(&["topology"]).await?,
            RouteCommand::Explain { to, strategy } => {
                let mut query = vec![("to", to.to_string())];
                query.extend(strategy.map(|strategy| ("strategy", strategy.to_string())));
                client.json(client.request(Method::GET, &["routes"], &query)).await?
            }
            RouteCommand::Pending => client.get(&["outbox"]).await?,
        };
        if self.api.json {
            print_json(&answer)?;
        } else {
            print(&match &self.command {
                RouteCommand::Ls => links(&answer),
                RouteCommand::Explain { .. } => explained(&answer),
                RouteCommand::Pending => pending(&answer),
            })?;
        }
        match answer["reason"].as_str() {
            Some(reason) => anyhow::bail!("no way: {reason}"),
            None => Ok(()),
        }
    }
}

fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn links(answer: &Value) -> String {
    let row = |edge: &Value| {
        let loss = edge["loss_ppm"].as_f64().map_or_else(|| "-".into(), |ppm| format!("{:.2} %", ppm / 1e4));
        vec![plain(&edge["source"]), plain(&edge["target"]), ms(&edge["round_trip_us"]), loss]
    };
    let edges: Vec<Vec<String>> = list(answer, "edges").iter().map(row).collect();
    let offers = |node: &Value| {
        let names = list(node, "capabilities").iter().map(|name| format!("service:{}", plain(name)));
        let layer = node["layer"].as_str().map(|layer| format!("layer:{layer}"));
        vec![plain(&node["id"]), plain(&node["type"]), names.chain(layer).collect::<Vec<_>>().join(" ")]
    };
    let nodes: Vec<Vec<String>> = list(answer, "nodes").iter().map(offers).collect();
    let nodes = table(&["NODE", "TYPE", "ANSWERS TO"], &nodes);
    format!("{nodes}\n\n{}", table(&["LINK", "", "ROUND TRIP", "LOSS"], &edges))
}

fn explained(answer: &Value) -> String {
    let row = |(n, way): (usize, &Value)| {
        let hops: Vec<String> = list(way, "hops").iter().map(plain).collect();
        let arrives = way["success_ppm"].as_f64().map_or_else(|| "-".into(), |ppm| format!("{:.2} %", ppm / 1e4));
        let avoided = if way["avoided"] == true { "failed a moment ago" } else { "" };
        let place = if n == 0 { "best".into() } else { format!("backup {n}") };
        vec![
            place,
            ms(&way["time_us"]),
            arrives,
            format!("{} %", plain(&way["load_percent"])),
            plain(&way["cost"]),
            hops.join(" → "),
            avoided.into(),
        ]
    };
    let ways: Vec<Vec<String>> = list(answer, "ways").iter().enumerate().map(row).collect();
    let head = [
        ("to", plain(&answer["to"])),
        ("strategy", plain(&answer["strategy"])),
        ("readers", list(answer, "readers").len().to_string()),
        ("estimated", ms(&answer["estimated_us"])),
    ];
    let here = if answer["here"] == true { "\n\nthis node answers to it itself: a message stays here" } else { "" };
    let table = table(&["WAY", "TIME", "ARRIVES", "LOAD", "COST", "HOPS", ""], &ways);
    format!("{}{here}\n\n{table}", pairs(&head))
}

fn pending(answer: &Value) -> String {
    let row = |one: &Value| {
        let names = ["to", "ready", "under_way", "waiting", "dead", "breaker"];
        let mut cells: Vec<String> = names.iter().map(|name| plain(&one[*name])).collect();
        cells.push(time(&one["last_failure_ms"]));
        cells.push(plain(&one["last_failure"]));
        cells
    };
    let rows: Vec<Vec<String>> = list(answer, "destinations").iter().map(row).collect();
    let names =
        ["delivered", "overdue", "sent_bundles", "failed_bundles", "received", "received_again", "relayed_bundles"];
    let counts: Vec<(&str, String)> = names.iter().map(|name| (*name, plain(&answer["counts"][*name]))).collect();
    let head = ["TO", "READY", "UNDER WAY", "WAITING", "DEAD", "BREAKER", "LAST FAILED", "BECAUSE"];
    format!("{}\n\n{}", table(&head, &rows), pairs(&counts))
}

fn ms(us: &Value) -> String {
    us.as_f64().map_or_else(|| "-".into(), |us| format!("{:.2} ms", us / 1e3))
}
