//! Registrations of schemas on their way into rows. What they come to is worked out by whoever reads them.

use super::heartbeat::payload;
use super::owner::{Node, Turn};
use crate::feed::Fork;
use crate::schema::Registration;
use crate::wire::{Category, Kind, Payload, Verified};

impl Node {
    /// Keeps the registrations of a kept bundle, all of them: which count is the same everywhere only if nobody leaves
    /// one out.
    pub(super) fn note_schemas(&mut self, bundle: &Verified, turn: &mut Turn<'_>) {
        let feed = bundle.header().feed;
        debug_assert_eq!(feed.topic, Category::Governance);
        let mut refused = bundle.refused().iter().map(|(index, _)| *index as usize).peekable();
        let sound = bundle.messages().enumerate().filter(|(index, _)| refused.next_if_eq(index).is_none());
        let (tag, version) = (Kind::SchemaRegistration.tag(), Kind::SchemaRegistration.schema_version());
        for (_, message) in sound.filter(|(_, m)| (m.kind, m.schema_version) == (tag, version)) {
            if let Some(Payload::SchemaRegistration(said)) = payload(&message) {
                let registration = Registration {
                    message: message.id,
                    author: feed.author,
                    incarnation: feed.incarnation,
                    sequence: bundle.header().sequence,
                    arrived: turn.now.wall,
                    said,
                };
                self.schemas.keep(&registration, &mut turn.tx);
            }
        }
    }

    /// What an author registered from the fork on is forgotten: nodes that learned of the fork first never had it.
    pub(super) fn cut_schemas(&mut self, fork: &Fork, turn: &mut Turn<'_>) {
        let feed = fork.feed();
        if feed.topic == Category::Governance {
            self.schemas.cut(feed.author, feed.incarnation, fork.sequence(), &mut turn.tx);
        }
    }
}
