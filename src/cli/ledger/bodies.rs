//! Commands that change something on the chain: each makes the body of a transaction.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::read;
use super::transact::{Payer, Wanted};
use crate::types::{NodeId, Tokens};
use crate::wire::ledger::{Body, SEALED_TRANSACTIONS, Transaction};

#[derive(Subcommand, Debug)]
pub enum BodyCommand {
    /// Pay another account, and wait until that is final
    Transfer {
        #[command(flatten)]
        payer: Payer,
        /// Who is paid
        #[arg(long, value_name = "ID")]
        to: NodeId,
        /// How much, base units
        #[arg(long, value_name = "AMOUNT")]
        amount: Tokens,
        /// A word to the other
        #[arg(long)]
        memo: Option<String>,
    },
    /// Make tokens: for the minter that genesis names
    Mint {
        #[command(flatten)]
        payer: Payer,
        /// Who gets them
        #[arg(long, value_name = "ID")]
        to: NodeId,
        /// How many, base units
        #[arg(long, value_name = "AMOUNT")]
        amount: Tokens,
    },
    /// Destroy tokens of one's own
    Burn(AmountArgs),
    /// Bind tokens to oneself as a validator
    Stake(AmountArgs),
    /// Take them back, after the delay
    Unstake(AmountArgs),
    /// Bind tokens to another as a validator
    Delegate(DelegateArgs),
    /// Take them back, after the delay
    Undelegate(DelegateArgs),
    /// Say what one keeps as a validator of one's stakers' rewards
    Commission {
        #[command(flatten)]
        payer: Payer,
        /// Thousandths, 0 to 1000
        #[arg(long)]
        permille: u16,
    },
    /// Give an account tokens that pay its fees and nothing else
    PayGas {
        #[command(flatten)]
        payer: Payer,
        /// Which account
        #[arg(long, value_name = "ID")]
        to: NodeId,
        /// How many, base units
        #[arg(long, value_name = "AMOUNT")]
        amount: Tokens,
    },
    /// Give the treasury tokens
    FundTreasury(AmountArgs),
}

#[derive(Args, Debug)]
pub struct AmountArgs {
    #[command(flatten)]
    payer: Payer,
    /// How many, base units
    #[arg(long, value_name = "AMOUNT")]
    amount: Tokens,
}

#[derive(Args, Debug)]
pub struct DelegateArgs {
    #[command(flatten)]
    payer: Payer,
    /// On which validator
    #[arg(long, value_name = "ID")]
    validator: NodeId,
    /// How many, base units
    #[arg(long, value_name = "AMOUNT")]
    amount: Tokens,
}

impl BodyCommand {
    /// Seals the transaction, and waits until it is final.
    pub async fn run(self) -> anyhow::Result<()> {
        let (payer, body) = match self {
            BodyCommand::Transfer { payer, to, amount, memo } => (payer, Body::Transfer { to, amount, memo }),
            BodyCommand::Mint { payer, to, amount } => (payer, Body::Mint { to, amount }),
            BodyCommand::Burn(AmountArgs { payer, amount }) => (payer, Body::Burn { amount }),
            BodyCommand::Stake(AmountArgs { payer, amount }) => (payer, Body::Stake { amount }),
            BodyCommand::Unstake(AmountArgs { payer, amount }) => (payer, Body::Unstake { amount }),
            BodyCommand::Delegate(DelegateArgs { payer, validator, amount }) => {
                (payer, Body::Delegate { validator, amount })
            }
            BodyCommand::Undelegate(DelegateArgs { payer, validator, amount }) => {
                (payer, Body::Undelegate { validator, amount })
            }
            BodyCommand::Commission { payer, permille } => (payer, Body::SetCommission { permille }),
            BodyCommand::PayGas { payer, to, amount } => (payer, Body::PayGas { to, amount }),
            BodyCommand::FundTreasury(AmountArgs { payer, amount }) => (payer, Body::FundTreasury { amount }),
        };
        payer.does(body).await
    }
}

