//! Stake: tokens bound to a validator, and taken back after a delay in which they can still be punished.

use super::{Execution, Stakes, Stop};
use crate::ledger::fault::Fault;
use crate::ledger::rows::{Account, Closed, Delegation, Due, Duty, Leaving, Pool, Seats, Standing, Unbonding};
use crate::ledger::state::State;
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
            None => self.new_pool(account, Standing::Applied)?,
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

    /// A place for a validator that has none, with the pool it had before, if that was closed.
    pub(super) fn new_pool(&mut self, validator: NodeId, standing: Standing) -> Result<Pool, Stop> {
        if self.totals.pools >= CANDIDATES {
            self.close_one()?;
        }
        self.totals.pools += 1;
        match self.state.read::<Closed>(&validator)? {
            Some(Closed(pool)) => {
                self.state.clear::<Closed>(&validator);
                Ok(pool)
            }
            None => Ok(Pool { standing, ..Pool::default() }),
        }
    }

    /// Closes the smallest pool that could not be seated anyway: else whoever came first would keep all places with
    /// next to nothing.
    fn close_one(&mut self) -> Result<(), Stop> {
        let mut spare = match self.spare.take() {
            Some(spare) => spare,
            None => self.find_spare()?,
        };
        let mut found = None;
        while let Some(validator) = spare.pop() {
            // It may have changed since this block began.
            let pool = self.state.read::<Pool>(&validator)?;
            if let Some(pool) = pool.filter(|pool| pool.standing == Standing::Applied)
                && self.lacks_own(validator, &pool)?
            {
                found = Some((validator, pool));
                break;
            }
        }
        self.spare = Some(spare);
        let (validator, pool) = found.ok_or(Failure::TooManyValidators(CANDIDATES))?;
        self.totals.pools = self.totals.pools.saturating_sub(1);
        self.totals.proposed = self.totals.proposed.saturating_sub(pool.proposed);
        self.state.clear::<Pool>(&validator);
        self.state.write(&validator, &Closed(Pool { proposed: 0, ..pool }));
        Ok(())
    }

    /// Pools without a seat and without enough stake of their validators, the smallest last.
    fn find_spare(&self) -> Result<Vec<NodeId>, Fault> {
        let Seats(seats) = self.state.must(&())?;
        let mut spare = Vec::new();
        for (validator, pool) in self.pools()? {
            let is_idle = pool.standing == Standing::Applied && !seats.iter().any(|seat| seat.id == validator);
            if is_idle && self.lacks_own(validator, &pool)? {
                spare.push((pool.tokens, validator));
            }
        }
        spare.sort_by(|one, other| other.cmp(one));
        Ok(spare.into_iter().map(|(_, validator)| validator).collect())
    }

    /// Whether a validator has less stake of its own in its pool than it needs for a seat.
    fn lacks_own(&self, validator: NodeId, pool: &Pool) -> Result<bool, Fault> {
        let own = self.state.or_new::<Delegation>(&(validator, validator))?.shares;
        Ok(own == 0 || pool.clone().worth(own)? < self.params.staking.least)
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
        let mut pool = pool_of(validator, &self.state)?.ok_or(Failure::NotValidator(validator))?;
        let held: Delegation = self.state.or_new(&(account, validator))?;
        let have = pool.worth(held.shares)?;
        let short = Failure::InsufficientStake { have, need: amount };
        if amount > have {
            return Err(short.into());
        }
        let shares = pool.shares_for(amount)?;
        let left = held.shares.checked_sub(shares).ok_or(short)?;
        let moved = pool.take(shares)?;
        let least = self.params.staking.least;
        // A place in the order of validators costs what it cost at first, until it is given up.
        if account == validator && left > 0 && pool.worth(left)? < least {
            return Err(Failure::StakeTooSmall(least).into());
        }
        self.totals.staked = self.totals.staked.minus(moved)?;
        self.keep_pool(validator, pool)?;
        self.keep_delegation(account, validator, left)?;
        self.unbond(account, validator, moved)?;
        Ok(Effect::Moved(moved))
    }

    /// Nobody has a stake in a pool without shares: unless something must be remembered of the validator, it goes.
    pub(super) fn keep_pool(&mut self, validator: NodeId, pool: Pool) -> Result<(), Fault> {
        let is_closed = self.state.read::<Closed>(&validator)?.is_some();
        let is_over = pool.shares == 0 && pool.standing == Standing::Applied;
        match (is_closed, is_over) {
            (true, true) => self.state.clear::<Closed>(&validator),
            (true, false) => self.state.write(&validator, &Closed(pool)),
            (false, true) => {
                self.totals.pools = self.totals.pools.saturating_sub(1);
                self.totals.proposed = self.totals.proposed.saturating_sub(pool.proposed);
                self.state.clear::<Pool>(&validator);
            }
            (false, false) => self.state.write(&validator, &pool),
        }
        Ok(())
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

/// A validator's pool, closed or not.
pub(super) fn pool_of(validator: NodeId, state: &State<'_>) -> Result<Option<Pool>, Fault> {
    match state.read::<Pool>(&validator)? {
        Some(pool) => Ok(Some(pool)),
        None => Ok(state.read::<Closed>(&validator)?.map(|Closed(pool)| pool)),
    }
}
