//! A node's secret key in memory.

use std::fmt;

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::KeyError;
use crate::types::NodeId;

/// A node's ed25519 key (RFC 8032). Wiped when dropped; its `Debug` form shows the public half only.
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// A new identity, from the operating system's randomness.
    pub fn generate() -> Result<Identity, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut seed[..]).map_err(KeyError::Randomness)?;
        Ok(Identity::from_seed(&seed))
    }

    /// The identity of a secret seed of 32 bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Identity {
        Identity { key: SigningKey::from_bytes(seed) }
    }

    /// The identity in a key as other programs write it, surrounding white space ignored: 64 hexadecimal digits (the
    /// seed), 128 (seed, then public key), or 64 raw bytes (seed, then public key). A public key that is not the
    /// seed's is refused.
    pub fn from_secret(input: &[u8]) -> Result<Identity, KeyError> {
        let text = input.trim_ascii();
        if matches!(text.len(), 64 | 128) && text.iter().all(u8::is_ascii_hexdigit) {
            let bytes = Zeroizing::new(hex::decode(text).map_err(|e| KeyError::Seed(e.to_string()))?);
            return Identity::from_bytes(&bytes);
        }
        // Raw bytes are taken whole: one that looks like white space is part of the key.
        let raw = if input.len() == 65 { input.strip_suffix(b"\n").unwrap_or(input) } else { input };
        match raw.len() {
            64 => Identity::from_bytes(raw),
            size => Err(KeyError::Seed(format!("{size} bytes that are not hexadecimal digits"))),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Identity, KeyError> {
        if let Ok(seed) = <&[u8; 32]>::try_from(bytes) {
            return Ok(Identity::from_seed(seed));
        }
        let pair = <&[u8; 64]>::try_from(bytes).map_err(|_| KeyError::Seed(format!("{} bytes", bytes.len())))?;
        let key = SigningKey::from_keypair_bytes(pair)
            .map_err(|_| KeyError::Seed("the public key in it is not that of its seed".into()))?;
        Ok(Identity { key })
    }

    /// The name of the node that holds this key: its public half.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.key.verifying_key().to_bytes())
    }

    /// The key, to sign with.
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The secret seed. Whoever has it is this node.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.node_id()).finish()
    }
}
