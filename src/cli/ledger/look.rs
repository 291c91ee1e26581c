//! Commands that look at the chain through a node.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::super::client::{ApiArgs, Client, duration, pairs, plain, print, print_json, table, time};
use super::transact::outcome;
use crate::types::NodeId;
use crate::types::chain::TransactionId;

/// An account: what it has, what it has staked, its transactions
#[derive(Args, Debug)]
pub struct AccountArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Whose; the node's own without it
    id: Option<NodeId>,
    /// Its last so many transactions, 1 to 100
    #[arg(long, value_name = "N")]
    transactions: Option<u32>,
}

/// What became of a transaction
#[derive(Args, Debug)]
pub struct TxArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Its id
    id: TransactionId,
    /// Wait so long for it to become final: 30s, 1m
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    wait: Duration,
}

/// A block: its header and who signed it, and what it did
#[derive(Args, Debug)]
pub struct BlockArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Its height, or latest
    #[arg(default_value = "latest")]
    height: String,
    /// With its transactions, their receipts, and events
    #[arg(long)]
    records: bool,
}

/// Blocks, the newest or from a height on
#[derive(Args, Debug)]
pub struct BlocksArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// From this height on; the newest without it
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    /// At most so many, 1 to 50
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
}

/// Rows of the state: records, billings, policies, stake, duties
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  metanode ledger rows record 12D3KooW…       what an account keeps on the chain
  metanode ledger rows billing                services that are paid again and again
  metanode ledger rows delegation 12D3KooW…   whom an account has stake on
  metanode ledger rows totals")]
pub struct RowsArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// account, pool, closed, delegation, unbonding, leaving, record, billing, proposal, ballot, policy, worker, duty,
    /// params, totals, seats
    sort: String,
    /// Those whose names begin so, with `/` between the parts
    #[arg(default_value = "")]
    name: String,
    /// At most so many, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

impl AccountArgs {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let id = match self.id {
            Some(id) => id.to_string(),
            None => plain(&client.get(&["status"]).await?["id"]),
        };
        let mut account = client.get(&["chain", "accounts", &id]).await?;
        if let Some(limit) = self.transactions {
            let query = [("limit", limit.to_string())];
            let path = ["chain", "accounts", &id, "transactions"];
            account["transactions"] =
                client.json(client.request(Method::GET, &path, &query)).await?["transactions"].take();
        }
        if self.api.json {
            return print_json(&account).map(drop);
        }
        let mut text = named(&account, &["account", "balance", "gas", "staked", "next_nonce", "height", "chain"]);
        let delegations = list(&account["delegations"]);
        if !delegations.is_empty() {
            let row = |one: &Value| vec![plain(&one["validator"]), plain(&one["stake"])];
            text +=
                &format!("\n\n{}", table(&["STAKED ON", "STAKE"], &delegations.iter().map(row).collect::<Vec<_>>()));
        }
        if self.transactions.is_some() {
            text += &format!("\n\n{}", transactions(&list(&account["transactions"])));
        }
        print(&text).map(drop)
    }
}

impl TxArgs {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let query = [("wait_ms", self.wait.as_millis().to_string())];
        let path = ["chain", "transactions", &self.id.to_string()];
        let answer = client.json(client.stream(Method::GET, &path, &query)).await?;
        if self.api.json {
            return print_json(&answer).map(drop);
        }
        let mut text = named(&answer, &["id", "height", "block", "index", "account", "nonce", "fee", "gas"]);
        text += &format!("\n{}", pairs(&[("body", plain(&answer["body"])), ("outcome", outcome(&answer["outcome"]))]));
        print(&text).map(drop)
    }
}

impl BlockArgs {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let mut block = client.get(&["chain", "blocks", &self.height]).await?;
        if self.records {
            let height = plain(&block["height"]);
            block["records"] = Value::Array(self.all_records(&client, &height).await?);
        }
        if self.api.json {
            return print_json(&block).map(drop);
        }
        let names = [
            "height",
            "id",
            "parent",
            "proposer",
            "round",
            "transactions",
            "seals",
            "evidence",
            "size_bytes",
            "state_root",
            "transactions_root",
            "receipts_root",
            "anchors_root",
            "validators",
            "next_validators",
        ];
        let mut text = named(&block, &names);
        text += &format!("\ntime     {}\nsigners  {}", time(&block["time_ms"]), list(&block["signers"]).len());
        for anchor in list(&block["anchors"]) {
            text += &format!("\n  anchor  {}  {}", plain(&anchor["collection"]), plain(&anchor["root"]));
        }
        for record in list(&block["records"]) {
            text += &format!("\n{}", record_line(&record));
        }
        print(&text).map(drop)
    }

    async fn all_records(&self, client: &Client, height: &str) -> anyhow::Result<Vec<Value>> {
        let (mut records, mut from) = (Vec::new(), 0);
        loop {
            let query = [("from", from.to_string()), ("limit", "1000".to_string())];
            let request = client.request(Method::GET, &["chain", "blocks", height, "records"], &query);
            let mut page = client.json(request).await?;
            records.append(page["records"].as_array_mut().unwrap_or(&mut Vec::new()));
            match page["next"].as_u64() {
                Some(next) => from = next,
                None => return Ok(records),
            }
        }
    }
}

