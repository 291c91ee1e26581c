//! `metanode key`: make, show, export and import a node's identity; its sealing keys.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::ApiArgs;
use super::sealing;
use crate::config::{Config, LoadOptions};
use crate::keys::{Identity, KdfCost, KeyError, KeyFile, PassphraseSource, Protection, Purpose};

/// The most that is read from standard input, bytes.
const INPUT_BYTES: usize = 16 * 1024;

const EXAMPLES: &str = "\
Examples:
  metanode key ls                           whom messages can be sealed for
  metanode key rotate                       a new key to seal messages for this node
  metanode key new                          a new ~/.metanode/key.json
  metanode key show --json                  the node's id, without opening the key
  metanode key export --out backup.json     a copy under a passphrase of its own
  metanode key import backup.json --dir D   the same node on another machine
  metanode key import --seed < seed.hex     a key from another program

The key file is that of the node's configuration, unless --file names another.
A passphrase comes from --passphrase-file, else from METANODE_PASSPHRASE, else
from the terminal.";

/// Make, show, export and import a node's identity.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct KeyCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a new identity. An existing key file is never overwritten.
    New {
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Print the node's id.
    Show {
        #[command(flatten)]
        key: KeyArgs,
        /// Open the key as well, to see that the passphrase is right and the file whole.
        #[arg(long)]
        check: bool,
    },
    /// Write a copy of the identity, encrypted under a new passphrase.
    Export {
        #[command(flatten)]
        key: KeyArgs,
        /// Where to write it; `-` is standard output. An existing file is never overwritten.
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
        /// A file, mode 0600, with the copy's passphrase on its first line.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Make a new key to seal messages for the running node; what was sealed for the old one can be read for 90 days.
    /// The identity stays.
    Rotate {
        #[command(flatten)]
        api: ApiArgs,
    },
    /// The keys that the running node can seal messages for, and its own.
    Ls {
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Take over an identity from an export, or from a bare secret key.
    Import {
        #[command(flatten)]
        key: KeyArgs,
        /// The exported key file; `-` is standard input.
        #[arg(required_unless_present = "seed", conflicts_with = "seed")]
        source: Option<PathBuf>,
        /// Read a secret key from standard input: a seed of 64 hexadecimal digits, or seed and public key as 128 digits
        /// or 64 bytes.
        #[arg(long)]
        seed: bool,
        /// Accept an exported key file that is not encrypted.
        #[arg(long)]
        insecure_plain_source: bool,
        /// A file, mode 0600, with the passphrase of the new key file; without it, the source's passphrase serves.
        #[arg(long, value_name = "FILE", conflicts_with = "insecure_plain_key")]
        new_passphrase_file: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct KeyArgs {
    /// The node's key file. Goes before --dir; no configuration is read then.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The node's directory [default: ~/.metanode].
    #[arg(long, value_name = "DIR", env = "METANODE_DIR")]
    dir: Option<PathBuf>,
    /// A file, mode 0600, with the passphrase on its first line.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The node's key file is not encrypted. For test networks: whoever reads the file is this node.
    #[arg(long)]
    insecure_plain_key: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Where the node's key is and how it opens, flags and configuration taken together.
struct Place {
    file: PathBuf,
    protection: Protection,
    passphrase: PassphraseSource,
    /// A new key file is written without encryption: by flag only, never by configuration.
    write_plain: bool,
    json: bool,
}

impl KeyCommand {
    /// Does what was asked for.
    pub fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::New { key } => new(&key.place()?),
            Verb::Rotate { api } => super::block_on(sealing::rotate(api)),
            Verb::Ls { api } => super::block_on(sealing::list(api)),
            Verb::Show { key, check } => show(&key.place()?, check),
            Verb::Export { key, out, new_passphrase_file } => export(&key.place()?, &out, new_passphrase_file),
            Verb::Import { key, source, seed: _, insecure_plain_source, new_passphrase_file } => {
                let place = key.place()?;
                let identity = match source {
                    Some(source) => place.open_export(&source, Protection::from_flag(insecure_plain_source))?,
                    None => Identity::from_secret(&secret_from_input()?)?,
                };
                let second = new_passphrase_file.map(|file| PassphraseSource::second(Some(file), ""));
                place.write(&identity, second.as_ref().unwrap_or(&place.passphrase))
            }
        }
    }
}

impl KeyArgs {
    fn place(self) -> anyhow::Result<Place> {
        let (file, passphrase_file, allow_plain) = match self.file {
            Some(file) => (file, None, false),
            None => {
                let set = self.dir.map(|dir| format!("dir={}", dir.display()));
                let config = Config::load(LoadOptions::from_process(None, set.into_iter().collect()))
                    .context("to find the key, name its file with --file, or correct the configuration")?;
                (config.key_file(), config.key.passphrase_file, config.key.allow_plain)
            }
        };
        Ok(Place {
            file,
            protection: Protection::from_flag(self.insecure_plain_key || allow_plain),
            passphrase: PassphraseSource::from_process(self.passphrase_file.or(passphrase_file)),
            write_plain: self.insecure_plain_key,
            json: self.json,
        })
    }
}

impl Place {
    fn open(&self, file: &KeyFile) -> Result<Identity, KeyError> {
        let subject = format!("the key of {}", file.node_id());
        file.open(self.protection, || self.passphrase.passphrase(Purpose::Open, &subject)).map_err(|e| e.at(&self.file))
    }

    fn open_export(&self, source: &Path, protection: Protection) -> anyhow::Result<Identity> {
        let file = if is_dash(source) {
            let input = input()?;
            KeyFile::parse(std::str::from_utf8(&input).context("standard input is not a key file: not text")?)?
        } else {
            KeyFile::read(source)?
        };
        let subject = format!("the exported key of {}", file.node_id());
        let opened = file.open(protection, || self.passphrase.passphrase(Purpose::Open, &subject));
        Ok(opened.map_err(|e| e.at(source))?)
    }

    /// Writes `identity` as the node's key and says so.
    fn write(&self, identity: &Identity, passphrase: &PassphraseSource) -> anyhow::Result<()> {
        // Looked at first, so that nobody thinks up a passphrase in vain; `create` looks again.
        if self.file.symlink_metadata().is_ok() {
            return Err(KeyError::Exists.at(&self.file).into());
        }
        let file = make(identity, self.write_plain, passphrase)?;
        file.create(&self.file)?;
        describe(self.json, &file, &self.file)
    }
}

fn new(place: &Place) -> anyhow::Result<()> {
    place.write(&Identity::generate()?, &place.passphrase)
}

fn show(place: &Place, check: bool) -> anyhow::Result<()> {
    let file = KeyFile::read(&place.file)?;
    if check {
        place.open(&file)?;
    }
    describe(place.json, &file, &place.file)
}

fn export(place: &Place, out: &Path, new_passphrase_file: Option<PathBuf>) -> anyhow::Result<()> {
    let identity = place.open(&KeyFile::read(&place.file)?)?;
    let second = PassphraseSource::second(new_passphrase_file, "--new-passphrase-file FILE");
    let copy = make(&identity, false, &second)?;
    if is_dash(out) {
        return Ok(std::io::stdout().write_all(copy.to_json()?.as_bytes())?);
    }
    copy.create(out)?;
    describe(place.json, &copy, out)
}

/// A key file for `identity`, encrypted unless `plain` was asked for.
pub(super) fn make(identity: &Identity, plain: bool, source: &PassphraseSource) -> Result<KeyFile, KeyError> {
    if plain {
        return Ok(KeyFile::plain(identity));
    }
    let passphrase = source.passphrase(Purpose::Create, &format!("the key of {}", identity.node_id()))?;
    KeyFile::seal(identity, &passphrase, KdfCost::default())
}

fn describe(json: bool, file: &KeyFile, path: &Path) -> anyhow::Result<()> {
    let rows = [
        ("node_id", json!(file.node_id())),
        ("file", json!(path.to_string_lossy())),
        ("encrypted", json!(file.is_encrypted())),
    ];
    print(json, &rows)
}

/// Rows for people, or one object for programs.
pub(super) fn print(json: bool, rows: &[(&str, Value)]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let object: serde_json::Map<_, _> =
            rows.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        return Ok(writeln!(out, "{}", Value::Object(object))?);
    }
    for (name, value) in rows {
        let name = name.replace('_', " ");
        match value {
            Value::String(text) => writeln!(out, "{name:<10} {text}")?,
            Value::Bool(yes) => writeln!(out, "{name:<10} {}", if *yes { "yes" } else { "no" })?,
            other => writeln!(out, "{name:<10} {other}")?,
        }
    }
    Ok(())
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A bare secret key: from a pipe as it is, from a terminal without showing it.
fn secret_from_input() -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if std::io::stdin().is_terminal() {
        let text = rpassword::prompt_password("Secret key, 64 hexadecimal digits: ")?;
        return Ok(Zeroizing::new(text.into_bytes()));
    }
    input()
}

fn input() -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(INPUT_BYTES + 1));
    std::io::stdin().take(INPUT_BYTES as u64 + 1).read_to_end(&mut bytes).context("cannot read standard input")?;
    anyhow::ensure!(bytes.len() <= INPUT_BYTES, "standard input has more than {INPUT_BYTES} bytes; give a key only");
    Ok(bytes)
}
