//! The task that owns the swarm.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use libp2p::core::Transport;
use libp2p::core::upgrade::Version;
use libp2p::request_response::{InboundRequestId, OutboundRequestId, ResponseChannel};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, gossipsub, identify, kad, mdns, noise, ping, tcp, yamux};
use tokio::sync::mpsc;

use super::address::{is_specific, node_id, peer_id, split, tcp_place};
use super::bandwidth::Bandwidth;
use super::behaviour::{Behaviour, BehaviourEvent, CHANNELS, channel_topic, packing_of, protocol_version, topic};
use super::cuts::Cuts;
use super::error::NetError;
use super::exchange::Protocol;
use super::slow::Slow;
use super::urgent::Before;
use super::verifier::{Job, Verifiers};
use crate::config::NetConfig;
use crate::driver::{Inlet, NetCommand, Perturbed, SystemClock};
use crate::node::{Channel, Input, Verdict};
use crate::types::{NetworkName, NodeId, WallMs, limits};
use crate::wire::{Category, Refusal};

/// A listener that has no address after this is given up.
const LISTEN_WITHIN: Duration = Duration::from_secs(5);
/// A connection nobody uses is closed after this.
const IDLE: Duration = Duration::from_secs(60);
/// What waits in a socket to be sent, bytes.
const UNSENT_BYTES: u32 = 64 << 10;
/// Bans are looked through this often.
const BANS_EVERY: Duration = Duration::from_secs(5);
/// Bytes on connections are added up this often.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Where the node can be reached: multiaddresses with its peer id.
pub type Listening = Vec<String>;

/// A peer says who it is within this long.
const IDENTIFIED_WITHIN: Duration = Duration::from_secs(15);
/// What a connected peer says of its addresses is listened to this often.
const ADDRESSES_EVERY: Duration = Duration::from_secs(60);

/// The network of a node, not yet running.
pub struct Net {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) network: NetworkName,
    inlet: Inlet,
    commands: mpsc::UnboundedReceiver<NetCommand>,
    pub(super) verifiers: Verifiers,
    refused: mpsc::UnboundedReceiver<(u64, gossipsub::MessageAcceptance)>,
    /// The topics of the chain.
    channels: [(gossipsub::TopicHash, Channel); 2],
    /// Bundles the node has not given its verdict on.
    tickets: BTreeMap<u64, (gossipsub::MessageId, PeerId)>,
    pub(super) next_ticket: u64,
    /// Requests of this node under way, by libp2p's number.
    pub(super) asked: BTreeMap<(Protocol, OutboundRequestId), (NodeId, u64)>,
    /// Requests of peers the node has not answered.
    pub(super) answers: BTreeMap<u64, ResponseChannel<Bytes>>,
    pub(super) next_answer: u64,
    /// Requests of peers whose answers have not left: each may keep megabytes.
    pub(super) serving: BTreeMap<(Protocol, InboundRequestId), PeerId>,
    /// Peers of this network, connected and identified, and when they last said where they are.
    pub(super) up: BTreeMap<PeerId, Instant>,
    /// Connected, but it has not said yet who it is, and since when.
    strangers: BTreeMap<PeerId, Instant>,
    /// Where a peer was dialled, until it is identified.
    dialled: BTreeMap<PeerId, String>,
    /// Dials under way by connection, for addresses without a peer.
    dials: BTreeMap<libp2p::swarm::ConnectionId, (Option<NodeId>, String)>,
    bans: BTreeMap<PeerId, WallMs>,
    cuts: Cuts,
    clock: SystemClock,
    bandwidth: Bandwidth,
    /// Critical frames that came on their own stream, until the node has given its verdict.
    pub(super) urgent: BTreeMap<u64, (PeerId, Bytes)>,
    /// What this node said since it last said something Critical.
    pub(super) before: Before,
    /// What happened while the listeners came up.
    early: Early,
}

