//! Node identities at rest: ed25519 keys in files, encrypted under a passphrase.
//!
//! A shell room: it reads and writes files, asks the operating system for randomness and the operator for a
//! passphrase. It signs nothing and knows no message.
//!
//! ```text
//! passphrase ── argon2id(salt, cost) ──► 32-byte key ─┐
//! header: version, node id, kdf, cipher, nonce ───────┼─ associated data
//! seed, 32 bytes ─────────────────────────────────────┴─► xchacha20poly1305 ──► ciphertext, 48 bytes
//! ```
//!
//! Invariants: a key file has mode 0600 and is never overwritten; everything in it is either authenticated or equal to
//! what the key itself says; a key that is not encrypted is used only by a caller who asked for that by name
//! ([`Protection::PlainAllowed`]); seeds, passphrases and derived keys are wiped when dropped.

mod disk;
mod error;
mod file;
mod identity;
mod passphrase;
mod ring;
mod seal;

pub use disk::write_new;
pub use error::KeyError;
pub use file::{KeyFile, Protection};
pub use identity::Identity;
pub use passphrase::{Passphrase, PassphraseSource, Purpose};
pub use ring::{KeyRing, RingKey, SEALING_KEEP, SEALING_LIFE, SEALING_RENEW};
pub use seal::KdfCost;

#[cfg(test)]
mod tests;
