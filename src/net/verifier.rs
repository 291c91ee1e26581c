//! The thread that decides what to believe, so that neither the swarm nor the node's owner spends time on it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use libp2p::gossipsub::MessageAcceptance;
use tokio::sync::mpsc as tokio_mpsc;

use super::repeats::Repeats;
use crate::driver::{Inlet, SystemClock};
use crate::feed::Fork;
use crate::meter::{Passage, Station};
use crate::node::{ChainInput, Channel, Input, StateInput};
use crate::types::{NetworkId, NodeId, limits};
use crate::wire::agreement::{ChainResponse, Saying};
use crate::wire::{Bundle, Course, Hops, Priority, Refusal, Response, StateResponse, Verified, prove_all};

/// Urgent jobs to one of the others, while both wait.
const URGENT_IN_TURN: u32 = 4;
/// Answers to one job of gossip, while both wait: who answers can make an answer dear.
const ANSWERS_IN_TURN: u32 = 4;

/// Bytes to look at.
pub enum Job {
    /// A frame that came by gossip.
    Gossip { from: NodeId, ticket: u64, bytes: Bytes },
    /// A frame that came on the stream for what is Critical.
    Urgent { from: NodeId, ticket: u64, bytes: Bytes },
    /// A word about the chain that came by gossip.
    Said { from: NodeId, ticket: u64, channel: Channel, bytes: Bytes },
    /// The answer to a request.
    Response { from: NodeId, id: u64, bytes: Bytes },
    /// A direct bundle.
    Deliver { from: NodeId, id: u64, hops: Hops, bytes: Bytes },
    /// Writes of replicated state that a peer gives.
    Take { from: NodeId, id: u64, writes: Vec<Bytes> },
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
    /// Direct bundles by who brings them: as many as have a place to be answered from. Each peer has its turn.
    direct: VecDeque<(NodeId, VecDeque<Job>)>,
    /// Whose turn it is: the urgent ones' first, then one of the direct, then one of the others.
    turn: u32,
    /// Answers taken since anything else was.
    answers_in_turn: u32,
    closed: bool,
}

impl Waiting {
    /// Four answers to one of the rest, and of the rest four urgent ones, one direct and one of the others. Where none
    /// waits, the next has the turn.
    fn next(&mut self) -> Option<Job> {
        if self.answers_in_turn < ANSWERS_IN_TURN
            && let Some(answer) = self.answers.pop_front()
        {
            self.answers_in_turn += 1;
            return Some(answer);
        }
        self.answers_in_turn = 0;
        self.unasked().or_else(|| self.answers.pop_front())
    }

    fn unasked(&mut self) -> Option<Job> {
        (0..URGENT_IN_TURN + 2).find_map(|_| {
            let turn = self.turn;
            self.turn = (turn + 1) % (URGENT_IN_TURN + 2);
            match turn {
                URGENT_IN_TURN => self.next_direct(),
                turn if turn < URGENT_IN_TURN => self.urgent.pop_front(),
                _ => self.other.pop_front(),
            }
        })
    }

