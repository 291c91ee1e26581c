//! `metanode init`: a configuration and an identity, ready to start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use super::key;
use crate::config::Config;
use crate::keys::{Identity, KeyError, KeyFile, PassphraseSource, write_new};
use crate::types::NetworkName;

/// Configurations by the name that `--type` takes for each.
const PRESETS: [(&str, &str); 18] = [
    ("validator", include_str!("../../node-configs/validator.toml")),
    ("gateway", include_str!("../../node-configs/gateway.toml")),
    ("storage", include_str!("../../node-configs/storage.toml")),
    ("observer", include_str!("../../node-configs/observer.toml")),
    ("development", include_str!("../../node-configs/development.toml")),
    ("mempool", include_str!("../../node-configs/mempool.toml")),
    ("consensus", include_str!("../../node-configs/consensus.toml")),
    ("oracle", include_str!("../../node-configs/oracle.toml")),
    ("audit", include_str!("../../node-configs/audit.toml")),
    ("proof", include_str!("../../node-configs/proof.toml")),
    ("bank-api-registry", include_str!("../../node-configs/bank-api-registry.toml")),
    ("government-api-registry", include_str!("../../node-configs/government-api-registry.toml")),
    ("shadow-registry", include_str!("../../node-configs/shadow-registry.toml")),
    ("mining", include_str!("../../node-configs/mining.toml")),
    ("notary", include_str!("../../node-configs/notary.toml")),
    ("bpci-server", include_str!("../../node-configs/bpci-server.toml")),
    ("enterprise-gateway", include_str!("../../node-configs/enterprise-gateway.toml")),
    ("compliance-node", include_str!("../../node-configs/compliance-node.toml")),
];

const EXAMPLES: &str = "\
Examples:
  metanode init                                   a node in ~/.metanode
  metanode init --type validator --network main   a validator of the network main
  metanode init --type Notary --dir /srv/notary   default settings, another type
  metanode init --type development --insecure-plain-key --dir /tmp/node-1

Whole configurations: validator, gateway, storage, mempool, consensus, oracle,
audit, proof, bank-api-registry, government-api-registry, shadow-registry,
mining, notary, bpci-server, enterprise-gateway, compliance-node; observer (a
shadow registry that only dials) and development.
Node types, which give the default configuration with that type: Gateway,
Mempool, Consensus, Oracle, Storage, Audit, Proof, BankApiRegistry,
GovernmentApiRegistry, ShadowRegistry, Mining, Validator, Notary, BpciServer,
EnterpriseGateway, ComplianceNode. A type decides which topics a node follows,
which services it offers and what it may send: see docs/routes.md.
A passphrase comes from --passphrase-file, else from METANODE_PASSPHRASE, else
from the terminal.";

