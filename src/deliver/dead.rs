//! Dead letters: what a subscription could not take, why, and the message itself.
//!
//! ```text
//!  Dead    name, 0, position 8 → version 1, message id, disposition, reason, attempts, times, history
//!  Letter  name, 0, position 8 → the message with its proof
//! ```
//!
//! A letter outlives the log: retention may take the message, and what became of it can still be shown and proved.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::spec::Name;
use super::subscription::{Failure, FailureNote};
use crate::types::row::{decode, encode};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{MessageId, WallMs};

const VERSION: u8 = 1;

/// Why a message is dead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// It failed as often as it may.
    MaxAttempts,
    /// Its consumer will never take it.
    Rejected,
    /// Its time was over, or it was let go, before it was taken.
    Expired,
    /// There is no way to where it is to go.
    NoRoute,
    /// What it is for was down for too long.
    CircuitOpen,
    /// Its consumer does not understand it.
    Schema,
    /// Its consumer has no room for it.
    Overflow,
}

impl Disposition {
    /// All of them.
    pub const ALL: [Disposition; 7] = [
        Disposition::MaxAttempts,
        Disposition::Rejected,
        Disposition::Expired,
        Disposition::NoRoute,
        Disposition::CircuitOpen,
        Disposition::Schema,
        Disposition::Overflow,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Disposition::MaxAttempts => "max_attempts",
            Disposition::Rejected => "rejected",
            Disposition::Expired => "expired",
            Disposition::NoRoute => "no_route",
            Disposition::CircuitOpen => "circuit_open",
            Disposition::Schema => "schema",
            Disposition::Overflow => "overflow",
        }
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Disposition {
    type Err = String;

    fn from_str(text: &str) -> Result<Disposition, String> {
        let found = Disposition::ALL.into_iter().find(|d| d.name() == text);
        found.ok_or_else(|| {
            let names = Disposition::ALL.map(Disposition::name).join(", ");
            format!("`{text}` is no disposition: use one of {names}")
        })
    }
}

/// A message as whoever reads the log hands it over when it dies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// Its id.
    pub id: MessageId,
    /// The message with its proof.
    pub proof: Bytes,
}

/// A message that a subscription could not take.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct DeadLetter {
    /// Whose.
    pub subscription: Name,
    /// Its place in this node's log.
    pub position: u64,
    /// Its id; none when it was let go before it died.
    pub message: Option<MessageId>,
    /// Why it is dead, in one word.
    pub disposition: Disposition,
    /// Why, in words.
    pub reason: String,
    /// How often it was handed out.
    pub attempts: u32,
    /// When it failed first, and last, milliseconds since 1970.
    pub first_ms: Option<WallMs>,
    pub last_ms: Option<WallMs>,
    /// When it died, milliseconds since 1970.
    pub died_ms: WallMs,
    /// Its failures, the newest last, at most eight.
    pub history: Vec<FailureNote>,
    /// Size of the message with its proof.
    pub size_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Row {
    version: u8,
    message: Option<MessageId>,
    disposition: u8,
    reason: String,
    attempts: u32,
    died_ms: WallMs,
    failure: Failure,
    size_bytes: u64,
}

impl DeadLetter {
    pub(super) fn new(
        subscription: &Name,
        position: u64,
        disposition: Disposition,
        (attempts, failure): (u32, Failure),
        letter: Option<&Letter>,
        now: WallMs,
    ) -> DeadLetter {
        let reason = failure.history.last().map(|note| note.reason.clone()).unwrap_or_default();
        DeadLetter {
            subscription: subscription.clone(),
            position,
            message: letter.map(|letter| letter.id),
            disposition,
            reason,
            attempts,
            first_ms: failure.first_ms,
            last_ms: failure.last_ms,
            died_ms: now,
            history: failure.history,
            size_bytes: letter.map_or(0, |letter| letter.proof.len() as u64),
        }
    }

    pub(super) fn save(&self, letter: Option<&Letter>, tx: &mut Txn<'_>) {
        let row = Row {
            version: VERSION,
            message: self.message,
            disposition: self.disposition as u8,
            reason: self.reason.clone(),
            attempts: self.attempts,
            died_ms: self.died_ms,
            failure: Failure {
                times: 0,
                first_ms: self.first_ms,
                last_ms: self.last_ms,
                history: self.history.clone(),
            },
            size_bytes: self.size_bytes,
        };
        tx.put(key(Table::Dead, &self.subscription, self.position), encode(&row));
        if let Some(letter) = letter {
            tx.put(key(Table::Letter, &self.subscription, self.position), letter.proof.clone());
        }
    }

