//! A table from hashes to versions that grows by one bucket at a time: no step pays for all that is in it, an entry is
//! found with two looks at memory however many there are, and most of what the table takes is entries.
//!
//! Linear hashing (W. Litwin, *Linear hashing: a new tool for file and table addressing*, VLDB 1980). The keys are hashes
//! already; a bucket is in their order, so that one which somebody filled on purpose is searched all the same.

use crate::types::Version;

/// Sixteen bytes of a hash, as two numbers.
pub type Name = [u64; 2];

type Entry = (Name, Version);

/// Entries to a bucket, in the mean, before there is one bucket more.
const FULL: usize = 12;

/// Room for so many entries at a time is made in a bucket.
const ROOM: usize = 4;

/// What is known of each name.
#[derive(Debug, Default)]
pub struct Hashed {
    buckets: Vec<Vec<Entry>>,
    len: usize,
}

impl Hashed {
    /// All at once. Of what is said of one name, the last.
    pub fn of(entries: &[(Name, Version)]) -> Hashed {
        let room = || Vec::with_capacity(FULL + ROOM);
        let mut buckets: Vec<Vec<Entry>> = std::iter::repeat_with(room).take(entries.len() / FULL + 1).collect();
        let count = buckets.len();
        entries.iter().rev().for_each(|entry| buckets[place(&entry.0, count)].push(*entry));
        for bucket in &mut buckets {
            bucket.sort_by_key(|(name, _)| *name);
            bucket.dedup_by_key(|(name, _)| *name);
            bucket.shrink_to(bucket.len() + ROOM / 2);
        }
        let len = buckets.iter().map(Vec::len).sum();
        Hashed { buckets, len }
    }

    /// What is known of a name.
    pub fn get(&self, name: &Name) -> Option<Version> {
        let bucket = self.buckets.get(place(name, self.buckets.len()))?;
        find(bucket, name).ok().map(|at| bucket[at].1)
    }

    /// Puts that in the place of what was known of a name.
    pub fn insert(&mut self, name: Name, version: Version) {
        if self.len >= FULL * self.buckets.len() {
            self.divide();
        }
        let place = place(&name, self.buckets.len());
        let bucket = &mut self.buckets[place];
        match find(bucket, &name) {
            Ok(at) => bucket[at].1 = version,
            Err(at) => {
                if bucket.len() == bucket.capacity() {
                    bucket.reserve_exact(ROOM);
                }
                bucket.insert(at, (name, version));
                self.len += 1;
            }
        }
    }

    /// Forgets a name, if that is what is known of it.
    pub fn remove(&mut self, name: &Name, version: Version) {
        let place = place(name, self.buckets.len());
        let Some(bucket) = self.buckets.get_mut(place) else { return };
        if let Ok(at) = find(bucket, name)
            && bucket[at].1 == version
        {
            bucket.remove(at);
            self.len -= 1;
            if bucket.len() + 2 * ROOM <= bucket.capacity() {
                bucket.shrink_to(bucket.len() + ROOM);
            }
        }
    }

    /// What it takes in memory, bytes, roughly: an eighth of a bucket is empty.
    pub fn memory_bytes(&self) -> usize {
        self.len * size_of::<Entry>() * 8 / 7 + self.buckets.len() * size_of::<Vec<Entry>>()
    }

    /// Makes one bucket more, of entries that were in another so far.
    fn divide(&mut self) {
        let new = self.buckets.len();
        let mut moved = Vec::new();
        if let Some(old) = new.checked_ilog2().map(|bit| new ^ (1 << bit)) {
            let bucket = &mut self.buckets[old];
            moved.extend(bucket.extract_if(.., |(name, _)| place(name, new + 1) == new));
            moved.shrink_to(moved.len() + ROOM / 2);
            bucket.shrink_to(bucket.len() + ROOM / 2);
        }
        self.buckets.push(moved);
    }
}

/// Which of so many buckets a name belongs to.
fn place(name: &Name, buckets: usize) -> usize {
    let bits = buckets.next_power_of_two() - 1;
    let place = name[0] as usize & bits;
    if place < buckets { place } else { place & (bits >> 1) }
}

fn find(bucket: &[Entry], name: &Name) -> Result<usize, usize> {
    bucket.binary_search_by_key(name, |(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::types::Stamp;

    fn version(n: u64) -> Version {
        Version { stamp: Stamp(n), digest: [n as u8; 16] }
    }

    proptest! {
        /// It is a map, also where names are alike.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0..40u64, 0..3u64, 0..4u64), 0..600)) {
            let (mut table, mut map) = (Hashed::default(), BTreeMap::new());
            for (removes, low, high, n) in steps {
                let (name, version) = ([low << 3, high], version(n));
                if removes {
                    table.remove(&name, version);
                    if map.get(&name) == Some(&version) {
                        map.remove(&name);
                    }
                } else {
                    table.insert(name, version);
                    map.insert(name, version);
                }
                prop_assert_eq!(table.get(&name), map.get(&name).copied());
            }
            prop_assert_eq!(table.len, map.len());
            prop_assert!(map.iter().all(|(name, version)| table.get(name) == Some(*version)));
        }

        #[test]
        fn all_at_once_is_one_after_the_other(entries in prop::collection::vec((0..60u64, 0..2u64, any::<u64>()), 0..300)) {
            let entries: Vec<Entry> = entries.into_iter().map(|(low, high, n)| ([low, high], version(n))).collect();
            let map: BTreeMap<Name, Version> = entries.iter().copied().collect();
            let table = Hashed::of(&entries);
            prop_assert_eq!(table.len, map.len());
            prop_assert!(map.iter().all(|(name, version)| table.get(name) == Some(*version)));
        }
    }

    #[test]
    fn buckets_stay_short_and_memory_is_what_is_said() {
        let mut table = Hashed::default();
        for n in 0..100_000u64 {
            let hash = *blake3::hash(&n.to_le_bytes()).as_bytes();
            table.insert([u64::from_le_bytes(std::array::from_fn(|at| hash[at])), n], version(n));
            if !n.is_multiple_of(10_007) {
                continue;
            }
            let longest = table.buckets.iter().map(Vec::len).max().unwrap();
            assert!(longest <= 8 * FULL, "{longest} of {n}");
        }
        let entries: Vec<Entry> = table.buckets.iter().flatten().copied().collect();
        for table in [table, Hashed::of(&entries)] {
            let room: usize = table.buckets.iter().map(Vec::capacity).sum();
            let held = room * size_of::<Entry>() + table.buckets.len() * size_of::<Vec<Entry>>();
            let said = table.memory_bytes();
            assert!((held * 9 / 10..held * 11 / 10).contains(&said), "{held} bytes, said {said}");
            assert!(held <= 52 * table.len, "{} bytes an entry", held / table.len);
        }
    }
}
