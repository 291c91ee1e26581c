//! Registrations as rows: every one that came is kept, whether it counts or not, because which one counts may change
//! with what comes later.
//!
//! ```text
//!  Schema        subject, 0, message id 16 → version 1, author, feed's life, sequence, arrived, payload
//!  Schema        subject, 0                → how often the rows of this subject have changed, 8
//!  SchemaAuthor  author 32, message id 16  → subject
//! ```
//!
//! Of one author the [`AUTHOR_SCHEMAS`] registrations with the lowest ids are kept: the same ones everywhere, in
//! whatever order they came. Rows are not retired with the messages they came in.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::types::row::{decode, encode};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Incarnation, MessageId, NodeId, WallMs};
use crate::wire::kind::schemas::SchemaRegistration;
use crate::wire::{Kind, Payload};

/// Registrations of one author that are kept.
pub const AUTHOR_SCHEMAS: usize = 256;
const VERSION: u8 = 1;

/// A registration and where it was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// In which message.
    pub message: MessageId,
    /// By whom, in which life, in which bundle of its feed.
    pub author: NodeId,
    pub incarnation: Incarnation,
    pub sequence: u64,
    /// When it came to this node.
    pub arrived: WallMs,
    /// What it says.
    pub said: SchemaRegistration,
}

/// A row's value.
#[derive(Serialize, Deserialize)]
struct Row {
    version: u8,
    author: NodeId,
    incarnation: Incarnation,
    sequence: u64,
    arrived: WallMs,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
}

/// The rows are the state; this counts them, by author.
#[derive(Debug, Default)]
pub struct Rows {
    authors: BTreeMap<NodeId, usize>,
}

impl Rows {
    /// Counts what the store has.
    pub fn load(view: &dyn View) -> Rows {
        let start = Key::new(Table::SchemaAuthor, &[]);
        let mut authors = BTreeMap::new();
        view.scan(&start, &start.after_prefix(), &mut |key, _| {
            if let Some(author) = key.get(1..).and_then(|rest| rest.first_chunk::<32>()) {
                *authors.entry(NodeId(*author)).or_default() += 1;
            }
            ControlFlow::Continue(())
        });
        Rows { authors }
    }

    /// Keeps a registration.
    pub fn keep(&mut self, registration: &Registration, tx: &mut Txn<'_>) {
        let Registration { message, author, ref said, .. } = *registration;
        let key = row_key(&said.subject, message);
        if tx.get(&key).is_some() {
            return;
        }
        let row = Row {
            version: VERSION,
            author,
            incarnation: registration.incarnation,
            sequence: registration.sequence,
            arrived: registration.arrived,
            payload: Payload::SchemaRegistration(said.clone()).encode(),
        };
        tx.put(key, encode(&row));
        tx.put(author_key(author, message), said.subject.clone().into_bytes());
        touch(&said.subject, tx);
        let count = self.authors.entry(author).or_default();
        *count += 1;
        if *count > AUTHOR_SCHEMAS
            && let Some((last, subject)) = last_of(author, tx)
        {
            self.remove(author, last, &subject, tx);
        }
    }

    /// A feed of the author was cut: what it said from there on counts for nothing, and others never get it.
    pub fn cut(&mut self, author: NodeId, incarnation: Incarnation, from: u64, tx: &mut Txn<'_>) {
        for (message, subject) in all_of(author, tx) {
            let row = tx.get(&row_key(&subject, message)).and_then(|row| read(message, &row));
            if row.is_some_and(|row| row.incarnation == incarnation && row.sequence >= from) {
                self.remove(author, message, &subject, tx);
            }
        }
    }

    fn remove(&mut self, author: NodeId, message: MessageId, subject: &str, tx: &mut Txn<'_>) {
        tx.delete(row_key(subject, message));
        tx.delete(author_key(author, message));
        touch(subject, tx);
        if let Some(count) = self.authors.get_mut(&author) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Hands over the registrations of a subject, in order of message id.
pub fn registrations(subject: &str, view: &dyn View, take: &mut dyn FnMut(Registration)) {
    let start = subject_key(subject);
    view.scan(&start, &start.after_prefix(), &mut |key, row| {
        let message = key.get(start.as_bytes().len()..).and_then(|id| id.try_into().ok()).map(MessageId);
        if let Some(registration) = message.and_then(|message| read(message, row)) {
            take(registration);
        }
        ControlFlow::Continue(())
    });
}

/// How often the registrations of a subject have changed here; none where there never was one.
pub fn revision(subject: &str, view: &dyn View) -> Option<u64> {
    let row = view.get(&subject_key(subject))?;
    row.as_ref().try_into().ok().map(u64::from_be_bytes)
}

/// Every subject that somebody registered, after `after`, in order, at most so many.
pub fn subjects(after: Option<&str>, most: usize, view: &dyn View) -> Vec<String> {
    let all = Key::new(Table::Schema, &[]);
    let mut from = after.map_or_else(|| all.clone(), |after| subject_key(after).after_prefix());
    let mut found: Vec<String> = Vec::new();
    while found.len() < most {
        let mut next = None;
        view.scan(&from, &all.after_prefix(), &mut |key, _| {
            let name = key.get(1..).and_then(|rest| rest.split(|byte| *byte == 0).next());
            next = name.and_then(|name| std::str::from_utf8(name).ok()).map(String::from);
            ControlFlow::Break(())
        });
        let Some(subject) = next else { break };
        from = subject_key(&subject).after_prefix();
        found.push(subject);
    }
    found
}

fn subject_key(subject: &str) -> Key {
    Key::new(Table::Schema, &[subject.as_bytes(), &[0]])
}

fn row_key(subject: &str, message: MessageId) -> Key {
    Key::new(Table::Schema, &[subject.as_bytes(), &[0], message.as_bytes()])
}

fn author_key(author: NodeId, message: MessageId) -> Key {
    Key::new(Table::SchemaAuthor, &[author.as_bytes(), message.as_bytes()])
}

fn touch(subject: &str, tx: &mut Txn<'_>) {
    let next = revision(subject, tx).unwrap_or_default() + 1;
    tx.put(subject_key(subject), next.to_be_bytes().to_vec());
}

fn last_of(author: NodeId, view: &dyn View) -> Option<(MessageId, String)> {
    let start = Key::new(Table::SchemaAuthor, &[author.as_bytes()]);
    let (key, subject) = view.last(&start, &start.after_prefix())?;
    Some((message_of(&key)?, String::from_utf8(subject.to_vec()).ok()?))
}

fn all_of(author: NodeId, view: &dyn View) -> Vec<(MessageId, String)> {
    let start = Key::new(Table::SchemaAuthor, &[author.as_bytes()]);
    let mut found = Vec::new();
    view.scan(&start, &start.after_prefix(), &mut |key, subject| {
        found.extend(message_of(key).zip(String::from_utf8(subject.to_vec()).ok()));
        ControlFlow::Continue(())
    });
    found
}

fn message_of(key: &[u8]) -> Option<MessageId> {
    key.last_chunk::<16>().copied().map(MessageId)
}

fn read(message: MessageId, row: &[u8]) -> Option<Registration> {
    let row: Row = decode(row)?;
    match Payload::decode(Kind::SchemaRegistration, &row.payload) {
        Ok(Payload::SchemaRegistration(said)) if row.version == VERSION => Some(Registration {
            message,
            author: row.author,
            incarnation: row.incarnation,
            sequence: row.sequence,
            arrived: row.arrived,
            said,
        }),
        _ => None,
    }
}
