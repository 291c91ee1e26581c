//! A worker of a durable subscription: takes messages, and says how each ended. The same for all that deliver.
//!
//! ```text
//!            ┌── lent ──────▶ messages from the store
//!   take() ──┼── look here ─▶ pages from the store ──▶ found ──▶ ask again
//!            └── nothing ───▶ wait: the log grew │ something is ready │ time is up │ the API closes
//! ```
//!
//! Reading is done here, off the node's thread; a log that grows with nothing for this subscription in it costs the
//! node nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::envelope::Envelope;
use super::judge::Judge;
use super::problem::Problem;
use super::state::{ApiState, unexpected};
use crate::deliver::{Disposition, Found, Lease, Leased, Look, Name, Outcome, Settled};
use crate::feed::{Entry, Room, entries_at, page};
use crate::node::{Ack, Answer, Call};
use crate::types::storage::View;
use crate::types::{MessageId, WallMs, limits};

/// Messages loaded at once.
const LOAD: usize = 128;

/// A message that is lent.
#[derive(Debug)]
pub struct Delivery {
    /// Its place in the log; names it in the answer.
    pub position: u64,
    /// How often it was handed out, this time included.
    pub attempt: u32,
    /// Its id.
    pub id: MessageId,
    /// The envelope, JSON.
    pub envelope: String,
}

impl Delivery {
    /// The members of the delivery as JSON, without the braces.
    pub fn members(&self) -> String {
        let (position, attempt, again) = (self.position, self.attempt, self.attempt > 1);
        let envelope = &self.envelope;
        format!("\"position\":{position},\"attempt\":{attempt},\"redelivered\":{again},\"message\":{envelope}")
    }

    fn new(lease: &Lease, entry: &Entry, judge: &Judge) -> Option<Delivery> {
        let mut envelope = Envelope::kept(entry, judge)?;
        envelope.retry_count = lease.attempt.saturating_sub(1);
        let id = envelope.id;
        let envelope = serde_json::to_string(&envelope).ok()?;
        Some(Delivery { position: lease.position, attempt: lease.attempt, id, envelope })
    }
}

/// What a worker has taken.
#[derive(Debug, Default)]
pub struct Taken {
    pub deliveries: Vec<Delivery>,
    /// Why there is nothing, if the subscription is paused.
    pub paused: Option<String>,
}

/// How far the log was searched since the node was asked.
struct Search {
    look: Look,
    next: u64,
    missed: u64,
}

/// What loading leases came to.
struct Loaded {
    deliveries: Vec<Delivery>,
    /// Those that are not handed out, and what becomes of them.
    others: Vec<(u64, Outcome)>,
    /// What the deliveries take, bytes.
    bytes: usize,
}

/// A worker of a subscription.
pub struct Worker {
    state: ApiState,
    name: Name,
    search: Option<Search>,
    log_end: watch::Receiver<u64>,
    woken: broadcast::Receiver<Arc<BTreeSet<Name>>>,
    stop: watch::Receiver<bool>,
}

impl Worker {
    /// A worker of the subscription of that name.
    pub fn new(state: ApiState, name: Name) -> Worker {
        let (log_end, woken) = (state.watch.log_end.clone(), state.watch.deliverable.subscribe());
        Worker { search: None, log_end, woken, stop: state.stopping(), name, state }
    }

    /// Up to `most` messages; waits for the first one until then. What it was lent when it is dropped comes again when
    /// the lease is over.
    pub async fn take(&mut self, most: usize, until: Instant) -> Result<Taken, Problem> {
        let (mut ask, mut paused) = (true, None);
        loop {
            if *self.stop.borrow() {
                return Ok(Taken::default());
            }
            let found = self.search().await?;
            if ask || found.is_some() {
                // What woke us so far is in the answer.
                self.woken = self.woken.resubscribe();
                let leased = self.ask(most, found).await?;
                self.look(leased.look);
                paused = leased.paused;
                if !leased.leases.is_empty() {
                    let deliveries = self.load(leased.leases).await?;
                    if !deliveries.is_empty() {
                        return Ok(Taken { deliveries, paused: None });
                    }
                    continue;
                }
                ask = false;
                if self.search.as_ref().is_some_and(|search| search.next < *self.log_end.borrow()) {
                    continue;
                }
            }
            tokio::select! {
                _ = self.stop.changed() => {}
                grown = self.log_end.changed() => if grown.is_err() {
                    return Ok(Taken::default());
                },
                woken = self.woken.recv() => match woken {
                    Ok(names) => ask = names.contains(&self.name),
                    Err(RecvError::Lagged(_)) => ask = true,
                    Err(RecvError::Closed) => return Ok(Taken::default()),
                },
                () = tokio::time::sleep_until(until) => return Ok(Taken { deliveries: Vec::new(), paused }),
            }
        }
    }

