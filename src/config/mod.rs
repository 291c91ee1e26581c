//! What an operator decides about a node: a TOML file, then the environment, then flags.
//!
//! A shell room: it reads one file and is handed the environment. It opens no socket and makes no directory.
//!
//! ```text
//! defaults ─► file ─► METANODE_… ─► --set path=value ─► Config ─► checks ─► one list of faults
//!              each later source replaces single keys of the earlier ones
//! ```
//!
//! Invariants: an unknown key is a fault, never passed over; all faults are reported together, each with its source
//! and what to write instead; a [`Config`] from [`Config::load`] has passed every check, so nobody checks it again.
//! Every key is described in one place, `catalogue.rs`, which also drives the commented file of `metanode init`.

mod catalogue;
mod check;
mod commented;
mod error;
mod layers;
mod load;
mod nearest;
mod net;
mod node_type;
mod retention;

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::flow::Policy;
use crate::meter::AlertRule;
use crate::route::Strategy;
use crate::types::NetworkName;
use crate::types::chain::BlockId;

pub use error::{ConfigError, Fault, Origin};
pub use load::LoadOptions;
pub use net::{ConnectionLimits, NetConfig, Profile};
pub use node_type::NODE_TYPES;
pub use retention::{Keep, Retention};

/// A node's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The network this node belongs to. What is signed for one network means nothing in another.
    #[serde(with = "network_name")]
    pub network: NetworkName,
    /// A name for people to see beside the node's id; may be empty. At most 128 bytes.
    pub name: String,
    /// One of [`NODE_TYPES`]: which topics the node follows, which services it offers, what it may send.
    pub node_type: String,
    /// Services it offers beside those of its type, by name.
    pub services: Vec<String>,
    /// The directory of everything the node keeps. A leading `~/` stands for the home directory; [`Config::load`]
    /// resolves it.
    pub dir: PathBuf,
    /// The node's identity.
    pub key: KeyConfig,
    /// The peer-to-peer network.
    pub net: NetConfig,
    /// The API for clients on this machine.
    pub api: ApiConfig,
    /// The store on disk.
    pub store: StoreConfig,
    /// How messages share the way out.
    pub flow: FlowConfig,
    /// Conditions worth an alert, beside the built-in ones or in their place.
    pub alerts: Vec<AlertRule>,
    /// What is kept for how long.
    pub retention: Retention,
    /// The chain the node takes part in.
    pub chain: ChainConfig,
    /// The log.
    pub log: LogConfig,
    /// Whether the node may be put wrong on purpose. No file and no variable says so, only `start --perturbable`.
    #[serde(skip)]
    pub perturbable: bool,
}

/// The chain the node takes part in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainConfig {
    /// What the chain begins with, the same file at every node; none for a node without a chain.
    pub genesis: Option<PathBuf>,
    /// Whether this node votes when it is a validator. One key must vote at one place only.
    pub validator: bool,
    /// Whether it votes at a height of which the log of its votes is lost, instead of waiting until it is decided.
    pub vote_without_log: bool,
    /// Without transactions a block is made this long after the last, milliseconds, up to 86,400,000; 0 is never.
    pub heartbeat_ms: u64,
    /// A block that is known to be final, from people and not from the network; none to believe what genesis leads to.
    pub trusted: Option<TrustedBlock>,
    /// A node that is so many blocks behind fetches the state instead of every block; 0 is never.
    pub snapshot_behind: u64,
    /// From one block to the next, at least, milliseconds. 1 to 3,600,000.
    pub cadence_ms: u64,
    /// For a proposal and its block to come, milliseconds. 10 to 600,000. Votes get a third of it.
    pub propose_ms: u64,
}

impl Default for ChainConfig {
    fn default() -> ChainConfig {
        ChainConfig {
            genesis: None,
            validator: true,
            vote_without_log: false,
            heartbeat_ms: 0,
            trusted: None,
            snapshot_behind: 10_000,
            cadence_ms: 500,
            propose_ms: 1_000,
        }
    }
}

/// A block of the chain, by its height and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedBlock {
    /// Its height, from 1.
    pub height: u64,
    /// Its id, as `metanode ledger block HEIGHT` shows it.
    pub hash: BlockId,
}

impl FromStr for TrustedBlock {
    type Err = String;

    fn from_str(text: &str) -> Result<TrustedBlock, String> {
        let parts = text.split_once(':').and_then(|(height, hash)| Some((height.parse().ok()?, hash.parse().ok()?)));
        let (height, hash) = parts.filter(|(height, _)| *height > 0).ok_or_else(|| {
            format!("`{text}`: write HEIGHT:HASH, a height from 1 and the block's id, 64 hexadecimal digits")
        })?;
        Ok(TrustedBlock { height, hash })
    }
}

/// Where the node's identity is and how it opens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyConfig {
    /// The key file; none means `key.json` in [`Config::dir`]. See [`Config::key_file`].
    pub file: Option<PathBuf>,
    /// A file with the passphrase on its first line; none means `METANODE_PASSPHRASE`, then the terminal.
    pub passphrase_file: Option<PathBuf>,
    /// Whether a key that is not encrypted is accepted. For test networks.
    pub allow_plain: bool,
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Socket address to listen on, `IP:PORT`.
    pub listen: String,
    /// Whether `listen` may be an address that other machines can reach.
    pub allow_remote: bool,
}

/// The store on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Memory for cached pages, bytes. 1 MiB to 1 TiB.
    pub cache_bytes: u64,
    /// What is not flushed at once reaches the disk after at most this long, milliseconds. 1 to 60,000.
    pub flush_every_ms: u64,
}

/// How messages of this node share the way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowConfig {
    /// The rule by which priorities are served.
    pub scheduler: Policy,
    /// Which way direct messages go.
    pub route_strategy: Strategy,
}

/// The log, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Form of a line.
    pub format: LogFormat,
    /// What is logged: a `tracing` filter, as in `info` or `info,metanode::net=debug`.
    pub level: String,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line.
    Json,
}

impl Config {
    /// The key file.
    pub fn key_file(&self) -> PathBuf {
        self.key.file.clone().unwrap_or_else(|| self.dir.join("key.json"))
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            network: network_name::local(),
            name: String::new(),
            node_type: "Gateway".into(),
            services: Vec::new(),
            dir: "~/.metanode".into(),
            key: KeyConfig::default(),
            net: NetConfig::default(),
            api: ApiConfig::default(),
            store: StoreConfig::default(),
            flow: FlowConfig::default(),
            alerts: Vec::new(),
            retention: Retention::default(),
            chain: ChainConfig::default(),
            log: LogConfig::default(),
            perturbable: false,
        }
    }
}

impl Default for ApiConfig {
    fn default() -> ApiConfig {
        ApiConfig { listen: "127.0.0.1:7780".into(), allow_remote: false }
    }
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig { cache_bytes: 64 << 20, flush_every_ms: 200 }
    }
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig { format: LogFormat::Text, level: "info".into() }
    }
}

/// A network's name as text.
mod network_name {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::types::NetworkName;

    /// The network of a machine that was not told of another.
    pub fn local() -> NetworkName {
        // Five of a-z: a name, by the rule in `NetworkName::from_str`; the tests load it.
        "local".parse().expect("`local` is a network name")
    }

    pub fn serialize<S: Serializer>(name: &NetworkName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(name)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NetworkName, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
