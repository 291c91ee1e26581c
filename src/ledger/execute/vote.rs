//! Governance: proposals, votes weighted by stake, and what they bring about.

use super::{Execution, Stakes, Stop};
use crate::ledger::fault::Fault;
use crate::ledger::params::Voting;
use crate::ledger::rows::{Ballot, Delegation, Due, Duty, Policy, Pool, Proposal, Row, Standing};
use crate::ledger::{rows, state::State};
use crate::types::{NodeId, Tokens};
use crate::wire::kind::governance::{VoteChoice, VotingOutcome};
use crate::wire::ledger::{Action, Effect, Event, Failure, Tally};

/// Proposals that are not decided.
pub const OPEN_PROPOSALS: u32 = 64;

impl Execution<'_> {
    pub(super) fn propose(
        &mut self,
        author: NodeId,
        title: &str,
        action: &Action,
        deposit: Tokens,
    ) -> Result<Effect, Stop> {
        let Voting { deposit: least, epochs, .. } = self.params.voting;
        if deposit < least {
            return Err(Failure::DepositTooSmall(least).into());
        }
        if self.totals.open_proposals >= OPEN_PROPOSALS {
            return Err(Failure::TooManyProposals(OPEN_PROPOSALS).into());
        }
        self.debit(author, deposit)?;
        let number = self.totals.proposals;
        self.totals.proposals += 1;
        self.totals.open_proposals += 1;
        let until = self.epoch().saturating_add(epochs);
        let (title, action) = (title.to_string(), action.clone());
        let (tally, outcome, failed) = (Tally::default(), None, None);
        self.state.write(&number, &Proposal { title, action, author, deposit, until, tally, outcome, failed });
        self.state.write(&(until, Due::Tally(number)), &Duty {});
        Ok(Effect::Proposal(number))
    }

    /// A vote weighs what its account has staked now. Stake that is taken back is not free before the vote is over, so
    /// none votes twice.
    pub(super) fn vote(&mut self, voter: NodeId, number: u64, choice: VoteChoice) -> Result<Effect, Stop> {
        let mut proposal: Proposal = self.state.read(&number)?.ok_or(Failure::UnknownProposal)?;
        if proposal.outcome.is_some() || proposal.until < self.epoch() {
            return Err(Failure::VoteOver.into());
        }
        let weight = stake_of(voter, &self.state)?;
        if weight.is_zero() {
            return Err(Failure::NoVote.into());
        }
        if let Some(before) = self.state.read::<Ballot>(&(number, voter))? {
            let votes = votes(&mut proposal.tally, before.choice);
            *votes = votes.minus(before.weight)?;
        }
        let votes = votes(&mut proposal.tally, choice);
        *votes = votes.plus(weight)?;
        self.state.write(&number, &proposal);
        self.state.write(&(number, voter), &Ballot { choice, weight });
        Ok(Effect::Done)
    }

    /// The time for votes is over: the proposal is decided, and carried out if it passed.
    pub(super) fn tally(&mut self, number: u64) -> Result<(), Fault> {
        let proposal: Proposal = self.state.must(&number)?;
        let outcome = outcome(&proposal.tally, self.totals.staked, &self.params.voting)?;
        self.totals.open_proposals = self.totals.open_proposals.saturating_sub(1);
        match outcome {
            VotingOutcome::Passed | VotingOutcome::Rejected => self.credit(proposal.author, proposal.deposit)?,
            VotingOutcome::NoQuorum | VotingOutcome::Vetoed => {
                self.totals.treasury = self.totals.treasury.plus(proposal.deposit)?;
            }
        }
        let failed = if outcome == VotingOutcome::Passed { self.carry_out(&proposal.action)? } else { None };
        let (tally, action) = (proposal.tally, proposal.action.clone());
        let (deposit, outcome_kept) = (Tokens::ZERO, Some(outcome));
        self.state.write(&number, &Proposal { deposit, outcome: outcome_kept, failed: failed.clone(), ..proposal });
        self.event(Event::Decided { proposal: number, outcome, tally, action, failed });
        Ok(())
    }

    /// Does what was voted for, or says why it cannot be done and changes nothing.
    fn carry_out(&mut self, action: &Action) -> Result<Option<Failure>, Fault> {
        let (totals, params) = (self.totals.clone(), self.params.clone());
        self.state.savepoint();
        match self.act(action) {
            Ok(()) => Ok(None),
            Err(Stop::Failed(failure)) => {
                self.state.roll_back();
                (self.totals, self.params) = (totals, params);
                Ok(Some(failure))
            }
            Err(Stop::Broken(fault)) => Err(fault),
        }
    }

    fn act(&mut self, action: &Action) -> Result<(), Stop> {
        match action {
            Action::Declare { statement: _ } => {}
            Action::ChangeFee { fee_type, new_fee } => self.params.set_fee(*fee_type, *new_fee),
            Action::AdoptPolicy { policy_id, version, digest } => {
                if self.state.read::<Policy>(policy_id)?.is_some_and(|old| old.version >= *version) {
                    return Err(Failure::PolicyVersion.into());
                }
                self.state.write(policy_id, &Policy { version: *version, digest: *digest });
            }
            Action::Spend { to, amount } => {
                self.spend(*amount)?;
                self.credit(*to, *amount)?;
            }
            Action::Mint { to, amount } => {
                self.mint(*amount)?;
                self.credit(*to, *amount)?;
            }
            Action::AdmitValidator { validator } => self.set_standing(*validator, Standing::Admitted)?,
            Action::RemoveValidator { validator } => self.set_standing(*validator, Standing::Removed)?,
        }
        Ok(())
    }

    fn set_standing(&mut self, validator: NodeId, standing: Standing) -> Result<(), Stop> {
        let mut pool = match self.state.read::<Pool>(&validator)? {
            Some(pool) => pool,
            None => self.new_pool(validator, standing)?,
        };
        if pool.standing == Standing::Slashed {
            return Err(Failure::Excluded(validator).into());
        }
        pool.standing = standing;
        self.state.write(&validator, &pool);
        Ok(())
    }
}

