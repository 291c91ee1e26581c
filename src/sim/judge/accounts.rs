//! What clients said adds up: every message was published, dropped by rule, or its client was pushed back.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::flow::rank;
use crate::node::{Answer, CallRefusal};
use crate::types::MessageId;
use crate::wire::{Course, Draft, Priority};

/// Calls of clients, by host, life and number, and what they came to.
#[derive(Debug, Default)]
pub struct Accounts {
    open: BTreeMap<(usize, u64, u64), Said>,
    sent: u64,
    published: u64,
    dropped: u64,
    refused: u64,
    /// What was published to be kept, and by whom.
    kept: BTreeSet<(usize, MessageId)>,
}

#[derive(Debug)]
struct Said {
    ranks: BTreeSet<Priority>,
    fleeting: Vec<bool>,
}

impl Accounts {
    /// A client asks for drafts to be said.
    pub fn asked(&mut self, host: usize, life: u64, call: u64, drafts: &[Draft]) {
        self.sent += drafts.len() as u64;
        let ranks = drafts.iter().map(rank).collect();
        let fleeting = drafts.iter().map(|draft| draft.course() == Course::Ephemeral).collect();
        self.open.insert((host, life, call), Said { ranks, fleeting });
    }

    /// A client is answered.
    pub fn answered(&mut self, host: usize, life: u64, call: u64, answer: &Result<Answer, CallRefusal>) -> Verdict {
        let Some(said) = self.open.remove(&(host, life, call)) else { return Ok(()) };
        let count = said.fleeting.len() as u64;
        match answer {
            Ok(Answer::Published { ids }) if ids.len() as u64 == count => {
                self.published += count;
                let kept = ids.iter().zip(&said.fleeting).filter(|(_, fleeting)| !**fleeting);
                self.kept.extend(kept.map(|(id, _)| (host, *id)));
                Ok(())
            }
            Ok(Answer::Dropped { lane, count: dropped }) => {
                self.dropped += count;
                let by_rule = *lane >= Priority::Low && said.ranks.contains(lane) && *dropped as u64 == count;
                if by_rule {
                    Ok(())
                } else {
                    Err(format!("{count} messages with ranks {:?} were dropped for {lane}", said.ranks))
                }
            }
            Err(CallRefusal::Full { lane }) => {
                self.refused += count;
                let by_rule = *lane <= Priority::Normal && said.ranks.contains(lane);
                if by_rule {
                    Ok(())
                } else {
                    Err(format!("a call with ranks {:?} was pushed back for {lane}", said.ranks))
                }
            }
            Err(_) => {
                self.refused += count;
                Ok(())
            }
            Ok(other) => Err(format!("{count} messages were answered with {other:?}")),
        }
    }

    /// Whether a client waits for an answer.
    pub fn is_awaited(&self) -> bool {
        !self.open.is_empty()
    }

    /// When all is well again: nobody waits for an answer, what was published is kept where it was said, and all of it
    /// together is what was sent.
    pub fn add_up(&self, is_kept: impl Fn(usize, MessageId) -> bool) -> Verdict {
        if let Some((host, _, call)) = self.open.keys().next() {
            return Err(format!("call {call} at node {host} was never answered"));
        }
        if let Some((host, id)) = self.kept.iter().find(|(host, id)| !is_kept(*host, *id)) {
            return Err(format!("message {id} was published at node {host} and is not there"));
        }
        let (sent, ended) = (self.sent, self.published + self.dropped + self.refused);
        if sent == ended { Ok(()) } else { Err(format!("{sent} messages were sent, {ended} ended somehow")) }
    }

    /// For tests of the judge: messages that were dropped, and messages whose clients were pushed back.
    #[cfg(test)]
    pub fn overflowed(&self) -> (u64, u64) {
        (self.dropped, self.refused)
    }
}

/// What a durable subscription found is settled: acknowledged or dead, never both and nothing else.
pub fn settled(found: &BTreeSet<u64>, acknowledged: &BTreeSet<u64>, dead: &BTreeSet<u64>) -> Verdict {
    if let Some(both) = acknowledged.intersection(dead).next() {
        return Err(format!("position {both} was acknowledged, and is a dead letter"));
    }
    let ended: BTreeSet<u64> = acknowledged.union(dead).copied().collect();
    match (found.difference(&ended).next(), ended.difference(found).next()) {
        (None, None) => Ok(()),
        (Some(open), _) => Err(format!("position {open} was found and is neither acknowledged nor dead")),
        (None, Some(strange)) => Err(format!("position {strange} ended and was never found")),
    }
}
