//! What a transaction can do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{Hash, NodeId, Tokens};
use crate::wire::kind::Blob;
use crate::wire::kind::economic::FeeType;
use crate::wire::kind::governance::VoteChoice;

/// A memo, a title, a name of a record, a service or a policy, bytes.
pub const NAME_BYTES: usize = 128;
/// A statement put to the vote, bytes.
pub const STATEMENT_BYTES: usize = 1024;
/// The value of a stored record, bytes.
pub const RECORD_BYTES: usize = 4096;
/// Epochs that can be paid for or waited for at once.
pub const EPOCHS: u32 = 1 << 20;
/// Payments of one billing.
pub const PAYMENTS: u32 = 1000;
/// The fee a vote may set, at most, base units.
pub const FEE: u64 = 1 << 40;

/// What a transaction does. Amounts are more than nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// Tokens go to another account, which begins with them if it is new.
    Transfer {
        /// Who is paid.
        to: NodeId,
        /// How much.
        amount: Tokens,
        /// A word to the other.
        #[serde(default)]
        memo: Option<String>,
    },
    /// Tokens come into being: for the minter that genesis names, if it names one.
    Mint {
        /// Who gets them.
        to: NodeId,
        /// How many.
        amount: Tokens,
    },
    /// Tokens of one's own are destroyed.
    Burn {
        /// How many.
        amount: Tokens,
    },
    /// Tokens are bound to oneself as a validator.
    Stake {
        /// How many.
        amount: Tokens,
    },
    /// They are taken back, after the delay.
    Unstake {
        /// How many, as they are worth now.
        amount: Tokens,
    },
    /// Tokens are bound to another as a validator.
    Delegate {
        /// Which.
        validator: NodeId,
        /// How many; what buys no whole share stays with the account.
        amount: Tokens,
    },
    /// They are taken back, after the delay.
    Undelegate {
        /// From which.
        validator: NodeId,
        /// How many, as they are worth now.
        amount: Tokens,
    },
    /// A validator says what it keeps of its stakers' rewards.
    SetCommission {
        /// Thousandths, 0 to 1000.
        permille: u16,
    },
    /// A miner shows work: see `docs/ledger.md`.
    Work {
        /// The epoch it is for: the present one.
        epoch: u64,
        /// The number found; greater than that of the work shown before in this epoch.
        solution: u64,
    },
    /// An account is given tokens that can only pay its fees.
    PayGas {
        /// Which.
        to: NodeId,
        /// How many.
        amount: Tokens,
    },
    /// A record is stored, or replaced, and its rent paid.
    Store {
        /// Its name, of the account's own choice.
        name: String,
        /// What is stored.
        value: Blob,
        /// For so many epochs, this one included.
        epochs: u32,
    },
    /// The rent of a record is paid for longer, by anyone.
    PayRent {
        /// Whose record.
        owner: NodeId,
        /// Its name.
        name: String,
        /// So many epochs more.
        epochs: u32,
    },
    /// A record of one's own is removed.
    Erase {
        /// Its name.
        name: String,
    },
    /// A service is paid again and again, without asking again.
    OpenBilling {
        /// Who is paid.
        provider: NodeId,
        /// For what.
        service: String,
        /// How much each time.
        amount: Tokens,
        /// How many epochs lie between.
        every: u32,
        /// How many times in all.
        payments: u32,
    },
    /// Customer or provider ends that.
    CloseBilling {
        /// The number it was given.
        billing: u64,
    },
    /// The treasury is given tokens.
    FundTreasury {
        /// How many.
        amount: Tokens,
    },
    /// Something is put to the vote of the stakers.
    Propose {
        /// In short.
        title: String,
        /// What is done when it passes.
        action: Action,
        /// What is bound to it until it is decided; lost to the treasury when nobody cares or many object.
        deposit: Tokens,
    },
    /// A staker votes, with all its stake; the last vote counts.
    Vote {
        /// The number the proposal was given.
        proposal: u64,
        /// How.
        choice: VoteChoice,
    },
}

/// What a vote can bring about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Nothing: it is an opinion.
    Declare {
        /// What is declared.
        statement: String,
    },
    /// A fee changes.
    ChangeFee {
        /// Which.
        fee_type: FeeType,
        /// The fee from then on.
        new_fee: Tokens,
    },
    /// A policy takes effect.
    AdoptPolicy {
        /// Id of the policy.
        policy_id: String,
        /// Its version, later than the one in effect.
        version: u32,
        /// Hash of its text.
        digest: Hash,
    },
    /// The treasury pays.
    Spend {
        /// Whom.
        to: NodeId,
        /// How much.
        amount: Tokens,
    },
    /// Tokens come into being.
    Mint {
        /// Who gets them.
        to: NodeId,
        /// How many.
        amount: Tokens,
    },
    /// A validator may take part once it has the stake.
    AdmitValidator {
        /// Which.
        validator: NodeId,
    },
    /// A validator may not take part any more. Its stake stays its stakers'.
    RemoveValidator {
        /// Which.
        validator: NodeId,
    },
}

