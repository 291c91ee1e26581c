//! Multiaddresses, as far as the pure rooms and the API look at them.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Whether a node can be dialled at `text`: an IP address or a name, then TCP, or UDP with QUIC, and after it nothing or
/// the peer's id. The error says what is wrong.
pub fn dialable(text: &str) -> Result<(), String> {
    let mut parts = text.strip_prefix('/').ok_or("it does not begin with `/`")?.split('/');
    let mut part = |what: &str| parts.next().filter(|part| !part.is_empty()).ok_or(format!("{what} is missing"));
    let sort = part("how to find the host")?;
    let host = part("the host")?;
    match sort {
        "ip4" => host.parse::<Ipv4Addr>().map(drop).map_err(|_| format!("`{host}` is no IPv4 address"))?,
        "ip6" => host.parse::<Ipv6Addr>().map(drop).map_err(|_| format!("`{host}` is no IPv6 address"))?,
        "dns" | "dns4" | "dns6" | "dnsaddr" => {}
        other => return Err(format!("`{other}` is none of ip4, ip6, dns, dns4, dns6, dnsaddr")),
    }
    if sort == "dnsaddr" {
        return Ok(());
    }
    let transport = part("tcp or udp")?;
    let port = part("the port")?;
    port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(format!("`{port}` is no port"))?;
    match transport {
        "tcp" => {}
        "udp" if part("quic-v1")? == "quic-v1" => {}
        "udp" => return Err("after udp and its port comes quic-v1".into()),
        other => return Err(format!("`{other}` is neither tcp nor udp")),
    }
    match (parts.next(), parts.next(), parts.next()) {
        (None, ..) | (Some("p2p"), Some(_), None) => Ok(()),
        (Some(more), ..) => Err(format!("`{more}` is not expected there")),
    }
}

#[cfg(test)]
mod tests {
    use super::dialable;

    #[test]
    fn what_can_be_dialled_passes_and_the_rest_says_why() {
        for good in [
            "/ip4/127.0.0.1/tcp/7700",
            "/ip6/::1/udp/7700/quic-v1/p2p/12D3KooW",
            "/dns/node.example.com/tcp/7700/p2p/12D3KooW",
            "/dnsaddr/example.com",
        ] {
            assert_eq!(dialable(good), Ok(()), "{good}");
        }
        for (wrong, why) in [
            ("", "does not begin"),
            ("/", "find the host is missing"),
            ("/garbage", "host is missing"),
            ("/ip4/999.1.1.1/tcp/1", "no IPv4 address"),
            ("/unix/foo", "none of ip4"),
            ("/ip4/1.2.3.4/tcp/0", "no port"),
            ("/ip4/1.2.3.4/udp/7", "quic-v1 is missing"),
            ("/ip4/1.2.3.4/tcp/7/ws", "not expected"),
        ] {
            assert!(dialable(wrong).is_err_and(|e| e.contains(why)), "{wrong}: {:?}", dialable(wrong));
        }
    }
}
