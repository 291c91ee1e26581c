//! Two nodes on loopback in this process, each the real thing: store, signatures, gossip over TCP.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use ed25519_dalek::SigningKey;

use crate::config::NetConfig;
use crate::driver::{self, Client, Driver, Ended, Watch};
use crate::net::{Net, split_bootstrap};
use crate::node::{Ack, Answer, Call, Setup, Status};
use crate::store::{Store, StoreOptions};
use crate::types::{MessageId, NetworkName, NodeId};
use crate::wire::{Category, Draft, Packing};

/// The nodes meet within this.
const MEET_WITHIN: Duration = Duration::from_secs(20);

/// One node.
pub struct BenchNode {
    pub id: NodeId,
    address: String,
    pub client: Client,
    pub watch: Watch,
    pub store: Arc<Store>,
    thread: std::thread::JoinHandle<Ended>,
}

/// Starts two nodes that are connected.
pub async fn pair(folder: &Path) -> anyhow::Result<(BenchNode, BenchNode)> {
    pair_packing(folder, Packing::default()).await
}

/// The same, with what they say packed no further than that.
pub async fn pair_packing(folder: &Path, packing: Packing) -> anyhow::Result<(BenchNode, BenchNode)> {
    let one = BenchNode::start(folder, 1, None, packing).await?;
    let two = BenchNode::start(folder, 2, Some(&one.address), packing).await?;
    meet(&one, 1).await?;
    Ok((one, two))
}

/// Starts so many nodes, each connected with all others.
pub async fn many(folder: &Path, count: u8) -> anyhow::Result<Vec<BenchNode>> {
    let mut nodes: Vec<BenchNode> = Vec::new();
    for seed in 1..=count {
        let bootstrap = nodes.first().map(|first| first.address.clone());
        nodes.push(BenchNode::start(folder, seed, bootstrap.as_deref(), Packing::default()).await?);
    }
    for node in &nodes {
        meet(node, u64::from(count) - 1).await?;
    }
    Ok(nodes)
}

impl BenchNode {
    async fn start(folder: &Path, seed: u8, bootstrap: Option<&str>, packing: Packing) -> anyhow::Result<BenchNode> {
        let options =
            StoreOptions { path: folder.join(format!("node-{seed}")), cache_bytes: 64 << 20, flush_every_ms: 200 };
        let store = Arc::new(Store::open(&options)?);
        let (ports, inlet, commands, client, watch) = driver::ports();
        let network: NetworkName = "bench".parse()?;
        let config = NetConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], packing, ..NetConfig::default() };
        let (net, listening) =
            Net::listen(&config, network.clone(), &Category::ALL.into(), &[seed; 32], inlet, commands, None).await?;
        let setup = Setup {
            network,
            key: SigningKey::from_bytes(&[seed; 32]),
            entropy: u64::from(seed),
            place: store.place(),
            bootstrap: bootstrap.map(split_bootstrap).transpose()?.into_iter().collect(),
            target_peers: 32,
            scheduler: Default::default(),
            packing,
            lanes: Default::default(),
            strategy: Default::default(),
            role: Default::default(),
            retention: Default::default(),
            floor_waits: crate::types::limits::FLOOR_MEMBERS,
            registration: None,
            chain: None,
        };
        let id = NodeId(setup.key.verifying_key().to_bytes());
        let thread = Driver::start(setup, None, store.clone(), ports)?;
        tokio::spawn(net.run());
        let address = listening.into_iter().next().context("the node listens nowhere")?;
        Ok(BenchNode { id, address, client, watch, store, thread })
    }

    /// Its state.
    pub async fn status(&self) -> anyhow::Result<Status> {
        match self.client.call(Call::Status).await? {
            Answer::Status(status) => Ok(*status),
            other => Err(anyhow!("the node answered {other:?}")),
        }
    }

    /// Says something; the messages' ids.
    pub async fn say(&self, drafts: Vec<Draft>, ack: Ack) -> anyhow::Result<Vec<MessageId>> {
        match self.client.call(Call::Publish { drafts, ack }).await? {
            Answer::Published { ids } => Ok(ids),
            other => Err(anyhow!("the node answered {other:?}")),
        }
    }

    /// Ends it.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.client.call(Call::Stop).await?;
        let end = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        end.map_err(|_| anyhow!("a node panicked"))?.map_err(|fault| anyhow!(fault))
    }
}

async fn meet(node: &BenchNode, others: u64) -> anyhow::Result<()> {
    let meeting = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            if node.status().await?.peers >= others {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(MEET_WITHIN, meeting).await.context("the nodes did not meet")?
}

/// Processor time this process has used, seconds.
pub fn cpu_seconds() -> f64 {
    cpu_seconds_of("self")
}

/// The same of another process, by its number.
pub fn cpu_seconds_of(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Fields 14 and 15 after the name in parentheses, in ticks of a hundredth (proc(5)).
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}
