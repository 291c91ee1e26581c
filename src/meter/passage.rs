//! What passed a stage, or was refused there.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::tally::Class;
use crate::types::{MessageId, NodeId};
use crate::wire::{Category, Draft, Filter, Kind, Priority, Verified, messages_in};

/// The stages every message goes through, in order. (In the code `Stage` is when a wish may leave the node.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Station {
    /// Bytes become drafts or bundles: their shape is right.
    Preprocess,
    /// They are what their author may say: rules, schemas, signatures, limits.
    Validate,
    /// Drafts become a signed bundle; a bundle of another author finds its place in its feed.
    Transform,
    /// A position in the log, and whoever in the node it concerns.
    Route,
    /// Committed, gossiped, shown to readers.
    Deliver,
    /// What hangs on the disk: answers to whoever published, receipts.
    Postprocess,
}

impl Station {
    /// Every stage, in order.
    pub const ALL: [Station; 6] = [
        Station::Preprocess,
        Station::Validate,
        Station::Transform,
        Station::Route,
        Station::Deliver,
        Station::Postprocess,
    ];

    /// Its name in metrics, at the API and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Station::Preprocess => "preprocess",
            Station::Validate => "validate",
            Station::Transform => "transform",
            Station::Route => "route",
            Station::Deliver => "deliver",
            Station::Postprocess => "postprocess",
        }
    }
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Station {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Station::ALL.into_iter().find(|station| station.name() == text);
        let names = || Station::ALL.map(Station::name).join(", ");
        found.ok_or_else(|| format!("`{text}` is not a stage: use {}", names()))
    }
}

/// How a stage ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It went on.
    Passed,
    /// It ended here, for this reason: one of a closed list.
    Refused(&'static str),
}

/// What it is about.
#[derive(Clone, Debug)]
pub enum What {
    /// A bundle by an author; with its unpacked messages while somebody may want to see them.
    Bundle { author: NodeId, body: Option<Bytes> },
    /// Messages that have no id yet, or no shape.
    Drafts { kind: Option<Kind> },
}

/// Messages that a stage is through with: a bundle of them, or those of a call that are alike.
#[derive(Clone, Debug)]
pub struct Passage {
    /// Which stage.
    pub station: Station,
    /// Whether this node's clients or the node itself say them.
    pub own: bool,
    /// Rank and category; none for what could not be read.
    pub class: Option<Class>,
    /// How many messages.
    pub messages: u64,
    /// Their bytes, as they travel.
    pub bytes: u64,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What is known of them.
    pub what: What,
    /// How long ago they were created by their author's clock, microseconds: of what comes live from others and is
    /// kept.
    pub age_us: Option<u64>,
}

impl Passage {
    /// A bundle that passed.
    pub fn bundle(station: Station, bundle: &Verified, own: bool, took_us: u64) -> Passage {
        let header = bundle.header();
        let (category, author) = (header.feed.topic, header.feed.author);
        Passage {
            station,
            own,
            class: Some(Class { priority: header.priority.rank(category), category }),
            messages: u64::from(header.count),
            bytes: bundle.wire().len() as u64,
            took_us,
            outcome: Outcome::Passed,
            what: What::Bundle { author, body: Some(bundle.body().clone()) },
            age_us: None,
        }
    }

    /// The same, refused.
    pub fn refused(mut self, reason: &'static str) -> Passage {
        self.outcome = Outcome::Refused(reason);
        self
    }

    /// The same at another stage.
    pub fn at(&self, station: Station, took_us: u64) -> Passage {
        Passage { station, took_us, age_us: None, ..self.clone() }
    }

