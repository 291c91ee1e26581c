//! Punishment, from evidence that a block carries.

use super::stake::pool_of;
use super::{Execution, Stakes};
use crate::ledger::fault::Fault;
use crate::ledger::rows::{self, Pool, Row, Standing, Unbonding};
use crate::types::NodeId;
use crate::types::chain::Height;
use crate::wire::ledger::Event;

/// Who signed two things at one height, as evidence shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guilt {
    /// Who.
    pub validator: NodeId,
    /// At which height.
    pub height: Height,
}

/// Why evidence cannot be in a block in this place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadEvidence {
    #[error("the evidence shows nobody guilty")]
    NoGuilt,
    #[error("{0} has been punished already")]
    Slashed(NodeId),
    #[error("{0} has and had no stake that could be punished")]
    NoStake(NodeId),
    #[error("height {0} is too long ago, or not yet decided")]
    Age(Height),
}

impl Execution<'_> {
    /// Punishes a validator: a part of what is staked on it, and of what was taken back since, is burned, and it never
    /// takes part again.
    pub fn slash(&mut self, guilt: Guilt) -> Result<Result<(), BadEvidence>, Fault> {
        let Guilt { validator, height } = guilt;
        let staking = &self.params.staking;
        let (then, permille) = (self.params.epoch(height.0), staking.slash_permille);
        let free_after = then.saturating_add(staking.unbonding_epochs);
        if height == Height::GENESIS || height > self.height || free_after < self.epoch() {
            return Ok(Err(BadEvidence::Age(height)));
        }
        let unbonding = self.unbonding(validator, free_after)?;
        let mut pool = match pool_of(validator, &self.state)? {
            Some(Pool { standing: Standing::Slashed, .. }) => return Ok(Err(BadEvidence::Slashed(validator))),
            Some(pool) => pool,
            None if unbonding.is_empty() => return Ok(Err(BadEvidence::NoStake(validator))),
            None => {
                self.totals.pools += 1;
                Pool::default()
            }
        };
        let cut = pool.cut(permille)?;
        self.totals.staked = self.totals.staked.minus(cut)?;
        pool.standing = Standing::Slashed;
        self.keep_pool(validator, pool)?;
        let mut burned = cut;
        for (epoch, mut heap) in unbonding {
            burned = burned.plus(heap.cut(permille)?)?;
            self.state.write(&(validator, epoch), &heap);
        }
        self.burn(burned)?;
        self.unseated = true;
        self.event(Event::Slashed { validator, height, burned });
        Ok(Ok(()))
    }

    /// Stake on a validator that was taken back and is free in this epoch or later: what was bound at the time.
    fn unbonding(&self, validator: NodeId, from: u64) -> Result<Vec<(u64, Unbonding)>, Fault> {
        let prefix = [&[Unbonding::SORT as u8], &validator.0[..]].concat();
        let mut found = Vec::new();
        for (key, value) in self.state.scan(&prefix, usize::MAX) {
            let epoch = key.get(33..).and_then(|epoch| epoch.try_into().ok()).map(u64::from_be_bytes);
            let epoch = epoch.ok_or(Fault::Corrupt("stake that is taken back names no epoch"))?;
            if epoch >= from {
                found.push((epoch, rows::decode(&value)?));
            }
        }
        Ok(found)
    }
}
