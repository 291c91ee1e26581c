//! Which messages a reader wants.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Category, Header, Kind, Message};
use crate::types::{MessageId, NodeId};

/// Which messages a reader wants; an empty set asks for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Of these categories,
    pub categories: BTreeSet<Category>,
    /// or of these kinds.
    pub kinds: BTreeSet<Kind>,
    /// By these authors.
    pub authors: BTreeSet<NodeId>,
    /// With one of these tags.
    pub tags: BTreeSet<String>,
    /// Of this conversation: the correlation id, or the id of its first message.
    pub correlation: Option<MessageId>,
}

impl Filter {
    /// Whether a bundle can have a message that is wanted.
    pub fn may_match(&self, header: &Header) -> bool {
        self.topic_and_author(header.feed.topic, header.feed.author)
    }

    /// Whether an author's messages of a category can be wanted.
    pub fn topic_and_author(&self, topic: Category, author: NodeId) -> bool {
        let any_kind = self.categories.is_empty() && self.kinds.is_empty();
        let by_kind = any_kind || self.categories.contains(&topic) || self.kinds.iter().any(|k| k.category() == topic);
        by_kind && (self.authors.is_empty() || self.authors.contains(&author))
    }

    /// Whether a message of a bundle that may match is wanted.
    pub fn matches(&self, topic: Category, message: &Message<'_>) -> bool {
        let any_kind = self.kinds.is_empty() || self.categories.contains(&topic);
        (any_kind || message.known_kind().is_some_and(|k| self.kinds.contains(&k)))
            && (self.tags.is_empty() || message.tags.iter().any(|t| self.tags.contains(*t)))
            && self.correlation.is_none_or(|c| message.correlation == Some(c) || message.id == c)
    }
}
