//! `metanode get`: one message, believed only because its proof holds.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use super::client::{ApiArgs, Client, message, print, print_json, write_file};
use super::verify::verified;
use crate::types::{MessageId, NetworkName};
use crate::wire::Proof;

const EXAMPLES: &str = "\
Examples:
  metanode get 0198c4be-7a1e-7000-8000-3f5d2c9b1a00
  metanode get 0198… --proof-out trade.proof
  metanode get 0198… --json | jq .message.payload

The proof is checked here before anything is printed; what the author said is
taken from the proof, not from the node's word.

Exit codes: 0 done, 1 not found or not proved, 2 wrong usage, 3 no node
answers at the API.";

/// Show a message and check its proof.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct GetArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// The message's id
    id: MessageId,
    /// Insist on this network [default: the one the node is in]
    #[arg(long, value_name = "NAME")]
    network: Option<NetworkName>,
    /// Write the proof to this file, for `metanode verify`
    #[arg(long, value_name = "FILE")]
    proof_out: Option<PathBuf>,
}

impl GetArgs {
    /// Fetches, checks, prints.
    pub async fn run(self) -> anyhow::Result<()> {
        let found = Client::new(&self.api)?.get(&["messages", &self.id.to_string()]).await?;
        let proof: Proof = serde_json::from_value(found["proof"].clone()).context("the node's proof cannot be read")?;
        let network = match &self.network {
            Some(network) => network.clone(),
            None => found["network"].as_str().context("the node names no network; give --network")?.parse()?,
        };
        let mut envelope = verified(&proof, &network)?;
        if envelope["id"] != json!(self.id) {
            bail!("the node answered with another message, {}; do not trust it", envelope["id"]);
        }
        // Place and time of arrival are the node's own; everything else is the author's.
        for name in ["position", "arrived_at"] {
            envelope[name] = found["message"][name].clone();
        }
        if let Some(path) = &self.proof_out {
            write_file(path, &format!("{}\n", serde_json::to_string(&proof)?))?;
        }
        self.show(&network, envelope, &found["proof"])
    }

    fn show(&self, network: &NetworkName, envelope: Value, proof: &Value) -> anyhow::Result<()> {
        if self.api.json {
            let document = json!({"message": envelope, "proof": proof, "network": network.to_string(), "valid": true});
            return print_json(&document).map(drop);
        }
        print(&message(&envelope)?)?;
        print(&format!("\nthe proof holds in the network {network}")).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::api::tests::rig::Rig;
    use crate::cli::verify::VerifyArgs;

    #[derive(Parser)]
    enum Line {
        Get(GetArgs),
        Verify(VerifyArgs),
    }

    async fn run(line: &[&str]) -> anyhow::Result<()> {
        match Line::parse_from([&["metanode"], line].concat()) {
            Line::Get(args) => args.run().await,
            Line::Verify(args) => args.run().await,
        }
    }

    #[tokio::test]
    async fn a_proof_that_was_written_is_verified_without_the_node() {
        let rig = Rig::start().await;
        let id = rig.trades(0..5).await.remove(2);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("proof").display().to_string();
        let api = format!("http://{}", rig.address);
        run(&["get", &id, "--api", &api, "--proof-out", &file]).await.unwrap();
        run(&["get", &id, "--api", &api, "--json"]).await.unwrap();
        assert!(run(&["get", &id, "--api", &api, "--network", "other"]).await.is_err());
        assert!(run(&["get", "0198c4be-7a1e-7000-8000-3f5d2c9b1a00", "--api", &api]).await.is_err());
        rig.stop().await;

        run(&["verify", &file, "--network", "api-test"]).await.unwrap();
        assert!(run(&["verify", &file, "--network", "other"]).await.is_err());
        let text = std::fs::read_to_string(&file).unwrap();
        let mut proof: Value = serde_json::from_str(&text).unwrap();
        proof["index"] = json!(proof["index"].as_u64().unwrap() ^ 1);
        std::fs::write(&file, proof.to_string()).unwrap();
        assert!(run(&["verify", &file, "--network", "api-test"]).await.is_err());
    }
}
