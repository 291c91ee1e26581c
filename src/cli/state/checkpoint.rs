//! `metanode state checkpoint`, `verify-checkpoint` and `join`: replicated state in files.
//!
//! A checkpoint is a directory: `manifest`, and one file for each chunk, named by the BLAKE3 hash of its bytes. One chunk
//! is in memory at a time.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use axum::http::HeaderMap;
use clap::Args;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::api::checkpoints::{LAST, MEDIA, UNPROVED};
use crate::cli::client::{Client, ClientError, pairs, plain, print, print_json, table, time};
use crate::cli::ledger::config;
use crate::keys::{Identity, KeyError, PassphraseSource, Protection, Purpose, write_new};
use crate::node::Tally;
use crate::types::{Hash, NetworkName, Version, WallMs, limits};
use crate::wire::{Chunk, ChunkName, CollectionChunks, Manifest, SignedManifest};

/// The manifest's file.
const MANIFEST: &str = "manifest";

/// What to copy, and who says that it is all.
#[derive(Args, Debug)]
pub struct CheckpointArgs {
    /// The directory to write; chunks that are there already are kept, a manifest is never overwritten
    out: PathBuf,
    /// This collection only; all of them without it. Can be given several times
    #[arg(long, value_name = "NAME")]
    collection: Vec<String>,
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
}

/// What to join.
#[derive(Args, Debug)]
pub struct JoinArgs {
    /// The checkpoint's directory
    checkpoint: PathBuf,
    /// This collection only; all of them without it. Can be given several times
    #[arg(long, value_name = "NAME")]
    collection: Vec<String>,
}

impl CheckpointArgs {
    /// Fetches, checks and writes chunk by chunk, then signs what was written.
    pub async fn run(&self, client: &Client, as_json: bool) -> anyhow::Result<()> {
        let place = self.out.join(MANIFEST);
        if place.exists() {
            bail!("{} is a checkpoint already; name another directory", self.out.display());
        }
        let identity = self.identity()?;
        let network = network(client).await?;
        let listed = client.get(&["state"]).await?;
        let names = listed["collections"].as_array().into_iter().flatten();
        let mut names: BTreeSet<String> = names.map(|one| plain(&one["name"])).collect();
        if let Some(strange) = self.collection.iter().find(|name| !names.contains(*name)) {
            bail!("nothing is in the collection `{strange}`; `metanode state ls` lists what there is");
        }
        names.retain(|name| self.collection.is_empty() || self.collection.contains(name));
        let (mut collections, mut unproved) = (Vec::new(), 0);
        for name in names {
            let (copied, left) = self.copy(client, &name, &network).await?;
            collections.push(copied);
            unproved += left;
        }
        let made = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        let manifest = Manifest { network: network.id(), made: WallMs(made), collections };
        let signed = SignedManifest::sign(manifest, identity.signing_key());
        let bytes = signed.encode();
        if bytes.len() > limits::ROW_BYTES {
            bail!("there are more chunks than one manifest names; copy the collections one by one with --collection");
        }
        write_new(&place, &bytes, 0o644).with_context(|| format!("cannot write {}", place.display()))?;
        told(&signed, &json!({ "unproved": unproved }), as_json)?;
        if unproved > 0 {
            bail!("{unproved} writes cannot be proved by this node and are not in the checkpoint");
        }
        Ok(())
    }

    fn identity(&self) -> anyhow::Result<Identity> {
        let config = config(self.dir.as_ref())?;
        let secret = self.passphrase_file.clone().or(config.key.passphrase_file.clone());
        let ask = || PassphraseSource::from_process(secret).passphrase(Purpose::Open, "the key that signs");
        Ok(Identity::load(&config.key_file(), Protection::from_flag(config.key.allow_plain), ask)?)
    }

