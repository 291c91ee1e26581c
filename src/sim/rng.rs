//! Randomness from a seed: splitmix64 (Steele, Lea, Flood 2014).

use crate::types::Domain;

/// A stream of numbers. The same seed and name give the same numbers for ever.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream called `name` of a seed.
    pub fn new(seed: u64, name: &str) -> Rng {
        let digest = Domain::Trace.hash(&[&seed.to_be_bytes(), name.as_bytes()]);
        Rng(digest.as_bytes().first_chunk().map_or(seed, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 64 bits that belong to a number, whatever was drawn before.
    pub fn at(&self, number: u64) -> u64 {
        Rng(self.0 ^ number.wrapping_mul(0xA24B_AED4_963E_E407)).draw()
    }

    /// A number below `count`; 0 when there is none.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.draw()) * count as u128) >> 64) as usize
    }

    /// A number in `low..=high`.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        let span = u128::from(high.saturating_sub(low)) + 1;
        low + ((u128::from(self.draw()) * span) >> 64) as u64
    }

    /// Whether something that happens so many times in a thousand happens now.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.within(0, 999) < per_mille
    }

    /// One of `items`.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let index = self.below(items.len());
        items.get(index).copied()
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.draw() as u8).collect()
    }
}
