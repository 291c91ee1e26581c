//! Economic: tokens and their moves, rewards, fees, rent, bills.
//!
//! Pure. Amounts are whole base units of the named token, as 64-bit numbers. An account is the node key that signs
//! for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{Checks, Rules};
use super::value::Blob;
use crate::types::{MessageId, NodeId, WallMs};
use crate::wire::fault::Faults;
use crate::wire::ledger::{SEALED_BYTES, Sealed};

/// Value goes from one account to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenTransfer {
    /// Symbol of the token.
    pub token: String,
    /// Who pays.
    pub from: NodeId,
    /// Who is paid; another account.
    pub to: NodeId,
    /// How much, base units.
    pub amount: u64,
    /// What the payer adds for the network, base units.
    pub fee: u64,
    /// The payer's transaction number, from 0.
    pub nonce: u64,
    /// A word to the other.
    #[serde(default)]
    pub memo: Option<String>,
}

impl Rules for TokenTransfer {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("token", &self.token)
            .must(self.from != self.to, "to", "must be another account")
            .some("amount", self.amount)
            .must(self.amount.checked_add(self.fee).is_some(), "fee", "amount and fee must fit in 64 bits")
            .text_if("memo", &self.memo);
    }
}

/// Why tokens come into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MintReason {
    /// The network began.
    Genesis,
    /// The schedule says so.
    Emission,
    /// A vote says so.
    Governance,
    /// The same was locked on another chain.
    Bridge,
}

/// Tokens come into being.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenMinting {
    /// Symbol of the token.
    pub token: String,
    /// Who gets them.
    pub to: NodeId,
    /// How many, base units.
    pub amount: u64,
    /// Why.
    pub reason: MintReason,
    /// The supply afterwards, base units.
    pub supply_after: u64,
    /// The proposal that was voted on; needed for governance.
    #[serde(default)]
    pub proposal_id: Option<String>,
}

impl Rules for TokenMinting {
    fn check(&self, faults: &mut Faults) {
        let voted = self.reason == MintReason::Governance;
        faults
            .name("token", &self.token)
            .some("amount", self.amount)
            .must(self.supply_after >= self.amount, "supply_after", "must include what was minted")
            .must(!voted || self.proposal_id.is_some(), "proposal_id", "must name the proposal")
            .name_if("proposal_id", &self.proposal_id);
    }
}

/// Why tokens are destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BurnReason {
    /// A part of the fees.
    Fee,
    /// A punishment.
    Slash,
    /// Paid out on another chain or in money.
    Redemption,
    /// A vote says so.
    Governance,
}

/// Tokens are destroyed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBurning {
    /// Symbol of the token.
    pub token: String,
    /// Whose they were.
    pub from: NodeId,
    /// How many, base units.
    pub amount: u64,
    /// Why.
    pub reason: BurnReason,
    /// The supply afterwards, base units.
    pub supply_after: u64,
    /// The message that shows the guilt; needed for a punishment.
    #[serde(default)]
    pub evidence: Option<MessageId>,
}

impl Rules for TokenBurning {
    fn check(&self, faults: &mut Faults) {
        let punished = self.reason == BurnReason::Slash;
        faults
            .name("token", &self.token)
            .some("amount", self.amount)
            .must(
                self.supply_after.checked_add(self.amount).is_some(),
                "supply_after",
                "must fit in 64 bits before, too",
            )
            .must(!punished || self.evidence.is_some(), "evidence", "a punishment names its evidence");
    }
}

/// What is done with a stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StakeAction {
    /// A validator stakes its own.
    Stake,
    /// A validator takes its own back, after a delay.
    Unstake,
    /// Someone stakes on a validator.
    Delegate,
    /// Someone takes that back, after a delay.
    Undelegate,
}

/// Tokens are bound to a validator, or set free.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenStaking {
    /// Symbol of the token.
    pub token: String,
    /// What is done.
    pub action: StakeAction,
    /// Whose tokens.
    pub staker: NodeId,
    /// For which validator.
    pub validator: NodeId,
    /// How many, base units.
    pub amount: u64,
    /// The staker's transaction number, from 0.
    pub nonce: u64,
    /// When tokens taken back are free; needed when they are.
    #[serde(default)]
    pub unlock_ms: Option<WallMs>,
}

impl Rules for TokenStaking {
    fn check(&self, faults: &mut Faults) {
        let (own, back) = match self.action {
            StakeAction::Stake => (true, false),
            StakeAction::Unstake => (true, true),
            StakeAction::Delegate => (false, false),
            StakeAction::Undelegate => (false, true),
        };
        faults
            .name("token", &self.token)
            .must(own == (self.staker == self.validator), "validator", "oneself to stake, another to delegate")
            .some("amount", self.amount)
            .must(!back || self.unlock_ms.is_some(), "unlock_ms", "must say when the tokens are free");
        if let Some(at) = self.unlock_ms {
            faults.time("unlock_ms", at);
        }
    }
}

