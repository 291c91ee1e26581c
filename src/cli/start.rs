//! `metanode start`: runs a node until it is told to stop.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, LoadOptions, LogFormat, TrustedBlock};
use crate::keys::{Identity, PassphraseSource, Protection, Purpose};
use crate::start::{Running, start};
use crate::types::{NodeId, limits};

/// Open files of a node: its API's connections, and as many as its peers, its store and everything else may need; the
/// store holds every file of its journal open, one for each 64 MiB.
const DESCRIPTORS: u64 = limits::API_CONNECTIONS as u64 + 2_048;

/// Run a node.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  metanode init && metanode start
  metanode start --bootstrap /ip4/192.0.2.1/tcp/7700/p2p/12D3KooW…
  metanode start --trusted 120000:5f0c… --bootstrap /ip4/192.0.2.1/tcp/7700/p2p/12D3KooW…
  metanode start --dir /var/lib/metanode --set net.profile=open --set api.listen=127.0.0.1:9000

Flags override METANODE_… variables, which override the configuration file.
Exit codes: 0 stopped as asked, 1 could not start or could not go on, 2 wrong usage.")]
pub struct StartArgs {
    /// The configuration file [default: <dir>/config.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The node's folder: key, configuration, store
    #[arg(long, value_name = "DIR", env = "METANODE_DIR")]
    dir: Option<PathBuf>,
    /// Join by this node; may be given more than once
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<String>,
    /// A block of the chain that is known to be final, from people you trust: a node far behind it begins there
    #[arg(long, value_name = "HEIGHT:HASH")]
    trusted: Option<TrustedBlock>,
    /// Set one key of the configuration; may be given more than once
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Read the key's passphrase from this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Take a key that is not encrypted
    #[arg(long)]
    insecure_plain_key: bool,
    /// For test networks: let `metanode testnet perturb` cut this node off, slow it down and put its clock wrong. It then
    /// listens on this machine alone
    #[arg(long)]
    perturbable: bool,
    /// When the node listens, write where to this file (JSON)
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Print where the node listens as JSON
    #[arg(long)]
    json: bool,
}

/// Where a node listens.
#[derive(Serialize)]
struct Ready<'a> {
    id: NodeId,
    pid: u32,
    p2p: &'a [String],
    api: String,
}

impl StartArgs {
    /// Runs until a signal or a fault.
    pub async fn run(self) -> anyhow::Result<()> {
        let config = self.configuration()?;
        log(&config);
        let identity = self.identity(&config)?;
        allow_descriptors();
        let mut stop = signal(SignalKind::terminate()).context("cannot listen for signals")?;
        let mut running = start(&config, &identity).await?;
        drop(identity);
        self.announce(&config, &running)?;
        tokio::select! {
            end = running.ended() => return end.map_err(|fault| anyhow::anyhow!(fault)),
            _ = tokio::signal::ctrl_c() => {}
            _ = stop.recv() => {}
        }
        tracing::info!("stopping");
        running.stop().await.map_err(|fault| anyhow::anyhow!(fault))
    }

    fn configuration(&self) -> anyhow::Result<Config> {
        let mut set = self.set.clone();
        let mut quoted =
            |path: &str, value: &Path| set.push(format!("{path}={}", toml::Value::from(value.display().to_string())));
        if let Some(dir) = &self.dir {
            quoted("dir", dir);
        }
        if let Some(file) = &self.passphrase_file {
            quoted("key.passphrase_file", file);
        }
        if self.insecure_plain_key {
            set.push("key.allow_plain=true".into());
        }
        if let Some(TrustedBlock { height, hash }) = self.trusted {
            set.push(format!("chain.trusted={{ height = {height}, hash = \"{hash}\" }}"));
        }
        let mut config = Config::load(LoadOptions::from_process(self.file(), set))?;
        if !self.bootstrap.is_empty() {
            config.net.bootstrap.extend(self.bootstrap.iter().cloned());
        }
        config.perturbable = self.perturbable;
        if self.perturbable || !self.bootstrap.is_empty() {
            config.check()?;
        }
        Ok(config)
    }

    /// The file named, or the one in the directory named.
    fn file(&self) -> Option<PathBuf> {
        let beside = self.dir.as_ref().map(|dir| dir.join("config.toml")).filter(|file| file.is_file());
        self.config.clone().or(beside)
    }

    fn identity(&self, config: &Config) -> anyhow::Result<Identity> {
        let ask = || {
            let source = PassphraseSource::from_process(config.key.passphrase_file.clone());
            source.passphrase(Purpose::Open, "the node's key")
        };
        Ok(Identity::load(&config.key_file(), Protection::from_flag(config.key.allow_plain), ask)?)
    }

    fn announce(&self, config: &Config, running: &Running) -> anyhow::Result<()> {
        let ready = Ready {
            id: running.id,
            pid: std::process::id(),
            p2p: &running.listening,
            api: format!("http://{}", running.api),
        };
        if let Some(path) = &self.ready_file {
            let beside = path.with_extension("tmp");
            std::fs::write(&beside, serde_json::to_vec(&ready)?)
                .and_then(|()| std::fs::rename(&beside, path))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let text = if self.json {
            serde_json::to_string(&ready)? + "\n"
        } else {
            let p2p: String = ready.p2p.iter().map(|address| format!("p2p      {address}\n")).collect();
            format!("node     {}\nnetwork  {}\n{p2p}api      {}\n", ready.id, config.network, ready.api)
        };
        if let Err(cause) = std::io::stdout().lock().write_all(text.as_bytes()) {
            tracing::warn!(%cause, "where the node listens cannot be printed");
        }
        Ok(())
    }
}

/// As many descriptors as the system allows: connections have their bounds, the store grows.
fn allow_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_err() || most < DESCRIPTORS {
        tracing::warn!(
            most,
            needed = DESCRIPTORS,
            "few open files are allowed: under many connections the store may find none; raise `ulimit -n`"
        );
    }
}

fn log(config: &Config) {
    // Malachite tells of every vote; whoever wants to hear it names it in `log.level`.
    let level = format!(
        "arc_malachitebft_core_consensus=error,arc_malachitebft_core_driver=error,libp2p_gossipsub=error,{}",
        config.log.level
    );
    let filter = tracing_subscriber::EnvFilter::try_new(level).unwrap_or_else(|_| "info".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}
