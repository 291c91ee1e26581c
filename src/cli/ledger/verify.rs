//! `metanode ledger verify`: check the proof of a row, without a node.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::super::client::{plain, print, print_json};
use super::genesis::genesis;
use super::read;
use crate::ledger::{Agreement, Proved, Unproved, shown, verify, verify_anchors, verify_anchors_at, verify_at};
use crate::types::Hash;
use crate::types::chain::{BlockId, ChainId};
use crate::wire::ledger::{Anchor, AnchorProof, LedgerProof};

const EXAMPLES: &str = "\
Examples:
  metanode ledger verify balance.json --genesis genesis.toml
  metanode ledger verify balance.json --block 5f0c…           a block id that is trusted
  metanode ledger verify balance.json --chain 91ab… --trusted 77d0…

Nothing is asked of any node. With --genesis the validators of genesis are trusted, and
every later change of validators must have been decided by those before. With --block the
id of the block is trusted, as it was learned from elsewhere.";

/// Check the proof of a row of the state, without a node.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// The proof; `-` for standard input
    file: PathBuf,
    /// The genesis file of the chain: its validators are trusted
    #[arg(long, value_name = "FILE", required_unless_present_any = ["chain", "block"])]
    genesis: Option<PathBuf>,
    /// The chain's id, instead of its genesis file
    #[arg(long, value_name = "ID", requires = "trusted", conflicts_with = "genesis")]
    chain: Option<ChainId>,
    /// The hash of the validators that are trusted, from a header known to be decided; those of genesis without it
    #[arg(long, value_name = "HASH")]
    trusted: Option<Hash>,
    /// The id of the block that the proof is about, known to be decided; nothing else is trusted then
    #[arg(long, value_name = "ID", conflicts_with_all = ["genesis", "chain", "trusted"])]
    block: Option<BlockId>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl VerifyArgs {
    /// Checks, and prints the row.
    pub fn run(self) -> anyhow::Result<()> {
        let bytes = read(&self.file)?;
        if let Some(anchors) = std::str::from_utf8(&bytes).ok().and_then(|text| AnchorProof::from_json(text).ok()) {
            return self.anchors(&anchors);
        }
        let proof = match std::str::from_utf8(&bytes) {
            Ok(text) if text.trim_start().starts_with('{') => LedgerProof::from_json(text),
            _ => LedgerProof::from_bytes(&bytes),
        };
        let proof = proof.with_context(|| format!("{} is no proof of the ledger", self.file.display()))?;
        let proved = self.check(&proof)?.context("the proof does not hold: do not trust it")?;
        let row = shown(proved.key, proved.value)?.context("the proof holds, for a row this version cannot read")?;
        let header = proved.header;
        if self.json {
            let told = json!({
                "valid": true, "chain": header.chain, "height": header.height, "block": header.id(),
                "time_ms": header.time_ms, "state_root": header.state_root, "row": row,
            });
            return print_json(&told).map(drop);
        }
        let (sort, name) = (row.sort, plain(&row.name));
        print(&format!("the proof holds: {sort} {name} after block {}\n{}\n", header.height, pretty(&row.row)))
            .map(drop)
    }

    /// Checks and prints what a block says of replicated state.
    fn anchors(&self, proof: &AnchorProof) -> anyhow::Result<()> {
        let checked = match self.block {
            Some(block) => verify_anchors_at(proof, block),
            None => {
                let (chain, trusted) = self.trust()?;
                verify_anchors(proof, chain, trusted, &Agreement)
            }
        };
        let header = checked.context("the proof does not hold: do not trust it")?;
        if self.json {
            let told = json!({
                "valid": true, "chain": header.chain, "height": header.height, "block": header.id(),
                "time_ms": header.time_ms, "proposer": header.proposer, "anchors": proof.anchors,
            });
            return print_json(&told).map(drop);
        }
        let line = |one: &Anchor| format!("{}  {}\n", one.collection, one.root);
        let lines: String = proof.anchors.iter().map(line).collect();
        let (height, proposer) = (header.height, header.proposer);
        print(&format!("the proof holds: block {height} of {proposer} has these roots\n{lines}")).map(drop)
    }

    fn check<'a>(&self, proof: &'a LedgerProof) -> anyhow::Result<Result<Proved<'a>, Unproved>> {
        if let Some(block) = self.block {
            return Ok(verify_at(proof, block));
        }
        let (chain, trusted) = self.trust()?;
        Ok(verify(proof, chain, trusted, &Agreement))
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
