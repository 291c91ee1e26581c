//! The ledger as one would write it without caring for speed: plain maps, wide numbers, a copy of everything before each
//! transaction. It shares words with the real one, and no arithmetic. Tests and the simulator hold the real one against
//! it after every block. Rules of a genesis whose price of gas moves by itself are beyond it.

mod compare;
mod epoch;

use std::collections::BTreeMap;

use super::genesis::Genesis;
use super::params::Params;
use super::rows::Standing;
use super::witness::Witness;
use crate::types::{Domain, Hash, NodeId, Tokens};
use crate::wire::kind::governance::{VoteChoice, VotingOutcome};
use crate::wire::ledger::{Action, Block, Body, Sealed};

const U64: u128 = u64::MAX as u128;

/// Why a transaction failed, or the model cannot go on, in its own coarse words.
type Tried<T> = Result<T, &'static str>;

/// Who has, or had, tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Person {
    /// The number of the next transaction.
    pub nonce: u64,
    /// What can be spent.
    pub balance: u128,
    /// What pays fees only.
    pub gas: u128,
}

/// A heap of tokens that several have shares of: a validator's pool, or what leaves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Heap {
    /// What is in it.
    pub tokens: u128,
    /// Whose shares: the staker, or the one who leaves.
    pub shares: BTreeMap<NodeId, u128>,
    /// What the validator keeps of its stakers' rewards, thousandths.
    pub commission: u128,
    /// What was said of the validator.
    pub standing: Standing,
    /// Blocks it made in this epoch.
    pub proposed: u128,
}

/// A service that is paid again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Bill {
    /// Who pays.
    pub customer: NodeId,
    /// Who is paid.
    pub provider: NodeId,
    /// How much.
    pub amount: u128,
    /// Every so many epochs.
    pub every: u64,
    /// Payments to come.
    pub left: u32,
    /// The epoch at whose end the next is due.
    pub due: u64,
}

/// Something that is voted on.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    /// Who put it to the vote.
    pub author: NodeId,
    /// What is to be done.
    pub action: Action,
    /// What it cost, until it is decided.
    pub deposit: u128,
    /// The epoch at whose end it is decided.
    pub until: u64,
    /// Last votes, and what they weigh.
    pub votes: BTreeMap<NodeId, (VoteChoice, u128)>,
    /// How it was decided.
    pub outcome: Option<VotingOutcome>,
    /// It was done.
    pub carried: bool,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Model {
    /// The rules, as votes have changed them.
    pub params: Params,
    /// Of the last block.
    pub height: u64,
    /// The id of the last block.
    pub parent: Hash,
    /// What miners of this epoch work on.
    pub seed: Hash,
    /// What the treasury has.
    pub treasury: u128,
    /// All tokens, by what was minted and burned.
    pub supply: u128,
    /// Accounts.
    pub people: BTreeMap<NodeId, Person>,
    /// Pools of validators.
    pub heaps: BTreeMap<NodeId, Heap>,
    /// Stake that is free after an epoch, by whose pool it was in.
    pub leaving: BTreeMap<(u64, NodeId), Heap>,
    /// Stored records: value, and the last epoch that is paid.
    pub records: BTreeMap<(NodeId, String), (Vec<u8>, u64)>,
    /// Services, by number.
    pub bills: BTreeMap<u64, Bill>,
    /// Proposals, by number.
    pub motions: Vec<Motion>,
    /// Policies: version and digest.
    pub policies: BTreeMap<String, (u32, Hash)>,
    /// Solutions shown in this epoch.
    pub work: BTreeMap<NodeId, Vec<u64>>,
    /// Who validates, with what power.
    pub seats: BTreeMap<NodeId, u64>,
    billed: u64,
}

fn heap(standing: Standing) -> Heap {
    Heap { tokens: 0, shares: BTreeMap::new(), commission: 0, standing, proposed: 0 }
}

impl Heap {
    /// All shares.
    pub fn all(&self) -> u128 {
        self.shares.values().sum()
    }

    /// What the shares of one are worth.
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

