//! Every direct message ends with its reader, or as a dead letter of its author.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::deliver::{Selector, dead_letters};
use crate::feed::find;
use crate::types::storage::View;
use crate::types::{Hash, MessageId};
use crate::wire::{Delivery, Receipt, Verified, messages_in};

/// Direct messages whose author was told that they are on its disk.
#[derive(Debug, Default)]
pub struct Posted {
    letters: BTreeMap<MessageId, Letter>,
    /// What is in the bundles that are on their way.
    bundles: BTreeMap<Hash, Vec<MessageId>>,
    /// What is at a host already, and of which nobody has said yet that it is on its way.
    early: BTreeSet<(MessageId, usize)>,
}

#[derive(Debug)]
struct Letter {
    from: usize,
    to: usize,
    /// Its reader had it.
    is_read: bool,
}

impl Posted {
    /// A client is told that a message is on its way.
    pub fn sent(&mut self, id: MessageId, from: usize, to: usize) {
        // It may be there before its sender's client is told that it was taken.
        let is_read = self.early.remove(&(id, to));
        self.letters.insert(id, Letter { from, to, is_read });
    }

    /// A bundle of direct messages is handed to some host.
    pub fn carried(&mut self, bundle: &Verified) {
        let ids = || messages_in(bundle.body()).map(|message| message.id).collect();
        self.bundles.entry(bundle.id()).or_insert_with(ids);
    }

    /// A host signs that it has a bundle on its disk. A rule of retention may let it go before a subscriber sees it.
    pub fn signed(&mut self, receipt: &Receipt, host: usize) {
        let has = matches!(receipt.delivery, Delivery::Taken | Delivery::Known);
        let ids = self.bundles.get(&receipt.bundle).filter(|_| has).cloned();
        ids.into_iter().flatten().for_each(|id| self.read(id, host));
    }

    /// A subscriber at a host has a message.
    pub fn read(&mut self, id: MessageId, host: usize) {
        match self.letters.get_mut(&id) {
            Some(letter) => letter.is_read |= letter.to == host,
            None => drop(self.early.insert((id, host))),
        }
    }

    /// The operator put an old copy of a host's store in place: what it took or sent since was lost by other hands.
    pub fn forgive(&mut self, host: usize) {
        self.letters.retain(|_, letter| letter.from != host && letter.to != host);
    }

    /// When all is well again, none of them is still on its way, and none is gone. A rule of retention may have let some
    /// go, at the one after it was read, at the other after it arrived: with one, those are not asked for.
    pub fn arrived<'a>(&self, store: impl Fn(usize) -> Option<&'a dyn View>, rules: bool) -> Verdict {
        let missing = self.letters.iter().find(|(id, letter)| {
            let has = |host: usize| store(host).is_some_and(|view| find(**id, view).is_some());
            let dead = || store(letter.from).is_some_and(|view| is_dead(**id, view));
            !has(letter.to) && !dead() && !(rules && (letter.is_read || !has(letter.from)))
        });
        match missing {
            Some((id, Letter { from, to, .. })) => {
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
