//! The rows of the state: everything that one height hands to the next.
//!
//! A row's key is its sort and then the parts that name it, numbers big-endian; its value is bincode. Both are under the
//! state root, so a layout here is as fixed as one on the wire.

use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use crate::types::chain::Validator;
use crate::types::{Domain, Hash, NodeId, Tokens};
use crate::wire::kind::Blob;
use crate::wire::kind::governance::{VoteChoice, VotingOutcome};
use crate::wire::ledger::{Action, Failure, Tally, written};

use super::params::Params;

/// A kind of row, and how its key is made.
pub trait Row: Serialize + DeserializeOwned {
    /// The first byte of its keys.
    const SORT: Sort;
    /// What names one of them.
    type Name;

    /// The parts of the key after the sort.
    fn parts(name: &Self::Name) -> Vec<u8>;

    /// The whole key.
    fn key(name: &Self::Name) -> Vec<u8> {
        let mut key = vec![Self::SORT as u8];
        key.extend_from_slice(&Self::parts(name));
        key
    }
}

/// The sorts of rows. Values are for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Sort {
    Params = 1,
    Totals = 2,
    Seats = 3,
    Account = 4,
    Pool = 5,
    Delegation = 6,
    Unbonding = 7,
    Leaving = 8,
    Record = 9,
    Billing = 10,
    Proposal = 11,
    Ballot = 12,
    Policy = 13,
    Worker = 14,
    Duty = 15,
    Closed = 16,
}

macro_rules! rows {
    ($($row:ident($name:ident: $type:ty) = $parts:expr;)*) => {
        $(impl Row for $row {
            const SORT: Sort = Sort::$row;
            type Name = $type;

            fn parts($name: &$type) -> Vec<u8> {
                $parts
            }
        })*

        impl Sort {
            const ALL: &'static [Sort] = &[$(Sort::$row,)*];

            /// Every sort.
            pub fn all() -> &'static [Sort] {
                Sort::ALL
            }

            /// The sort with this byte.
            pub fn from_tag(tag: u8) -> Option<Sort> {
                Sort::ALL.iter().copied().find(|sort| *sort as u8 == tag)
            }
        }
    };
}

rows! {
    Params(_name: ()) = Vec::new();
    Totals(_name: ()) = Vec::new();
    Seats(_name: ()) = Vec::new();
    Account(id: NodeId) = id.0.to_vec();
    Pool(validator: NodeId) = validator.0.to_vec();
    Delegation(name: (NodeId, NodeId)) = [name.0.0, name.1.0].concat();
    Unbonding(name: (NodeId, u64)) = [&name.0.0[..], &name.1.to_be_bytes()].concat();
    Leaving(name: (NodeId, u64, NodeId)) = [&name.0.0[..], &name.1.to_be_bytes(), &name.2.0].concat();
    Record(name: (NodeId, String)) = [&name.0.0[..], name.1.as_bytes()].concat();
    Billing(number: u64) = number.to_be_bytes().to_vec();
    Proposal(number: u64) = number.to_be_bytes().to_vec();
    Ballot(name: (u64, NodeId)) = [&name.0.to_be_bytes()[..], &name.1.0].concat();
    Policy(id: String) = id.as_bytes().to_vec();
    Worker(name: (u64, NodeId)) = [&name.0.to_be_bytes()[..], &name.1.0].concat();
    Closed(validator: NodeId) = validator.0.to_vec();
    Duty(name: (u64, Due)) = [&name.0.to_be_bytes()[..], &name.1.to_bytes()].concat();
}

/// Sums over the whole state, and counters.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// All tokens there are.
    pub supply: Tokens,
    /// Those of the treasury.
    pub treasury: Tokens,
    /// Those in all pools.
    pub staked: Tokens,
    /// Those ever minted after genesis, and ever burned.
    pub minted: Tokens,
    pub burned: Tokens,
    /// Numbers given so far.
    pub proposals: u64,
    pub billings: u64,
    /// Proposals that are not decided.
    pub open_proposals: u32,
    /// Validators that have a pool that is not closed.
    pub pools: u32,
    /// What miners work on in this epoch: the block before its first.
    pub work_seed: Hash,
    /// Miners who have shown work in this epoch, and how much all of them.
    pub miners: u32,
    pub work: u64,
    /// Blocks of this epoch by validators that have a pool.
    pub proposed: u32,
}

/// The validators of the next height.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seats(pub Vec<Validator>);

/// Whoever has or had tokens.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// The number of its next transaction.
    pub nonce: u64,
    /// What it can spend.
    pub balance: Tokens,
    /// What it can spend on fees only.
    pub gas: Tokens,
    /// Validators it has stake on, itself included.
    pub delegations: u32,
}

/// Whether a validator may take part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It has staked, and nobody has voted on it.
    #[default]
    Applied,
    /// A vote, or genesis, admitted it.
    Admitted,
    /// A vote removed it.
    Removed,
    /// It signed two things at one height.
    Slashed,
}

/// All stake on one validator. Stakers have shares of it, so rewards and punishments reach all of them at once.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Pool {
    /// The stake.
    pub tokens: Tokens,
    /// The shares of it.
    pub shares: u64,
    /// What the validator keeps of its stakers' rewards, thousandths.
    pub commission: u16,
    /// Whether it may take part.
    pub standing: Standing,
    /// Blocks it made in this epoch.
    pub proposed: u32,
}

/// A pool that gave its place to another: its validator had too little stake of its own to take part. What others have in
/// it they take back when they like.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Closed(pub Pool);

/// Shares of a staker in a validator's pool.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Delegation {
    /// How many, at least 1.
    pub shares: u64,
}

