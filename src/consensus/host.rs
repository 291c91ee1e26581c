//! The other side of Malachite's effects: what it wants signed, checked, said, written down and woken for.
//!
//! One call of Malachite runs to its end; its effects are answered at once and collected as [`Output`]s in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_malachitebft_core_consensus::{
    Effect, Input as CoreInput, LivenessMsg, MAX_FUTURE_ROUND_LOOKAHEAD, MisbehaviorEvidence, Resumable, Resume,
    SignedConsensusMsg,
};
use arc_malachitebft_core_types::{CertificateError, CommitCertificate};
use ed25519_dalek::SigningKey;

use super::context::{Malachite, core_proposal, core_vote, number, our_proposal, our_vote};
use super::input::{Fault, Output, Start};
use super::machine::Setup;
use super::record::{Record, our_polka, our_round};
use super::timers::{Timeouts, Timers};
use crate::types::chain::{BlockId, ChainId, Height, ValidatorSet};
use crate::types::{Hash, Mono, NodeId};
use crate::wire::agreement::{Certificate, Evidence, Message, Proposal, Short, Signed, Step, Vote};

/// What a node may sign once for each round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Proposal,
    Prevote,
    Precommit,
}

/// Proposals kept of one height.
const PROPOSALS: usize = 16;

impl Kind {
    fn of(step: Step) -> Kind {
        match step {
            Step::Prevote => Kind::Prevote,
            Step::Precommit => Kind::Precommit,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Proposal => "proposal",
            Kind::Prevote => "prevote",
            Kind::Precommit => "precommit",
        }
    }
}

/// Everything that is not Malachite's own state.
pub struct Host {
    pub chain: ChainId,
    pub me: NodeId,
    /// None for a node that only follows.
    pub key: Option<SigningKey>,
    pub timeouts: Timeouts,
    pub height: Height,
    pub validators: Arc<ValidatorSet>,
    pub round: u32,
    pub timers: Timers,
    /// Entries of the log are being given to Malachite again: they are neither written nor said anew.
    pub replaying: bool,
    /// The round Malachite wants a block for.
    pub wanted: Option<u32>,
    /// What was agreed on at this height.
    pub decided: Option<Certificate>,
    pub fault: Option<Fault>,
    pub out: Vec<Output>,
    signed: BTreeMap<(Kind, u32), Once>,
    /// Blocks whose bodies are in the log.
    kept: BTreeSet<BlockId>,
    /// Proposals of this height by round.
    proposals: BTreeMap<u32, Signed<Proposal>>,
}

/// What this node has signed in one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Once {
    digest: Hash,
    /// In this life; else it is in the log.
    fresh: bool,
}

/// An effect has no answer; why is in [`Host::fault`].
#[derive(Debug)]
pub struct Unanswered;

impl Host {
    pub fn new(setup: Setup, start: &Start) -> Host {
        let Setup { chain, me, key, timeouts } = setup;
        Host {
            chain,
            me,
            key,
            timeouts,
            height: start.height,
            validators: start.validators.clone(),
            round: 0,
            timers: Timers::default(),
            replaying: false,
            wanted: None,
            decided: None,
            fault: None,
            out: Vec::new(),
            signed: BTreeMap::new(),
            kept: BTreeSet::new(),
            proposals: BTreeMap::new(),
        }
    }

    /// Forgets the last height.
    pub fn begin(&mut self, start: &Start) {
        self.height = start.height;
        self.validators = start.validators.clone();
        self.round = 0;
        self.timers.clear();
        (self.wanted, self.decided) = (None, None);
        self.signed.clear();
        self.kept.clear();
        self.proposals.clear();
    }

    /// Takes note of what was signed before a crash.
    pub fn recall(&mut self, record: &Record) {
        let (kind, round, digest) = match record {
            Record::Vote(vote) if vote.said.voter == self.me => {
                (Kind::of(vote.said.step), vote.said.round, vote.said.digest(self.chain))
            }
            Record::Proposal(proposal) if proposal.said.proposer == self.me => {
                (Kind::Proposal, proposal.said.round, proposal.said.digest(self.chain))
            }
            Record::Body { block, .. } => {
                self.kept.insert(*block);
                return;
            }
            Record::Vote(_)
            | Record::Proposal(_)
            | Record::Polka(_)
            | Record::Value { .. }
            | Record::Timeout { .. } => {
                return;
            }
        };
        self.signed.entry((kind, round)).or_insert(Once { digest, fresh: false });
    }

    /// Whether Malachite looks at what is said of a round before this node comes to it.
    pub fn is_near(&self, round: u32) -> bool {
        round <= self.round.saturating_add(MAX_FUTURE_ROUND_LOOKAHEAD)
    }

