//! From JSON to drafts, or to everything that is wrong with it.
//!
//! Two forms: the envelope, an object with the names of the documents, and the bare payload, whose kind and envelope
//! the query string gives. The bare form is the fast one: no tree is built between text and payload.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::types::{Domain, Hash, MessageId, WallMs, limits};
use crate::wire::kind::monitoring::Metrics;
use crate::wire::{Destination, Draft, FaultCode, Faults, Kind, Payload, Priority};

/// What the query string gives to every bare payload.
#[derive(Clone, Debug)]
pub struct Bare {
    /// The kind of all of them.
    pub kind: Kind,
    /// Their priority.
    pub priority: Priority,
    /// Whom they are for.
    pub destination: Destination,
    /// The conversation they belong to.
    pub correlation: Option<MessageId>,
    /// The message they follow from.
    pub parent: Option<MessageId>,
    /// After this they mean nothing.
    pub expires: Option<WallMs>,
    /// Words to filter by.
    pub tags: Vec<String>,
    /// The application's own entries.
    pub headers: BTreeMap<String, String>,
    /// Only the node they are for may read them.
    pub sealed: bool,
}

impl Bare {
    /// The draft of a payload in text.
    pub fn text(&self, text: &str, wall: WallMs) -> Result<Draft, Faults> {
        self.draft(Payload::from_json_str(self.kind, text), wall)
    }

    /// The draft of a payload in its binary form.
    pub fn binary(&self, bytes: &[u8], wall: WallMs) -> Result<Draft, Faults> {
        self.draft(Payload::from_binary(self.kind, bytes), wall)
    }

    fn draft(&self, payload: Result<Payload, Faults>, wall: WallMs) -> Result<Draft, Faults> {
        let mut draft = Draft::new(&payload?);
        draft.priority = self.priority;
        draft.destination = self.destination.clone();
        draft.correlation = self.correlation;
        draft.parent = self.parent;
        draft.expires = self.expires;
        draft.tags.clone_from(&self.tags);
        draft.headers.clone_from(&self.headers);
        draft.confidential = self.sealed;
        let mut faults = Faults::default();
        draft.check(wall, &mut faults);
        faults.or(draft)
    }
}

/// The draft of an envelope in text.
pub fn envelope_text(text: &str, wall: WallMs) -> Result<Draft, Faults> {
    match serde_json::from_str(text) {
        Ok(value) => envelope(&value, wall),
        Err(error) => Err(malformed(format!("not JSON: {error}"))),
    }
}

/// The fault of something that is no envelope at all.
pub fn malformed(detail: impl Into<String>) -> Faults {
    let mut faults = Faults::default();
    faults.add(FaultCode::Malformed, "", detail);
    faults
}

/// The names an envelope may have.
const NAMES: [&str; 13] = [
    "kind",
    "category",
    "message_type",
    "payload",
    "priority",
    "destination",
    "correlation_id",
    "parent_id",
    "expires_at",
    "tags",
    "headers",
    "sealed",
    "idempotency_key",
];

/// The draft of an envelope. Everything that is wrong with it and with the payload is told at once.
pub fn envelope(value: &Value, wall: WallMs) -> Result<Draft, Faults> {
    let Value::Object(given) = value else { return Err(malformed("a message is a JSON object")) };
    let mut fields = Fields { given, faults: Faults::default() };
    fields.refuse_unknown();
    let surroundings = fields.surroundings();
    let payload = fields.kind().and_then(|kind| fields.payload(kind));
    let mut faults = fields.faults;
    if payload.is_none() && faults.is_empty() {
        faults.add(FaultCode::Malformed, "/payload", "cannot be read");
    }
    // Around something else, where the payload cannot be read, so that all faults of the envelope are told as well.
    let draft = surroundings.around(Draft::new(payload.as_ref().unwrap_or(&stand_in())));
    draft.check(wall, &mut faults);
    faults.or(draft)
}

/// A small payload that is never published.
fn stand_in() -> Payload {
    let (service, samples) = (String::new(), Vec::new());
    Payload::Metrics(Metrics { service, start_ms: WallMs(0), end_ms: WallMs(0), samples })
}

/// An idempotency key as it is kept: its digest.
pub fn idempotency(key: &str) -> Result<Hash, String> {
    let most = limits::NAME_BYTES;
    let fits = (1..=most).contains(&key.len());
    fits.then(|| Domain::Idempotency.hash(&[key.as_bytes()])).ok_or_else(|| format!("a key has 1 to {most} bytes"))
}

/// What surrounds a payload.
struct Surroundings {
    priority: Priority,
    destination: Destination,
    correlation: Option<MessageId>,
    parent: Option<MessageId>,
    expires: Option<WallMs>,
    tags: Vec<String>,
    headers: BTreeMap<String, String>,
    sealed: bool,
    idempotency: Option<Hash>,
}

impl Surroundings {
    fn around(self, mut draft: Draft) -> Draft {
        draft.priority = self.priority;
        draft.destination = self.destination;
        draft.correlation = self.correlation;
        draft.parent = self.parent;
        draft.expires = self.expires;
        draft.tags = self.tags;
        draft.headers = self.headers;
        draft.confidential = self.sealed;
        draft.idempotency = self.idempotency;
        draft
    }
}

