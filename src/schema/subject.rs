//! A subject: the type of Custom messages that registrations are about, and which of them count.
//!
//! The rule, applied to the registrations of a subject in order of message id, and so the same at every node:
//!
//! 1. The author of the first one that counts owns the subject; of others none counts. A subject that begins with a
//!    node's id and a dot is that node's own: nobody else's counts.
//! 2. Versions are 1, 2, 3 …, each once. Of two registrations of one version the one with the lower id counts.
//! 3. A version must go with those before it as the version before it asks (`compatibility`); where that cannot be told,
//!    it does not count.
//!
//! An id is the time at which its author says it spoke, so a node that sets its clock back can come first. What it says
//! is signed, and shown with the time it came; a subject under a node's own id cannot be taken that way.

use serde_json::Value;

use super::compat::{Conflict, compare};
use super::document::Document;
use super::rows::{Registration, registrations};
use crate::types::storage::View;
use crate::types::{MessageId, NodeId};
use crate::wire::kind::schemas::Compatibility;
use crate::wire::{FaultCode, Faults};

/// Versions of one subject.
pub const SUBJECT_VERSIONS: usize = 64;
/// Registrations of one subject that are remembered though they do not count: all are judged, however many strangers
/// say, so that nobody keeps an owner's from counting.
const PASSED: usize = 256;
/// Steps of all comparisons of one subject; beyond it nothing can be told any more.
const FUEL: usize = 500_000;
/// Where a registration's schema is in its message.
const SCHEMA: &str = "/payload/schema";

/// A version that counts.
#[derive(Debug)]
pub struct Version {
    /// Where and by whom it was said.
    pub registration: Registration,
    /// What it says.
    pub document: Document,
}

/// A registration that does not count.
#[derive(Debug)]
pub struct Passed {
    /// Where and by whom it was said.
    pub registration: Registration,
    /// Why not.
    pub faults: Faults,
}

/// A subject as its registrations make it.
#[derive(Debug)]
pub struct Subject {
    name: String,
    versions: Vec<Version>,
    passed: Vec<Passed>,
    fuel: usize,
}

impl Subject {
    /// As the store has it.
    pub fn load(name: &str, view: &dyn View) -> Subject {
        let mut subject = Subject::new(name);
        registrations(name, view, &mut |registration| subject.take(registration));
        subject
    }

    /// Of its registrations, in any order.
    pub fn fold(name: &str, mut registrations: Vec<Registration>) -> Subject {
        let mut subject = Subject::new(name);
        registrations.sort_by_key(|registration| registration.message);
        registrations.dedup_by_key(|registration| registration.message);
        registrations.into_iter().for_each(|registration| subject.take(registration));
        subject
    }

    fn new(name: &str) -> Subject {
        Subject { name: name.into(), versions: Vec::new(), passed: Vec::new(), fuel: FUEL }
    }

    /// The next registration in order of message id.
    fn take(&mut self, registration: Registration) {
        let said = &registration.said;
        let mut fuel = self.fuel;
        // Who may not speak, or speaks out of turn, is not worth reading.
        let standing = self.standing(registration.author, said.version).or(());
        let read = standing.and_then(|()| self.join(&said.schema.value(), &mut fuel));
        self.fuel = fuel;
        match read {
            Ok(document) => self.versions.push(Version { registration, document }),
            Err(faults) if self.passed.len() < PASSED => self.passed.push(Passed { registration, faults }),
            Err(_) => {}
        }
    }

    /// What is registered.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose it is; none as long as nothing counts.
    pub fn owner(&self) -> Option<NodeId> {
        self.versions.first().map(|version| version.registration.author)
    }

    /// The versions, 1 first.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// What does not count, in order of message id: the first of it.
    pub fn passed(&self) -> &[Passed] {
        &self.passed
    }