    fn remove(&mut self, who: NodeId, shares: u128) -> Tried<u128> {
        let tokens = (self.tokens * shares).checked_div(self.all()).ok_or("no shares")?;
        let own = self.shares.get_mut(&who).ok_or("no shares of that one")?;
        *own = own.checked_sub(shares).ok_or("more shares than there are")?;
        if *own == 0 {
            self.shares.remove(&who);
        }
        self.tokens -= tokens;
        Ok(tokens)
    }
}

impl Model {
    /// How the chain begins.
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

    /// A whole decided block; whether each transaction succeeded. An error says why the model cannot follow.
    pub fn block(&mut self, block: &Block, witness: &dyn Witness) -> Result<Vec<bool>, &'static str> {
        let (header, mut done, mut pot, mut unseated) = (block.header(), Vec::new(), 0, false);
        self.height += 1;
        if (self.height - 1).is_multiple_of(self.params.epoch_blocks) {
            self.seed = self.parent;
        }
        for piece in block.evidence() {
            let guilt = witness.guilty(header.chain, piece).ok_or("evidence that proves nothing")?;
            self.slash(guilt);
            unseated = true;
        }
        for bytes in block.transactions() {
            let sealed = Sealed::check(bytes.clone(), header.chain).map_err(|_| "a seal that is none")?;
            pot += self.fee(&sealed)?;
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
            self.reward()?;
            self.duties()?;
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
        Ok(done)
    }

    fn fee(&mut self, sealed: &Sealed) -> Tried<u128> {
        let fee: u128 = sealed.order().transactions.iter().map(|one| u128::from(one.fee.0)).sum();
        let person = self.people.get_mut(&sealed.account()).ok_or("an account that is not there")?;
        if person.nonce != sealed.nonce() {
            return Err("a nonce that is not the next");
        }
        person.nonce += sealed.count() as u64;
        let credit = person.gas.min(fee);
        person.gas -= credit;
        person.balance = person.balance.checked_sub(fee - credit).ok_or("a fee that is not there")?;
        let burned = fee * u128::from(self.params.fees.burned_permille) / 1000;
        let taxed = fee * u128::from(self.params.fees.treasury_permille) / 1000;
        self.supply -= burned;
        self.treasury += taxed;
        Ok(fee - burned - taxed)
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
                if self.heaps.get(&me).is_none_or(|heap| heap.worth(me) < self.params.staking.least.0.into()) {
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
                let motion = usize::try_from(*proposal).ok().and_then(|n| self.motions.get_mut(n)).ok_or("motion")?;
                if motion.outcome.is_some() || motion.until < epoch || weight == 0 {
                    return Err("vote");
                }
                motion.votes.insert(me, (*choice, weight));
            }
        }
        Ok(())
    }

    fn bind(&mut self, me: NodeId, validator: NodeId, amount: u128) -> Tried<()> {
        let heap = self.heaps.get(&validator).ok_or("validator")?;
        if matches!(heap.standing, Standing::Removed | Standing::Slashed) {
            return Err("excluded");
        }
        let (shares, cost) = heap.price(amount);
        if shares == 0 {
            return Err("small");
        }
        self.take(me, cost)?;
        self.heaps.get_mut(&validator).ok_or("validator")?.add(me, shares, cost)
    }

    fn unbind(&mut self, me: NodeId, validator: NodeId, amount: u128) -> Tried<()> {
        let free = self.epoch() + self.params.staking.unbonding_epochs;
        let from = self.heaps.get_mut(&validator).ok_or("validator")?;
        if amount > from.worth(me) {
            return Err("stake");
        }
        if from.tokens == 0 {
            return Err("stake");
        }
        let shares = (from.all() * amount).div_ceil(from.tokens);
        let moved = from.remove(me, shares)?;
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
        let zeros: u32 = digest.0.iter().take_while(|byte| **byte == 0).count() as u32 * 8
            + digest.0.iter().find(|byte| **byte != 0).map_or(0, |byte| byte.leading_zeros());
        let bits = u32::from(self.params.emission.mining_bits);
        let shown = self.work.get(&me).and_then(|shown| shown.last()).copied();
        if bits == 0 || epoch != self.epoch() || zeros < bits || shown.is_some_and(|shown| solution <= shown) {
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
}
