//! Governance of types: the schemas that bodies of Custom messages keep.
//!
//! Pure. What a schema may say, and which registration counts, is `src/schema`'s.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{Checks, Rules};
use super::value::Json;
use crate::wire::fault::Faults;

/// A schema's document as compact JSON text, bytes.
pub const SCHEMA_BYTES: usize = 32 * 1024;

/// What must hold between a version of a schema and those before it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Compatibility {
    /// Nothing.
    None,
    /// What was valid under the version before is valid under the new one: readers change first.
    #[default]
    Backward,
    /// What is valid under the new one was valid under the version before: writers change first.
    Forward,
    /// Both.
    Full,
    /// Backward, to every version before.
    BackwardTransitive,
    /// Forward, to every version before.
    ForwardTransitive,
    /// Full, to every version before.
    FullTransitive,
}

impl Compatibility {
    /// All of them.
    pub const ALL: [Compatibility; 7] = [
        Compatibility::None,
        Compatibility::Backward,
        Compatibility::Forward,
        Compatibility::Full,
        Compatibility::BackwardTransitive,
        Compatibility::ForwardTransitive,
        Compatibility::FullTransitive,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Compatibility::None => "none",
            Compatibility::Backward => "backward",
            Compatibility::Forward => "forward",
            Compatibility::Full => "full",
            Compatibility::BackwardTransitive => "backward_transitive",
            Compatibility::ForwardTransitive => "forward_transitive",
            Compatibility::FullTransitive => "full_transitive",
        }
    }

    /// Whether the new version must take what the old one took.
    pub const fn is_backward(self) -> bool {
        match self {
            Compatibility::None | Compatibility::Forward | Compatibility::ForwardTransitive => false,
            Compatibility::Backward
            | Compatibility::Full
            | Compatibility::BackwardTransitive
            | Compatibility::FullTransitive => true,
        }
    }

    /// Whether the old version must take what the new one takes.
    pub const fn is_forward(self) -> bool {
        match self {
            Compatibility::None | Compatibility::Backward | Compatibility::BackwardTransitive => false,
            Compatibility::Forward
            | Compatibility::Full
            | Compatibility::ForwardTransitive
            | Compatibility::FullTransitive => true,
        }
    }

    /// Whether it holds to every version before, not only to the last.
    pub const fn is_transitive(self) -> bool {
        match self {
            Compatibility::None | Compatibility::Backward | Compatibility::Forward | Compatibility::Full => false,
            Compatibility::BackwardTransitive | Compatibility::ForwardTransitive | Compatibility::FullTransitive => {
                true
            }
        }
    }
}

impl std::fmt::Display for Compatibility {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Compatibility {
    type Err = String;

    fn from_str(text: &str) -> Result<Compatibility, String> {
        let found = Compatibility::ALL.into_iter().find(|mode| mode.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names = Compatibility::ALL.map(Compatibility::name).join(", ");
            format!("`{text}` is no compatibility: use one of {names}")
        })
    }
}

/// A version of the schema of a Custom type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaRegistration {
    /// Name of the type, as `type_name` of Custom has it: `acme.orders.placed`.
    pub subject: String,
    /// Which version, from 1; each is one more than the last.
    pub version: u32,
    /// What must hold between this version and the next.
    pub compatibility: Compatibility,
    /// The schema: JSON Schema, draft 2020-12, up to 32 KiB as compact text.
    pub schema: Json,
}

impl Rules for SchemaRegistration {
    fn check(&self, faults: &mut Faults) {
        faults.type_name("subject", &self.subject).some("version", self.version).fits(
            "schema",
            self.schema.as_str().len(),
            SCHEMA_BYTES,
        );
    }
}