/// A miner is paid for its work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MiningReward {
    /// Who is paid.
    pub miner: NodeId,
    /// Symbol of the token.
    pub token: String,
    /// How much, base units.
    pub amount: u64,
    /// Height of the block it is for, from 1.
    pub height: u64,
    /// The miner's part of the work, 0 to 100.
    pub share_percent: f64,
}

impl Rules for MiningReward {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("token", &self.token)
            .some("amount", self.amount)
            .some("height", self.height)
            .percent("share_percent", self.share_percent);
    }
}

/// A staker is paid for its stake.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StakingReward {
    /// Who is paid.
    pub staker: NodeId,
    /// The validator it staked on.
    pub validator: NodeId,
    /// Symbol of the token.
    pub token: String,
    /// How much, base units.
    pub amount: u64,
    /// The stake it is for, base units.
    pub stake: u64,
    /// The epoch it is for, from 0.
    pub epoch: u64,
}

impl Rules for StakingReward {
    fn check(&self, faults: &mut Faults) {
        faults.name("token", &self.token).some("amount", self.amount).some("stake", self.stake).must(
            self.amount <= self.stake,
            "amount",
            "must not be more than the stake",
        );
    }
}

/// A validator is paid for its work in an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidatorReward {
    /// Who is paid.
    pub validator: NodeId,
    /// Symbol of the token.
    pub token: String,
    /// How much, base units.
    pub amount: u64,
    /// The epoch it is for, from 0.
    pub epoch: u64,
    /// Blocks it proposed that were decided.
    pub blocks_proposed: u32,
    /// Votes it cast.
    pub votes_cast: u32,
    /// What it keeps of its stakers' rewards, 0 to 100.
    pub commission_percent: f64,
}

impl Rules for ValidatorReward {
    fn check(&self, faults: &mut Faults) {
        let worked = self.blocks_proposed > 0 || self.votes_cast > 0;
        faults
            .name("token", &self.token)
            .some("amount", self.amount)
            .must(worked, "votes_cast", "a reward is for a block or a vote")
            .percent("commission_percent", self.commission_percent);
    }
}

/// How the economy did over a period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EconomicMetrics {
    /// Symbol of the token.
    pub token: String,
    /// All tokens, base units.
    pub supply: u64,
    /// Those staked, base units.
    pub staked: u64,
    /// Those in the treasury, base units.
    pub treasury: u64,
    /// Fees paid in the period, base units.
    pub fees: u64,
    /// Transactions in the period.
    pub transactions: u64,
    /// Growth of the supply over a year at this rate, percent; negative when it shrinks.
    pub inflation_percent: f64,
    /// The period's beginning.
    pub start_ms: WallMs,
    /// The period's end.
    pub end_ms: WallMs,
}

impl Rules for EconomicMetrics {
    fn check(&self, faults: &mut Faults) {
        let bound = self.staked.saturating_add(self.treasury);
        faults
            .name("token", &self.token)
            .some("supply", self.supply)
            .must(bound <= self.supply, "supply", "must be at least the staked and the treasury's tokens")
            .must(self.inflation_percent.is_finite(), "inflation_percent", "must be a finite number")
            .time("start_ms", self.start_ms)
            .after("end_ms", self.end_ms, self.start_ms);
    }
}

/// Which way money goes at the treasury.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TreasuryFlow {
    /// Into it.
    Income,
    /// Out of it.
    Spending,
}

/// The treasury took in or spent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TreasuryUpdate {
    /// Symbol of the token.
    pub token: String,
    /// In or out.
    pub flow: TreasuryFlow,
    /// How much, base units.
    pub amount: u64,
    /// The balance afterwards, base units.
    pub balance_after: u64,
    /// What for.
    pub purpose: String,
    /// The proposal that was voted on; needed for spending.
    #[serde(default)]
    pub proposal_id: Option<String>,
}

impl Rules for TreasuryUpdate {
    fn check(&self, faults: &mut Faults) {
        let (income, spending) = match self.flow {
            TreasuryFlow::Income => (true, false),
            TreasuryFlow::Spending => (false, true),
        };
        faults
            .name("token", &self.token)
            .some("amount", self.amount)
            .must(!income || self.balance_after >= self.amount, "balance_after", "must include the income")
            .text("purpose", &self.purpose)
            .must(!spending || self.proposal_id.is_some(), "proposal_id", "spending names its proposal")
            .name_if("proposal_id", &self.proposal_id);
    }
}

/// What a fee is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeeType {
    /// Each transaction.
    Transaction,
    /// Each byte of one.
    Byte,
    /// Each unit of gas.
    Gas,
    /// Each byte stored, for an epoch of the ledger.
    Storage,
}

