//! `testnet.json`: what is known of a network's nodes. Its shape is an interface for scripts.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::args::Transport;
use crate::config::Profile;

/// Name of the file in the network's directory.
const FILE: &str = "testnet.json";

/// How the nodes of a network are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The network's name.
    pub network: String,
    /// Gossip settings.
    pub profile: Profile,
    /// What the nodes speak over.
    pub transport: Transport,
    /// Whether the nodes take part in a chain of their own.
    #[serde(default)]
    pub chain: bool,
}

/// A network of processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// How its nodes are made.
    #[serde(flatten)]
    pub plan: Plan,
    /// Its nodes, in the order of their names.
    pub nodes: Vec<NodeRecord>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// `node-0` and so on.
    pub name: String,
    /// Its process when it was last started; none after it was stopped.
    pub pid: Option<u32>,
    /// Its id, 12D3Koo….
    pub id: String,
    /// Multiaddresses to reach it, with its id.
    pub p2p: Vec<String>,
    /// Base URL of its API.
    pub api: String,
    /// Its directory, absolute.
    pub dir: PathBuf,
}

impl NodeRecord {
    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log.txt")
    }

    /// What it writes when it listens.
    pub fn ready_file(&self) -> PathBuf {
        self.dir.join("ready.json")
    }
}

/// The file of the network in `dir`.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

impl Record {
    /// The network in `dir`; none where there is no file.
    pub fn find(dir: &Path) -> anyhow::Result<Option<Record>> {
        let path = path(dir);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
        };
        let remedy = || format!("{} is damaged; stop its nodes and remove the directory", path.display());
        let record: Record = serde_json::from_str(&text).with_context(remedy)?;
        if let Some(node) = record.nodes.iter().find(|node| !node.dir.starts_with(dir)) {
            bail!(
                "{} is of a network whose nodes are in {}, not here: a network cannot be copied or moved; make one with \
                 `metanode testnet up` in an empty directory",
                path.display(),
                node.dir.display()
            );
        }
        Ok(Some(record))
    }

    /// The network in `dir`, which must be there.
    pub fn read(dir: &Path) -> anyhow::Result<Record> {
        match Record::find(dir)? {
            Some(record) => Ok(record),
            None => bail!("there is no network in {0}; `metanode testnet up --dir {0}` makes one", dir.display()),
        }
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let path = path(dir);
        let temporary = dir.join(format!(".{FILE}.{}", std::process::id()));
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(&temporary, text)
            .and_then(|()| fs::rename(&temporary, &path))
            .with_context(|| format!("cannot write {}; check the directory's owner and free space", path.display()))
    }

    /// Where the node called `name` is in [`Record::nodes`]; `2` stands for `node-2`.
    pub fn place(&self, name: &str) -> anyhow::Result<usize> {
        let is = |node: &NodeRecord| node.name == name || node.name.strip_prefix("node-") == Some(name);
        let names = || self.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = self.nodes.iter().position(is);
        found.with_context(|| format!("there is no node `{name}` here; there is {}", names()))
    }

    /// The node called `name`.
    pub fn node_mut(&mut self, name: &str) -> anyhow::Result<&mut NodeRecord> {
        let place = self.place(name)?;
        self.nodes.get_mut(place).context("the node is gone")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let node = |n: usize| NodeRecord {
            name: format!("node-{n}"),
            pid: Some(7),
            id: "12D3".into(),
            p2p: vec!["/ip4/127.0.0.1/tcp/1/p2p/12D3".into()],
            api: "http://127.0.0.1:2".into(),
            dir: format!("/t/node-{n}").into(),
        };
        let plan = Plan { network: "t".into(), profile: Profile::Small, transport: Transport::Tcp, chain: false };
        Record { plan, nodes: vec![node(0), node(1)] }
    }

    #[test]
    fn the_file_has_the_documented_shape() {
        let value = serde_json::to_value(record()).unwrap();
        let node = value["nodes"][0].as_object().unwrap();
        let mut keys: Vec<_> = node.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["api", "dir", "id", "name", "p2p", "pid"]);
        assert_eq!(
            (&value["network"], &value["profile"], &value["transport"]),
            (&"t".into(), &"small".into(), &"tcp".into())
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Record::find(dir.path()).unwrap().is_none());
        assert!(Record::read(dir.path()).unwrap_err().to_string().contains("testnet up"));
        record().write(dir.path()).unwrap();
        assert!(
            Record::read(dir.path()).unwrap_err().to_string().contains("cannot be copied"),
            "its nodes are elsewhere"
        );
        let mut here = record();
        here.nodes.iter_mut().for_each(|node| node.dir = dir.path().join(&node.name));
        here.write(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()).unwrap().nodes, here.nodes);
        fs::write(path(dir.path()), "{").unwrap();
        assert!(format!("{:#}", Record::read(dir.path()).unwrap_err()).contains("damaged"));
    }

    #[test]
    fn a_node_is_found_by_name_or_number() {
        assert_eq!((record().place("node-1").unwrap(), record().place("1").unwrap()), (1, 1));
        assert!(record().place("2").unwrap_err().to_string().contains("node-0, node-1"));
    }
}
