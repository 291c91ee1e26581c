//! Flags that the commands share, and how their values are read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::config::Profile;

/// Where the network is.
#[derive(Clone, Debug, Args)]
pub struct DirArgs {
    /// The network's directory.
    #[arg(long, value_name = "DIR", default_value = "./testnet-data")]
    pub dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What the nodes speak over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// QUIC over UDP.
    Quic,
    /// Both; TCP is named first.
    Both,
}

/// A length of time: `30s`, `500ms`, `2m`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("`{unit}` is no unit of time; write 500ms, 30s or 2m")),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no time; write 500ms, 30s or 2m"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| format!("`{text}` is too long; write 500ms, 30s or 2m"))
}

/// A profile by its name in a configuration.
pub fn profile(text: &str) -> Result<Profile, String> {
    match text {
        "small" => Ok(Profile::Small),
        "open" => Ok(Profile::Open),
        _ => Err(format!("`{text}` is no profile; write small or open")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        let cases = [("30s", 30_000), ("30", 30_000), ("500ms", 500), ("2m", 120_000), ("0.5s", 500), ("0", 0)];
        for (text, expected) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for text in ["", "s", "3h", "-1s", "1.2.3s", "99999999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
