//! The thread that decides what to believe, so that neither the swarm nor the node's owner spends time on it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use libp2p::gossipsub::MessageAcceptance;
use tokio::sync::mpsc as tokio_mpsc;

use crate::driver::Inlet;
use crate::feed::Fork;
use crate::node::{ChainInput, Channel, Input};
use crate::types::{NetworkId, NodeId, limits};
use crate::wire::agreement::ChainResponse;
use crate::wire::{Bundle, Course, Hops, Priority, Refusal, Response, Verified};

/// Urgent jobs to one of the others, while both wait.
const URGENT_IN_TURN: u32 = 4;

/// Bytes to look at.
pub enum Job {
    /// A frame that came by gossip.
    Gossip { from: NodeId, ticket: u64, bytes: Bytes },
    /// A word about the chain that came by gossip.
    Said { from: NodeId, ticket: u64, channel: Channel, bytes: Bytes },
    /// The answer to a request.
    Response { from: NodeId, id: u64, bytes: Bytes },
    /// A direct bundle.
    Deliver { from: NodeId, id: u64, hops: Hops, bytes: Bytes },
}

/// Hands jobs to the verifiers: what is urgent first.
pub struct Verifiers {
    queue: Arc<Queue>,
}

/// Jobs that wait.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Answers to requests of this node: as many as are under way, and others wait for what they bring.
    answers: VecDeque<Job>,
    /// Gossip that says it is Critical or High, and all other. Each has room for as much as the other, and has its
    /// turn, so that neither a flood of one nor of the other keeps the rest away.
    urgent: VecDeque<Job>,
    other: VecDeque<Job>,
    /// Urgent jobs taken since one of the others was.
    urgent_in_turn: u32,
    closed: bool,
}

impl Waiting {
    /// Answers first; then four urgent ones to one of the others.
    fn next(&mut self) -> Option<Job> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        if self.urgent_in_turn < URGENT_IN_TURN
            && let Some(job) = self.urgent.pop_front()
        {
            self.urgent_in_turn += 1;
            return Some(job);
        }
        self.urgent_in_turn = 0;
        self.other.pop_front().or_else(|| self.urgent.pop_front())
    }
}

impl Queue {
    /// Held only while a job is put in or taken out. A poisoned lock means a verifier panicked: the others go on.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; none when there will be no more.
    fn take(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.next() {
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Verifiers {
    /// Starts as many threads as there are processors besides the one the node's owner uses. Tickets of refused
    /// bundles go to `refused`.
    pub fn start(
        network: NetworkId,
        inlet: &Inlet,
        refused: tokio_mpsc::UnboundedSender<(u64, MessageAcceptance)>,
    ) -> std::io::Result<Verifiers> {
        let verifiers = Verifiers { queue: Arc::default() };
        let threads = thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1)).clamp(1, 8);
        for n in 0..threads {
            let queue = verifiers.queue.clone();
            let worker = Worker { network, inlet: inlet.clone(), refused: refused.clone() };
            thread::Builder::new().name(format!("verifier-{n}")).spawn(move || {
                while let Some(job) = queue.take() {
                    if !worker.run(job) {
                        return;
                    }
                }
            })?;
        }
        Ok(verifiers)
    }

    /// Hands over a job. False when too much gossip waits: it is let go, and its feed brings it back by repair.
    pub fn take(&self, job: Job) -> bool {
        let mut waiting = self.queue.lock();
        match &job {
            Job::Said { channel: Channel::Agreement, .. } => {
                if waiting.urgent.len() >= limits::VERIFY_QUEUE {
                    return false;
                }
                waiting.urgent.push_back(job);
            }
            Job::Gossip { bytes, .. } if Bundle::urgency(bytes) <= Priority::High => {
                if waiting.urgent.len() >= limits::VERIFY_QUEUE {
                    return false;
                }
                waiting.urgent.push_back(job);
            }
            Job::Gossip { .. } | Job::Said { channel: Channel::Transactions, .. } => {
                if waiting.other.len() >= limits::VERIFY_QUEUE {
                    return false;
                }
                waiting.other.push_back(job);
            }
            // As many as there are requests under way, of this node and of its peers.
            Job::Response { .. } | Job::Deliver { .. } => waiting.answers.push_back(job),
        }
        drop(waiting);
        self.queue.changed.notify_one();
        true
    }
}

impl Drop for Verifiers {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
    }
}

struct Worker {
    network: NetworkId,
    inlet: Inlet,
    refused: tokio_mpsc::UnboundedSender<(u64, MessageAcceptance)>,
}

impl Worker {
    /// False when the node is gone.
    fn run(&self, job: Job) -> bool {
        match job {
            Job::Gossip { from, ticket, bytes } => self.gossip(from, ticket, bytes),
            Job::Said { from, ticket, channel, bytes } => self.said(from, ticket, channel, bytes),
            Job::Response { from, id, bytes } => self.response(from, id, &bytes),
            Job::Deliver { from, id, hops, bytes } => self.deliver(from, id, hops, bytes),
        }
    }

    /// One bad bundle spoils a frame: nobody honest forwards it.
    fn gossip(&self, from: NodeId, ticket: u64, bytes: Bytes) -> bool {
        let urgent = Bundle::urgency(&bytes) <= Priority::High;
        let bundles = Bundle::split(bytes)
            .and_then(|bundles| bundles.into_iter().map(|bundle| Verified::check(bundle, self.network)).collect());
        match bundles {
            Ok(bundles) => {
                let inlet = if urgent { &self.inlet.urgent } else { &self.inlet.bundles };
                inlet.blocking_send(Input::Bundle { from, ticket, bundles }).is_ok()
            }
            Err(refusal) => {
                let _ = self.refused.send((ticket, MessageAcceptance::Reject));
                self.refuse(from, refusal)
            }
        }
    }

