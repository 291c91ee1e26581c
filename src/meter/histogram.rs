//! How long things took, in buckets.

/// Upper ends of the buckets, microseconds: from 50 µs.
pub const BUCKETS_US: [u64; 16] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    10_000_000,
];
const COUNTS: usize = BUCKETS_US.len() + 1;

/// Times, counted by how long they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By bucket; the last is of everything beyond the buckets.
    counts: [u64; COUNTS],
    /// All times together, microseconds.
    sum_us: u64,
}

impl Histogram {
    /// Counts `messages` that took so long each.
    pub fn note(&mut self, took_us: u64, messages: u64) {
        let place = BUCKETS_US.partition_point(|end| *end < took_us);
        if let Some(count) = self.counts.get_mut(place) {
            *count += messages;
        }
        self.sum_us = self.sum_us.saturating_add(took_us.saturating_mul(messages));
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All times together, microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The counts, each with the upper end of its bucket, microseconds; the last has none.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        BUCKETS_US.iter().map(|end| Some(*end)).chain([None]).zip(self.counts)
    }

    /// The mean, microseconds; none when nothing was counted.
    pub fn mean_us(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum_us as f64 / count as f64)
    }

    /// The time that `part` of them (0 to 1) did not exceed, microseconds: within its bucket as if times were spread
    /// evenly, and beyond the buckets the last end. None when nothing was counted.
    pub fn quantile_us(&self, part: f64) -> Option<f64> {
        let wanted = part * self.count() as f64;
        let (mut below, mut begin) = (0.0, 0.0);
        for (end, count) in self.buckets() {
            let end = end.map_or(begin, |end| end as f64);
            if count > 0 && below + count as f64 >= wanted {
                return Some(begin + (end - begin) * ((wanted - below) / count as f64).clamp(0.0, 1.0));
            }
            (below, begin) = (below + count as f64, end);
        }
        None
    }

    /// These and those.
    pub fn plus(mut self, other: &Histogram) -> Histogram {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self
    }

    /// What was counted since `earlier`, which was this one once.
    pub fn since(mut self, earlier: &Histogram) -> Histogram {
        self.counts.iter_mut().zip(earlier.counts).for_each(|(count, before)| *count = count.saturating_sub(before));
        self.sum_us = self.sum_us.saturating_sub(earlier.sum_us);
        self
    }
}
