//! Words that agreement and the ledger share: chains, heights, blocks, validators.
//!
//! Agreement decides one [`BlockId`] for each [`Height`], by the [`ValidatorSet`] of that height; the ledger says what
//! the id means and which validators come next.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::hash::{Domain, Hash};
use super::id::NodeId;

/// Validators of one height at most. A certificate has a signature of each.
pub const VALIDATORS: usize = 256;
/// The power of all validators of one height, at most: thrice it is still a number.
pub const TOTAL_POWER: u64 = u64::MAX / 4;

/// Number of a block in its chain, from 1. Height 0 is the genesis: a state without a block.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Height(pub u64);

impl Height {
    /// Before the first block.
    pub const GENESIS: Height = Height(0);

    /// The height after this one; the last stays the last.
    pub const fn next(self) -> Height {
        Height(self.0.saturating_add(1))
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A 32-byte digest with a meaning of its own.
macro_rules! digest_id {
    ($(#[$about:meta])* $id:ident) => {
        $(#[$about])*
        #[derive(
            Clone,
            Copy,
            PartialEq,
            Eq,
            PartialOrd,
            Ord,
            Hash,
            Debug,
            Default,
            Serialize,
            Deserialize,
            schemars::JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $id(pub Hash);

        impl $id {
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $id {
            type Err = hex::FromHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($id)
            }
        }
    };
}

digest_id! {
    /// The identity of a chain: the digest of its genesis. What is signed for one chain means nothing on another.
    ChainId
}

digest_id! {
    /// The identity of a block, from its header: the value that agreement is about.
    BlockId
}

digest_id! {
    /// The identity of a transaction: chain, account, nonce, fee and body, without the signature.
    TransactionId
}

/// Someone who votes on blocks, and with what weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Validator {
    /// The key it signs with.
    pub id: NodeId,
    /// Weight of its vote, at least 1.
    pub power: u64,
}

/// The validators of one height: 1 to [`VALIDATORS`], ascending by id, each once, each with power, together at most
/// [`TOTAL_POWER`]. Two nodes with the same set have the same bytes and the same hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct ValidatorSet(Vec<Validator>);

/// Why these cannot be the validators of a height.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ValidatorSetError {
    #[error("there is no validator")]
    Empty,
    #[error("{0} validators; {VALIDATORS} are the most")]
    TooMany(usize),
    #[error("validator {0} is named twice")]
    Twice(NodeId),
    #[error("validator {0} has no power")]
    Powerless(NodeId),
    #[error("all power together passes {TOTAL_POWER}")]
    TooMuchPower,
    #[error("the bytes are not a list of validators in its one form")]
    Bytes,
}

impl ValidatorSet {
    /// Bytes of one validator.
    const ENTRY: usize = 40;

    /// The set of these, in whatever order they come.
    pub fn new(validators: impl IntoIterator<Item = Validator>) -> Result<ValidatorSet, ValidatorSetError> {
        let mut list: Vec<Validator> = validators.into_iter().collect();
        if list.is_empty() {
            return Err(ValidatorSetError::Empty);
        }
        if list.len() > VALIDATORS {
            return Err(ValidatorSetError::TooMany(list.len()));
        }
        list.sort_by_key(|validator| validator.id);
        if let Some(twice) = list.iter().zip(list.iter().skip(1)).find(|(a, b)| a.id == b.id) {
            return Err(ValidatorSetError::Twice(twice.0.id));
        }
        if let Some(powerless) = list.iter().find(|validator| validator.power == 0) {
            return Err(ValidatorSetError::Powerless(powerless.id));
        }
        let total = list.iter().try_fold(0u64, |sum, validator| sum.checked_add(validator.power));
        total.filter(|total| *total <= TOTAL_POWER).ok_or(ValidatorSetError::TooMuchPower)?;
        Ok(ValidatorSet(list))
    }

    /// The validators, ascending by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Validator> {
        self.0.iter()
    }

    /// How many, at least 1.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The validator at an index of the ascending order.
    pub fn at(&self, index: usize) -> Option<&Validator> {
        self.0.get(index)
    }

    /// Where a validator stands in the ascending order; none for anyone else.
    pub fn index(&self, id: NodeId) -> Option<usize> {
        self.0.binary_search_by_key(&id, |validator| validator.id).ok()
    }

    /// The power of a validator; 0 for anyone else.
    pub fn power(&self, id: NodeId) -> u64 {
        self.index(id).and_then(|index| self.at(index)).map_or(0, |validator| validator.power)
    }

    /// All power together.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|validator| validator.power).sum()
    }

