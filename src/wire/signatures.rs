//! Checking signatures as `ed25519-dalek` does it strictly, with what several of them have in common done once.
//!
//! The same few authors are heard again and again: the point under a key is found once, and of an author that is heard
//! often multiples of it are kept (Straus, "Addition chains of vectors", 1964). Writing a point as bytes takes an
//! inversion, which many can share (Montgomery, "Speeding the Pollard and elliptic curve methods of factorization",
//! 1987, section 10.3.1).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{EdwardsPoint, VartimeEdwardsPrecomputation};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimePrecomputedMultiscalarMul;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha512};

use crate::types::{Hash, NodeId};

/// Keys remembered by each thread, and of how many of them multiples are kept: 20 KB each.
const REMEMBERED: usize = 1024;
const TABLES: usize = 64;
/// From so many signatures on an author is heard often: making the multiples takes a fifth of a verification.
const OFTEN: u32 = 4;

thread_local! {
    /// A memo of pure functions of a key.
    static KEYS: RefCell<Keys> = RefCell::default();
}

#[derive(Default)]
struct Keys {
    /// None for bytes that are no key, or a weak one.
    known: BTreeMap<NodeId, Option<Known>>,
    tables: usize,
}

struct Known {
    /// The point under the key, with the other sign.
    point: EdwardsPoint,
    heard: u32,
    /// Multiples of that point and of the base point.
    table: Option<Box<VartimeEdwardsPrecomputation>>,
}

impl Keys {
    /// `k` times the key's point, with the other sign, and `s` times the base point; none if it is no key.
    fn sum(&mut self, author: NodeId, k: Scalar, s: Scalar) -> Option<EdwardsPoint> {
        if self.known.len() >= REMEMBERED && !self.known.contains_key(&author) {
            *self = Keys::default();
        }
        let known = self.known.entry(author).or_insert_with(|| Known::of(author)).as_mut()?;
        known.heard = known.heard.saturating_add(1);
        if known.table.is_none() && known.heard >= OFTEN && self.tables < TABLES {
            known.table = Some(Box::new(VartimeEdwardsPrecomputation::new([known.point, ED25519_BASEPOINT_POINT])));
            self.tables += 1;
        }
        Some(match &known.table {
            Some(table) => table.vartime_multiscalar_mul([k, s]),
            None => EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &known.point, &s),
        })
    }
}

impl Known {
    fn of(author: NodeId) -> Option<Known> {
        let key = VerifyingKey::from_bytes(author.as_bytes()).ok().filter(|key| !key.is_weak())?;
        Some(Known { point: -key.to_edwards(), heard: 0, table: None })
    }
}

/// The eight points of small order, as they are written in a signature.
static SMALL: LazyLock<[[u8; 32]; 8]> = LazyLock::new(|| EIGHT_TORSION.map(|point| point.compress().to_bytes()));

/// Signatures that are checked together, at most: where one is wrong, so many are looked at for nothing.
pub const TOGETHER: usize = 32;

/// That an author signed 32 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Who.
    pub author: NodeId,
    /// What.
    pub said: Hash,
    /// The point R 32, the number s 32.
    pub signature: [u8; 64],
}

/// Of each claim, whether it is true, with the same answers as [`VerifyingKey::verify_strict`]: no key and no point R of
/// small order, canonical encodings only. R is not decompressed for that: it is compared by its bytes, and only canonical
/// bytes can be equal to what is computed. Each is judged by itself; what they share is an inversion.
pub fn verify_strict(claims: &[Claim]) -> Vec<bool> {
    let points: Vec<Option<EdwardsPoint>> = claims.iter().map(Claim::point).collect();
    let known: Vec<EdwardsPoint> = points.iter().flatten().copied().collect();
    let mut written = EdwardsPoint::compress_batch_alloc(&known).into_iter();
    let mut is_true = |(claim, point): (&Claim, &Option<EdwardsPoint>)| {
        let written = point.and_then(|_| written.next());
        written.is_some_and(|point| Some(point.as_bytes()) == claim.signature.first_chunk())
    };
    claims.iter().zip(&points).map(&mut is_true).collect()
}

