//! The kinds of messages: eight categories, eighty-seven types, one payload struct each.
//!
//! The table below is the only list; tags, names, codecs and schemas are made from it. To add a type, write its payload
//! struct with [`Rules`], a row here and a golden vector; the compiler points to the rest.
//!
//! ```text
//!  JSON ──from_json──▶ Payload (rules hold) ──encode──▶ bincode ──decode──▶ Payload ──check──▶ Faults
//! ```
//!
//! Pure. Invariants: a tag never changes its meaning; one payload has one encoding; whatever JSON or bytes come in, the
//! answer is a payload or every fault found, never a panic.

mod canonical;
mod capacity;
mod compliance;
pub mod consensus;
pub mod data;
pub mod economic;
mod explain;
pub mod external;
mod fill;
pub mod governance;
mod graph;
mod keys;
pub mod monitoring;
mod name;
mod rules;
pub mod schemas;
pub mod security;
pub mod state;
pub mod system;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::de::DeserializeSeed;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::fault::{FaultCode, Faults};
use crate::types::limits;

pub use explain::schema_faults;
pub use name::UnknownName;
pub use rules::{
    ADDRESS_BYTES, BLOB_BYTES, BODY_BYTES, KEY_BYTES, LIST_ITEMS, MAP_ENTRIES, NAME_BYTES, Rules, SIGNATURE_BYTES,
    TEXT_BYTES, VALUE_BYTES,
};
pub use value::{Amount, Blob, Json};

/// The binary form of payloads: bincode 2 standard, bounded by the largest message.
const BINARY: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<{ limits::MESSAGE_BYTES }>,
> = bincode::config::standard().with_limit::<{ limits::MESSAGE_BYTES }>();

macro_rules! ephemeral {
    () => {
        false
    };
    (ephemeral) => {
        true
    };
}

macro_rules! kinds {
    ($(
        $(#[$about:meta])*
        $category:ident = $high:literal, $slug:literal {
            $($kind:ident = $low:literal: $body:path $(, $flag:ident)?;)*
        }
    )*) => {
        name::named! {
            /// What a message is about; also its topic. Tags are stable, from 1.
            #[repr(u8)]
            pub enum Category, "category", "use one of the eight that `metanode kinds` lists" {
                $($(#[$about])* $category = $high,)*
            }
        }

        impl Category {
            /// The category with this tag.
            pub const fn from_tag(tag: u8) -> Option<Category> {
                match tag {
                    $($high => Some(Category::$category),)*
                    _ => None,
                }
            }

            /// The name in topics and paths, lower case: `system`.
            pub const fn slug(self) -> &'static str {
                match self {
                    $(Category::$category => $slug,)*
                }
            }
        }

        /// The type of a message, category included. Its number is its tag.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Kind {
            $($(
                #[doc = concat!("See [`", stringify!($body), "`].")]
                $kind = ($high << 8) | $low,
            )*)*
        }

        impl Kind {
            /// Every kind, by tag.
            pub const ALL: &'static [Kind] = &[$($(Kind::$kind,)*)*];

            /// The kind with this tag.
            pub const fn from_tag(tag: u16) -> Option<Kind> {
                match tag.to_be_bytes() {
                    $($([$high, $low] => Some(Kind::$kind),)*)*
                    _ => None,
                }
            }

            /// The category it belongs to.
            pub const fn category(self) -> Category {
                match self {
                    $($(Kind::$kind)|* => Category::$category,)*
                }
            }

            /// The name of the type, without its category: `ExchangeData`. No two kinds share one.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Kind::$kind => stringify!($kind),)*)*
                }
            }

            /// Whether messages of this kind skip chain and disk: worth something now or never.
            pub const fn is_ephemeral(self) -> bool {
                match self {
                    $($(Kind::$kind => ephemeral!($($flag)?),)*)*
                }
            }

            /// The JSON Schema (2020-12) of its payload.
            pub fn schema(self) -> Value {
                match self {
                    $($(Kind::$kind => schemars::schema_for!($body).to_value(),)*)*
                }
            }

            /// What it says, in one line.
            pub fn description(self) -> &'static str {
                match self {
                    $($(Kind::$kind => {
                        static LINE: LazyLock<String> = LazyLock::new(|| explain::first_line(&Kind::$kind.schema()));
                        &LINE
                    })*)*
                }
            }

            /// The compiled schema; none only if it is no schema, which the tests rule out.
            fn validator(self) -> Option<&'static jsonschema::Validator> {
                match self {
                    $($(Kind::$kind => {
                        static COMPILED: LazyLock<Option<jsonschema::Validator>> =
                            LazyLock::new(|| explain::compile(&Kind::$kind.schema()));
                        COMPILED.as_ref()
                    })*)*
                }
            }
        }

        /// What a message says. Serialises as the payload alone: the kind travels beside it.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Payload {
            $($(
                #[doc = concat!("See [`", stringify!($body), "`].")]
                $kind($body),
            )*)*
        }

        impl Payload {
            /// Its kind.
            pub const fn kind(&self) -> Kind {
                match self {
                    $($(Payload::$kind(_) => Kind::$kind,)*)*
                }
            }

            /// Notes every rule of the kind that the payload breaks.
            pub fn check(&self, faults: &mut Faults) {
                match self {
                    $($(Payload::$kind(body) => body.check(faults),)*)*
                }
            }

            /// Reads the payload of `kind` from any serde format; rules are not checked.
            fn read<'de, D: Deserializer<'de>>(kind: Kind, from: D) -> Result<Payload, D::Error> {
                match kind {
                    $($(Kind::$kind => <$body>::deserialize(from).map(Payload::$kind),)*)*
                }
            }
        }

        impl Serialize for Payload {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                match self {
                    $($(Payload::$kind(body) => body.serialize(to),)*)*
                }
            }
        }
    };
}

