//! Brings a node up and takes it down: the one place that knows every shell.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::api::{self, ApiState, Vault};
use crate::config::{Config, Keep};
use crate::consensus::Timeouts;
use crate::consensus::journal::{Owner, begun};
use crate::driver::{self, Client, Driver, DriverError, Ended, Journal, Perturbed, Perturber, SystemClock};
use crate::feed::{Retention, Rule};
use crate::keys::{Identity, KeyError, KeyRing};
use crate::ledger::{self, Contradicted, Genesis, Trusted};
use crate::net::{self, Net, NetError};
use crate::node::{Ack, Call, ChainSetup, JoinSetup, Role, Setup};
use crate::store::{Store, StoreError, StoreOptions};
use crate::types::chain::Height;
use crate::types::{NodeId, WallMs};
use crate::wire::kind::system::{Endpoint, Layer, NodeRegistration, NodeStatus, NodeType, Protocol, StatusUpdate};
use crate::wire::{Category, Draft, Payload};

/// A clean stop takes at most this long.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Rates are measured and alerts looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Sealing keys are looked after this often.
const TEND_EVERY: Duration = Duration::from_secs(3600);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("the API cannot listen on {address}: {cause}; change api.listen, or stop what uses the port")]
    Api { address: String, cause: std::io::Error },
    #[error("the genesis file {path}: {cause}; `metanode ledger genesis check` says what is wrong with one")]
    Genesis { path: PathBuf, cause: String },
    #[error("this node's store contradicts its configuration: {0}")]
    Contradicted(#[from] Contradicted),
    #[error("no randomness from the system: {0}")]
    Entropy(String),
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// A node that runs.
pub struct Running {
    /// Who it is.
    pub id: NodeId,
    /// Where peers reach it.
    pub listening: Vec<String>,
    /// Where programs on this machine reach it.
    pub api: SocketAddr,
    client: Client,
    ended: oneshot::Receiver<Ended>,
    closing: watch::Sender<bool>,
    served: JoinHandle<std::io::Result<()>>,
}

/// Starts everything: store, network, node, API. What fails leaves nothing running.
pub async fn start(config: &Config, identity: &Identity) -> Result<Running, StartError> {
    let api = TcpListener::bind(&config.api.listen).await;
    let api = api.map_err(|cause| StartError::Api { address: config.api.listen.clone(), cause })?;
    let api_address =
        api.local_addr().map_err(|cause| StartError::Api { address: config.api.listen.clone(), cause })?;
    let store = open_store(config).await?;
    let (ports, inlet, commands, client, watched) = driver::ports();
    let (perturber, perturbed) = perturbable(config).unzip();
    let follows = role(config).follows;
    let (net, listening) = Net::listen(
        &config.net,
        config.network.clone(),
        &follows,
        &identity.seed(),
        inlet,
        commands,
        perturbed.clone(),
    )
    .await?;
    let mut setup = setup(config, identity, store.place(), &listening, api_address)?;
    let id = identity.node_id();
    let vault = vault(config, identity, store.clone())?;
    let journal = match &config.chain.genesis {
        Some(genesis) => {
            let (chain, journal) = chain(config, genesis, id, &store)?;
            setup.chain = Some(chain);
            journal
        }
        None => None,
    };
    let clock = SystemClock::perturbed(perturbed);
    let owner = Driver::start_by(clock.clone(), setup, journal, store.clone(), ports)?;
    tokio::spawn(net.run());
    let (closing, closed) = watch::channel(false);
    let state = ApiState::new(client.clone(), watched, store, config.network.clone());
    let state = state.holding(vault).alerting(&config.alerts).perturbed_by(clock, perturber);
    tokio::spawn(tend(state.clone(), closed.clone()));
    tokio::spawn(watch_over(state.clone(), closed.clone()));
    let served = tokio::spawn(api::serve(api, state, until(closed)));
    let (tell, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let end = owner.join().unwrap_or_else(|_| Err("the node's thread panicked; see the log".into()));
        let _ = tell.send(end);
    });
    Ok(Running { id, listening, api: api_address, client, ended, closing, served })
}

/// How a node that was started for it is put wrong on purpose; none for any other.
fn perturbable(config: &Config) -> Option<(Perturber, Perturbed)> {
    // QUIC's packets are out of reach; a connection over TCP is a stream that can be held up.
    let holds_up = config.net.listen.iter().all(|address| address.contains("/tcp/"));
    config.perturbable.then(|| driver::perturbation(holds_up))
}

/// The keys to open what is sealed for this node; made at the first start.
fn vault(config: &Config, identity: &Identity, store: Arc<Store>) -> Result<Vault, KeyError> {
    let file = config.dir.join("sealing.json");
    let now = SystemClock::start().wall();
    let ring = KeyRing::open(&file, identity, now).map_err(|error| error.at(&file))?;
    Vault::new(identity.node_id(), config.network.id(), store, ring).map_err(|error| error.at(file))
}

