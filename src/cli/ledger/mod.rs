//! `metanode ledger`: begin a chain, use it, look at it, and check proofs of what is on it.

mod bodies;
mod genesis;
mod look;
mod proof;
mod transact;
mod verify;
mod watch;

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use clap::{Args, Subcommand};

use self::bodies::{BodyCommand, SubmitArgs};
use self::genesis::GenesisCommand;
use self::look::{AccountArgs, BlockArgs, BlocksArgs, RowsArgs, TxArgs};
use self::proof::ProofArgs;
use self::verify::VerifyArgs;
use self::watch::WatchArgs;
use super::client::ApiArgs;
use crate::types::{NodeId, Tokens};

pub use self::genesis::genesis;
pub use self::transact::{Payer, config};

/// What is read of a file, bytes: more than any genesis or proof.
const FILE_BYTES: u64 = 64 << 20;

const EXAMPLES: &str = "\
Examples:
  metanode ledger account                                  the account of this node's key
  metanode ledger transfer --to 12D3KooW… --amount 1000    paid, and final
  metanode ledger delegate --validator 12D3KooW… --amount 5000000
  metanode ledger submit orders.json                       any transactions, under one seal
  metanode ledger tx 4c1f…                                 what became of a transaction
  metanode ledger blocks; metanode ledger block latest --records
  metanode ledger watch --records                          blocks as they become final
  metanode ledger proof 12D3KooW… --out balance.json       a proof of an account
  metanode ledger verify balance.json --genesis genesis.toml
  metanode ledger genesis new --name main --validator 12D3KooW…=5000000 --out genesis.toml

Amounts are base units of the chain's token. Who pays is the account of a key file: the
node's own, or that of --dir. A transaction that is sealed here is final when a block has
it; one that fails in its block has cost its fee and changed nothing else.

A proof shows a row of the ledger's state, such as an account, to anyone who has
the genesis file, without a node.

Exit codes: 0 done, 1 failed or does not hold, 2 wrong usage, 3 no node answers at the API.";

/// Begin a chain, use it, look at it, and check proofs of what is on it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Subcommand, Debug)]
enum LedgerCommand {
    Account(AccountArgs),
    #[command(flatten)]
    Order(BodyCommand),
    Submit(SubmitArgs),
    Tx(TxArgs),
    Block(BlockArgs),
    Blocks(BlocksArgs),
    Watch(WatchArgs),
    /// Who validates, now and next, with what power
    Validators(ApiArgs),
    /// Where the tokens are, and how many were minted and burned
    Supply(ApiArgs),
    Rows(RowsArgs),
    Proof(ProofArgs),
    Verify(VerifyArgs),
    /// How a chain begins
    #[command(subcommand)]
    Genesis(GenesisCommand),
}

impl LedgerArgs {
    /// Does what is asked, and prints what came of it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            LedgerCommand::Account(args) => args.run().await,
            LedgerCommand::Order(command) => command.run().await,
            LedgerCommand::Submit(args) => args.run().await,
            LedgerCommand::Tx(args) => args.run().await,
            LedgerCommand::Block(args) => args.run().await,
            LedgerCommand::Blocks(args) => args.run().await,
            LedgerCommand::Watch(args) => args.run().await,
            LedgerCommand::Validators(args) => look::validators(&args).await,
            LedgerCommand::Supply(args) => look::supply(&args).await,
            LedgerCommand::Rows(args) => args.run().await,
            LedgerCommand::Proof(args) => args.run().await,
            LedgerCommand::Verify(args) => args.run(),
            LedgerCommand::Genesis(command) => command.run(),
        }
    }
}

/// What is in a file; `-` is standard input.
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
pub fn holder(text: &str) -> Result<(NodeId, Tokens), String> {
    let (id, amount) = text.split_once('=').ok_or_else(|| format!("`{text}`: write ID=AMOUNT"))?;
    Ok((id.parse().map_err(|e: crate::types::IdError| e.to_string())?, amount.parse()?))
}