kinds! {
    /// Nodes and services: who is there, how they are, what they can do.
    System = 1, "system" {
        Heartbeat = 1: system::Heartbeat, ephemeral;
        StatusUpdate = 2: system::StatusUpdate;
        ConfigurationUpdate = 3: system::ConfigurationUpdate;
        ServiceDiscovery = 4: system::ServiceDiscovery;
        HealthCheck = 5: system::HealthCheck;
        NodeRegistration = 6: system::NodeRegistration;
        NodeDeregistration = 7: system::NodeDeregistration;
        NodeMigration = 8: system::NodeMigration;
        ResourceAllocation = 9: system::ResourceAllocation;
        LoadBalancing = 10: system::LoadBalancing;
        CapacityUpdate = 11: system::CapacityUpdate;
        LinkReport = 12: system::LinkReport, ephemeral;
    }
    /// Agreement: proposals, votes, blocks, state and its proofs.
    Consensus = 2, "consensus" {
        ProposalSubmission = 1: consensus::ProposalSubmission;
        ProposalValidation = 2: consensus::ProposalValidation;
        VoteSubmission = 3: consensus::VoteSubmission;
        VoteAggregation = 4: consensus::VoteAggregation;
        ConsensusCommit = 5: consensus::ConsensusCommit;
        BlockProposal = 6: consensus::BlockProposal;
        BlockValidation = 7: consensus::BlockValidation;
        BlockCommit = 8: consensus::BlockCommit;
        BlockFinalization = 9: consensus::BlockFinalization;
        StateUpdate = 10: consensus::StateUpdate;
        StateSync = 11: consensus::StateSync;
        StateMerkleProof = 12: consensus::StateMerkleProof;
    }
    /// Value: tokens, rewards, fees, rent, bills.
    Economic = 3, "economic" {
        TokenTransfer = 1: economic::TokenTransfer;
        TokenMinting = 2: economic::TokenMinting;
        TokenBurning = 3: economic::TokenBurning;
        TokenStaking = 4: economic::TokenStaking;
        MiningReward = 5: economic::MiningReward;
        StakingReward = 6: economic::StakingReward;
        ValidatorReward = 7: economic::ValidatorReward;
        EconomicMetrics = 8: economic::EconomicMetrics;
        TreasuryUpdate = 9: economic::TreasuryUpdate;
        FeeAdjustment = 10: economic::FeeAdjustment;
        RentPayment = 11: economic::RentPayment;
        GasFeePayment = 12: economic::GasFeePayment;
        ServiceBilling = 13: economic::ServiceBilling;
        SignedTransactions = 14: economic::SignedTransactions;
    }
    /// Trust: authentication, authority, incidents, keys, proofs.
    Security = 4, "security" {
        AuthenticationRequest = 1: security::AuthenticationRequest;
        AuthenticationResponse = 2: security::AuthenticationResponse;
        AuthenticationChallenge = 3: security::AuthenticationChallenge;
        AuthorizationRequest = 4: security::AuthorizationRequest;
        AuthorizationGrant = 5: security::AuthorizationGrant;
        AuthorizationRevoke = 6: security::AuthorizationRevoke;
        SecurityAlert = 7: security::SecurityAlert;
        SecurityIncident = 8: security::SecurityIncident;
        SecurityAudit = 9: security::SecurityAudit;
        KeyExchange = 10: security::KeyExchange;
        CertificateRequest = 11: security::CertificateRequest;
        CertificateRevocation = 12: security::CertificateRevocation;
        ProofGeneration = 13: security::ProofGeneration;
        ProofVerification = 14: security::ProofVerification;
        ProofSubmission = 15: security::ProofSubmission;
    }
    /// Shared and regulated data: graph, settings, agents, chains, markets, mines.
    Data = 5, "data" {
        DataSync = 1: data::DataSync;
        BlockchainUpdate = 2: data::BlockchainUpdate;
        LayerCoordination = 3: data::LayerCoordination;
        GraphUpdate = 4: data::GraphUpdate, ephemeral;
        SettingsDelta = 5: data::SettingsDelta;
        AgentMessage = 6: data::AgentMessage;
        Transaction = 7: data::Transaction;
        ExchangeData = 8: data::ExchangeData;
        MiningMetrics = 9: data::MiningMetrics;
        CollectionWrite = 10: state::CollectionWrite;
    }
    /// Policy: proposals, votes, compliance, agreements, schemas.
    Governance = 6, "governance" {
        PolicyProposal = 1: governance::PolicyProposal;
        PolicyUpdate = 2: governance::PolicyUpdate;
        PolicyDistribution = 3: governance::PolicyDistribution;
        PolicyEnforcement = 4: governance::PolicyEnforcement;
        GovernanceProposal = 5: governance::GovernanceProposal;
        VotingSubmission = 6: governance::VotingSubmission;
        VotingResults = 7: governance::VotingResults;
        ComplianceReport = 8: governance::ComplianceReport;
        ComplianceAudit = 9: governance::ComplianceAudit;
        ComplianceViolation = 10: governance::ComplianceViolation;
        BisoAgreementCreation = 11: governance::BisoAgreementCreation;
        BisoAgreementUpdate = 12: governance::BisoAgreementUpdate;
        BisoAgreementEnforcement = 13: governance::BisoAgreementEnforcement;
        SchemaRegistration = 14: schemas::SchemaRegistration;
    }
    /// Observation: metrics, logs, traces, how services live, run and talk.
    Monitoring = 7, "monitoring" {
        Metrics = 1: monitoring::Metrics, ephemeral;
        LogRecord = 2: monitoring::LogRecord;
        TraceSpan = 3: monitoring::TraceSpan;
        ServiceLifecycle = 4: monitoring::ServiceLifecycle;
        ExecutionIntelligence = 5: monitoring::ExecutionIntelligence;
        CommunicationIntelligence = 6: monitoring::CommunicationIntelligence;
        ToolRegistration = 7: monitoring::ToolRegistration;
    }
    /// The world outside: types of applications, interventions, notices to people.
    External = 8, "external" {
        Custom = 1: external::Custom;
        Intervention = 2: external::Intervention;
        Notification = 3: external::Notification;
    }
}