/// A fee changes from a height on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeeAdjustment {
    /// Which fee.
    pub fee_type: FeeType,
    /// Symbol of the token it is paid in.
    pub token: String,
    /// The fee before, base units.
    pub old_fee: u64,
    /// The fee from then on, base units.
    pub new_fee: u64,
    /// First height at which it counts, from 1.
    pub effective_height: u64,
    /// The proposal that was voted on.
    pub proposal_id: String,
}

impl Rules for FeeAdjustment {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("token", &self.token)
            .must(self.new_fee != self.old_fee, "new_fee", "must differ from the old fee")
            .some("effective_height", self.effective_height)
            .name("proposal_id", &self.proposal_id);
    }
}

/// Stored bytes are paid for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RentPayment {
    /// Who pays.
    pub payer: NodeId,
    /// Who stores, and is paid.
    pub landlord: NodeId,
    /// Symbol of the token.
    pub token: String,
    /// How much, base units.
    pub amount: u64,
    /// What is stored, bytes.
    pub stored_bytes: u64,
    /// Paid from.
    pub start_ms: WallMs,
    /// Paid until.
    pub end_ms: WallMs,
}

impl Rules for RentPayment {
    fn check(&self, faults: &mut Faults) {
        faults
            .must(self.payer != self.landlord, "landlord", "must be another account")
            .name("token", &self.token)
            .some("amount", self.amount)
            .some("stored_bytes", self.stored_bytes)
            .time("start_ms", self.start_ms)
            .after("end_ms", self.end_ms, self.start_ms);
    }
}

/// The work of a transaction is paid for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GasFeePayment {
    /// Who pays.
    pub payer: NodeId,
    /// Symbol of the token.
    pub token: String,
    /// The message that carried the transaction.
    pub transaction: MessageId,
    /// Units it was allowed to use.
    pub gas_limit: u64,
    /// Units it used.
    pub gas_used: u64,
    /// Price of a unit, base units.
    pub gas_price: u64,
    /// Paid in all, base units: used times price.
    pub amount: u64,
}

impl Rules for GasFeePayment {
    fn check(&self, faults: &mut Faults) {
        let due = u128::from(self.gas_used) * u128::from(self.gas_price);
        faults
            .name("token", &self.token)
            .some("gas_used", self.gas_used)
            .must(self.gas_used <= self.gas_limit, "gas_used", "must not be more than the limit")
            .some("gas_price", self.gas_price)
            .must(u128::from(self.amount) >= due, "amount", "is less than gas used times price")
            .must(u128::from(self.amount) <= due, "amount", "is more than gas used times price");
    }
}

/// One line of a bill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BillingLine {
    /// What was used.
    pub item: String,
    /// How many units.
    pub quantity: u64,
    /// Price of a unit, base units.
    pub unit_price: u64,
}

impl Rules for BillingLine {
    fn check(&self, faults: &mut Faults) {
        faults.name("item", &self.item).some("quantity", self.quantity);
    }
}

/// A provider bills a customer for a service over a period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceBilling {
    /// Number of the bill, unique for its provider.
    pub bill_id: String,
    /// Who is paid.
    pub provider: NodeId,
    /// Who pays.
    pub customer: NodeId,
    /// Name of the service.
    pub service: String,
    /// Symbol of the token.
    pub token: String,
    /// What was used.
    pub lines: Vec<BillingLine>,
    /// The sum of the lines, base units.
    pub total: u64,
    /// The period's beginning.
    pub start_ms: WallMs,
    /// The period's end.
    pub end_ms: WallMs,
    /// To be paid by then.
    pub due_ms: WallMs,
}

impl Rules for ServiceBilling {
    fn check(&self, faults: &mut Faults) {
        let line = |line: &BillingLine| u128::from(line.quantity) * u128::from(line.unit_price);
        let sum = self.lines.iter().map(line).fold(0, u128::saturating_add);
        faults
            .name("bill_id", &self.bill_id)
            .must(self.customer != self.provider, "customer", "must be another account")
            .name("service", &self.service)
            .name("token", &self.token)
            .filled("lines", &self.lines)
            .parts("lines", &self.lines)
            .must(u128::from(self.total) >= sum, "total", "is less than the sum of the lines")
            .must(u128::from(self.total) <= sum, "total", "is more than the sum of the lines")
            .time("start_ms", self.start_ms)
            .after("end_ms", self.end_ms, self.start_ms)
            .after("due_ms", self.due_ms, self.start_ms);
    }
}

/// Transactions of one account on their way into a block of the ledger.
///
/// They are under the account's own seal: whoever sends the message need not be whose account it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedTransactions {
    /// The sealed transactions, as the ledger takes them, at most 64 KiB.
    pub sealed: Blob,
}

impl Rules for SignedTransactions {
    fn check(&self, faults: &mut Faults) {
        faults.blob("sealed", &self.sealed, SEALED_BYTES).must(
            Sealed::shape(&self.sealed.0).is_some(),
            "sealed",
            "must be transactions of one account under a seal",
        );
    }
}
