//! Sealing transactions with a key file, giving them to a node, and waiting until they are final.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::client::{ApiArgs, Client, ClientError, pairs, plain, print, print_json};
use crate::config::{Config, LoadOptions};
use crate::keys::{Identity, PassphraseSource, Protection, Purpose};
use crate::types::chain::ChainId;
use crate::types::{NodeId, Tokens};
use crate::wire::ledger::{Body, Order, Sealed, Transaction};

/// The node is asked again whether a transaction is final after this long.
const WAIT: Duration = Duration::from_secs(20);
/// The fee is among the bytes that are paid for: so often it is worked out anew.
const ROUNDS: usize = 8;

/// Who pays, and what for
#[derive(Args, Debug)]
pub struct Payer {
    #[command(flatten)]
    pub api: ApiArgs,
    /// The payer's directory, with its key; the node's own without it
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// A file, mode 0600, with the key's passphrase on its first line
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The fee of each transaction, base units; without it what the next block asks
    #[arg(long, value_name = "AMOUNT")]
    fee: Option<Tokens>,
    /// The number of the first transaction; without it the account's next
    #[arg(long, value_name = "N")]
    nonce: Option<u64>,
    /// For this chain and no other; without it the node's
    #[arg(long, value_name = "ID")]
    chain: Option<ChainId>,
    /// Do not wait until they are final
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
}

/// What is to be done, and what is offered for it; none for what it costs.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub body: Body,
    pub fee: Option<Tokens>,
}

impl Payer {
    /// Seals one transaction, gives it to the node, waits for its block, and prints what became of it.
    pub async fn does(self, body: Body) -> anyhow::Result<()> {
        let fee = self.fee;
        self.all(vec![Wanted { body, fee }]).await
    }

    /// The same for several under one seal.
    pub async fn all(self, wanted: Vec<Wanted>) -> anyhow::Result<()> {
        let (client, identity) = (Client::new(&self.api)?, self.identity()?);
        let account = client.get(&["chain", "accounts", &identity.node_id().to_string()]).await?;
        let sealed = self.seal(&identity, &account, &wanted)?;
        let begun = Instant::now();
        let body = json!({ "sealed": hex::encode(sealed.bytes()) });
        let request = client.request(Method::POST, &["chain", "transactions"], &[]).json(&body);
        let ids = client.json(request).await?["ids"].clone();
        let mut answer =
            json!({ "account": sealed.account(), "nonce": sealed.nonce(), "fee": sealed.fee(), "ids": ids });
        if let [id] = sealed.ids() {
            answer["transaction"] = json!(id);
        }
        if !self.no_wait {
            let done = self.wait(&client, &sealed, begun).await?;
            answer["seconds"] = json!(begun.elapsed().as_secs_f64());
            answer["height"] = done[0]["height"].clone();
            answer["block"] = done[0]["block"].clone();
            answer["transactions"] = Value::Array(done);
        }
        report(&answer, self.api.json)
    }

    fn identity(&self) -> anyhow::Result<Identity> {
        let config = self.config()?;
        let secret = self.passphrase_file.clone().or(config.key.passphrase_file.clone());
        let ask = || PassphraseSource::from_process(secret).passphrase(Purpose::Open, "the payer's key");
        Ok(Identity::load(&config.key_file(), Protection::from_flag(config.key.allow_plain), ask)?)
    }

    fn config(&self) -> anyhow::Result<Config> {
        config(self.dir.as_ref())
    }

    /// Seals what is wanted as the account says: its chain, its next number, and what that costs.
    fn seal(&self, identity: &Identity, account: &Value, wanted: &[Wanted]) -> anyhow::Result<Sealed> {
        let chain = match self.chain {
            Some(chain) => chain,
            None => plain(&account["chain"]).parse().context("the node does not say which chain it is on")?,
        };
        let nonce = match self.nonce {
            Some(nonce) => nonce,
            None => number(&account["next_nonce"])?,
        };
        let price = Price::of(&account["price"])?;
        seal(identity, chain, nonce, &price, wanted)
    }

    /// Waits until the last of the transactions is in a block, and gives all of them with their receipts.
    async fn wait(&self, client: &Client, sealed: &Sealed, begun: Instant) -> anyhow::Result<Vec<Value>> {
        let last = sealed.ids().last().context("there is no transaction")?.to_string();
        let bar = progress(&last);
        let found = self.until_final(client, &last, begun).await;
        bar.finish_and_clear();
        let found = found?;
        let (height, index, count) = (number(&found["height"])?, number(&found["index"])?, sealed.count() as u64);
        if count == 1 {
            return Ok(vec![found]);
        }
        // Those under one seal stand one after the other in one block.
        let query = [("from", (index + 1 - count).to_string()), ("limit", count.min(1000).to_string())];
        let path = ["chain", "blocks", &height.to_string(), "records"];
        let page = client.json(client.request(Method::GET, &path, &query)).await?;
        let records = page["records"].as_array().cloned().unwrap_or_default();
        Ok(records.into_iter().map(|mut record| record["transaction"].take()).collect())
    }

    async fn until_final(&self, client: &Client, id: &str, begun: Instant) -> anyhow::Result<Value> {
        let patience = Duration::from_secs(self.timeout);
        loop {
            let left = patience.saturating_sub(begun.elapsed()).min(WAIT);
            let query = [("wait_ms", left.as_millis().to_string())];
            match client.json(client.request(Method::GET, &["chain", "transactions", id], &query)).await {
                Ok(found) => return Ok(found),
                Err(error) if !is_absent(&error) => return Err(error),
                Err(_) if begun.elapsed() < patience => {}
                Err(_) => bail!(
                    "it is not final after {} s. It may wait at the node, or have been let go for one that pays more: \
                     `metanode ledger tx {id}` says when it is final, `metanode testnet status` or `metanode status` \
                     whether blocks are made",
                    self.timeout
                ),
            }
        }
    }
}

