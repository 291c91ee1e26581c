//! What happens at the end of an epoch, and to the guilty, in the model.

use super::{Model, Tried, heap};
use crate::ledger::execute::Guilt;
use crate::ledger::model::Heap;
use crate::ledger::rows::Standing;
use crate::types::{NodeId, Tokens};
use crate::wire::kind::economic::FeeType;
use crate::wire::kind::governance::{VoteChoice, VotingOutcome};
use crate::wire::ledger::{Action, Tally};

impl Model {
    pub(super) fn slash(&mut self, guilt: Guilt) {
        let Guilt { validator, height } = guilt;
        let permille = u128::from(self.params.staking.slash_permille);
        let bound = (height.0 - 1) / self.params.epoch_blocks + self.params.staking.unbonding_epochs;
        let pool = self.heaps.entry(validator).or_insert_with(|| heap(Standing::Applied));
        pool.standing = Standing::Slashed;
        let leaving = self.leaving.iter_mut().filter(|((free, of), _)| *of == validator && *free >= bound);
        for heap in std::iter::once(pool).chain(leaving.map(|(_, heap)| heap)) {
            let cut = heap.tokens * permille / 1000;
            heap.tokens -= cut;
            self.supply -= cut;
        }
    }

    pub(super) fn reward(&mut self) -> Tried<()> {
        let emission = self.params.emission.clone();
        let halvings = self.epoch().checked_div(emission.halve_every).unwrap_or(0);
        let all = u128::from(emission.per_epoch.0) / 2u128.pow(halvings.min(100) as u32);
        let all = all.min(u128::from(self.params.supply_limit.0) - self.supply);
        let part = |permille: u16| all * u128::from(permille) / 1000;
        let before = self.heaps.clone();
        let good = |heap: &Heap| heap.standing != Standing::Slashed;
        let blocks: u128 = before.values().map(|heap| heap.proposed).sum();
        for (id, heap) in before.iter().filter(|(_, heap)| heap.proposed > 0) {
            self.heaps.get_mut(id).ok_or("gone")?.proposed = 0;
            if good(heap) {
                self.mint(*id, part(emission.validators_permille) * heap.proposed / blocks)?;
            }
        }
        let earns = |id: &NodeId, heap: &Heap| good(heap) && self.seats.contains_key(id) && heap.all() > 0;
        let earning: Vec<_> = before.iter().filter(|(id, heap)| earns(id, heap)).collect();
        let stake: u128 = earning.iter().map(|(_, heap)| heap.tokens).sum();
        for (id, heap) in earning {
            let amount = (part(emission.stakers_permille) * heap.tokens).checked_div(stake).unwrap_or(0);
            let kept = amount * heap.commission / 1000;
            self.mint(*id, kept)?;
            self.supply += amount - kept;
            self.heaps.get_mut(id).ok_or("gone")?.tokens += amount - kept;
        }
        let work = std::mem::take(&mut self.work);
        let shown: u128 = work.values().map(|shown| shown.len() as u128).sum();
        for (miner, solutions) in work {
            self.mint(miner, part(emission.miners_permille) * solutions.len() as u128 / shown)?;
        }
        Ok(())
    }

    /// In the order of the real one: votes, stake, bills, records. No test has more than are done in a block.
    pub(super) fn duties(&mut self) -> Tried<()> {
        let epoch = self.epoch();
        for number in 0..self.motions.len() {
            if self.motions[number].outcome.is_none() && self.motions[number].until <= epoch {
                self.decide(number);
            }
        }
        let free: Vec<_> = self.leaving.keys().filter(|(free, _)| *free <= epoch).copied().collect();
        for name in free {
            let mut heap = self.leaving.remove(&name).ok_or("gone")?;
            for (who, shares) in heap.shares.clone() {
                let tokens = heap.remove(who, shares)?;
                self.give(who, tokens);
            }
        }
        let due: Vec<u64> =
            self.bills.iter().filter(|(_, bill)| bill.due <= epoch).map(|(number, _)| *number).collect();
        for number in due {
            let mut bill = self.bills.remove(&number).ok_or("gone")?;
            if self.take(bill.customer, bill.amount).is_ok() {
                self.give(bill.provider, bill.amount);
                bill.left -= 1;
                bill.due += bill.every;
                if bill.left > 0 {
                    self.bills.insert(number, bill);
                }
            }
        }
        self.records.retain(|_, (_, until)| *until > epoch);
        Ok(())
    }

