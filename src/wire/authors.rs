//! The keys of authors, decompressed. Finding the point under a key's bytes costs a sixth of a verification, and the
//! same few authors are heard again and again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use curve25519_dalek::constants::EIGHT_TORSION;
use ed25519_dalek::{Signature, Verifier, VerifyingKey};

use crate::types::NodeId;

/// Keys remembered by each thread.
const REMEMBERED: usize = 1024;

thread_local! {
    /// A memo of a pure function: `None` for bytes that are no key, or a weak one.
    static KEYS: RefCell<BTreeMap<NodeId, Option<VerifyingKey>>> = RefCell::default();
}

/// The eight points of small order, as they are written in a signature.
static SMALL: LazyLock<[[u8; 32]; 8]> = LazyLock::new(|| EIGHT_TORSION.map(|point| point.compress().to_bytes()));

/// Whether a signature is the author's, with the same answer as [`VerifyingKey::verify_strict`]: no key and no point R
/// of small order, canonical encodings only. The point R is not decompressed for that: it is compared by its bytes, and
/// only canonical bytes can be equal to what is computed.
pub fn verify_strict(author: NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
    let Some(key) = key(author) else { return false };
    let small = signature.first_chunk::<32>().is_none_or(|r| SMALL.contains(r));
    !small && key.verify(message, &Signature::from_bytes(signature)).is_ok()
}

fn key(author: NodeId) -> Option<VerifyingKey> {
    KEYS.with_borrow_mut(|keys| {
        if let Some(known) = keys.get(&author) {
            return *known;
        }
        if keys.len() >= REMEMBERED {
            keys.clear();
        }
        let key = VerifyingKey::from_bytes(author.as_bytes()).ok().filter(|key| !key.is_weak());
        keys.insert(author, key);
        key
    })
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::edwards::EdwardsPoint;
    use curve25519_dalek::scalar::Scalar;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;
    use sha2::{Digest, Sha512};

    use super::*;

    fn strictly(author: NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        let key = VerifyingKey::from_bytes(author.as_bytes());
        key.is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
    }

    proptest! {
        #[test]
        fn the_answer_is_that_of_the_library(seed: [u8; 32], message: Vec<u8>, flip in 0..512usize, whole: bool) {
            let key = SigningKey::from_bytes(&seed);
            let author = NodeId(key.verifying_key().to_bytes());
            let mut signature = key.sign(&message).to_bytes();
            if !whole {
                signature[flip / 8] ^= 1 << (flip % 8);
            }
            prop_assert_eq!(verify_strict(author, &message, &signature), whole);
            prop_assert_eq!(strictly(author, &message, &signature), whole);
        }

        /// Signatures made for keys and points with a part of small order, which lax verification takes.
        #[test]
        fn crafted_signatures_get_the_answer_of_the_library(
            secret: [u8; 32], nonce: [u8; 32], message: [u8; 8], key_part in 0..8usize, r_part in 0..8usize, zero in 0..4u8,
        ) {
            let scalar = |bytes: [u8; 32], none: bool| if none { Scalar::ZERO } else { Scalar::from_bytes_mod_order(bytes) };
            let (a, r) = (scalar(secret, zero & 1 > 0), scalar(nonce, zero & 2 > 0));
            let point = |s: &Scalar, part: usize| (EdwardsPoint::mul_base(s) + EIGHT_TORSION[part]).compress().to_bytes();
            let (public, first) = (point(&a, key_part), point(&r, r_part));
            let digest: [u8; 64] = Sha512::new().chain_update(first).chain_update(public).chain_update(message).finalize().into();
            let second = (r + Scalar::from_bytes_mod_order_wide(&digest) * a).to_bytes();
            let signature: [u8; 64] = [first, second].concat().try_into().unwrap();
            let author = NodeId(public);
            prop_assert_eq!(verify_strict(author, &message, &signature), strictly(author, &message, &signature));
        }
    }
}
