//! `metanode testnet status`: who is up, and whether all hold the same.

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::args::DirArgs;
use super::print;
use super::probe::{Probe, Sight, State};
use super::record::Record;
use super::verdict::{self, short};

/// Show each node. The exit code is 0 unless there is no network in the directory.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    place: DirArgs,
}

/// A node as programs see it; what a node that does not answer would say is null.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    name: String,
    /// Whether it answers.
    up: bool,
    /// `up`, `silent` (its process is there and does not answer) or `down`.
    state: State,
    peers: Option<u64>,
    messages: Option<u64>,
    heads_root: Option<String>,
    state_root: Option<String>,
    height: Option<u64>,
    chain_root: Option<String>,
}

/// The nodes as programs see them.
pub fn rows(sights: &[Sight]) -> Vec<Row> {
    sights.iter().map(row).collect()
}

fn row(sight: &Sight) -> Row {
    let status = sight.status.as_ref();
    Row {
        name: sight.name.clone(),
        up: sight.state == State::Up,
        state: sight.state,
        peers: status.map(|status| status.peers),
        messages: status.map(|status| status.messages),
        heads_root: status.map(|status| status.heads_root.clone()),
        state_root: status.and_then(|status| status.state_root.clone()),
        height: status.and_then(|status| status.height),
        chain_root: status.and_then(|status| status.chain_root.clone()),
    }
}

impl StatusArgs {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let record = Record::read(&std::path::absolute(&self.place.dir)?)?;
        let sights = Probe::new()?.look_all(&record.nodes).await;
        let (converged, rows) = (verdict::converged(&sights), rows(&sights));
        if self.place.json {
            return print::json(&json!({"converged": converged, "nodes": rows}));
        }
        let head = ["NAME", "STATE", "PEERS", "MESSAGES", "HEADS", "STATE", "HEIGHT", "LEDGER"];
        print::table(&head, &rows.iter().map(Row::cells).collect::<Vec<_>>())?;
        print::line(if converged { "all nodes hold the same" } else { "not all nodes hold the same" })
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let state = match self.state {
            State::Up => "up",
            State::Silent => "silent",
            State::Down => "down",
        };
        let number = |value: Option<u64>| value.map_or_else(|| "-".into(), |value| value.to_string());
        let root = |value: &Option<String>| value.as_deref().map_or("-", short).to_string();
        vec![
            self.name.clone(),
            state.into(),
            number(self.peers),
            number(self.messages),
            root(&self.heads_root),
            root(&self.state_root),
            number(self.height),
            root(&self.chain_root),
        ]
    }
}
