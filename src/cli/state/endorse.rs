//! Having validators endorse what was copied, and checking their endorsement offline.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::copier::{Copier, Copy};
use crate::cli::client::{Client, ClientError, plain, time};
use crate::cli::ledger::genesis;
use crate::ledger::{Agreement, verify_endorsement};
use crate::node::Tally;
use crate::types::chain::ChainId;
use crate::types::{Hash, WallMs};
use crate::wire::Manifest;
use crate::wire::ledger::Endorsement;

/// How often validators are asked, and how long after one another.
const TRIES: usize = 10;
const AGAIN: Duration = Duration::from_secs(1);

/// Whose endorsement is wanted.
#[derive(Args, Debug)]
pub struct TrustArgs {
    /// It must be endorsed by validators of the chain with this genesis file, which are trusted
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// The same, by the chain's id instead of its genesis file
    #[arg(long, value_name = "ID", requires = "trusted", conflicts_with = "genesis")]
    chain: Option<ChainId>,
    /// The hash of the validators that are trusted, from a header known to be decided; those of genesis without it
    #[arg(long, value_name = "HASH")]
    trusted: Option<Hash>,
}

impl TrustArgs {
    /// The chain and the validators that are trusted; none if no endorsement is wanted.
    pub fn trust(&self) -> anyhow::Result<Option<(ChainId, Hash)>> {
        match (&self.genesis, self.chain) {
            (Some(path), _) => {
                let genesis = genesis(path)?;
                let seats = genesis.seats()?.hash();
                Ok(Some((genesis.chain(), self.trusted.unwrap_or(seats))))
            }
            (None, Some(chain)) => Ok(self.trusted.map(|trusted| (chain, trusted))),
            (None, None) if self.trusted.is_some() => bail!("--trusted needs --genesis or --chain"),
            (None, None) => Ok(None),
        }
    }
}

/// Whether there are validators to ask: said before anything is copied.
pub async fn chain_is_there(client: &Client) -> anyhow::Result<()> {
    client.get(&["chain"]).await.context("nobody can endorse the checkpoint").map(drop)
}

/// Asks until enough have signed, with what has changed meanwhile cut anew. The endorsement's bytes; or, for people, why
/// there is none.
pub async fn endorsed(
    copier: &Copier<'_>,
    copies: &mut [Copy],
    until: WallMs,
) -> anyhow::Result<Result<Vec<u8>, String>> {
    let unproved: u64 = copies.iter().map(Copy::unproved).sum();
    if unproved > 0 {
        return Ok(Err(format!(
            "{unproved} writes cannot be proved by this node, and what lacks them cannot be endorsed"
        )));
    }
    if copies.is_empty() {
        return Ok(Err("there is nothing in it".into()));
    }
    let mut why = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(AGAIN).await;
        }
        for copy in copies.iter_mut() {
            copier.renew(copy).await?;
        }
        let form = |copy: &Copy| {
            let tally = copy.tally();
            json!({"name": copy.name, "writes": tally.writes, "root": tally.hash()})
        };
        let body = json!({"until_ms": until, "collections": copies.iter().map(form).collect::<Vec<_>>()});
        let request = copier.client.request(Method::POST, &["state", "endorsement"], &[]).json(&body);
        match copier.client.json(request).await {
            Ok(answer) => {
                if let Some(file) = answer["endorsement"].as_str() {
                    return hex::decode(file).map(Ok).context("the node's answer is no endorsement");
                }
                why = differing(&answer);
                if !may_change(&answer) {
                    break;
                }
            }
            Err(error) => match error.downcast_ref::<ClientError>() {
                // It was overwritten, or much is done at once: again.
                Some(refused @ ClientError::Refused { status: 409 | 429, .. }) => why = refused.to_string(),
                Some(refused @ ClientError::Refused { .. }) => return Ok(Err(refused.to_string())),
                Some(ClientError::Unreachable { .. } | ClientError::Usage(_)) | None => return Err(error),
            },
        }
    }
    Ok(Err(why))
}