impl Net {
    /// Sets up the transports and listens, and takes part in the gossip of the topics that are followed. Returns when
    /// every listener has its address. A node that can be put wrong on purpose looks at `perturbed`.
    pub async fn listen(
        config: &NetConfig,
        network: NetworkName,
        follows: &BTreeSet<Category>,
        secret: &[u8; 32],
        inlet: Inlet,
        commands: mpsc::UnboundedReceiver<NetCommand>,
        perturbed: Option<Perturbed>,
    ) -> Result<(Net, Listening), NetError> {
        let key =
            libp2p::identity::Keypair::ed25519_from_bytes(*secret).map_err(|e| NetError::Transport(e.to_string()))?;
        let behaviour = Behaviour::new(&key, &network, follows, config)?;
        let (mut swarm, bandwidth) = build(key, behaviour, perturbed.clone())?;
        for address in &config.external {
            swarm.add_external_address(parse(address)?);
        }
        let (listening, early) = listen(&mut swarm, &config.listen).await?;
        let (refuse, refused) = mpsc::unbounded_channel();
        let verifiers =
            Verifiers::start(network.id(), &inlet, refuse).map_err(|e| NetError::Transport(e.to_string()))?;
        let channels = CHANNELS.map(|channel| (channel_topic(&network, channel).hash(), channel));
        let net = Net {
            channels,
            swarm,
            network,
            inlet,
            commands,
            verifiers,
            refused,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            next_answer: 0,
            serving: BTreeMap::new(),
            up: BTreeMap::new(),
            strangers: BTreeMap::new(),
            dialled: BTreeMap::new(),
            dials: BTreeMap::new(),
            bans: BTreeMap::new(),
            cuts: Cuts::new(perturbed.clone()),
            clock: SystemClock::perturbed(perturbed),
            bandwidth,
            urgent: BTreeMap::new(),
            before: Before::default(),
            early,
        };
        Ok((net, listening))
    }

