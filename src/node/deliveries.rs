//! Durable subscriptions: what clients ask of them, and what the node says of them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::call::{Answer, Call, CallRefusal};
use super::output::{Event, Output, Stage};
use super::owner::{Node, Turn};
use crate::deliver::{BreakerState, Counts, Letter, Name, Refused, Spec, Subscription};
use crate::types::Now;
use crate::types::storage::View;

/// A durable subscription and how it stands.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct SubscriptionInfo {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub spec: Spec,
    /// Positions of the log below this were looked at.
    pub scanned: u64,
    /// Positions, with messages of any kind, that were not.
    pub behind: u64,
    /// Messages that can be handed out, that are with a worker, and that wait after a failure.
    pub ready: u64,
    pub leased: u64,
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
    /// Whether its sink is tried.
    pub breaker: BreakerState,
    /// When the sink is tried again, milliseconds from now.
    pub probe_in_ms: Option<u64>,
    /// Counts since the start.
    pub counts: Counts,
}

/// The message at a position as it is kept when it dies.
pub(super) fn fetch_letter(position: u64, view: &dyn View) -> Option<Letter> {
    let found = crate::feed::found_at(position, view)?;
    Some(Letter { id: found.entry.message()?.id, proof: found.proof.to_bytes() })
}

/// The destination that a call would take from, settle or do away with: messages for one are the node's own business.
fn destination_of(call: &Call) -> Option<&Name> {
    let (Call::DropSubscription { name }
    | Call::PauseSubscription { name, .. }
    | Call::Lease { name, .. }
    | Call::Settle { name, .. }) = call
    else {
        return None;
    };
    Some(name).filter(|name| name.destination().is_some())
}

impl Node {
    /// Messages of a subscription that are ready, with a worker, or wait after a failure.
    pub fn open_messages(&self, name: &Name) -> usize {
        self.deliveries.get(name).map_or(0, |(one, _)| one.depths().iter().sum())
    }

    /// Answers a call about durable subscriptions; passes over any other. What a worker is lent, or told that it is
    /// done, is on the disk first: a crash must not make a position another message, or a delivery the first one.
    pub(super) fn on_deliver(&mut self, id: u64, call: Call, turn: &mut Turn<'_>) {
        let (stage, answer) = self.delivered(call, turn);
        let answer = answer.map_err(CallRefusal::from);
        let stage = if answer.is_err() { Stage::Now } else { stage };
        turn.out.push((stage, Output::Reply { id, answer }));
    }

    fn delivered(&mut self, call: Call, turn: &mut Turn<'_>) -> (Stage, Result<Answer, Refused>) {
        let (now, end) = (turn.now, self.log.end());
        let done = |done: Result<(), Refused>| (Stage::Flushed, done.map(|()| Answer::Done));
        if let Some(name) = destination_of(&call) {
            return (Stage::Now, Err(Refused::Reserved(name.clone())));
        }
        match call {
            Call::PutSubscription { name, spec, from } => {
                done(self.deliveries.put(&name, *spec, from.min(end), &mut turn.tx))
            }
            Call::DropSubscription { name } => done(self.deliveries.remove(&name, &mut turn.tx)),
            Call::PauseSubscription { name, reason } => done(self.deliveries.pause(&name, reason)),
            Call::Subscriptions { name } => (Stage::Now, self.subscriptions(name, now).map(Answer::Subscriptions)),
            Call::Lease { name, most, found } => {
                let leased = self.deliveries.lease(&name, most, found.as_ref(), end, now.mono);
                let any = leased.as_ref().is_ok_and(|leased| !leased.leases.is_empty());
                (if any { Stage::Flushed } else { Stage::Now }, leased.map(Answer::Leased))
            }
            Call::Settle { name, outcomes, ack } => {
                (ack.stage(), self.deliveries.settle(&name, &outcomes, now, &mut turn.tx).map(Answer::Settled))
            }
            Call::Sweep { selector, redrive, dry } => {
                let swept = if redrive {
                    let swept = self.deliveries.redrive(&selector, dry, &mut turn.tx);
                    self.repost(turn);
                    swept
                } else {
                    self.deliveries.drop_dead(&selector, dry, &mut turn.tx)
                };
                (if dry { Stage::Now } else { Stage::Flushed }, swept.map(Answer::Swept))
            }
            Call::Publish { .. }
            | Call::Status
            | Call::Peers
            | Call::Queues
            | Call::Schedule(_)
            | Call::Dial { .. }
            | Call::Ban { .. }
            | Call::Unban { .. }
            | Call::Explain { .. }
            | Call::Links
            | Call::Outbox
            | Call::Holders { .. }
            | Call::Write(_)
            | Call::Restore(_)
            | Call::Join(_)
            | Call::CountFloor(_)
            | Call::Submit(_)
            | Call::Agreement
            | Call::Extent { .. }
            | Call::Endorse(_)
            | Call::Stop => (Stage::Now, Ok(Answer::Done)),
        }
    }

    fn subscriptions(&self, name: Option<Name>, now: Now) -> Result<Vec<SubscriptionInfo>, Refused> {
        match name {
            Some(name) => {
                let (one, dead) = self.deliveries.get(&name)?;
                Ok(vec![self.subscription(&name, one, dead, now)])
            }
            None => {
                let named = self.deliveries.all().filter(|(name, ..)| name.destination().is_none());
                Ok(named.map(|(name, one, dead)| self.subscription(name, one, dead, now)).collect())
            }
        }
    }

    fn subscription(&self, name: &Name, one: &Subscription, dead: u64, now: Now) -> SubscriptionInfo {
        let [ready, leased, waiting] = one.depths().map(|depth| depth as u64);
        let breaker = one.breaker().state(now.mono);
        SubscriptionInfo {
            name: name.clone(),
            spec: one.spec().clone(),
            scanned: one.scanned(),
            behind: self.log.end().saturating_sub(one.scanned()),
            ready,
            leased,
            waiting,
            dead,
            paused: one.paused().map(String::from),
            breaker,
            probe_in_ms: (breaker == BreakerState::Open).then(|| one.breaker().left(now.mono).as_millis() as u64),
            counts: one.counts(),
        }
    }

    /// Ends a step for the subscriptions: what is due is done, what changed is written, who waits is told.
    pub(super) fn deliver(&mut self, turn: &mut Turn<'_>) {
        self.deliveries.tick(turn.now, &mut turn.tx);
        let (post, woken): (BTreeSet<Name>, BTreeSet<Name>) =
            self.deliveries.take_woken().into_iter().partition(|name| name.destination().is_some());
        post.iter().for_each(|name| self.send_post(name, turn));
        self.deliveries.save(&mut turn.tx);
        if !woken.is_empty() {
            turn.want(Output::Event(Event::Deliverable(woken)));
        }
    }
}
