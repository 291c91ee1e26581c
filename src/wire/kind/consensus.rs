//! Consensus: proposals, votes, blocks, replicated state and its proofs.
//!
//! Pure. Heights count blocks from 1, rounds the attempts at one height from 0. Power is voting weight; a value is
//! agreed on when more than two thirds of all power is for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{BLOB_BYTES, Checks, LIST_ITEMS, Rules, SIGNATURE_BYTES};
use super::value::Blob;
use crate::types::{Hash, MessageId, NodeId, WallMs};
use crate::wire::fault::Faults;

/// Hashes in one Merkle path: one for each bit of a key at most.
pub const PROOF_HASHES: usize = 256;
/// A key of the state, bytes.
pub const STATE_KEY_BYTES: usize = 256;

/// Whether `power` is more than two thirds of `total`.
fn is_quorum(power: u64, total: u64) -> bool {
    u128::from(power) * 3 > u128::from(total) * 2
}

/// What a validator thinks of what it checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It can be agreed on.
    Valid,
    /// It breaks a rule.
    Invalid,
}

/// What a vote is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VoteStep {
    /// The value is good.
    Prevote,
    /// Enough others think so too.
    Precommit,
}

/// A proposer puts a value to the vote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalSubmission {
    /// Height, from 1.
    pub height: u64,
    /// Round, from 0.
    pub round: u32,
    /// Hash of the value.
    pub value: Hash,
    /// Hash of the value agreed on before.
    pub parent: Hash,
    /// Who proposes.
    pub proposer: NodeId,
    /// The earlier round in which the value was found valid by enough.
    #[serde(default)]
    pub valid_round: Option<u32>,
    /// Size of the value, bytes.
    pub size_bytes: u64,
}

impl Rules for ProposalSubmission {
    fn check(&self, faults: &mut Faults) {
        faults
            .some("height", self.height)
            .hash("value", &self.value)
            .must(self.value != self.parent, "parent", "must differ from the value")
            .must(self.valid_round.is_none_or(|valid| valid < self.round), "valid_round", "must be an earlier round")
            .some("size_bytes", self.size_bytes);
    }
}

/// A validator has checked a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalValidation {
    /// Height, from 1.
    pub height: u64,
    /// Round, from 0.
    pub round: u32,
    /// Hash of the proposed value.
    pub value: Hash,
    /// Who checked.
    pub validator: NodeId,
    /// What it found.
    pub verdict: Verdict,
    /// The rule that is broken; needed when invalid.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Rules for ProposalValidation {
    fn check(&self, faults: &mut Faults) {
        faults
            .some("height", self.height)
            .hash("value", &self.value)
            .must(self.verdict == Verdict::Valid || self.reason.is_some(), "reason", "must say which rule is broken")
            .text_if("reason", &self.reason);
    }
}

/// A validator votes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VoteSubmission {
    /// Height, from 1.
    pub height: u64,
    /// Round, from 0.
    pub round: u32,
    /// What the vote is for.
    pub step: VoteStep,
    /// Hash of the value voted for; none is a vote for no value in this round.
    #[serde(default)]
    pub value: Option<Hash>,
    /// Who votes.
    pub validator: NodeId,
    /// Its voting power.
    pub power: u64,
}

impl Rules for VoteSubmission {
    fn check(&self, faults: &mut Faults) {
        faults.some("height", self.height).some("power", self.power);
        if let Some(value) = &self.value {
            faults.hash("value", value);
        }
    }
}

/// Votes for one value, counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VoteAggregation {
    /// Height, from 1.
    pub height: u64,
    /// Round, from 0.
    pub round: u32,
    /// What the votes are for.
    pub step: VoteStep,
    /// Hash of the value; none counts the votes for no value.
    #[serde(default)]
    pub value: Option<Hash>,
    /// Who voted so, each once.
    pub voters: Vec<NodeId>,
    /// Their voting power.
    pub power: u64,
    /// The power of all validators.
    pub total_power: u64,
}

impl Rules for VoteAggregation {
    fn check(&self, faults: &mut Faults) {
        faults
            .some("height", self.height)
            .filled("voters", &self.voters)
            .fits("voters", self.voters.len(), LIST_ITEMS)
            .distinct("voters", &self.voters)
            .some("power", self.power)
            .must(self.power <= self.total_power, "power", "must not be more than the total power");
    }
}

/// One validator's signature under a commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitSignature {
    /// Who signed.
    pub validator: NodeId,
    /// ed25519, 64 bytes.
    pub signature: Blob,
}

