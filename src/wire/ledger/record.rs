//! What a block did: a receipt for each transaction, then what came about by itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::Action;
use crate::types::chain::{Height, TransactionId};
use crate::types::{NodeId, Tokens};
use crate::wire::kind::governance::VotingOutcome;

/// Why a transaction failed. It has cost its fee and changed nothing else.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    #[error("the account has {have}; {need} are needed")]
    InsufficientBalance { have: Tokens, need: Tokens },
    #[error("amounts do not add up within 64 bits")]
    Overflow,
    #[error("the supply would pass its limit")]
    SupplyLimit,
    #[error("only the minter that genesis names may mint")]
    NotMinter,
    #[error("{0} has no stake as a validator")]
    NotValidator(NodeId),
    #[error("{0} was punished for ever, or removed by vote")]
    Excluded(NodeId),
    #[error("to oneself one stakes; one delegates to others")]
    OneselfDelegated,
    #[error("the stake is worth {have}; {need} are asked for")]
    InsufficientStake { have: Tokens, need: Tokens },
    #[error("the amount is too small to be a share")]
    TooSmall,
    #[error("a validator stakes at least {0} of its own")]
    StakeTooSmall(Tokens),
    #[error("{0} validators have a stake or an admission; no more fit")]
    TooManyValidators(u32),
    #[error("{0} miners have shown work in this epoch; no more fit")]
    TooManyMiners(u32),
    #[error("an account stakes on at most {0} validators")]
    TooManyDelegations(u32),
    #[error("mining is not part of this chain")]
    NoMining,
    #[error("work is for the present epoch, {0}")]
    WrongEpoch(u64),
    #[error("the solution does not show enough work")]
    NotEnoughWork,
    #[error("a solution must be greater than the one before")]
    SolutionUsed,
    #[error("there is no such record")]
    UnknownRecord,
    #[error("paid further ahead than is allowed")]
    TooFarAhead,
    #[error("customer and provider are one account")]
    OneselfBilled,
    #[error("there is no such billing")]
    UnknownBilling,
    #[error("only customer and provider may end a billing")]
    NotParty,
    #[error("the deposit is less than {0}")]
    DepositTooSmall(Tokens),
    #[error("{0} proposals are open; wait until one is decided")]
    TooManyProposals(u32),
    #[error("there is no such proposal")]
    UnknownProposal,
    #[error("the vote is over")]
    VoteOver,
    #[error("only stakers vote")]
    NoVote,
    #[error("the treasury has {have}; {need} are needed")]
    TreasuryTooSmall { have: Tokens, need: Tokens },
    #[error("that version of the policy, or a later one, is in effect")]
    PolicyVersion,
}

/// What a successful transaction brought about that its body does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing more.
    Done,
    /// The tokens that were bound or set free.
    Moved(Tokens),
    /// The number of the proposal.
    Proposal(u64),
    /// The number of the billing.
    Billing(u64),
}

/// How a transaction ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is done.
    Succeeded(Effect),
    /// It is not; only the fee is paid.
    Failed(Failure),
}

/// What became of a transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// Which.
    pub transaction: TransactionId,
    /// Whose.
    pub account: NodeId,
    /// Its number.
    pub nonce: u64,
    /// Paid for it.
    pub fee: Tokens,
    /// Gas it took.
    pub gas: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// The votes on a proposal, in stake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// For it.
    pub yes: Tokens,
    /// Against it.
    pub no: Tokens,
    /// Neither.
    pub abstain: Tokens,
    /// Against its being asked.
    pub veto: Tokens,
}

/// What came about without a transaction: at the end of an epoch, by a deadline, or by evidence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A validator signed two things at one height: it lost a part of what was staked on it, and its place for ever.
    Slashed { validator: NodeId, height: Height, burned: Tokens },
    /// A validator was paid for its work in an epoch.
    ValidatorReward { validator: NodeId, epoch: u64, amount: Tokens },
    /// The stakers of a validator were paid: their shares are worth so much more.
    StakingReward { validator: NodeId, epoch: u64, amount: Tokens },
    /// A miner was paid for its work in an epoch.
    MiningReward { miner: NodeId, epoch: u64, amount: Tokens },
    /// Stake that was taken back is free.
    Released { account: NodeId, validator: NodeId, amount: Tokens },
    /// A service was paid.
    Billed { billing: u64, customer: NodeId, provider: NodeId, amount: Tokens, left: u32 },
    /// A customer could not pay: the billing is over.
    BillingLapsed { billing: u64, customer: NodeId, provider: NodeId, amount: Tokens },
    /// A record's rent ran out: it is gone.
    RecordExpired { owner: NodeId, name: String },
    /// A proposal was decided; when it passed and could not be carried out, why.
    Decided { proposal: u64, outcome: VotingOutcome, tally: Tally, action: Action, failed: Option<Failure> },
    /// The price of gas changed by itself, with the use of blocks.
    GasPrice { old: Tokens, new: Tokens },
}

/// One leaf under a header's receipts root.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Of a transaction.
    Receipt(Receipt),
    /// Of something else.
    Event(Event),
}
