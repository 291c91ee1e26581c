//! Governance: compliance with frameworks of rules, and BISO agreements between parties.
//!
//! Pure. Versions of agreements count from 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{Checks, LIST_ITEMS, Rules, VALUE_BYTES};
use super::security::Severity;
use super::system::Layer;
use crate::types::{MessageId, NodeId, WallMs};
use crate::wire::fault::Faults;

/// Whether someone keeps the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComplianceStatus {
    /// All of them.
    Compliant,
    /// Some of them.
    PartlyCompliant,
    /// None that matter.
    NonCompliant,
}

/// One control of a framework, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlResult {
    /// Name of the control.
    pub control: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was seen; needed when it does not hold.
    #[serde(default)]
    pub note: Option<String>,
}

impl Rules for ControlResult {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("control", &self.control)
            .must(self.passed || self.note.is_some(), "note", "must say what was seen")
            .text_if("note", &self.note);
    }
}

/// How someone kept the rules over a period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComplianceReport {
    /// Id of the report.
    pub report_id: String,
    /// Name of the set of rules.
    pub framework: String,
    /// Who is reported on.
    pub subject: NodeId,
    /// Whether it keeps them.
    pub status: ComplianceStatus,
    /// The controls checked, each once.
    pub controls: Vec<ControlResult>,
    /// The period's beginning.
    pub start_ms: WallMs,
    /// The period's end.
    pub end_ms: WallMs,
}

impl Rules for ComplianceReport {
    fn check(&self, faults: &mut Faults) {
        let names: Vec<_> = self.controls.iter().map(|one| one.control.as_str()).collect();
        let clean = self.controls.iter().all(|one| one.passed);
        faults
            .name("report_id", &self.report_id)
            .name("framework", &self.framework)
            .must(self.status != ComplianceStatus::Compliant || clean, "status", "a control failed")
            .filled("controls", &self.controls)
            .distinct("controls", &names)
            .parts("controls", &self.controls)
            .time("start_ms", self.start_ms)
            .after("end_ms", self.end_ms, self.start_ms);
    }
}

/// How far an audit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditStatus {
    /// Asked for.
    Requested,
    /// At work.
    Running,
    /// Done.
    Completed,
    /// Given up.
    Cancelled,
}

/// Someone's compliance is audited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComplianceAudit {
    /// Id of the audit.
    pub audit_id: String,
    /// Name of the set of rules.
    pub framework: String,
    /// Who audits.
    pub auditor: NodeId,
    /// Who is audited; another one.
    pub subject: NodeId,
    /// What is looked at.
    pub scope: String,
    /// How far it is.
    pub status: AuditStatus,
    /// The report; needed when completed.
    #[serde(default)]
    pub report_id: Option<String>,
    /// It begins.
    pub start_ms: WallMs,
    /// It is to end.
    pub end_ms: WallMs,
}

impl Rules for ComplianceAudit {
    fn check(&self, faults: &mut Faults) {
        let done = self.status == AuditStatus::Completed;
        faults
            .name("audit_id", &self.audit_id)
            .name("framework", &self.framework)
            .must(self.auditor != self.subject, "subject", "nobody audits themselves")
            .text("scope", &self.scope)
            .must(!done || self.report_id.is_some(), "report_id", "must name the report")
            .name_if("report_id", &self.report_id)
            .time("start_ms", self.start_ms)
            .after("end_ms", self.end_ms, self.start_ms);
    }
}

/// Someone broke a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComplianceViolation {
    /// Id of the violation.
    pub violation_id: String,
    /// Name of the set of rules.
    pub framework: String,
    /// The rule broken.
    pub rule: String,
    /// Who broke it.
    pub subject: NodeId,
    /// How bad.
    pub severity: Severity,
    /// What happened.
    pub description: String,
    /// Messages that show it, each once.
    pub evidence: Vec<MessageId>,
    /// When it was noticed.
    pub detected_ms: WallMs,
    /// To be put right by then, if it can be.
    #[serde(default)]
    pub remedy_due_ms: Option<WallMs>,
}

impl Rules for ComplianceViolation {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("violation_id", &self.violation_id)
            .name("framework", &self.framework)
            .name("rule", &self.rule)
            .text("description", &self.description)
            .fits("evidence", self.evidence.len(), LIST_ITEMS)
            .distinct("evidence", &self.evidence)
            .time("detected_ms", self.detected_ms);
        if let Some(at) = self.remedy_due_ms {
            faults.after("remedy_due_ms", at, self.detected_ms);
        }
    }
}

