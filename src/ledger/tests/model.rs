//! The ledger as one would write it without caring for speed: plain maps, wide numbers, a copy of everything before each
//! transaction. It shares words with the real one, and no arithmetic.

use std::collections::BTreeMap;

use super::*;
use crate::ledger::rows::Standing;
use crate::types::{Domain, Hash};
use crate::wire::kind::economic::FeeType;
use crate::wire::kind::governance::{VoteChoice, VotingOutcome};
use crate::wire::ledger::{Action, Tally};

const U64: u128 = u64::MAX as u128;

/// Why a transaction failed, in the model's own coarse words.
type Tried<T> = Result<T, &'static str>;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Person {
    pub nonce: u64,
    pub balance: u128,
    pub gas: u128,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Heap {
    pub tokens: u128,
    /// Whose shares: the staker, or the one who leaves.
    pub shares: BTreeMap<NodeId, u128>,
    pub commission: u128,
    pub standing: Standing,
    pub proposed: u128,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Bill {
    pub customer: NodeId,
    pub provider: NodeId,
    pub amount: u128,
    pub every: u64,
    pub left: u32,
    pub due: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    pub author: NodeId,
    pub action: Action,
    pub deposit: u128,
    pub until: u64,
    pub votes: BTreeMap<NodeId, (VoteChoice, u128)>,
    pub outcome: Option<VotingOutcome>,
    pub carried: bool,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Model {
    pub params: Params,
    pub height: u64,
    pub parent: Hash,
    pub seed: Hash,
    pub treasury: u128,
    pub supply: u128,
    pub people: BTreeMap<NodeId, Person>,
    pub heaps: BTreeMap<NodeId, Heap>,
    pub leaving: BTreeMap<(u64, NodeId), Heap>,
    pub records: BTreeMap<(NodeId, String), (Vec<u8>, u64)>,
    pub bills: BTreeMap<u64, Bill>,
    pub motions: Vec<Motion>,
    pub policies: BTreeMap<String, (u32, Hash)>,
    pub work: BTreeMap<NodeId, Vec<u64>>,
    pub seats: BTreeMap<NodeId, u64>,
    billed: u64,
}

fn heap(standing: Standing) -> Heap {
    Heap { tokens: 0, shares: BTreeMap::new(), commission: 0, standing, proposed: 0 }
}

impl Heap {
    pub fn all(&self) -> u128 {
        self.shares.values().sum()
    }

    pub fn worth(&self, who: NodeId) -> u128 {
        let own = self.shares.get(&who).copied().unwrap_or(0);
        if self.all() == 0 { 0 } else { self.tokens * own / self.all() }
    }

    /// Shares and what they cost.
    fn price(&self, amount: u128) -> (u128, u128) {
        if self.all() == 0 || self.tokens == 0 {
            return (amount, amount);
        }
        let shares = self.all() * amount / self.tokens;
        (shares, (shares * self.tokens).div_ceil(self.all()))
    }

    fn add(&mut self, who: NodeId, shares: u128, tokens: u128) -> Tried<()> {
        if self.all() + shares > U64 || self.tokens + tokens > U64 {
            return Err("overflow");
        }
        *self.shares.entry(who).or_default() += shares;
        self.tokens += tokens;
        Ok(())
    }

    fn remove(&mut self, who: NodeId, shares: u128) -> u128 {
        let tokens = self.tokens * shares / self.all();
        self.tokens -= tokens;
        let own = self.shares.get_mut(&who).unwrap();
        *own -= shares;
        if *own == 0 {
            self.shares.remove(&who);
        }
        tokens
    }
}

impl Model {
    pub fn new(genesis: &Genesis) -> Model {
        let mut model = Model {
            params: genesis.params.clone(),
            height: 0,
            parent: Hash::ZERO,
            seed: Hash::ZERO,
            treasury: genesis.treasury.0.into(),
            supply: 0,
            people: BTreeMap::new(),
            heaps: BTreeMap::new(),
            leaving: BTreeMap::new(),
            records: BTreeMap::new(),
            bills: BTreeMap::new(),
            motions: Vec::new(),
            policies: BTreeMap::new(),
            work: BTreeMap::new(),
            seats: BTreeMap::new(),
            billed: 0,
        };
        for account in &genesis.accounts {
            model.people.entry(account.id).or_default().balance = account.balance.0.into();
        }
        for one in &genesis.validators {
            let stake = u128::from(one.stake.0);
            let commission = one.commission_permille.into();
            let shares = [(one.id, stake)].into();
            let heap = Heap { tokens: stake, shares, commission, standing: Standing::Admitted, proposed: 0 };
            model.people.entry(one.id).or_default();
            model.heaps.insert(one.id, heap);
            model.seats.insert(one.id, one.stake.0 / genesis.params.staking.per_power);
        }
        model.supply = model.held();
        model
    }

    /// All tokens, counted.
    pub fn held(&self) -> u128 {
        let people: u128 = self.people.values().map(|one| one.balance + one.gas).sum();
        let heaps: u128 = self.heaps.values().chain(self.leaving.values()).map(|heap| heap.tokens).sum();
        let deposits: u128 = self.motions.iter().map(|motion| motion.deposit).sum();
        self.treasury + people + heaps + deposits
    }

    fn epoch(&self) -> u64 {
        (self.height - 1) / self.params.epoch_blocks
    }

    fn last_of_epoch(&self) -> bool {
        self.height.is_multiple_of(self.params.epoch_blocks)
    }

    /// A whole block; whether each transaction succeeded.
    pub fn block(&mut self, block: &crate::wire::ledger::Block) -> Vec<bool> {
        let (header, mut done, mut pot, mut unseated) = (block.header(), Vec::new(), 0, false);
        self.height += 1;
        if (self.height - 1).is_multiple_of(self.params.epoch_blocks) {
            self.seed = self.parent;
        }
        for piece in block.evidence() {
            let guilt = Gullible.guilty(header.chain, piece).unwrap();
            self.slash(guilt);
            unseated = true;
        }
        for bytes in block.transactions() {
            let sealed = Sealed::check(bytes.clone(), header.chain).unwrap();
            pot += self.fee(&sealed);
            for one in &sealed.order().transactions {
                let before = self.clone();
                let tried = self.body(sealed.account(), &one.body);
                if tried.is_err() {
                    *self = before;
                }
                done.push(tried.is_ok());
            }
        }
        if pot > 0 {
            self.people.entry(header.proposer).or_default().balance += pot;
        }
        if let Some(heap) = self.heaps.get_mut(&header.proposer) {
            heap.proposed += 1;
        }
        if self.last_of_epoch() {
            self.reward();
            self.duties();
            self.elect();
        } else if unseated {
            let slashed = |id: &NodeId| self.heaps.get(id).is_some_and(|heap| heap.standing == Standing::Slashed);
            let left: BTreeMap<_, _> =
                self.seats.iter().filter(|(id, _)| !slashed(id)).map(|(a, b)| (*a, *b)).collect();
            if !left.is_empty() {
                self.seats = left;
            }
        }
        self.parent = block.id().0;
        done
    }

    fn fee(&mut self, sealed: &Sealed) -> u128 {
        let fee: u128 = sealed.order().transactions.iter().map(|one| u128::from(one.fee.0)).sum();
        let person = self.people.get_mut(&sealed.account()).unwrap();
        assert_eq!(person.nonce, sealed.nonce());
        person.nonce += sealed.count() as u64;
        let credit = person.gas.min(fee);
        person.gas -= credit;
        person.balance -= fee - credit;
        let burned = fee * u128::from(self.params.fees.burned_permille) / 1000;
        let taxed = fee * u128::from(self.params.fees.treasury_permille) / 1000;
        self.supply -= burned;
        self.treasury += taxed;
        fee - burned - taxed
    }

    fn take(&mut self, who: NodeId, amount: u128) -> Tried<()> {
        let person = self.people.entry(who).or_default();
        person.balance = person.balance.checked_sub(amount).ok_or("poor")?;
        Ok(())
    }

    fn give(&mut self, who: NodeId, amount: u128) {
        self.people.entry(who).or_default().balance += amount;
    }

    fn mint(&mut self, to: NodeId, amount: u128) -> Tried<()> {
        if self.supply + amount > self.params.supply_limit.0.into() {
            return Err("limit");
        }
        self.supply += amount;
        self.give(to, amount);
        Ok(())
    }

    fn body(&mut self, me: NodeId, body: &Body) -> Tried<()> {
        let wide = |amount: &Tokens| u128::from(amount.0);
        match body {
            Body::Transfer { to, amount, memo: _ } => {
                self.take(me, wide(amount))?;
                self.give(*to, wide(amount));
            }
            Body::Mint { to, amount } => {
                if self.params.minter != Some(me) {
                    return Err("minter");
                }
                self.mint(*to, wide(amount))?;
            }
            Body::Burn { amount } => {
                self.take(me, wide(amount))?;
                self.supply -= wide(amount);
            }
            Body::PayGas { to, amount } => {
                self.take(me, wide(amount))?;
                self.people.entry(*to).or_default().gas += wide(amount);
            }
            Body::FundTreasury { amount } => {
                self.take(me, wide(amount))?;
                self.treasury += wide(amount);
            }
            Body::Stake { amount } => {
                self.heaps.entry(me).or_insert_with(|| heap(Standing::Applied));
                self.bind(me, me, wide(amount))?;
                if self.heaps[&me].worth(me) < self.params.staking.least.0.into() {
                    return Err("least");
                }
            }
            Body::Delegate { validator, amount } => {
                if *validator == me || !self.heaps.contains_key(validator) {
                    return Err("validator");
                }
                self.bind(me, *validator, wide(amount))?;
            }
            Body::Unstake { amount } => self.unbind(me, me, wide(amount))?,
            Body::Undelegate { validator, amount } => self.unbind(me, *validator, wide(amount))?,
            Body::SetCommission { permille } => {
                self.heaps.get_mut(&me).ok_or("validator")?.commission = u128::from(*permille);
            }
            Body::Work { epoch, solution } => self.mine(me, *epoch, *solution)?,
            Body::Store { name, value, epochs } => {
                self.rent(me, name, value.0.len(), *epochs)?;
                let until = self.epoch() + u64::from(*epochs) - 1;
                self.records.insert((me, name.clone()), (value.0.clone(), until));
            }
            Body::PayRent { owner, name, epochs } => {
                let (value, until) = self.records.get(&(*owner, name.clone())).cloned().ok_or("record")?;
                let until = until + u64::from(*epochs);
                if until > self.epoch() + (1 << 20) {
                    return Err("far");
                }
                self.rent(me, name, value.len(), *epochs)?;
                self.records.insert((*owner, name.clone()), (value, until));
            }
            Body::Erase { name } => drop(self.records.remove(&(me, name.clone())).ok_or("record")?),
            Body::OpenBilling { provider, amount, every, payments, service: _ } => {
                if *provider == me {
                    return Err("oneself");
                }
                self.take(me, wide(amount))?;
                self.give(*provider, wide(amount));
                let (every, left) = (u64::from(*every), payments - 1);
                let due = self.epoch() + every;
                let bill = Bill { customer: me, provider: *provider, amount: wide(amount), every, left, due };
                if left > 0 {
                    self.bills.insert(self.billed, bill);
                }
                self.billed += 1;
            }
            Body::CloseBilling { billing } => {
                let bill = self.bills.get(billing).ok_or("billing")?;
                if me != bill.customer && me != bill.provider {
                    return Err("party");
                }
                self.bills.remove(billing);
            }
            Body::Propose { action, deposit, title: _ } => {
                if deposit < &self.params.voting.deposit {
                    return Err("deposit");
                }
                self.take(me, wide(deposit))?;
                self.motions.push(Motion {
                    author: me,
                    action: action.clone(),
                    deposit: wide(deposit),
                    until: self.epoch() + self.params.voting.epochs,
                    votes: BTreeMap::new(),
                    outcome: None,
                    carried: false,
                });
            }
            Body::Vote { proposal, choice } => {
                let weight: u128 = self.heaps.values().map(|heap| heap.worth(me)).sum();
                let epoch = self.epoch();
                let motion = self.motions.get_mut(*proposal as usize).ok_or("motion")?;
                if motion.outcome.is_some() || motion.until < epoch || weight == 0 {
                    return Err("vote");
                }
                motion.votes.insert(me, (*choice, weight));
            }
        }
        Ok(())
    }

    fn bind(&mut self, me: NodeId, validator: NodeId, amount: u128) -> Tried<()> {
        let heap = &self.heaps[&validator];
        if matches!(heap.standing, Standing::Removed | Standing::Slashed) {
            return Err("excluded");
        }
        let (shares, cost) = heap.price(amount);
        if shares == 0 {
            return Err("small");
        }
        self.take(me, cost)?;
        self.heaps.get_mut(&validator).unwrap().add(me, shares, cost)
    }

    fn unbind(&mut self, me: NodeId, validator: NodeId, amount: u128) -> Tried<()> {
        let free = self.epoch() + self.params.staking.unbonding_epochs;
        let from = self.heaps.get_mut(&validator).ok_or("validator")?;
        if amount > from.worth(me) {
            return Err("stake");
        }
        let shares = (from.all() * amount).div_ceil(from.tokens);
        let moved = from.remove(me, shares);
        let has_rest = from.shares.contains_key(&me);
        if me == validator && has_rest && from.worth(me) < self.params.staking.least.0.into() {
            return Err("least");
        }
        if from.all() == 0 && from.standing == Standing::Applied {
            self.heaps.remove(&validator);
        }
        let to = self.leaving.entry((free, validator)).or_insert_with(|| heap(Standing::Applied));
        let (shares, _) = to.price(moved);
        if shares == 0 {
            return Err("small");
        }
        to.add(me, shares, moved)
    }

    fn mine(&mut self, me: NodeId, epoch: u64, solution: u64) -> Tried<()> {
        let digest = Domain::Work.hash(&[&self.seed.0, &me.0, &solution.to_le_bytes()]);
        // Two bits, as the tests' rules have it.
        assert_eq!(self.params.emission.mining_bits, 2);
        let shown = self.work.get(&me).and_then(|shown| shown.last()).copied();
        if epoch != self.epoch() || digest.0[0] >= 64 || shown.is_some_and(|shown| solution <= shown) {
            return Err("work");
        }
        self.work.entry(me).or_default().push(solution);
        Ok(())
    }

    fn rent(&mut self, payer: NodeId, name: &str, value: usize, epochs: u32) -> Tried<()> {
        let rent = u128::from(self.params.fees.storage.0) * (name.len() + value) as u128 * u128::from(epochs);
        self.take(payer, rent)?;
        self.treasury += rent;
        Ok(())
    }

    fn slash(&mut self, guilt: Guilt) {
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

    fn reward(&mut self) {
        let emission = self.params.emission.clone();
        let halvings = self.epoch().checked_div(emission.halve_every).unwrap_or(0);
        let all = u128::from(emission.per_epoch.0) / 2u128.pow(halvings.min(100) as u32);
        let all = all.min(u128::from(self.params.supply_limit.0) - self.supply);
        let part = |permille: u16| all * u128::from(permille) / 1000;
        let before = self.heaps.clone();
        let good = |heap: &Heap| heap.standing != Standing::Slashed;
        let blocks: u128 = before.values().map(|heap| heap.proposed).sum();
        for (id, heap) in before.iter().filter(|(_, heap)| heap.proposed > 0) {
            self.heaps.get_mut(id).unwrap().proposed = 0;
            if good(heap) {
                self.mint(*id, part(emission.validators_permille) * heap.proposed / blocks).unwrap();
            }
        }
        let earns = |id: &NodeId, heap: &Heap| good(heap) && self.seats.contains_key(id) && heap.all() > 0;
        let earning: Vec<_> = before.iter().filter(|(id, heap)| earns(id, heap)).collect();
        let stake: u128 = earning.iter().map(|(_, heap)| heap.tokens).sum();
        for (id, heap) in earning {
            let amount = (part(emission.stakers_permille) * heap.tokens).checked_div(stake).unwrap_or(0);
            let kept = amount * heap.commission / 1000;
            self.mint(*id, kept).unwrap();
            self.supply += amount - kept;
            self.heaps.get_mut(id).unwrap().tokens += amount - kept;
        }
        let work = std::mem::take(&mut self.work);
        let shown: u128 = work.values().map(|shown| shown.len() as u128).sum();
        for (miner, solutions) in work {
            self.mint(miner, part(emission.miners_permille) * solutions.len() as u128 / shown).unwrap();
        }
    }

    /// In the order of the real one: votes, stake, bills, records. No test has more than are done in a block.
    fn duties(&mut self) {
        let epoch = self.epoch();
        for number in 0..self.motions.len() {
            if self.motions[number].outcome.is_none() && self.motions[number].until <= epoch {
                self.decide(number);
            }
        }
        let free: Vec<_> = self.leaving.keys().filter(|(free, _)| *free <= epoch).copied().collect();
        for name in free {
            let mut heap = self.leaving.remove(&name).unwrap();
            for (who, shares) in heap.shares.clone() {
                let tokens = heap.remove(who, shares);
                self.give(who, tokens);
            }
        }
        for number in self.bills.keys().copied().collect::<Vec<_>>() {
            let mut bill = self.bills[&number].clone();
            if bill.due > epoch {
                continue;
            }
            self.bills.remove(&number);
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
    }

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

    fn elect(&mut self) {
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
