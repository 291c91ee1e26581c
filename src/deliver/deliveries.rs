//! All durable subscriptions of a node.

use std::collections::{BTreeMap, BTreeSet};

use super::dead::{DeadLetter, Disposition, Letter, Selector, dead_letter, dead_letters};
use super::row;
use super::spec::{Name, Spec};
use super::subscription::{Failure, Found, Leased, Outcome, Settlement, Subscription};
use crate::types::storage::{Txn, View};
use crate::types::{Mono, Now, limits};

/// How a message's id and proof are fetched when it dies; none when it was let go.
pub type FetchLetter = fn(u64, &dyn View) -> Option<Letter>;

/// All durable subscriptions, and how many dead letters there are.
pub struct Deliveries {
    pub(super) subscriptions: BTreeMap<Name, Subscription>,
    /// When something is due, for each, and in the order of time.
    due: BTreeMap<Name, Mono>,
    agenda: BTreeSet<(Mono, Name)>,
    /// Those whose rows are not what is here.
    changed: BTreeSet<Name>,
    /// Those of which something can be had that could not before.
    pub(super) woken: BTreeSet<Name>,
    /// Messages for destinations that were dead letters.
    pub(super) redriven: Vec<(Name, u64)>,
    dead: BTreeMap<Name, u64>,
    dead_count: usize,
    dead_bytes: u64,
    fetch: FetchLetter,
}

/// Why something is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error("there is no subscription `{0}`; `metanode consumer ls` lists those there are")]
    Unknown(Name),
    #[error("there are {} subscriptions already; remove one first", limits::SUBSCRIPTIONS)]
    TooMany,
    #[error("the subscription cannot be kept: {}", .0.join("; "))]
    Spec(Vec<String>),
    #[error("the filter of `{0}` cannot be changed: what it passed over is settled; make another subscription")]
    Filter(Name),
    #[error(
        "`{name}` has {dead} dead letters; redrive them, or drop them with `metanode dlq drop --subscription {name}`"
    )]
    HasDead { name: Name, dead: u64 },
    #[error("there is no dead letter of `{name}` at position {position}: it was redriven or dropped, or never died")]
    NotDead { name: Name, position: u64 },
    #[error("at most {} messages in one call", limits::SETTLE_MESSAGES)]
    TooManyOutcomes,
    #[error("`{0}` is the node's own: messages for that destination; `metanode route pending` shows them")]
    Reserved(Name),
}

/// What settling came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// Messages settled as was said.
    pub settled: u64,
    /// Of these, messages that became dead letters.
    pub dead: u64,
    /// Positions that nobody has: settled before, or never handed out.
    pub unknown: Vec<u64>,
}

/// What redriving or dropping dead letters came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Dead letters that were redriven or dropped, or would be.
    pub done: u64,
    /// Those that stay, and why.
    pub stays: Vec<(Name, u64, &'static str)>,
    /// Go on after this one.
    pub next: Option<(Name, u64)>,
}

impl Deliveries {
    /// The subscriptions of a store.
    pub fn load(fetch: FetchLetter, view: &dyn View) -> Result<Deliveries, String> {
        let mut deliveries = Deliveries {
            subscriptions: row::load_all(view)?.into_iter().collect(),
            due: BTreeMap::new(),
            agenda: BTreeSet::new(),
            changed: BTreeSet::new(),
            woken: BTreeSet::new(),
            redriven: Vec::new(),
            dead: BTreeMap::new(),
            dead_count: 0,
            dead_bytes: 0,
            fetch,
        };
        let mut selector = Selector::default();
        loop {
            let page = dead_letters(&selector, limits::DEAD_SWEEP, limits::DEAD_SWEEP, view);
            if page.damaged > 0 {
                return Err(format!("{} dead letters of a subscription cannot be read", page.damaged));
            }
            page.letters.iter().for_each(|dead| deliveries.count(dead));
            selector.after = page.next;
            if selector.after.is_none() {
                return Ok(deliveries);
            }
        }
    }

    fn count(&mut self, dead: &DeadLetter) {
        *self.dead.entry(dead.subscription.clone()).or_default() += 1;
        self.dead_count += 1;
        self.dead_bytes += dead.size_bytes;
    }

    /// All of them with the number of their dead letters, by name.
    pub fn all(&self) -> impl Iterator<Item = (&Name, &Subscription, u64)> {
        self.subscriptions.iter().map(|(name, one)| (name, one, self.dead_of(name)))
    }

    /// One of them.
    pub fn get(&self, name: &Name) -> Result<(&Subscription, u64), Refused> {
        let one = self.subscriptions.get(name).ok_or_else(|| Refused::Unknown(name.clone()))?;
        Ok((one, self.dead_of(name)))
    }

    pub(super) fn dead_of(&self, name: &Name) -> u64 {
        self.dead.get(name).copied().unwrap_or_default()
    }

