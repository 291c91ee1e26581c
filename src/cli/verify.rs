//! `metanode verify`: checks a message's proof, without a node and without a network.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::client::{message, print, print_json};
use crate::api::Envelope;
use crate::types::NetworkName;
use crate::wire::Proof;

/// A proof is smaller than this, bytes.
const PROOF_BYTES: u64 = 4 << 20;

const EXAMPLES: &str = "\
Examples:
  metanode get 0198… --proof-out trade.proof
  metanode verify trade.proof --network main
  curl -s localhost:7780/v1/messages/0198… | metanode verify - --network main

Whoever has the proof and knows the network's name can check that the author
signed exactly this message at exactly this place of its feed.

Exit codes: 0 it holds, 1 it does not or cannot be read, 2 wrong usage.";

/// Check the proof of a message offline.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// The proof, as `metanode get --proof-out` writes it or the API answers it; `-` for standard input
    file: PathBuf,
    /// The network it was said in
    #[arg(long, value_name = "NAME")]
    network: NetworkName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl VerifyArgs {
    /// Checks the proof and prints the message in it.
    pub async fn run(self) -> anyhow::Result<()> {
        let proof = proof(&read(&self.file)?)?;
        let envelope = verified(&proof, &self.network)?;
        if self.json {
            return print_json(&json!({"valid": true, "network": self.network.to_string(), "message": envelope}))
                .map(drop);
        }
        print(&format!("the proof holds: signed by {}\n", envelope["source"].as_str().unwrap_or_default()))?;
        print(&message(&envelope)?).map(drop)
    }
}

/// The message of a proof that holds, seen from the proof alone.
pub fn verified(proof: &Proof, network: &NetworkName) -> anyhow::Result<Value> {
    let advice = || format!("the proof does not hold in the network `{network}`: do not trust the message");
    proof.verify(network.id()).with_context(advice)?;
    let envelope = Envelope::proved(proof, None).with_context(advice)?;
    Ok(serde_json::to_value(envelope)?)
}

/// The proof in a document: the document itself, or its member `proof`.
fn proof(text: &str) -> anyhow::Result<Proof> {
    let document: Value = serde_json::from_str(text).context("a proof is a JSON document; this is none")?;
    let proof = document.get("proof").unwrap_or(&document).clone();
    serde_json::from_value(proof).context("this is no proof; `metanode get ID --proof-out FILE` writes one")
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let outcome = if path == Path::new("-") {
        std::io::stdin().lock().take(PROOF_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(PROOF_BYTES).read_to_string(&mut text))
    };
    outcome.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}
