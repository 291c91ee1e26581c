//! Stake: tokens bound to a validator, and taken back after a delay in which they can still be punished.

use super::{Execution, Stakes, Stop};
use crate::ledger::rows::{Account, Delegation, Due, Duty, Leaving, Pool, Standing, Unbonding};
use crate::types::{NodeId, Tokens};
use crate::wire::ledger::{Effect, Failure};

/// Validators with a pool.
pub const CANDIDATES: u32 = 1024;
/// Validators an account can stake on: its vote adds up what it has on each.
pub const DELEGATIONS: u32 = 16;

impl Execution<'_> {
    /// A validator stakes on itself; the first time that makes it one.
    pub(super) fn stake(&mut self, account: NodeId, amount: Tokens) -> Result<Effect, Stop> {
        let pool = match self.state.read::<Pool>(&account)? {
            Some(pool) => pool,
            None => self.new_pool(Standing::Applied)?,
        };
        let moved = self.bind(account, account, pool, amount)?;
        let mut pool: Pool = self.state.must(&account)?;
        let own: Delegation = self.state.must(&(account, account))?;
        let least = self.params.staking.least;
        if pool.worth(own.shares)? < least {
            return Err(Failure::StakeTooSmall(least).into());
        }
        Ok(Effect::Moved(moved))
    }

    pub(super) fn delegate(&mut self, account: NodeId, validator: NodeId, amount: Tokens) -> Result<Effect, Stop> {
        if account == validator {
            return Err(Failure::OneselfDelegated.into());
        }
        let pool: Pool = self.state.read(&validator)?.ok_or(Failure::NotValidator(validator))?;
        self.bind(account, validator, pool, amount).map(Effect::Moved)
    }

    pub(super) fn new_pool(&mut self, standing: Standing) -> Result<Pool, Failure> {
        if self.totals.pools >= CANDIDATES {
            return Err(Failure::TooManyValidators(CANDIDATES));
        }
        self.totals.pools += 1;
        Ok(Pool { standing, ..Pool::default() })
    }

    fn bind(&mut self, account: NodeId, validator: NodeId, mut pool: Pool, amount: Tokens) -> Result<Tokens, Stop> {
        match pool.standing {
            Standing::Applied | Standing::Admitted => {}
            Standing::Removed | Standing::Slashed => return Err(Failure::Excluded(validator).into()),
        }
        let (shares, cost) = pool.buy(amount)?;
        if shares == 0 {
            return Err(Failure::TooSmall.into());
        }
        self.debit(account, cost)?;
        self.totals.staked = self.totals.staked.plus(cost)?;
        self.state.write(&validator, &pool);
        let mut delegation: Delegation = self.state.or_new(&(account, validator))?;
        if delegation.shares == 0 {
            self.count_delegation(account)?;
        }
        delegation.shares += shares;
        self.state.write(&(account, validator), &delegation);
        Ok(cost)
    }

    fn count_delegation(&mut self, account: NodeId) -> Result<(), Stop> {
        let mut row: Account = self.state.must(&account)?;
        if row.delegations >= DELEGATIONS {
            return Err(Failure::TooManyDelegations(DELEGATIONS).into());
        }
        row.delegations += 1;
        self.state.write(&account, &row);
        Ok(())
    }

    /// Takes stake back: it is free at the end of an epoch to come.
    pub(super) fn undelegate(&mut self, account: NodeId, validator: NodeId, amount: Tokens) -> Result<Effect, Stop> {
        let mut pool: Pool = self.state.read(&validator)?.ok_or(Failure::NotValidator(validator))?;
        let held: Delegation = self.state.or_new(&(account, validator))?;
        let have = pool.worth(held.shares)?;
        let short = Failure::InsufficientStake { have, need: amount };
        if amount > have {
            return Err(short.into());
        }
        let shares = pool.shares_for(amount)?;
        let left = held.shares.checked_sub(shares).ok_or(short)?;
        let moved = pool.take(shares)?;
        self.totals.staked = self.totals.staked.minus(moved)?;
        self.keep_pool(validator, &pool);
        self.keep_delegation(account, validator, left)?;
        self.unbond(account, validator, moved)?;
        Ok(Effect::Moved(moved))
    }

    /// Nobody has a stake in a pool without shares: unless something must be remembered of the validator, it goes.
    fn keep_pool(&mut self, validator: NodeId, pool: &Pool) {
        if pool.shares == 0 && pool.standing == Standing::Applied {
            self.totals.pools = self.totals.pools.saturating_sub(1);
            self.totals.proposed = self.totals.proposed.saturating_sub(pool.proposed);
            self.state.clear::<Pool>(&validator);
        } else {
            self.state.write(&validator, pool);
        }
    }

    fn keep_delegation(&mut self, account: NodeId, validator: NodeId, shares: u64) -> Result<(), Stop> {
        if shares > 0 {
            self.state.write(&(account, validator), &Delegation { shares });
            return Ok(());
        }
        self.state.clear::<Delegation>(&(account, validator));
        let mut row: Account = self.state.must(&account)?;
        row.delegations = row.delegations.saturating_sub(1);
        self.state.write(&account, &row);
        Ok(())
    }

    fn unbond(&mut self, account: NodeId, validator: NodeId, tokens: Tokens) -> Result<(), Stop> {
        let free = self.epoch().saturating_add(self.params.staking.unbonding_epochs);
        let mut heap: Unbonding = self.state.or_new(&(validator, free))?;
        let before = heap.tokens;
        let (shares, cost) = heap.buy(tokens)?;
        // What buys no whole share is the heap's all the same: it has left the pool.
        heap.tokens = heap.tokens.plus(tokens.minus(cost)?)?;
        debug_assert_eq!(before.plus(tokens), Ok(heap.tokens));
        if shares == 0 {
            return Err(Failure::TooSmall.into());
        }
        self.state.write(&(validator, free), &heap);
        let mut leaving: Leaving = self.state.or_new(&(validator, free, account))?;
        leaving.shares += shares;
        self.state.write(&(validator, free, account), &leaving);
        self.state.write(&(free, Due::Release { validator, account }), &Duty {});
        Ok(())
    }

    pub(super) fn set_commission(&mut self, validator: NodeId, permille: u16) -> Result<Effect, Stop> {
        let mut pool: Pool = self.state.read(&validator)?.ok_or(Failure::NotValidator(validator))?;
        pool.commission = permille;
        self.state.write(&validator, &pool);
        Ok(Effect::Done)
    }
}
