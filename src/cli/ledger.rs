//! `metanode ledger`: begin a chain, and check proofs of what is on one; both without a node.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{pairs, plain, print, print_json, table, write_file};
use super::transfer::TransferArgs;
use crate::ledger::{Agreement, Genesis, GenesisAccount, GenesisValidator, Params, Token, shown, verify};
use crate::types::chain::ChainId;
use crate::types::{Hash, NodeId, Tokens, WallMs};
use crate::wire::ledger::LedgerProof;

/// What is read of a file, bytes: more than any genesis or proof.
const FILE_BYTES: u64 = 64 << 20;

const EXAMPLES: &str = "\
Examples:
  metanode ledger genesis new --name main --validator 12D3KooW…=5000000 --account 12D3KooW…=1000000 --out genesis.toml
  metanode ledger genesis check genesis.toml
  metanode ledger genesis show genesis.toml
  metanode ledger verify balance.proof --genesis genesis.toml
  metanode ledger transfer --to 12D3KooW… --amount 1000

A genesis file says how a chain begins: its validators, who has tokens, its rules.
The chain's id is the digest of what it says, so nodes with different files are
on different chains. Amounts are base units of the chain's token.

A proof shows a row of the ledger's state, such as an account, to anyone who has
the genesis file, without a node.

Exit codes: 0 done, 1 failed or does not hold, 2 wrong usage.";

/// Begin a chain, and check proofs of what is on one.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Subcommand, Debug)]
enum LedgerCommand {
    /// How a chain begins
    #[command(subcommand)]
    Genesis(GenesisCommand),
    /// Check the proof of a row of the state
    Verify(VerifyArgs),
    /// Pay another account, and wait until that is final
    Transfer(TransferArgs),
}

#[derive(Subcommand, Debug)]
enum GenesisCommand {
    /// Write a genesis file with the usual rules, to be edited before the chain begins
    New(NewArgs),
    /// Print what a genesis file says
    Show(FileArgs),
    /// Check that a chain can begin with a genesis file, and print the chain's id
    Check(FileArgs),
}

#[derive(Args, Debug)]
struct NewArgs {
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
struct FileArgs {
    /// The genesis file, TOML or JSON; `-` for standard input
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct VerifyArgs {
    /// The proof; `-` for standard input
    file: PathBuf,
    /// The genesis file of the chain: its validators are trusted
    #[arg(long, value_name = "FILE", required_unless_present = "chain")]
    genesis: Option<PathBuf>,
    /// The chain's id, instead of its genesis file
    #[arg(long, value_name = "ID", requires = "trusted", conflicts_with = "genesis")]
    chain: Option<ChainId>,
    /// The hash of the validators that are trusted, from a header known to be decided; those of genesis without it
    #[arg(long, value_name = "HASH")]
    trusted: Option<Hash>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl LedgerArgs {
    /// Does what is asked, and prints what came of it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            LedgerCommand::Genesis(GenesisCommand::New(args)) => args.run(),
            LedgerCommand::Genesis(GenesisCommand::Show(args)) => args.show(),
            LedgerCommand::Genesis(GenesisCommand::Check(args)) => args.check(),
            LedgerCommand::Verify(args) => args.run(),
            LedgerCommand::Transfer(args) => args.run().await,
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

impl VerifyArgs {
    fn run(self) -> anyhow::Result<()> {
        let bytes = read(&self.file)?;
        let proof = match std::str::from_utf8(&bytes) {
            Ok(text) if text.trim_start().starts_with('{') => LedgerProof::from_json(text),
            _ => LedgerProof::from_bytes(&bytes),
        };
        let proof = proof.with_context(|| format!("{} is no proof of the ledger", self.file.display()))?;
        let (chain, trusted) = self.trust()?;
        let proved = verify(&proof, chain, trusted, &Agreement).context("the proof does not hold: do not trust it")?;
        let row = shown(proved.key, proved.value)?.context("the proof holds, for a row this version cannot read")?;
        let header = proved.header;
        if self.json {
            let told = json!({
                "valid": true, "chain": chain, "height": header.height, "block": header.id(),
                "time_ms": header.time_ms, "state_root": header.state_root, "row": row,
            });
            return print_json(&told).map(drop);
        }
        let (sort, name) = (row.sort, plain(&row.name));
        print(&format!("the proof holds: {sort} {name} after block {}\n{}\n", header.height, pretty(&row.row)))
            .map(drop)
    }

    fn trust(&self) -> anyhow::Result<(ChainId, Hash)> {
        let Some(path) = &self.genesis else {
            return self.chain.zip(self.trusted).context("give --genesis, or --chain and --trusted");
        };
        let genesis = genesis(path)?;
        let seats = genesis.seats()?.hash();
        Ok((genesis.chain(), self.trusted.unwrap_or(seats)))
    }
}

fn pretty(row: &Value) -> String {
    if row.is_null() { "there is none".into() } else { serde_json::to_string_pretty(row).unwrap_or_default() }
}

fn genesis(path: &Path) -> anyhow::Result<Genesis> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).with_context(|| format!("{} is no text", path.display()))?;
    Genesis::from_text(text).with_context(|| path.display().to_string())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let outcome = if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes))
    };
    outcome.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// `ID=AMOUNT`.
fn holder(text: &str) -> Result<(NodeId, Tokens), String> {
    let (id, amount) = text.split_once('=').ok_or_else(|| format!("`{text}`: write ID=AMOUNT"))?;
    Ok((id.parse().map_err(|e: crate::types::IdError| e.to_string())?, amount.parse()?))
}