    fn add_direct(&mut self, from: NodeId, job: Job) {
        match self.direct.iter_mut().find(|(peer, _)| *peer == from) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.direct.push_back((from, VecDeque::from([job]))),
        }
    }

    fn next_direct(&mut self) -> Option<Job> {
        let (from, mut jobs) = self.direct.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.direct.push_back((from, jobs));
        }
        job
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
        let (verifiers, clock) = (Verifiers { queue: Arc::default() }, SystemClock::start());
        let threads = thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1)).clamp(1, 8);
        let repeats = Arc::default();
        for n in 0..threads {
            let repeats = Arc::clone(&repeats);
            let queue = verifiers.queue.clone();
            let (inlet, refused, clock) = (inlet.clone(), refused.clone(), clock.clone());
            let worker = Worker { network, inlet, refused, repeats, clock };
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
            Job::Urgent { .. } | Job::Said { channel: Channel::Agreement, .. } => {
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
            // As many as there are requests under way, of this node, and of its peers.
            Job::Response { .. } => waiting.answers.push_back(job),
            Job::Deliver { from, .. } | Job::Take { from, .. } => {
                let from = *from;
                waiting.add_direct(from, job);
            }
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
    repeats: Arc<Mutex<Repeats>>,
    clock: SystemClock,
}

impl Worker {
    /// Held only to look something up or note it; what a verifier that panicked left is still good.
    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when the node is gone.
    fn run(&self, job: Job) -> bool {
        match job {
            Job::Gossip { from, ticket, bytes } => self.gossip(from, ticket, bytes),
            Job::Urgent { from, ticket, bytes } => self.urgent(from, ticket, bytes),
            Job::Said { from, ticket, channel, bytes } => self.said(from, ticket, channel, bytes),
            Job::Response { from, id, bytes } => self.response(from, id, &bytes),
            Job::Deliver { from, id, hops, bytes } => self.deliver(from, id, hops, bytes),
            Job::Take { from, id, writes } => self.take(from, id, writes),
        }
    }

    /// One bad bundle spoils a frame: nobody honest forwards it.
    fn gossip(&self, from: NodeId, ticket: u64, bytes: Bytes) -> bool {
        let urgent = Bundle::urgency(&bytes) <= Priority::High;
        match self.checked(bytes) {
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

    /// The stream is for what is Critical: with anything else on it nobody would be faster.
    fn urgent(&self, from: NodeId, ticket: u64, bytes: Bytes) -> bool {
        if Bundle::urgency(&bytes) == Priority::Critical {
            return self.gossip(from, ticket, bytes);
        }
        let _ = self.refused.send((ticket, MessageAcceptance::Reject));
        self.refuse(from, Refusal::Frame { reason: "what is not Critical, on the stream for that".into() })
    }

    /// The bundles of a frame, each of them checked, and noted at the stages that are the verifier's.
    fn checked(&self, bytes: Bytes) -> Result<Vec<Verified>, Refusal> {
        let (clock, pipeline) = (&self.clock, &self.inlet.pipeline);
        let began = clock.mono();
        let bundles = Bundle::split(bytes).inspect_err(|refusal| {
            pipeline.note(vec![Passage::unread(Station::Preprocess, false, 1, refusal.code())]);
        })?;
        let split_us = (clock.mono() - began).as_micros() as u64;
        let (checked, bad, passed) = self.check_all(bundles, split_us);
        if let Some(refusal) = bad {
            return Err(refusal);
        }
        self.note(passed);
        Ok(checked)
    }

    /// Checks bundles up to the first that is not good, and what is to be noted of those that are.
    fn check_all(&self, bundles: Vec<Bundle>, split_us: u64) -> (Vec<Verified>, Option<Refusal>, Vec<Passage>) {
        let began = self.clock.mono();
        let counts: Vec<u32> = bundles.iter().map(|bundle| bundle.header().count).collect();
        let (mut good, mut bad) = (Vec::with_capacity(bundles.len()), None);
        for (checked, count) in Verified::check_all(bundles, self.network).zip(counts) {
            match checked {
                Ok(bundle) => good.push(bundle),
                Err(refusal) => {
                    self.note(vec![Passage::unread(Station::Validate, false, count.into(), refusal.code())]);
                    bad = Some(refusal);
                    break;
                }
            }
        }
        // They are checked together, so each took as long as all of them by their number.
        let each_us = (self.clock.mono() - began).as_micros() as u64 / good.len().max(1) as u64;
        let passed = good.iter().flat_map(|bundle| {
            let passage = Passage::bundle(Station::Validate, bundle, false, each_us);
            [passage.at(Station::Preprocess, split_us), passage]
        });
        let passed = passed.collect();
        (good, bad, passed)
    }

    fn note(&self, mut passed: Vec<Passage>) {
        if !self.inlet.pipeline.is_tapped() {
            passed.iter_mut().for_each(Passage::strip);
        }
        self.inlet.pipeline.note(passed);
    }

    fn deliver(&self, from: NodeId, id: u64, hops: Hops, bytes: Bytes) -> bool {
        let urgent = Bundle::urgency(&bytes) <= Priority::High;
        // One bundle, no frame of them.
        let checked = Bundle::decode(bytes.clone()).and_then(direct).and_then(|_| self.checked(bytes));
        match checked.and_then(|mut bundles| bundles.pop().ok_or(Refusal::Division)) {
            Ok(bundle) => {
                let inlet = if urgent { &self.inlet.urgent } else { &self.inlet.bundles };
                inlet.blocking_send(Input::Deliver { from, id, hops, bundle: Box::new(bundle) }).is_ok()
            }
            Err(refusal) => self.refuse(from, refusal),
        }
    }

    /// What is good is taken, up to the first that is not.
    fn take(&self, from: NodeId, id: u64, writes: Vec<Bytes>) -> bool {
        let (writes, bad) = prove_all(writes, self.network);
        let input = Input::State(StateInput::Offered { from, id, writes });
        self.inlet.bundles.blocking_send(input).is_ok() && bad.is_none_or(|refusal| self.refuse(from, refusal))
    }

    fn state_response(&self, from: NodeId, id: u64, response: StateResponse) -> bool {
        match StateInput::answer(from, id, response, self.network) {
            Ok((input, bad)) => {
                let sent = self.inlet.bundles.blocking_send(Input::State(input)).is_ok();
                sent && bad.is_none_or(|refusal| self.refuse(from, refusal))
            }
            Err(refusal) => self.refuse(from, refusal) && self.inlet.control.send(Input::Failed { from, id }).is_ok(),
        }
    }

    /// A word about the chain: looked at in the order of costs, and by a node without a chain not at all.
    fn said(&self, from: NodeId, ticket: u64, channel: Channel, bytes: Bytes) -> bool {
        let Some(roster) = self.inlet.roster.borrow().clone() else {
            return self.refused.send((ticket, MessageAcceptance::Ignore)).is_ok();
        };
        let (subject, now) = match channel {
            Channel::Agreement => (Saying::subject(&bytes), Instant::now()),
            Channel::Transactions => (None, Instant::now()),
        };
        if subject.is_some_and(|subject| self.repeats().is_echo(&subject, now)) {
            return self.refused.send((ticket, MessageAcceptance::Ignore)).is_ok();
        }
        let (queue, believed) = match channel {
            Channel::Agreement => (&self.inlet.urgent, ChainInput::heard(from, ticket, &bytes, &roster)),
            Channel::Transactions => (&self.inlet.bundles, ChainInput::transactions(from, ticket, bytes, &roster)),
        };
        match believed {
            Ok(input) => {
                subject.into_iter().for_each(|subject| self.repeats().note(subject, now));
                queue.blocking_send(Input::Chain(input)).is_ok()
            }
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
                let (read, unread) = read_all(bundles);
                let (good, bad, passed) = self.check_all(read, 0);
                self.note(passed);
                let bad = bad.or(unread);
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
            Ok(Response::State(response)) => self.state_response(from, id, response),
            Ok(Response::Unserved(reason)) => {
                tracing::debug!(peer = %from, ?reason, "a request was not served");
                self.inlet.control.send(Input::Failed { from, id }).is_ok()
            }
            Err(refusal) => self.refuse(from, refusal) && self.inlet.control.send(Input::Failed { from, id }).is_ok(),
        }
    }
}

/// The bundle, if it is a direct one that unpacks to no more than such a bundle may; before it is unpacked.
fn direct(bundle: Bundle) -> Result<Bundle, Refusal> {
    let header = bundle.header();
    let size_bytes = header.body_bytes as usize;
    if header.course != Course::Direct {
        return Err(Refusal::OutsideFeed);
    }
    if size_bytes > limits::DIRECT_BYTES {
        return Err(Refusal::TooLarge { size_bytes });
    }
    Ok(bundle)
}

/// The bundles of an answer, up to the first that cannot be one or makes them more than was asked for.
fn read_all(wires: Vec<Bytes>) -> (Vec<Bundle>, Option<Refusal>) {
    let (mut read, mut body_bytes) = (Vec::with_capacity(wires.len()), 0);
    for wire in wires {
        let bundle = match Bundle::decode(wire) {
            Ok(bundle) => bundle,
            Err(refusal) => return (read, Some(refusal)),
        };
        body_bytes += bundle.header().body_bytes as usize;
        if body_bytes > limits::RANGE_BYTES + limits::BUNDLE_BYTES {
            return (read, Some(Refusal::TooLarge { size_bytes: body_bytes }));
        }
        read.push(bundle);
    }
    (read, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Hash, Incarnation, MessageId, Stamp};
    use crate::wire::{self, Category, FeedId, Header, Pending};

    fn deliver(from: u8) -> Job {
        Job::Deliver { from: NodeId([from; 32]), id: 0, hops: Hops::default(), bytes: Bytes::new() }
    }

    fn gossip() -> Job {
        Job::Gossip { from: NodeId([0; 32]), ticket: 0, bytes: Bytes::new() }
    }

    fn senders(waiting: &mut Waiting, count: usize) -> Vec<u8> {
        let sender = |job: Job| match job {
            Job::Deliver { from, .. } | Job::Take { from, .. } | Job::Gossip { from, .. } => from.0[0],
            Job::Urgent { .. } | Job::Said { .. } | Job::Response { .. } => 0,
        };
        std::iter::from_fn(|| waiting.next()).take(count).map(sender).collect()
    }

    #[test]
    fn direct_bundles_leave_gossip_its_turn_and_each_peer_its_own() {
        let mut waiting = Waiting::default();
        (0..9).for_each(|_| waiting.add_direct(NodeId([1; 32]), deliver(1)));
        (0..2).for_each(|_| waiting.add_direct(NodeId([2; 32]), deliver(2)));
        (0..8).for_each(|_| waiting.urgent.push_back(gossip()));
        (0..2).for_each(|_| waiting.other.push_back(gossip()));
        assert_eq!(senders(&mut waiting, 12), [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0]);
        waiting.other.push_back(gossip());
        assert_eq!(senders(&mut waiting, 20), [1, 0, 2, 1, 1, 1, 1, 1, 1, 1], "and nothing waits for who is not there");
    }

    /// A bundle of this many messages of 200 KiB.
    fn bundle(course: Course, count: u64) -> Bundle {
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
        let mut pending = Pending::default();
        for n in 0..count {
            pending.push(&wire::Message {
                id: MessageId::new(Stamp::new(1_700_000_000_000 + n, 0), 1),
                kind: u16::from(Category::Data.tag()) << 8 | 0xEE,
                schema_version: 1,
                content_type: Default::default(),
                destination: Default::default(),
                correlation: None,
                parent: None,
                expires: None,
                tags: Vec::new(),
                headers: Default::default(),
                encryption: None,
                payload: &[0; 200 * 1024],
            });
        }
        let author = NodeId(key.verifying_key().to_bytes());
        let header = Header {
            course,
            priority: Priority::Normal,
            network: NetworkId(Hash::ZERO),
            feed: FeedId { author, incarnation: Incarnation(1), topic: Category::Data },
            sequence: 0,
            previous: Hash::ZERO,
            clock: Stamp(0),
            count: 0,
            body_bytes: 0,
            root: Hash::ZERO,
        };
        Bundle::decode(pending.seal(header, &key).unwrap().wire().clone()).unwrap()
    }

    #[test]
    fn a_direct_bundle_is_measured_before_it_is_unpacked() {
        assert!(direct(bundle(Course::Direct, 1)).is_ok());
        let large = bundle(Course::Direct, 2);
        assert!(large.unpack().is_ok(), "it could be");
        let size_bytes = large.header().body_bytes as usize;
        assert_eq!(direct(large).err(), Some(Refusal::TooLarge { size_bytes }));
        assert_eq!(direct(bundle(Course::Feed, 1)).err(), Some(Refusal::OutsideFeed));
    }
}
