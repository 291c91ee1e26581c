//! Encryption of a seed under a passphrase: argon2id (RFC 9106) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha).

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, Zeroizing};

use super::{KeyError, Passphrase};

/// Bytes of salt.
pub(super) const SALT_BYTES: usize = 16;
/// Bytes of nonce.
pub(super) const NONCE_BYTES: usize = 24;
/// Bytes of ciphertext: the seed and the tag.
pub(super) const CIPHERTEXT_BYTES: usize = 32 + 16;

/// What one guess at a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory, KiB. 8 per lane to 1 GiB.
    pub memory_kib: u32,
    /// Passes over the memory. 1 to 16.
    pub passes: u32,
    /// Lanes. 1 to 16.
    pub lanes: u32,
}

impl Default for KdfCost {
    /// 64 MiB, three passes, one lane: RFC 9106's second recommendation with the lanes one core has; under half a
    /// second on a small machine.
    fn default() -> KdfCost {
        KdfCost { memory_kib: 64 * 1024, passes: 3, lanes: 1 }
    }
}

impl KdfCost {
    /// The most memory a key file may ask for, KiB.
    pub const MAX_MEMORY_KIB: u32 = 1024 * 1024;
    /// The most passes a key file may ask for.
    pub const MAX_PASSES: u32 = 16;
    /// The most lanes a key file may ask for.
    pub const MAX_LANES: u32 = 16;

    /// A cost within the bounds.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<KdfCost, KeyError> {
        let cost = KdfCost { memory_kib, passes, lanes };
        cost.check()?;
        Ok(cost)
    }

    /// The least argon2 can do: for tests, never for a key that matters.
    pub const fn weakest() -> KdfCost {
        KdfCost { memory_kib: 8, passes: 1, lanes: 1 }
    }

    /// Refuses a cost outside the bounds, before anything is spent on it.
    pub(super) fn check(&self) -> Result<(), KeyError> {
        within("lanes", self.lanes, 1, Self::MAX_LANES)?;
        within("passes", self.passes, 1, Self::MAX_PASSES)?;
        within("memory_kib", self.memory_kib, 8 * self.lanes, Self::MAX_MEMORY_KIB)
    }

    /// The key that `passphrase` gives with `salt`. The memory used is wiped.
    fn derive(&self, passphrase: &Passphrase, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        self.check()?;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|_| KeyError::Primitive("argon2id"))?;
        let count = params.block_count();
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(count).map_err(|_| KeyError::Memory { kib: self.memory_kib })?;
        blocks.resize(count, Block::default());
        let mut key = Zeroizing::new([0; 32]);
        let outcome = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
            passphrase.as_bytes(),
            salt,
            &mut key[..],
            &mut blocks[..],
        );
        blocks.iter_mut().for_each(|block| block.as_mut().zeroize());
        outcome.map_err(|_| KeyError::Primitive("argon2id"))?;
        Ok(key)
    }
}

fn within(field: &'static str, found: u32, least: u32, most: u32) -> Result<(), KeyError> {
    if (least..=most).contains(&found) { Ok(()) } else { Err(KeyError::Cost { field, found, least, most }) }
}

/// Everything beside the seed that decides what the ciphertext is.
pub(super) struct Circumstances<'a> {
    pub cost: KdfCost,
    pub salt: [u8; SALT_BYTES],
    pub nonce: [u8; NONCE_BYTES],
    pub associated: &'a [u8],
}

/// `seed` under `passphrase`.
pub(super) fn encrypt(seed: &[u8; 32], passphrase: &Passphrase, c: &Circumstances<'_>) -> Result<Vec<u8>, KeyError> {
    // The whole size at once: growing would leave a copy of the seed behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(CIPHERTEXT_BYTES));
    buffer.extend_from_slice(seed);
    cipher(passphrase, c)?
        .encrypt_in_place(&XNonce::from(c.nonce), c.associated, &mut *buffer)
        .map_err(|_| KeyError::Primitive("xchacha20poly1305"))?;
    Ok(std::mem::take(&mut *buffer))
}

/// The seed in `ciphertext`.
pub(super) fn decrypt(
    ciphertext: &[u8],
    passphrase: &Passphrase,
    c: &Circumstances<'_>,
) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    cipher(passphrase, c)?
        .decrypt_in_place(&XNonce::from(c.nonce), c.associated, &mut *buffer)
        .map_err(|_| KeyError::WrongPassphrase)?;
    let seed = <&[u8; 32]>::try_from(&buffer[..]).map_err(|_| KeyError::WrongPassphrase)?;
    Ok(Zeroizing::new(*seed))
}

fn cipher(passphrase: &Passphrase, c: &Circumstances<'_>) -> Result<XChaCha20Poly1305, KeyError> {
    let key = c.cost.derive(passphrase, &c.salt)?;
    XChaCha20Poly1305::new_from_slice(&key[..]).map_err(|_| KeyError::Primitive("xchacha20poly1305"))
}
