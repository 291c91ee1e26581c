//! Tokens that move, come into being, and go.

use super::{Execution, Stop};
use crate::ledger::fault::Fault;
use crate::ledger::rows::Account;
use crate::types::{NodeId, Overflow, Tokens};
use crate::wire::ledger::{Effect, Failure};

impl Execution<'_> {
    pub(super) fn transfer(&mut self, from: NodeId, to: NodeId, amount: Tokens) -> Result<Effect, Stop> {
        self.debit(from, amount)?;
        self.credit(to, amount)?;
        Ok(Effect::Done)
    }

    pub(super) fn mint_for(&mut self, by: NodeId, to: NodeId, amount: Tokens) -> Result<Effect, Stop> {
        if self.params.minter != Some(by) {
            return Err(Failure::NotMinter.into());
        }
        self.mint(amount)?;
        self.credit(to, amount)?;
        Ok(Effect::Done)
    }

    pub(super) fn burn_own(&mut self, from: NodeId, amount: Tokens) -> Result<Effect, Stop> {
        self.debit(from, amount)?;
        self.burn(amount)?;
        Ok(Effect::Done)
    }

    pub(super) fn pay_gas(&mut self, from: NodeId, to: NodeId, amount: Tokens) -> Result<Effect, Stop> {
        self.debit(from, amount)?;
        let mut account: Account = self.state.or_new(&to)?;
        account.gas = account.gas.plus(amount)?;
        self.state.write(&to, &account);
        Ok(Effect::Done)
    }

    pub(super) fn fund_treasury(&mut self, from: NodeId, amount: Tokens) -> Result<Effect, Stop> {
        self.debit(from, amount)?;
        self.totals.treasury = self.totals.treasury.plus(amount)?;
        Ok(Effect::Done)
    }

    /// Takes tokens from the treasury.
    pub(super) fn spend(&mut self, amount: Tokens) -> Result<(), Failure> {
        let have = self.totals.treasury;
        self.totals.treasury = have.minus(amount).map_err(|_| Failure::TreasuryTooSmall { have, need: amount })?;
        Ok(())
    }

    /// Takes tokens from an account that has them.
    pub(super) fn debit(&mut self, from: NodeId, amount: Tokens) -> Result<(), Stop> {
        let mut account: Account = self.state.or_new(&from)?;
        let have = account.balance;
        account.balance = have.minus(amount).map_err(|_| Failure::InsufficientBalance { have, need: amount })?;
        self.state.write(&from, &account);
        Ok(())
    }

    /// Gives tokens to an account. All there are fit in any one, so this never overflows.
    pub(super) fn credit(&mut self, to: NodeId, amount: Tokens) -> Result<(), Fault> {
        if amount.is_zero() {
            return Ok(());
        }
        let mut account: Account = self.state.or_new(&to)?;
        account.balance = account.balance.plus(amount)?;
        self.state.write(&to, &account);
        Ok(())
    }

    /// Counts new tokens into the supply; the caller gives them to someone.
    pub(super) fn mint(&mut self, amount: Tokens) -> Result<(), Failure> {
        let supply = self.totals.supply.plus(amount).map_err(|Overflow| Failure::SupplyLimit)?;
        if supply > self.params.supply_limit {
            return Err(Failure::SupplyLimit);
        }
        self.totals.supply = supply;
        self.totals.minted = self.totals.minted.plus(amount).map_err(|Overflow| Failure::Overflow)?;
        Ok(())
    }

    /// Counts tokens out of the supply; the caller has taken them from someone.
    pub(super) fn burn(&mut self, amount: Tokens) -> Result<(), Overflow> {
        self.totals.supply = self.totals.supply.minus(amount)?;
        self.totals.burned = self.totals.burned.plus(amount)?;
        Ok(())
    }
}