/// The configuration in a directory, or the usual one.
pub fn config(dir: Option<&PathBuf>) -> anyhow::Result<Config> {
    let set = dir.iter().map(|dir| format!("dir={}", toml::Value::from(dir.display().to_string()))).collect();
    let file = dir.map(|dir| dir.join("config.toml")).filter(|file| file.is_file());
    Ok(Config::load(LoadOptions::from_process(file, set))?)
}

/// Whether the node said that there is no such thing.
fn is_absent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ClientError::Refused { status: 404, .. }))
}

fn number(value: &Value) -> anyhow::Result<u64> {
    plain(value).parse().with_context(|| format!("the node says {value} where a number is expected"))
}

/// What the next block asks, base units.
struct Price {
    transaction: u64,
    byte: u64,
    gas: u64,
}

impl Price {
    fn of(told: &Value) -> anyhow::Result<Price> {
        let [transaction, byte, gas] = ["transaction", "byte", "gas"].map(|part| number(&told[part]));
        Ok(Price { transaction: transaction?, byte: byte?, gas: gas? })
    }

    fn of_sealed(&self, sealed: &Sealed) -> u64 {
        let gas: u64 = sealed.order().transactions.iter().map(|one| one.body.gas()).sum();
        let parts = [
            self.transaction.saturating_mul(sealed.count() as u64),
            self.byte.saturating_mul(sealed.bytes().len() as u64),
            self.gas.saturating_mul(gas),
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

/// Those without a fee of their own share what is missing. A fee is some of the bytes that are paid for, so it is found
/// by trying.
fn seal(identity: &Identity, chain: ChainId, nonce: u64, price: &Price, wanted: &[Wanted]) -> anyhow::Result<Sealed> {
    let free = wanted.iter().filter(|one| one.fee.is_none()).count() as u64;
    let account: NodeId = identity.node_id();
    let mut each = 0;
    for _ in 0..ROUNDS {
        let transaction = |one: &Wanted| Transaction { fee: one.fee.unwrap_or(Tokens(each)), body: one.body.clone() };
        let transactions = wanted.iter().map(transaction).collect();
        let sealed = Order { chain, account, nonce, transactions }.seal(identity.signing_key())?;
        let missing = price.of_sealed(&sealed).saturating_sub(sealed.fee().0);
        if missing == 0 || free == 0 {
            return Ok(sealed);
        }
        each += missing.div_ceil(free);
    }
    bail!("no fee was found that pays for its own bytes; give one with --fee")
}

fn progress(id: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}");
    let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(format!("submitted {}…, waiting for its block", id.get(..12).unwrap_or(id)));
    if std::io::stderr().is_terminal() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    bar
}

/// Prints what became of them; fails if one of them failed.
fn report(answer: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        print_json(answer)?;
    } else {
        let rows = ["transaction", "account", "nonce", "fee", "height", "seconds"];
        let row = |name| Some((name, answer.get(name).map(plain)?));
        let mut rows: Vec<(&str, String)> = rows.into_iter().filter_map(row).collect();
        match answer["transactions"].as_array().map(Vec::as_slice) {
            Some([one]) => rows.push(("outcome", outcome(&one["outcome"]))),
            Some(many) => rows.push(("transactions", many.len().to_string())),
            None => rows.push(("outcome", "waits for a block".into())),
        }
        print(&pairs(&rows))?;
    }
    let done = answer["transactions"].as_array().into_iter().flatten();
    match done.filter_map(|one| one["outcome"].get("failed")).next() {
        Some(why) => bail!("a transaction failed; it has cost its fee and changed nothing else: {}", plain(why)),
        None => Ok(()),
    }
}

/// How a transaction ended, for people.
pub fn outcome(told: &Value) -> String {
    match (told.get("succeeded"), told.get("failed")) {
        (Some(Value::String(effect)), _) => effect.clone(),
        (Some(effect), _) => effect.to_string(),
        (None, Some(why)) => format!("failed: {}", plain(why)),
        (None, None) => plain(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fee_pays_for_its_own_bytes_and_not_much_more() {
        let identity = Identity::generate().unwrap();
        let price = Price { transaction: 10, byte: 900, gas: 10 };
        for (count, own) in [(1, None), (3, None), (3, Some(Tokens(7)))] {
            let body = Body::Burn { amount: Tokens(1) };
            let mut wanted = vec![Wanted { body, fee: None }; count];
            wanted[count - 1].fee = own;
            let sealed = seal(&identity, ChainId::default(), 3, &price, &wanted).unwrap();
            let need = price.of_sealed(&sealed);
            assert!(sealed.fee().0 >= need && sealed.fee().0 < need + 10_000, "{} for {need}", sealed.fee());
            assert!(own.is_none() || sealed.order().transactions[count - 1].fee == Tokens(7));
        }
        let cheap = [Wanted { body: Body::Burn { amount: Tokens(1) }, fee: Some(Tokens(1)) }];
        let sealed = seal(&identity, ChainId::default(), 0, &price, &cheap).unwrap();
        assert_eq!(sealed.fee(), Tokens(1), "an offer is left as it is; the node says what is missing");
    }
}