/// Announces this node's sealing key where that is news, and replaces it before it expires.
async fn tend(state: ApiState, closed: watch::Receiver<bool>) {
    let work = async {
        let mut turns = tokio::time::interval(TEND_EVERY);
        loop {
            turns.tick().await;
            if let Err(problem) = api::tend_keys(&state).await {
                tracing::warn!(%problem, "the sealing key could not be announced or replaced; it is tried again");
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = until(closed) => {}
    }
}

/// Measures rates, and tells of alerts.
async fn watch_over(state: ApiState, closed: watch::Receiver<bool>) {
    let work = async {
        let mut turns = tokio::time::interval(LOOK_EVERY);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if let Err(problem) = api::look(&state).await {
                tracing::debug!(%problem, "the node could not be looked at");
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = until(closed) => {}
    }
}

async fn until(mut closed: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the same news.
    let _ = closed.wait_for(|closed| *closed).await;
}

impl Running {
    /// Waits until the node ends by itself, which it does only when it cannot go on.
    pub async fn ended(&mut self) -> Ended {
        (&mut self.ended).await.unwrap_or_else(|_| Err("the node's thread is gone".into()))
    }

    /// Says goodbye, stops cleanly, and waits for it, within a bound.
    pub async fn stop(mut self) -> Ended {
        let goodbye = StatusUpdate {
            status: NodeStatus::Offline,
            previous: Some(NodeStatus::Active),
            load_percent: 0.0,
            reason: Some("stopped by its operator".into()),
            since_ms: SystemClock::start().wall(),
        };
        let stop = async {
            let drafts = vec![Draft::new(&Payload::StatusUpdate(goodbye))];
            // A node that cannot say goodbye any more can still be stopped.
            let _ = self.client.call(Call::Publish { drafts, ack: Ack::Written }).await;
            let _ = self.client.call(Call::Stop).await;
        };
        let stopped = tokio::time::timeout(STOP_WITHIN, stop).await;
        self.closing.send_replace(true);
        if stopped.is_err() {
            return Err(format!("the node did not stop within {STOP_WITHIN:?}"));
        }
        let end = tokio::time::timeout(STOP_WITHIN, self.ended()).await;
        let _ = tokio::time::timeout(STOP_WITHIN, &mut self.served).await;
        end.unwrap_or_else(|_| Err("the node's thread did not end".into()))
    }
}

async fn open_store(config: &Config) -> Result<Arc<Store>, StartError> {
    let options = StoreOptions {
        path: config.dir.join("store"),
        cache_bytes: config.store.cache_bytes,
        flush_every_ms: config.store.flush_every_ms,
    };
    let opened = tokio::task::spawn_blocking(move || Store::open(&options)).await;
    let store = opened.map_err(|e| StoreError::Open { path: config.dir.join("store"), cause: e.to_string() })??;
    Ok(Arc::new(store))
}

fn setup(
    config: &Config,
    identity: &Identity,
    place: u64,
    listening: &[String],
    api: SocketAddr,
) -> Result<Setup, StartError> {
    let mut entropy = [0; 8];
    getrandom::fill(&mut entropy).map_err(|e| StartError::Entropy(e.to_string()))?;
    let bootstrap: Result<Vec<_>, _> = config.net.bootstrap.iter().map(|a| net::split_bootstrap(a)).collect();
    Ok(Setup {
        network: config.network.clone(),
        key: identity.signing_key().clone(),
        entropy: u64::from_le_bytes(entropy),
        place,
        bootstrap: bootstrap?,
        target_peers: config.net.target_peers as usize,
        scheduler: config.flow.scheduler,
        packing: config.net.packing,
        lanes: Default::default(),
        strategy: config.flow.route_strategy,
        role: role(config),
        retention: retention(config),
        registration: Some(registration(config, identity.node_id(), listening, api)),
        floor_waits: crate::types::limits::FLOOR_MEMBERS,
        chain: None,
    })
}

/// The chain as the configuration has it, and agreement's log as the last life left it. Only who votes has a log.
fn chain(
    config: &Config,
    genesis: &Path,
    id: NodeId,
    store: &Store,
) -> Result<(ChainSetup, Option<Journal>), StartError> {
    let failed = |cause: String| StartError::Genesis { path: genesis.into(), cause };
    let text = std::fs::read_to_string(genesis).map_err(|e| failed(e.to_string()))?;
    let genesis = Genesis::from_text(&text).map_err(|e| failed(e.to_string()))?;
    while let Some(batch) = ledger::snapshot::next_batch(store).map_err(|e| failed(e.to_string()))? {
        store.commit(batch)?;
    }
    let head = ledger::chain::head(store).map_err(|e| failed(e.to_string()))?;
    let height = head.map_or(Height::GENESIS, |head| head.height).next();
    let owner = Owner { chain: genesis.chain(), node: id, height };
    let (journal, log) = match config.chain.validator {
        true => Journal::open(&config.dir.join("agreement"), owner).map(|(journal, log)| (Some(journal), log)),
        false => Ok((None, Vec::new())),
    }
    .map_err(DriverError::from)?;
    let lost = journal.is_some() && log.is_empty() && begun(store) == Some(height);
    let abstains = lost && !config.chain.vote_without_log;
    if abstains {
        tracing::warn!(
            %height,
            "agreement's log of this height is lost, so this validator does not know what it voted: it does not vote \
             until the others have decided the height. If all validators have lost theirs, nobody would ever vote: \
             then start them with chain.vote_without_log = true"
        );
    }
    let ms = Duration::from_millis;
    let propose = ms(config.chain.propose_ms);
    let timeouts =
        Timeouts { propose, vote: propose / 3, more: propose / 3, rebroadcast: propose, ..Timeouts::default() };
    let validates = config.chain.validator;
    let cadence = ms(config.chain.cadence_ms);
    let heartbeat = (config.chain.heartbeat_ms > 0).then(|| ms(config.chain.heartbeat_ms));
    let join = join(config, store)?;
    Ok((ChainSetup { genesis, validates, timeouts, cadence, heartbeat, log, abstains, join }, journal))
}

/// How the node comes to a chain that is far ahead. What is here already must be what the operator trusts.
fn join(config: &Config, store: &Store) -> Result<JoinSetup, StartError> {
    let trusted = config.chain.trusted.map(|trusted| Trusted { height: Height(trusted.height), id: trusted.hash });
    if let Some(trusted) = trusted
        && let Ok(Some(header)) = ledger::chain::header(trusted.height, store)
    {
        trusted.allows(trusted.height, header.id())?;
    }
    Ok(JoinSetup { behind: config.chain.snapshot_behind, trusted, ..JoinSetup::default() })
}

fn retention(config: &Config) -> Retention {
    let rule = |keep: &Keep| Rule { max_age: keep.max_age_s.map(Duration::from_secs), max_bytes: keep.max_bytes };
    let of = |category: Category| config.retention.of(category.slug()).map(rule).unwrap_or_default();
    Category::ALL.into_iter().map(|category| (category, of(category))).collect()
}

fn node_type(config: &Config) -> NodeType {
    // A configuration that was loaded has passed its checks.
    config.node_type.parse().unwrap_or(NodeType::Gateway)
}

/// What the node does: what its type does, and what else its operator says.
fn role(config: &Config) -> Role {
    let mut role = Role::of(node_type(config));
    role.services.extend(config.services.iter().cloned());
    role.services.sort_unstable();
    role.services.dedup();
    role
}

/// What the node says of itself to the others.
fn registration(config: &Config, id: NodeId, listening: &[String], api: SocketAddr) -> Draft {
    let node_type = node_type(config);
    let reachable = if config.net.external.is_empty() { listening } else { &config.net.external };
    let p2p = reachable.iter().map(|address| Endpoint { protocol: Protocol::P2p, address: address.clone() });
    let http =
        (!api.ip().is_loopback()).then(|| Endpoint { protocol: Protocol::Http, address: format!("http://{api}") });
    let names: &[&str] = if config.name.is_empty() { &[] } else { &[config.name.as_str()] };
    let mut draft = Draft::new(&Payload::NodeRegistration(NodeRegistration {
        id,
        node_type,
        layer: layer(node_type),
        endpoints: p2p.chain(http).collect(),
        capabilities: role(config).services,
        status: NodeStatus::Active,
        version: env!("CARGO_PKG_VERSION").into(),
        last_seen_ms: None::<WallMs>,
        trust_score: None,
    }));
    draft.tags = names.iter().map(|name| format!("name:{name}")).collect();
    draft
}

/// The layer a node of a type belongs to.
fn layer(node_type: NodeType) -> Layer {
    match node_type {
        NodeType::Gateway | NodeType::BankApiRegistry | NodeType::GovernmentApiRegistry => Layer::HttpCage,
        NodeType::ShadowRegistry | NodeType::Proof => Layer::ZkLockMobilePort,
        NodeType::Storage => Layer::DockLockPlatform,
        NodeType::Oracle | NodeType::Notary => Layer::EncCluster,
        NodeType::Mempool | NodeType::Consensus | NodeType::Mining | NodeType::Validator | NodeType::Audit => {
            Layer::BpiCore
        }
        NodeType::BpciServer | NodeType::EnterpriseGateway | NodeType::ComplianceNode => Layer::BpciEnterprise,
    }
}
