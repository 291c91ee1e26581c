//! Whole nodes on loopback in one process: real swarms, real stores, no API.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use libp2p::futures::StreamExt;
use libp2p::swarm::SwarmEvent;

use super::behaviour::{Behaviour, BehaviourEvent, topic};
use super::*;
use crate::config::NetConfig;
use crate::driver::{self, Client, Driver, Ended, Watch};
use crate::node::{Ack, Answer, Call, PeerInfo, Setup, Status};
use crate::store::{Store, StoreOptions};
use crate::types::{NetworkName, NodeId};
use crate::wire::kind::external::Notification;
use crate::wire::{Category, Draft, Kind, Payload};

/// Everything here is over long before this.
const DEADLINE: Duration = Duration::from_secs(60);

struct TestNode {
    _id: NodeId,
    address: String,
    client: Client,
    watch: Watch,
    thread: Option<std::thread::JoinHandle<Ended>>,
    _folder: tempfile::TempDir,
}

fn name(text: &str) -> NetworkName {
    text.parse().unwrap()
}

fn all() -> BTreeSet<Category> {
    Category::ALL.into()
}

fn config(transport: &str) -> NetConfig {
    let listen = match transport {
        "tcp" => "/ip4/127.0.0.1/tcp/0",
        _ => "/ip4/127.0.0.1/udp/0/quic-v1",
    };
    NetConfig { listen: vec![listen.into()], ..NetConfig::default() }
}

impl TestNode {
    async fn start(network: &str, seed: u8, transport: &str, bootstrap: &[&str]) -> TestNode {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions { path: folder.path().into(), cache_bytes: 1 << 20, flush_every_ms: 50 };
        let store = Arc::new(Store::open(&options).unwrap());
        let (ports, inlet, commands, client, watch) = driver::ports();
        let (net, listening) =
            Net::listen(&config(transport), name(network), &all(), &[seed; 32], inlet, commands, None).await.unwrap();
        let key = SigningKey::from_bytes(&[seed; 32]);
        let id = NodeId(key.verifying_key().to_bytes());
        let setup = Setup {
            network: name(network),
            key,
            entropy: u64::from(seed),
            place: store.place(),
            bootstrap: bootstrap.iter().map(|a| split_bootstrap(a).unwrap()).collect(),
            target_peers: 12,
            scheduler: Default::default(),
            packing: Default::default(),
            lanes: Default::default(),
            strategy: Default::default(),
            role: Default::default(),
            retention: Default::default(),
            floor_waits: crate::types::limits::FLOOR_MEMBERS,
            registration: None,
            chain: None,
        };
        let thread = Some(Driver::start(setup, None, store, ports).unwrap());
        tokio::spawn(net.run());
        TestNode { _id: id, address: listening[0].clone(), client, watch, thread, _folder: folder }
    }