impl Rules for CommitSignature {
    fn check(&self, faults: &mut Faults) {
        faults.sized("signature", &self.signature, SIGNATURE_BYTES);
    }
}

/// A value is agreed on, with the signatures that prove it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsensusCommit {
    /// Height, from 1.
    pub height: u64,
    /// The round in which it was agreed on.
    pub round: u32,
    /// Hash of the value.
    pub value: Hash,
    /// Precommits for it, each validator once.
    pub signatures: Vec<CommitSignature>,
    /// The power of those who signed.
    pub power: u64,
    /// The power of all validators.
    pub total_power: u64,
}

impl Rules for ConsensusCommit {
    fn check(&self, faults: &mut Faults) {
        let signers: Vec<_> = self.signatures.iter().map(|one| one.validator).collect();
        faults
            .some("height", self.height)
            .hash("value", &self.value)
            .filled("signatures", &self.signatures)
            .distinct("signatures", &signers)
            .parts("signatures", &self.signatures)
            .must(self.power <= self.total_power, "power", "must not be more than the total power")
            .must(is_quorum(self.power, self.total_power), "power", "must be more than two thirds of the total");
    }
}

/// What a block's hash is taken over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockHeader {
    /// Name of the chain.
    pub chain: String,
    /// Height, from 1.
    pub height: u64,
    /// The round in which it is proposed.
    pub round: u32,
    /// When it was made, by its proposer.
    pub time_ms: WallMs,
    /// Hash of the block before; all zeros at height 1.
    pub parent: Hash,
    /// Merkle root of its transactions.
    pub transactions_root: Hash,
    /// Root of the state after it.
    pub state_root: Hash,
    /// Merkle root of the receipts.
    pub receipts_root: Hash,
    /// Hash of the validators that decide it.
    pub validators: Hash,
    /// Hash of the validators that decide the next one.
    pub next_validators: Hash,
    /// Merkle root of the evidence in it.
    pub evidence_root: Hash,
    /// Who made it.
    pub proposer: NodeId,
}

impl Rules for BlockHeader {
    fn check(&self, faults: &mut Faults) {
        faults
            .name("chain", &self.chain)
            .some("height", self.height)
            .time("time_ms", self.time_ms)
            .must(self.height == 1 || self.parent != Hash::ZERO, "parent", "only the first block has none")
            .hash("state_root", &self.state_root)
            .hash("validators", &self.validators)
            .hash("next_validators", &self.next_validators);
    }
}

/// A proposer offers a block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockProposal {
    /// The block's header.
    pub header: Box<BlockHeader>,
    /// Its transactions, in order, each once.
    pub transactions: Vec<MessageId>,
    /// Size of its body, bytes.
    pub size_bytes: u64,
}

impl Rules for BlockProposal {
    fn check(&self, faults: &mut Faults) {
        faults
            .part("header", &*self.header)
            .fits("transactions", self.transactions.len(), LIST_ITEMS)
            .distinct("transactions", &self.transactions)
            .must(self.transactions.is_empty() || self.size_bytes > 0, "size_bytes", "transactions take room");
    }
}

/// A validator has executed a block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockValidation {
    /// Height, from 1.
    pub height: u64,
    /// Hash of the block.
    pub block: Hash,
    /// Who executed it.
    pub validator: NodeId,
    /// What it found.
    pub verdict: Verdict,
    /// Root of the state after the block, as it found it; needed when valid.
    #[serde(default)]
    pub state_root: Option<Hash>,
    /// The rule that is broken; needed when invalid.
    #[serde(default)]
    pub reason: Option<String>,
    /// Time it took, milliseconds.
    pub took_ms: f64,
}

impl Rules for BlockValidation {
    fn check(&self, faults: &mut Faults) {
        let valid = self.verdict == Verdict::Valid;
        faults
            .some("height", self.height)
            .hash("block", &self.block)
            .must(!valid || self.state_root.is_some(), "state_root", "a valid block leads to a state")
            .must(valid || self.reason.is_some(), "reason", "must say which rule is broken")
            .text_if("reason", &self.reason)
            .not_negative("took_ms", self.took_ms);
    }
}

/// A block is decided and applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockCommit {
    /// Height, from 1.
    pub height: u64,
    /// The round in which it was decided.
    pub round: u32,
    /// Hash of the block.
    pub block: Hash,
    /// Root of the state after it.
    pub state_root: Hash,
    /// Transactions in it.
    pub transactions: u32,
    /// Those of them that failed.
    pub failed: u32,
    /// When it was applied.
    pub committed_ms: WallMs,
}

