//! Workers of durable subscriptions: they find, lease and settle as clients of the API do, and are not reliable.

use std::collections::BTreeSet;

use super::event::Event;
use super::host::Process;
use super::judge::{Judge, Verdict, settled};
use super::world::World;
use crate::deliver::{Disposition, Found, Lease, Leased, Look, Name, Outcome, Selector, Settled, Spec, dead_letters};
use crate::feed::{Room, find, page};
use crate::node::{Ack, Answer, Call, CallRefusal, Input};

/// From one look to the next, microseconds.
const PACE_US: (u64, u64) = (20_000, 90_000);
/// Messages a worker takes at once.
const MOST: usize = 64;

/// The worker of a host.
#[derive(Debug, Default)]
pub struct Worker {
    asked: Option<(u64, Asked)>,
    put: bool,
    look: Option<Look>,
    /// What it has looked at.
    next: u64,
    found: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
}

#[derive(Debug)]
enum Asked {
    Put,
    Lease(Option<Found>),
    Settle(Vec<u64>),
}

fn name() -> Name {
    "worker".parse().unwrap_or_else(|_| unreachable!("a plain word is a name"))
}

impl World {
    /// A worker looks for something to do.
    pub(super) fn work(&mut self, host: usize, life: u64) {
        if self.hosts[host].life != life || self.hosts[host].process.is_none() {
            return;
        }
        let next = self.rng.within(PACE_US.0, PACE_US.1);
        self.agenda.add(self.now_us + next, Event::Work { host, life });
        let wall = self.hosts[host].wall(self.now_us);
        let machine = &mut self.hosts[host];
        let Some(process) = machine.process.as_mut().filter(|process| process.worker.asked.is_none()) else { return };
        let id = process.number();
        let worker = &mut process.worker;
        let (call, asked) = if worker.put {
            let found = worker.look.as_ref().map(|look| {
                let read = page(look.from, Room::of(look.room), &look.filter, wall, &machine.store);
                let positions = read.entries.iter().map(|entry| entry.position).collect();
                Found { from: look.from, next: read.next, positions, missed: read.missed }
            });
            let found = found.filter(|found| found.next > found.from);
            (Call::Lease { name: name(), most: MOST, found: found.clone() }, Asked::Lease(found))
        } else {
            let spec =
                Spec { ack_wait_ms: 1_000, max_attempts: 3, retry_ms: 100, retry_max_ms: 400, ..Spec::default() };
            (Call::PutSubscription { name: name(), spec: Box::new(spec), from: 0 }, Asked::Put)
        };
        worker.asked = Some((id, asked));
        self.tell(host, Input::Call { id, call });
    }

    /// A worker is answered. False when the answer is somebody else's.
    pub(super) fn on_worker_reply(&mut self, host: usize, id: u64, answer: &Result<Answer, CallRefusal>) -> bool {
        let Some(worker) = self.hosts[host].process.as_mut().map(|process| &mut process.worker) else { return false };
        let Some((_, asked)) = worker.asked.take_if(|(asked, _)| *asked == id) else { return false };
        match (asked, answer) {
            (Asked::Put, Ok(_)) => worker.put = true,
            (Asked::Lease(found), Ok(Answer::Leased(leased))) => self.on_leased(host, found, leased),
            (Asked::Settle(acknowledged), Ok(Answer::Settled(Settled { unknown, .. }))) => {
                worker.acknowledged.extend(acknowledged.into_iter().filter(|at| !unknown.contains(at)));
            }
            (asked, other) => {
                let verdict = Err(format!("a worker asked {asked:?} and was answered {other:?}"));
                self.judge(Judge::Deliver, verdict);
            }
        }
        true
    }

    fn on_leased(&mut self, host: usize, found: Option<Found>, leased: &Leased) {
        let outcomes: Vec<(u64, Outcome)> = leased.leases.iter().filter_map(|lease| self.outcome(lease)).collect();
        let Some(process) = &mut self.hosts[host].process else { return };
        let id = process.number();
        let worker = &mut process.worker;
        if let Some(found) = found {
            worker.next = worker.next.max(found.next);
            worker.found.extend(found.positions);
        }
        worker.look = leased.look.clone();
        if outcomes.is_empty() {
            return;
        }
        let acknowledged = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Ack).map(|(at, _)| *at).collect();
        worker.asked = Some((id, Asked::Settle(acknowledged)));
        self.tell(host, Input::Call { id, call: Call::Settle { name: name(), outcomes, ack: Ack::Durable } });
    }

    /// What a worker makes of a message; of some it says nothing. Once the storm is over all of it is done.
    fn outcome(&mut self, lease: &Lease) -> Option<(u64, Outcome)> {
        let reason = || "the worker does not like it".to_string();
        let outcome = match self.rng.below(20) {
            _ if self.healed_us.is_some() => Outcome::Ack,
            0 => return None,
            1 | 2 => Outcome::Nack { reason: reason(), after: None, sink_down: false },
            3 => Outcome::Park { disposition: Disposition::Rejected, reason: reason() },
            4 => Outcome::Return,
            _ => Outcome::Ack,
        };
        Some((lease.position, outcome))
    }

    /// Whether all that clients said and workers found has come to an end, and to the right one.
    pub(super) fn flowed(&mut self) -> Verdict {
        if !self.plan.workers {
            return Ok(());
        }
        if !self.workers_are_through() {
            return Err("not every worker is through".into());
        }
        if self.accounts.is_awaited() && !self.is_last_look() {
            return Err("a client waits for an answer".into());
        }
        let is_kept = |host: usize, id| self.hosts.get(host).is_some_and(|host| find(id, &host.store).is_some());
        let verdict = self.accounts.add_up(is_kept);
        self.judge(Judge::Flow, verdict);
        Ok(())
    }

    /// Whether every worker is through with what was found, and what that came to.
    fn workers_are_through(&mut self) -> bool {
        let is_through = |process: &Process| {
            let ended = process.worker.asked.is_none() && process.worker.next == process.node.log_end();
            ended && process.node.open_messages(&name()) == 0
        };
        if !self.hosts.iter().all(|host| host.process.as_ref().is_none_or(is_through)) {
            return false;
        }
        let one = |n: usize| {
            let worker = &self.hosts[n].process.as_ref()?.worker;
            let all = dead_letters(&Selector::default(), usize::MAX, usize::MAX, &self.hosts[n].store);
            let dead = all.letters.iter().filter(|letter| letter.subscription == name()).map(|letter| letter.position);
            let verdict = settled(&worker.found, &worker.acknowledged, &dead.collect());
            verdict.map_err(|e| format!("{e}, at node {n}")).err()
        };
        let broken = (0..self.hosts.len()).find_map(one);
        self.judge(Judge::Deliver, broken.map_or(Ok(()), Err));
        true
    }
}
