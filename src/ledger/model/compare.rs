//! The model against the rows of a store: everything the model has is in the rows, and nothing else is.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::{Bill, Heap, Model, Motion, Person};
use crate::ledger::fault::Fault;
use crate::ledger::params::Params;
use crate::ledger::query;
use crate::ledger::rows::{
    Account, Ballot, Billing, Delegation, Duty, Leaving, Policy, Pool, Proposal, Record, Row, Seats, Standing, Totals,
    Unbonding,
};
use crate::types::NodeId;
use crate::types::storage::View;
use crate::wire::kind::governance::VotingOutcome;

/// A comparison: nothing, or where the two part.
type Compared = Result<(), String>;

impl Model {
    /// Whether the rows of the store say the same as the model.
    pub fn compare(&self, view: &dyn View) -> Compared {
        let totals: Totals = one(&(), view)?;
        same("supply", &u128::from(totals.supply.0), &self.supply)?;
        same("tokens of the model, counted", &self.held(), &self.supply)?;
        same("treasury", &u128::from(totals.treasury.0), &self.treasury)?;
        same("rules", &one::<Params>(&(), view)?, &self.params)?;
        self.compare_people(view)?;
        self.compare_stakes(view, &totals)?;
        self.compare_motions(view, &totals)?;
        self.compare_services(view)
    }

    fn compare_people(&self, view: &dyn View) -> Compared {
        let mut people = BTreeMap::new();
        for (name, row) in all::<Account>(view)? {
            let name = node(&name)?;
            let delegations = self.heaps.values().filter(|heap| heap.shares.contains_key(&name)).count();
            same("delegations", &(row.delegations as usize), &delegations)?;
            people.insert(name, Person { nonce: row.nonce, balance: row.balance.0.into(), gas: row.gas.0.into() });
        }
        people.retain(|_, one| *one != Person::default());
        let known = self.people.iter().filter(|(_, one)| **one != Person::default());
        same("accounts", &people, &known.map(|(name, one)| (*name, one.clone())).collect())
    }

    fn compare_stakes(&self, view: &dyn View, totals: &Totals) -> Compared {
        let pools = all::<Pool>(view)?;
        let shares: Vec<u128> = pools.iter().map(|(_, row)| row.shares.into()).collect();
        let pool = |row: Pool| Heap {
            tokens: row.tokens.0.into(),
            shares: BTreeMap::new(),
            commission: row.commission.into(),
            standing: row.standing,
            proposed: row.proposed.into(),
        };
        let mut pools: BTreeMap<_, _> = pools.into_iter().map(|(name, row)| (name, pool(row))).collect();
        for (name, row) in all::<Delegation>(view)? {
            share(&mut pools, &name, 32, row.shares.into(), |name| (name.get(32..), name.get(..32)))?;
        }
        same("shares", &pools.values().map(Heap::all).collect::<Vec<u128>>(), &shares)?;
        same("pools", &(totals.pools as usize), &pools.len())?;
        same("staked", &u128::from(totals.staked.0), &pools.values().map(|heap| heap.tokens).sum())?;
        same("pools", &pools, &self.heaps.iter().map(|(name, heap)| (name.0.to_vec(), heap.clone())).collect())?;
        let unbonding = all::<Unbonding>(view)?.into_iter().map(|(name, row)| {
            let (tokens, standing) = (row.tokens.0.into(), Standing::Applied);
            (name, Heap { tokens, shares: BTreeMap::new(), commission: 0, standing, proposed: 0 })
        });
        let mut leaving: BTreeMap<_, _> = unbonding.collect();
        for (name, row) in all::<Leaving>(view)? {
            share(&mut leaving, &name, 40, row.shares.into(), |name| (name.get(..40), name.get(40..)))?;
        }
        let ours =
            self.leaving.iter().map(|((free, of), heap)| ([&of.0[..], &free.to_be_bytes()].concat(), heap.clone()));
        same("stake that leaves", &leaving, &ours.collect())?;
        let Seats(seats) = one(&(), view)?;
        same("seats", &seats.iter().map(|seat| (seat.id, seat.power)).collect(), &self.seats)
    }

