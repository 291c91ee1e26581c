//! Ids and stamps are used once, over all lives.

use std::collections::BTreeMap;

use super::Verdict;
use crate::types::{MessageId, NodeId, Stamp};
use crate::wire::Verified;

/// Every id honest authors let out, and the last stamp of each author.
#[derive(Default)]
pub struct Unique {
    ids: BTreeMap<MessageId, NodeId>,
    last: BTreeMap<NodeId, Stamp>,
}

impl Unique {
    /// An honest author lets a bundle out.
    pub fn wrote(&mut self, bundle: &Verified) -> Verdict {
        let author = bundle.header().feed.author;
        bundle.messages().try_for_each(|message| self.message(author, message.id))
    }

    /// One message of it.
    pub fn message(&mut self, author: NodeId, id: MessageId) -> Verdict {
        if let Some(before) = self.ids.insert(id, author) {
            return Err(format!("id {id} of {author:?} was used by {before:?} before"));
        }
        let last = self.last.insert(author, id.stamp()).unwrap_or_default();
        if id.stamp() <= last {
            return Err(format!("{author:?} stamps {:?} after {last:?}", id.stamp()));
        }
        Ok(())
    }

    /// An old copy of an author's store is in place: its stamps begin where that one knew of.
    pub fn forget_stamps(&mut self, author: NodeId) {
        self.last.remove(&author);
    }

    /// How many ids there are.
    pub fn count(&self) -> usize {
        self.ids.len()
    }
}
