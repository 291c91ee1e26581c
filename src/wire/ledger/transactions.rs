//! Transactions of one account under one seal: what a wallet signs, a mempool holds and a block carries.
//!
//! ```text
//!  Order ──seal(key)──▶ Sealed ──bytes()──▶ … ──Sealed::check──▶ Sealed
//! ```

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::{binary, exactly};
use crate::types::chain::{ChainId, TransactionId};
use crate::types::{Domain, Hash, NetworkId, NodeId, Tokens};
use crate::wire::merkle;
use crate::wire::seal::{Label, Signature, Statement};

/// Transactions under one seal.
pub const SEALED_TRANSACTIONS: usize = 1024;
/// Transactions under one seal, bytes.
pub const SEALED_BYTES: usize = 64 * 1024;

/// One transaction: what it does, and what it pays for that.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// What is paid, all of it, whether it succeeds or not.
    pub fee: Tokens,
    /// What it does.
    pub body: Body,
}

/// What an account wants: one transaction or several, executed one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// On which chain.
    pub chain: ChainId,
    /// Whose account; its key seals.
    pub account: NodeId,
    /// The number of the first transaction, from 0; the others follow.
    pub nonce: u64,
    /// What is to be done, 1 to 1024.
    pub transactions: Vec<Transaction>,
}

/// An order whose seal holds: 1 to [`SEALED_TRANSACTIONS`] transactions, each right in itself, at most
/// [`SEALED_BYTES`], signed by their account for this chain.
#[derive(Clone, Debug)]
pub struct Sealed {
    order: Order,
    bytes: Bytes,
    ids: Vec<TransactionId>,
    fee: Tokens,
    gas: u64,
}

/// Why transactions are not taken, whatever the state is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotSealed {
    #[error("{0} bytes under one seal; {SEALED_BYTES} are the most")]
    TooLarge(usize),
    #[error("not the bytes of sealed transactions in their one form")]
    Bytes,
    #[error("{0} transactions under one seal; 1 to {SEALED_TRANSACTIONS} are allowed")]
    Count(usize),
    #[error("made for chain {0}")]
    WrongChain(ChainId),
    #[error("transaction {index}: {rule}")]
    Malformed { index: usize, rule: &'static str },
    #[error("nonces and fees do not fit in 64 bits")]
    Overflow,
    #[error("the seal is not the account's")]
    BadSeal,
}

impl NotSealed {
    /// A stable name, for programs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            NotSealed::TooLarge(_) => "too_large",
            NotSealed::Bytes => "bytes",
            NotSealed::Count(_) => "count",
            NotSealed::WrongChain(_) => "wrong_chain",
            NotSealed::Malformed { .. } => "malformed",
            NotSealed::Overflow => "overflow",
            NotSealed::BadSeal => "bad_seal",
        }
    }
}

/// The form that travels.
#[derive(Serialize, Deserialize)]
struct Form {
    order: Order,
    #[serde(with = "signature")]
    signature: Signature,
}

mod signature {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Signature;

    pub fn serialize<S: Serializer>(signature: &Signature, to: S) -> Result<S::Ok, S::Error> {
        let (r, s) = signature.0.split_at(32);
        let half = |half: &[u8]| <[u8; 32]>::try_from(half).map_err(serde::ser::Error::custom);
        (half(r)?, half(s)?).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Signature, D::Error> {
        let (r, s) = <([u8; 32], [u8; 32])>::deserialize(from)?;
        let mut bytes = [0; 64];
        let (first, second) = bytes.split_at_mut(32);
        first.copy_from_slice(&r);
        second.copy_from_slice(&s);
        Ok(Signature(bytes))
    }
}

impl Order {
    /// Seals the order with its account's key. Fails with what is wrong with it, or when the key is another's.
    pub fn seal(self, key: &SigningKey) -> Result<Sealed, NotSealed> {
        if key.verifying_key().as_bytes() != self.account.as_bytes() {
            return Err(NotSealed::BadSeal);
        }
        let items = self.items();
        let signature = self.statement(&items, &self.nonce.to_le_bytes()).sign(key);
        let chain = self.chain;
        let bytes = binary(&Form { order: self.clone(), signature });
        self.checked(&items, chain, bytes.into())
    }

    /// Each transaction's bytes.
    fn items(&self) -> Vec<Vec<u8>> {
        self.transactions.iter().map(binary).collect()
    }