/// An envelope's fields, being read.
struct Fields<'a> {
    given: &'a Map<String, Value>,
    faults: Faults,
}

impl Fields<'_> {
    fn refuse_unknown(&mut self) {
        for name in self.given.keys().filter(|name| !NAMES.contains(&name.as_str())).take(limits::HEADERS) {
            let pointer: String = name.chars().take(limits::NAME_BYTES).collect();
            let pointer = format!("/{}", pointer.replace('~', "~0").replace('/', "~1"));
            let detail = format!("an envelope has no such field; it has {}", NAMES.join(", "));
            self.faults.add(FaultCode::UnknownField, pointer, detail);
        }
    }

    /// The value of a field; null is the same as nothing.
    fn value(&self, name: &str) -> Option<&Value> {
        self.given.get(name).filter(|value| !value.is_null())
    }

    /// Reads a field, or notes what it should have been.
    fn read<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let found = read(self.value(name)?);
        found.map_err(|detail| self.faults.add(FaultCode::Malformed, format!("/{name}"), detail)).ok()
    }

    fn text<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.read(name, |value| read(value.as_str().ok_or("is a text in quotes")?))
    }

    fn surroundings(&mut self) -> Surroundings {
        let id = |text: &str| text.parse::<MessageId>().map_err(|e| e.to_string());
        Surroundings {
            priority: self.text("priority", str::parse).unwrap_or_default(),
            destination: self.read("destination", destination).unwrap_or_default(),
            correlation: self.text("correlation_id", id),
            parent: self.text("parent_id", id),
            expires: self.read("expires_at", |v| {
                v.as_u64().map(WallMs).ok_or("is a whole number: milliseconds since 1970-01-01 UTC".into())
            }),
            tags: self.read("tags", tags).unwrap_or_default(),
            headers: self.read("headers", headers).unwrap_or_default(),
            sealed: self.read("sealed", |v| v.as_bool().ok_or("is true or false".into())).unwrap_or_default(),
            idempotency: self.text("idempotency_key", idempotency),
        }
    }

    /// The kind, by `kind` or by `category` and `message_type`; both may be given if they agree.
    fn kind(&mut self) -> Option<Kind> {
        let (category, message_type) = (self.text("category", owned), self.text("message_type", owned));
        let text = match (self.text("kind", owned), category, message_type) {
            (Some(kind), None, None) => kind,
            (None, Some(category), Some(message_type)) => format!("{category}/{message_type}"),
            (None, None, Some(message_type)) => message_type,
            (Some(kind), category, message_type) => return self.agreed(&kind, category, message_type),
            (None, Some(_), None) => {
                self.faults.add(FaultCode::MissingField, "/message_type", "name the type within the category");
                return None;
            }
            (None, None, None) => {
                if self.value("kind").is_none() {
                    let detail = "say what it is: `Data/ExchangeData`; `metanode kinds` lists all";
                    self.faults.add(FaultCode::MissingField, "/kind", detail);
                }
                return None;
            }
        };
        let at = if self.value("kind").is_some() { "/kind" } else { "/message_type" };
        self.known(&text, at)
    }

    fn agreed(&mut self, kind: &str, category: Option<String>, message_type: Option<String>) -> Option<Kind> {
        let kind = self.known(kind, "/kind")?;
        let same = |given: Option<String>, name: &str| given.is_none_or(|given| given.eq_ignore_ascii_case(name));
        if !same(category, kind.category().name()) {
            self.faults.add(FaultCode::Malformed, "/category", format!("{kind} is of another category"));
        }
        if !same(message_type, kind.name()) {
            self.faults.add(FaultCode::Malformed, "/message_type", format!("{kind} is another type"));
        }
        Some(kind)
    }

    fn known(&mut self, text: &str, at: &str) -> Option<Kind> {
        text.parse()
            .map_err(|e: crate::wire::kind::UnknownName| self.faults.add(FaultCode::UnknownKind, at, e.to_string()))
            .ok()
    }

    fn payload(&mut self, kind: Kind) -> Option<Payload> {
        let Some(value) = self.given.get("payload") else {
            let detail = format!("{kind} needs one; `metanode kinds {}` shows its schema", kind.name());
            self.faults.add(FaultCode::MissingField, "/payload", detail);
            return None;
        };
        match Payload::from_json(kind, value) {
            Ok(payload) => Some(payload),
            Err(found) => {
                for fault in found.as_slice() {
                    self.faults.add(fault.code, fault.path.clone(), fault.detail.clone());
                }
                None
            }
        }
    }
}

fn owned(text: &str) -> Result<String, String> {
    Ok(text.to_string())
}

fn destination(value: &Value) -> Result<Destination, String> {
    serde::Deserialize::deserialize(value).map_err(|e: serde_json::Error| {
        format!(
            "{e}; use \"everyone\" or an object with one of node, service, layer, node_type, topic: \
             {{\"node\": \"12D3Koo…\"}}"
        )
    })
}

fn tags(value: &Value) -> Result<Vec<String>, String> {
    serde::Deserialize::deserialize(value).map_err(|_| "is a list of texts".into())
}

fn headers(value: &Value) -> Result<BTreeMap<String, String>, String> {
    serde::Deserialize::deserialize(value).map_err(|_| "is an object of names and texts".into())
}
