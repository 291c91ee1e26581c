//! `metanode ledger proof`: a proof of a row of the state, to be kept and checked without a node.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::client::{ApiArgs, Client, pairs, plain, print, print_json, write_file};

const EXAMPLES: &str = "\
Examples:
  metanode ledger proof 12D3KooW… --out balance.json         an account, as it is now
  metanode ledger proof 12D3KooW… --height 120 --out then.json
  metanode ledger proof --sort proposal 3 --out vote.json
  metanode ledger proof --anchors 120 --out state.json       roots of replicated state in a block
  metanode ledger verify balance.json --genesis genesis.toml

The file is all that is needed, with the genesis file, or with the id of the block it is
about. A node can prove the state of its last 1000 heights.";

/// A proof of a row, or that there is none, under a decided block
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ProofArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// What names the row, with `/` between the parts; the node's own account without it
    name: Option<String>,
    /// The sort of row: account, pool, delegation, record, billing, proposal, ballot, policy, params, totals, seats
    #[arg(long, default_value = "account")]
    sort: String,
    /// As it was after this block; the last without it
    #[arg(long, value_name = "HEIGHT")]
    height: Option<u64>,
    /// Instead of a row: the roots over replicated state that the block at this height carries
    #[arg(long, value_name = "HEIGHT", conflicts_with_all = ["name", "sort", "height"])]
    anchors: Option<u64>,
    /// For one who trusts the validators that decide from this height on; those of genesis without it
    #[arg(long, value_name = "HEIGHT")]
    trusted: Option<u64>,
    /// Where to write it; standard output without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl ProofArgs {
    /// Asks the node for the proof, and keeps it.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        if let Some(height) = self.anchors {
            return self.block_anchors(&client, height).await;
        }
        let own = self.sort == "account" && self.name.is_none();
        let name = match self.name {
            Some(name) => name,
            None if own => plain(&client.get(&["status"]).await?["id"]),
            None => String::new(),
        };
        let mut query = vec![("sort", self.sort.clone()), ("name", name.clone())];
        query.extend(self.height.map(|height| ("height", height.to_string())));
        query.extend(self.trusted.map(|height| ("trusted", height.to_string())));
        let proof: Value = client.json(client.request(Method::GET, &["chain", "proof"], &query)).await?;
        let (sort, json) = (self.sort, self.api.json);
        kept(self.out.as_deref(), &proof, &sort, &name, json)
    }

    async fn block_anchors(self, client: &Client, height: u64) -> anyhow::Result<()> {
        let query: Vec<_> = self.trusted.map(|trusted| ("trusted", trusted.to_string())).into_iter().collect();
        let path = ["chain", "blocks", &height.to_string(), "anchors"];
        let proof: Value = client.json(client.request(Method::GET, &path, &query)).await?;
        kept(self.out.as_deref(), &proof, "anchors", &height.to_string(), self.api.json)
    }
}

/// Prints a proof, or keeps it in a file and says so.
fn kept(out: Option<&Path>, proof: &Value, sort: &str, name: &str, json: bool) -> anyhow::Result<()> {
    let Some(out) = out else { return print_json(proof).map(drop) };
    write_file(out, &serde_json::to_string_pretty(proof)?)?;
    let headers = proof["finalities"].as_array().map_or(0, Vec::len);
    if json {
        return print_json(&json!({"file": out, "sort": sort, "name": name, "headers": headers})).map(drop);
    }
    print(&pairs(&[
        ("proof", out.display().to_string()),
        ("of", format!("{sort} {name}").trim_end().to_string()),
        ("next", format!("metanode ledger verify {} --genesis FILE", out.display())),
    ]))
    .map(drop)
}
