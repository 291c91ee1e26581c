//! Governance: policies, proposals and votes; compliance and agreements are beside it.
//!
//! Pure. Versions of policies count from 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::economic::FeeType;
use super::rules::{Checks, Rules};
use super::system::{Layer, NodeType};
use crate::types::{Hash, NodeId, WallMs};
use crate::wire::fault::Faults;

pub use super::compliance::{
    AgreementTerm, AuditStatus, BisoAgreementCreation, BisoAgreementEnforcement, BisoAgreementUpdate, ComplianceAudit,
    ComplianceReport, ComplianceStatus, ComplianceViolation, ControlResult, EnforcementAction,
};

/// What a policy says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyDecision {
    /// Yes.
    Allow,
    /// No.
    Block,
    /// Elsewhere.
    Redirect,
}

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// What it is about: a path or URL, `*` for any part.
    pub resource: String,
    /// What is done, by name, at least one.
    pub actions: Vec<String>,
    /// What the policy says to it.
    pub decision: PolicyDecision,
    /// Where it is sent; needed to redirect.
    #[serde(default)]
    pub redirect_to: Option<String>,
}

impl Rules for PolicyRule {
    fn check(&self, faults: &mut Faults) {
        let sent = self.decision == PolicyDecision::Redirect;
        faults
            .address("resource", &self.resource)
            .filled("actions", &self.actions)
            .names("actions", &self.actions)
            .must(!sent || self.redirect_to.is_some(), "redirect_to", "must say where to");
        if let Some(address) = &self.redirect_to {
            faults.address("redirect_to", address);
        }
    }
}

/// A policy is put up for discussion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyProposal {
    /// Id of the policy.
    pub policy_id: String,
    /// In short.
    pub title: String,
    /// Why.
    pub rationale: String,
    /// Layers it is to hold in, each once.
    pub layers: Vec<Layer>,
    /// What it says.
    pub rules: Vec<PolicyRule>,
    /// Comments until then.
    pub comments_until_ms: WallMs,
    /// It is to hold from then.
    pub effective_ms: WallMs,
}

impl Rules for PolicyProposal {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("policy_id", &self.policy_id)
            .name("title", &self.title)
            .text("rationale", &self.rationale)
            .filled("layers", &self.layers)
            .distinct("layers", &self.layers)
            .filled("rules", &self.rules)
            .parts("rules", &self.rules)
            .time("comments_until_ms", self.comments_until_ms)
            .after("effective_ms", self.effective_ms, self.comments_until_ms);
    }
}

/// A policy has a new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyUpdate {
    /// Id of the policy.
    pub policy_id: String,
    /// The version that ends; 0 for a new policy.
    pub from_version: u32,
    /// The version that begins.
    pub to_version: u32,
    /// What is different.
    pub summary: String,
    /// What it says now.
    pub rules: Vec<PolicyRule>,
    /// It holds from then.
    pub effective_ms: WallMs,
}

impl Rules for PolicyUpdate {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("policy_id", &self.policy_id)
            .must(self.to_version > self.from_version, "to_version", "must be a later version")
            .text("summary", &self.summary)
            .filled("rules", &self.rules)
            .parts("rules", &self.rules)
            .time("effective_ms", self.effective_ms);
    }
}

/// Nodes are to take over a version of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyDistribution {
    /// Id of the policy.
    pub policy_id: String,
    /// Its version, from 1.
    pub version: u32,
    /// Hash of its text.
    pub digest: Hash,
    /// Layers it is for; none named means all.
    pub layers: Vec<Layer>,
    /// Node types it is for; none named means all.
    pub node_types: Vec<NodeType>,
    /// To be taken over by then.
    pub deadline_ms: WallMs,
}

impl Rules for PolicyDistribution {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("policy_id", &self.policy_id)
            .some("version", self.version)
            .hash("digest", &self.digest)
            .distinct("layers", &self.layers)
            .distinct("node_types", &self.node_types)
            .time("deadline_ms", self.deadline_ms);
    }
}

/// A policy was applied to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyEnforcement {
    /// Id of the policy.
    pub policy_id: String,
    /// Its version, from 1.
    pub version: u32,
    /// Who asked.
    pub subject: NodeId,
    /// For what: a path or URL.
    pub resource: String,
    /// What the policy said.
    pub decision: PolicyDecision,
    /// Where it was sent; needed when redirected.
    #[serde(default)]
    pub redirect_to: Option<String>,
    /// Why; needed when blocked.
    #[serde(default)]
    pub reason: Option<String>,
    /// When.
    pub enforced_ms: WallMs,
}

impl Rules for PolicyEnforcement {
    fn check(&self, faults: &mut Faults) {
        let (blocked, sent) = match self.decision {
            PolicyDecision::Allow => (false, false),
            PolicyDecision::Block => (true, false),
            PolicyDecision::Redirect => (false, true),
        };
        faults
            .name("policy_id", &self.policy_id)
            .some("version", self.version)
            .address("resource", &self.resource)
            .must(!sent || self.redirect_to.is_some(), "redirect_to", "must say where to")
            .must(!blocked || self.reason.is_some(), "reason", "must say why")
            .text_if("reason", &self.reason)
            .time("enforced_ms", self.enforced_ms);
        if let Some(address) = &self.redirect_to {
            faults.address("redirect_to", address);
        }
    }
}