    /// Takes note of a proposal, for whoever asks for its block. When there are too many, that of the round farthest
    /// from the present one goes: never this node's own.
    pub fn note(&mut self, proposal: Signed<Proposal>) {
        self.proposals.entry(proposal.said.round).or_insert(proposal);
        while self.proposals.len() > PROPOSALS {
            let farthest = self.proposals.keys().max_by_key(|round| round.abs_diff(self.round)).copied();
            farthest.map(|round| self.proposals.remove(&round));
        }
    }

    /// The newest proposal of a block.
    pub fn proposal_of(&self, block: BlockId) -> Option<&Signed<Proposal>> {
        self.proposals.values().rev().find(|proposal| proposal.said.value == block)
    }

    /// This node's own proposal in the present round.
    pub fn own_proposal(&self) -> Option<&Signed<Proposal>> {
        self.proposals.get(&self.round).filter(|proposal| proposal.said.proposer == self.me)
    }

    /// What has been wanted since this was last called.
    pub fn take_out(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    fn say(&mut self, message: Message) {
        self.out.push(Output::Say { message });
    }

    /// Answers an effect. This is the whole contract with Malachite.
    ///
    /// Signatures need no second look: whatever is given to Malachite was [`crate::wire::agreement::Genuine`], signed
    /// here, or read from the log, which checks. What is left to check is who the validators are, and how many.
    pub fn answer(&mut self, effect: Effect<Malachite>, now: Mono) -> Result<Resume<Malachite>, Unanswered> {
        Ok(match effect {
            Effect::CancelAllTimeouts(r) => {
                self.timers.clear();
                r.resume_with(())
            }
            Effect::CancelTimeout(timeout, r) => {
                self.timers.cancel(timeout);
                r.resume_with(())
            }
            Effect::ScheduleTimeout(timeout, r) => {
                self.timers.schedule(timeout, now, &self.timeouts);
                r.resume_with(())
            }
            Effect::StartRound(_, round, _, _, r) => {
                self.round = number(round);
                self.wanted = None;
                r.resume_with(())
            }
            Effect::GetValue(_, round, _, r) => {
                self.wanted = Some(number(round));
                r.resume_with(())
            }
            Effect::SignVote(vote, r) => r.resume_with(core_vote(self.sign_vote(vote.get())?)),
            Effect::SignProposal(proposal, r) => r.resume_with(core_proposal(self.sign_proposal(proposal)?)),
            Effect::VerifySignature(_, _, r) => r.resume_with(true),
            Effect::VerifyCommitCertificate(certificate, _, _, r) => {
                r.resume_with(our_certificate(&certificate).decides(&self.validators).map_err(core_short))
            }
            Effect::VerifyExtendedCommitCertificate(certificate, _, _, _, r) => {
                let certificate = our_certificate(&certificate.trim_vote_extensions());
                r.resume_with(certificate.decides(&self.validators).map_err(core_short))
            }
            Effect::VerifyPolkaCertificate(polka, _, _, r) => {
                r.resume_with(our_polka(&polka).suffices(&self.validators).map_err(core_short))
            }
            Effect::VerifyRoundCertificate(certificate, _, _, r) => {
                r.resume_with(our_round(&certificate).suffices(&self.validators).map_err(core_short))
            }
            Effect::WalAppend(_, entry, r) => {
                self.write_down(&entry);
                r.resume_with(())
            }
            Effect::PublishConsensusMsg(SignedConsensusMsg::Vote(vote), r) => {
                let vote = our_vote(&vote);
                if self.is_news(Kind::of(vote.said.step), vote.said.round) {
                    self.say(Message::Vote(vote));
                }
                r.resume_with(())
            }
            Effect::PublishConsensusMsg(SignedConsensusMsg::Proposal(proposal), r) => {
                let proposal = our_proposal(&proposal);
                if self.is_news(Kind::Proposal, proposal.said.round) {
                    self.say(Message::Proposal(proposal));
                }
                r.resume_with(())
            }
            Effect::PublishLivenessMsg(message, r) => {
                if !self.replaying {
                    self.say(match message {
                        LivenessMsg::Vote(vote) => Message::Vote(our_vote(&vote)),
                        LivenessMsg::PolkaCertificate(polka) => Message::Polka(our_polka(&polka)),
                        LivenessMsg::SkipRoundCertificate(certificate) => Message::Round(our_round(&certificate)),
                    });
                }
                r.resume_with(())
            }
            Effect::RepublishVote(vote, r) => {
                self.say(Message::Vote(our_vote(&vote)));
                r.resume_with(())
            }
            Effect::RepublishRoundCertificate(certificate, r) => {
                self.say(Message::Round(our_round(&certificate)));
                r.resume_with(())
            }
            // Whoever lacks a body asks for it.
            Effect::RestreamProposal(_, _, _, _, _, r) => r.resume_with(()),
            // The machine that brought the certificate gets the block.
            Effect::CertVerifiedSyncValue(_, _, r) => r.resume_with(()),
            // It was looked at before Malachite saw it, so this is no peer's fault.
            Effect::CertRejectedSyncValue(_, _, error, r) => {
                self.fail(error.to_string());
                r.resume_with(())
            }
            Effect::Decide(certificate, _, r) => {
                let certificate = our_certificate(&certificate);
                self.decided = Some(certificate.clone());
                self.out.push(Output::Decided { certificate });
                r.resume_with(())
            }
            Effect::Finalize(_, _, evidence, r) => {
                self.report(&evidence);
                r.resume_with(())
            }
            // Votes carry nothing but votes.
            Effect::ExtendVote(_, _, _, _, r) => r.resume_with(None),
            Effect::VerifyVoteExtension(_, _, _, _, _, _, r) => r.resume_with(Ok(())),
        })
    }

    /// Malachite could not go on.
    pub fn fail(&mut self, what: String) {
        self.fault.get_or_insert(Fault::Core { height: self.height, what });
    }

    fn sign_vote(&mut self, vote: Vote) -> Result<Signed<Vote>, Unanswered> {
        self.once(Kind::of(vote.step), vote.round, vote.digest(self.chain))?;
        let key = self.key.as_ref().ok_or(Unanswered)?;
        Ok(vote.sign(self.chain, key))
    }

    fn sign_proposal(&mut self, proposal: Proposal) -> Result<Signed<Proposal>, Unanswered> {
        self.once(Kind::Proposal, proposal.round, proposal.digest(self.chain))?;
        let key = self.key.as_ref().ok_or(Unanswered)?;
        let signed = proposal.sign(self.chain, key);
        self.note(signed);
        Ok(signed)
    }

    /// The last guard: one place, one signature, whatever Malachite and the log say.
    fn once(&mut self, kind: Kind, round: u32, digest: Hash) -> Result<(), Unanswered> {
        let once = *self.signed.entry((kind, round)).or_insert(Once { digest, fresh: true });
        if once.digest == digest {
            return Ok(());
        }
        self.fault.get_or_insert(Fault::SecondSignature { height: self.height, round, what: kind.name() });
        Err(Unanswered)
    }

    /// Whether what was signed here is said for the first time: not when it was only found in the log.
    fn is_news(&self, kind: Kind, round: u32) -> bool {
        !self.replaying || self.signed.get(&(kind, round)).is_some_and(|once| once.fresh)
    }

    /// Who has no key says nothing, so nothing has to be remembered.
    fn write_down(&mut self, entry: &CoreInput<Malachite>) {
        let Some(record) = Record::of(entry).filter(|_| self.key.is_some()) else { return };
        let own = match &record {
            Record::Vote(vote) if vote.said.voter == self.me => Some((Kind::of(vote.said.step), vote.said.round)),
            Record::Proposal(proposal) if proposal.said.proposer == self.me => {
                Some((Kind::Proposal, proposal.said.round))
            }
            Record::Vote(_)
            | Record::Proposal(_)
            | Record::Polka(_)
            | Record::Value { .. }
            | Record::Timeout { .. }
            | Record::Body { .. } => None,
        };
        // What comes from the log is in it; what a replay signs for the first time is not.
        if own.map_or(!self.replaying, |(kind, round)| self.is_news(kind, round)) {
            if let Record::Value { block, valid: true, .. } = record
                && self.kept.insert(block)
            {
                self.out.push(Output::Keep { height: self.height, block });
            }
            self.out.push(Output::Log { height: self.height, record });
        }
    }

    fn report(&mut self, evidence: &MisbehaviorEvidence<Malachite>) {
        let votes = evidence.votes.iter().flat_map(|(_, pairs)| pairs);
        let votes = votes.filter_map(|(one, other)| Evidence::of_votes(our_vote(one), our_vote(other)));
        let proposals = evidence.proposals.iter().flat_map(|(_, pairs)| pairs);
        let proposals =
            proposals.filter_map(|(one, other)| Evidence::of_proposals(our_proposal(one), our_proposal(other)));
        self.out.extend(votes.chain(proposals).map(Output::Evidence));
    }
}

fn core_short(short: Short) -> CertificateError<Malachite> {
    match short {
        Short::Stranger(node) => CertificateError::UnknownValidator(node),
        Short::Order(node) => CertificateError::DuplicateVote(node),
        Short::Prevote => CertificateError::VerificationError(None),
        Short::Power { power, total } => {
            CertificateError::NotEnoughVotingPower { signed: power, total, expected: total / 3 * 2 + 1 }
        }
    }
}

fn our_certificate(certificate: &CommitCertificate<Malachite>) -> Certificate {
    let mut signatures: Vec<_> = certificate.commit_signatures.iter().map(|s| (s.address, s.signature)).collect();
    signatures.sort();
    signatures.dedup_by_key(|(voter, _)| *voter);
    Certificate {
        height: certificate.height,
        round: number(certificate.round),
        value: certificate.value_id,
        signatures,
    }
}
