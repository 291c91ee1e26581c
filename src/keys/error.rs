//! What can go wrong with a key, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::types::NodeId;

/// Why a key cannot be made, read or written. The text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A fault of the key file at `path`.
    #[error("{}: {fault}", path.display())]
    At { path: PathBuf, fault: Box<KeyError> },
    /// There is no such file.
    #[error("no such file; `metanode key new` or `metanode init` makes a key, `metanode key import` brings one")]
    Missing,
    /// The file cannot be read.
    #[error("cannot be read: {0}; check that the user who runs metanode owns it")]
    Read(io::Error),
    /// The file cannot be written.
    #[error("cannot be written: {0}; check the directory's owner and free space")]
    Write(io::Error),
    /// A key would have been overwritten.
    #[error("exists already and is never overwritten; move it away, or name another file")]
    Exists,
    /// Other users can read or write the file.
    #[error("other users can get at it (mode {mode:04o}); run `chmod 600` on it and try again")]
    Exposed { mode: u32 },
    /// A file larger than anything of its kind.
    #[error("is larger than {limit} bytes; give the right file")]
    TooLarge { limit: u64 },
    /// The file is no key file, or part of it is damaged.
    #[error("is not a key file: {0}; give the right file, or restore it from a backup or an export")]
    Malformed(String),
    /// The file was written by a version of metanode with another format.
    #[error("has key file version {0}, this program knows version 1; use the version of metanode that wrote it")]
    UnknownVersion(u64),
    /// The file names an algorithm that this program does not have.
    #[error("names {field} `{found}`, this program knows `{known}`; restore the file from a backup or an export")]
    UnknownAlgorithm { field: &'static str, found: String, known: &'static str },
    /// The cost of the key derivation is outside the bounds.
    #[error("asks for key derivation with {field} = {found}, allowed is {least} to {most}; restore it from a backup")]
    Cost { field: &'static str, found: u32, least: u32, most: u32 },
    /// There is not enough memory to derive the key.
    #[error("needs {kib} KiB of free memory to be opened; free some, or raise the limit of the process")]
    Memory { kib: u32 },
    /// The file is not encrypted, and the caller did not ask for such a key.
    #[error(
        "is not encrypted; encrypt it with `metanode key import --insecure-plain-source FILE`, or, in a test network \
         only, allow it with --insecure-plain-key or `key.allow_plain = true`"
    )]
    PlainRefused,
    /// The ciphertext does not open. The two causes look alike, by design of the cipher.
    #[error("does not open: the passphrase is wrong, or the file was changed; try again, or restore a backup")]
    WrongPassphrase,
    /// The key inside belongs to another node than the file says.
    #[error("says it is the key of {claimed}, but holds that of {found}; restore it from a backup")]
    OtherNode { claimed: NodeId, found: NodeId },
    /// The file of sealing keys does not open.
    #[error(
        "is no file of this node's sealing keys: {0}; restore it from a backup, or move it away: the node then makes a \
         new key, and what was sealed for the old ones stays closed"
    )]
    Ring(String),
    /// The text or bytes are not a seed or a key pair.
    #[error("not a secret key: {0}; give 64 hexadecimal digits (a seed) or 128 (seed and public key)")]
    Seed(String),
    /// A passphrase without a character.
    #[error("the passphrase from {0} is empty; give one of at least one character, better of six words")]
    EmptyPassphrase(&'static str),
    /// A passphrase that is not text.
    #[error("is not a passphrase: not UTF-8 text; write the passphrase on the first line")]
    PassphraseText,
    /// Nobody to ask.
    #[error("a passphrase is needed and standard input is not a terminal; give {0}")]
    NoTerminal(&'static str),
    /// The two entries of a new passphrase differ.
    #[error("the two passphrases differ; nothing was written, run the command again")]
    PassphrasesDiffer,
    /// The terminal failed.
    #[error("cannot ask for a passphrase: {0}; give --passphrase-file or METANODE_PASSPHRASE")]
    Prompt(io::Error),
    /// The operating system gave no randomness.
    #[error("the operating system gives no randomness: {0}; a key made now would be guessable, so none was made")]
    Randomness(getrandom::Error),
    /// A cryptographic step refused parameters that were checked before.
    #[error("{0} refused its input; this is a fault of metanode, please report it")]
    Primitive(&'static str),
}

impl KeyError {
    /// The same fault, of the file at `path`.
    pub fn at(self, path: impl Into<PathBuf>) -> KeyError {
        match self {
            placed @ KeyError::At { .. } => placed,
            fault => KeyError::At { path: path.into(), fault: Box::new(fault) },
        }
    }

    /// The fault itself, without the file it was found in.
    pub fn fault(&self) -> &KeyError {
        match self {
            KeyError::At { fault, .. } => fault.fault(),
            fault => fault,
        }
    }
}
