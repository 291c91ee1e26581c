//! What is kept for how long, by category of message.

use serde::{Deserialize, Serialize};

const DAY_S: u64 = 24 * 60 * 60;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Bounds for each of the eight categories of message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Heartbeats, status, discovery.
    pub system: Keep,
    /// Proposals, votes, blocks.
    pub consensus: Keep,
    /// Transfers, rewards, fees.
    pub economic: Keep,
    /// Authentication, alerts, proofs.
    pub security: Keep,
    /// Replicated state, transactions, feeds.
    pub data: Keep,
    /// Policies, votes on them, compliance.
    pub governance: Keep,
    /// Metrics, logs, traces.
    pub monitoring: Keep,
    /// Application types, interventions, notifications.
    pub external: Keep,
}

/// How much of a category is kept. The oldest goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Messages older than this go, seconds; none keeps them for ever. Written as 0 when none.
    #[serde(with = "zero_is_none")]
    pub max_age_s: Option<u64>,
    /// Encoded messages beyond this go, bytes; none keeps them all. Written as 0 when none.
    #[serde(with = "zero_is_none")]
    pub max_bytes: Option<u64>,
}

impl Keep {
    /// All of it, for ever.
    pub const FOR_EVER: Keep = Keep { max_age_s: None, max_bytes: None };

    const fn at_most(max_age_s: u64, max_bytes: u64) -> Keep {
        Keep { max_age_s: Some(max_age_s), max_bytes: Some(max_bytes) }
    }
}

impl Retention {
    /// The bounds by the category's slug (`system`, `consensus`, …), in the order of the categories.
    pub fn each(&self) -> [(&'static str, &Keep); 8] {
        [
            ("system", &self.system),
            ("consensus", &self.consensus),
            ("economic", &self.economic),
            ("security", &self.security),
            ("data", &self.data),
            ("governance", &self.governance),
            ("monitoring", &self.monitoring),
            ("external", &self.external),
        ]
    }

    /// The bounds of the category with this slug.
    pub fn of(&self, slug: &str) -> Option<&Keep> {
        self.each().into_iter().find_map(|(name, keep)| (name == slug).then_some(keep))
    }
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            system: Keep::at_most(7 * DAY_S, 256 * MIB),
            consensus: Keep::FOR_EVER,
            economic: Keep::FOR_EVER,
            security: Keep::FOR_EVER,
            data: Keep::at_most(90 * DAY_S, 16 * GIB),
            governance: Keep::FOR_EVER,
            monitoring: Keep::at_most(7 * DAY_S, GIB),
            external: Keep::at_most(30 * DAY_S, 4 * GIB),
        }
    }
}

/// TOML has no "none"; 0, which would keep nothing, stands for it.
mod zero_is_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(bound: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        bound.unwrap_or(0).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        Ok(Some(u64::deserialize(deserializer)?).filter(|bound| *bound > 0))
    }
}
