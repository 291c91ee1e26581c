//! Bytes on all connections, as libp2p's transports count them. They count into a registry of Prometheus and tell in its
//! text only, so that is what is read: a line for each direction and stack of protocols.

use std::sync::atomic::Ordering;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::driver::Traffic;

/// The transports' counters.
#[derive(Debug, Default)]
pub struct Bandwidth {
    registry: Registry,
}

impl Bandwidth {
    /// Where the transports register.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Adds up, and tells.
    pub fn tell(&self, traffic: &Traffic) {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_ok() {
            traffic.bytes_in.store(sum(&text, "Inbound"), Ordering::Relaxed);
            traffic.bytes_out.store(sum(&text, "Outbound"), Ordering::Relaxed);
        }
    }
}

/// The sum of what is counted in a direction.
fn sum(text: &str, direction: &str) -> u64 {
    let of_direction = text.lines().filter(|line| !line.starts_with('#') && line.contains(direction));
    of_direction.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_added_up_over_all_transports() {
        let text = "# HELP libp2p_bandwidth_bytes Bandwidth usage. Inbound 7\n\
                    libp2p_bandwidth_bytes_total{protocols=\"/ip4/tcp\",direction=\"Inbound\"} 5\n\
                    libp2p_bandwidth_bytes_total{protocols=\"/ip4/udp/quic-v1\",direction=\"Inbound\"} 6\n\
                    libp2p_bandwidth_bytes_total{protocols=\"/ip4/tcp\",direction=\"Outbound\"} 9\n# EOF\n";
        assert_eq!((sum(text, "Inbound"), sum(text, "Outbound")), (11, 9));
        assert_eq!(sum("# EOF\n", "Inbound"), 0);
    }
}