    pub(super) fn remove(&self, tx: &mut Txn<'_>) {
        tx.delete(key(Table::Dead, &self.subscription, self.position));
        tx.delete(key(Table::Letter, &self.subscription, self.position));
    }

    fn read(bytes: &[u8], value: &[u8]) -> Option<DeadLetter> {
        let (subscription, position) = place(bytes)?;
        let row: Row = decode(value).filter(|row: &Row| row.version == VERSION)?;
        Some(DeadLetter {
            subscription,
            position,
            message: row.message,
            disposition: Disposition::ALL.into_iter().find(|d| *d as u8 == row.disposition)?,
            reason: row.reason,
            attempts: row.attempts,
            first_ms: row.failure.first_ms,
            last_ms: row.failure.last_ms,
            died_ms: row.died_ms,
            history: row.failure.history,
            size_bytes: row.size_bytes,
        })
    }
}

/// Which dead letters. What is not said is not asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selector {
    /// Of this subscription.
    pub subscription: Option<Name>,
    /// At this position.
    pub position: Option<u64>,
    /// That died of this.
    pub disposition: Option<Disposition>,
    /// That died before this.
    pub before: Option<WallMs>,
    /// After this one, in the order of names and positions.
    pub after: Option<(Name, u64)>,
}

impl Selector {
    fn selects(&self, dead: &DeadLetter) -> bool {
        self.position.is_none_or(|position| dead.position == position)
            && self.disposition.is_none_or(|disposition| dead.disposition == disposition)
            && self.before.is_none_or(|before| dead.died_ms < before)
    }

    /// The keys it may select.
    fn range(&self) -> (Key, Key) {
        let all = match (&self.subscription, self.position) {
            (Some(name), Some(position)) => key(Table::Dead, name, position),
            (Some(name), None) => Key::new(Table::Dead, &[name.as_str().as_bytes(), &[0]]),
            (None, _) => Key::new(Table::Dead, &[]),
        };
        let after = self.after.as_ref().map(|(name, position)| key(Table::Dead, name, *position).after_prefix());
        let to = all.after_prefix();
        (after.unwrap_or_else(|| all.clone()).max(all), to)
    }
}

/// Some dead letters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadPage {
    /// In the order of names and positions.
    pub letters: Vec<DeadLetter>,
    /// There may be more after this one.
    pub next: Option<(Name, u64)>,
    /// Rows that cannot be read.
    pub damaged: u64,
}

/// Up to `most` dead letters that `selector` selects, of at most `look` that it may.
pub fn dead_letters(selector: &Selector, most: usize, look: usize, view: &dyn View) -> DeadPage {
    let mut page = DeadPage::default();
    let (from, to) = selector.range();
    let (mut seen, mut last) = (0, None);
    view.scan(&from, &to, &mut |key, value| {
        if seen == look || page.letters.len() == most {
            page.next = last.take();
            return ControlFlow::Break(());
        }
        seen += 1;
        last = place(key);
        match DeadLetter::read(key, value) {
            Some(dead) if selector.selects(&dead) => page.letters.push(dead),
            Some(_) => {}
            None => page.damaged += 1,
        }
        ControlFlow::Continue(())
    });
    page
}

/// One dead letter.
pub fn dead_letter(name: &Name, position: u64, view: &dyn View) -> Option<DeadLetter> {
    let key = key(Table::Dead, name, position);
    view.get(&key).and_then(|row| DeadLetter::read(key.as_bytes(), &row))
}

/// The message of a dead letter with its proof; none when it was let go before it died.
pub fn letter(name: &Name, position: u64, view: &dyn View) -> Option<Bytes> {
    view.get(&key(Table::Letter, name, position))
}

fn key(table: Table, name: &Name, position: u64) -> Key {
    Key::new(table, &[name.as_str().as_bytes(), &[0], &position.to_be_bytes()])
}

/// Whose letter a key is of, and its position.
fn place(key: &[u8]) -> Option<(Name, u64)> {
    let (rest, position) = key.get(1..)?.split_last_chunk::<8>()?;
    let name = std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?;
    Some((name.parse().ok()?, u64::from_be_bytes(*position)))
}