/// One term of an agreement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgreementTerm {
    /// Its name.
    pub name: String,
    /// What it says.
    pub value: String,
}

impl Rules for AgreementTerm {
    fn check(&self, faults: &mut Faults) {
        faults.name("name", &self.name).words("value", &self.value, VALUE_BYTES);
    }
}

fn check_terms(field: &str, terms: &[AgreementTerm], faults: &mut Faults) {
    let names: Vec<_> = terms.iter().map(|term| term.name.as_str()).collect();
    faults.filled(field, terms).distinct(field, &names).parts(field, terms);
}

/// Parties agree on terms under which their requests are let through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BisoAgreementCreation {
    /// Id of the agreement.
    pub agreement_id: String,
    /// In short.
    pub title: String,
    /// Who agrees, at least two, each once.
    pub parties: Vec<NodeId>,
    /// Layers it holds in, each once.
    pub layers: Vec<Layer>,
    /// The terms, each name once.
    pub terms: Vec<AgreementTerm>,
    /// It holds from then.
    pub effective_ms: WallMs,
    /// It holds until then.
    pub expires_ms: WallMs,
}

impl Rules for BisoAgreementCreation {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("agreement_id", &self.agreement_id)
            .name("title", &self.title)
            .must(self.parties.len() >= 2, "parties", "an agreement has two parties or more")
            .fits("parties", self.parties.len(), LIST_ITEMS)
            .distinct("parties", &self.parties)
            .filled("layers", &self.layers)
            .distinct("layers", &self.layers)
            .time("effective_ms", self.effective_ms)
            .after("expires_ms", self.expires_ms, self.effective_ms);
        check_terms("terms", &self.terms, faults);
    }
}

/// Terms of an agreement change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BisoAgreementUpdate {
    /// Id of the agreement.
    pub agreement_id: String,
    /// The version that ends, from 1.
    pub from_version: u32,
    /// The version that begins.
    pub to_version: u32,
    /// Terms that are new or different, each name once.
    pub terms: Vec<AgreementTerm>,
    /// Parties that agree to it, each once.
    pub approved_by: Vec<NodeId>,
    /// It holds from then.
    pub effective_ms: WallMs,
}

impl Rules for BisoAgreementUpdate {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("agreement_id", &self.agreement_id)
            .some("from_version", self.from_version)
            .must(self.to_version > self.from_version, "to_version", "must be a later version")
            .filled("approved_by", &self.approved_by)
            .fits("approved_by", self.approved_by.len(), LIST_ITEMS)
            .distinct("approved_by", &self.approved_by)
            .time("effective_ms", self.effective_ms);
        check_terms("terms", &self.terms, faults);
    }
}

/// What follows from how a term was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnforcementAction {
    /// Nothing: it was kept.
    Satisfied,
    /// A warning.
    Warn,
    /// A payment.
    Penalise,
    /// No more requests for a time.
    Suspend,
    /// The agreement ends.
    Terminate,
}

/// A term of an agreement was held against what a party did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BisoAgreementEnforcement {
    /// Id of the agreement.
    pub agreement_id: String,
    /// Its version, from 1.
    pub version: u32,
    /// Name of the term.
    pub term: String,
    /// Which party.
    pub party: NodeId,
    /// What follows.
    pub action: EnforcementAction,
    /// How much is to be paid, base units; needed for a payment.
    #[serde(default)]
    pub penalty: Option<u64>,
    /// Messages that show it, each once; needed unless the term was kept.
    pub evidence: Vec<MessageId>,
    /// When it was decided.
    pub decided_ms: WallMs,
}

impl Rules for BisoAgreementEnforcement {
    fn check(&self, faults: &mut Faults) {
        let kept = self.action == EnforcementAction::Satisfied;
        let pays = self.action == EnforcementAction::Penalise;
        faults
            .name("agreement_id", &self.agreement_id)
            .some("version", self.version)
            .name("term", &self.term)
            .must(!pays || self.penalty.is_some_and(|penalty| penalty > 0), "penalty", "must say how much")
            .must(pays || self.penalty.is_none(), "penalty", "only a payment has an amount")
            .must(kept || !self.evidence.is_empty(), "evidence", "must show what the party did")
            .fits("evidence", self.evidence.len(), LIST_ITEMS)
            .distinct("evidence", &self.evidence)
            .time("decided_ms", self.decided_ms);
    }
}