    async fn ask(&self, most: usize, found: Option<Found>) -> Result<Leased, Problem> {
        match self.state.client.call(Call::Lease { name: self.name.clone(), most, found }).await? {
            Answer::Leased(leased) => Ok(leased),
            other => Err(unexpected(&other)),
        }
    }

    /// Where to search from now on; what was searched already is not searched again.
    fn look(&mut self, look: Option<Look>) {
        let before = self.search.take();
        self.search = look.map(|look| match before {
            Some(before) if before.look.from == look.from => Search { look, ..before },
            Some(_) | None => Search { next: look.from, missed: 0, look },
        });
    }

    /// Searches the log to its end, or until there is something to say.
    async fn search(&mut self) -> Result<Option<Found>, Problem> {
        let Some(search) = &mut self.search else { return Ok(None) };
        loop {
            let end = *self.log_end.borrow_and_update();
            let mut positions = Vec::new();
            if search.next < end {
                let (from, room, filter) = (search.next, search.look.room, search.look.filter.clone());
                let wall = self.state.wall();
                // Whoever has far to go is not waited for.
                let near = end - from <= limits::SCAN_SAVE;
                let turn = if near { self.state.searchers.acquire().await.ok() } else { None };
                let read = self.state.read(move |view| {
                    let found = page(from, Room::of(room), &filter, wall, view);
                    let positions: Vec<u64> = found.entries.iter().map(|entry| entry.position).collect();
                    (positions, found.next, found.missed)
                });
                let (found, next, missed) = read.await?;
                drop(turn);
                if next <= from {
                    return Ok(None);
                }
                (positions, search.next) = (found, next);
                search.missed += missed;
            }
            let far = search.next.saturating_sub(search.look.from) >= limits::SCAN_SAVE;
            if !positions.is_empty() || (far && search.next >= end) {
                let (from, next, missed) = (search.look.from, search.next, search.missed);
                self.search = None;
                return Ok(Some(Found { from, next, positions, missed }));
            }
            if search.next >= end {
                return Ok(None);
            }
        }
    }

    /// The messages that were lent. Those whose time is over, or that were let go, are dead; those for which an answer
    /// has no room go back.
    async fn load(&mut self, leases: Vec<Lease>) -> Result<Vec<Delivery>, Problem> {
        let (wall, judge) = (self.state.wall(), self.state.judge.clone());
        let loaded = self.state.read(move |view| {
            let mut loaded = Loaded { deliveries: Vec::new(), others: Vec::new(), bytes: 0 };
            for some in leases.chunks(LOAD) {
                loaded.add(some, wall, &judge, view);
            }
            loaded
        });
        let Loaded { deliveries, others, .. } = loaded.await?;
        if !others.is_empty() {
            settle(&self.state, &self.name, others, Ack::Written).await?;
        }
        Ok(deliveries)
    }
}

impl Loaded {
    fn is_full(&self) -> bool {
        self.bytes >= limits::LEASE_BYTES
    }

    /// Loads some, unless there is enough.
    fn add(&mut self, leases: &[Lease], wall: WallMs, judge: &Judge, view: &dyn View) {
        let positions: BTreeSet<u64> = leases.iter().map(|lease| lease.position).collect();
        let entries = if self.is_full() { Vec::new() } else { entries_at(&positions, view) };
        let entries: BTreeMap<u64, Entry> = entries.into_iter().map(|entry| (entry.position, entry)).collect();
        let gone = |reason: &str| Outcome::Park { disposition: Disposition::Expired, reason: reason.into() };
        for lease in leases {
            if self.is_full() {
                self.others.push((lease.position, Outcome::Return));
                continue;
            }
            let Some(entry) = entries.get(&lease.position) else {
                self.others.push((lease.position, gone("it was let go before it was delivered")));
                continue;
            };
            if entry.message().is_none_or(|message| message.expires.is_some_and(|at| at <= wall)) {
                self.others.push((lease.position, gone("its time was over before it was delivered")));
                continue;
            }
            let faults = entry.message().map(|message| judge.against(&message)).unwrap_or_default();
            if !faults.is_empty() {
                let (disposition, reason) = (Disposition::Schema, faults.to_string());
                self.others.push((lease.position, Outcome::Park { disposition, reason }));
                continue;
            }
            match Delivery::new(lease, entry, judge) {
                Some(delivery) => {
                    self.bytes += entry.bytes.len();
                    self.deliveries.push(delivery);
                }
                None => self.others.push((lease.position, gone("it cannot be read"))),
            }
        }
    }
}

/// Says how leases ended.
pub async fn settle(
    state: &ApiState,
    name: &Name,
    outcomes: Vec<(u64, Outcome)>,
    ack: Ack,
) -> Result<Settled, Problem> {
    match state.client.call(Call::Settle { name: name.clone(), outcomes, ack }).await? {
        Answer::Settled(settled) => Ok(settled),
        other => Err(unexpected(&other)),
    }
}
