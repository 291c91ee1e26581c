//! `metanode ledger genesis`: begin a chain, without a node.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::client::{pairs, plain, print, print_json, table, write_file};
use super::{holder, read};
use crate::ledger::{Genesis, GenesisAccount, GenesisValidator, Params, Token};
use crate::types::{NodeId, Tokens, WallMs};

#[derive(Subcommand, Debug)]
pub enum GenesisCommand {
    /// Write a genesis file with the usual rules, to be edited before the chain begins
    New(NewArgs),
    /// Print what a genesis file says
    Show(FileArgs),
    /// Check that a chain can begin with a genesis file, and print the chain's id
    Check(FileArgs),
}

#[derive(Args, Debug)]
pub struct NewArgs {
    /// The chain's name: 1 to 32 of a-z, 0-9 and -
    #[arg(long)]
    name: String,
    /// A validator and what it has staked, KEY=STAKE; give one for each
    #[arg(long = "validator", value_name = "ID=STAKE", value_parser = holder, required = true)]
    validators: Vec<(NodeId, Tokens)>,
    /// An account and what it has, ID=BALANCE; give one for each
    #[arg(long = "account", value_name = "ID=BALANCE", value_parser = holder)]
    accounts: Vec<(NodeId, Tokens)>,
    /// What the treasury has
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    treasury: Tokens,
    /// The token's symbol
    #[arg(long, default_value = "MNT")]
    symbol: String,
    /// Digits after the point that base units stand for
    #[arg(long, default_value_t = 6)]
    decimals: u8,
    /// Where to write it; an existing file is never overwritten. Standard output without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub struct FileArgs {
    /// The genesis file, TOML or JSON; `-` for standard input
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl GenesisCommand {
    /// Does what is asked, and prints what came of it.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            GenesisCommand::New(args) => args.run(),
            GenesisCommand::Show(args) => args.show(),
            GenesisCommand::Check(args) => args.check(),
        }
    }
}

impl NewArgs {
    fn run(self) -> anyhow::Result<()> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let (out, json) = (self.out, self.json);
        let validator = |(id, stake)| GenesisValidator { id, stake, commission_permille: 100 };
        let genesis = Genesis {
            name: self.name,
            time_ms: WallMs(u64::try_from(now.as_millis())?),
            treasury: self.treasury,
            token: Token { symbol: self.symbol, decimals: self.decimals },
            params: Params::default(),
            validators: self.validators.into_iter().map(validator).collect(),
            accounts: self.accounts.into_iter().map(|(id, balance)| GenesisAccount { id, balance }).collect(),
        }
        .checked()?;
        let text = genesis.to_toml()?;
        let Some(path) = out else { return print(&text).map(drop) };
        if path.exists() {
            bail!("{} exists; a chain begins once. Name another file", path.display());
        }
        write_file(&path, &text)?;
        let chain = genesis.chain();
        if json {
            return print_json(&json!({"chain": chain, "file": path})).map(drop);
        }
        let next = "edit the rules if need be, then give the same file to every node";
        print(&pairs(&[("chain", chain.to_string()), ("file", path.display().to_string()), ("next", next.into())]))
            .map(drop)
    }
}

impl FileArgs {
    fn genesis(&self) -> anyhow::Result<Genesis> {
        genesis(&self.file)
    }

    fn check(self) -> anyhow::Result<()> {
        let genesis = self.genesis()?;
        let (chain, supply) = (genesis.chain(), genesis.supply().unwrap_or_default());
        if self.json {
            return print_json(&json!({"valid": true, "chain": chain, "supply": supply})).map(drop);
        }
        print(&pairs(&[("chain", chain.to_string()), ("supply", supply.to_string())])).map(drop)
    }

    fn show(self) -> anyhow::Result<()> {
        let genesis = self.genesis()?;
        let seats = genesis.seats()?;
        let told = json!({
            "chain": genesis.chain(),
            "supply": genesis.supply().unwrap_or_default(),
            "validators_hash": seats.hash(),
            "total_power": seats.total(),
            "genesis": genesis,
        });
        if self.json {
            return print_json(&told).map(drop);
        }
        print(&summary(&genesis, &told)).map(drop)
    }
}

fn summary(genesis: &Genesis, told: &Value) -> String {
    let Token { symbol, decimals } = &genesis.token;
    let mut text = pairs(&[
        ("name", genesis.name.clone()),
        ("chain", plain(&told["chain"])),
        ("token", format!("{symbol}, {decimals} decimals")),
        ("supply", plain(&told["supply"])),
        ("treasury", genesis.treasury.to_string()),
        ("validators hash", plain(&told["validators_hash"])),
    ]);
    let per_power = genesis.params.staking.per_power;
    let validator =
        |one: &GenesisValidator| vec![one.id.to_string(), one.stake.to_string(), (one.stake.0 / per_power).to_string()];
    let validators: Vec<_> = genesis.validators.iter().map(validator).collect();
    let account = |one: &GenesisAccount| vec![one.id.to_string(), one.balance.to_string()];
    let accounts: Vec<_> = genesis.accounts.iter().map(account).collect();
    text.push_str("\n\n");
    text.push_str(&table(&["validator", "stake", "power"], &validators));
    if !accounts.is_empty() {
        text.push_str("\n\n");
        text.push_str(&table(&["account", "balance"], &accounts));
    }
    text
}

/// The genesis in a file.
pub fn genesis(path: &Path) -> anyhow::Result<Genesis> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).with_context(|| format!("{} is no text", path.display()))?;
    Genesis::from_text(text).with_context(|| path.display().to_string())
}
