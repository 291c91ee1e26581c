//! What readers need beside the log. Holds Custom messages against the schemas registered for their types: at the edge, before they are said, and when
//! they are read.
//!
//! Registrations are rows; what they come to is worked out here, once for each change of a subject, on the threads that
//! read. Nothing of it costs the node's owner anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::vault::Vault;
use crate::feed::Entry;
use crate::schema::{Subject, revision};
use crate::store::Store;
use crate::types::NodeId;
use crate::wire::kind::external::Custom;
use crate::wire::{ContentType, Course, Draft, FaultCode, Faults, Kind, Message, Payload};

/// Subjects kept worked out; beyond it all are let go and worked out again when they are asked for.
const KNOWN: usize = 1_024;

/// The registry as readers see it.
pub struct Judge {
    store: Arc<Store>,
    known: Mutex<BTreeMap<String, (u64, Arc<Subject>)>>,
    refused: AtomicU64,
    withheld: AtomicU64,
    vault: Option<Vault>,
}

impl Judge {
    /// Of the registrations in a store.
    pub fn new(store: Arc<Store>) -> Judge {
        Judge { store, known: Mutex::default(), refused: AtomicU64::new(0), withheld: AtomicU64::new(0), vault: None }
    }

    /// The same, with this node's sealing keys.
    pub fn holding(self, vault: Vault) -> Judge {
        Judge { vault: Some(vault), ..self }
    }

    /// This node's sealing keys.
    pub fn vault(&self) -> Option<&Vault> {
        self.vault.as_ref()
    }

    /// A subject as it is now; none if nobody ever registered it. Reads the store.
    pub fn subject(&self, name: &str) -> Option<Arc<Subject>> {
        // A name with this byte in it would be another key.
        let revision = revision(name, self.store.as_ref()).filter(|_| !name.contains('\0'))?;
        let known = |known: &BTreeMap<String, (u64, Arc<Subject>)>| {
            known.get(name).filter(|(of, _)| *of == revision).map(|(_, subject)| subject.clone())
        };
        if let Some(subject) = known(&self.known.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Some(subject);
        }
        let subject = Arc::new(Subject::load(name, self.store.as_ref()));
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KNOWN {
            all.clear();
        }
        all.insert(name.into(), (revision, subject.clone()));
        Some(subject)
    }

    /// Whether a draft is one that is held against the registry.
    pub fn concerns(draft: &Draft) -> bool {
        matches!(draft.kind(), Kind::Custom | Kind::SchemaRegistration)
    }

    /// Everything the registry has against what `own` is about to say.
    pub fn before(&self, own: NodeId, draft: &Draft) -> Faults {
        let mut faults = match Payload::decode(draft.kind(), draft.payload()) {
            Ok(Payload::Custom(custom)) => self.custom(&custom),
            Ok(Payload::SchemaRegistration(said)) => {
                let subject = self.subject(&said.subject);
                let subject = subject.unwrap_or_else(|| Arc::new(Subject::fold(&said.subject, Vec::new())));
                subject.admit(own, said.version, &said.schema.value()).err().unwrap_or_default()
            }
            Ok(_) | Err(_) => Faults::default(),
        };
        if draft.kind() == Kind::SchemaRegistration && draft.course() != Course::Feed {
            faults.add(FaultCode::Rule, "/destination", "a registration is for everyone; leave the destination out");
        }
        self.refused.fetch_add(u64::from(!faults.is_empty()), Ordering::Relaxed);
        faults
    }

    /// Everything the registry has against a message that is kept. A version that is not known here is nothing against
    /// it: its registration may be on its way.
    pub fn against(&self, message: &Message<'_>) -> Faults {
        let Some(custom) = custom(message) else { return Faults::default() };
        match self.subject(&custom.type_name) {
            Some(subject) if subject.version(custom.schema_version).is_some() => check(&subject, &custom),
            Some(_) | None => Faults::default(),
        }
    }

    /// Whether a message goes to clients; one that does not is counted.
    pub fn passes(&self, entry: &Entry) -> bool {
        let passes = entry.message().is_none_or(|message| self.against(&message).is_empty());
        self.withheld.fetch_add(u64::from(!passes), Ordering::Relaxed);
        passes
    }

    /// Messages refused at the edge; messages withheld from a reader.
    pub fn counts(&self) -> (u64, u64) {
        (self.refused.load(Ordering::Relaxed), self.withheld.load(Ordering::Relaxed))
    }

    fn custom(&self, custom: &Custom) -> Faults {
        let subject = self.subject(&custom.type_name).filter(|subject| subject.latest() > 0);
        subject.map(|subject| check(&subject, custom)).unwrap_or_default()
    }
}

fn check(subject: &Subject, custom: &Custom) -> Faults {
    subject.check(custom.schema_version, &custom.content_type, &custom.body.0)
}

/// What a Custom message says, if this node can read it.
fn custom(message: &Message<'_>) -> Option<Custom> {
    let (kind, version) = (Kind::Custom, Kind::Custom.schema_version());
    if message.kind != kind.tag() || message.schema_version != version || message.encryption.is_some() {
        return None;
    }
    let payload = match message.content_type {
        ContentType::Bincode => Payload::decode(kind, message.payload).ok()?,
        ContentType::Json => Payload::from_json_str(kind, std::str::from_utf8(message.payload).ok()?).ok()?,
    };
    if let Payload::Custom(custom) = payload { Some(custom) } else { None }
}
