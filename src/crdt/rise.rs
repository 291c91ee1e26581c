//! Coming to a floor: counting what stays, taking a peer's roll, and deciding which floor counts.
//!
//! Of all floors that are said the highest counts whose roll is at hand. One that nobody can come to hides none below it;
//! one that is not said any more, because its author forked, counts no longer.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Count, Taking};
use super::collection::Replica;
use super::floor::{Floor, stays};
use super::index::{Entry, Sum, find, retained};
use super::merge::Merge;
use super::roll::{RollRoot, entry_key, page};
use super::session::Nonsense;
use crate::types::storage::View;
use crate::types::{NodeId, Version};

/// What would stay below a version, and what would go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The floor it comes to.
    pub floor: Floor,
    /// Retained writes that would go: deletes, removals, prefix deletes, former floors.
    pub tombstones: u64,
    /// A write below came while it was counted: it counts for nothing.
    pub late: bool,
}

impl Replica {
    /// The floor that counts in a collection.
    pub fn floor(&self, collection: &str) -> Option<Floor> {
        self.floors.get(collection)?.floor()
    }

    /// The floors that count, by collection.
    pub fn floors(&self) -> BTreeMap<String, Floor> {
        self.floors.iter().filter_map(|(name, held)| Some((name.to_string(), held.floor()?))).collect()
    }

    /// The highest that was said, if this node has not come to it.
    pub fn pending_floor(&self, collection: &str) -> Option<Floor> {
        self.floors.get(collection)?.pending()
    }

    /// The same of all collections, by name.
    pub fn pending_floors(&self) -> impl Iterator<Item = (&str, Floor)> {
        self.floors.iter().filter_map(|(name, held)| Some((name, held.pending()?)))
    }

    /// Whether there are floors that what is retained here does not come to: peers may have their rolls.
    pub fn lacks_rolls(&self) -> bool {
        self.floors.iter().any(|(_, held)| held.tried && held.pending().is_some())
    }

    /// Whether a peer that has adopted a floor should be asked for its roll.
    pub fn lacks_roll(&self, collection: &str, floor: &Floor) -> bool {
        self.floors.get(collection).is_some_and(|held| held.tried && held.wants(floor))
    }

    /// The floor whose roll a peer hands over, and how far it has come; none if nothing more of it is wanted.
    pub fn taking(&self, collection: &str, peer: NodeId) -> Option<(Floor, Option<Entry>)> {
        let taking = self.floors.get(collection)?.takings.get(&peer)?;
        Some((taking.floor, taking.last))
    }

    /// Whether a floor was counted here and its roll is at hand: who says it comes to it at once.
    pub fn has_counted(&self, collection: &str, floor: &Floor) -> bool {
        let Some(held) = self.floors.get(collection) else { return false };
        held.kept.staged.is_some_and(|staged| staged.floor == *floor) && held.floor() < Some(*floor)
    }

    /// A page of the roll of a floor, after an entry, if that floor counts here. True if there is more.
    pub fn roll(
        &self,
        collection: &str,
        floor: &Floor,
        after: Option<Entry>,
        most: usize,
        view: &dyn View,
    ) -> Option<(Vec<Entry>, bool)> {
        let adopted = self.floors.get(collection)?.adopted().filter(|adopted| adopted.floor == *floor)?;
        Some(page(collection, adopted.roll, after, most, view))
    }

    /// What is retained may have changed: where it did, floors that it did not come to are counted again.
    pub fn doubt(&mut self) {
        let changed = self.floors.iter().filter(|(name, held)| held.tried && held.refuted != self.below(name));
        let names: Vec<String> = changed.map(|(name, _)| name.to_string()).collect();
        names.iter().for_each(|name| self.floors.get_mut(name).doubt());
    }

    /// What is retained below the highest floor that is said and does not count.
    fn below(&self, collection: &str) -> Option<(Version, Sum)> {
        let version = self.pending_floor(collection)?.version;
        let index = self.index(collection);
        Some((version, index.map(|index| index.sum(&(Version::default()..version))).unwrap_or_default()))
    }
}

