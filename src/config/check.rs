//! What must hold of the values, beyond their types.

use std::net::SocketAddr;

use libp2p::multiaddr::{Multiaddr, Protocol};
use tracing_subscriber::EnvFilter;

use super::nearest::nearest;
use super::{Config, NODE_TYPES};
use crate::types::{dialable, limits};

/// What is found wrong: the key, and why.
type Wrong = Vec<(String, String)>;

const MIB: u64 = 1 << 20;

impl Config {
    /// Everything that is wrong with the values, each with its key.
    pub(super) fn faults(&self) -> Wrong {
        let mut wrong = Wrong::new();
        self.top(&mut wrong);
        self.addresses(&mut wrong);
        self.connections(&mut wrong);
        self.api(&mut wrong);
        let store = &self.store;
        within(&mut wrong, "store.cache_bytes", store.cache_bytes, MIB, MIB << 20);
        within(&mut wrong, "store.flush_every_ms", store.flush_every_ms, 1, 60_000);
        within(&mut wrong, "chain.cadence_ms", self.chain.cadence_ms, 1, 3_600_000);
        within(&mut wrong, "chain.heartbeat_ms", self.chain.heartbeat_ms, 0, 86_400_000);
        if let Some(trusted) = self.chain.trusted {
            within(&mut wrong, "chain.trusted.height", trusted.height, 1, i64::MAX as u64);
        }
        within(&mut wrong, "chain.propose_ms", self.chain.propose_ms, 10, 600_000);
        self.alerts(&mut wrong);
        self.perturbable(&mut wrong);
        if let Err(e) = EnvFilter::builder().parse(&self.log.level) {
            wrong.push(("log.level".into(), format!("{e}; write error, warn, info, debug or trace")));
        }
        wrong
    }

    fn alerts(&self, wrong: &mut Wrong) {
        for (place, rule) in self.alerts.iter().enumerate() {
            let fits = (1..=limits::NAME_BYTES).contains(&rule.name.len()) && !rule.name.chars().any(char::is_control);
            let again = self.alerts.iter().take(place).any(|other| other.name == rule.name);
            let reason = match () {
                () if !fits => format!("write a name of 1 to {} bytes", limits::NAME_BYTES),
                () if again => format!("`{}` is there twice; give each rule a name of its own", rule.name),
                () if !rule.threshold.is_finite() => "the threshold is no finite number".into(),
                () if rule.for_s > 86_400 => format!("for_s = {} is out of range; write 0 to 86400", rule.for_s),
                () => continue,
            };
            wrong.push((format!("alerts[{place}]"), reason));
        }
        if self.alerts.len() > limits::ALERTS {
            wrong.push(("alerts".into(), format!("write at most {} rules", limits::ALERTS)));
        }
    }

