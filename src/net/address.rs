//! Multiaddresses as text, and peers' ids inside them.

use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::error::NetError;
use crate::types::NodeId;

/// An address without the peer it leads to, and that peer if it is named.
pub(super) fn split(address: &Multiaddr) -> (Multiaddr, Option<PeerId>) {
    let mut bare = address.clone();
    match bare.pop() {
        Some(Protocol::P2p(peer)) => (bare, Some(peer)),
        _ => (address.clone(), None),
    }
}

/// A bootstrap address as the node takes it: the address, and the peer it names.
pub fn split_bootstrap(text: &str) -> Result<(String, Option<NodeId>), NetError> {
    let address: Multiaddr = text.parse().map_err(|_| NetError::Address { address: text.into() })?;
    let (bare, peer) = split(&address);
    Ok((bare.to_string(), peer.as_ref().and_then(node_id)))
}

/// The node behind a peer; none if its key is not ed25519.
pub(super) fn node_id(peer: &PeerId) -> Option<NodeId> {
    NodeId::from_peer_id_bytes(&peer.to_bytes())
}

/// The peer of a node.
pub(super) fn peer_id(node: NodeId) -> Option<PeerId> {
    PeerId::from_bytes(&node.peer_id_bytes()).ok()
}

/// The TCP socket an address names, unless the system is to choose its port.
pub(super) fn tcp_place(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) if port != 0 => Some((ip, port).into()),
        _ => None,
    }
}

/// Whether others can be told of an address: not one that means "here" or "anywhere" to them, unless this node is
/// itself reached on it.
pub(super) fn is_specific(address: &Multiaddr) -> bool {
    address.iter().all(|part| match part {
        Protocol::Ip4(ip) => !ip.is_unspecified(),
        Protocol::Ip6(ip) => !ip.is_unspecified(),
        _ => true,
    })
}