/// Write a configuration and an identity for a new node.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    /// The node's directory [default: ~/.metanode, for development ~/.metanode-dev].
    #[arg(long, value_name = "DIR", env = "METANODE_DIR")]
    dir: Option<PathBuf>,
    /// What the node is: a configuration or a node type.
    #[arg(long = "type", value_name = "T")]
    node_type: Option<String>,
    /// The network to belong to: 1 to 32 of a-z, 0-9 and -.
    #[arg(long, value_name = "N")]
    network: Option<NetworkName>,
    /// A file, mode 0600, with the passphrase on its first line. The configuration will name it.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure_plain_key")]
    passphrase_file: Option<PathBuf>,
    /// Do not encrypt the key. For test networks: whoever reads the file is this node.
    #[arg(long)]
    insecure_plain_key: bool,
    /// Write the configuration anew; the old one becomes config.toml.old, an existing key is kept.
    #[arg(long)]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl InitArgs {
    /// Writes `config.toml` and `key.json` and says how to go on.
    pub fn run(self) -> anyhow::Result<()> {
        let config = self.config(std::env::var("HOME").ok().as_deref())?;
        let text = config.to_toml_commented()?;
        let (config_file, key_file) = (config.dir.join("config.toml"), config.key_file());
        if !self.force {
            refuse_existing(&config_file)?;
            refuse_existing(&key_file)?;
        }
        let key = self.key(&config, &key_file)?;
        set_aside(&config_file)?;
        write_new(&config_file, text.as_bytes(), 0o644).map_err(|e| e.at(&config_file))?;
        let rows = [
            ("node_id", json!(key.node_id())),
            ("config", json!(config_file.to_string_lossy())),
            ("key", json!(key_file.to_string_lossy())),
            ("encrypted", json!(key.is_encrypted())),
            ("next", json!(format!("metanode start --config {}", quoted(&config_file.to_string_lossy())))),
        ];
        key::print(self.json, &rows)
    }

    /// The configuration to write, paths absolute.
    fn config(&self, home: Option<&str>) -> anyhow::Result<Config> {
        let named = self.node_type.as_deref();
        let preset = PRESETS.iter().find(|(name, _)| Some(*name) == named);
        // A directory by flag stands in for the one of the configuration, so a home is not needed then.
        let home = home.or(self.dir.as_ref().map(|_| "/"));
        let (name, text) = preset.copied().unwrap_or_default();
        let mut config = Config::from_toml(Path::new(name), text, home).context("give --dir DIR, or set HOME")?;
        if let (None, Some(node_type)) = (preset, named) {
            config.node_type = node_type.into();
        }
        if let Some(network) = &self.network {
            config.network = network.clone();
        }
        config.dir = std::path::absolute(self.dir.as_ref().unwrap_or(&config.dir))?;
        config.key.passphrase_file = self.passphrase_file.as_ref().map(std::path::absolute).transpose()?;
        config.key.allow_plain |= self.insecure_plain_key;
        config
            .check()
            .context("--type takes the name of a configuration or a node type; `metanode init --help` lists both")?;
        Ok(config)
    }

    /// The node's key: the existing one, which only `--force` lets come here, or a new one.
    fn key(&self, config: &Config, path: &Path) -> anyhow::Result<KeyFile> {
        if path.symlink_metadata().is_ok() {
            let file = KeyFile::read(path)?;
            if !file.is_encrypted() && !config.key.allow_plain {
                bail!(KeyError::PlainRefused.at(path));
            }
            return Ok(file);
        }
        let source = PassphraseSource::from_process(self.passphrase_file.clone());
        let file = key::make(&Identity::generate()?, self.insecure_plain_key, &source)?;
        file.create(path)?;
        Ok(file)
    }
}

fn refuse_existing(path: &Path) -> anyhow::Result<()> {
    if path.symlink_metadata().is_ok() {
        bail!(
            "{} exists already; choose another --dir, or give --force to write the configuration anew and keep the key",
            path.display()
        );
    }
    Ok(())
}

/// Renames an old configuration, so that a new one can take its place.
fn set_aside(path: &Path) -> anyhow::Result<()> {
    if path.symlink_metadata().is_ok() {
        let old = path.with_extension("toml.old");
        fs::rename(path, &old).with_context(|| format!("cannot rename {} to {}", path.display(), old.display()))?;
    }
    Ok(())
}

/// `word` as one word of a POSIX shell.
fn quoted(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if word.chars().all(safe) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NODE_TYPES;

    fn args(node_type: Option<&str>) -> InitArgs {
        InitArgs {
            dir: None,
            node_type: node_type.map(Into::into),
            network: None,
            passphrase_file: None,
            insecure_plain_key: false,
            force: false,
            json: false,
        }
    }

    #[test]
    fn every_type_gives_a_configuration_that_can_be_written() {
        for name in PRESETS.iter().map(|(name, _)| *name).chain(NODE_TYPES) {
            let config = args(Some(name)).config(Some("/home/someone")).unwrap_or_else(|e| panic!("{name}: {e:#}"));
            let text = config.to_toml_commented().unwrap();
            assert_eq!(Config::from_toml(Path::new(name), &text, None).unwrap(), config, "{name}");
        }
        assert_eq!(args(Some("Notary")).config(Some("/h")).unwrap().node_type, "Notary");
        assert_eq!(args(Some("observer")).config(Some("/h")).unwrap().node_type, "ShadowRegistry");
        assert_eq!(args(Some("notary")).config(Some("/h")).unwrap().name, "notary", "a whole configuration");
        assert!(args(Some("Notaries")).config(Some("/h")).is_err());
    }

    #[test]
    fn a_directory_by_flag_needs_no_home() {
        let with_dir = InitArgs { dir: Some("/data/node".into()), insecure_plain_key: true, ..args(None) };
        let config = with_dir.config(None).unwrap();
        assert_eq!((config.dir.as_path(), config.key.allow_plain), (Path::new("/data/node"), true));
        assert!(args(None).config(None).is_err());
    }

    #[test]
    fn a_path_is_one_word_to_the_shell() {
        let cases = [("/a/b.toml", "/a/b.toml"), ("/a b", "'/a b'"), ("it's", r"'it'\''s'")];
        for (word, expected) in cases {
            assert_eq!(quoted(word), expected);
        }
    }
}