    /// Whoever reaches the API of a node that can be put wrong can do so, and whoever reaches the node suffers.
    fn perturbable(&self, wrong: &mut Wrong) {
        if !self.perturbable {
            return;
        }
        let advice = "a node started with --perturbable listens on this machine alone";
        let alone = |part: Protocol<'_>| match part {
            Protocol::Ip4(ip) => ip.is_loopback(),
            Protocol::Ip6(ip) => ip.is_loopback(),
            _ => false,
        };
        let local = |address: &String| address.parse::<Multiaddr>().is_ok_and(|a| a.iter().next().is_some_and(alone));
        if let Some(address) = self.net.listen.iter().find(|address| !local(address)) {
            wrong.push(("net.listen".into(), format!("{address}: {advice}; write /ip4/127.0.0.1/tcp/7700")));
        }
        if !self.api.listen.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback()) {
            wrong.push(("api.listen".into(), format!("{}: {advice}; write 127.0.0.1:7780", self.api.listen)));
        }
    }

    fn top(&self, wrong: &mut Wrong) {
        if self.name.len() > limits::NAME_BYTES || self.name.chars().any(char::is_control) {
            let reason = format!("write at most {} bytes without control characters", limits::NAME_BYTES);
            wrong.push(("name".into(), reason));
        }
        if !NODE_TYPES.contains(&self.node_type.as_str()) {
            let meant =
                nearest(&self.node_type, NODE_TYPES).map(|m| format!("did you mean `{m}`? or ")).unwrap_or_default();
            let reason = format!("`{}` is no node type; {meant}write one of {}", self.node_type, NODE_TYPES.join(", "));
            wrong.push(("node_type".into(), reason));
        }
        let fits =
            |name: &String| (1..=limits::NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
        if self.services.len() > limits::SERVICES || !self.services.iter().all(fits) {
            let reason = format!("write at most {} names of 1 to {} bytes", limits::SERVICES, limits::NAME_BYTES);
            wrong.push(("services".into(), reason));
        }
        if self.dir.as_os_str().is_empty() {
            wrong.push(("dir".into(), "is empty; write a directory, like ~/.metanode".into()));
        }
    }

    fn addresses(&self, wrong: &mut Wrong) {
        let net = &self.net;
        for (key, entries) in [("listen", &net.listen), ("external", &net.external), ("bootstrap", &net.bootstrap)] {
            for (place, entry) in entries.iter().enumerate() {
                let reason = match entry.parse::<Multiaddr>() {
                    Err(e) => format!("`{entry}` is no multiaddress ({e}); one looks like {}", example(key)),
                    Ok(address) if key == "listen" && !can_listen(&address) => {
                        format!(
                            "cannot listen on `{entry}`; write an IP address with TCP or QUIC, like {}",
                            example(key)
                        )
                    }
                    Ok(_) if key == "bootstrap" => match dialable(entry) {
                        Err(cause) => format!("cannot dial `{entry}`: {cause}; one looks like {}", example(key)),
                        Ok(()) => continue,
                    },
                    Ok(_) => continue,
                };
                wrong.push((format!("net.{key}[{place}]"), reason));
            }
        }
    }

    fn connections(&self, wrong: &mut Wrong) {
        let l = &self.net.limits;
        within(wrong, "net.limits.total", l.total.into(), 1, 65_536);
        let total = l.total.clamp(1, 65_536).into();
        within(wrong, "net.limits.per_peer", l.per_peer.into(), 1, total);
        within(wrong, "net.limits.per_address", l.per_address.into(), 1, total);
        within(wrong, "net.limits.incoming", l.incoming.into(), 0, total);
        within(wrong, "net.limits.outgoing", l.outgoing.into(), 0, total);
        within(wrong, "net.target_peers", self.net.target_peers.into(), 1, total);
    }

    fn api(&self, wrong: &mut Wrong) {
        let listen = &self.api.listen;
        let reason = match listen.parse::<SocketAddr>() {
            Err(_) => format!("`{listen}` is no socket address; write IP:PORT, like 127.0.0.1:7780 or [::1]:7780"),
            Ok(address) if !address.ip().is_loopback() && !self.api.allow_remote => format!(
                "other machines can reach {address} and there is no authentication on this API yet: whoever reaches it \
                 can publish as this node; listen on 127.0.0.1, or set api.allow_remote = true where a firewall or \
                 proxy guards it"
            ),
            Ok(_) => return,
        };
        wrong.push(("api.listen".into(), reason));
    }
}

fn within(wrong: &mut Wrong, key: &str, value: u64, least: u64, most: u64) {
    if !(least..=most).contains(&value) {
        wrong.push((key.into(), format!("{value} is out of range; write {least} to {most}")));
    }
}

fn example(key: &str) -> &'static str {
    match key {
        "listen" => "/ip4/0.0.0.0/tcp/7700 or /ip4/0.0.0.0/udp/7700/quic-v1",
        "external" => "/ip4/203.0.113.7/tcp/7700 or /dns4/node.example.org/tcp/7700",
        _ => "/ip4/203.0.113.7/tcp/7700/p2p/12D3Koo…",
    }
}

/// The two transports of a node: TCP, and QUIC over UDP.
fn can_listen(address: &Multiaddr) -> bool {
    let parts: Vec<_> = address.iter().collect();
    matches!(
        parts[..],
        [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Tcp(_)]
            | [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Udp(_), Protocol::QuicV1]
    )
}
