//! What happened in a run, as a digest and, when asked for, as text.

use std::fmt;

use crate::types::{Domain, Hash};
use crate::wire::{Course, Response, StateResponse, Verified};

/// Everything that happened, in order.
pub struct Trace {
    hasher: blake3::Hasher,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace; `readable` keeps the text too.
    pub fn new(readable: bool) -> Trace {
        Trace { hasher: Domain::Trace.hasher(), lines: readable.then(Vec::new) }
    }

    /// At `at` microseconds `event` happened to `peer`; `key` says with what, `text` says it to people.
    pub fn note(&mut self, at: u64, peer: usize, event: &str, key: &[u8], text: fmt::Arguments<'_>) {
        self.hasher.update(&at.to_be_bytes());
        self.hasher.update(&(peer as u64).to_be_bytes());
        self.hasher.update(&(event.len() as u64).to_be_bytes());
        self.hasher.update(event.as_bytes());
        self.hasher.update(&(key.len() as u64).to_be_bytes());
        self.hasher.update(key);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>11.6}  {peer}  {event:<10} {text}", at as f64 / 1e6));
        }
    }

    /// The digest of all that was noted.
    pub fn hash(&self) -> Hash {
        Hash(*self.hasher.finalize().as_bytes())
    }

    /// The text, where it was kept.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

/// The places of bundles, for people.
pub struct Slots<'a>(pub &'a [Verified]);

impl fmt::Display for Slots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, bundle) in self.0.iter().enumerate() {
            let (header, comma) = (bundle.header(), if n > 0 { ", " } else { "" });
            let (author, topic) = (header.feed.author, header.feed.topic.slug());
            match header.course {
                Course::Ephemeral => write!(f, "{comma}{author:?} {topic} ephemeral")?,
                Course::Direct => write!(f, "{comma}{author:?} {topic} direct")?,
                Course::Feed => {
                    write!(f, "{comma}{author:?}.{:x} {topic} {}", header.feed.incarnation.0, header.sequence)?;
                }
            }
        }
        Ok(())
    }
}

/// What an answer has in it, for people.
pub struct Summary<'a>(pub &'a Response);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Response::Heads { heads, more } => {
                write!(f, "{} heads{}", heads.len(), if *more { ", and more" } else { "" })
            }
            Response::Range { floor, bundles } => write!(f, "{} bundles, floor {floor}", bundles.len()),
            Response::Fork { .. } => write!(f, "the proof of a fork"),
            Response::Unserved(why) => write!(f, "{why:?}"),
            Response::Receipt(receipt) => write!(f, "{}", receipt.delivery.words()),
            Response::Chain(_) => write!(f, "about the chain"),
            Response::State(StateResponse::Collections { listed, .. }) => write!(f, "{} collections", listed.len()),
            Response::State(StateResponse::Compared { ranges, writes }) => {
                write!(f, "{} bytes of ranges, writes of {} bundles", ranges.len(), writes.len())
            }
            Response::State(StateResponse::Taken) => write!(f, "taken"),
            Response::State(StateResponse::Endorsed(said)) => write!(f, "{said:?}"),
            Response::State(StateResponse::Rolled { entries, .. }) => write!(f, "{} of a roll", entries.len()),
        }
    }
}
