//! Where a passphrase comes from: a file, the environment, or the operator at the terminal, in that order.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KeyError, disk};

/// A passphrase file is not larger than this, bytes.
const FILE_BYTES: u64 = 4096;
/// The variable of the environment that holds a passphrase.
const VARIABLE: &str = "METANODE_PASSPHRASE";

/// Words that open a key. At least one character, wiped when dropped, never shown.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// `text`, unless it is empty; `source` names it in the error.
    pub fn new(text: Zeroizing<String>, source: &'static str) -> Result<Passphrase, KeyError> {
        if text.is_empty() { Err(KeyError::EmptyPassphrase(source)) } else { Ok(Passphrase(text)) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// What a passphrase is wanted for: decides whether a prompt asks once or twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To open an existing key.
    Open,
    /// To protect a new one.
    Create,
}

/// The places to look for a passphrase.
#[derive(Default)]
pub struct PassphraseSource {
    file: Option<PathBuf>,
    environment: Option<Zeroizing<String>>,
    ways: Option<&'static str>,
}

impl PassphraseSource {
    /// `file`, else the variable `METANODE_PASSPHRASE` of this process, else the terminal.
    pub fn from_process(file: Option<PathBuf>) -> PassphraseSource {
        PassphraseSource { file, environment: std::env::var(VARIABLE).ok().map(Zeroizing::new), ways: None }
    }

    /// `file`, else the terminal: for a second passphrase beside that of [`PassphraseSource::from_process`]. `ways`
    /// says in the error how else to give one.
    pub fn second(file: Option<PathBuf>, ways: &'static str) -> PassphraseSource {
        PassphraseSource { file, environment: None, ways: Some(ways) }
    }

    /// `environment` in the place of the process's variable.
    pub fn with_environment(self, environment: Option<String>) -> PassphraseSource {
        PassphraseSource { environment: environment.map(Zeroizing::new), ..self }
    }

    /// The passphrase. `subject` says in the prompt what it is for: "the key of 12D3Koo…".
    pub fn passphrase(&self, purpose: Purpose, subject: &str) -> Result<Passphrase, KeyError> {
        if let Some(path) = &self.file {
            return from_file(path).map_err(|e| e.at(path));
        }
        if let Some(text) = &self.environment {
            return Passphrase::new(text.clone(), VARIABLE);
        }
        if !io::stdin().is_terminal() {
            return Err(KeyError::NoTerminal(
                self.ways.unwrap_or("--passphrase-file FILE, or set METANODE_PASSPHRASE"),
            ));
        }
        match purpose {
            Purpose::Open => ask(&format!("Passphrase for {subject}: ")),
            Purpose::Create => ask_twice(subject),
        }
    }
}

impl fmt::Debug for PassphraseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let environment = self.environment.as_ref().map(|_| "…");
        f.debug_struct("PassphraseSource").field("file", &self.file).field("environment", &environment).finish()
    }
}

/// The file's text without the line break at its end.
fn from_file(path: &Path) -> Result<Passphrase, KeyError> {
    let bytes = match disk::read_private(path, FILE_BYTES) {
        Err(KeyError::Missing) => return Err(KeyError::Read(io::ErrorKind::NotFound.into())),
        read => read?,
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::PassphraseText)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Passphrase::new(Zeroizing::new(text.to_string()), "the passphrase file")
}

fn ask(prompt: &str) -> Result<Passphrase, KeyError> {
    let text = rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(KeyError::Prompt)?;
    Passphrase::new(text, "the terminal")
}

fn ask_twice(subject: &str) -> Result<Passphrase, KeyError> {
    let first = ask(&format!("New passphrase for {subject}: "))?;
    let second = ask("The same again: ")?;
    if *first.0 == *second.0 { Ok(first) } else { Err(KeyError::PassphrasesDiffer) }
}