    /// Creates a subscription that begins at a position of the log, or changes one that is there.
    pub fn put(&mut self, name: &Name, spec: Spec, from: u64, tx: &mut Txn<'_>) -> Result<(), Refused> {
        let faults = spec.faults();
        if !faults.is_empty() {
            return Err(Refused::Spec(faults));
        }
        if name.destination().is_some() {
            return Err(Refused::Reserved(name.clone()));
        }
        let full = self.subscriptions.len() - self.destinations().count() >= limits::SUBSCRIPTIONS;
        match self.subscriptions.get_mut(name) {
            Some(one) if one.spec().filter != spec.filter => return Err(Refused::Filter(name.clone())),
            Some(one) => one.respec(spec.clone()),
            None if full => return Err(Refused::TooMany),
            None => drop(self.subscriptions.insert(name.clone(), Subscription::new(spec.clone(), from))),
        }
        row::save_spec(name, &spec, tx);
        self.touch(name);
        self.woken.insert(name.clone());
        Ok(())
    }

    /// Removes a subscription that has no dead letters.
    pub fn remove(&mut self, name: &Name, tx: &mut Txn<'_>) -> Result<(), Refused> {
        let (one, dead) = self.get(name)?;
        if dead > 0 {
            return Err(Refused::HasDead { name: name.clone(), dead });
        }
        row::remove(name, one, tx);
        self.subscriptions.remove(name);
        self.changed.remove(name);
        if let Some(at) = self.due.remove(name) {
            self.agenda.remove(&(at, name.clone()));
        }
        self.woken.insert(name.clone());
        Ok(())
    }

    /// Takes note of what was found for it, and hands out up to `most` messages.
    pub fn lease(
        &mut self,
        name: &Name,
        most: usize,
        found: Option<&Found>,
        log_end: u64,
        now: Mono,
    ) -> Result<Leased, Refused> {
        let one = self.subscriptions.get_mut(name).ok_or_else(|| Refused::Unknown(name.clone()))?;
        if let Some(found) = found.filter(|found| found.next <= log_end) {
            one.found(found);
        }
        let leased = one.lease(most.min(limits::LEASE_MESSAGES), now);
        self.touch(name);
        Ok(leased)
    }

