//! Execution of one block: evidence, transactions, and what is due when it ends.
//!
//! ```text
//!   begin ─▶ slash* ─▶ group* ─▶ finish ─▶ rows that changed, records
//! ```
//!
//! Pure and total: the same state and the same block give the same bytes everywhere. A transaction that fails is undone
//! but for its fee; a [`Fault`] ends everything, because it cannot happen.

mod duties;
mod epoch;
mod pool;
mod service;
mod slash;
mod stake;
mod value;
mod vote;

use super::fault::Fault;
use super::params::Params;
use super::rows::{Account, Pool, Totals};
use super::state::State;
use crate::types::chain::{BlockId, Height};
use crate::types::storage::View;
use crate::types::{NodeId, Overflow, Tokens};
use crate::wire::ledger::{
    BLOCK_GAS, Body, Effect, Event, Failure, Outcome, Receipt, Record, SEALED_TRANSACTIONS, Sealed, Transaction,
};

pub use pool::Stakes;
pub use service::work_digest;
pub use slash::{BadEvidence, Guilt};

/// What is due is done at most so many at a time; the rest with the next block.
pub const DUTIES: usize = 256;

/// Why transactions cannot be in a block in this place: nobody would pay for them, or they were already there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    #[error("account {0} is not known; it begins with the first tokens it gets")]
    UnknownAccount(NodeId),
    #[error("nonce {have}; the account's next is {next}")]
    Nonce { have: u64, next: u64 },
    #[error("a fee of {have}; at the present prices {need} are needed")]
    FeeTooLow { have: Tokens, need: Tokens },
    #[error("the account has {have} for fees of {need}")]
    CannotPay { have: Tokens, need: Tokens },
    #[error("{gas} units of gas more than a block takes")]
    Gas { gas: u64 },
}

impl Unfit {
    /// A stable name, for programs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Unfit::UnknownAccount(_) => "unknown_account",
            Unfit::Nonce { .. } => "nonce",
            Unfit::FeeTooLow { .. } => "fee_too_low",
            Unfit::CannotPay { .. } => "cannot_pay",
            Unfit::Gas { .. } => "gas",
        }
    }
}

/// Why execution of something stops.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The transaction failed.
    Failed(Failure),
    /// Everything did.
    Broken(Fault),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Broken(fault)
    }
}

impl From<Overflow> for Stop {
    fn from(Overflow: Overflow) -> Stop {
        Stop::Failed(Failure::Overflow)
    }
}

/// Why a group of transactions is not executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Excluded {
    /// It does not fit in this place of this block.
    Unfit(Unfit),
    /// Nothing is executed any more.
    Broken(Fault),
}

impl From<Unfit> for Excluded {
    fn from(unfit: Unfit) -> Excluded {
        Excluded::Unfit(unfit)
    }
}

impl From<Fault> for Excluded {
    fn from(fault: Fault) -> Excluded {
        Excluded::Broken(fault)
    }
}

impl From<Overflow> for Excluded {
    fn from(Overflow: Overflow) -> Excluded {
        Excluded::Broken(Fault::Overflow)
    }
}

/// The least that transactions must pay at these prices.
pub fn price(params: &Params, sealed: &Sealed) -> Result<Tokens, Overflow> {
    let fees = &params.fees;
    let each = fees.transaction.times(sealed.count() as u64)?;
    each.plus(fees.byte.times(sealed.bytes().len() as u64)?)?.plus(fees.gas.times(sealed.gas())?)
}

/// A block being executed.
pub struct Execution<'a> {
    state: State<'a>,
    params: Params,
    totals: Totals,
    height: Height,
    proposer: NodeId,
    /// The proposer's part of the fees.
    pot: Tokens,
    gas: u64,
    /// Someone lost its seat in this block.
    unseated: bool,
    /// Pools that can give their places to others, the smallest last; looked for once, when there is no place.
    spare: Option<Vec<NodeId>>,
    records: Vec<Record>,
}

