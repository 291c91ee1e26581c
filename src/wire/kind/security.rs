//! Security: who someone is, what they may do, what went wrong; keys, certificates and proofs are beside it.
//!
//! Pure. Nothing here verifies a signature; these are the words in which such things are said.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{Checks, LIST_ITEMS, Rules, SIGNATURE_BYTES};
use super::value::Blob;
use crate::types::{MessageId, NodeId, WallMs};
use crate::wire::fault::Faults;

pub use super::keys::{
    CertificateRequest, CertificateRevocation, CertificateUsage, KeyAlgorithm, KeyExchange, KeyStep,
    PUBLIC_INPUT_BYTES, PUBLIC_INPUTS, ProofGeneration, ProofSubmission, ProofSystem, ProofVerification,
    RevocationReason,
};

/// A nonce or challenge, bytes.
pub const NONCE_BYTES: usize = 32;
/// A signed bundle header inside fork evidence, bytes at most.
pub const FORK_HEADER_BYTES: usize = 512;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look some day.
    Low,
    /// Worth a look today.
    Medium,
    /// Worth a look now.
    High,
    /// Someone must act now.
    Critical,
}

/// How an identity is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthenticationMethod {
    /// By signing a challenge with the node's key.
    Challenge,
    /// By a certificate.
    Certificate,
    /// By a token given earlier.
    Token,
    /// By a registered device.
    Device,
}

/// Someone asks to be recognised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthenticationRequest {
    /// Who asks.
    pub subject: NodeId,
    /// By whom; none means anyone who can.
    #[serde(default)]
    pub audience: Option<NodeId>,
    /// How it will show who it is.
    pub method: AuthenticationMethod,
    /// Fresh random bytes, 32.
    pub nonce: Blob,
    /// What it wants to do once recognised, by name.
    pub scopes: Vec<String>,
}

impl Rules for AuthenticationRequest {
    fn check(&self, faults: &mut Faults) {
        faults
            .must(self.audience != Some(self.subject), "audience", "must be another node")
            .sized("nonce", &self.nonce, NONCE_BYTES)
            .names("scopes", &self.scopes);
    }
}

/// What an answer to a request or challenge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthenticationOutcome {
    /// Here is the signed challenge.
    Answered,
    /// You are recognised.
    Accepted,
    /// You are not.
    Rejected,
}

/// A challenge is answered, or the answer judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthenticationResponse {
    /// The request or challenge this answers.
    pub request: MessageId,
    /// Who wants to be recognised.
    pub subject: NodeId,
    /// What the answer says.
    pub outcome: AuthenticationOutcome,
    /// The challenge, signed by the subject, 64 bytes; needed to answer one.
    #[serde(default)]
    pub signature: Option<Blob>,
    /// Recognised until then; needed when accepted.
    #[serde(default)]
    pub valid_until_ms: Option<WallMs>,
    /// Why not; needed when rejected.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Rules for AuthenticationResponse {
    fn check(&self, faults: &mut Faults) {
        match self.outcome {
            AuthenticationOutcome::Answered => {
                faults.must(self.signature.is_some(), "signature", "an answer carries the signed challenge");
            }
            AuthenticationOutcome::Accepted => {
                faults.must(self.valid_until_ms.is_some(), "valid_until_ms", "must say until when");
            }
            AuthenticationOutcome::Rejected => {
                faults.must(self.reason.is_some(), "reason", "must say why");
            }
        }
        if let Some(signature) = &self.signature {
            faults.sized("signature", signature, SIGNATURE_BYTES);
        }
        if let Some(at) = self.valid_until_ms {
            faults.time("valid_until_ms", at);
        }
        faults.text_if("reason", &self.reason);
    }
}

/// Someone is asked to show that it holds its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthenticationChallenge {
    /// The request that led to it.
    pub request: MessageId,
    /// Who is asked.
    pub subject: NodeId,
    /// Fresh random bytes to sign, 32.
    pub challenge: Blob,
    /// From when.
    pub issued_ms: WallMs,
    /// An answer counts until then.
    pub expires_ms: WallMs,
}

impl Rules for AuthenticationChallenge {
    fn check(&self, faults: &mut Faults) {
        faults.sized("challenge", &self.challenge, NONCE_BYTES).time("issued_ms", self.issued_ms).after(
            "expires_ms",
            self.expires_ms,
            self.issued_ms,
        );
    }
}

/// Someone asks to be allowed something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationRequest {
    /// For whom.
    pub subject: NodeId,
    /// On what: a path or URL.
    pub resource: String,
    /// To do what, by name.
    pub actions: Vec<String>,
    /// Why.
    pub purpose: String,
    /// For how long, seconds.
    pub duration_s: u64,
}

impl Rules for AuthorizationRequest {
    fn check(&self, faults: &mut Faults) {
        faults
            .address("resource", &self.resource)
            .filled("actions", &self.actions)
            .names("actions", &self.actions)
            .text("purpose", &self.purpose)
            .some("duration_s", self.duration_s);
    }
}

/// Someone is allowed something for a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationGrant {
    /// Id of the grant, unique for who gives it.
    pub grant_id: String,
    /// Who is allowed.
    pub subject: NodeId,
    /// Who allows it; not the same.
    pub granted_by: NodeId,
    /// On what: a path or URL.
    pub resource: String,
    /// What, by name.
    pub actions: Vec<String>,
    /// From when.
    pub valid_from_ms: WallMs,
    /// Until when.
    pub valid_until_ms: WallMs,
    /// Under which conditions, by name.
    pub conditions: BTreeMap<String, String>,
}