    /// Runs until the node is gone.
    pub async fn run(mut self) {
        let mut bans = tokio::time::interval(BANS_EVERY);
        let mut measure = tokio::time::interval(MEASURE_EVERY);
        for event in std::mem::take(&mut self.early) {
            self.on_event(event);
        }
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                Some((ticket, acceptance)) = self.refused.recv() => self.judge(ticket, acceptance),
                wanted = self.cuts.changed() => self.cuts.apply(wanted, &mut self.swarm.behaviour_mut().cut),
                _ = measure.tick() => self.bandwidth.tell(&self.inlet.traffic),
                _ = bans.tick() => {
                    self.lift_bans();
                    self.send_strangers_away();
                }
            }
        }
    }

    /// Whether a peer votes at this height.
    pub(super) fn is_validator(&self, peer: &PeerId) -> bool {
        let roster = self.inlet.roster.borrow();
        node_id(peer).zip(roster.as_ref()).is_some_and(|(node, roster)| roster.is_validator(node))
    }

    pub(super) fn tell(&self, input: Input) {
        if self.inlet.control.send(input).is_err() {
            tracing::debug!("the node has stopped");
        }
    }

    fn on_command(&mut self, command: NetCommand) {
        self.inlet.queued_bytes.fetch_sub(command.size_bytes(), Ordering::Relaxed);
        match command {
            NetCommand::Verdict { ticket, verdict } => self.judge(
                ticket,
                match verdict {
                    Verdict::Accept => gossipsub::MessageAcceptance::Accept,
                    Verdict::Ignore => gossipsub::MessageAcceptance::Ignore,
                },
            ),
            NetCommand::Publish { topic: category, bytes } => {
                self.hurry_own(category, &bytes);
                let topic = topic(&self.network, category);
                // Whoever does not get it this way sees the head and asks.
                if let Err(e) = self.swarm.behaviour_mut().gossip.publish(topic, bytes) {
                    tracing::trace!(cause = %e, "a bundle was not gossiped");
                }
            }
            NetCommand::Say { channel, bytes } => {
                let topic = channel_topic(&self.network, channel);
                if let Err(e) = self.swarm.behaviour_mut().gossip.publish(topic, bytes) {
                    tracing::debug!(cause = %e, ?channel, "a word about the chain was not gossiped");
                }
            }
            NetCommand::Request { to, id, request } => {
                let Some(peer) = peer_id(to).filter(|peer| self.up.contains_key(peer)) else {
                    return self.tell(Input::Failed { from: to, id });
                };
                self.ask(peer, (to, id), &request);
            }
            NetCommand::Respond { id, response } => {
                if let Some(channel) = self.answers.remove(&id) {
                    // The asker may be gone; then nobody wants it.
                    let _ = self.swarm.behaviour_mut().sync.send_response(channel, response.encode());
                }
            }
            NetCommand::Dial { address, peer } => self.dial(address, peer),
            NetCommand::Ban { peer, until } => self.ban(peer, until),
        }
    }

    fn judge(&mut self, ticket: u64, acceptance: gossipsub::MessageAcceptance) {
        if let Some((from, bytes)) = self.urgent.remove(&ticket) {
            return self.judge_urgent(from, bytes, acceptance);
        }
        if let Some((id, from)) = self.tickets.remove(&ticket) {
            self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &from, acceptance);
        }
    }

    fn dial(&mut self, address: String, peer: Option<NodeId>) {
        let Ok(target) = address.parse::<Multiaddr>() else {
            tracing::warn!(address, "cannot dial what is not a multiaddress");
            return self.tell(Input::DialFailed { peer, address: Some(address) });
        };
        let (target, named) = split(&target);
        let options = match named.or(peer.and_then(peer_id)) {
            Some(id) => DialOpts::peer_id(id)
                .addresses(vec![target])
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build(),
            None => DialOpts::unknown_peer_id().address(target).build(),
        };
        self.dials.insert(options.connection_id(), (peer, address.clone()));
        let number = options.connection_id();
        if let Err(e) = self.swarm.dial(options) {
            self.dials.remove(&number);
            if !matches!(e, DialError::DialPeerConditionFalse(_)) {
                tracing::debug!(address, cause = %e, "cannot dial");
                self.tell(Input::DialFailed { peer, address: Some(address) });
            }
        }
    }

    fn ban(&mut self, peer: NodeId, until: WallMs) {
        let Some(peer) = peer_id(peer) else { return };
        if until > self.clock.wall() {
            self.bans.insert(peer, until);
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        } else if self.bans.remove(&peer).is_some() {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
    }

    fn lift_bans(&mut self) {
        let now = self.clock.wall();
        let over: Vec<PeerId> = self.bans.iter().filter(|(_, until)| **until <= now).map(|(peer, _)| *peer).collect();
        for peer in over {
            self.bans.remove(&peer);
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
    }

    /// Whoever holds a connection and does not say who it is takes the place of one that would.
    fn send_strangers_away(&mut self) {
        let late = self.strangers.iter().filter(|(_, since)| since.elapsed() > IDENTIFIED_WITHIN);
        let late: Vec<PeerId> = late.map(|(peer, _)| *peer).collect();
        for peer in late {
            self.strangers.remove(&peer);
            tracing::debug!(%peer, "a peer that does not say who it is is sent away");
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Sync(event)) => self.on_exchange(Protocol::Sync, event),
            SwarmEvent::Behaviour(BehaviourEvent::Urgent(event)) => self.on_exchange(Protocol::Urgent, event),
            SwarmEvent::Behaviour(BehaviourEvent::Direct(event)) => self.on_exchange(Protocol::Direct, event),
            SwarmEvent::Behaviour(BehaviourEvent::State(event)) => self.on_exchange(Protocol::State, event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                self.on_identified(peer_id, info);
            }
            // What a connected peer says of itself has come from itself.
            SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::RoutingUpdated { peer, addresses, .. }))
                if !self.up.contains_key(&peer) =>
            {
                self.on_addresses(peer, addresses.iter());
            }
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(mdns::Event::Discovered(found))) => {
                for (peer, address) in found {
                    self.swarm.behaviour_mut().kad.add_address(&peer, split(&address).0);
                    self.on_addresses(peer, std::iter::once(&address));
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { peer, result: Ok(time), .. })) => {
                if let Some(peer) = node_id(&peer).filter(|_| self.up.contains_key(&peer)) {
                    self.tell(Input::RoundTrip { peer, time });
                }
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.dials.remove(&connection_id);
                if !self.up.contains_key(&peer_id) {
                    self.strangers.entry(peer_id).or_insert_with(Instant::now);
                }
                if endpoint.is_dialer() {
                    let (address, _) = split(endpoint.get_remote_address());
                    self.dialled.insert(peer_id, address.to_string());
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => self.on_closed(peer_id, cause),
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some((peer, address)) = self.dials.remove(&connection_id) {
                    tracing::debug!(address, cause = %error, "a dial came to nothing");
                    self.tell(Input::DialFailed { peer, address: Some(address) });
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => tracing::info!(%address, "listening"),
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(cause = %error, "a listener failed"),
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::debug!(cause = %error, "an incoming connection came to nothing");
            }
            // The rest tells of what is under way, or of what the behaviours settle among themselves.
            _ => {}
        }
    }

    fn on_closed(&mut self, peer: PeerId, cause: Option<libp2p::swarm::ConnectionError>) {
        self.strangers.remove(&peer);
        self.dialled.remove(&peer);
        if let Some(node) = node_id(&peer).filter(|_| self.up.remove(&peer).is_some()) {
            tracing::info!(peer = %node, cause = cause.map(|c| c.to_string()), "peer disconnected");
            self.tell(Input::PeerDown { peer: node });
        }
    }

    /// A peer has said who it is: only now is it a peer of this network.
    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let Some(node) = node_id(&peer) else {
            tracing::info!(%peer, "a peer whose key is not ed25519 is sent away");
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        };
        if info.protocol_version != protocol_version(&self.network) {
            tracing::warn!(peer = %node, theirs = info.protocol_version, ours = protocol_version(&self.network),
                "a peer of another network is sent away");
            self.tell(Input::Refused { from: node, refusal: Refusal::WrongNetwork });
            let address = self.dialled.remove(&peer);
            self.tell(Input::DialFailed { peer: Some(node), address });
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let said = self.up.get(&peer).copied();
        if said.is_some_and(|said| said.elapsed() < ADDRESSES_EVERY) {
            return;
        }
        let addresses: Vec<Multiaddr> =
            info.listen_addrs.into_iter().filter(is_specific).take(limits::PEER_ADDRESSES).collect();
        self.strangers.remove(&peer);
        if self.up.insert(peer, Instant::now()).is_none() {
            // Only once: Kademlia keeps whatever it is told.
            for address in &addresses {
                self.swarm.behaviour_mut().kad.add_address(&peer, split(address).0);
            }
            tracing::info!(peer = %node, "peer connected");
            let dialled = self.dialled.remove(&peer);
            self.tell(Input::PeerUp { peer: node, dialled });
            self.tell(Input::Packs { peer: node, packing: packing_of(&info.agent_version) });
        }
        self.on_addresses(peer, addresses.iter());
    }

    fn on_addresses<'a>(&self, peer: PeerId, addresses: impl Iterator<Item = &'a Multiaddr>) {
        let Some(node) = node_id(&peer) else { return };
        let specific = addresses.filter(|a| is_specific(a)).take(limits::PEER_ADDRESSES);
        let addresses: Vec<String> = specific.map(|a| split(a).0.to_string()).collect();
        if !addresses.is_empty() {
            self.tell(Input::Addresses { peer: node, addresses });
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.tickets.insert(ticket, (message_id, propagation_source));
                let channel = self.channels.iter().find(|(topic, _)| *topic == message.topic).map(|(_, of)| *of);
                let bytes = message.data.into();
                let job = |from| match channel {
                    Some(channel) => Job::Said { from, ticket, channel, bytes },
                    None => Job::Gossip { from, ticket, bytes },
                };
                let taken = node_id(&propagation_source).map(job).is_some_and(|job| self.verifiers.take(job));
                if !taken {
                    self.judge(ticket, gossipsub::MessageAcceptance::Ignore);
                }
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                tracing::debug!(%peer_id, ?failed_messages, "a peer is slow; it will ask for what it missed");
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::debug!(%peer_id, "a peer does not gossip");
            }
            gossipsub::Event::Subscribed { .. } | gossipsub::Event::Unsubscribed { .. } => {}
        }
    }
}

