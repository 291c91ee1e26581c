//! 256-bit BLAKE3 digests and the labels that keep their uses apart.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A BLAKE3 digest, 32 bytes. Text form: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

/// What a digest is *of*. Two domains never give the same digest for the same bytes
/// (BLAKE3 key derivation mode, section 2.3 of the BLAKE3 paper).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The identity of a network, from its name.
    Network,
    /// The identity of a bundle, from its signed header.
    Bundle,
    /// The statement under an ed25519 signature.
    Seal,
    /// A digest over the heads of all feeds a node holds.
    Heads,
    /// An idempotency key given by a client.
    Idempotency,
    /// The trace of a simulated run.
    Trace,
    /// The id of a key to seal messages for a node, from the node and the key.
    SealingKey,
    /// The ephemeral randomness of one sealed message, from bytes drawn for it.
    SealingRandom,
    /// The key under which a node's sealing keys are kept, from its seed.
    SealingRing,
    /// The version that a write to replicated state makes.
    Write,
    /// A retained write, as a collection's root counts it.
    Member,
    /// The roots of all collections.
    State,
    /// A range of what is retained, from its count and sum.
    StateRange,
    /// A range of what is retained, from its members and a salt.
    StateAudit,
    /// One retained write, in a list that is compared: from what the root counts it as and a salt.
    StateTag,
    /// The identity of a chain, from its genesis.
    Chain,
    /// The identity of a block, from its header.
    Block,
    /// The identity of a transaction, without its signature.
    Transaction,
    /// A set of validators.
    Validators,
    /// Checksums in the log of agreement.
    AgreementLog,
    /// Where a row of the ledger's state stands in its tree.
    StateKey,
    /// The value of a row of the ledger's state.
    StateValue,
    /// What a miner looks for.
    Work,
    /// What is not position, ends or weight of a node or an edge of a shared graph.
    GraphRest,
    /// What the manifest of a checkpoint says.
    Checkpoint,
    /// What validators endorse of replicated state.
    Endorsement,
    /// The writes that count below a floor of replicated state, in their order.
    Roll,
}

/// The key that each context string comes to, found once: it costs as much as hashing a short value.
static KEYS: [OnceLock<ContextKey>; DOMAINS] = [const { OnceLock::new() }; DOMAINS];

const DOMAINS: usize = Domain::Roll as usize + 1;

impl Domain {
    /// The context string of BLAKE3's key derivation, fixed for ever.
    pub const fn context(self) -> &'static str {
        match self {
            Domain::Network => "metanode v1 network",
            Domain::Bundle => "metanode v1 bundle",
            Domain::Seal => "metanode v1 seal",
            Domain::Heads => "metanode v1 heads",
            Domain::Idempotency => "metanode v1 idempotency",
            Domain::Trace => "metanode v1 trace",
            Domain::SealingKey => "metanode v1 sealing key",
            Domain::SealingRandom => "metanode v1 sealing random",
            Domain::SealingRing => "metanode v1 sealing ring",
            Domain::Write => "metanode v1 write",
            Domain::Member => "metanode v1 member",
            Domain::State => "metanode v1 state",
            Domain::StateRange => "metanode v1 state-range",
            Domain::StateAudit => "metanode v1 state-audit",
            Domain::StateTag => "metanode v1 state-tag",
            Domain::Chain => "metanode v1 chain",
            Domain::Block => "metanode v1 block",
            Domain::Transaction => "metanode v1 transaction",
            Domain::Validators => "metanode v1 validators",
            Domain::AgreementLog => "metanode v1 agreement log",
            Domain::StateKey => "metanode v1 state key",
            Domain::StateValue => "metanode v1 state value",
            Domain::Work => "metanode v1 work",
            Domain::GraphRest => "metanode v1 graph-rest",
            Domain::Checkpoint => "metanode v1 checkpoint",
            Domain::Endorsement => "metanode v1 endorsement",
            Domain::Roll => "metanode v1 roll",
        }
    }

    /// A hasher for values too large, or too scattered, to hand over at once.
    pub fn hasher(self) -> blake3::Hasher {
        let derive = || hash_derive_key_context(self.context());
        let key = KEYS.get(self as usize).map_or_else(derive, |known| *known.get_or_init(derive));
        blake3::Hasher::new_from_context_key(&key)
    }

    /// The digest of `parts`, one after the other.
    pub fn hash(self, parts: &[&[u8]]) -> Hash {
        let mut hasher = self.hasher();
        for part in parts {
            hasher.update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }
}

impl Hash {
    /// All zeros: "no hash", as in the first bundle of a feed.
    pub const ZERO: Hash = Hash([0; 32]);

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", hex::encode(&self.0[..6]))
    }
}

impl FromStr for Hash {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Hash(bytes))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(|e| de::Error::custom(format!("a hash is 64 hexadecimal digits: {e}")))
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Hash)
        }
    }
}

impl schemars::JsonSchema for Hash {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hash".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "BLAKE3 digest, hexadecimal"})
    }
}
