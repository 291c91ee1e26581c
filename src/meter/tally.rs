//! Passages, counted.

use std::collections::BTreeMap;

use super::histogram::Histogram;
use super::passage::{Outcome, Passage, Station};
use crate::wire::{Category, Priority};

/// What passages are counted by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Class {
    /// The rank a message is handled at.
    pub priority: Priority,
    /// What it is about.
    pub category: Category,
}

/// Counts since the start. At most six stages, five ranks, eight categories and a closed list of reasons.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    passed: BTreeMap<(Station, Class), Histogram>,
    refused: BTreeMap<(Station, &'static str), u64>,
    ages: BTreeMap<Class, Histogram>,
    routed_messages: u64,
    routed_bytes: u64,
}

impl Tally {
    /// Counts a passage.
    pub fn note(&mut self, passage: &Passage) {
        match (passage.outcome, passage.class) {
            (Outcome::Passed, Some(class)) => self.note_passed(passage, class),
            (Outcome::Passed, None) => {}
            (Outcome::Refused(reason), _) => {
                *self.refused.entry((passage.station, reason)).or_default() += passage.messages;
            }
        }
    }

    fn note_passed(&mut self, passage: &Passage, class: Class) {
        self.passed.entry((passage.station, class)).or_default().note(passage.took_us, passage.messages);
        if let Some(age_us) = passage.age_us {
            self.ages.entry(class).or_default().note(age_us, passage.messages);
        }
        if passage.station == Station::Route {
            self.routed_messages += passage.messages;
            self.routed_bytes += passage.bytes;
        }
    }

    /// Messages that passed, by stage and class, with how long it took.
    pub fn passed(&self) -> impl Iterator<Item = (Station, Class, &Histogram)> {
        self.passed.iter().map(|((station, class), times)| (*station, *class, times))
    }

    /// Messages that were refused, by stage and reason.
    pub fn refused(&self) -> impl Iterator<Item = (Station, &'static str, u64)> {
        self.refused.iter().map(|((station, reason), count)| (*station, *reason, *count))
    }

    /// From creation at their authors until they were kept here, of what came live, by class.
    pub fn ages(&self) -> impl Iterator<Item = (Class, &Histogram)> {
        self.ages.iter().map(|(class, times)| (*class, times))
    }

    /// Messages and bytes that were routed: this node's and those of others.
    pub fn routed(&self) -> (u64, u64) {
        (self.routed_messages, self.routed_bytes)
    }

    /// Messages refused at any stage.
    pub fn all_refused(&self) -> u64 {
        self.refused.values().sum()
    }
}