    fn deliver(&self, from: NodeId, id: u64, hops: Hops, bytes: Bytes) -> bool {
        let urgent = Bundle::urgency(&bytes) <= Priority::High;
        match Bundle::decode(bytes).and_then(|bundle| Verified::check(bundle, self.network)) {
            Ok(bundle) if bundle.header().course == Course::Direct => {
                let inlet = if urgent { &self.inlet.urgent } else { &self.inlet.bundles };
                inlet.blocking_send(Input::Deliver { from, id, hops, bundle: Box::new(bundle) }).is_ok()
            }
            Ok(_) => self.refuse(from, Refusal::OutsideFeed),
            Err(refusal) => self.refuse(from, refusal),
        }
    }

    /// A word about the chain: looked at in the order of costs, and by a node without a chain not at all.
    fn said(&self, from: NodeId, ticket: u64, channel: Channel, bytes: Bytes) -> bool {
        let Some(roster) = self.inlet.roster.borrow().clone() else {
            return self.refused.send((ticket, MessageAcceptance::Ignore)).is_ok();
        };
        let (queue, believed) = match channel {
            Channel::Agreement => (&self.inlet.urgent, ChainInput::heard(from, ticket, &bytes, &roster)),
            Channel::Transactions => (&self.inlet.bundles, ChainInput::transactions(from, ticket, bytes, &roster)),
        };
        match believed {
            Ok(input) => queue.blocking_send(Input::Chain(input)).is_ok(),
            Err(refusal) => {
                // Who is ahead, or behind, is not to blame.
                let is_fault = refusal.penalty() > 0;
                let acceptance = if is_fault { MessageAcceptance::Reject } else { MessageAcceptance::Ignore };
                let _ = self.refused.send((ticket, acceptance));
                self.refuse(from, refusal)
            }
        }
    }

    fn chain_response(&self, from: NodeId, id: u64, response: ChainResponse) -> bool {
        let roster = self.inlet.roster.borrow().clone();
        let believed = roster.map_or(Ok(None), |roster| ChainInput::answer(from, id, response, &roster));
        match believed {
            Ok(Some(input)) => self.inlet.bundles.blocking_send(Input::Chain(input)).is_ok(),
            Ok(None) => self.inlet.control.send(Input::Failed { from, id }).is_ok(),
            Err(refusal) => self.refuse(from, refusal) && self.inlet.control.send(Input::Failed { from, id }).is_ok(),
        }
    }

    /// A bundle of an answer; `body_bytes` is what those before it unpack to.
    fn verify(&self, bytes: Bytes, body_bytes: &mut usize) -> Result<Verified, Refusal> {
        let bundle = Bundle::decode(bytes)?;
        *body_bytes += bundle.header().body_bytes as usize;
        if *body_bytes > limits::RANGE_BYTES + limits::BUNDLE_BYTES {
            return Err(Refusal::TooLarge { size_bytes: *body_bytes });
        }
        Verified::check(bundle, self.network)
    }

    fn refuse(&self, from: NodeId, refusal: Refusal) -> bool {
        tracing::debug!(peer = %from, code = refusal.code(), %refusal, "refused");
        self.inlet.control.send(Input::Refused { from, refusal }).is_ok()
    }

    fn response(&self, from: NodeId, id: u64, bytes: &[u8]) -> bool {
        match Response::decode(bytes) {
            Ok(Response::Heads { heads, more }) => {
                self.inlet.control.send(Input::Heads { from, id, heads, more }).is_ok()
            }
            Ok(Response::Range { floor, bundles }) => {
                // What is good is used up to the first that is not.
                let mut good = Vec::with_capacity(bundles.len());
                let (mut bad, mut body_bytes) = (None, 0);
                for bundle in bundles {
                    match self.verify(bundle, &mut body_bytes) {
                        Ok(bundle) => good.push(bundle),
                        Err(refusal) => {
                            bad = Some(refusal);
                            break;
                        }
                    }
                }
                let sent = self.inlet.bundles.blocking_send(Input::Range { from, id, floor, bundles: good }).is_ok();
                sent && bad.is_none_or(|refusal| self.refuse(from, refusal))
            }
            Ok(Response::Fork { first, second }) => match Fork::check(&first, &second, self.network) {
                Ok(fork) => self.inlet.control.send(Input::Fork { from, id, fork: Box::new(fork) }).is_ok(),
                Err(refusal) => {
                    self.refuse(from, refusal) && self.inlet.control.send(Input::Failed { from, id }).is_ok()
                }
            },
            Ok(Response::Receipt(receipt)) => match receipt.check(self.network) {
                Ok(()) => self.inlet.control.send(Input::Receipt { from, id, receipt }).is_ok(),
                Err(refusal) => {
                    self.refuse(from, refusal) && self.inlet.control.send(Input::Failed { from, id }).is_ok()
                }
            },
            Ok(Response::Chain(response)) => self.chain_response(from, id, response),
            Ok(Response::Unserved(reason)) => {
                tracing::debug!(peer = %from, ?reason, "a request was not served");
                self.inlet.control.send(Input::Failed { from, id }).is_ok()
            }
            Err(refusal) => self.refuse(from, refusal) && self.inlet.control.send(Input::Failed { from, id }).is_ok(),
        }
    }
}