    fn compare_motions(&self, view: &dyn View, totals: &Totals) -> Compared {
        same("proposals", &(totals.proposals as usize), &self.motions.len())?;
        for (number, motion) in self.motions.iter().enumerate() {
            let row: Proposal = one(&(number as u64), view)?;
            let Motion { author, action, deposit, until, outcome, carried, votes } = motion;
            same("proposal", &(&row.author, &row.action, row.until, row.outcome), &(author, action, *until, *outcome))?;
            same("deposit and tally", &(u128::from(row.deposit.0), row.tally), &(*deposit, self.tally(number)))?;
            // Decided, but not passed: there was nothing to carry out.
            let idle = row.outcome.is_some_and(|outcome| outcome != VotingOutcome::Passed);
            same("carried", &(row.outcome.is_some() && row.failed.is_none()), &(*carried || idle))?;
            for (voter, (choice, weight)) in votes {
                let ballot: Ballot = one(&(number as u64, *voter), view)?;
                same("ballot", &(ballot.choice, u128::from(ballot.weight.0)), &(*choice, *weight))?;
            }
        }
        let open = self.motions.iter().filter(|motion| motion.outcome.is_none()).count();
        same("open proposals", &(totals.open_proposals as usize), &open)?;
        let leavers: usize = self.leaving.values().map(|heap| heap.shares.len()).sum();
        same("duties", &all::<Duty>(view)?.len(), &(open + self.bills.len() + self.records.len() + leavers))
    }

    fn compare_services(&self, view: &dyn View) -> Compared {
        let mut records = BTreeMap::new();
        for (name, row) in all::<Record>(view)? {
            let (owner, name) = name.split_at_checked(32).ok_or("the name of a record is too short")?;
            let name = String::from_utf8_lossy(name).into_owned();
            records.insert((node(owner)?, name), (row.value.0, row.paid_until));
        }
        same("records", &records, &self.records)?;
        let mut bills = BTreeMap::new();
        for (name, row) in all::<Billing>(view)? {
            let Billing { customer, provider, amount, every, left, due, service: _ } = row;
            let number = name.first_chunk().ok_or("the number of a billing is too short")?;
            let bill = Bill { customer, provider, amount: amount.0.into(), every: every.into(), left, due };
            bills.insert(u64::from_be_bytes(*number), bill);
        }
        same("bills", &bills, &self.bills)?;
        let policies = all::<Policy>(view)?.into_iter();
        let policies =
            policies.map(|(name, row)| (String::from_utf8_lossy(&name).into_owned(), (row.version, row.digest)));
        same("policies", &policies.collect(), &self.policies)
    }
}

/// Puts a row's shares into its heap.
fn share(
    heaps: &mut BTreeMap<Vec<u8>, Heap>,
    name: &[u8],
    least: usize,
    shares: u128,
    parts: impl Fn(&[u8]) -> (Option<&[u8]>, Option<&[u8]>),
) -> Compared {
    let (Some(heap), Some(whose)) = parts(name) else { return Err(format!("a name of less than {least} bytes")) };
    let heap = heaps.get_mut(heap).ok_or("shares of a heap that is not there")?;
    heap.shares.insert(node(whose)?, shares);
    Ok(())
}

fn same<T: PartialEq + Debug>(what: &str, rows: &T, model: &T) -> Compared {
    if rows == model { Ok(()) } else { Err(format!("{what}: the rows say {rows:?}, the model {model:?}")) }
}

fn one<R: Row>(name: &R::Name, view: &dyn View) -> Result<R, String> {
    query::row(name, view).map_err(told)?.ok_or_else(|| format!("a row of sort {:?} is missing", R::SORT))
}

fn all<R: Row>(view: &dyn View) -> Result<Vec<(Vec<u8>, R)>, String> {
    query::rows_of(&[], None, usize::MAX, view).map_err(told)
}

fn told(fault: Fault) -> String {
    fault.to_string()
}

fn node(bytes: &[u8]) -> Result<NodeId, String> {
    bytes.try_into().map(NodeId).map_err(|_| format!("an id of {} bytes", bytes.len()))
}
