//! What makes a way short.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::quality::Quality;

/// Which way is the best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The one that takes the least time.
    Fastest,
    /// The one on which the least is lost.
    Reliable,
    /// 0.3 time, 0.4 loss and 0.3 load.
    #[default]
    Balanced,
    /// The first that is found: the fewest hops.
    First,
}

/// What a hop costs beside what the strategy measures: of two ways alike the one with fewer hops wins.
const HOP: u64 = 1;
/// A round trip that is as bad as losing everything, microseconds.
const SLOWEST_US: u64 = 500_000;

impl Strategy {
    /// All of them.
    pub const ALL: [Strategy; 4] = [Strategy::Fastest, Strategy::Reliable, Strategy::Balanced, Strategy::First];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Strategy::Fastest => "fastest",
            Strategy::Reliable => "reliable",
            Strategy::Balanced => "balanced",
            Strategy::First => "first",
        }
    }

    /// What it costs to go over a link to a node that is so loaded. Never nothing.
    pub(super) fn cost(self, link: Quality, load_percent: u8) -> u64 {
        let (time_us, loss_ppm) = (u64::from(link.round_trip_us) / 2, u64::from(link.loss_ppm));
        let load_ppm = u64::from(load_percent.min(100)) * 10_000;
        let measure = match self {
            Strategy::Fastest => time_us,
            Strategy::Reliable => loss_ppm,
            Strategy::Balanced => {
                let time_ppm = (2 * time_us).min(SLOWEST_US) * 1_000_000 / SLOWEST_US;
                (3 * time_ppm + 4 * loss_ppm + 3 * load_ppm) / 10
            }
            Strategy::First => 0,
        };
        measure + HOP
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Strategy, String> {
        let found = Strategy::ALL.into_iter().find(|strategy| strategy.name() == text);
        found.ok_or_else(|| format!("`{text}` is no strategy: use fastest, reliable, balanced or first"))
    }
}