impl Merge<'_, '_, '_> {
    /// A client wants to know what would stay below a version; `staged`, to make it the floor.
    pub fn count_floor(&mut self, collection: &str, below: Version, staged: bool) {
        self.replica.floors.get_mut(collection).begin(below, true, staged);
    }

    /// Goes on with what is to be done about floors, up to about so many rows. What clients asked for and is counted.
    pub fn tend_floors(&mut self, budget: usize) -> Vec<(String, Counted)> {
        let (mut left, mut counted) = (budget, Vec::new());
        for name in self.replica.floors.restless() {
            if left == 0 {
                break;
            }
            self.replica.floors.get_mut(&name).clear(&name, &mut left, self.tx);
            // While something is judged anew, what is retained is not what it will be.
            if !self.replica.sweeps.is_empty() {
                continue;
            }
            let events = self.replica.events.end();
            self.replica.floors.get_mut(&name).sunk(events);
            counted.extend(self.count_on(&name, &mut left).map(|done| (name.clone(), done)));
            self.decide(&name);
            if self.replica.floors.get(&name).is_none_or(|held| held.is_at_rest()) {
                self.replica.floors.rest(&name);
            }
        }
        counted
    }

    /// Counts on what is retained here; what a client asked for, once it is counted.
    fn count_on(&mut self, name: &str, left: &mut usize) -> Option<Counted> {
        let held = self.replica.floors.get_mut(name);
        let mut count = held.count.take_if(|_| *left > 0)?;
        let upto = count.upto;
        // What is written down is for one floor; what is only counted may come to any.
        let sought = |floor: &Floor| !count.asked && count.after.is_none_or(|after| floor.version > after);
        let exactly = |floor: &Floor| count.roll.is_none() || floor.version == upto;
        let floors = held.said.above(held.floor()).into_iter();
        let floors: Vec<Floor> = floors.filter(|floor| sought(floor) && exactly(floor)).collect();
        let mut floors = floors.into_iter().peekable();
        let mut entries = retained(name, count.after, *left, self.tx);
        let is_done = entries.len() < *left || entries.last().is_some_and(|last| last.version >= upto);
        *left = left.saturating_sub(entries.len().max(1));
        // Those of one version come together, and a roll has them by digest.
        entries.sort_unstable();
        for entry in entries.into_iter().filter(|entry| entry.version < upto) {
            while let Some(floor) = floors.next_if(|floor| floor.version <= entry.version) {
                count.meet(floor);
            }
            self.count_one(name, &mut count, &entry);
        }
        if !is_done {
            self.replica.floors.get_mut(name).count = Some(count);
            return None;
        }
        floors.take_while(|floor| floor.version <= upto).for_each(|floor| count.meet(floor));
        self.counted(name, count)
    }

    fn count_one(&mut self, name: &str, count: &mut Count, entry: &Entry) {
        count.after = Some(entry.version);
        let Some(unit) = find(name, entry, self.tx) else { return };
        let Some(row) = self.row(&unit, entry.version) else { return };
        if !stays(&unit, &row) {
            count.tombstones += 1;
            return;
        }
        count.root.add(entry);
        if let Some(roll) = count.roll {
            self.tx.put(entry_key(name, roll, entry), Vec::new());
        }
    }

    /// All is counted.
    fn counted(&mut self, name: &str, count: Count) -> Option<Counted> {
        let (below, events) = (self.replica.below(name), self.replica.events.end());
        let held = self.replica.floors.get_mut(name);
        if count.asked {
            let floor = count.root.floor(count.upto);
            if let Some(roll) = count.roll.filter(|_| !count.late) {
                held.stage(floor, roll);
            }
            return Some(Counted { floor, tombstones: count.tombstones, late: count.late });
        }
        match (count.met.filter(|floor| held.wants(floor)), count.roll) {
            (Some(floor), Some(roll)) => {
                held.adopt(floor, roll, events);
                self.judge_anew(name, "");
            }
            // The same again, to have its roll.
            (Some(floor), None) => held.begin(floor.version, false, true),
            (None, _) => held.refute(below.filter(|_| !count.late)),
        }
        None
    }

    /// Which floor counts; and if a higher one is said, whether what is retained comes to it.
    fn decide(&mut self, name: &str) {
        let events = self.replica.events.end();
        let held = self.replica.floors.get_mut(name);
        if held.floor().is_some_and(|floor| !held.said.has(&floor)) {
            held.withdraw();
        }
        if let Some(staged) = held.kept.staged.filter(|staged| held.wants(&staged.floor)) {
            held.kept.staged = None;
            held.adopt(staged.floor, staged.roll, events);
            return self.judge_anew(name, "");
        }
        if let Some(highest) = held.pending()
            && held.count.is_none()
            && std::mem::take(&mut held.again)
        {
            held.begin(highest.version, false, false);
        }
    }

    /// A peer's roll of a floor is taken from now on: where it was broken off, it is gone on with. At most so many that
    /// are not whole are kept; of those that are not `active`, handed over now, the shortest go.
    pub fn begin_roll(
        &mut self,
        collection: &str,
        peer: NodeId,
        floor: Floor,
        most: usize,
        active: &BTreeSet<(NodeId, String)>,
    ) {
        if self.replica.taking(collection, peer).is_some_and(|(of, _)| of == floor) {
            return;
        }
        self.drop_roll(collection, peer);
        while self.replica.floors.iter().map(|(_, held)| held.takings.len()).sum::<usize>() >= most {
            let takings =
                self.replica.floors.iter().flat_map(|(name, held)| held.takings.iter().map(move |t| (name, t)));
            let idle = takings.filter(|(name, (of, _))| !active.contains(&(**of, name.to_string())));
            let shortest = idle.min_by_key(|(_, (_, taking))| taking.root.count());
            let Some((name, of)) = shortest.map(|(name, (of, _))| (name.to_string(), *of)) else { break };
            self.drop_roll(&name, of);
        }
        let held = self.replica.floors.get_mut(collection);
        let taking = Taking { floor, roll: held.next_roll(), root: RollRoot::default(), last: None };
        held.takings.insert(peer, taking);
    }

    /// A page of it, in order. Once there is no more the floor counts here, or it was not its roll.
    pub fn take_roll(&mut self, collection: &str, peer: NodeId, entries: &[Entry], more: bool) -> Result<(), Nonsense> {
        let events = self.replica.events.end();
        let held = self.replica.floors.get_mut(collection);
        let Some(taking) = held.takings.get_mut(&peer) else { return Ok(()) };
        let (floor, roll) = (taking.floor, taking.roll);
        for entry in entries {
            let is_next = Some(*entry) > taking.last && entry.version < floor.version;
            if !is_next || taking.root.count() >= floor.count {
                return Err(Nonsense("a roll that is not in order, or not below its floor"));
            }
            taking.last = Some(*entry);
            taking.root.add(entry);
            self.tx.put(entry_key(collection, roll, entry), Vec::new());
        }
        if more {
            return Ok(());
        }
        if taking.root.floor(floor.version) != floor {
            return Err(Nonsense("a roll that is not the floor's"));
        }
        held.takings.remove(&peer);
        if held.wants(&floor) {
            held.adopt(floor, roll, events);
            self.judge_anew(collection, "");
        }
        Ok(())
    }

    /// Nothing more comes of a peer's rolls.
    pub fn drop_rolls(&mut self, peer: NodeId) {
        let of_peer = self.replica.floors.iter().filter(|(_, held)| held.takings.contains_key(&peer));
        let names: Vec<String> = of_peer.map(|(name, _)| name.to_string()).collect();
        names.iter().for_each(|name| self.drop_roll(name, peer));
    }

    /// Nothing more comes of a peer's roll.
    pub fn drop_roll(&mut self, collection: &str, peer: NodeId) {
        if self.replica.taking(collection, peer).is_some() {
            self.replica.floors.get_mut(collection).takings.remove(&peer);
        }
    }
}

impl Count {
    /// What was counted so far comes to a floor, if it does.
    fn meet(&mut self, floor: Floor) {
        if floor.count == self.root.count() && self.root.floor(floor.version) == floor {
            self.met = self.met.max(Some(floor));
        }
    }
}