/// A transaction or an event on one line.
pub fn record_line(record: &Value) -> String {
    match record.get("transaction") {
        Some(one) => format!("  {}", transaction_cells(one).join("  ")),
        None => format!("  event  {}", plain(&record["event"])),
    }
}

fn transaction_cells(one: &Value) -> Vec<String> {
    let id = plain(&one["id"]);
    vec![
        plain(&one["height"]),
        id.get(..16).unwrap_or(&id).to_string(),
        plain(&one["account"]),
        plain(&one["fee"]),
        plain(&one["body"]),
        outcome(&one["outcome"]),
    ]
}

fn transactions(all: &[Value]) -> String {
    let head = ["HEIGHT", "TRANSACTION", "ACCOUNT", "FEE", "BODY", "OUTCOME"];
    table(&head, &all.iter().map(transaction_cells).collect::<Vec<_>>())
}

impl BlocksArgs {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.from.map(|from| ("from", from.to_string())));
        let answer = client.json(client.request(Method::GET, &["chain", "blocks"], &query)).await?;
        if self.api.json {
            return print_json(&answer).map(drop);
        }
        let rows: Vec<_> = list(&answer["blocks"]).iter().map(block_cells).collect();
        print(&table(&["HEIGHT", "TIME", "TRANSACTIONS", "BYTES", "PROPOSER", "STATE ROOT"], &rows)).map(drop)
    }
}

/// A block on one line.
pub fn block_cells(block: &Value) -> Vec<String> {
    let root = plain(&block["state_root"]);
    vec![
        plain(&block["height"]),
        time(&block["time_ms"]),
        plain(&block["transactions"]),
        plain(&block["size_bytes"]),
        plain(&block["proposer"]),
        root.get(..16).unwrap_or(&root).to_string(),
    ]
}

impl RowsArgs {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let query = [("sort", self.sort), ("name", self.name), ("limit", self.limit.to_string())];
        let answer = client.json(client.request(Method::GET, &["chain", "rows"], &query)).await?;
        if self.api.json {
            return print_json(&answer).map(drop);
        }
        let row = |one: &Value| vec![plain(&one["name"]), plain(&one["row"])];
        print(&table(&["NAME", "ROW"], &list(&answer["rows"]).iter().map(row).collect::<Vec<_>>())).map(drop)
    }
}

/// Who validates.
pub async fn validators(api: &ApiArgs) -> anyhow::Result<()> {
    let answer = Client::new(api)?.get(&["chain", "validators"]).await?;
    if api.json {
        return print_json(&answer).map(drop);
    }
    let text = named(&answer, &["height", "total_power", "quorum_power", "epoch", "epoch_ends"]);
    let row = |one: &Value| {
        ["validator", "stake", "power", "commission_permille", "standing", "proposed"]
            .map(|name| plain(&one[name]))
            .to_vec()
    };
    let rows: Vec<_> = list(&answer["candidates"]).iter().map(row).collect();
    let head = ["VALIDATOR", "STAKE", "POWER", "COMMISSION ‰", "STANDING", "BLOCKS"];
    print(&format!("{text}\n\n{}", table(&head, &rows))).map(drop)
}

/// Where the tokens are.
pub async fn supply(api: &ApiArgs) -> anyhow::Result<()> {
    let answer = Client::new(api)?.get(&["chain", "supply"]).await?;
    if api.json {
        return print_json(&answer).map(drop);
    }
    let names =
        ["height", "supply", "limit", "accounts", "staked", "unbonding", "deposits", "treasury", "minted", "burned"];
    print(&named(&answer, &names)).map(drop)
}

/// Members of an object, one on each line.
pub fn named(object: &Value, names: &[&str]) -> String {
    pairs(&names.iter().map(|name| (*name, plain(&object[*name]))).collect::<Vec<_>>())
}

/// The items of a list; none of what is none.
pub fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}
