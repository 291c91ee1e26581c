//! The peer-to-peer part of a configuration.

use serde::{Deserialize, Serialize};

use crate::wire::Packing;

/// How the node meets its peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetConfig {
    /// Which gossip settings fit the network.
    pub profile: Profile,
    /// How far messages are packed at most, and what peers are asked for.
    pub packing: Packing,
    /// Multiaddresses to listen on: IP and TCP, or IP and UDP with QUIC. May be empty for a node that only dials.
    pub listen: Vec<String>,
    /// Multiaddresses under which others reach this node, where it cannot find that out itself.
    pub external: Vec<String>,
    /// Multiaddresses of nodes to join the network by.
    pub bootstrap: Vec<String>,
    /// Whether to look for nodes on the local network segment by multicast DNS.
    pub mdns: bool,
    /// Connected peers the node tries to have. 1 to `limits.total`.
    pub target_peers: u32,
    /// Whether the node answers other nodes' searches. For nodes that others can dial.
    pub kademlia_server: bool,
    /// The most connections.
    pub limits: ConnectionLimits,
}

/// Gossip settings by size of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// 2 to 20 nodes that know each other: small mesh, short heartbeat, every message to every peer at once.
    #[default]
    Small,
    /// Many nodes of many owners: wide mesh, long back-off, duplicates remembered for long.
    Open,
}

/// The most connections at once, established ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionLimits {
    /// With one peer. At least 1.
    pub per_peer: u32,
    /// From one IP address. At least 1.
    pub per_address: u32,
    /// Opened by others.
    pub incoming: u32,
    /// Opened by this node.
    pub outgoing: u32,
    /// Together. 1 to 65,536.
    pub total: u32,
}

impl Default for NetConfig {
    fn default() -> NetConfig {
        NetConfig {
            profile: Profile::Small,
            packing: Packing::default(),
            listen: vec!["/ip4/0.0.0.0/tcp/7700".into(), "/ip4/0.0.0.0/udp/7700/quic-v1".into()],
            external: Vec::new(),
            bootstrap: Vec::new(),
            mdns: false,
            target_peers: 12,
            kademlia_server: true,
            limits: ConnectionLimits::default(),
        }
    }
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits { per_peer: 3, per_address: 32, incoming: 192, outgoing: 64, total: 256 }
    }
}
