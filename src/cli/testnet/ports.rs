//! Ports for nodes that keep them.
//!
//! A port that the system hands out (by binding port 0) is one it may hand to some outgoing connection while its node
//! is down, and then the node cannot come back. So ports are taken from below the range of outgoing connections,
//! and each is tried by binding it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::Context;

/// Where the search begins; below it are the ports of well-known services.
const FIRST: u16 = 16_000;
/// The lowest port of outgoing connections where the system does not say.
const OUTGOING: u16 = 32_768;

/// What a node listens on, on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// TCP and UDP.
    pub p2p: u16,
    /// TCP.
    pub api: u16,
}

/// Free ports for so many nodes, all different. They are free now; nothing holds them until the nodes do.
pub fn pick(nodes: usize) -> anyhow::Result<Vec<Ports>> {
    let entropy = getrandom::u32().context("the operating system gives no randomness")?;
    let mut held = Vec::with_capacity(nodes * 2);
    for port in candidates(lowest_outgoing(), entropy).chain(std::iter::repeat_n(0, nodes * 2)) {
        if held.len() == nodes * 2 {
            break;
        }
        held.extend(hold(port).ok());
    }
    let found: Vec<u16> = held.iter().map(|(port, _, _)| *port).collect();
    anyhow::ensure!(
        found.len() == nodes * 2,
        "not enough free ports for {nodes} nodes; stop some programs, or give -n"
    );
    Ok(found.chunks_exact(2).filter_map(|pair| Some(Ports { p2p: *pair.first()?, api: *pair.last()? })).collect())
}

/// Every port from [`FIRST`] to `outgoing`, beginning somewhere among them.
fn candidates(outgoing: u16, entropy: u32) -> impl Iterator<Item = u16> {
    let count = u32::from(outgoing.saturating_sub(FIRST));
    (0..count).map(move |n| FIRST + ((entropy % count.max(1) + n) % count) as u16)
}

/// The lowest port that the system gives to outgoing connections.
fn lowest_outgoing() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    range.and_then(|range| range.split_whitespace().next()?.parse().ok()).unwrap_or(OUTGOING)
}

/// The port, if it is free for TCP and for UDP, with both taken.
fn hold(port: u16) -> io::Result<(u16, TcpListener, UdpSocket)> {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let port = tcp.local_addr()?.port();
    Ok((port, tcp, UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn candidates_are_each_once_and_below_outgoing_connections() {
        let found: Vec<u16> = candidates(FIRST + 10, 7).collect();
        assert_eq!(found.first(), Some(&(FIRST + 7)));
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 10);
        assert!(found.iter().all(|port| (FIRST..FIRST + 10).contains(port)));
        assert_eq!(candidates(FIRST - 1, 7).count(), 0);
    }

    #[test]
    fn picked_ports_are_different_and_free() {
        let ports = pick(3).unwrap();
        let all: BTreeSet<u16> = ports.iter().flat_map(|p| [p.p2p, p.api]).collect();
        assert_eq!((ports.len(), all.len()), (3, 6));
    }
}
