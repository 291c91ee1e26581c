//! Direct messages: a destination is a subscription of its own, whose sink is another node.
//!
//! What is posted is open until its reader has it, like any message that was handed out: tried again after a delay that
//! doubles, left alone while the reader is away, dead when its time is over. There is one row for each destination, and
//! none once nothing waits for it.

use super::dead::Disposition;
use super::deliveries::Deliveries;
use super::row;
use super::spec::{Name, Sink, Spec};
use super::subscription::{Failure, Outcome, Subscription};
use crate::types::storage::Txn;
use crate::types::{Now, limits};
use crate::wire::Destination;

/// Why a message died whose time was over.
const OVER: &str = "its time was over";

/// How messages for a destination are tried.
fn spec() -> Spec {
    Spec {
        sink: Sink::Direct,
        ack_wait_ms: 3 * limits::REQUEST_TIMEOUT.as_millis() as u64,
        max_attempts: 100,
        retry_ms: 250,
        retry_max_ms: 30_000,
        max_open: limits::SUBSCRIPTION_OPEN as u32,
        ..Spec::default()
    }
}

impl Deliveries {
    /// How many more messages may wait for a destination; none that is no single reader's. `coming` destinations are
    /// there soon.
    pub fn room_for(&self, to: &Destination, coming: usize) -> usize {
        let Some(name) = Name::of(to) else { return 0 };
        match self.subscriptions.get(&name) {
            Some(one) => one.spare(),
            None if self.destinations().count() + coming < limits::DESTINATIONS => limits::SUBSCRIPTION_OPEN,
            None => 0,
        }
    }

    /// Every destination that something waits for, or that has dead letters.
    pub fn destinations(&self) -> impl Iterator<Item = (&Name, &Subscription)> {
        self.subscriptions.iter().filter(|(_, one)| one.spec.sink == Sink::Direct)
    }

    /// Messages at these positions are to go to a destination.
    pub fn post(&mut self, to: &Destination, positions: std::ops::Range<u64>, tx: &mut Txn<'_>) {
        let Some(name) = Name::of(to) else { return };
        if !self.subscriptions.contains_key(&name) {
            row::save_spec(&name, &spec(), tx);
            self.subscriptions.insert(name.clone(), Subscription::new(spec(), 0));
        }
        let Some(one) = self.subscriptions.get_mut(&name) else { return };
        for position in positions.clone() {
            one.open_at(position, 0, Failure::default());
        }
        one.scanned = one.scanned.max(positions.end);
        one.changed = true;
        self.touch(&name);
        self.woken.insert(name);
    }

    /// Whether the message at a position waits for a destination.
    pub fn is_open(&self, name: &Name, position: u64) -> bool {
        self.subscriptions.get(name).is_some_and(|one| one.open.contains_key(&position))
    }

    /// Messages that were dead letters of destinations, since this was asked last.
    pub fn take_redriven(&mut self) -> Vec<(Name, u64)> {
        std::mem::take(&mut self.redriven)
    }

    /// There may be a way to a destination now: what waits for it is tried at once.
    pub fn reach(&mut self, name: &Name) {
        if let Some(one) = self.subscriptions.get_mut(name).filter(|one| !one.open.is_empty()) {
            one.retry_now();
            self.touch(name);
            self.woken.insert(name.clone());
        }
    }

    /// The time of these messages is over: they die of it, with what kept them from their reader as the reason.
    /// Returns how many died.
    pub fn overdue(&mut self, name: &Name, positions: &[u64], now: Now, tx: &mut Txn<'_>) -> u64 {
        let Some(one) = self.subscriptions.get_mut(name) else { return 0 };
        let before = one.gate(now.mono);
        let mut open: Vec<(u64, Disposition)> = Vec::new();
        for position in positions {
            if !one.open.contains_key(position) {
                continue;
            }
            let last = one.history(*position).1.history.last().map(|note| note.reason.clone());
            let reason = match last {
                // It was to die before, and there was no room.
                Some(last) if last.starts_with(OVER) => last,
                Some(last) => format!("{OVER}; {last}"),
                None => OVER.into(),
            };
            one.lease_one(*position, now.mono);
            one.settle(*position, &Outcome::Park { disposition: Disposition::Expired, reason }, now.mono, now.wall);
            open.push((*position, Disposition::Expired));
        }
        let died = self.bury(name, &open, now, tx);
        // One of them may have been what its breaker let through: the next takes its place.
        if self.subscriptions.get(name).is_some_and(|one| one.gate(now.mono) > before) {
            self.woken.insert(name.clone());
        }
        self.touch(name);
        died
    }

    /// Removes destinations that nothing waits for and that have no dead letters.
    pub fn forget_idle(&mut self, tx: &mut Txn<'_>) {
        let idle = |(name, one): &(&Name, &Subscription)| one.open.is_empty() && self.dead_of(name) == 0;
        let idle: Vec<Name> = self.destinations().filter(idle).map(|(name, _)| name.clone()).collect();
        for name in idle {
            let removed = self.remove(&name, tx);
            debug_assert!(removed.is_ok(), "it is there, and has no dead letters");
        }
    }
}
