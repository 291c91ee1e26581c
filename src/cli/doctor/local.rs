//! What can be seen on this machine without asking the node.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use serde::Deserialize;

use super::Check;
use crate::config::Config;
use crate::keys::{KeyError, KeyFile};

/// What `metanode start --ready-file` writes; local networks keep it beside the configuration.
#[derive(Deserialize)]
struct Ready {
    api: String,
}

/// Where the node's API should be: by its own word if it left one, else as configured.
pub fn api(config: &Config) -> String {
    let ready = fs::read_to_string(config.dir.join("ready.json")).ok();
    let ready = ready.and_then(|text| serde_json::from_str::<Ready>(&text).ok());
    ready.map_or_else(|| format!("http://{}", config.api.listen), |ready| ready.api)
}

/// The key file, and whose it is.
pub fn key(config: &Config) -> (Check, Option<String>) {
    let path = config.key_file();
    let file = match KeyFile::read(&path) {
        Ok(file) => file,
        Err(e) => return (Check::fail("key", e.to_string(), "the node cannot start before this is mended"), None),
    };
    let id = file.node_id().to_string();
    let check = if file.is_encrypted() {
        Check::ok("key", format!("{}: encrypted, of {id}", path.display()))
    } else if config.key.allow_plain {
        let saw = format!("{}: not encrypted, of {id}; key.allow_plain lets that pass", path.display());
        Check::warn("key", saw, "in any network that matters, make one with a passphrase: metanode key new")
    } else {
        Check::fail("key", format!("{}", KeyError::PlainRefused.at(&path)), "the node does not start with this key")
    };
    (check, Some(id))
}

/// Whether the node can write where it keeps its data.
pub fn store(config: &Config) -> Check {
    let dir = &config.dir;
    if !dir.is_dir() {
        let saw = format!("{} is no directory", dir.display());
        return Check::fail("store", saw, "make it with `metanode init`, or correct `dir`");
    }
    // The file's name tells whose it is, should it outlive this process.
    let trial = dir.join(format!(".doctor.{}", std::process::id()));
    let written = fs::write(&trial, b"metanode doctor").and_then(|()| fs::remove_file(&trial));
    match written {
        Ok(()) => Check::ok("store", format!("{} can be written; it holds {}", dir.display(), size(dir))),
        Err(e) => {
            let saw = format!("{} cannot be written: {e}", dir.display());
            Check::fail("store", saw, "free space, or give the directory to the user who runs the node")
        }
    }
}

/// What the files below `dir` add up to.
fn size(dir: &Path) -> String {
    format!("{:.1} MiB", bytes(dir, 8) as f64 / f64::from(1 << 20))
}

/// The files' bytes, directories at most `depth` deep.
fn bytes(dir: &Path, depth: u32) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() && depth > 0 => bytes(&entry.path(), depth - 1),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.map(of).sum()
}

/// Whether a node that does not answer could listen.
pub fn ports(config: &Config) -> Check {
    let taken: Vec<String> = wanted(config).into_iter().filter_map(|wanted| wanted.taken()).collect();
    if taken.is_empty() {
        let saw = "nobody listens where this node would";
        return Check::warn(
            "ports",
            saw,
            "the node does not run; `metanode start` starts it, its log says why it ended",
        );
    }
    let advice = "another program, or this node without its API, has it; find it with `ss -lntup`, stop it, or change \
                  net.listen or api.listen";
    Check::fail("ports", taken.join("\n"), advice)
}

/// A place to listen.
struct Wanted {
    text: String,
    address: SocketAddr,
    tcp: bool,
}

impl Wanted {
    /// Why it cannot be listened on.
    fn taken(&self) -> Option<String> {
        let bound =
            if self.tcp { TcpListener::bind(self.address).map(drop) } else { UdpSocket::bind(self.address).map(drop) };
        bound.err().map(|e| format!("{}: {e}", self.text))
    }
}

fn wanted(config: &Config) -> Vec<Wanted> {
    let p2p = config.net.listen.iter().filter_map(|text| {
        let (address, tcp) = socket(text)?;
        Some(Wanted { text: text.clone(), address, tcp })
    });
    let api = config.api.listen.parse().ok();
    let api = api.map(|address| Wanted { text: format!("API {}", config.api.listen), address, tcp: true });
    p2p.chain(api).collect()
}

/// The socket address at the start of a multiaddress, and whether it is TCP's. None for one that begins with a name.
pub fn socket(address: &str) -> Option<(SocketAddr, bool)> {
    let mut parts = address.strip_prefix('/')?.split('/');
    let ip: IpAddr = match parts.next()? {
        "ip4" | "ip6" => parts.next()?.parse().ok()?,
        _ => return None,
    };
    let tcp = match parts.next()? {
        "tcp" => true,
        "udp" => false,
        _ => return None,
    };
    Some((SocketAddr::new(ip, parts.next()?.parse().ok()?), tcp))
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use crate::keys::Identity;

    fn config(dir: &Path) -> Config {
        let mut config = Config { dir: dir.into(), ..Config::default() };
        config.net.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
        config.api.listen = "127.0.0.1:0".into();
        config
    }

    #[test]
    fn a_key_is_judged_by_its_protection() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        assert_eq!(key(&config).0.result, Outcome::Fail);
        let identity = Identity::generate().unwrap();
        KeyFile::plain(&identity).create(&config.key_file()).unwrap();
        assert_eq!(key(&config).0.result, Outcome::Fail);
        config.key.allow_plain = true;
        let (check, id) = key(&config);
        assert_eq!((check.result, id), (Outcome::Warn, Some(identity.node_id().to_string())));
    }

    #[test]
    fn a_store_that_cannot_be_written_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(store(&config(dir.path())).result, Outcome::Ok);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(store(&config(&dir.path().join("none"))).result, Outcome::Fail);
    }

    #[test]
    fn a_port_in_use_is_a_failure_and_names_the_address() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        assert_eq!(ports(&config).result, Outcome::Warn);
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        config.net.listen = vec![format!("/ip4/127.0.0.1/tcp/{}", other.local_addr().unwrap().port())];
        let check = ports(&config);
        assert!(check.result == Outcome::Fail && check.saw.contains(&config.net.listen[0]), "{check:?}");
    }

    #[test]
    fn a_multiaddress_begins_with_a_socket_address_or_a_name() {
        let v6 = "[::1]:7".parse().unwrap();
        assert_eq!(socket("/ip6/::1/udp/7/quic-v1/p2p/x"), Some((v6, false)));
        assert_eq!(socket("/ip4/1.2.3.4/tcp/5"), Some(("1.2.3.4:5".parse().unwrap(), true)));
        for other in ["", "/", "/dns4/a.example/tcp/1", "/ip4/1.2.3.4", "/ip4/1.2.3.4/tcp/x", "ip4/1.2.3.4/tcp/5"] {
            assert_eq!(socket(other), None, "{other}");
        }
    }

    #[test]
    fn the_api_is_where_the_node_says_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        assert_eq!(api(&config), "http://127.0.0.1:0");
        fs::write(dir.path().join("ready.json"), r#"{"id":"x","api":"http://127.0.0.1:9"}"#).unwrap();
        assert_eq!(api(&config), "http://127.0.0.1:9");
    }
}