    /// Whether `power` decides: more than two thirds of all.
    pub fn is_quorum(&self, power: u64) -> bool {
        u128::from(power) * 3 > u128::from(self.total()) * 2
    }

    /// The one form in bytes: key 32 and power 8, little-endian, of each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * Self::ENTRY);
        for validator in &self.0 {
            bytes.extend_from_slice(validator.id.as_bytes());
            bytes.extend_from_slice(&validator.power.to_le_bytes());
        }
        bytes
    }

    /// Reads [`ValidatorSet::to_bytes`]; anything that is not in the one form is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<ValidatorSet, ValidatorSetError> {
        if bytes.len() > VALIDATORS * Self::ENTRY || !bytes.len().is_multiple_of(Self::ENTRY) {
            return Err(ValidatorSetError::Bytes);
        }
        let entries = bytes.chunks_exact(Self::ENTRY).filter_map(|entry| {
            let (id, power) = entry.split_first_chunk::<32>()?;
            Some(Validator { id: NodeId(*id), power: u64::from_le_bytes(power.try_into().ok()?) })
        });
        let set = ValidatorSet::new(entries)?;
        if set.to_bytes() == bytes { Ok(set) } else { Err(ValidatorSetError::Bytes) }
    }

    /// What a header names the set by: the digest of its bytes.
    pub fn hash(&self) -> Hash {
        Domain::Validators.hash(&[&self.to_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn validator(n: u8, power: u64) -> Validator {
        Validator { id: NodeId([n; 32]), power }
    }

    #[test]
    fn what_is_no_set_says_why() {
        let set = |list: &[Validator]| ValidatorSet::new(list.iter().copied());
        assert_eq!(set(&[]), Err(ValidatorSetError::Empty));
        assert_eq!(set(&[validator(1, 0)]), Err(ValidatorSetError::Powerless(NodeId([1; 32]))));
        assert_eq!(set(&[validator(1, 1), validator(1, 2)]), Err(ValidatorSetError::Twice(NodeId([1; 32]))));
        assert_eq!(set(&[validator(1, u64::MAX), validator(2, 2)]), Err(ValidatorSetError::TooMuchPower));
        assert_eq!(set(&[validator(1, TOTAL_POWER), validator(2, 1)]), Err(ValidatorSetError::TooMuchPower));
        let many = (0..=VALIDATORS as u64).map(|n| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            Validator { id: NodeId(id), power: 1 }
        });
        assert_eq!(ValidatorSet::new(many), Err(ValidatorSetError::TooMany(VALIDATORS + 1)));
    }

    #[test]
    fn two_thirds_is_not_enough_and_one_more_is() {
        let set = ValidatorSet::new((1..=3).map(|n| validator(n, 5))).unwrap();
        assert!(!set.is_quorum(10));
        assert!(set.is_quorum(11));
        assert_eq!(set.power(NodeId([9; 32])), 0);
    }

    proptest! {
        #[test]
        fn a_set_has_one_form_whatever_the_order(powers in prop::collection::btree_map(any::<u8>(), 1..u64::MAX >> 10, 1..20)) {
            let list = || powers.iter().map(|(n, power)| validator(*n, *power));
            let set = ValidatorSet::new(list()).unwrap();
            let back: Vec<Validator> = list().collect();
            prop_assert_eq!(&ValidatorSet::new(back.into_iter().rev()).unwrap(), &set);
            let read = ValidatorSet::from_bytes(&set.to_bytes());
            prop_assert_eq!(read.as_ref(), Ok(&set));
            for (at, validator) in set.iter().enumerate() {
                prop_assert_eq!(set.index(validator.id), Some(at));
                prop_assert_eq!(set.power(validator.id), validator.power);
            }
        }

        #[test]
        fn any_bytes_are_a_set_in_its_one_form_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..130)) {
            if let Ok(set) = ValidatorSet::from_bytes(&bytes) {
                prop_assert_eq!(set.to_bytes(), bytes);
            }
        }
    }
}