const SUBMIT: &str = "\
Examples:
  echo '{\"burn\": {\"amount\": \"5\"}}' | metanode ledger submit -
  metanode ledger submit payroll.json --dir /srv/payer

The file is JSON: a transaction, or a list of up to 1024, executed one after the other
under one seal. Each is a body, or {\"fee\": \"…\", \"body\": {…}}. Bodies:
  {\"transfer\": {\"to\": ID, \"amount\": \"…\", \"memo\": \"…\"}}    mint, burn, pay_gas, fund_treasury
  {\"stake\": {\"amount\": \"…\"}}      unstake, delegate, undelegate, set_commission
  {\"store\": {\"name\": \"…\", \"value\": HEX, \"epochs\": 10}}     pay_rent, erase
  {\"open_billing\": {\"provider\": ID, \"service\": \"…\", \"amount\": \"…\", \"every\": 1, \"payments\": 12}}
  {\"close_billing\": {\"billing\": 1}}
  {\"work\": {\"epoch\": 0, \"solution\": 17}}
  {\"propose\": {…}}, {\"vote\": {…}}: see `metanode gov`
docs/ledger.md says what each does; /openapi.json has their schema as `Body`.";

/// Submit any transactions from a file, under one seal
#[derive(Args, Debug)]
#[command(after_help = SUBMIT)]
pub struct SubmitArgs {
    #[command(flatten)]
    payer: Payer,
    /// The file, JSON; `-` for standard input
    file: PathBuf,
}

impl SubmitArgs {
    /// Seals the transactions, and waits until they are final.
    pub async fn run(self) -> anyhow::Result<()> {
        let bytes = read(&self.file)?;
        let wanted = transactions(&bytes).with_context(|| self.file.display().to_string())?;
        self.payer.all(wanted).await
    }
}

/// The transactions in a file.
fn transactions(bytes: &[u8]) -> anyhow::Result<Vec<Wanted>> {
    let items = match serde_json::from_slice(bytes).context("this is not JSON")? {
        Value::Array(items) => items,
        one @ (Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => vec![one],
    };
    if items.is_empty() || items.len() > SEALED_TRANSACTIONS {
        bail!("{} transactions; 1 to {SEALED_TRANSACTIONS} fit under one seal", items.len());
    }
    let wanted = items.into_iter().enumerate();
    wanted.map(|(n, item)| transaction(item).with_context(|| format!("transaction {}", n + 1))).collect()
}

fn transaction(item: Value) -> anyhow::Result<Wanted> {
    if item.get("fee").is_some() {
        let Transaction { fee, body } = serde_json::from_value(item)?;
        return Ok(Wanted { body, fee: Some(fee) });
    }
    let body = item.get("body").cloned().unwrap_or(item);
    Ok(Wanted { body: serde_json::from_value(body)?, fee: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_body_a_transaction_or_a_list_of_either() {
        let burn = r#"{"burn": {"amount": "5"}}"#;
        let priced = r#"{"fee": "9", "body": {"burn": {"amount": 5}}}"#;
        assert_eq!(transactions(burn.as_bytes()).unwrap().len(), 1);
        let both = transactions(format!("[{burn}, {priced}, {{\"body\": {burn}}}]").as_bytes()).unwrap();
        assert_eq!(both.iter().map(|one| one.fee).collect::<Vec<_>>(), [None, Some(Tokens(9)), None]);
        assert!(both.iter().all(|one| one.body == Body::Burn { amount: Tokens(5) }));
        for (wrong, why) in [
            ("[]", "1 to 1024"),
            ("{", "not JSON"),
            (r#"[{"burn": {"amount": "5"}}, {"burn": {"amuont": "5"}}]"#, "transaction 2"),
            (r#"{"explode": {}}"#, "unknown variant"),
        ] {
            let error = format!("{:#}", transactions(wrong.as_bytes()).unwrap_err());
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
