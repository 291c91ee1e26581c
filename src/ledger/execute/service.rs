//! Services: records that are stored for rent, bills that are paid again and again, work that is shown.

use super::{Execution, Stop};
use crate::ledger::fault::Fault;
use crate::ledger::rows::{Billing, Due, Duty, Record, Worker};
use crate::types::{Domain, Hash, NodeId, Tokens};
use crate::wire::kind::Blob;
use crate::wire::ledger::{EPOCHS, Effect, Event, Failure};

/// Miners in one epoch.
pub const MINERS: u32 = 1024;

impl Execution<'_> {
    /// Stores a record; one of that name is replaced, and what was left of its rent is not paid back.
    pub(super) fn store(&mut self, owner: NodeId, name: &str, value: &Blob, epochs: u32) -> Result<Effect, Stop> {
        let row = (owner, name.to_string());
        if let Some(old) = self.state.read::<Record>(&row)? {
            self.state.clear::<Duty>(&(old.paid_until, expiry(&row)));
        }
        self.take_rent(owner, name, value, epochs)?;
        let paid_until = self.epoch().saturating_add(u64::from(epochs) - 1);
        self.state.write(&(paid_until, expiry(&row)), &Duty {});
        self.state.write(&row, &Record { value: value.clone(), paid_until });
        Ok(Effect::Done)
    }

    pub(super) fn pay_rent(&mut self, payer: NodeId, owner: NodeId, name: &str, epochs: u32) -> Result<Effect, Stop> {
        let row = (owner, name.to_string());
        let mut record: Record = self.state.read(&row)?.ok_or(Failure::UnknownRecord)?;
        let until = record.paid_until.saturating_add(u64::from(epochs));
        if until - self.epoch().min(until) > u64::from(EPOCHS) {
            return Err(Failure::TooFarAhead.into());
        }
        self.take_rent(payer, name, &record.value, epochs)?;
        self.state.clear::<Duty>(&(record.paid_until, expiry(&row)));
        self.state.write(&(until, expiry(&row)), &Duty {});
        record.paid_until = until;
        self.state.write(&row, &record);
        Ok(Effect::Done)
    }

    /// Rent is for the bytes of name and value, and goes to the treasury.
    fn take_rent(&mut self, payer: NodeId, name: &str, value: &Blob, epochs: u32) -> Result<(), Stop> {
        let bytes = name.len() as u64 + value.0.len() as u64;
        let rent = self.params.fees.storage.times(bytes)?.times(u64::from(epochs))?;
        self.debit(payer, rent)?;
        self.totals.treasury = self.totals.treasury.plus(rent)?;
        Ok(())
    }

    pub(super) fn erase(&mut self, owner: NodeId, name: &str) -> Result<Effect, Stop> {
        let row = (owner, name.to_string());
        let record: Record = self.state.read(&row)?.ok_or(Failure::UnknownRecord)?;
        self.state.clear::<Duty>(&(record.paid_until, expiry(&row)));
        self.state.clear::<Record>(&row);
        Ok(Effect::Done)
    }

    /// The rent of a record has run out.
    pub(super) fn expire(&mut self, owner: NodeId, name: String) {
        self.state.clear::<Record>(&(owner, name.clone()));
        self.event(Event::RecordExpired { owner, name });
    }

    /// The first payment is made at once.
    pub(super) fn open_billing(
        &mut self,
        customer: NodeId,
        provider: NodeId,
        service: &str,
        amount: Tokens,
        every: u32,
        payments: u32,
    ) -> Result<Effect, Stop> {
        if customer == provider {
            return Err(Failure::OneselfBilled.into());
        }
        self.debit(customer, amount)?;
        self.credit(provider, amount)?;
        let number = self.totals.billings;
        self.totals.billings += 1;
        let due = self.epoch().saturating_add(u64::from(every));
        let left = payments.saturating_sub(1);
        let service = service.to_string();
        self.keep_billing(number, &Billing { customer, provider, service, amount, every, left, due });
        Ok(Effect::Billing(number))
    }

    fn keep_billing(&mut self, number: u64, billing: &Billing) {
        if billing.left == 0 {
            self.state.clear::<Billing>(&number);
        } else {
            self.state.write(&number, billing);
            self.state.write(&(billing.due, Due::Bill(number)), &Duty {});
        }
    }

    pub(super) fn close_billing(&mut self, account: NodeId, number: u64) -> Result<Effect, Stop> {
        let billing: Billing = self.state.read(&number)?.ok_or(Failure::UnknownBilling)?;
        if ![billing.customer, billing.provider].contains(&account) {
            return Err(Failure::NotParty.into());
        }
        self.state.clear::<Billing>(&number);
        self.state.clear::<Duty>(&(billing.due, Due::Bill(number)));
        Ok(Effect::Done)
    }

    /// The next payment is made; without the tokens for it the billing is over.
    pub(super) fn bill(&mut self, number: u64) -> Result<(), Fault> {
        let billing: Billing = self.state.must(&number)?;
        let Billing { customer, provider, amount, .. } = billing;
        match self.debit(customer, amount) {
            Ok(()) => {
                self.credit(provider, amount)?;
                let (left, due) = (billing.left - 1, billing.due.saturating_add(u64::from(billing.every)));
                self.keep_billing(number, &Billing { left, due, ..billing });
                self.event(Event::Billed { billing: number, customer, provider, amount, left });
            }
            Err(Stop::Failed(_)) => {
                self.state.clear::<Billing>(&number);
                self.event(Event::BillingLapsed { billing: number, customer, provider, amount });
            }
            Err(Stop::Broken(fault)) => return Err(fault),
        }
        Ok(())
    }

    /// Work counts when the digest of it begins with enough zero bits (as in Hashcash, Back, 2002).
    pub(super) fn work(&mut self, miner: NodeId, epoch: u64, solution: u64) -> Result<Effect, Stop> {
        let bits = u32::from(self.params.emission.mining_bits);
        if bits == 0 {
            return Err(Failure::NoMining.into());
        }
        if epoch != self.epoch() {
            return Err(Failure::WrongEpoch(self.epoch()).into());
        }
        if leading_zeros(&work_digest(&self.totals.work_seed, miner, solution)) < bits {
            return Err(Failure::NotEnoughWork.into());
        }
        let mut worker: Worker = self.state.or_new(&(epoch, miner))?;
        if worker.last.is_some_and(|last| solution <= last) {
            return Err(Failure::SolutionUsed.into());
        }
        if worker.last.is_none() {
            if self.totals.miners >= MINERS {
                return Err(Failure::TooManyMiners(MINERS).into());
            }
            self.totals.miners += 1;
        }
        worker = Worker { last: Some(solution), solutions: worker.solutions + 1 };
        self.totals.work = self.totals.work.saturating_add(1);
        self.state.write(&(epoch, miner), &worker);
        Ok(Effect::Done)
    }
}

fn expiry((owner, name): &(NodeId, String)) -> Due {
    Due::Expire { owner: *owner, name: name.clone() }
}

/// What a miner tries to make small: seed, its account, the solution.
pub fn work_digest(seed: &Hash, miner: NodeId, solution: u64) -> Hash {
    Domain::Work.hash(&[seed.as_bytes(), miner.as_bytes(), &solution.to_le_bytes()])
}

fn leading_zeros(digest: &Hash) -> u32 {
    let full = digest.0.iter().take_while(|byte| **byte == 0).count();
    let rest = digest.0.get(full).map_or(0, |byte| byte.leading_zeros());
    full as u32 * 8 + rest
}