/// What an account has staked, on all validators together.
fn stake_of(account: NodeId, state: &State<'_>) -> Result<Tokens, Stop> {
    let prefix = [&[Delegation::SORT as u8], &account.0[..]].concat();
    let mut stake = Tokens::ZERO;
    for (key, value) in state.scan(&prefix, super::stake::DELEGATIONS as usize) {
        let validator = key.get(33..).and_then(|id| id.try_into().ok()).map(NodeId);
        let validator = validator.ok_or(Fault::Corrupt("a delegation names no validator"))?;
        let delegation: Delegation = rows::decode(&value)?;
        let pool = super::stake::pool_of(validator, state)?;
        let mut pool = pool.ok_or(Fault::Corrupt("a delegation is in no pool"))?;
        stake = stake.plus(pool.worth(delegation.shares)?)?;
    }
    Ok(stake)
}

fn votes(tally: &mut Tally, choice: VoteChoice) -> &mut Tokens {
    match choice {
        VoteChoice::Yes => &mut tally.yes,
        VoteChoice::No => &mut tally.no,
        VoteChoice::Abstain => &mut tally.abstain,
        VoteChoice::Veto => &mut tally.veto,
    }
}

/// How a vote ends. Votes cast with stake that has been taken back since can be more than all stake.
fn outcome(tally: &Tally, staked: Tokens, voting: &Voting) -> Result<VotingOutcome, Fault> {
    let voiced = tally.yes.plus(tally.no)?.plus(tally.veto)?;
    let cast = voiced.plus(tally.abstain)?;
    let thousand = |tokens: Tokens| u128::from(tokens.0) * 1000;
    let part = |tokens: Tokens, permille: u16| u128::from(tokens.0) * u128::from(permille);
    Ok(if cast.is_zero() || thousand(cast) < part(staked, voting.quorum_permille) {
        VotingOutcome::NoQuorum
    } else if thousand(tally.veto) >= part(cast, voting.veto_permille) {
        VotingOutcome::Vetoed
    } else if thousand(tally.yes) > part(voiced, voting.threshold_permille) {
        VotingOutcome::Passed
    } else {
        VotingOutcome::Rejected
    })
}