fn parse(address: &str) -> Result<Multiaddr, NetError> {
    address.parse().map_err(|_| NetError::Address { address: address.into() })
}

pub(super) fn build(
    key: libp2p::identity::Keypair,
    behaviour: Behaviour,
    perturbed: Option<Perturbed>,
) -> Result<(Swarm<Behaviour>, Bandwidth), NetError> {
    let transport = |e: String| NetError::Transport(e);
    let mut bandwidth = Bandwidth::default();
    let builder = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_quic()
        .with_other_transport(|key| {
            let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
            let tcp = tcp.map(move |stream, _| {
                keep_little_unsent(&stream.0);
                Slow::new(stream, perturbed.clone())
            });
            let tcp = tcp.upgrade(Version::V1Lazy);
            Ok(tcp.authenticate(noise::Config::new(key)?).multiplex(yamux::Config::default()))
        })
        .map_err(|e| transport(e.to_string()))?
        .with_dns()
        .map_err(|e| transport(e.to_string()))?
        .with_bandwidth_metrics(bandwidth.registry())
        .with_behaviour(|_| behaviour)
        .map_err(|e| transport(e.to_string()))?;
    let swarm = builder.with_swarm_config(|config| config.with_idle_connection_timeout(IDLE)).build();
    Ok((swarm, bandwidth))
}

