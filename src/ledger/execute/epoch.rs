//! The end of an epoch: rewards, and who takes a seat.

use super::{Execution, Stakes};
use crate::ledger::fault::Fault;
use crate::ledger::params::Emission;
use crate::ledger::rows::{self, Delegation, Pool, Row, Seats, Standing, Worker};
use crate::types::chain::{Validator, ValidatorSet};
use crate::types::{NodeId, Tokens};
use crate::wire::ledger::Event;

/// What comes into being at the end of an epoch, as long as the supply's limit leaves room.
fn emitted(emission: &Emission, epoch: u64) -> Tokens {
    let halvings = epoch.checked_div(emission.halve_every).unwrap_or(0);
    let amount = u32::try_from(halvings).ok().and_then(|halvings| emission.per_epoch.0.checked_shr(halvings));
    Tokens(amount.unwrap_or(0))
}

impl Execution<'_> {
    /// Mints what the epoch emits, and hands it out by blocks, stake and work.
    pub(super) fn reward(&mut self) -> Result<(), Fault> {
        let (epoch, emission) = (self.epoch(), self.params.emission.clone());
        let room = self.params.supply_limit.minus(self.totals.supply).unwrap_or_default();
        let all = emitted(&emission, epoch).min(room);
        let pools = self.pools()?;
        self.reward_validators(&pools, epoch, all.permille(emission.validators_permille))?;
        self.reward_stakers(&pools, epoch, all.permille(emission.stakers_permille))?;
        self.reward_miners(epoch, all.permille(emission.miners_permille))
    }

    fn reward_validators(&mut self, pools: &[(NodeId, Pool)], epoch: u64, all: Tokens) -> Result<(), Fault> {
        let blocks = u64::from(std::mem::take(&mut self.totals.proposed));
        for (validator, pool) in pools.iter().filter(|(_, pool)| pool.proposed > 0) {
            self.state.write(validator, &Pool { proposed: 0, ..pool.clone() });
            let amount = all.share(u64::from(pool.proposed), blocks)?;
            if pool.standing == Standing::Slashed || amount.is_zero() {
                continue;
            }
            self.pay_new(*validator, amount)?;
            self.event(Event::ValidatorReward { validator: *validator, epoch, amount });
        }
        Ok(())
    }

    /// Stakers of the seated are paid by stake: into the pool, but for what the validator keeps.
    fn reward_stakers(&mut self, pools: &[(NodeId, Pool)], epoch: u64, all: Tokens) -> Result<(), Fault> {
        let Seats(seats) = self.state.must(&())?;
        let earns = |(id, pool): &&(NodeId, Pool)| {
            pool.standing != Standing::Slashed && pool.shares > 0 && seats.iter().any(|seat| seat.id == *id)
        };
        let stake = pools.iter().filter(earns).map(|(_, pool)| pool.tokens.0).sum::<u64>();
        for (validator, pool) in pools.iter().filter(earns) {
            let amount = all.share(pool.tokens.0, stake)?;
            let kept = amount.permille(pool.commission);
            let shared = amount.minus(kept)?;
            if !kept.is_zero() {
                self.pay_new(*validator, kept)?;
                self.event(Event::ValidatorReward { validator: *validator, epoch, amount: kept });
            }
            if !shared.is_zero() {
                self.mint_checked(shared)?;
                self.totals.staked = self.totals.staked.plus(shared)?;
                let tokens = pool.tokens.plus(shared)?;
                self.state.write(validator, &Pool { tokens, proposed: 0, ..pool.clone() });
                self.event(Event::StakingReward { validator: *validator, epoch, amount: shared });
            }
        }
        Ok(())
    }

    fn reward_miners(&mut self, epoch: u64, all: Tokens) -> Result<(), Fault> {
        let work = std::mem::take(&mut self.totals.work);
        self.totals.miners = 0;
        let prefix = [&[Worker::SORT as u8], &epoch.to_be_bytes()[..]].concat();
        for (key, value) in self.state.scan(&prefix, usize::MAX) {
            let miner = key.get(9..).and_then(|id| id.try_into().ok()).map(NodeId);
            let miner = miner.ok_or(Fault::Corrupt("work names no miner"))?;
            let worker: Worker = rows::decode(&value)?;
            self.state.clear::<Worker>(&(epoch, miner));
            let amount = all.share(worker.solutions, work)?;
            if !amount.is_zero() {
                self.pay_new(miner, amount)?;
                self.event(Event::MiningReward { miner, epoch, amount });
            }
        }
        Ok(())
    }

    fn pay_new(&mut self, to: NodeId, amount: Tokens) -> Result<(), Fault> {
        self.mint_checked(amount)?;
        self.credit(to, amount)
    }

    /// Mints what there is room for: the parts of an emission are together no more than it.
    fn mint_checked(&mut self, amount: Tokens) -> Result<(), Fault> {
        self.mint(amount).map_err(|_| Fault::Overflow)
    }

    /// Seats the validators of the next block: at the end of an epoch anew, by stake; else those there are but for
    /// whom this block punished. If nobody could sit, everybody stays: a chain without validators is none.
    pub(super) fn seat(&mut self) -> Result<(), Fault> {
        let next = if self.params.ends_epoch(self.height.0) {
            self.elected()?
        } else if self.unseated {
            self.remaining()?
        } else {
            return Ok(());
        };
        if !next.is_empty() {
            let set = ValidatorSet::new(next)?;
            self.state.write(&(), &Seats(set.iter().copied().collect()));
        }
        Ok(())
    }

    fn elected(&self) -> Result<Vec<Validator>, Fault> {
        let staking = &self.params.staking;
        let mut elected = Vec::new();
        for (id, mut pool) in self.pools()? {
            let admitted = match pool.standing {
                Standing::Applied => !staking.by_vote,
                Standing::Admitted => true,
                Standing::Removed | Standing::Slashed => false,
            };
            let own = self.state.or_new::<Delegation>(&(id, id))?.shares;
            let power = pool.tokens.0.checked_div(staking.per_power).unwrap_or(0);
            if admitted && power > 0 && pool.worth(own)? >= staking.least {
                elected.push(Validator { id, power });
            }
        }
        elected.sort_by_key(|validator| (std::cmp::Reverse(validator.power), validator.id));
        elected.truncate(staking.validators as usize);
        Ok(elected)
    }

    fn remaining(&self) -> Result<Vec<Validator>, Fault> {
        let Seats(seats) = self.state.must(&())?;
        let mut remaining = Vec::new();
        for seat in seats {
            let pool: Option<Pool> = self.state.read(&seat.id)?;
            if pool.is_none_or(|pool| pool.standing != Standing::Slashed) {
                remaining.push(seat);
            }
        }
        Ok(remaining)
    }

    pub(super) fn pools(&self) -> Result<Vec<(NodeId, Pool)>, Fault> {
        let rows = self.state.scan(&[Pool::SORT as u8], usize::MAX).into_iter();
        rows.map(|(key, value)| {
            let id = key.get(1..).and_then(|id| id.try_into().ok()).map(NodeId);
            Ok((id.ok_or(Fault::Corrupt("a pool names no validator"))?, rows::decode(&value)?))
        })
        .collect()
    }
}
