//! How long to wait after a failure.

use std::time::Duration;

/// `first` × 2^(failures - 1), no more than `most`, less up to half of it by `seed`: many that failed together do not
/// come back together. (Exponential backoff with equal jitter.)
pub fn delay(first: Duration, most: Duration, failures: u32, seed: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(32);
    let whole = first.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(most);
    let half = whole / 2;
    let part = half.as_micros() as u64;
    half + Duration::from_micros(if part == 0 { 0 } else { mixed(seed) % (part + 1) })
}

/// A well spread number from any other. (SplitMix64, Steele, Lea and Flood 2014.)
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
