//! A subscriber's place in the log. It reads pages when the log has grown, so a slow one reads later and slows nobody.
//!
//! ```text
//!            ┌── behind ──▶ page from the store ──▶ messages, lag where some were let go
//!   next() ──┤
//!            └── level ───▶ wait: the log grew │ something ephemeral │ the API closes
//! ```
//!
//! Whoever follows live (from the end) and falls behind by more than [`limits::SUBSCRIBER_LAG`] goes on at the newest
//! and is told how many it missed; whoever replays reads everything. What is not kept comes once a reader is level.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

use super::envelope::Envelope;
use super::judge::Judge;
use super::problem::Problem;
use super::state::ApiState;
use crate::feed::{Entry, Room, Start, page, start_position};
use crate::types::{WallMs, limits};
use crate::wire::{Category, Filter, Kind};

/// What is read at once.
const PAGE: Room = Room { messages: 256, bytes: limits::SUBSCRIBER_BYTES };

/// What a subscriber is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// A message, as JSON, and where to go on after it.
    Message { next: u64, envelope: String },
    /// A message that is not kept, as JSON.
    Ephemeral { envelope: String },
    /// So many messages, of any kind, will not come; and where to go on, for those with a position.
    Lag { missed: u64, next: Option<u64> },
}

/// A subscriber's place.
pub struct Cursor {
    state: ApiState,
    filter: Arc<Filter>,
    next: u64,
    /// How far behind it may fall before it goes on at the newest; none for those who replay.
    pub(super) patience: Option<u64>,
    ready: VecDeque<Told>,
    log_end: watch::Receiver<u64>,
    ephemeral: Ephemeral,
    stop: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

/// The way of messages that are not kept.
enum Ephemeral {
    /// Not wanted, or no more to come.
    Off,
    /// Wanted once the reader is level.
    Later,
    /// Coming.
    On(broadcast::Receiver<Arc<Vec<Entry>>>),
}

impl Cursor {
    /// A cursor at `start`, or at `resume`, the position after the last message its client has. Fails when there are
    /// as many subscribers as there may be.
    pub async fn open(
        state: ApiState,
        filter: Filter,
        start: Start,
        resume: Option<u64>,
        ephemeral: bool,
    ) -> Result<Cursor, Problem> {
        let seat = state.seat()?;
        let begin = resume.map_or(start, Start::Position);
        let next = state.read(move |view| start_position(begin, view)).await?;
        let ephemeral = if ephemeral && wants_ephemeral(&filter) { Ephemeral::Later } else { Ephemeral::Off };
        Ok(Cursor {
            filter: Arc::new(filter),
            next,
            patience: (start == Start::End).then_some(limits::SUBSCRIBER_LAG),
            ready: VecDeque::new(),
            log_end: state.watch.log_end.clone(),
            ephemeral,
            stop: state.stopping(),
            _seat: seat,
            state,
        })
    }

    /// What to tell next; none when the stream ends. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if *self.stop.borrow() {
                return None;
            }
            if let Some(told) = self.ready.pop_front() {
                return Some(told);
            }
            let end = *self.log_end.borrow_and_update();
            if self.next < end && self.read(end).await.ok()? {
                continue;
            }
            self.wait().await?;
        }
    }

    /// Reads on towards `end`. False when there was nothing to be read.
    async fn read(&mut self, end: u64) -> Result<bool, Problem> {
        let behind = end - self.next;
        if self.patience.is_some_and(|patience| behind > patience) {
            self.next = end;
            self.ready.push_back(Told::Lag { missed: behind, next: Some(end) });
            return Ok(true);
        }
        let (from, filter, wall) = (self.next, self.filter.clone(), self.state.wall());
        let judge = self.state.judge.clone();
        let read = self.state.read(move |view| {
            let found = page(from, PAGE, &filter, wall, view);
            let told: Vec<Told> =
                found.entries.iter().filter(|e| judge.passes(e)).filter_map(|e| message(e, &judge)).collect();
            (found.next, found.missed, told)
        });
        let (next, missed, told) = read.await?;
        if missed > 0 {
            self.ready.push_back(Told::Lag { missed, next: Some(from + missed) });
        }
        self.ready.extend(told);
        self.next = next;
        Ok(next > from)
    }

    /// Waits for something to change; none when nothing will any more.
    async fn wait(&mut self) -> Option<()> {
        if matches!(self.ephemeral, Ephemeral::Later) {
            self.ephemeral = Ephemeral::On(self.state.watch.ephemeral.subscribe());
        }
        tokio::select! {
            biased;
            _ = self.stop.changed() => {}
            grown = self.log_end.changed() => return grown.ok(),
            heard = self.ephemeral.hear() => match heard {
                Ok(entries) => self.take(&entries),
                Err(RecvError::Lagged(missed)) => self.ready.push_back(Told::Lag { missed, next: None }),
                Err(RecvError::Closed) => self.ephemeral = Ephemeral::Off,
            },
        }
        Some(())
    }

    fn take(&mut self, entries: &[Entry]) {
        let wall = self.state.wall();
        let wanted = entries.iter().filter(|entry| wants(&self.filter, entry, wall));
        self.ready.extend(wanted.filter_map(|entry| {
            let envelope = serde_json::to_string(&Envelope::ephemeral(entry, &self.state.judge)?).ok()?;
            Some(Told::Ephemeral { envelope })
        }));
    }
}

impl Ephemeral {
    async fn hear(&mut self) -> Result<Arc<Vec<Entry>>, RecvError> {
        match self {
            Ephemeral::On(channel) => channel.recv().await,
            Ephemeral::Off | Ephemeral::Later => std::future::pending().await,
        }
    }
}

fn message(entry: &Entry, judge: &Judge) -> Option<Told> {
    let envelope = serde_json::to_string(&Envelope::kept(entry, judge)?).ok()?;
    Some(Told::Message { next: entry.position + 1, envelope })
}

/// Whether anything that is not kept can match.
fn wants_ephemeral(filter: &Filter) -> bool {
    let any = filter.kinds.is_empty() && filter.categories.is_empty();
    let named = |kind: &Kind| filter.kinds.contains(kind) || filter.categories.contains(&kind.category());
    any || Kind::ALL.iter().any(|kind| kind.is_ephemeral() && named(kind))
}

fn wants(filter: &Filter, entry: &Entry, wall: WallMs) -> bool {
    let Some(message) = entry.message() else { return false };
    let [topic, _] = message.kind.to_be_bytes();
    let Some(topic) = Category::from_tag(topic) else { return false };
    let any = filter.kinds.is_empty() && filter.categories.is_empty();
    let topical = any || filter.categories.contains(&topic) || filter.kinds.iter().any(|k| k.category() == topic);
    let by = filter.authors.is_empty() || filter.authors.contains(&entry.author);
    topical && by && filter.matches(topic, &message) && message.expires.is_none_or(|at| at > wall)
}
