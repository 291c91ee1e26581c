//! Every direct message ends with its reader, or as a dead letter of its author.

use std::collections::BTreeMap;

use super::Verdict;
use crate::deliver::{Selector, dead_letters};
use crate::feed::find;
use crate::types::MessageId;
use crate::types::storage::View;

/// Direct messages whose author was told that they are on its disk: from which host, and to which.
#[derive(Debug, Default)]
pub struct Posted {
    letters: BTreeMap<MessageId, (usize, usize)>,
}

impl Posted {
    /// A client is told that a message is on its way.
    pub fn sent(&mut self, id: MessageId, from: usize, to: usize) {
        self.letters.insert(id, (from, to));
    }

    /// The operator put an old copy of a host's store in place: what it took or sent since was lost by other hands.
    pub fn forgive(&mut self, host: usize) {
        self.letters.retain(|_, (from, to)| *from != host && *to != host);
    }

    /// When all is well again, none of them is still on its way, and none is gone. Some may have been let go by a rule
    /// of retention: with one, they are not asked for.
    pub fn arrived<'a>(&self, store: impl Fn(usize) -> Option<&'a dyn View>, rules: bool) -> Verdict {
        let missing = self.letters.iter().find(|(id, (from, to))| {
            let has = |host: usize| store(host).is_some_and(|view| find(**id, view).is_some());
            let dead = || store(*from).is_some_and(|view| is_dead(**id, view));
            !has(*to) && !dead() && (!rules || has(*from))
        });
        match missing {
            Some((id, (from, to))) => {
                Err(format!("direct message {id} of node {from} is neither at node {to} nor dead"))
            }
            None => Ok(()),
        }
    }
}

fn is_dead(id: MessageId, view: &dyn View) -> bool {
    let page = dead_letters(&Selector::default(), usize::MAX, usize::MAX, view);
    page.letters.iter().any(|letter| letter.message == Some(id))
}