impl Rules for AuthorizationGrant {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("grant_id", &self.grant_id)
            .must(self.granted_by != self.subject, "granted_by", "nobody grants to themselves")
            .address("resource", &self.resource)
            .filled("actions", &self.actions)
            .names("actions", &self.actions)
            .time("valid_from_ms", self.valid_from_ms)
            .after("valid_until_ms", self.valid_until_ms, self.valid_from_ms)
            .map("conditions", &self.conditions);
    }
}

/// A grant is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationRevoke {
    /// Id of the grant.
    pub grant_id: String,
    /// Who was allowed.
    pub subject: NodeId,
    /// Who takes it back.
    pub revoked_by: NodeId,
    /// Why.
    pub reason: String,
    /// From when.
    pub effective_ms: WallMs,
}

impl Rules for AuthorizationRevoke {
    fn check(&self, faults: &mut Faults) {
        faults.name("grant_id", &self.grant_id).text("reason", &self.reason).time("effective_ms", self.effective_ms);
    }
}

/// Something looks wrong and someone should know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecurityAlert {
    /// Name of the rule that raised it.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// The node it is about, if one is.
    #[serde(default)]
    pub subject: Option<NodeId>,
    /// What was seen.
    pub description: String,
    /// Messages that show it, each once.
    pub evidence: Vec<MessageId>,
    /// When it was seen.
    pub detected_ms: WallMs,
}

impl Rules for SecurityAlert {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("rule", &self.rule)
            .text("description", &self.description)
            .fits("evidence", self.evidence.len(), LIST_ITEMS)
            .distinct("evidence", &self.evidence)
            .time("detected_ms", self.detected_ms);
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentType {
    /// An author signed two bundles for one slot.
    Equivocation,
    /// Someone got in.
    Intrusion,
    /// A key is in wrong hands.
    KeyCompromise,
    /// Someone keeps others from working.
    DenialOfService,
    /// Data went where it should not.
    DataLeak,
    /// Someone did what a policy forbids.
    PolicyBreach,
    /// Something else.
    Other,
}

/// How far the work on an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStatus {
    /// It goes on.
    Open,
    /// It does no more harm.
    Contained,
    /// It is over and understood.
    Resolved,
}

/// Two signed bundle headers of one slot: proof that their author equivocated, good on its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkEvidence {
    /// The header held first, with its signature, 1 to 512 bytes.
    pub first: Blob,
    /// The other, 1 to 512 bytes.
    pub second: Blob,
}

impl Rules for ForkEvidence {
    fn check(&self, faults: &mut Faults) {
        faults.blob("first", &self.first, FORK_HEADER_BYTES).blob("second", &self.second, FORK_HEADER_BYTES).must(
            self.first != self.second,
            "second",
            "must differ from the first header",
        );
    }
}

/// Something went wrong; who is suspected, and what shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecurityIncident {
    /// Id of the incident.
    pub incident_id: String,
    /// What happened.
    pub incident_type: IncidentType,
    /// How bad.
    pub severity: Severity,
    /// How far the work on it is.
    pub status: IncidentStatus,
    /// Suspected nodes, each once.
    pub suspects: Vec<NodeId>,
    /// What is known.
    pub description: String,
    /// When it was noticed.
    pub detected_ms: WallMs,
    /// When it was over; needed when resolved.
    #[serde(default)]
    pub resolved_ms: Option<WallMs>,
    /// Messages that show it, each once.
    pub evidence: Vec<MessageId>,
    /// The two headers; needed for an equivocation.
    #[serde(default)]
    pub fork: Option<ForkEvidence>,
}

impl Rules for SecurityIncident {
    fn check(&self, faults: &mut Faults) {
        let forked = self.incident_type == IncidentType::Equivocation;
        let over = self.status == IncidentStatus::Resolved;
        faults
            .name("incident_id", &self.incident_id)
            .fits("suspects", self.suspects.len(), LIST_ITEMS)
            .distinct("suspects", &self.suspects)
            .text("description", &self.description)
            .time("detected_ms", self.detected_ms)
            .must(!over || self.resolved_ms.is_some(), "resolved_ms", "must say when it was over")
            .fits("evidence", self.evidence.len(), LIST_ITEMS)
            .distinct("evidence", &self.evidence)
            .must(!forked || self.fork.is_some(), "fork", "an equivocation is shown by two headers");
        if let Some(at) = self.resolved_ms {
            faults.after("resolved_ms", at, self.detected_ms);
        }
        if let Some(fork) = &self.fork {
            faults.part("fork", fork);
        }
    }
}

/// One thing an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditFinding {
    /// In short.
    pub title: String,
    /// How bad.
    pub severity: Severity,
    /// Where: a path or URL.
    pub resource: String,
    /// What, and what to do.
    pub detail: String,
}

impl Rules for AuditFinding {
    fn check(&self, faults: &mut Faults) {
        faults.name("title", &self.title).address("resource", &self.resource).text("detail", &self.detail);
    }
}

/// Security was audited, with these findings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecurityAudit {
    /// Id of the audit.
    pub audit_id: String,
    /// Who audited.
    pub auditor: NodeId,
    /// What was looked at.
    pub scope: String,
    /// Checks made.
    pub checks: u32,
    /// Those that failed.
    pub failed: u32,
    /// What was found.
    pub findings: Vec<AuditFinding>,
    /// When it began.
    pub start_ms: WallMs,
    /// When it ended.
    pub end_ms: WallMs,
}

impl Rules for SecurityAudit {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("audit_id", &self.audit_id)
            .text("scope", &self.scope)
            .some("checks", self.checks)
            .must(self.failed <= self.checks, "failed", "must not be more than all checks")
            .parts("findings", &self.findings)
            .time("start_ms", self.start_ms)
            .after("end_ms", self.end_ms, self.start_ms);
    }
}
