//! `metanode peer`: who is known, connected, banned; dial, ban, forgive.

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ApiArgs, Client, duration, pairs, plain, print, print_json, table, time};
use crate::types::NodeId;

const EXAMPLES: &str = "\
Examples:
  metanode peer ls
  metanode peer dial /ip4/192.0.2.1/tcp/7700/p2p/12D3Koo…
  metanode peer ban 12D3Koo… --for 1h --reason 'floods'
  metanode peer ls --json | jq '.peers[] | select(.connected) | .id'

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.";

/// Show, dial, ban and forgive peers.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PeerArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: PeerCommand,
}

#[derive(Subcommand, Debug)]
enum PeerCommand {
    /// All peers known
    Ls,
    /// One peer
    Show {
        /// Its id
        id: NodeId,
    },
    /// Have nothing to do with a peer for a while
    Ban {
        /// Its id
        id: NodeId,
        /// For how long: 30s, 10m, 2h, 7d
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = duration)]
        time: Duration,
        /// Why, for whoever looks at it later
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// End a ban and forgive all penalties
    Unban {
        /// Its id
        id: NodeId,
    },
    /// Connect to an address
    Dial {
        /// A multiaddress, with the peer's id at its end if it is known
        address: String,
    },
}

impl PeerArgs {
    /// Asks the node and prints its answer.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let answer = self.ask(&client).await?;
        if self.api.json {
            return print_json(&answer).map(drop);
        }
        let text = match &self.command {
            PeerCommand::Ls => listed(&answer),
            PeerCommand::Show { .. } | PeerCommand::Ban { .. } | PeerCommand::Unban { .. } => shown(&answer),
            PeerCommand::Dial { address } => {
                format!("trying {address}; `metanode peer ls` shows what came of it")
            }
        };
        print(&text).map(drop)
    }

    async fn ask(&self, client: &Client) -> anyhow::Result<Value> {
        let post = |path: &[&str], body: Value| client.request(Method::POST, path, &[]).json(&body);
        match &self.command {
            PeerCommand::Ls => client.get(&["peers"]).await,
            PeerCommand::Show { id } => client.get(&["peers", &id.to_string()]).await,
            PeerCommand::Ban { id, time, reason } => {
                let body = json!({"seconds": time.as_secs(), "reason": reason});
                client.json(post(&["peers", &id.to_string(), "ban"], body)).await
            }
            PeerCommand::Unban { id } => client.json(post(&["peers", &id.to_string(), "unban"], json!({}))).await,
            PeerCommand::Dial { address } => client.json(post(&["dial"], json!({ "address": address }))).await,
        }
    }
}

fn listed(answer: &Value) -> String {
    let peers = answer["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if peers.is_empty() {
        return "no peers are known; connect to one with `metanode peer dial ADDRESS`".into();
    }
    let rows: Vec<Vec<String>> = peers.iter().map(row).collect();
    table(&["ID", "STATE", "PENALTY", "HEARTBEAT", "CLOCK", "LAST SEEN", "ADDRESS"], &rows)
}

fn row(peer: &Value) -> Vec<String> {
    let ms = |name: &str| peer[name].as_i64().map_or_else(|| "-".into(), |ms| format!("{ms} ms"));
    vec![
        plain(&peer["id"]),
        state(peer).into(),
        plain(&peer["penalty"]),
        ms("heartbeat_age_ms"),
        ms("clock_offset_ms"),
        time(&peer["last_seen_ms"]),
        plain(&peer["addresses"][0]),
    ]
}

fn state(peer: &Value) -> &'static str {
    if !peer["banned_until_ms"].is_null() {
        "banned"
    } else if peer["connected"] == true {
        "connected"
    } else {
        "away"
    }
}

fn shown(peer: &Value) -> String {
    let mut rows =
        vec![("id", plain(&peer["id"])), ("state", state(peer).into()), ("penalty", plain(&peer["penalty"]))];
    rows.extend([("last seen", time(&peer["last_seen_ms"])), ("banned until", time(&peer["banned_until_ms"]))]);
    rows.extend([("ban reason", plain(&peer["ban_reason"])), ("holds the same", plain(&peer["alike"]))]);
    rows.extend([
        ("heartbeat age, ms", plain(&peer["heartbeat_age_ms"])),
        ("clock offset, ms", plain(&peer["clock_offset_ms"])),
    ]);
    for address in peer["addresses"].as_array().into_iter().flatten() {
        rows.push(("address", plain(address)));
    }
    rows.retain(|(_, value)| value != "-");
    pairs(&rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::api::tests::rig::Rig;
    use crate::cli::kinds::KindsArgs;
    use crate::cli::status::StatusArgs;

    #[derive(Parser)]
    enum Line {
        Peer(PeerArgs),
        Status(StatusArgs),
        Kinds(KindsArgs),
    }

    async fn run(line: &str) -> anyhow::Result<()> {
        match Line::parse_from(["metanode"].into_iter().chain(line.split(' '))) {
            Line::Peer(args) => args.run().await,
            Line::Status(args) => args.run().await,
            Line::Kinds(args) => args.run().await,
        }
    }

    #[tokio::test]
    async fn peers_are_listed_banned_and_forgiven() {
        let rig = Rig::start().await;
        let (api, peer) = (format!("--api=http://{}", rig.address), NodeId([9; 32]));
        run(&format!("peer ls {api}")).await.unwrap();
        assert!(run(&format!("peer show {peer} {api}")).await.is_err());
        run(&format!("peer {api} ban {peer} --for 10m --reason noise")).await.unwrap();
        let (_, banned) = rig.get(&format!("/v1/peers/{peer}")).await;
        assert_eq!(banned["ban_reason"], "noise");
        assert_eq!((state(&banned), shown(&banned).contains("noise")), ("banned", true));
        run(&format!("peer show {peer} {api} --json")).await.unwrap();
        run(&format!("peer ls --json {api}")).await.unwrap();
        run(&format!("peer unban {peer} {api}")).await.unwrap();
        assert_eq!(state(&rig.get(&format!("/v1/peers/{peer}")).await.1), "away");
        run(&format!("peer dial /ip4/127.0.0.1/tcp/1 {api}")).await.unwrap();
        run(&format!("status {api}")).await.unwrap();
        run(&format!("status {api} --json")).await.unwrap();
        rig.stop().await;
    }

    #[tokio::test]
    async fn kinds_need_no_node() {
        for line in ["kinds", "kinds --json", "kinds ExchangeData", "kinds Data/ExchangeData --json"] {
            run(line).await.unwrap();
        }
    }
}