/// What is in a socket and not on its way goes before everything that is said later, whatever its stream. The system
/// would take megabytes; so it is told that this is enough. What is under way on a long line is not in this.
fn keep_little_unsent(stream: &tokio::net::TcpStream) {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if let Err(e) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::debug!(cause = %e, "what waits in a socket is not bounded");
    }
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (stream, UNSENT_BYTES);
}

type Early = Vec<SwarmEvent<BehaviourEvent>>;

async fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[String]) -> Result<(Listening, Early), NetError> {
    let (mut waiting, mut early) = (HashMap::new(), Early::new());
    for text in addresses {
        let failed = |cause: String| NetError::Listen { address: text.clone(), cause };
        let address = parse(text)?;
        if let Some(place) = tcp_place(&address) {
            // libp2p shares a TCP port with whoever else does; two nodes behind one address would take turns.
            std::net::TcpListener::bind(place).map_err(|e| failed(e.to_string()))?;
        }
        let listener = swarm.listen_on(address).map_err(|e| failed(e.to_string()))?;
        waiting.insert(listener, text.clone());
    }
    let (mut listening, deadline) = (Listening::new(), tokio::time::Instant::now() + LISTEN_WITHIN);
    while !waiting.is_empty() {
        match tokio::time::timeout_at(deadline, swarm.select_next_some()).await {
            Ok(SwarmEvent::NewListenAddr { listener_id, address }) => {
                waiting.remove(&listener_id);
                listening.push(format!("{address}/p2p/{}", swarm.local_peer_id()));
            }
            Ok(SwarmEvent::ListenerClosed { listener_id, reason, .. }) => {
                if let Some(address) = waiting.remove(&listener_id) {
                    let cause = reason.err().map_or_else(|| "closed".to_string(), |e| e.to_string());
                    return Err(NetError::Listen { address, cause });
                }
            }
            Ok(event) => early.push(event),
            Err(_) => {
                let address = waiting.into_values().next().unwrap_or_default();
                return Err(NetError::Listen { address, cause: "no address came up".into() });
            }
        }
    }
    Ok((listening, early))
}
