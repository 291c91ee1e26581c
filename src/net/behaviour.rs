//! What the swarm is made of.

use std::collections::BTreeSet;
use std::time::Duration;

use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::kad::{self, store::MemoryStore};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, gossipsub, identify, mdns, ping, request_response};

use super::error::NetError;
use super::frames::Frames;
use super::per_address::PerAddress;
use super::settings;
use crate::config::NetConfig;
use crate::node::Channel;
use crate::types::{NetworkName, limits};
use crate::wire::{Category, Packing, topic_name};

/// Connections are measured this often.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Streams of one protocol at once on one connection.
const STREAMS: usize = 32;

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub blocked: allow_block_list::Behaviour<BlockedPeers>,
    /// Those the node is cut off from on purpose.
    pub cut: allow_block_list::Behaviour<BlockedPeers>,
    limits: connection_limits::Behaviour,
    per_address: PerAddress,
    pub gossip: gossipsub::Behaviour,
    pub kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub sync: request_response::Behaviour<Frames>,
    pub direct: request_response::Behaviour<Frames>,
    pub state: request_response::Behaviour<Frames>,
    pub urgent: request_response::Behaviour<Frames>,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

/// What nodes of a network call themselves to each other; another name is another network.
pub fn protocol_version(network: &NetworkName) -> String {
    format!("/metanode/{network}/{}", crate::wire::WIRE_VERSION)
}

/// The gossip topic of a category.
pub fn topic(network: &NetworkName, category: Category) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(topic_name(network, category))
}

/// The gossip topic of a channel of the chain.
pub fn channel_topic(network: &NetworkName, channel: Channel) -> gossipsub::IdentTopic {
    let name = match channel {
        Channel::Agreement => "agreement",
        Channel::Transactions => "transactions",
    };
    gossipsub::IdentTopic::new(format!("/metanode/{network}/chain/{name}/{}", crate::wire::WIRE_VERSION))
}

/// Both channels of the chain.
pub const CHANNELS: [Channel; 2] = [Channel::Agreement, Channel::Transactions];

/// What a node calls its program, and how far it asks for messages to be packed.
fn agent(packing: Packing) -> String {
    format!("metanode/{} packing={}", env!("CARGO_PKG_VERSION"), packing.name())
}

/// What a peer's program asks for. One that says nothing is older than the question, and packs with LZ4 itself.
pub fn packing_of(agent: &str) -> Packing {
    let words = agent.split(' ').find_map(|word| word.strip_prefix("packing="));
    words.and_then(Packing::from_name).unwrap_or(Packing::Lz4)
}

fn protocol(name: String) -> Result<StreamProtocol, NetError> {
    StreamProtocol::try_from_owned(name).map_err(|e| NetError::Settings(e.to_string()))
}

impl Behaviour {
    pub fn new(
        key: &Keypair,
        network: &NetworkName,
        follows: &BTreeSet<Category>,
        config: &NetConfig,
    ) -> Result<Behaviour, NetError> {
        let peer = key.public().to_peer_id();
        Ok(Behaviour {
            blocked: allow_block_list::Behaviour::default(),
            cut: allow_block_list::Behaviour::default(),
            limits: connection_limits::Behaviour::new(connection_limits(config)),
            per_address: PerAddress::new(config.limits.per_address),
            gossip: gossip(network, follows, config)?,
            kad: kademlia(peer, network, config)?,
            identify: identify::Behaviour::new(
                identify::Config::new(protocol_version(network), key.public())
                    .with_agent_version(agent(config.packing))
                    .with_push_listen_addr_updates(true),
            ),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_EVERY)),
            sync: exchange(Frames::SYNC, format!("/metanode/{network}/sync/2"))?,
            direct: exchange(Frames::DIRECT, format!("/metanode/{network}/direct/1"))?,
            state: exchange(Frames::STATE, format!("/metanode/{network}/state/1"))?,
            urgent: exchange(Frames::URGENT, format!("/metanode/{network}/urgent/1"))?,
            mdns: multicast(peer, config)?,
        })
    }
}

fn exchange(frames: Frames, name: String) -> Result<request_response::Behaviour<Frames>, NetError> {
    let config = request_response::Config::default()
        .with_request_timeout(limits::REQUEST_TIMEOUT)
        .with_max_concurrent_streams(STREAMS);
    let full = (protocol(name)?, request_response::ProtocolSupport::Full);
    Ok(request_response::Behaviour::with_codec(frames, [full], config))
}

fn connection_limits(config: &NetConfig) -> ConnectionLimits {
    let most = &config.limits;
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(most.incoming))
        .with_max_pending_outgoing(Some(most.outgoing))
        .with_max_established_incoming(Some(most.incoming))
        .with_max_established_outgoing(Some(most.outgoing))
        .with_max_established_per_peer(Some(most.per_peer))
        .with_max_established(Some(most.total))
}

fn gossip(
    network: &NetworkName,
    follows: &BTreeSet<Category>,
    config: &NetConfig,
) -> Result<gossipsub::Behaviour, NetError> {
    let settings = settings::gossip(config.profile)?;
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, settings)
        .map_err(|e| NetError::Settings(e.into()))?;
    let (score, thresholds) = settings::gossip_score();
    gossip.with_peer_score(score, thresholds).map_err(NetError::Settings)?;
    let followed = Category::ALL.into_iter().filter(|category| follows.contains(category));
    let channels = CHANNELS.map(|channel| channel_topic(network, channel));
    for topic in followed.map(|category| topic(network, category)).chain(channels) {
        gossip.subscribe(&topic).map_err(|e| NetError::Settings(e.to_string()))?;
        gossip.set_topic_params(topic, settings::topic_score()).map_err(|e| NetError::Settings(e.to_string()))?;
    }
    Ok(gossip)
}

fn kademlia(
    peer: libp2p::PeerId,
    network: &NetworkName,
    config: &NetConfig,
) -> Result<kad::Behaviour<MemoryStore>, NetError> {
    let mut settings = kad::Config::new(protocol(format!("/metanode/{network}/kad/1"))?);
    settings.set_query_timeout(Duration::from_secs(20)).set_periodic_bootstrap_interval(Some(Duration::from_secs(30)));
    // Peers are found by it; nothing is stored in it.
    settings.set_record_filtering(kad::StoreInserts::FilterBoth);
    let mut kad = kad::Behaviour::with_config(peer, MemoryStore::new(peer), settings);
    let mode = if config.kademlia_server { kad::Mode::Server } else { kad::Mode::Client };
    kad.set_mode(Some(mode));
    Ok(kad)
}

fn multicast(peer: libp2p::PeerId, config: &NetConfig) -> Result<Toggle<mdns::tokio::Behaviour>, NetError> {
    if !config.mdns {
        return Ok(None.into());
    }
    let mdns = mdns::tokio::Behaviour::new(mdns::Config::default(), peer);
    mdns.map(|mdns| Some(mdns).into()).map_err(|e| NetError::Transport(format!("multicast DNS: {e}")))
}
