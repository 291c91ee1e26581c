//! This node's sealing keys at work: drafts are sealed before they leave the API, so that no queue and no disk has
//! their payload; what was sealed for this node is opened when it is read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use zeroize::Zeroizing;

use crate::keys::{KeyError, KeyRing};
use crate::node::sealing_key;
use crate::store::Store;
use crate::types::{Hash, NetworkId, NodeId, WallMs};
use crate::wire::kind::Blob;
use crate::wire::kind::security::{KeyAlgorithm, KeyExchange, KeyStep};
use crate::wire::{
    Destination, Draft, FaultCode, Faults, Message, Payload, SEALING_CHANNEL, SealingKey, Unopened, seal_for,
};

/// The keys of a node.
pub struct Vault {
    own: NodeId,
    network: NetworkId,
    store: Arc<Store>,
    held: Mutex<Held>,
}

struct Held {
    ring: KeyRing,
    keys: Vec<(SealingKey, WallMs)>,
    /// Messages opened; messages that stay closed, by reason; messages sealed.
    opened: u64,
    closed: BTreeMap<&'static str, u64>,
    sealed: u64,
}

/// One of this node's own keys.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct OwnKey {
    pub key_id: Hash,
    /// When it was made, and after when nothing is sealed for it.
    pub created_ms: WallMs,
    pub expires_ms: WallMs,
    /// When another took its place, and when it is erased; null while it is in use.
    pub replaced_ms: Option<WallMs>,
    pub erased_ms: Option<WallMs>,
}

/// What was counted since the start.
pub struct Counted {
    pub sealed: u64,
    pub opened: u64,
    pub closed: BTreeMap<&'static str, u64>,
}

impl Vault {
    /// Of a ring, for what is in `store`.
    pub fn new(own: NodeId, network: NetworkId, store: Arc<Store>, ring: KeyRing) -> Result<Vault, KeyError> {
        let keys = derived(own, &ring)?;
        let held = Held { ring, keys, opened: 0, closed: BTreeMap::new(), sealed: 0 };
        Ok(Vault { own, network, store, held: Mutex::new(held) })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals a draft for the node it is for. Fails with why it cannot be.
    pub fn seal(&self, draft: &mut Draft, now: WallMs) -> Result<(), Faults> {
        let refuse = |path: &str, detail: String| {
            let mut faults = Faults::default();
            faults.add(FaultCode::Unsealable, path, detail);
            faults
        };
        let Destination::Node(reader) = draft.destination else {
            return Err(refuse("/destination", "a sealed message is for one node: give its id".into()));
        };
        let advice = "it announces one when it starts, and `metanode key ls` lists those known here";
        let key = sealing_key(reader, self.store.as_ref());
        let key = key.ok_or_else(|| refuse("/destination", format!("no key of {reader} is known; {advice}")))?;
        if key.expires <= now {
            return Err(refuse("/destination", format!("the key of {reader} has expired; {advice}")));
        }
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(&mut random[..]).map_err(|e| refuse("/payload", format!("no randomness: {e}")))?;
        if !seal_for(draft, self.own, self.network, reader, &key.public, &random) {
            return Err(refuse("/destination", format!("the key that {reader} announced is none")));
        }
        self.held().sealed += 1;
        Ok(())
    }

    /// What a sealed message of `author` says, if it is for this node.
    pub fn open(&self, message: &Message<'_>, author: NodeId) -> Result<Payload, Unopened> {
        let opened = self.opened(message, author);
        let mut held = self.held();
        match &opened {
            Ok(_) => held.opened += 1,
            Err(why) => *held.closed.entry(why.code()).or_default() += 1,
        }
        opened
    }

    fn opened(&self, message: &Message<'_>, author: NodeId) -> Result<Payload, Unopened> {
        if message.destination != Destination::Node(self.own) {
            return Err(Unopened::WrongReader);
        }
        let encryption = message.encryption.as_ref().ok_or(Unopened::UnknownKey)?;
        let plain = {
            let held = self.held();
            let key = held.keys.iter().find(|(key, _)| key.id() == encryption.key_id);
            let (key, expires) = key.ok_or(Unopened::UnknownKey)?;
            key.open(message, author, self.network, *expires)?
        };
        let kind = message.known_kind().filter(|kind| kind.schema_version() == message.schema_version);
        Payload::from_binary(kind.ok_or(Unopened::Malformed)?, &plain).map_err(|_| Unopened::Malformed)
    }

    /// Makes a new key the one in use; the draft that tells the others.
    pub fn rotate(&self, now: WallMs) -> Result<Draft, KeyError> {
        let mut held = self.held();
        held.ring.rotate(now)?;
        held.keys = derived(self.own, &held.ring)?;
        Ok(self.announcement(&held, KeyStep::Rotate))
    }

    /// Does what is due; the draft that tells the others, if they do not know of the key in use.
    pub fn tend(&self, now: WallMs) -> Result<Option<Draft>, KeyError> {
        let mut held = self.held();
        held.ring.tend(now)?;
        held.keys = derived(self.own, &held.ring)?;
        let said = sealing_key(self.own, self.store.as_ref());
        let news = held.keys.last().is_some_and(|(key, _)| said.is_none_or(|said| said.public != *key.public()));
        let step = if said.is_none() { KeyStep::Offer } else { KeyStep::Rotate };
        Ok(news.then(|| self.announcement(&held, step)))
    }

    fn announcement(&self, held: &Held, step: KeyStep) -> Draft {
        let (public, expires_ms) = held.keys.last().map_or(([0; 32], WallMs(0)), |(key, at)| (*key.public(), *at));
        Draft::new(&Payload::KeyExchange(KeyExchange {
            channel_id: SEALING_CHANNEL.into(),
            algorithm: KeyAlgorithm::X25519,
            step,
            peer: self.own,
            public_key: Blob(public.to_vec()),
            expires_ms,
        }))
    }

    /// This node's own keys, the one in use last.
    pub fn keys(&self) -> Vec<OwnKey> {
        let held = self.held();
        let own = held.ring.keys().iter().zip(&held.keys).map(|(of, (key, _))| OwnKey {
            key_id: key.id(),
            created_ms: of.created_ms,
            expires_ms: of.expires_ms,
            replaced_ms: of.replaced_ms,
            erased_ms: of.erased_ms(),
        });
        own.collect()
    }

    /// What was counted.
    pub fn counted(&self) -> Counted {
        let held = self.held();
        Counted { sealed: held.sealed, opened: held.opened, closed: held.closed.clone() }
    }
}

fn derived(own: NodeId, ring: &KeyRing) -> Result<Vec<(SealingKey, WallMs)>, KeyError> {
    ring.keys().iter().map(|key| Ok((SealingKey::from_seed(own, &*key.seed()?), key.expires_ms))).collect()
}