impl Rules for BlockCommit {
    fn check(&self, faults: &mut Faults) {
        faults
            .some("height", self.height)
            .hash("block", &self.block)
            .hash("state_root", &self.state_root)
            .must(self.failed <= self.transactions, "failed", "must not be more than all transactions")
            .time("committed_ms", self.committed_ms);
    }
}

/// A block can never be taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockFinalization {
    /// Height, from 1.
    pub height: u64,
    /// Hash of the block.
    pub block: Hash,
    /// Root of the state after it.
    pub state_root: Hash,
    /// Who signed its commit, each once.
    pub signers: Vec<NodeId>,
    /// Their voting power.
    pub power: u64,
    /// The power of all validators.
    pub total_power: u64,
    /// When it became final.
    pub finalized_ms: WallMs,
}

impl Rules for BlockFinalization {
    fn check(&self, faults: &mut Faults) {
        faults
            .some("height", self.height)
            .hash("block", &self.block)
            .hash("state_root", &self.state_root)
            .filled("signers", &self.signers)
            .fits("signers", self.signers.len(), LIST_ITEMS)
            .distinct("signers", &self.signers)
            .must(self.power <= self.total_power, "power", "must not be more than the total power")
            .must(is_quorum(self.power, self.total_power), "power", "must be more than two thirds of the total")
            .time("finalized_ms", self.finalized_ms);
    }
}

/// One change of the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateWrite {
    /// The key, 1 to 256 bytes.
    pub key: Blob,
    /// The new value; none removes the key.
    #[serde(default)]
    pub value: Option<Blob>,
}

impl Rules for StateWrite {
    fn check(&self, faults: &mut Faults) {
        let size = self.value.as_ref().map_or(0, |value| value.0.len());
        faults.blob("key", &self.key, STATE_KEY_BYTES).fits("value", size, BLOB_BYTES);
    }
}

/// The state has gone from one root to another by these writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateUpdate {
    /// Height at which it happened, from 1.
    pub height: u64,
    /// Root before.
    pub root_before: Hash,
    /// Root after.
    pub root_after: Hash,
    /// The writes, each key once.
    pub writes: Vec<StateWrite>,
}

impl Rules for StateUpdate {
    fn check(&self, faults: &mut Faults) {
        let keys: Vec<_> = self.writes.iter().map(|write| &write.key).collect();
        faults
            .some("height", self.height)
            .must(self.root_after != self.root_before, "root_after", "must differ from the root before")
            .filled("writes", &self.writes)
            .distinct("writes", &keys)
            .parts("writes", &self.writes);
    }
}

/// What is asked for to catch up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// Headers and certificates.
    Headers,
    /// Whole blocks.
    Blocks,
    /// A snapshot, then blocks.
    Snapshot,
}

/// A node catches up with the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateSync {
    /// What it asks for.
    pub mode: SyncMode,
    /// First height it lacks, from 1.
    pub from_height: u64,
    /// Last height it asks for, included.
    pub to_height: u64,
    /// Root of the state it has.
    pub have_root: Hash,
    /// The snapshot to take; needed in that mode.
    #[serde(default)]
    pub snapshot: Option<Hash>,
}

impl Rules for StateSync {
    fn check(&self, faults: &mut Faults) {
        let whole = self.mode == SyncMode::Snapshot;
        faults
            .some("from_height", self.from_height)
            .must(self.to_height >= self.from_height, "to_height", "must not be before the first height")
            .must(!whole || self.snapshot.is_some(), "snapshot", "must name the snapshot to take");
    }
}

/// A key has this value in the state with this root, or is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateMerkleProof {
    /// Height of the state, from 1.
    pub height: u64,
    /// Its root.
    pub state_root: Hash,
    /// The key, 1 to 256 bytes.
    pub key: Blob,
    /// The value; none proves that the key is absent.
    #[serde(default)]
    pub value: Option<Blob>,
    /// Neighbours on the way from the leaf to the root, at most 256.
    pub path: Vec<Hash>,
}

impl Rules for StateMerkleProof {
    fn check(&self, faults: &mut Faults) {
        let size = self.value.as_ref().map_or(0, |value| value.0.len());
        faults
            .some("height", self.height)
            .hash("state_root", &self.state_root)
            .blob("key", &self.key, STATE_KEY_BYTES)
            .fits("value", size, BLOB_BYTES)
            .fits("path", self.path.len(), PROOF_HASHES);
    }
}