    /// Drafts of a call, those of one rank and category together.
    pub fn drafts(station: Station, drafts: &[Draft], took_us: u64, outcome: Outcome) -> Vec<Passage> {
        let mut counts = [[(0_u64, 0_u64); Category::ALL.len()]; Priority::ALL.len()];
        for draft in drafts {
            let category = draft.kind().category();
            let place = counts.get_mut(draft.priority.rank(category) as usize);
            if let Some((messages, bytes)) = place.and_then(|row| row.get_mut(place_of(category))) {
                *messages += 1;
                *bytes += draft.payload().len() as u64;
            }
        }
        let alike = drafts.first().map(Draft::kind).filter(|kind| drafts.iter().all(|draft| draft.kind() == *kind));
        let all = Priority::ALL.into_iter().zip(counts);
        let all =
            all.flat_map(|(priority, row)| Category::ALL.into_iter().zip(row).map(move |(c, n)| (priority, c, n)));
        let some = all.filter(|(_, _, (messages, _))| *messages > 0);
        some.map(|(priority, category, (messages, bytes))| Passage {
            station,
            own: true,
            class: Some(Class { priority, category }),
            messages,
            bytes,
            took_us,
            outcome,
            what: What::Drafts { kind: alike },
            age_us: None,
        })
        .collect()
    }

    /// Messages of which nothing is known but why they were refused.
    pub fn unread(station: Station, own: bool, messages: u64, reason: &'static str) -> Passage {
        Passage {
            station,
            own,
            class: None,
            messages,
            bytes: 0,
            took_us: 0,
            outcome: Outcome::Refused(reason),
            what: What::Drafts { kind: None },
            age_us: None,
        }
    }

    /// Lets go of the messages themselves.
    pub fn strip(&mut self) {
        if let What::Bundle { body, .. } = &mut self.what {
            *body = None;
        }
    }

    /// What a filter lets through of it, for a person to look at.
    pub fn seen(&self, filter: &Filter) -> Vec<Seen> {
        let one = |id, kind, author, messages| Seen {
            stage: self.station,
            outcome: if self.outcome == Outcome::Passed { "passed" } else { "refused" },
            reason: match self.outcome {
                Outcome::Passed => None,
                Outcome::Refused(reason) => Some(reason),
            },
            took_us: self.took_us,
            own: self.own,
            priority: self.class.map(|class| class.priority),
            category: self.class.map(|class| class.category),
            kind,
            id,
            author,
            messages,
        };
        match (&self.what, self.class) {
            (What::Bundle { author, body: Some(body) }, Some(class)) => {
                if !filter.topic_and_author(class.category, *author) {
                    return Vec::new();
                }
                let wanted = messages_in(body).filter(|message| filter.matches(class.category, message));
                wanted.map(|message| one(Some(message.id), message.known_kind(), Some(*author), 1)).collect()
            }
            (What::Bundle { author, .. }, _) if self.may_pass(filter, Some(*author), None) => {
                vec![one(None, None, Some(*author), self.messages)]
            }
            (What::Drafts { kind }, _) if self.may_pass(filter, None, *kind) => {
                vec![one(None, *kind, None, self.messages)]
            }
            (What::Bundle { .. } | What::Drafts { .. }, _) => Vec::new(),
        }
    }

    /// Whether what is known of it does not speak against a filter that asks for no more than that.
    fn may_pass(&self, filter: &Filter, author: Option<NodeId>, kind: Option<Kind>) -> bool {
        let any_kind = filter.kinds.is_empty() && filter.categories.is_empty();
        let by_category = self.class.is_some_and(|class| filter.categories.contains(&class.category));
        let by_kind = kind.is_some_and(|kind| filter.kinds.contains(&kind));
        let by_author = filter.authors.is_empty() || author.is_some_and(|author| filter.authors.contains(&author));
        (any_kind || by_category || by_kind) && by_author && filter.tags.is_empty() && filter.correlation.is_none()
    }
}

fn place_of(category: Category) -> usize {
    Category::ALL.iter().position(|other| *other == category).unwrap_or_default()
}

/// A message at a stage, or some that are alike and have no ids yet.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Seen {
    /// Which stage.
    pub stage: Station,
    /// `passed` or `refused`.
    pub outcome: &'static str,
    /// Why it was refused.
    pub reason: Option<&'static str>,
    /// How long the stage took for it and those it travels with, microseconds.
    pub took_us: u64,
    /// Whether this node says it.
    pub own: bool,
    /// The rank it is handled at, and its category; none for what could not be read.
    pub priority: Option<Priority>,
    pub category: Option<Category>,
    /// Its kind, where it is known.
    pub kind: Option<Kind>,
    /// Its id, once it has one.
    pub id: Option<MessageId>,
    /// Its author, once it has one.
    pub author: Option<NodeId>,
    /// How many messages this stands for.
    pub messages: u64,
}