/// Stake taken back from one validator that is free at the end of one epoch. Until then it can be punished.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Unbonding {
    /// The stake.
    pub tokens: Tokens,
    /// The shares of it.
    pub shares: u64,
}

/// Shares of one who takes stake back.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Leaving {
    /// How many, at least 1.
    pub shares: u64,
}

/// Bytes that someone keeps on the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What is kept.
    pub value: Blob,
    /// The last epoch that is paid for.
    pub paid_until: u64,
}

/// A service paid again and again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Billing {
    /// Who pays.
    pub customer: NodeId,
    /// Who is paid.
    pub provider: NodeId,
    /// For what.
    pub service: String,
    /// How much each time.
    pub amount: Tokens,
    /// How many epochs lie between.
    pub every: u32,
    /// How many payments are left, at least 1.
    pub left: u32,
    /// The epoch at whose end the next is due.
    pub due: u64,
}

/// Something put to the vote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ChainProposal")]
pub struct Proposal {
    /// In short.
    pub title: String,
    /// What is done when it passes.
    pub action: Action,
    /// Who asked.
    pub author: NodeId,
    /// What is bound to it; nothing once it is decided.
    pub deposit: Tokens,
    /// The last epoch to vote in.
    pub until: u64,
    /// The votes so far.
    pub tally: Tally,
    /// How it ended, once it has.
    pub outcome: Option<VotingOutcome>,
    /// Why what was passed could not be carried out.
    pub failed: Option<Failure>,
}

/// A staker's vote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ChainBallot")]
pub struct Ballot {
    /// How.
    pub choice: VoteChoice,
    /// The stake it had when it voted.
    pub weight: Tokens,
}

/// A policy in effect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ChainPolicy")]
pub struct Policy {
    /// Its version.
    pub version: u32,
    /// The hash of its text.
    pub digest: Hash,
}

/// A miner's work in one epoch.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Worker {
    /// The last solution shown.
    pub last: Option<u64>,
    /// How many.
    pub solutions: u64,
}

/// Something to be done at the end of an epoch; the row's key says all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Duty {}

/// What is due.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// A proposal is decided.
    Tally(u64),
    /// Stake is free.
    Release { validator: NodeId, account: NodeId },
    /// A service is paid.
    Bill(u64),
    /// A record is gone.
    Expire { owner: NodeId, name: String },
}

impl Due {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Due::Tally(number) => [&[0], &number.to_be_bytes()[..]].concat(),
            Due::Release { validator, account } => [&[1], &validator.0[..], &account.0].concat(),
            Due::Bill(number) => [&[2], &number.to_be_bytes()[..]].concat(),
            Due::Expire { owner, name } => [&[3], &owner.0[..], name.as_bytes()].concat(),
        }
    }

    /// The epoch and the duty in a row's key.
    pub fn from_key(key: &[u8]) -> Option<(u64, Due)> {
        let rest = key.strip_prefix(&[Sort::Duty as u8])?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (sort, rest) = rest.split_first()?;
        let number = || rest.try_into().ok().map(u64::from_be_bytes);
        let due = match sort {
            0 => Due::Tally(number()?),
            1 => {
                let (validator, account) = rest.split_first_chunk::<32>()?;
                Due::Release { validator: NodeId(*validator), account: NodeId(account.try_into().ok()?) }
            }
            2 => Due::Bill(number()?),
            3 => {
                let (owner, name) = rest.split_first_chunk::<32>()?;
                Due::Expire { owner: NodeId(*owner), name: String::from_utf8(name.to_vec()).ok()? }
            }
            _ => return None,
        };
        Some((u64::from_be_bytes(*epoch), due))
    }
}

/// Every changed row is hashed twice: what a domain begins with is hashed once for all.
static KEYS: LazyLock<blake3::Hasher> = LazyLock::new(|| Domain::StateKey.hasher());
static VALUES: LazyLock<blake3::Hasher> = LazyLock::new(|| Domain::StateValue.hasher());

/// Where a key stands in the tree.
pub fn place(key: &[u8]) -> Hash {
    Hash(*KEYS.clone().update(key).finalize().as_bytes())
}

/// What the tree has for a value.
pub fn digest(value: &[u8]) -> Hash {
    Hash(*VALUES.clone().update(value).finalize().as_bytes())
}

/// The value of a row that this ledger wrote, or that a root vouches for.
pub fn decode<R: Row>(value: &[u8]) -> Result<R, Fault> {
    written(value).ok_or(Fault::Corrupt("a row of the state is not of its sort"))
}

/// The tokens that a row holds: over all rows they are the supply.
pub fn tokens(key: &[u8], value: &[u8]) -> Result<i128, Fault> {
    let sort = key.first().and_then(|tag| Sort::from_tag(*tag));
    let held: &[Tokens] = match sort.ok_or(Fault::Corrupt("a row of the state has no sort"))? {
        Sort::Totals => &[decode::<Totals>(value)?.treasury],
        Sort::Account => {
            let account = decode::<Account>(value)?;
            &[account.balance, account.gas]
        }
        Sort::Pool => &[decode::<Pool>(value)?.tokens],
        Sort::Closed => &[decode::<Closed>(value)?.0.tokens],
        Sort::Unbonding => &[decode::<Unbonding>(value)?.tokens],
        Sort::Proposal => &[decode::<Proposal>(value)?.deposit],
        Sort::Params
        | Sort::Seats
        | Sort::Delegation
        | Sort::Leaving
        | Sort::Record
        | Sort::Billing
        | Sort::Ballot
        | Sort::Policy
        | Sort::Worker
        | Sort::Duty => &[],
    };
    Ok(held.iter().map(|tokens| i128::from(tokens.0)).sum())
}