    /// Says how leases ended.
    pub fn settle(
        &mut self,
        name: &Name,
        outcomes: &[(u64, Outcome)],
        now: Now,
        tx: &mut Txn<'_>,
    ) -> Result<Settled, Refused> {
        if outcomes.len() > limits::SETTLE_MESSAGES {
            return Err(Refused::TooManyOutcomes);
        }
        let one = self.subscriptions.get_mut(name).ok_or_else(|| Refused::Unknown(name.clone()))?;
        let (mut settled, mut dying) = (Settled::default(), Vec::new());
        let before = one.gate(now.mono);
        for (position, outcome) in outcomes {
            match one.settle(*position, outcome, now.mono, now.wall) {
                Settlement::Done => settled.settled += 1,
                Settlement::Dies(disposition) => dying.push((*position, disposition)),
                Settlement::Unknown => settled.unknown.push(*position),
            }
        }
        settled.settled += dying.len() as u64;
        settled.dead = self.bury(name, &dying, now, tx);
        let more = self.subscriptions.get(name).is_some_and(|one| one.gate(now.mono) > before);
        let returned = outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Return);
        if more || returned {
            self.woken.insert(name.clone());
        }
        self.touch(name);
        Ok(settled)
    }

    /// Pauses a subscription, or lets it go on.
    pub fn pause(&mut self, name: &Name, reason: Option<String>) -> Result<(), Refused> {
        let one = self.subscriptions.get_mut(name).ok_or_else(|| Refused::Unknown(name.clone()))?;
        one.pause(reason);
        self.touch(name);
        self.woken.insert(name.clone());
        Ok(())
    }

    /// Makes dead letters of messages. What there is no room for waits, and dies later. Returns how many died.
    pub(super) fn bury(&mut self, name: &Name, dying: &[(u64, Disposition)], now: Now, tx: &mut Txn<'_>) -> u64 {
        let mut died = 0;
        for (position, disposition) in dying {
            let letter = (self.fetch)(*position, tx);
            let size = letter.as_ref().map_or(0, |letter| letter.proof.len() as u64);
            let room =
                self.dead_count < limits::DEAD_LETTERS && self.dead_bytes + size <= limits::DEAD_LETTER_BYTES as u64;
            let Some(one) = self.subscriptions.get_mut(name) else { continue };
            if !room {
                one.put_off(*position, now.mono);
                continue;
            }
            let history = one.history(*position);
            one.close(*position);
            one.counts.died += 1;
            died += 1;
            let dead = DeadLetter::new(name, *position, *disposition, history, letter.as_ref(), now.wall);
            dead.save(letter.as_ref(), tx);
            self.count(&dead);
        }
        died
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now, tx: &mut Txn<'_>) {
        while let Some((due, name)) = self.agenda.first().cloned()
            && due <= now.mono
        {
            self.agenda.pop_first();
            self.due.remove(&name);
            let Some(one) = self.subscriptions.get_mut(&name) else { continue };
            let (dying, more) = one.expire(now.mono, now.wall);
            self.bury(&name, &dying, now, tx);
            self.touch(&name);
            if more {
                self.woken.insert(name);
            }
        }
    }

    /// When something is due.
    pub fn next_wake(&self) -> Option<Mono> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// Those of which something can be had that could not before, since this was asked last.
    pub fn take_woken(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.woken)
    }

    /// Writes what has changed.
    pub fn save(&mut self, tx: &mut Txn<'_>) {
        for name in std::mem::take(&mut self.changed) {
            if let Some(one) = self.subscriptions.get_mut(&name) {
                row::save(&name, one, tx);
            }
        }
    }

    /// Brings dead letters back to their subscriptions, as ready as new ones and marked as handed out before. With
    /// `dry` nothing is done.
    pub fn redrive(&mut self, selector: &Selector, dry: bool, tx: &mut Txn<'_>) -> Result<Swept, Refused> {
        let mut opened = BTreeMap::<Name, usize>::new();
        self.sweep(selector, tx, |deliveries, dead, tx| {
            let Some(one) = deliveries.subscriptions.get_mut(&dead.subscription) else {
                return Some("its subscription is gone");
            };
            let so_far = opened.entry(dead.subscription.clone()).or_default();
            if one.spare() <= if dry { *so_far } else { 0 } {
                return Some("its subscription has as many open messages as it may; redrive it later");
            }
            if (deliveries.fetch)(dead.position, tx).is_none() {
                return Some("retention took the message from the log; its letter is kept");
            }
            *so_far += 1;
            if !dry {
                one.open_at(dead.position, dead.attempts.max(1), Failure::default());
                one.changed = true;
                deliveries.forget(dead, tx);
                deliveries.touch(&dead.subscription);
                deliveries.woken.insert(dead.subscription.clone());
                if dead.subscription.destination().is_some() {
                    deliveries.redriven.push((dead.subscription.clone(), dead.position));
                }
            }
            None
        })
    }

    /// Removes dead letters for ever. With `dry` nothing is done.
    pub fn drop_dead(&mut self, selector: &Selector, dry: bool, tx: &mut Txn<'_>) -> Result<Swept, Refused> {
        self.sweep(selector, tx, |deliveries, dead, tx| {
            if !dry {
                deliveries.forget(dead, tx);
            }
            None
        })
    }

    fn sweep(
        &mut self,
        selector: &Selector,
        tx: &mut Txn<'_>,
        mut each: impl FnMut(&mut Deliveries, &DeadLetter, &mut Txn<'_>) -> Option<&'static str>,
    ) -> Result<Swept, Refused> {
        if let Some(name) = &selector.subscription {
            if !self.subscriptions.contains_key(name) {
                return Err(Refused::Unknown(name.clone()));
            }
            if let Some(position) = selector.position
                && dead_letter(name, position, tx).is_none()
            {
                return Err(Refused::NotDead { name: name.clone(), position });
            }
        }
        let page = dead_letters(selector, limits::DEAD_SWEEP, limits::DEAD_SWEEP, tx);
        let mut swept = Swept { next: page.next, ..Swept::default() };
        for dead in &page.letters {
            match each(self, dead, tx) {
                None => swept.done += 1,
                Some(why) => swept.stays.push((dead.subscription.clone(), dead.position, why)),
            }
        }
        Ok(swept)
    }

    fn forget(&mut self, dead: &DeadLetter, tx: &mut Txn<'_>) {
        dead.remove(tx);
        self.dead_count = self.dead_count.saturating_sub(1);
        self.dead_bytes = self.dead_bytes.saturating_sub(dead.size_bytes);
        if let Some(count) = self.dead.get_mut(&dead.subscription) {
            *count = count.saturating_sub(1);
        }
    }

    /// A subscription may have changed: its row, and when it wants to be looked after.
    pub(super) fn touch(&mut self, name: &Name) {
        let Some(one) = self.subscriptions.get(name) else { return };
        if one.is_changed() {
            self.changed.insert(name.clone());
        }
        let (due, before) = (one.next_wake(), self.due.get(name).copied());
        if due == before {
            return;
        }
        if let Some(before) = before {
            self.due.remove(name);
            self.agenda.remove(&(before, name.clone()));
        }
        if let Some(due) = due {
            self.due.insert(name.clone(), due);
            self.agenda.insert((due, name.clone()));
        }
    }

    /// Dead letters of all subscriptions.
    pub fn dead_count(&self) -> usize {
        self.dead_count
    }
}