    fn statement<'a>(&self, items: &[Vec<u8>], position: &'a [u8]) -> Statement<'a> {
        Statement {
            label: Label::Transactions,
            // A chain is a network of its own: what is signed for one means nothing on another.
            network: NetworkId(self.chain.0),
            author: self.account,
            count: items.len() as u32,
            root: merkle::root_of(items.iter().map(Vec::as_slice)),
            position,
        }
    }

    /// Everything but the signature.
    fn checked(self, items: &[Vec<u8>], chain: ChainId, bytes: Bytes) -> Result<Sealed, NotSealed> {
        if bytes.len() > SEALED_BYTES {
            return Err(NotSealed::TooLarge(bytes.len()));
        }
        if !(1..=SEALED_TRANSACTIONS).contains(&self.transactions.len()) {
            return Err(NotSealed::Count(self.transactions.len()));
        }
        if self.chain != chain {
            return Err(NotSealed::WrongChain(self.chain));
        }
        let rules = self.transactions.iter().map(|transaction| transaction.body.fault());
        if let Some((index, rule)) = rules.enumerate().find_map(|(index, fault)| Some((index, fault?))) {
            return Err(NotSealed::Malformed { index, rule });
        }
        self.nonce.checked_add(items.len() as u64).ok_or(NotSealed::Overflow)?;
        let fees = self.transactions.iter().try_fold(Tokens::ZERO, |sum, one| sum.plus(one.fee));
        let fee = fees.map_err(|_| NotSealed::Overflow)?;
        let gas = self.transactions.iter().map(|one| one.body.gas()).sum();
        let ids = self.ids(items);
        Ok(Sealed { order: self, bytes, ids, fee, gas })
    }

    fn ids(&self, items: &[Vec<u8>]) -> Vec<TransactionId> {
        let (chain, account) = (self.chain.as_bytes(), self.account.as_bytes());
        let nonces = self.nonce..=u64::MAX;
        let id = |(nonce, item): (u64, &Vec<u8>)| {
            TransactionId(Domain::Transaction.hash(&[chain, account, &nonce.to_le_bytes(), item]))
        };
        nonces.zip(items).map(id).collect()
    }
}

impl Sealed {
    /// Reads and checks everything about sealed transactions that does not depend on the state.
    pub fn check(bytes: Bytes, chain: ChainId) -> Result<Sealed, NotSealed> {
        Self::read(bytes, chain, true)
    }

    /// Reads what was checked before it was kept.
    pub fn kept(bytes: Bytes, chain: ChainId) -> Result<Sealed, NotSealed> {
        Self::read(bytes, chain, false)
    }

    /// What sealed transactions say, whether the seal holds or not; for who only looks, and has no chain.
    pub fn shape(bytes: &[u8]) -> Option<Order> {
        let fits = bytes.len() <= SEALED_BYTES;
        fits.then(|| exactly::<Form>(bytes)).flatten().map(|form| form.order)
    }

    fn read(bytes: Bytes, chain: ChainId, verify: bool) -> Result<Sealed, NotSealed> {
        if bytes.len() > SEALED_BYTES {
            return Err(NotSealed::TooLarge(bytes.len()));
        }
        let Form { order, signature } = exactly(&bytes).ok_or(NotSealed::Bytes)?;
        let items = order.items();
        // The seal is the costly check: what is wrong otherwise is found before.
        let sealed = order.checked(&items, chain, bytes)?;
        let order = &sealed.order;
        if verify && !order.statement(&items, &order.nonce.to_le_bytes()).holds(&signature) {
            return Err(NotSealed::BadSeal);
        }
        Ok(sealed)
    }

    /// What was sealed.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// The bytes that travel and are kept.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whose.
    pub fn account(&self) -> NodeId {
        self.order.account
    }

    /// The number of the first transaction.
    pub fn nonce(&self) -> u64 {
        self.order.nonce
    }

    /// The number after the last one's.
    pub fn next_nonce(&self) -> u64 {
        self.order.nonce.saturating_add(self.ids.len() as u64)
    }

    /// How many transactions, at least 1.
    pub fn count(&self) -> usize {
        self.ids.len()
    }

    /// All fees together.
    pub fn fee(&self) -> Tokens {
        self.fee
    }

    /// All gas together.
    pub fn gas(&self) -> u64 {
        self.gas
    }

    /// The transactions' ids, in order.
    pub fn ids(&self) -> &[TransactionId] {
        &self.ids
    }

    /// The leaf in the block's tree.
    pub fn leaf(&self) -> Hash {
        Sealed::leaf_of(&self.bytes)
    }

    /// The leaf of sealed transactions in these bytes.
    pub fn leaf_of(bytes: &[u8]) -> Hash {
        merkle::leaf(bytes)
    }
}
