//! `metanode ledger transfer`: pay another account, and wait until that is final.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ApiArgs, Client, pairs, plain, print, print_json};
use crate::config::{Config, LoadOptions};
use crate::keys::{Identity, PassphraseSource, Protection, Purpose};
use crate::types::{NodeId, Tokens};
use crate::wire::ledger::{Body, Order, Sealed, Transaction};

/// How often the account is looked at while the transfer is not final.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Pay another account from the account of a key file.
#[derive(Args, Debug)]
pub struct TransferArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Who is paid
    #[arg(long, value_name = "ID")]
    to: NodeId,
    /// How much, base units
    #[arg(long, value_name = "AMOUNT")]
    amount: Tokens,
    /// A word to the other
    #[arg(long)]
    memo: Option<String>,
    /// The payer's directory, with its key; the node's own without it
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A file, mode 0600, with the key's passphrase on its first line
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Do not wait until it is final
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
}

impl TransferArgs {
    /// Seals the transfer here, gives it to the node, and waits for the block with it.
    pub async fn run(self) -> anyhow::Result<()> {
        let identity = self.identity()?;
        let client = Client::new(&self.api)?;
        let me = identity.node_id().to_string();
        let account = client.get(&["chain", "accounts", &me]).await?;
        let begun = Instant::now();
        let sealed = self.seal(&identity, &account)?;
        let body = json!({ "sealed": hex::encode(sealed.bytes()) });
        let request = client.request(Method::POST, &["chain", "transactions"], &[]).json(&body);
        let id = client.json(request).await?["ids"][0].clone();
        let mut answer =
            json!({ "transaction": id, "from": me, "to": self.to, "amount": self.amount, "fee": sealed.fee() });
        if !self.no_wait {
            let after = self.wait(&client, &me, sealed.next_nonce(), begun).await?;
            answer["height"] = after["height"].clone();
            answer["balance"] = after["balance"].clone();
            answer["seconds"] = json!(begun.elapsed().as_secs_f64());
        }
        if self.api.json {
            return print_json(&answer).map(drop);
        }
        let rows = ["transaction", "from", "to", "amount", "fee", "height", "balance", "seconds"];
        let rows: Vec<(&str, String)> =
            rows.into_iter().filter(|row| !answer[*row].is_null()).map(|row| (row, plain(&answer[row]))).collect();
        print(&pairs(&rows)).map(drop)
    }

    fn identity(&self) -> anyhow::Result<Identity> {
        let set = self.dir.iter().map(|dir| format!("dir={}", toml::Value::from(dir.display().to_string()))).collect();
        let file = self.dir.as_ref().map(|dir| dir.join("config.toml")).filter(|file| file.is_file());
        let config = Config::load(LoadOptions::from_process(file, set))?;
        let secret = self.passphrase_file.clone().or(config.key.passphrase_file.clone());
        let ask = || PassphraseSource::from_process(secret).passphrase(Purpose::Open, "the payer's key");
        Ok(Identity::load(&config.key_file(), Protection::from_flag(config.key.allow_plain), ask)?)
    }

    /// The price is by the byte, and the fee is some of the bytes: it is found in two rounds.
    fn seal(&self, identity: &Identity, account: &Value) -> anyhow::Result<Sealed> {
        let number = |value: &Value| plain(value).parse::<u64>().context("the node does not say what a transfer costs");
        let price = &account["price"];
        let (each, byte, gas) = (number(&price["transaction"])?, number(&price["byte"])?, number(&price["gas"])?);
        let nonce = number(&account["next_nonce"])?;
        let chain = plain(&account["chain"]).parse().context("the node does not say which chain it is on")?;
        let body = Body::Transfer { to: self.to, amount: self.amount, memo: self.memo.clone() };
        let units = body.gas();
        let seal = |fee| {
            let transactions = vec![Transaction { fee: Tokens(fee), body: body.clone() }];
            Order { chain, account: identity.node_id(), nonce, transactions }.seal(identity.signing_key())
        };
        let cost = |sealed: &Sealed| each + byte * sealed.bytes().len() as u64 + gas * units;
        let first = cost(&seal(0)?);
        Ok(seal(cost(&seal(first)?))?)
    }

    async fn wait(&self, client: &Client, me: &str, nonce: u64, begun: Instant) -> anyhow::Result<Value> {
        loop {
            let account = client.get(&["chain", "accounts", me]).await?;
            if account["next_nonce"].as_u64().is_some_and(|next| next >= nonce) {
                return Ok(account);
            }
            if begun.elapsed() > Duration::from_secs(self.timeout) {
                bail!(
                    "it is not final after {} s; it waits at the node. `metanode status` says whether blocks are made",
                    self.timeout
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
