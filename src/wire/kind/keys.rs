//! Security: keys and their exchange, certificates, proofs.
//!
//! Pure. Nothing here verifies a signature or a proof.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{BLOB_BYTES, Checks, KEY_BYTES, Rules, SIGNATURE_BYTES};
use super::value::Blob;
use crate::types::{Hash, NodeId, WallMs};
use crate::wire::fault::Faults;

/// Public inputs of one proof.
pub const PUBLIC_INPUTS: usize = 64;
/// One public input of a proof, bytes.
pub const PUBLIC_INPUT_BYTES: usize = 1024;

/// How two parties come to a common key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyAlgorithm {
    /// Diffie-Hellman on Curve25519 (RFC 7748).
    X25519,
    /// Signing keys, for rotation (RFC 8032).
    Ed25519,
}

/// Which part of an exchange this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyStep {
    /// The first word.
    Offer,
    /// The answer.
    Answer,
    /// A new key for a channel, or an identity, that has one.
    Rotate,
}

/// A public key is given to someone, for a channel or as a successor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyExchange {
    /// Id of the channel, chosen by who offers.
    pub channel_id: String,
    /// What the key is good for.
    pub algorithm: KeyAlgorithm,
    /// Which part this is.
    pub step: KeyStep,
    /// For whom.
    pub peer: NodeId,
    /// The key, 32 bytes.
    pub public_key: Blob,
    /// Good until then.
    pub expires_ms: WallMs,
}

impl Rules for KeyExchange {
    fn check(&self, faults: &mut Faults) {
        let fresh = self.public_key.0.iter().any(|byte| *byte != 0);
        let signs = self.algorithm == KeyAlgorithm::Ed25519;
        faults
            .name("channel_id", &self.channel_id)
            .must(!signs || self.step == KeyStep::Rotate, "step", "signing keys are rotated, not agreed on")
            .sized("public_key", &self.public_key, KEY_BYTES)
            .must(fresh, "public_key", "all zeros is no key")
            .time("expires_ms", self.expires_ms);
    }
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateUsage {
    /// To be a server.
    Server,
    /// To be a client.
    Client,
    /// To sign documents.
    Signing,
    /// To issue certificates.
    Issuing,
}

/// Someone asks for a certificate of its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateRequest {
    /// Whose key.
    pub subject: NodeId,
    /// The key, 32 bytes.
    pub public_key: Blob,
    /// Names it is to hold for, at least one.
    pub names: Vec<String>,
    /// What it is for, at least one, each once.
    pub usages: Vec<CertificateUsage>,
    /// Good from.
    pub valid_from_ms: WallMs,
    /// Good until.
    pub valid_until_ms: WallMs,
    /// The other fields, signed with the key, 64 bytes.
    pub proof_of_possession: Blob,
}

impl Rules for CertificateRequest {
    fn check(&self, faults: &mut Faults) {
        faults
            .sized("public_key", &self.public_key, KEY_BYTES)
            .filled("names", &self.names)
            .names("names", &self.names)
            .filled("usages", &self.usages)
            .distinct("usages", &self.usages)
            .time("valid_from_ms", self.valid_from_ms)
            .after("valid_until_ms", self.valid_until_ms, self.valid_from_ms)
            .sized("proof_of_possession", &self.proof_of_possession, SIGNATURE_BYTES);
    }
}

/// Why a certificate counts no more (RFC 5280, section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// The key is in wrong hands.
    KeyCompromise,
    /// The issuer's key is.
    IssuerCompromise,
    /// What it says is no longer so.
    AffiliationChanged,
    /// There is a newer one.
    Superseded,
    /// It is not needed any more.
    CessationOfOperation,
}

/// A certificate counts no more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateRevocation {
    /// Serial number of the certificate.
    pub serial: String,
    /// Who issued it.
    pub issuer: NodeId,
    /// Whose it is.
    pub subject: NodeId,
    /// Why.
    pub reason: RevocationReason,
    /// Serial number of the newer one; needed when superseded.
    #[serde(default)]
    pub successor: Option<String>,
    /// From when.
    pub revoked_ms: WallMs,
}

impl Rules for CertificateRevocation {
    fn check(&self, faults: &mut Faults) {
        let superseded = self.reason == RevocationReason::Superseded;
        faults
            .name("serial", &self.serial)
            .must(!superseded || self.successor.is_some(), "successor", "must name the newer certificate")
            .must(self.successor.as_ref() != Some(&self.serial), "successor", "must be another certificate")
            .name_if("successor", &self.successor)
            .time("revoked_ms", self.revoked_ms);
    }
}

/// How something is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofSystem {
    /// A path in a Merkle tree.
    Merkle,
    /// A Schnorr proof of knowledge.
    Schnorr,
    /// Bulletproofs.
    Bulletproofs,
    /// Groth16.
    Groth16,
    /// PLONK.
    Plonk,
    /// STARK.
    Stark,
}

fn check_inputs(inputs: &[Blob], faults: &mut Faults) {
    faults.fits("public_inputs", inputs.len(), PUBLIC_INPUTS);
    for input in inputs.iter().take(PUBLIC_INPUTS) {
        faults.blob("public_inputs", input, PUBLIC_INPUT_BYTES);
    }
}

/// A proof is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProofGeneration {
    /// Id of the proof, unique for who asks.
    pub proof_id: String,
    /// How it is to be proved.
    pub system: ProofSystem,
    /// Who is to prove it; none means anyone who can.
    #[serde(default)]
    pub prover: Option<NodeId>,
    /// Hash of what is to be proved.
    pub statement: Hash,
    /// What everyone may know of it.
    pub public_inputs: Vec<Blob>,
    /// Needed by then.
    pub deadline_ms: WallMs,
}

impl Rules for ProofGeneration {
    fn check(&self, faults: &mut Faults) {
        faults.name("proof_id", &self.proof_id).hash("statement", &self.statement);
        faults.time("deadline_ms", self.deadline_ms);
        check_inputs(&self.public_inputs, faults);
    }
}

/// A proof was checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProofVerification {
    /// Id of the proof.
    pub proof_id: String,
    /// How it is proved.
    pub system: ProofSystem,
    /// Hash of what it should prove.
    pub statement: Hash,
    /// Who checked.
    pub verifier: NodeId,
    /// Whether it holds.
    pub holds: bool,
    /// Why not; needed when it does not hold.
    #[serde(default)]
    pub reason: Option<String>,
    /// Time it took, milliseconds.
    pub took_ms: f64,
}

impl Rules for ProofVerification {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("proof_id", &self.proof_id)
            .hash("statement", &self.statement)
            .must(self.holds || self.reason.is_some(), "reason", "must say why it does not hold")
            .text_if("reason", &self.reason)
            .not_negative("took_ms", self.took_ms);
    }
}

/// A proof, for others to check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProofSubmission {
    /// Id of the proof.
    pub proof_id: String,
    /// How it is proved.
    pub system: ProofSystem,
    /// Who proves.
    pub prover: NodeId,
    /// Hash of what is proved.
    pub statement: Hash,
    /// What everyone may know of it.
    pub public_inputs: Vec<Blob>,
    /// The proof itself, 1 byte to 64 KiB.
    pub proof: Blob,
}

impl Rules for ProofSubmission {
    fn check(&self, faults: &mut Faults) {
        faults.name("proof_id", &self.proof_id).hash("statement", &self.statement);
        faults.blob("proof", &self.proof, BLOB_BYTES);
        check_inputs(&self.public_inputs, faults);
    }
}