impl Category {
    /// The tag: the high byte of a kind's tag, and the number of the topic.
    pub const fn tag(self) -> u8 {
        self as u8
    }
}

impl Kind {
    /// The tag: the category's in the high byte, the type's in the low.
    pub const fn tag(self) -> u16 {
        self as u16
    }

    /// The version of its payload's schema, from 1. It grows when the binary form changes.
    pub const fn schema_version(self) -> u16 {
        1
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.category(), self.name())
    }
}

/// Takes `Data/ExchangeData` and `ExchangeData`, in any case.
impl FromStr for Kind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Kind, UnknownName> {
        let full = |kind: &Kind| text.contains('/') && kind.to_string().eq_ignore_ascii_case(text);
        let known = Kind::ALL.iter().find(|kind| kind.name().eq_ignore_ascii_case(text) || full(kind));
        known.copied().ok_or_else(|| {
            let full = Kind::ALL.iter().map(Kind::to_string);
            let names = Kind::ALL.iter().map(|kind| kind.name().to_string());
            let candidates: Vec<String> = if text.contains('/') { full.collect() } else { names.collect() };
            UnknownName::new(
                "kind of message",
                text,
                candidates.iter().map(String::as_str),
                "`metanode kinds` lists them",
            )
        })
    }
}

/// In text as it is displayed, in binary its tag.
impl serde::Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { to.serialize_u16(self.tag()) }
    }
}

