//! What passes the six stages, from every thread, in one place: counted always, shown while somebody taps.
//!
//! A lock is held for the time it takes to add a few numbers, once for each frame, call or step. Messages themselves
//! are kept only while somebody taps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::meter::{Outcome, Passage, Station, Tally};
use crate::types::limits;

/// Passages, and how many messages had passed stages before them, counted while somebody tapped: who misses some can
/// tell how many.
#[derive(Debug)]
pub struct Tapped {
    /// Messages in passages before these.
    pub before: u64,
    /// What passed.
    pub passages: Vec<Passage>,
}

/// Where passages go.
#[derive(Clone)]
pub struct Pipeline {
    counted: Arc<Mutex<Counted>>,
    taps: broadcast::Sender<Arc<Tapped>>,
}

#[derive(Default)]
struct Counted {
    tally: Tally,
    tapped: u64,
}

impl Default for Pipeline {
    fn default() -> Pipeline {
        Pipeline { counted: Arc::default(), taps: broadcast::channel(limits::TAP_QUEUE).0 }
    }
}

impl Pipeline {
    /// Notes what passed, and shows it to whoever taps.
    pub fn note(&self, mut passages: Vec<Passage>) {
        if passages.is_empty() {
            return;
        }
        let is_tapped = self.is_tapped();
        let mut counted = self.lock();
        passages.iter().for_each(|passage| counted.tally.note(passage));
        if is_tapped {
            // In the order of the counts: the lock is held until it is sent. A large step takes several places.
            while !passages.is_empty() {
                let rest = passages.split_off(passages.len().min(limits::TAP_PASSAGES));
                let passages = std::mem::replace(&mut passages, rest);
                let before = counted.tapped;
                counted.tapped += passages.iter().map(|passage| passage.messages).sum::<u64>();
                // Whoever tapped may be gone by now.
                let _ = self.taps.send(Arc::new(Tapped { before, passages }));
            }
        }
    }

    /// Follows what passes from now on.
    pub fn tap(&self) -> broadcast::Receiver<Arc<Tapped>> {
        self.taps.subscribe()
    }

    /// Whether anybody does.
    pub fn is_tapped(&self) -> bool {
        self.taps.receiver_count() > 0
    }

    /// The counts as they are now.
    pub fn tally(&self) -> Tally {
        self.lock().tally.clone()
    }

    /// A poisoned lock means that a thread died while it counted; the counts are good enough for figures.
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passages of steps that wait for the disk: what hangs on it is the last stage.
#[derive(Default)]
pub(super) struct Unflushed {
    waiting: BTreeMap<u64, (u64, Vec<Passage>)>,
}

impl Unflushed {
    /// A step is committed at `at_us`; `epoch` names the flush it waits for, if it does. What is through already.
    pub fn committed(&mut self, mut kept: Vec<Passage>, epoch: Option<u64>, at_us: u64) -> Vec<Passage> {
        match epoch {
            Some(epoch) => {
                let bodies: usize = self.waiting.values().map(|(_, waiting)| waiting.len()).sum();
                if bodies > limits::TAP_QUEUE {
                    kept.iter_mut().for_each(Passage::strip);
                }
                self.waiting.insert(epoch, (at_us, kept));
                Vec::new()
            }
            None => kept.iter().map(|passage| passage.at(Station::Postprocess, 0)).collect(),
        }
    }

    /// Everything up to `epoch` is on the disk.
    pub fn flushed(&mut self, epoch: u64, at_us: u64) -> Vec<Passage> {
        let rest = self.waiting.split_off(&(epoch + 1));
        let done = std::mem::replace(&mut self.waiting, rest);
        let through = |(since_us, kept): (u64, Vec<Passage>)| {
            let took_us = at_us.saturating_sub(since_us);
            kept.into_iter().map(move |passage| passage.at(Station::Postprocess, took_us))
        };
        done.into_values().flat_map(through).collect()
    }
}

/// Of what passed inside the node, what is kept from now on: it was routed.
pub(super) fn routed(passages: &[Passage]) -> impl Iterator<Item = &Passage> {
    passages.iter().filter(|passage| passage.station == Station::Route && passage.outcome == Outcome::Passed)
}