    /// A version by its number.
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.get((number as usize).checked_sub(1)?)
    }

    /// The number of the last version; 0 where there is none.
    pub fn latest(&self) -> u32 {
        self.versions.len() as u32
    }

    /// What the next version is held to.
    pub fn compatibility(&self) -> Compatibility {
        self.versions.last().map_or(Compatibility::None, |version| version.registration.said.compatibility)
    }

    /// The version in which a message was registered, if it counts.
    pub fn counted(&self, message: MessageId) -> Option<&Version> {
        self.versions.iter().find(|version| version.registration.message == message)
    }

    /// The document of the next version, if `author` may say it now. Fails with everything that is in the way.
    pub fn admit(&self, author: NodeId, version: u32, schema: &Value) -> Result<Document, Faults> {
        let mut faults = self.standing(author, version);
        match self.join(schema, &mut self.fuel.clone()) {
            Ok(document) => faults.or(document),
            Err(found) => {
                faults.extend(&found);
                Err(faults)
            }
        }
    }

    /// What stands between a new version and those there are.
    pub fn conflicts(&self, mode: Compatibility, new: &Document) -> Vec<Conflict> {
        self.compared(mode, new, &mut self.fuel.clone())
    }

    fn compared(&self, mode: Compatibility, new: &Document, fuel: &mut usize) -> Vec<Conflict> {
        let old: Vec<(u32, &Document)> = (1..).zip(self.versions.iter().map(|version| &version.document)).collect();
        compare(mode, new, &old, fuel)
    }

    /// What is in the way of a version, whatever it says.
    fn standing(&self, author: NodeId, version: u32) -> Faults {
        let mut faults = Faults::default();
        self.may_say(author, &mut faults);
        let next = self.latest() + 1;
        if version != next {
            faults.add(FaultCode::Rule, "/payload/version", format!("the next version is {next}"));
        }
        if self.versions.len() >= SUBJECT_VERSIONS {
            let detail = format!("a subject has at most {SUBJECT_VERSIONS} versions; begin another subject");
            faults.add(FaultCode::TooLarge, "/payload/version", detail);
        }
        faults
    }

    /// What the next version says, if it goes with those before it.
    fn join(&self, schema: &Value, fuel: &mut usize) -> Result<Document, Faults> {
        let document = Document::read(schema, SCHEMA)?;
        let mut faults = Faults::default();
        told(&self.compared(self.compatibility(), &document, fuel), &mut faults);
        faults.or(document)
    }

    /// Everything about a body that the version it names does not allow. `media` is what the message says its body is.
    pub fn check(&self, version: u32, media: &str, body: &[u8]) -> Faults {
        let mut faults = Faults::default();
        let Some(known) = self.version(version) else {
            let detail = format!("{} has no version {version} here; the last is {}", self.name, self.latest());
            faults.add(FaultCode::Rule, "/payload/schema_version", detail);
            return faults;
        };
        if !is_json(media) {
            let detail = format!("{} has a schema: its body is application/json", self.name);
            faults.add(FaultCode::Rule, "/payload/content_type", detail);
        }
        match serde_json::from_slice(body) {
            Ok(body) => {
                faults.extend(&known.document.check(&body, "/payload/body"));
            }
            Err(error) => faults.add(FaultCode::Malformed, "/payload/body", format!("is not JSON: {error}")),
        }
        faults
    }

    fn may_say(&self, author: NodeId, faults: &mut Faults) {
        let first = self.name.split('.').next().filter(|first| first.len() < self.name.len());
        let of = first.and_then(|first| first.parse::<NodeId>().ok()).or(self.owner());
        if let Some(of) = of.filter(|of| *of != author) {
            let detail = format!("{} belongs to {of}; choose a subject of your own", self.name);
            faults.add(FaultCode::NotAuthorised, "/payload/subject", detail);
        }
    }
}

/// Whether a media type is JSON's (RFC 6839, section 3.1).
fn is_json(media: &str) -> bool {
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || media.ends_with("+json")
}

/// Conflicts as faults of the registration's schema.
fn told(conflicts: &[Conflict], faults: &mut Faults) {
    for conflict in conflicts {
        let (new, old) = ("the new schema", format!("version {}", conflict.version));
        let (taker, giver) = match conflict.direction {
            super::Direction::Backward => (new, old.as_str()),
            super::Direction::Forward => (old.as_str(), new),
        };
        for finding in &conflict.findings {
            let sure = if finding.certain { "" } else { "cannot be compared: " };
            let detail = format!("{sure}{taker} {}; {giver} does not keep to that", finding.reason);
            faults.add(FaultCode::Rule, format!("{SCHEMA}{}", finding.path), detail);
        }
    }
}
