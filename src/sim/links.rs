//! Connections: dialled, cut, broken, refused; and what the network tells nodes of them.

use std::time::Duration;

use super::event::Event;
use super::world::World;
use crate::node::Input;
use crate::types::{NodeId, WallMs};

/// How long it takes to notice that the other machine is gone, microseconds.
const NOTICED_US: u64 = 2_500_000;

/// Where a peer listens.
pub fn address(peer: usize) -> String {
    format!("/sim/{peer}")
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl World {
    /// The connection between two peers.
    pub(super) fn link(&self, a: usize, b: usize) -> Option<u64> {
        self.links.get(&pair(a, b)).copied()
    }

    /// The peers a peer is connected to.
    pub(super) fn neighbours(&self, peer: usize) -> Vec<usize> {
        (0..self.peers()).filter(|other| self.link(peer, *other).is_some()).collect()
    }

    fn runs(&self, peer: usize) -> bool {
        self.hosts.get(peer).is_none_or(|host| host.process.is_some())
    }

    fn reachable(&self, a: usize, b: usize) -> bool {
        let apart = self.cut.is_some_and(|side| (side >> a) & 1 != (side >> b) & 1);
        let refused = self.refuses(a, b) || self.refuses(b, a) || self.knows_twin(a, b) || self.knows_twin(b, a);
        self.runs(a) && self.runs(b) && !apart && a != b && !refused
    }

    /// Whether a host has, or is, the other one with a peer's key: to it they are one.
    fn knows_twin(&self, host: usize, peer: usize) -> bool {
        let Some(twin) = self.chain.as_ref().and_then(|chain| chain.twin_of(peer)) else { return false };
        let up = self.hosts.get(host).and_then(|host| host.process.as_ref()).is_some_and(|p| p.up.contains(&twin));
        twin == host || up || self.link(host, twin).is_some()
    }

    fn refuses(&self, host: usize, peer: usize) -> bool {
        let Some((machine, id)) = self.hosts.get(host).zip(self.id_of(peer)) else { return false };
        let banned = machine.process.as_ref().and_then(|p| p.banned.get(&id));
        banned.is_some_and(|until| *until > machine.wall(self.now_us))
    }

    /// A node wants a connection.
    pub(super) fn dial(&mut self, host: usize, address: String, peer: Option<NodeId>) {
        let life = self.hosts[host].life;
        let at = self.now_us + self.latency();
        self.trace.note(self.now_us, host, "dial", address.as_bytes(), format_args!("{address}"));
        self.agenda.add(at, Event::Dialled { host, life, address, peer });
    }

    pub(super) fn on_dialled(&mut self, host: usize, life: u64, address: String, peer: Option<NodeId>) {
        if self.hosts[host].life != life {
            return;
        }
        let Some(other) = (0..self.peers()).find(|n| self::address(*n) == address) else { return };
        let believed_up = self.hosts[host].process.as_ref().is_some_and(|p| p.up.contains(&other));
        if believed_up && peer.is_some() {
            return;
        }
        if self.reachable(host, other) {
            self.connect(host, other, Some(address));
        } else {
            self.tell(host, Input::DialFailed { peer, address: Some(address) });
        }
    }

    /// Connects two peers and tells those who do not believe it already.
    pub(super) fn connect(&mut self, dialler: usize, other: usize, address: Option<String>) {
        if self.link(dialler, other).is_none() {
            self.next_link += 1;
            self.links.insert(pair(dialler, other), self.next_link);
            self.trace.note(self.now_us, dialler, "connect", &[other as u8], format_args!("{other}"));
        }
        self.came_up(dialler, other, address);
        self.came_up(other, dialler, None);
    }

    fn came_up(&mut self, host: usize, peer: usize, dialled: Option<String>) {
        let Some(id) = self.id_of(peer) else { return };
        let Some(process) = self.hosts.get_mut(host).and_then(|h| h.process.as_mut()) else { return };
        if process.up.insert(peer) {
            self.tell(host, Input::PeerUp { peer: id, dialled });
            let time = Duration::from_micros(2 * self.latency());
            self.tell(host, Input::RoundTrip { peer: id, time });
        }
        self.hear(host, peer);
        let other = self.rng.below(self.hosts.len());
        if other != host {
            self.agenda.add(self.now_us + self.rng.within(0, 2_000_000), Event::Hear { host, of: other });
        }
    }

    /// A host hears where a peer can be reached.
    pub(super) fn hear(&mut self, host: usize, of: usize) {
        if let Some(id) = self.id_of(of) {
            self.tell(host, Input::Addresses { peer: id, addresses: vec![address(of)] });
        }
    }

    /// A connection breaks; each end notices in its own time.
    pub(super) fn disconnect(&mut self, a: usize, b: usize, noticed_us: u64) {
        if self.links.remove(&pair(a, b)).is_none() {
            return;
        }
        self.trace.note(self.now_us, a, "disconnect", &[b as u8], format_args!("{b}"));
        for (host, peer) in [(a, b), (b, a)] {
            if let Some(life) = self.hosts.get(host).map(|h| h.life) {
                let at = self.now_us + self.rng.within(0, noticed_us);
                self.agenda.add(at, Event::Gone { host, life, peer });
            }
        }
    }

    pub(super) fn on_gone(&mut self, host: usize, life: u64, peer: usize) {
        if self.hosts[host].life != life {
            return;
        }
        // As libp2p has it: first that the connection is gone, then what was asked for over it.
        if self.link(host, peer).is_none()
            && let Some(id) = self.id_of(peer)
            && self.hosts[host].process.as_mut().is_some_and(|p| p.up.remove(&peer))
        {
            self.tell(host, Input::PeerDown { peer: id });
        }
        self.fail_requests(host, peer);
    }

    /// All connections of a machine that is gone.
    pub(super) fn drop_links(&mut self, host: usize) {
        for peer in self.neighbours(host) {
            self.disconnect(host, peer, NOTICED_US);
        }
    }

    /// The network falls in two.
    pub(super) fn cut(&mut self, side: u64) {
        self.trace.note(self.now_us, 0, "cut", &side.to_be_bytes(), format_args!("{side:#b}"));
        self.cut = Some(side);
        let apart: Vec<(usize, usize)> =
            self.links.keys().copied().filter(|(a, b)| (side >> a) & 1 != (side >> b) & 1).collect();
        for (a, b) in apart {
            self.disconnect(a, b, NOTICED_US);
        }
    }

    /// A host wants nothing more to do with a peer, or forgives it.
    pub(super) fn on_ban(&mut self, host: usize, peer: NodeId, until: WallMs) {
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        process.banned.insert(peer, until);
        if let Some(other) = self.peer_of(peer).filter(|other| self.refuses(host, *other)) {
            self.disconnect(host, other, 1_000);
        }
    }

    /// A villain connects to whom it can.
    pub(super) fn intrude(&mut self, villain: usize) {
        for host in 0..self.hosts.len() {
            if self.link(villain, host).is_none() && self.reachable(villain, host) {
                self.connect(villain, host, None);
            }
        }
    }
}