/// What a block did.
pub struct Done<'a> {
    /// The state with all changes.
    pub state: State<'a>,
    /// Its sums before the block and after it.
    pub totals: Totals,
    /// Receipts, then events, in order.
    pub records: Vec<Record>,
}

impl<'a> Execution<'a> {
    /// Begins the block at `height` on top of the state in the store, whose last block is `parent`.
    pub fn begin(
        height: Height,
        parent: BlockId,
        proposer: NodeId,
        view: &'a dyn View,
    ) -> Result<Execution<'a>, Fault> {
        let state = State::new(view);
        let (params, mut totals): (Params, Totals) = (state.must(&())?, state.must(&())?);
        if params.epoch(height.0) != params.epoch(height.0.saturating_sub(1)) || height.0 == 1 {
            totals.work_seed = parent.0;
        }
        let (pot, gas, records) = (Tokens::ZERO, 0, Vec::new());
        Ok(Execution { state, params, totals, height, proposer, pot, gas, unseated: false, spare: None, records })
    }

    /// The epoch of this block.
    fn epoch(&self) -> u64 {
        self.params.epoch(self.height.0)
    }

    /// Executes the transactions under one seal, if they are next and can be paid for. Their fees are taken first, all
    /// of them, so that what one of them does never leaves the next without.
    pub fn group(&mut self, sealed: &Sealed) -> Result<(), Excluded> {
        let id = sealed.account();
        let account: Account = self.state.read(&id)?.ok_or(Unfit::UnknownAccount(id))?;
        self.fits(&account, sealed)?;
        let Account { nonce: _, balance, gas, delegations } = account;
        let credit = gas.min(sealed.fee());
        let rest = sealed.fee().minus(credit)?;
        let paid =
            Account { nonce: sealed.next_nonce(), balance: balance.minus(rest)?, gas: gas.minus(credit)?, delegations };
        self.state.write(&id, &paid);
        self.share_fee(sealed.fee())?;
        self.gas += sealed.gas();
        for (at, transaction) in sealed.order().transactions.iter().enumerate().take(SEALED_TRANSACTIONS) {
            self.transaction(sealed, at, transaction)?;
        }
        Ok(())
    }

    /// Whether transactions are next, and can be paid for.
    fn fits(&self, account: &Account, sealed: &Sealed) -> Result<(), Excluded> {
        if sealed.nonce() != account.nonce {
            return Err(Unfit::Nonce { have: sealed.nonce(), next: account.nonce }.into());
        }
        let (fee, need) = (sealed.fee(), price(&self.params, sealed)?);
        if fee < need {
            return Err(Unfit::FeeTooLow { have: fee, need }.into());
        }
        let have = account.balance.plus(account.gas)?;
        if have < fee {
            return Err(Unfit::CannotPay { have, need: fee }.into());
        }
        let gas = self.gas.saturating_add(sealed.gas());
        if gas > BLOCK_GAS {
            return Err(Unfit::Gas { gas: gas - BLOCK_GAS }.into());
        }
        Ok(())
    }

    /// Some of a fee is burned, some is the treasury's, the rest the proposer's.
    fn share_fee(&mut self, fee: Tokens) -> Result<(), Overflow> {
        let burned = fee.permille(self.params.fees.burned_permille);
        let taxed = fee.permille(self.params.fees.treasury_permille);
        self.burn(burned)?;
        self.totals.treasury = self.totals.treasury.plus(taxed)?;
        self.pot = self.pot.plus(fee.minus(burned)?.minus(taxed)?)?;
        Ok(())
    }

    fn transaction(&mut self, sealed: &Sealed, at: usize, transaction: &Transaction) -> Result<(), Fault> {
        let totals = self.totals.clone();
        self.state.savepoint();
        let outcome = match self.body(sealed.account(), &transaction.body) {
            Ok(effect) => Outcome::Succeeded(effect),
            Err(Stop::Failed(failure)) => {
                self.state.roll_back();
                self.totals = totals;
                Outcome::Failed(failure)
            }
            Err(Stop::Broken(fault)) => return Err(fault),
        };
        self.records.push(Record::Receipt(Receipt {
            transaction: sealed.ids().get(at).copied().unwrap_or_default(),
            account: sealed.account(),
            nonce: sealed.nonce().saturating_add(at as u64),
            fee: transaction.fee,
            gas: transaction.body.gas(),
            outcome,
        }));
        Ok(())
    }

    fn body(&mut self, account: NodeId, body: &Body) -> Result<Effect, Stop> {
        match body {
            Body::Transfer { to, amount, memo: _ } => self.transfer(account, *to, *amount),
            Body::Mint { to, amount } => self.mint_for(account, *to, *amount),
            Body::Burn { amount } => self.burn_own(account, *amount),
            Body::PayGas { to, amount } => self.pay_gas(account, *to, *amount),
            Body::FundTreasury { amount } => self.fund_treasury(account, *amount),
            Body::Stake { amount } => self.stake(account, *amount),
            Body::Delegate { validator, amount } => self.delegate(account, *validator, *amount),
            Body::Unstake { amount } => self.undelegate(account, account, *amount),
            Body::Undelegate { validator, amount } => self.undelegate(account, *validator, *amount),
            Body::SetCommission { permille } => self.set_commission(account, *permille),
            Body::Work { epoch, solution } => self.work(account, *epoch, *solution),
            Body::Store { name, value, epochs } => self.store(account, name, value, *epochs),
            Body::PayRent { owner, name, epochs } => self.pay_rent(account, *owner, name, *epochs),
            Body::Erase { name } => self.erase(account, name),
            Body::OpenBilling { provider, service, amount, every, payments } => {
                self.open_billing(account, *provider, service, *amount, *every, *payments)
            }
            Body::CloseBilling { billing } => self.close_billing(account, *billing),
            Body::Propose { title, action, deposit } => self.propose(account, title, action, *deposit),
            Body::Vote { proposal, choice } => self.vote(account, *proposal, *choice),
        }
    }

    /// Ends the block: the proposer is paid, and what is due is done.
    pub fn finish(mut self) -> Result<Done<'a>, Fault> {
        self.credit(self.proposer, self.pot)?;
        self.count_proposal()?;
        self.adjust_gas_price();
        if self.params.ends_epoch(self.height.0) {
            self.reward()?;
        }
        self.duties()?;
        self.seat()?;
        self.state.write(&(), &self.params);
        self.state.write(&(), &self.totals);
        Ok(Done { state: self.state, totals: self.totals, records: self.records })
    }

    fn count_proposal(&mut self) -> Result<(), Fault> {
        if let Some(mut pool) = self.state.read::<Pool>(&self.proposer)? {
            pool.proposed = pool.proposed.saturating_add(1);
            self.totals.proposed = self.totals.proposed.saturating_add(1);
            self.state.write(&self.proposer, &pool);
        }
        Ok(())
    }

    /// The price of gas follows the use of blocks (as in EIP-1559): by an eighth at most.
    fn adjust_gas_price(&mut self) {
        let (target, old) = (self.params.fees.gas_target, self.params.fees.gas);
        if target == 0 || self.gas == target {
            return;
        }
        let distance = self.gas.abs_diff(target).min(target);
        let step = u128::from(old.0) * u128::from(distance) / u128::from(target) / 8;
        let step = u64::try_from(step).unwrap_or(old.0).max(1);
        let new = if self.gas > target { old.0.saturating_add(step) } else { old.0.saturating_sub(step) };
        let new = Tokens(new.clamp(1, crate::wire::ledger::FEE));
        if new != old {
            self.params.fees.gas = new;
            self.event(Event::GasPrice { old, new });
        }
    }

    fn event(&mut self, event: Event) {
        self.records.push(Record::Event(event));
    }
}
