//! What can be wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {fault}; `metanode init` writes one", path.display())]
    Unreadable { path: PathBuf, fault: io::Error },
    /// The file is not TOML.
    #[error("{}:{line}:{column}: not TOML: {reason}; correct this line", path.display())]
    Syntax { path: PathBuf, line: usize, column: usize, reason: String },
    /// The configuration cannot be written as TOML.
    #[error("the configuration cannot be written: {0}; numbers go up to 9223372036854775807, paths must be UTF-8")]
    Unwritable(String),
    /// Everything that is wrong with keys and values.
    #[error("{}", list(.0))]
    Faults(Vec<Fault>),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it was written.
    pub origin: Origin,
    /// The path of the key, as in `net.listen`.
    pub key: String,
    /// What is wrong and what to write instead.
    pub reason: String,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the file, counted from 1.
    File { path: PathBuf, line: usize },
    /// A variable of the environment.
    Variable(String),
    /// A `--set` flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => write!(f, "variable {name}"),
            Origin::Flag(text) => write!(f, "--set {text}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { origin, key, reason } = self;
        match origin {
            Origin::Default => write!(f, "{key}: {reason}"),
            Origin::File { .. } | Origin::Variable(_) | Origin::Flag(_) => write!(f, "{origin}: {key}: {reason}"),
        }
    }
}

fn list(faults: &[Fault]) -> String {
    let mut text = match faults.len() {
        1 => "the configuration has a fault:".to_string(),
        count => format!("the configuration has {count} faults:"),
    };
    for fault in faults {
        text.push_str(&format!("\n  {fault}"));
    }
    text
}