    /// Copies one collection. What cannot be proved is counted.
    async fn copy(
        &self,
        client: &Client,
        name: &str,
        network: &NetworkName,
    ) -> anyhow::Result<(CollectionChunks, u64)> {
        let (mut tally, mut chunks, mut unproved, mut after) = (Tally::default(), Vec::new(), 0, None::<Version>);
        loop {
            let query: Vec<_> = after.iter().map(|after| ("after", after.to_string())).collect();
            let response = client.send(client.request(Method::GET, &["state", name, "chunk"], &query)).await?;
            if response.status() == StatusCode::NO_CONTENT {
                break;
            }
            let strange = || format!("the node's answer about {name} is not a chunk");
            let last = header_of::<Version>(response.headers(), LAST.as_str()).with_context(strange)?;
            if after.is_some_and(|after| last <= after) {
                bail!("{}: it does not get further", strange());
            }
            unproved += header_of::<u64>(response.headers(), UNPROVED.as_str()).with_context(strange)?;
            after = Some(last);
            let bytes = response.bytes().await.with_context(strange)?;
            let proved = Chunk::decode(&bytes).and_then(|chunk| chunk.prove(network.id())).with_context(strange)?;
            let writes = tally.add(name, &proved).map_err(anyhow::Error::msg).with_context(strange)?;
            if writes > 0 {
                let hash = Hash(*blake3::hash(&bytes).as_bytes());
                self.keep(hash, &bytes)?;
                chunks.push(ChunkName { hash, bytes: bytes.len() as u32, writes });
            }
        }
        let copied = CollectionChunks {
            name: name.into(),
            writes: tally.writes,
            root: tally.hash(),
            clock: tally.clock(),
            chunks,
        };
        Ok((copied, unproved))
    }

    fn keep(&self, hash: Hash, bytes: &[u8]) -> anyhow::Result<()> {
        let place = self.out.join(hash.to_string());
        match write_new(&place, bytes, 0o644) {
            // What has the name and other bytes is found when the checkpoint is verified or joined.
            Err(KeyError::Exists) => read_chunk(&self.out, hash, bytes.len() as u32).map(drop),
            other => other.with_context(|| format!("cannot write {}", place.display())),
        }
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
        let mut faults = Vec::new();
        for part in &signed.manifest.collections {
            let mut tally = Tally::default();
            for chunk in &part.chunks {
                if let Err(why) = count(&self.checkpoint, &signed.manifest, &part.name, chunk, &mut tally) {
                    faults.push(json!({"collection": part.name, "chunk": chunk.hash, "fault": format!("{why:#}")}));
                }
            }
            let counted = (tally.writes, tally.hash(), tally.clock());
            if counted != (part.writes, part.root, part.clock) && faults.is_empty() {
                let fault = "its chunks do not come to what the manifest says";
                faults.push(json!({"collection": part.name, "fault": fault}));
            }
        }
        told(&signed, &json!({ "sound": faults.is_empty(), "faults": faults }), as_json)?;
        let first = faults.first().map(|fault| plain(&fault["fault"]));
        first.map_or(Ok(()), |first| bail!("the checkpoint is not sound: {first}"))
    }
}

impl JoinArgs {
    /// Gives the node chunk by chunk; one that is refused does not keep the others from being joined.
    pub async fn run(&self, client: &Client, as_json: bool) -> anyhow::Result<()> {
        let signed = read_manifest(&self.checkpoint)?;
        let network = network(client).await?;
        if network.id() != signed.manifest.network {
            bail!("the checkpoint is of another network than this node's, `{network}`");
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
        let mut answer = json!({ "chunks": chunks, "refused": refused });
        NAMES.iter().zip(sums).for_each(|(name, sum)| answer[name] = json!(sum));
        if as_json {
            print_json(&answer)?;
        } else {
            let mut lines = vec![("chunks", chunks.to_string())];
            lines.extend(NAMES.iter().zip(sums).map(|(name, sum)| (*name, sum.to_string())));
            print(&pairs(&lines))?;
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

fn header_of<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn read_manifest(dir: &Path) -> anyhow::Result<SignedManifest> {
    let place = dir.join(MANIFEST);
    let bytes = read(&place, limits::ROW_BYTES).with_context(|| format!("cannot read {}", place.display()))?;
    SignedManifest::decode(&bytes).with_context(|| format!("{} is no manifest of a checkpoint", place.display()))
}

/// A chunk's bytes, if they are those that the manifest names.
fn read_chunk(dir: &Path, hash: Hash, bytes: u32) -> anyhow::Result<Vec<u8>> {
    let place = dir.join(hash.to_string());
    let found = read(&place, bytes as usize).with_context(|| format!("cannot read {}", place.display()))?;
    if found.len() != bytes as usize || blake3::hash(&found).as_bytes() != hash.as_bytes() {
        bail!("{} is damaged: it is not the chunk that the manifest names", place.display());
    }
    Ok(found)
}

/// A file, up to one byte more than it should have.
fn read(place: &Path, most: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(place)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
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
    print(&format!("{table}\n\nsigned by {} at {}", signed.signer, time(&json!(made.0)))).map(drop)
}
