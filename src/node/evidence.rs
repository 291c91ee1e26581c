//! What the messages of others change here: the router, and what is done about forks.

use std::collections::BTreeMap;

use super::heartbeat::payload;
use super::output::{Event, Output};
use super::owner::{Node, Turn};
use crate::feed::Fork;
use crate::types::WallMs;
use crate::wire::kind::Blob;
use crate::wire::kind::security::{ForkEvidence, IncidentStatus, IncidentType, SecurityIncident, Severity};
use crate::wire::{Category, Draft, Kind, Message, Payload, Priority, SignedHeader, Verified};

/// What the author of a fork loses in score, if it is a peer: nothing it says can be relied on.
const FORK_PENALTY: u32 = 50;
/// Incidents of one bundle that are looked at: each costs two signatures.
const EVIDENCE_OF_A_BUNDLE: usize = 4;
/// Announcements of keys of one bundle that are looked at, the last ones: only the last of a channel counts.
const KEYS_OF_A_BUNDLE: usize = 16;

impl Node {
    /// Hands every message of a kept bundle to whoever it concerns: one match on the kind.
    pub(super) fn route(&mut self, bundle: &Verified, turn: &mut Turn<'_>) {
        let topic = bundle.header().feed.topic;
        match topic {
            Category::System | Category::Security => {}
            Category::Governance => return self.note_schemas(bundle, turn),
            Category::Data => return self.merge_bundle(bundle, turn),
            // Nothing in these changes this node by itself; they are for its clients.
            Category::Consensus | Category::Economic | Category::Monitoring | Category::External => return,
        }
        let mut refused = bundle.refused().iter().map(|(index, _)| *index as usize).peekable();
        let sound = bundle.messages().enumerate().filter(|(index, _)| refused.next_if_eq(index).is_none());
        // What an author says of itself is replaced by what it says next: the last of each kind is enough. Only
        // evidence adds up, and no honest node has much of it.
        let (mut last, mut evidence, mut keys) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (_, message) in sound {
            match message.known_kind() {
                Some(Kind::SecurityIncident) => evidence.push(message),
                // Keys of other channels must not hide the one that counts here.
                Some(Kind::KeyExchange) => keys.push(message),
                Some(_) | None => drop(last.insert(message.kind, message)),
            }
        }
        let mut chosen: Vec<Message<'_>> = last.into_values().collect();
        chosen.sort_by_key(|message| message.id);
        let keys = keys.iter().rev().take(KEYS_OF_A_BUNDLE);
        for message in chosen.iter().chain(evidence.iter().take(EVIDENCE_OF_A_BUNDLE)).chain(keys) {
            self.route_message(bundle, message, turn);
        }
    }

    fn route_message(&mut self, bundle: &Verified, message: &Message<'_>, turn: &mut Turn<'_>) {
        let author = bundle.header().feed.author;
        match payload(message) {
            Some(Payload::NodeRegistration(said)) => {
                self.registry.on_registration(author, message, &said, &mut turn.tx)
            }
            Some(Payload::StatusUpdate(said)) => {
                self.registry.on_status(author, message, said.status, &mut turn.tx);
            }
            Some(Payload::NodeDeregistration(_)) => self.registry.on_deregistration(author, message, &mut turn.tx),
            Some(Payload::SecurityIncident(incident)) => self.on_incident(&incident, turn),
            Some(Payload::KeyExchange(said)) => super::sealing_keys::on_key(author, message, &said, turn),
            _ => {}
        }
    }

    fn on_incident(&mut self, incident: &SecurityIncident, turn: &mut Turn<'_>) {
        let Some(evidence) = &incident.fork else { return };
        // Anyone may say that someone forked; only the two signatures count, and only where that is news.
        let news = |first: &SignedHeader| self.feeds.lacks_fork(first.header.feed, first.header.sequence);
        if SignedHeader::decode(&evidence.first.0).is_ok_and(|first| news(&first))
            && let Ok(fork) = Fork::check(&evidence.first.0, &evidence.second.0, self.network)
            && self.feeds.cut(&fork, &mut turn.tx)
        {
            self.note_fork(fork, turn);
        }
    }

    /// This node has seen a fork itself: it tells everyone, once for a feed. Of lower forks found later its heads speak:
    /// an author that forks everywhere must not make every node write without end.
    pub(super) fn on_fork(&mut self, fork: Fork, first: bool, turn: &mut Turn<'_>) {
        if !first {
            return self.note_fork(fork, turn);
        }
        let mut draft = Draft::new(&Payload::SecurityIncident(incident(&fork, turn.now.wall)));
        draft.priority = Priority::Critical;
        self.note_fork(fork, turn);
        self.say(draft, turn);
    }

    pub(super) fn note_fork(&mut self, fork: Fork, turn: &mut Turn<'_>) {
        self.counters.forks += 1;
        self.cut_schemas(&fork, turn);
        self.mask_state(&fork, turn);
        let author = fork.feed().author;
        if self.peers.is_connected(author) {
            self.peers.penalise(author, FORK_PENALTY, "its author said two things in one place of a feed", turn);
        }
        turn.want(Output::Event(Event::Fork(Box::new(fork))));
    }
}

/// What everyone is told of a fork.
fn incident(fork: &Fork, detected_ms: WallMs) -> SecurityIncident {
    let blob = |signed: &SignedHeader| Blob(signed.encode().to_vec());
    let (first, second) = fork.headers();
    SecurityIncident {
        incident_id: format!("fork-{}-{}", fork.feed().author.short(), fork.sequence()),
        incident_type: IncidentType::Equivocation,
        severity: Severity::Critical,
        status: IncidentStatus::Contained,
        suspects: vec![fork.feed().author],
        description: format!("two bundles stand in one place of the feed {}", fork.feed()),
        detected_ms,
        resolved_ms: None,
        evidence: Vec::new(),
        fork: Some(ForkEvidence { first: blob(first), second: blob(second) }),
    }
}