/// Whether somebody may sign when asked again.
fn may_change(answer: &Value) -> bool {
    const PASSING: [&str; 5] = ["differs", "behind", "early", "busy", "no_answer"];
    let mut said = answer["validators"].as_array().into_iter().flatten().filter_map(|one| one["said"].as_str());
    said.any(|said| PASSING.contains(&said))
}

/// Who did not sign, and why.
fn differing(answer: &Value) -> String {
    let others = answer["validators"].as_array().into_iter().flatten().filter(|one| one["said"] != "signed");
    let line = |one: &Value| {
        let more = match &one["collection"] {
            Value::Null => String::new(),
            name => format!(" in {} ({} writes there)", plain(name), one["writes"]),
        };
        format!("{} {}{more}", plain(&one["validator"]), plain(&one["said"]))
    };
    let lines: Vec<String> = others.map(line).collect();
    format!("{} of {} power signed; {}", answer["power"], answer["total"], lines.join(", "))
}

/// What it says, believed or not.
pub fn shown(endorsement: &Endorsement) -> Value {
    let Endorsement { extent, signatures, .. } = endorsement;
    json!({"chain": extent.chain, "until_ms": extent.until, "signatures": signatures.len(), "checked": false})
}

/// Checks an endorsement of a checkpoint whose chunks were counted: up to the endorsed time, by collection. What it
/// shows, and what is wrong with it.
pub fn checked(
    found: Option<&Endorsement>,
    trust: Option<(ChainId, Hash)>,
    manifest: &Manifest,
    counted: &BTreeMap<String, Tally>,
) -> (Value, Option<String>) {
    let Some(endorsement) = found else {
        let fault =
            trust.map(|_| "nobody endorses it: it was made without --endorsed, or its endorsement is gone".into());
        return (Value::Null, fault);
    };
    let (extent, mut shown) = (&endorsement.extent, shown(endorsement));
    if extent.network != manifest.network {
        return (shown, Some("its endorsement is of another network".into()));
    }
    let endorsed = extent.collections.iter().map(|one| (one.name.as_str(), (one.retained, one.root)));
    let endorsed: BTreeMap<&str, (u64, Hash)> = endorsed.collect();
    let here: BTreeMap<&str, (u64, Hash)> =
        counted.iter().map(|(name, tally)| (name.as_str(), (tally.writes, tally.hash()))).collect();
    let names = endorsed.keys().chain(here.keys());
    if let Some(name) = names.into_iter().find(|name| endorsed.get(*name) != here.get(*name)) {
        return (shown, Some(format!("its chunks of {name} do not come to what was endorsed")));
    }
    let Some((chain, trusted)) = trust else { return (shown, None) };
    match verify_endorsement(endorsement, chain, trusted, &Agreement) {
        Ok(endorsers) => {
            let header = endorsers.header;
            let more = json!({"checked": true, "height": header.height, "block": header.id(),
                "block_time_ms": header.time_ms, "power": endorsers.power, "total": endorsers.total});
            if let (Some(members), Some(more)) = (shown.as_object_mut(), more.as_object()) {
                members.extend(more.clone());
            }
            (shown, None)
        }
        Err(why) => (shown, Some(format!("its endorsement does not hold: {why}"))),
    }
}

/// For people, below what is in the checkpoint.
pub fn told(endorsement: &Value) -> String {
    let until = time(&endorsement["until_ms"]);
    match (endorsement.is_null(), endorsement["checked"] == true) {
        (true, _) => String::new(),
        (false, true) => format!(
            "\nendorsed up to {until} by {} of {} power, as of block {}",
            endorsement["power"], endorsement["total"], endorsement["height"]
        ),
        (false, false) => format!(
            "\nendorsed up to {until} by {} keys; --genesis FILE checks that they are validators",
            endorsement["signatures"]
        ),
    }
}
