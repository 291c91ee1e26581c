//! `metanode state checkpoint`, `verify-checkpoint` and `join`: replicated state in files.
//!
//! A checkpoint is a directory: `manifest`, one file for each chunk, named by the BLAKE3 hash of its bytes, and maybe
//! `endorsement`. One chunk is in memory at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;
use reqwest::{Method, header};
use serde_json::{Value, json};

use super::copier::{Copier, Copy, previous};
use super::endorse::{self, TrustArgs};
use super::files::{ENDORSEMENT, MANIFEST, read_chunk, read_endorsement, read_manifest};
use crate::api::checkpoints::MEDIA;
use crate::cli::client::{Client, ClientError, pairs, plain, print, print_json, table, time};
use crate::cli::ledger::config;
use crate::keys::{Identity, PassphraseSource, Protection, Purpose, write_new};
use crate::node::Tally;
use crate::types::{NetworkName, WallMs, limits};
use crate::wire::ledger::end;
use crate::wire::{Chunk, ChunkName, CollectionChunks, Manifest, SignedManifest};

/// What to copy, and who says that it is all.
#[derive(Args, Debug)]
pub struct CheckpointArgs {
    /// The directory to write; chunks that are there already are kept, a manifest is never overwritten
    out: PathBuf,
    /// This collection only; all of them without it. Can be given several times
    #[arg(long, value_name = "NAME")]
    collection: Vec<String>,
    /// Have the validators of the node's chain endorse it: that up to a few seconds ago nothing is missing
    #[arg(long)]
    endorsed: bool,
    /// The directory of the node whose key signs the manifest; the usual one without it
    #[arg(long, value_name = "DIR", env = "METANODE_DIR")]
    dir: Option<PathBuf>,
    /// A file, mode 0600, with the key's passphrase on its first line
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// What to check.
#[derive(Args, Debug)]
pub struct VerifyCheckpointArgs {
    /// The checkpoint's directory
    checkpoint: PathBuf,
    /// It must be of this network
    #[arg(long, value_name = "NAME")]
    network: Option<NetworkName>,
    /// It must be signed by this node's key
    #[arg(long, value_name = "NODE")]
    signer: Option<crate::types::NodeId>,
    #[command(flatten)]
    trust: TrustArgs,
}

/// What to join.
#[derive(Args, Debug)]
pub struct JoinArgs {
    /// The checkpoint's directory
    checkpoint: PathBuf,
    /// This collection only; all of them without it. Can be given several times
    #[arg(long, value_name = "NAME")]
    collection: Vec<String>,
    #[command(flatten)]
    trust: TrustArgs,
}

impl CheckpointArgs {
    /// Fetches, checks and writes chunk by chunk, then signs what was written.
    pub async fn run(&self, client: &Client, as_json: bool) -> anyhow::Result<()> {
        let place = self.out.join(MANIFEST);
        if place.exists() {
            bail!("{} is a checkpoint already; name another directory", self.out.display());
        }
        let identity = self.identity()?;
        if self.endorsed {
            endorse::chain_is_there(client).await?;
        }
        let copier = Copier { client, out: &self.out, network: network(client).await? };
        let (now, names) = (now()?, self.names(client).await?);
        let until = self.endorsed.then(|| now.minus(limits::RANGE_AGE));
        let before = until.map(end);
        let mut copies = Vec::new();
        for name in names {
            let pieces = copier.range(&name, None, before).await?;
            copies.push(Copy { name, pieces });
        }
        let endorsement = match until {
            Some(until) => Some(endorse::endorsed(&copier, &mut copies, until).await?),
            None => None,
        };
        // What took the place of something above is stamped later, and comes now.
        for copy in copies.iter_mut().filter(|_| before.is_some()) {
            copy.pieces.extend(copier.range(&copy.name, before.map(previous), None).await?);
        }
        let unproved: u64 = copies.iter().map(Copy::unproved).sum();
        let collections = copies.iter().map(Copy::listed).collect();
        let manifest = Manifest { network: copier.network.id(), made: now, collections };
        let signed = SignedManifest::sign(manifest, identity.signing_key());
        self.write(&signed, endorsement.as_ref().and_then(|outcome| outcome.as_ref().ok()))?;
        let shown = read_endorsement(&self.out)?.as_ref().map(endorse::shown);
        told(&signed, &json!({ "unproved": unproved, "endorsement": shown }), as_json)?;
        if unproved > 0 {
            bail!("{unproved} writes cannot be proved by this node and are not in the checkpoint");
        }
        match endorsement {
            Some(Err(why)) => bail!("the checkpoint is there, and is not endorsed: {why}"),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    async fn names(&self, client: &Client) -> anyhow::Result<BTreeSet<String>> {
        let listed = client.get(&["state"]).await?;
        let names = listed["collections"].as_array().into_iter().flatten();
        let mut names: BTreeSet<String> = names.map(|one| plain(&one["name"])).collect();
        if let Some(strange) = self.collection.iter().find(|name| !names.contains(*name)) {
            bail!("nothing is in the collection `{strange}`; `metanode state ls` lists what there is");
        }
        names.retain(|name| self.collection.is_empty() || self.collection.contains(name));
        Ok(names)
    }

    /// The manifest comes last: without one there is no checkpoint.
    fn write(&self, signed: &SignedManifest, endorsement: Option<&Vec<u8>>) -> anyhow::Result<()> {
        let bytes = signed.encode();
        if bytes.len() > limits::ROW_BYTES {
            bail!("there are more chunks than one manifest names; copy the collections one by one with --collection");
        }
        let new = |name: &str, bytes: &[u8]| {
            let place = self.out.join(name);
            write_new(&place, bytes, 0o644).with_context(|| format!("cannot write {}", place.display()))
        };
        endorsement.map_or(Ok(()), |endorsement| new(ENDORSEMENT, endorsement))?;
        new(MANIFEST, &bytes)
    }

    fn identity(&self) -> anyhow::Result<Identity> {
        let config = config(self.dir.as_ref())?;
        let secret = self.passphrase_file.clone().or(config.key.passphrase_file.clone());
        let ask = || PassphraseSource::from_process(secret).passphrase(Purpose::Open, "the key that signs");
        Ok(Identity::load(&config.key_file(), Protection::from_flag(config.key.allow_plain), ask)?)
    }
}

impl VerifyCheckpointArgs {
    /// Checks everything that can be checked without a node.
    pub fn run(&self, as_json: bool) -> anyhow::Result<()> {
        let signed = read_manifest(&self.checkpoint)?;
        if let Some(network) = self.network.as_ref().filter(|network| network.id() != signed.manifest.network) {
            bail!("the checkpoint is not of the network `{network}`");
        }
        if let Some(signer) = self.signer.filter(|signer| *signer != signed.signer) {
            bail!("the checkpoint is signed by {}, not by {signer}", signed.signer);
        }
        let Report { faults, endorsement } = Report::of(&self.checkpoint, &signed, &self.trust)?;
        let sound = faults.is_empty();
        told(&signed, &json!({ "sound": sound, "faults": faults, "endorsement": endorsement }), as_json)?;
        refuse(&faults)
    }
}

/// What is found in the files of a checkpoint.
struct Report {
    faults: Vec<Value>,
    endorsement: Value,
}

impl Report {
    /// Reads, proves and counts every chunk; the endorsement must hold if one is wanted.
    fn of(dir: &Path, signed: &SignedManifest, trust: &TrustArgs) -> anyhow::Result<Report> {
        let trust = trust.trust()?;
        let found = read_endorsement(dir)?;
        let end = found.as_ref().map(|found| found.extent.end()).unwrap_or_default();
        let (mut faults, mut counted) = (Vec::new(), BTreeMap::new());
        for part in &signed.manifest.collections {
            let (mut tally, mut endorsed) = (Tally::default(), Tally::default());
            for chunk in &part.chunks {
                if let Err(why) = count(dir, &signed.manifest, &part.name, chunk, &mut tally) {
                    faults.push(json!({"collection": part.name, "chunk": chunk.hash, "fault": format!("{why:#}")}));
                }
                if tally.last.is_some_and(|last| last < end) {
                    endorsed = tally;
                }
            }
            if (tally.writes, tally.hash(), tally.clock()) != (part.writes, part.root, part.clock) && faults.is_empty()
            {
                let fault = "its chunks do not come to what the manifest says";
                faults.push(json!({"collection": part.name, "fault": fault}));
            }
            counted.insert(part.name.clone(), endorsed);
        }
        let (endorsement, fault) = endorse::checked(found.as_ref(), trust, &signed.manifest, &counted);
        faults.extend(fault.map(|fault| json!({ "fault": fault })));
        Ok(Report { faults, endorsement })
    }
}

/// Fails with the first fault, if there is one.
fn refuse(faults: &[Value]) -> anyhow::Result<()> {
    let first = faults.first().map(|fault| plain(&fault["fault"]));
    first.map_or(Ok(()), |first| bail!("the checkpoint is not sound: {first}"))
}

impl JoinArgs {
    /// Gives the node chunk by chunk; one that is refused does not keep the others from being joined.
    pub async fn run(&self, client: &Client, as_json: bool) -> anyhow::Result<()> {
        let signed = read_manifest(&self.checkpoint)?;
        let network = network(client).await?;
        if network.id() != signed.manifest.network {
            bail!("the checkpoint is of another network than this node's, `{network}`");
        }
        let mut endorsement = Value::Null;
        if self.trust.trust()?.is_some() {
            // Nothing is joined of what the validators do not stand for.
            let report = Report::of(&self.checkpoint, &signed, &self.trust)?;
            refuse(&report.faults)?;
            endorsement = report.endorsement;
        }
        let chosen = |part: &&CollectionChunks| self.collection.is_empty() || self.collection.contains(&part.name);
        let (mut sums, mut refused, mut chunks) = ([0u64; 5], Vec::new(), 0);
        const NAMES: [&str; 5] = ["new", "waiting", "ahead", "forked", "no_room"];
        for part in signed.manifest.collections.iter().filter(chosen) {
            for chunk in &part.chunks {
                match self.join(client, chunk).await {
                    Ok(joined) => {
                        chunks += 1;
                        let found = NAMES.map(|name| joined[name].as_u64().unwrap_or(0));
                        sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
                    }
                    Err(error) if is_refusal(&error) => {
                        let fault = format!("{error:#}");
                        refused.push(json!({"collection": part.name, "chunk": chunk.hash, "fault": fault}));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let mut answer =
            json!({ "chunks": chunks, "refused": refused, "signer": signed.signer, "endorsement": endorsement });
        NAMES.iter().zip(sums).for_each(|(name, sum)| answer[name] = json!(sum));
        if as_json {
            print_json(&answer)?;
        } else {
            let mut lines = vec![("chunks", chunks.to_string())];
            lines.extend(NAMES.iter().zip(sums).map(|(name, sum)| (*name, sum.to_string())));
            lines.push(("signed by", signed.signer.to_string()));
            print(&format!("{}{}", pairs(&lines), endorse::told(&endorsement)))?;
            for one in &refused {
                eprintln!(
                    "metanode: {} of {}: {}",
                    plain(&one["chunk"]),
                    plain(&one["collection"]),
                    plain(&one["fault"])
                );
            }
        }
        if refused.is_empty() { Ok(()) } else { bail!("{} chunks were not joined; the others were", refused.len()) }
    }

    async fn join(&self, client: &Client, chunk: &ChunkName) -> anyhow::Result<Value> {
        let bytes = read_chunk(&self.checkpoint, chunk.hash, chunk.bytes)?;
        let request = client.request(Method::POST, &["state", "join"], &[]);
        client.json(request.header(header::CONTENT_TYPE, MEDIA).body(bytes)).await
    }
}

/// A chunk that is not what it should be: the others may be.
fn is_refusal(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused { status, .. }) => *status == 422,
        Some(ClientError::Unreachable { .. } | ClientError::Usage(_)) => false,
        None => true,
    }
}

/// Proves one chunk of a collection and counts it.
fn count(dir: &Path, of: &Manifest, name: &str, chunk: &ChunkName, tally: &mut Tally) -> anyhow::Result<()> {
    let bytes = read_chunk(dir, chunk.hash, chunk.bytes)?;
    let proved = Chunk::decode(&bytes).and_then(|chunk| chunk.prove(of.network))?;
    let writes = tally.add(name, &proved).map_err(anyhow::Error::msg)?;
    if writes != chunk.writes {
        bail!("it has {writes} writes, and {} by the manifest", chunk.writes);
    }
    Ok(())
}

async fn network(client: &Client) -> anyhow::Result<NetworkName> {
    let status = client.get(&["status"]).await?;
    plain(&status["network"]).parse().context("the node does not say which network it is in")
}

fn now() -> anyhow::Result<WallMs> {
    Ok(WallMs(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64))
}

fn told(signed: &SignedManifest, more: &Value, as_json: bool) -> anyhow::Result<()> {
    let Manifest { network, made, collections } = &signed.manifest;
    let part = |part: &CollectionChunks| {
        let bytes: u64 = part.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
        json!({"name": part.name, "writes": part.writes, "root": part.root, "last_ms": part.clock.ms(),
            "chunks": part.chunks.len(), "bytes": bytes})
    };
    let parts: Vec<Value> = collections.iter().map(part).collect();
    if as_json {
        let mut answer =
            json!({"signer": signed.signer, "network": network.0, "made_ms": made.0, "collections": parts});
        if let (Some(members), Some(more)) = (answer.as_object_mut(), more.as_object()) {
            members.extend(more.clone());
        }
        return print_json(&answer).map(drop);
    }
    let row = |one: &Value| {
        let words = ["name", "writes", "chunks", "bytes", "root"].map(|name| plain(&one[name]));
        [words.to_vec(), vec![time(&one["last_ms"])]].concat()
    };
    let rows: Vec<Vec<String>> = parts.iter().map(row).collect();
    let table = table(&["NAME", "WRITES", "CHUNKS", "BYTES", "ROOT", "LAST"], &rows);
    let endorsement = endorse::told(&more["endorsement"]);
    print(&format!("{table}\n\nsigned by {} at {}{endorsement}", signed.signer, time(&json!(made.0)))).map(drop)
}