/// What is done when a proposal passes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProposalAction {
    /// Nothing: it is an opinion.
    Declare {
        /// What is declared.
        statement: String,
    },
    /// A fee changes.
    ChangeFee {
        /// Which.
        fee_type: FeeType,
        /// The fee from then on, base units.
        new_fee: u64,
    },
    /// A policy takes effect.
    AdoptPolicy {
        /// Id of the policy.
        policy_id: String,
        /// Its version, from 1.
        version: u32,
    },
    /// The treasury pays.
    Spend {
        /// Who is paid.
        to: NodeId,
        /// Symbol of the token.
        token: String,
        /// How much, base units.
        amount: u64,
    },
    /// A validator joins.
    AdmitValidator {
        /// Which.
        validator: NodeId,
        /// Its voting power.
        power: u64,
    },
    /// A validator leaves.
    RemoveValidator {
        /// Which.
        validator: NodeId,
        /// Why.
        reason: String,
    },
}

impl Rules for ProposalAction {
    fn check(&self, faults: &mut Faults) {
        match self {
            ProposalAction::Declare { statement } => faults.text("declare/statement", statement),
            ProposalAction::ChangeFee { fee_type: _, new_fee } => {
                faults.must(*new_fee <= u64::MAX / 2, "change_fee/new_fee", "must be payable")
            }
            ProposalAction::AdoptPolicy { policy_id, version } => {
                faults.name("adopt_policy/policy_id", policy_id).some("adopt_policy/version", *version)
            }
            ProposalAction::Spend { to: _, token, amount } => {
                faults.name("spend/token", token).some("spend/amount", *amount)
            }
            ProposalAction::AdmitValidator { validator: _, power } => faults.some("admit_validator/power", *power),
            ProposalAction::RemoveValidator { validator: _, reason } => faults.text("remove_validator/reason", reason),
        };
    }
}

/// Something is put to the vote of the stakers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GovernanceProposal {
    /// Id of the proposal.
    pub proposal_id: String,
    /// In short.
    pub title: String,
    /// Why.
    pub description: String,
    /// What is done when it passes.
    pub action: ProposalAction,
    /// What the author stakes on it, base units.
    pub deposit: u64,
    /// The part of all stake that must vote, over 0 to 100.
    pub quorum_percent: f64,
    /// The part of the votes that must agree, over 0 to 100.
    pub threshold_percent: f64,
    /// Votes from then.
    pub voting_start_ms: WallMs,
    /// Votes until then.
    pub voting_end_ms: WallMs,
}

impl Rules for GovernanceProposal {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("proposal_id", &self.proposal_id)
            .name("title", &self.title)
            .text("description", &self.description)
            .part("action", &self.action)
            .some("deposit", self.deposit)
            .percent("quorum_percent", self.quorum_percent)
            .must(self.quorum_percent != 0.0, "quorum_percent", "someone must vote")
            .percent("threshold_percent", self.threshold_percent)
            .must(self.threshold_percent != 0.0, "threshold_percent", "someone must agree")
            .time("voting_start_ms", self.voting_start_ms)
            .after("voting_end_ms", self.voting_end_ms, self.voting_start_ms);
    }
}

/// A vote's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VoteChoice {
    /// For it.
    Yes,
    /// Against it.
    No,
    /// Neither, but counted for the quorum.
    Abstain,
    /// Against it, and against its being asked.
    Veto,
}

/// A staker votes on a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VotingSubmission {
    /// Id of the proposal.
    pub proposal_id: String,
    /// Who votes.
    pub voter: NodeId,
    /// How.
    pub choice: VoteChoice,
    /// With which stake, base units.
    pub stake: u64,
    /// Why; needed for a veto.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Rules for VotingSubmission {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("proposal_id", &self.proposal_id)
            .some("stake", self.stake)
            .must(self.choice != VoteChoice::Veto || self.reason.is_some(), "reason", "a veto says why")
            .text_if("reason", &self.reason);
    }
}

/// How a vote ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VotingOutcome {
    /// It is done.
    Passed,
    /// It is not.
    Rejected,
    /// Too few voted.
    NoQuorum,
    /// Too many vetoed.
    Vetoed,
}

/// The votes on a proposal are counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VotingResults {
    /// Id of the proposal.
    pub proposal_id: String,
    /// Stake for it, base units.
    pub yes: u64,
    /// Stake against it, base units.
    pub no: u64,
    /// Stake that abstained, base units.
    pub abstain: u64,
    /// Stake that vetoed, base units.
    pub veto: u64,
    /// All stake that could vote, base units.
    pub total_stake: u64,
    /// How it ended.
    pub outcome: VotingOutcome,
    /// When.
    pub closed_ms: WallMs,
}

impl Rules for VotingResults {
    fn check(&self, faults: &mut Faults) {
        let cast = [self.yes, self.no, self.abstain, self.veto].into_iter().fold(0, u64::saturating_add);
        let passed = self.outcome == VotingOutcome::Passed;
        faults
            .name("proposal_id", &self.proposal_id)
            .some("total_stake", self.total_stake)
            .must(cast <= self.total_stake, "total_stake", "must be at least all votes cast")
            .must(!passed || self.yes > self.no, "outcome", "passes only with more for it than against it")
            .time("closed_ms", self.closed_ms);
    }
}
