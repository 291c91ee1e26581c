//! A digest over a set that can be kept while the set changes: the sum of its members' digests modulo 2^256.
//!
//! Equal sets have equal sums in whatever order they grew. Who may choose many members at will can find other sets with
//! the same sum (Wagner, "A Generalized Birthday Problem", 2002): it compares honest nodes, it proves nothing.

use crate::types::Hash;

/// The sum; its bytes are little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Root([u64; 4]);

impl Root {
    /// The sum with one member more.
    pub fn with(self, digest: Hash) -> Root {
        self.plus(Root(limbs(digest)))
    }

    /// The sum with one member less.
    pub fn without(self, digest: Hash) -> Root {
        self.minus(Root(limbs(digest)))
    }

    /// The sum over two sets that have nothing in common.
    pub fn plus(self, other: Root) -> Root {
        let (mut sum, mut carry) = ([0; 4], false);
        for ((limb, a), b) in sum.iter_mut().zip(self.0).zip(other.0) {
            let (part, first) = a.overflowing_add(b);
            let (whole, second) = part.overflowing_add(u64::from(carry));
            (*limb, carry) = (whole, first | second);
        }
        Root(sum)
    }

    /// The sum over what is left when a part is taken out.
    pub fn minus(self, other: Root) -> Root {
        let (mut rest, mut borrow) = ([0; 4], false);
        for ((limb, a), b) in rest.iter_mut().zip(self.0).zip(other.0) {
            let (part, first) = a.overflowing_sub(b);
            let (whole, second) = part.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (whole, first | second);
        }
        Root(rest)
    }

    /// The 32 bytes.
    pub fn hash(self) -> Hash {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&limb.to_le_bytes());
        }
        Hash(bytes)
    }
}

impl From<Hash> for Root {
    fn from(sum: Hash) -> Root {
        Root(limbs(sum))
    }
}

fn limbs(hash: Hash) -> [u64; 4] {
    let chunks = hash.as_bytes().as_chunks::<8>().0;
    std::array::from_fn(|n| chunks.get(n).map_or(0, |chunk| u64::from_le_bytes(*chunk)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_do_not_depend_on_order_and_can_be_taken_back(a: [u8; 32], b: [u8; 32], c: [u8; 32]) {
            let [a, b, c] = [a, b, c].map(Hash);
            let all = Root::default().with(a).with(b).with(c);
            prop_assert_eq!(all, Root::default().with(c).with(a).with(b));
            prop_assert_eq!(all.without(b), Root::default().with(a).with(c));
            prop_assert_eq!(Root::from(all.hash()), all);
        }
    }

    #[test]
    fn carries_go_through_and_the_sum_wraps() {
        let (most, mut one) = (Hash([0xFF; 32]), [0; 32]);
        one[0] = 1;
        assert_eq!(Root::default().with(most).with(Hash(one)), Root::default());
        assert_eq!(Root::default().without(Hash(one)).hash(), most);
    }
}