    async fn status(&self) -> Status {
        match self.client.call(Call::Status).await.unwrap() {
            Answer::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    async fn peers(&self) -> Vec<PeerInfo> {
        match self.client.call(Call::Peers).await.unwrap() {
            Answer::Peers(peers) => peers,
            other => panic!("{other:?}"),
        }
    }

    async fn say(&self, count: usize) {
        let payload = Payload::Notification(notification());
        let drafts = vec![Draft::new(&payload); count];
        self.client.call(Call::Publish { drafts, ack: Ack::Durable }).await.unwrap();
    }

    /// Waits until the log has so many messages: it is told of every growth.
    async fn holds(&self, end: u64) {
        let mut log_end = self.watch.log_end.clone();
        let grown = log_end.wait_for(|now| *now >= end);
        tokio::time::timeout(DEADLINE, grown).await.expect("it never came").unwrap();
    }

    async fn stop(mut self) {
        self.client.call(Call::Stop).await.unwrap();
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join().unwrap().unwrap()).await.unwrap();
    }
}

fn notification() -> Notification {
    let vectors = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/kinds.json"));
    let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
    let vector = vectors.iter().find(|v| v["kind"] == Kind::Notification.to_string()).unwrap();
    serde_json::from_value(vector["payload"].clone()).unwrap()
}

/// Asks until the answer is right; every answer is a round trip through the node's thread.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn meet_and_share(transport: &str) {
    let one = TestNode::start("meet", 1, transport, &[]).await;
    let two = TestNode::start("meet", 2, transport, &[&one.address]).await;
    let three = TestNode::start("meet", 3, transport, &[&one.address]).await;
    one.say(200).await;
    three.say(300).await;
    for node in [&one, &two, &three] {
        node.holds(500).await;
        until("everyone knows everyone", || async { (node.status().await.peers == 2).then_some(()) }).await;
    }
    let root = one.status().await.heads_root;
    for node in [&two, &three] {
        until("equal heads", || async { (node.status().await.heads_root == root).then_some(()) }).await;
    }
    let late = TestNode::start("meet", 4, transport, &[&two.address]).await;
    late.holds(500).await;
    for node in [one, two, three, late] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_meet_by_one_address_and_hold_the_same_over_tcp() {
    meet_and_share("tcp").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_meet_by_one_address_and_hold_the_same_over_quic() {
    meet_and_share("quic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_network_is_no_peer() {
    let one = TestNode::start("one-network", 1, "tcp", &[]).await;
    let other = TestNode::start("another", 2, "tcp", &[&one.address]).await;
    until("the stranger is refused", || async {
        one.status().await.counters.refused.contains_key("wrong_network").then_some(())
    })
    .await;
    assert_eq!((one.status().await.peers, other.status().await.peers), (0, 0));
    one.stop().await;
    other.stop().await;
}

/// A peer that speaks the protocols and sends what it likes.
async fn vandal(network: &NetworkName, seed: u8, node: &TestNode) -> libp2p::Swarm<Behaviour> {
    let key = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
    let behaviour = Behaviour::new(&key, network, &all(), &config("tcp")).unwrap();
    let (mut swarm, _) = super::swarm::build(key, behaviour, None).unwrap();
    swarm.dial(node.address.parse::<libp2p::Multiaddr>().unwrap()).unwrap();
    let subscribed = async {
        loop {
            if let SwarmEvent::Behaviour(BehaviourEvent::Gossip(libp2p::gossipsub::Event::Subscribed { .. })) =
                swarm.select_next_some().await
            {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, subscribed).await.unwrap();
    swarm
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_gossips_garbage_is_scored_and_then_banned() {
    let node = TestNode::start("garbage", 1, "tcp", &[]).await;
    let mut swarm = vandal(&name("garbage"), 9, &node).await;
    let id = NodeId(SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes());
    let spamming = async {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        for n in 0u64.. {
            let garbage = [b"garbage".as_slice(), &n.to_le_bytes()].concat();
            let _ = swarm.behaviour_mut().gossip.publish(topic(&name("garbage"), Category::Data), garbage);
            tokio::select! {
                _ = swarm.select_next_some() => {}
                _ = pace.tick() => {}
            }
        }
        unreachable!("there are more numbers than time");
    };
    let banned = until("the vandal is banned", || async {
        node.peers().await.into_iter().find(|p| p.id == id && p.banned_until_ms.is_some())
    });
    let banned: PeerInfo = tokio::select! {
        never = spamming => never,
        banned = banned => banned,
    };
    assert!(banned.ban_reason.unwrap().contains("truncated"));
    let refused = node.status().await.counters.refused;
    assert!(refused["truncated"] >= 4, "{refused:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_answers_repair_with_garbage_is_found_out() {
    let node = TestNode::start("liar", 1, "tcp", &[]).await;
    let mut swarm = vandal(&name("liar"), 9, &node).await;
    let answering = async {
        loop {
            if let SwarmEvent::Behaviour(BehaviourEvent::Sync(libp2p::request_response::Event::Message {
                message: libp2p::request_response::Message::Request { channel, .. },
                ..
            })) = swarm.select_next_some().await
            {
                let garbage = vec![0xFF; 1000].into();
                let _ = swarm.behaviour_mut().sync.send_response(channel, garbage);
            }
        }
    };
    let found_out = until("the liar is found out", || async {
        let refused = node.status().await.counters.refused;
        refused.contains_key("frame").then_some(())
    });
    tokio::select! {
        () = answering => {}
        () = found_out => {}
    }
    node.say(1).await;
    assert_eq!(node.status().await.messages, 1, "the node goes on");
    node.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = NetConfig { listen: vec![format!("/ip4/127.0.0.1/tcp/{port}")], ..NetConfig::default() };
    let (_ports, inlet, commands, _client, _watch) = driver::ports();
    let error = Net::listen(&config, name("port"), &all(), &[1; 32], inlet, commands, None).await.err().unwrap();
    assert!(matches!(error, NetError::Listen { .. }), "{error}");
    assert!(error.to_string().contains(&port.to_string()));
}

#[test]
fn both_profiles_fit_together() {
    for profile in [crate::config::Profile::Small, crate::config::Profile::Open] {
        let settings = settings::gossip(profile).unwrap();
        assert!(settings.mesh_outbound_min() * 2 <= settings.mesh_n());
    }
}
