//! What the machine can do at most of each part, one core, measured in the same run.

use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use serde::Serialize;

use crate::types::{Hash, NetworkName, NodeId};
use crate::wire::{Label, Statement, TOGETHER, verify_strict};

/// How long each part is measured.
const FOR: Duration = Duration::from_millis(300);

/// What one core does in a second, at most.
#[derive(Serialize)]
pub struct Limits {
    /// Signatures made.
    pub signatures_per_second: f64,
    /// Signatures checked, as many together as in a frame of many bundles.
    pub verifications_per_second: f64,
    /// Messages of the run's size hashed.
    pub hashes_per_second: f64,
}

/// Measures this core.
pub fn measure(size: usize) -> Limits {
    let key = SigningKey::from_bytes(&[7; 32]);
    let author = NodeId(key.verifying_key().to_bytes());
    let network = "bench".parse::<NetworkName>().map(|n| n.id());
    let network = network.unwrap_or(crate::types::NetworkId(Hash::ZERO));
    let statement =
        Statement { label: Label::Bundle, network, author, count: 1, root: Hash([9; 32]), position: &[0; 64] };
    let signature = statement.sign(&key);
    let claims = [statement.claim(&signature); TOGETHER];
    let message = vec![7; size];
    Limits {
        signatures_per_second: rate(|| {
            std::hint::black_box(statement.sign(&key));
        }),
        verifications_per_second: claims.len() as f64
            * rate(|| {
                std::hint::black_box(verify_strict(&claims));
            }),
        hashes_per_second: rate(|| {
            std::hint::black_box(blake3::hash(&message));
        }),
    }
}

fn rate(mut act: impl FnMut()) -> f64 {
    let (start, mut done) = (Instant::now(), 0u64);
    while start.elapsed() < FOR {
        (0..8).for_each(|_| act());
        done += 8;
    }
    done as f64 / start.elapsed().as_secs_f64()
}