impl<'de> serde::Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Kind, D::Error> {
        use serde::de::Error as _;
        if from.is_human_readable() {
            return String::deserialize(from)?.parse().map_err(D::Error::custom);
        }
        let tag = u16::deserialize(from)?;
        Kind::from_tag(tag).ok_or_else(|| D::Error::custom(format!("no kind has the tag {tag}")))
    }
}

impl schemars::JsonSchema for Kind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Kind".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "description": "A kind of message, such as Data/ExchangeData"})
    }
}

impl Payload {
    /// The binary form: bincode 2, standard configuration. The same payload gives the same bytes everywhere.
    pub fn encode(&self) -> Vec<u8> {
        match bincode::serde::encode_to_vec(self, BINARY) {
            Ok(bytes) => bytes,
            // Serialising fails only for lists of unknown length, which no payload has.
            Err(error) => unreachable!("{}: {error}", self.kind()),
        }
    }

    /// Reads the binary form; every byte must belong to it. Rules are not checked: see [`Payload::check`].
    ///
    /// Fails with [`FaultCode::Malformed`] at `/payload`. Reads no more than [`limits::MESSAGE_BYTES`].
    pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Payload, Faults> {
        let (payload, read) = bincode::serde::seed_decode_from_slice(Seed(kind), bytes, BINARY)
            .map_err(|error| malformed(format!("not the binary form of {kind}: {error}")))?;
        if read != bytes.len() {
            return Err(malformed(format!("{} bytes after the end of {kind}", bytes.len() - read)));
        }
        Ok(payload)
    }

    /// Reads the binary form and checks the rules.
    pub fn from_binary(kind: Kind, bytes: &[u8]) -> Result<Payload, Faults> {
        Payload::decode(kind, bytes)?.checked()
    }

    /// Reads the JSON form and checks the rules. Fails with every fault found: schema and business.
    pub fn from_json(kind: Kind, value: &Value) -> Result<Payload, Faults> {
        Payload::read(kind, value).map_err(|error| explain::faults_of(kind, value, &error))?.checked()
    }

    /// [`Payload::from_json`] from text, without the tree between when nothing is wrong.
    pub fn from_json_str(kind: Kind, text: &str) -> Result<Payload, Faults> {
        let mut from = serde_json::Deserializer::from_str(text);
        let read = Payload::read(kind, &mut from).and_then(|payload| from.end().map(|()| payload));
        read.map_err(|error| match serde_json::from_str(text) {
            Ok(value) => explain::faults_of(kind, &value, &error),
            Err(error) => malformed(format!("not JSON: {error}")),
        })?
        .checked()
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        match serde_json::to_value(self) {
            Ok(value) => value,
            // Serialising fails only for map keys that are not strings, which no payload has.
            Err(error) => unreachable!("{}: {error}", self.kind()),
        }
    }

    fn checked(self) -> Result<Payload, Faults> {
        let mut faults = Faults::default();
        self.check(&mut faults);
        faults.or(self)
    }
}

/// Reads a payload of the given kind.
struct Seed(Kind);

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Payload;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Payload, D::Error> {
        Payload::read(self.0, from)
    }
}

fn malformed(detail: String) -> Faults {
    let mut faults = Faults::default();
    faults.add(FaultCode::Malformed, "/payload", detail);
    faults
}