impl Body {
    /// What the work of executing it counts, in units of gas. Fixed: the price of a unit is what changes.
    pub fn gas(&self) -> u64 {
        match self {
            Body::Transfer { .. } | Body::Burn { .. } | Body::PayGas { .. } | Body::FundTreasury { .. } => 10,
            Body::Mint { .. } | Body::SetCommission { .. } | Body::Erase { .. } | Body::CloseBilling { .. } => 10,
            Body::Stake { .. } | Body::Unstake { .. } | Body::Delegate { .. } | Body::Undelegate { .. } => 20,
            Body::Work { .. } | Body::PayRent { .. } | Body::Vote { .. } => 20,
            Body::Store { value, .. } => 20 + value.0.len() as u64 / 64,
            Body::OpenBilling { payments, .. } => 30 + 10 * u64::from(*payments),
            Body::Propose { .. } => 50,
        }
    }

    /// Its name, as in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Body::Transfer { .. } => "transfer",
            Body::Mint { .. } => "mint",
            Body::Burn { .. } => "burn",
            Body::Stake { .. } => "stake",
            Body::Unstake { .. } => "unstake",
            Body::Delegate { .. } => "delegate",
            Body::Undelegate { .. } => "undelegate",
            Body::SetCommission { .. } => "set_commission",
            Body::Work { .. } => "work",
            Body::PayGas { .. } => "pay_gas",
            Body::Store { .. } => "store",
            Body::PayRent { .. } => "pay_rent",
            Body::Erase { .. } => "erase",
            Body::OpenBilling { .. } => "open_billing",
            Body::CloseBilling { .. } => "close_billing",
            Body::FundTreasury { .. } => "fund_treasury",
            Body::Propose { .. } => "propose",
            Body::Vote { .. } => "vote",
        }
    }

    /// What is wrong with it whatever the state is: the first thing found, as a field and a rule.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Body::Transfer { amount, memo, .. } => {
                some(*amount).or(memo.as_deref().and_then(|memo| words(memo, "memo: 1 to 128 bytes of text")))
            }
            Body::Mint { amount, .. }
            | Body::Burn { amount }
            | Body::Stake { amount }
            | Body::Unstake { amount }
            | Body::Delegate { amount, .. }
            | Body::Undelegate { amount, .. }
            | Body::PayGas { amount, .. }
            | Body::FundTreasury { amount } => some(*amount),
            Body::SetCommission { permille } => unless(*permille <= 1000, "permille: at most 1000"),
            Body::Work { .. } | Body::CloseBilling { .. } | Body::Vote { .. } => None,
            Body::Store { name, value, epochs } => words(name, "name: 1 to 128 bytes of text")
                .or(unless(value.0.len() <= RECORD_BYTES, "value: at most 4096 bytes"))
                .or(count(*epochs)),
            Body::PayRent { name, epochs, .. } => words(name, "name: 1 to 128 bytes of text").or(count(*epochs)),
            Body::Erase { name } => words(name, "name: 1 to 128 bytes of text"),
            Body::OpenBilling { service, amount, every, payments, .. } => some(*amount)
                .or(words(service, "service: 1 to 128 bytes of text"))
                .or(count(*every))
                .or(unless((1..=PAYMENTS).contains(payments), "payments: 1 to 1000")),
            Body::Propose { title, action, deposit } => {
                words(title, "title: 1 to 128 bytes of text").or(some(*deposit)).or(action.fault())
            }
        }
    }
}

impl Action {
    fn fault(&self) -> Option<&'static str> {
        match self {
            Action::Declare { statement } => {
                let fits = (1..=STATEMENT_BYTES).contains(&statement.len()) && !statement.trim().is_empty();
                unless(fits, "statement: 1 to 1024 bytes of text")
            }
            Action::ChangeFee { new_fee, .. } => unless(new_fee.0 <= FEE, "new_fee: at most 2^40"),
            Action::AdoptPolicy { policy_id, version, .. } => {
                words(policy_id, "policy_id: 1 to 128 bytes of text").or(unless(*version > 0, "version: from 1"))
            }
            Action::Spend { amount, .. } | Action::Mint { amount, .. } => some(*amount),
            Action::AdmitValidator { .. } | Action::RemoveValidator { .. } => None,
        }
    }
}

fn unless(holds: bool, rule: &'static str) -> Option<&'static str> {
    (!holds).then_some(rule)
}

fn some(amount: Tokens) -> Option<&'static str> {
    unless(!amount.is_zero(), "amount: more than nothing")
}

fn count(number: u32) -> Option<&'static str> {
    unless((1..=EPOCHS).contains(&number), "epochs: 1 to 2^20")
}

fn words(text: &str, rule: &'static str) -> Option<&'static str> {
    let fits = (1..=NAME_BYTES).contains(&text.len()) && !text.trim().is_empty() && !text.chars().any(char::is_control);
    unless(fits, rule)
}
