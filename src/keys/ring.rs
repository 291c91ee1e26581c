//! The keys to open what was sealed for a node, at rest: a file beside the identity.
//!
//! ```text
//! {"version": 1, "node_id": "12D3Koo…", "nonce": "24 bytes", "ciphertext": "…"}
//!
//! key        = BLAKE3 derive_key("metanode v1 sealing ring", seed of the identity)
//! associated = "metanode sealing keys\n1\n" ‖ node_id ‖ "\n"
//! plaintext  = [{"seed": "32 bytes", "created_ms", "expires_ms", "replaced_ms"}, …], oldest first
//! ```
//!
//! The keys are of their own and not made from the identity: once an old one is gone from the file, what was sealed for
//! it stays closed, even to whoever gets the identity later. They are kept under the identity, so that a running node can
//! replace them without asking for a passphrase, and the passphrase that guards the identity guards them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{Identity, KeyError, disk};
use crate::types::{Domain, NodeId, WallMs};

/// Others seal for a key for so long after it was made.
pub const SEALING_LIFE: Duration = Duration::from_secs(90 * 86_400);
/// A key is replaced when it has less than this left.
pub const SEALING_RENEW: Duration = Duration::from_secs(30 * 86_400);
/// A key that was replaced still opens what was sealed for it for so long.
pub const SEALING_KEEP: Duration = Duration::from_secs(90 * 86_400);
/// Keys of a ring; beyond it the oldest is erased early.
pub const SEALING_KEYS: usize = 64;

const VERSION: u32 = 1;
const FILE_BYTES: u64 = 64 * 1024;
const NONCE_BYTES: usize = 24;

/// One key of a ring.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingKey {
    /// The secret, hexadecimal.
    seed: Zeroizing<String>,
    /// When it was made.
    pub created_ms: WallMs,
    /// Nothing is sealed for it after this.
    pub expires_ms: WallMs,
    /// When another took its place.
    pub replaced_ms: Option<WallMs>,
}

impl RingKey {
    fn fresh(now: WallMs) -> Result<RingKey, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut seed[..]).map_err(KeyError::Randomness)?;
        Ok(RingKey {
            seed: Zeroizing::new(hex::encode(&seed[..])),
            created_ms: now,
            expires_ms: now.plus(SEALING_LIFE),
            replaced_ms: None,
        })
    }

    /// The secret.
    pub fn seed(&self) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(self.seed.as_str(), &mut seed[..]).map_err(|e| KeyError::Seed(e.to_string()))?;
        Ok(seed)
    }

    /// When it is erased; none while it is in use.
    pub fn erased_ms(&self) -> Option<WallMs> {
        self.replaced_ms.map(|at| at.plus(SEALING_KEEP))
    }
}

/// A ring as it stands in its file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RingFile {
    version: u32,
    node_id: NodeId,
    nonce: String,
    ciphertext: String,
}

/// A node's sealing keys. The last is the one in use.
pub struct KeyRing {
    file: PathBuf,
    node: NodeId,
    at_rest: Zeroizing<[u8; 32]>,
    keys: Vec<RingKey>,
}

impl KeyRing {
    /// The ring of an identity in `file`; a new one with one key if there is no file.
    pub fn open(file: &Path, identity: &Identity, now: WallMs) -> Result<KeyRing, KeyError> {
        let at_rest = Zeroizing::new(Domain::SealingRing.hash(&[&identity.seed()[..]]).0);
        let mut ring = KeyRing { file: file.into(), node: identity.node_id(), at_rest, keys: Vec::new() };
        match disk::read_private(file, FILE_BYTES) {
            Ok(bytes) => ring.keys = ring.decrypt(&bytes)?,
            Err(KeyError::Missing) => ring.rotate(now)?,
            Err(error) => return Err(error),
        }
        Ok(ring)
    }

    /// The keys, oldest first.
    pub fn keys(&self) -> &[RingKey] {
        &self.keys
    }