impl Claim {
    /// What R has to be; none if the claim cannot be true.
    fn point(&self) -> Option<EdwardsPoint> {
        let (r, s) = self.signature.split_first_chunk::<32>()?;
        let s = Scalar::from_canonical_bytes(s.try_into().ok()?).into_option()?;
        if SMALL.contains(r) {
            return None;
        }
        let digest =
            Sha512::new().chain_update(r).chain_update(self.author.as_bytes()).chain_update(self.said.as_bytes());
        let k = Scalar::from_bytes_mod_order_wide(&digest.finalize().into());
        KEYS.with_borrow_mut(|keys| keys.sum(self.author, k, s))
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;

    fn strictly(claim: &Claim) -> bool {
        let key = VerifyingKey::from_bytes(claim.author.as_bytes());
        key.is_ok_and(|key| key.verify_strict(claim.said.as_bytes(), &Signature::from_bytes(&claim.signature)).is_ok())
    }

    /// A claim that is true, but for a bit of the signature if one is turned.
    fn signed(seed: u8, said: [u8; 32], flip: Option<usize>) -> Claim {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let mut signature = key.sign(&said).to_bytes();
        if let Some(flip) = flip {
            signature[flip / 8] ^= 1 << (flip % 8);
        }
        Claim { author: NodeId(key.verifying_key().to_bytes()), said: Hash(said), signature }
    }

    /// What a crafted claim is made of: secret, nonce, what is said, parts of small order, which of the first two is zero.
    type Crafted = ([u8; 32], [u8; 32], [u8; 32], (usize, usize), u8);

    /// A claim with a key and a point that have a part of small order, which lax verification takes.
    fn crafted((secret, nonce, said, (key_part, r_part), zero): Crafted) -> Claim {
        let scalar =
            |bytes: [u8; 32], none: bool| if none { Scalar::ZERO } else { Scalar::from_bytes_mod_order(bytes) };
        let (a, r) = (scalar(secret, zero & 1 > 0), scalar(nonce, zero & 2 > 0));
        let point = |s: &Scalar, part: usize| (EdwardsPoint::mul_base(s) + EIGHT_TORSION[part]).compress().to_bytes();
        let (public, first) = (point(&a, key_part), point(&r, r_part));
        let digest = Sha512::new().chain_update(first).chain_update(public).chain_update(said).finalize();
        let second = (r + Scalar::from_bytes_mod_order_wide(&digest.into()) * a).to_bytes();
        let signature = [first, second].concat().try_into().unwrap();
        Claim { author: NodeId(public), said: Hash(said), signature }
    }

    fn claims() -> impl Strategy<Value = Claim> {
        let honest = (0u8..3, any::<[u8; 32]>(), prop::option::of(0..512usize))
            .prop_map(|(seed, said, flip)| signed(seed, said, flip));
        let parts = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>(), (0..8usize, 0..8usize), 0..4u8);
        let noise = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>());
        let noise = noise.prop_map(|(author, r, s)| {
            let signature = [r, s].concat().try_into().unwrap();
            Claim { author: NodeId(author), said: Hash(r), signature }
        });
        prop_oneof![3 => honest, 3 => parts.prop_map(crafted), 1 => noise]
    }

    proptest! {
        /// Whatever is among them, and however often an author was heard before, each gets the answer of the library.
        #[test]
        fn many_get_the_answers_that_the_library_gives_to_each(claims in prop::collection::vec(claims(), 0..12)) {
            let answers: Vec<bool> = claims.iter().map(strictly).collect();
            for _ in 0..=OFTEN {
                prop_assert_eq!(verify_strict(&claims), answers.clone());
            }
        }

        #[test]
        fn what_was_signed_is_true_and_with_any_bit_turned_it_is_not(said: [u8; 32], flip in 0..512usize) {
            let claims = [signed(1, said, None), signed(1, said, Some(flip)), signed(2, said, None)];
            prop_assert_eq!(verify_strict(&claims), [true, false, true]);
        }
    }
}