    /// How a motion stands.
    pub fn tally(&self, number: usize) -> Tally {
        let sum = |choice: VoteChoice| {
            let votes = self.motions[number].votes.values().filter(|(vote, _)| *vote == choice);
            Tokens(votes.map(|(_, weight)| *weight as u64).sum())
        };
        let (yes, no) = (sum(VoteChoice::Yes), sum(VoteChoice::No));
        Tally { yes, no, abstain: sum(VoteChoice::Abstain), veto: sum(VoteChoice::Veto) }
    }

    fn decide(&mut self, number: usize) {
        let (tally, voting) = (self.tally(number), self.params.voting.clone());
        let [yes, no, abstain, veto] =
            [tally.yes, tally.no, tally.abstain, tally.veto].map(|votes| u128::from(votes.0));
        let staked: u128 = self.heaps.values().map(|heap| heap.tokens).sum();
        let cast = yes + no + abstain + veto;
        let outcome = if cast == 0 || cast * 1000 < staked * u128::from(voting.quorum_permille) {
            VotingOutcome::NoQuorum
        } else if veto * 1000 >= cast * u128::from(voting.veto_permille) {
            VotingOutcome::Vetoed
        } else if yes * 1000 > (yes + no + veto) * u128::from(voting.threshold_permille) {
            VotingOutcome::Passed
        } else {
            VotingOutcome::Rejected
        };
        let motion = &mut self.motions[number];
        motion.outcome = Some(outcome);
        let (deposit, author, action) = (std::mem::take(&mut motion.deposit), motion.author, motion.action.clone());
        match outcome {
            VotingOutcome::NoQuorum | VotingOutcome::Vetoed => self.treasury += deposit,
            VotingOutcome::Passed | VotingOutcome::Rejected => self.give(author, deposit),
        }
        if outcome == VotingOutcome::Passed {
            let before = self.clone();
            if self.act(&action).is_err() {
                *self = before;
            } else {
                self.motions[number].carried = true;
            }
        }
    }

    fn act(&mut self, action: &Action) -> Tried<()> {
        match action {
            Action::Declare { statement: _ } => {}
            Action::ChangeFee { fee_type, new_fee } => match fee_type {
                FeeType::Transaction => self.params.fees.transaction = *new_fee,
                FeeType::Byte => self.params.fees.byte = *new_fee,
                FeeType::Gas => self.params.fees.gas = *new_fee,
                FeeType::Storage => self.params.fees.storage = *new_fee,
            },
            Action::AdoptPolicy { policy_id, version, digest } => {
                if self.policies.get(policy_id).is_some_and(|(old, _)| old >= version) {
                    return Err("version");
                }
                self.policies.insert(policy_id.clone(), (*version, *digest));
            }
            Action::Spend { to, amount } => {
                self.treasury = self.treasury.checked_sub(amount.0.into()).ok_or("treasury")?;
                self.give(*to, amount.0.into());
            }
            Action::Mint { to, amount } => self.mint(*to, amount.0.into())?,
            Action::AdmitValidator { validator } => self.stand(*validator, Standing::Admitted)?,
            Action::RemoveValidator { validator } => self.stand(*validator, Standing::Removed)?,
        }
        Ok(())
    }

    fn stand(&mut self, validator: NodeId, standing: Standing) -> Tried<()> {
        let heap = self.heaps.entry(validator).or_insert_with(|| heap(standing));
        if heap.standing == Standing::Slashed {
            return Err("slashed");
        }
        heap.standing = standing;
        Ok(())
    }

    pub(super) fn elect(&mut self) {
        let staking = &self.params.staking;
        let able = |(id, heap): &(&NodeId, &Heap)| match heap.standing {
            Standing::Applied if staking.by_vote => false,
            Standing::Applied | Standing::Admitted => heap.worth(**id) >= staking.least.0.into(),
            Standing::Removed | Standing::Slashed => false,
        };
        let mut able: Vec<_> = self.heaps.iter().filter(able).collect();
        let power = |heap: &Heap| (heap.tokens / u128::from(staking.per_power)) as u64;
        able.sort_by_key(|(id, heap)| (std::cmp::Reverse(power(heap)), **id));
        able.truncate(staking.validators as usize);
        if !able.is_empty() {
            self.seats = able.into_iter().map(|(id, heap)| (*id, power(heap))).collect();
        }
    }
}