    /// Makes a new key the one in use, on the disk before this returns. Keys whose time is over are erased.
    pub fn rotate(&mut self, now: WallMs) -> Result<(), KeyError> {
        let mut keys = self.keys.clone();
        if let Some(last) = keys.last_mut() {
            last.replaced_ms = Some(now);
        }
        keys.push(RingKey::fresh(now)?);
        self.replace(keys, now)
    }

    /// Does what is due: a key that is near its end is replaced, old ones are erased. True if the one in use changed.
    pub fn tend(&mut self, now: WallMs) -> Result<bool, KeyError> {
        if self.keys.last().is_none_or(|key| key.expires_ms.minus(SEALING_RENEW) <= now) {
            return self.rotate(now).map(|()| true);
        }
        if self.keys.iter().any(|key| key.erased_ms().is_some_and(|at| at <= now)) {
            self.replace(self.keys.clone(), now)?;
        }
        Ok(false)
    }

    fn replace(&mut self, mut keys: Vec<RingKey>, now: WallMs) -> Result<(), KeyError> {
        keys.retain(|key| key.erased_ms().is_none_or(|at| at > now));
        keys.drain(..keys.len().saturating_sub(SEALING_KEYS));
        disk::replace(&self.file, &self.encrypt(&keys)?, 0o600)?;
        self.keys = keys;
        Ok(())
    }

    fn associated(&self) -> String {
        format!("metanode sealing keys\n{VERSION}\n{}\n", self.node)
    }

    fn cipher(&self) -> Result<XChaCha20Poly1305, KeyError> {
        XChaCha20Poly1305::new_from_slice(&self.at_rest[..]).map_err(|_| KeyError::Primitive("xchacha20poly1305"))
    }

    fn encrypt(&self, keys: &[RingKey]) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(KeyError::Randomness)?;
        // Room for all of it and the tag: growing would leave copies of secrets behind.
        let mut buffer = Zeroizing::new(Vec::with_capacity(FILE_BYTES as usize));
        serde_json::to_writer(&mut *buffer, keys).map_err(|e| KeyError::Seed(e.to_string()))?;
        self.cipher()?
            .encrypt_in_place(&XNonce::from(nonce), self.associated().as_bytes(), &mut *buffer)
            .map_err(|_| KeyError::Primitive("xchacha20poly1305"))?;
        let file = RingFile {
            version: VERSION,
            node_id: self.node,
            nonce: hex::encode(nonce),
            ciphertext: hex::encode(&*buffer),
        };
        let mut text = serde_json::to_vec_pretty(&file).map_err(|e| KeyError::Seed(e.to_string()))?;
        text.push(b'\n');
        Ok(text)
    }

    fn decrypt(&self, bytes: &[u8]) -> Result<Vec<RingKey>, KeyError> {
        let damaged = |what: &str| KeyError::Ring(what.to_string());
        let file: RingFile = serde_json::from_slice(bytes).map_err(|e| damaged(&e.to_string()))?;
        if file.version != VERSION || file.node_id != self.node {
            return Err(damaged("it is of another version, or of another node"));
        }
        let mut nonce = [0; NONCE_BYTES];
        hex::decode_to_slice(&file.nonce, &mut nonce).map_err(|e| damaged(&e.to_string()))?;
        let mut buffer = Zeroizing::new(hex::decode(&file.ciphertext).map_err(|e| damaged(&e.to_string()))?);
        let opened = self.cipher()?.decrypt_in_place(&XNonce::from(nonce), self.associated().as_bytes(), &mut *buffer);
        opened.map_err(|_| damaged("it was altered, or written under another identity"))?;
        let keys: Vec<RingKey> = serde_json::from_slice(&buffer).map_err(|e| damaged(&e.to_string()))?;
        if keys.is_empty() || keys.iter().any(|key| key.seed().is_err()) {
            return Err(damaged("it has no key, or one that is none"));
        }
        Ok(keys)
    }
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        self.at_rest.zeroize();
    }
}
