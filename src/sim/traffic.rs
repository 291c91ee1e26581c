//! Frames on their way: gossip, requests, answers.

use bytes::Bytes;

use super::event::{Event, Topic};
use super::host::{Asked, Carried};
use super::library::Library;
use super::trace::{Slots, Summary};
use super::villain::Deed;
use super::world::World;
use crate::feed::Fork;
use crate::node::{Input, StateInput};
use crate::types::{Domain, NodeId, WallMs, limits};
use crate::wire::{Bundle, Category, Priority, Request, Response, StateRequest, prove_all};

impl World {
    /// How long the next frame takes, microseconds.
    pub(super) fn latency(&mut self) -> u64 {
        let (low, high) = self.weather.latency_us;
        let time = self.rng.within(low, high);
        if self.rng.chance(self.weather.slow) { 20 * time } else { time }
    }

    /// How long the next frame of a peer takes, microseconds.
    fn latency_of(&mut self, from: usize) -> u64 {
        let slow = self.chain.as_ref().and_then(|chain| chain.plan.slow).filter(|(host, _)| *host == from);
        let more = slow.filter(|_| self.healed_us.is_none()).map_or(0, |(_, more)| more);
        self.latency() + more
    }

    /// Whether a frame gets through the weather and is not kept from one side.
    fn gets_through(&mut self, from: usize, to: usize) -> bool {
        let stormy = self.healed_us.is_none();
        let passes = self.chain.as_ref().is_none_or(|chain| chain.passes(from, to, self.now_us, stormy));
        !self.rng.chance(self.weather.loss) && passes
    }

    /// Gives a bundle to some neighbours: not to the one it came from.
    pub(super) fn spread(&mut self, host: usize, from: Option<usize>, topic: Topic, bytes: Bytes) {
        let name = content_name(topic, &bytes);
        if let Some(process) = self.hosts[host].process.as_mut() {
            process.seen.insert(name);
        }
        // What is Critical goes to all neighbours on a stream of its own, not only to those in the mesh.
        let urgent = matches!(topic, Topic::Feeds(_)) && Bundle::urgency(&bytes) == Priority::Critical;
        for to in self.neighbours(host) {
            if Some(to) != from && (urgent || self.rng.chance(self.weather.mesh)) {
                self.gossip(host, to, topic, bytes.clone());
            }
        }
    }

    /// One frame of gossip over one connection, through the weather.
    pub(super) fn gossip(&mut self, from: usize, to: usize, topic: Topic, bytes: Bytes) {
        let Some(link) = self.link(from, to) else { return };
        if self.rng.chance(self.weather.reset) {
            return self.disconnect(from, to, 100_000);
        }
        let copies = if self.rng.chance(self.weather.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            if self.gets_through(from, to) {
                let at = self.now_us + self.latency_of(from);
                self.agenda.add(at, Event::Gossip { from, to, link, topic, bytes: bytes.clone() });
            }
        }
    }

    pub(super) fn on_gossip(&mut self, from: usize, to: usize, link: u64, topic: Topic, bytes: Bytes) {
        if self.link(from, to) != Some(link) {
            return;
        }
        match topic {
            Topic::Feeds(category) => self.receive(from, to, category, bytes, false),
            Topic::Chain(channel) => {
                let process = self.hosts.get_mut(to).and_then(|host| host.process.as_mut());
                if process.is_some_and(|process| process.seen.insert(content_name(topic, &bytes))) {
                    self.hear_word(from, to, channel, bytes);
                }
            }
        }
    }

    /// Bytes reach a peer: new ones are verified and handed to the node.
    pub(super) fn receive(&mut self, from: usize, to: usize, topic: Category, bytes: Bytes, again: bool) {
        let Some(sender) = self.id_of(from) else { return };
        let (verified, on) = (self.library.frame(&bytes), Topic::Feeds(topic));
        if let Some(villain) = to.checked_sub(self.hosts.len()) {
            if let (Some(villain), Ok(bundles)) = (self.villains.get_mut(villain), &verified) {
                bundles.iter().for_each(|bundle| villain.on_gossip(bundle, &mut self.rng));
            }
            return;
        }
        let Some(process) = self.hosts[to].process.as_mut() else { return };
        if !process.seen.insert(content_name(on, &bytes)) && !again {
            return;
        }
        let (name, at) = (Library::name(&bytes), self.now_us);
        match verified {
            Ok(bundles) => {
                self.trace.note(at, to, "gossip", name.as_bytes(), format_args!("from {from}: {}", Slots(&bundles)));
                let ticket = process.number();
                process.tickets.insert(ticket, Carried { from, topic: on, bytes });
                self.tell(to, Input::Bundle { from: sender, ticket, bundles });
            }
            Err(refusal) => {
                self.trace.note(at, to, "refuse", name.as_bytes(), format_args!("from {from}: {refusal}"));
                self.tell(to, Input::Refused { from: sender, refusal });
            }
        }
    }

    /// The node's word on a bundle: only what it accepts goes further.
    pub(super) fn on_verdict(&mut self, host: usize, ticket: u64, accept: bool) {
        let carried = self.hosts[host].process.as_mut().and_then(|p| p.tickets.remove(&ticket));
        if let Some(Carried { from, topic, bytes }) = carried.filter(|_| accept) {
            self.spread(host, Some(from), topic, bytes);
        }
    }

    /// A node asks another.
    pub(super) fn ask(&mut self, host: usize, to: NodeId, id: u64, request: Request) {
        // Of two with one key it is the one there is a connection to.
        let linked = (0..self.peers()).find(|peer| self.id_of(*peer) == Some(to) && self.link(host, *peer).is_some());
        let peer = linked.or_else(|| self.peer_of(to));
        let link = peer.and_then(|peer| self.link(host, peer));
        let life = self.hosts[host].life;
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        let Some(peer) = peer.filter(|peer| process.up.contains(peer)) else {
            return self.tell(host, Input::Failed { from: to, id });
        };
        let range = matches!(request, Request::Range { .. });
        let late_us = self.now_us + limits::REQUEST_TIMEOUT.as_micros() as u64;
        process.asked.insert(id, Asked { peer, link, range, late_us });
        self.agenda.add(late_us, Event::Silence { host, life, id });
        let bytes = request.encode();
        self.trace.note(self.now_us, host, "ask", &bytes, format_args!("{peer}: {request:?}"));
        self.send_request(host, peer, life, id, bytes);
    }

    fn send_request(&mut self, from: usize, to: usize, life: u64, id: u64, bytes: Bytes) {
        let at = self.now_us + self.latency_of(from);
        if let Some(link) = self.link(from, to)
            && self.gets_through(from, to)
        {
            self.agenda.add(at, Event::Request { from, to, link, life, id, bytes });
        }
    }

    pub(super) fn on_request(&mut self, from: usize, to: usize, link: u64, life: u64, id: u64, bytes: Bytes) {
        let Some(sender) = self.id_of(from).filter(|_| self.link(from, to) == Some(link)) else { return };
        let request = Request::decode(&bytes);
        if let Some(villain) = to.checked_sub(self.hosts.len()) {
            let villain = self.villains.get_mut(villain);
            if let Some(answer) = villain.zip(request.ok()).and_then(|(v, r)| v.answer(from, &r, &mut self.rng)) {
                self.send_response(to, from, life, id, answer);
            }
            return;
        }
        if request.as_ref().is_ok_and(|request| !self.serves(to, request)) {
            return;
        }
        let Some(process) = self.hosts[to].process.as_mut() else { return };
        match request {
            Ok(request) => {
                let number = process.number();
                process.serving.insert(number, (from, id));
                match request {
                    Request::Deliver { hops, bundle } => match self.library.verify(&bundle) {
                        Ok(bundle) => {
                            self.posted.carried(&bundle);
                            let bundle = Box::new(bundle);
                            self.tell(to, Input::Deliver { from: sender, id: number, hops, bundle });
                        }
                        Err(refusal) => self.tell(to, Input::Refused { from: sender, refusal }),
                    },
                    Request::State(StateRequest::Take { writes }) => {
                        let (writes, bad) = prove_all(writes, self.network.id());
                        self.tell(to, Input::State(StateInput::Offered { from: sender, id: number, writes }));
                        bad.into_iter().for_each(|refusal| self.tell(to, Input::Refused { from: sender, refusal }));
                    }
                    request @ (Request::Heads { .. }
                    | Request::Range { .. }
                    | Request::Fork { .. }
                    | Request::Chain(_)
                    | Request::Ends { .. }
                    | Request::State(_)) => {
                        self.tell(to, Input::Request { from: sender, id: number, request });
                    }
                }
            }
            Err(refusal) => self.tell(to, Input::Refused { from: sender, refusal }),
        }
    }

    /// A node answers.
    pub(super) fn respond(&mut self, host: usize, id: u64, response: Response) {
        let asker = self.hosts[host].process.as_mut().and_then(|p| p.serving.remove(&id));
        let Some((to, id)) = asker else { return };
        if let Response::Receipt(receipt) = &response {
            self.posted.signed(receipt, host);
        }
        let life = self.hosts.get(to).map_or(0, |h| h.life);
        let response = self.spoiled(host, response);
        let bytes = response.encode();
        let name = Library::name(&bytes);
        self.trace.note(self.now_us, host, "answer", name.as_bytes(), format_args!("{to}: {}", Summary(&response)));
        self.send_response(host, to, life, id, bytes);
    }

    fn send_response(&mut self, from: usize, to: usize, life: u64, id: u64, bytes: Bytes) {
        let at = self.now_us + self.latency_of(from);
        if let Some(link) = self.link(from, to)
            && self.gets_through(from, to)
        {
            self.agenda.add(at, Event::Response { from, to, link, life, id, bytes });
        }
    }

    /// An answer arrives: what is good of it is used, up to the first bundle that is not.
    pub(super) fn on_response(&mut self, from: usize, to: usize, link: u64, life: u64, id: u64, bytes: Bytes) {
        let here = self.hosts.get(to).is_some_and(|h| h.life == life) && self.link(from, to) == Some(link);
        let Some(sender) = self.id_of(from).filter(|_| here) else { return };
        let Some(process) = self.hosts[to].process.as_mut() else { return };
        if process.asked.remove(&id).is_none() {
            return;
        }
        match Response::decode(&bytes) {
            Ok(Response::Heads { heads, more }) => self.tell(to, Input::Heads { from: sender, id, heads, more }),
            Ok(Response::Range { floor, bundles }) => {
                let (mut good, mut bad) = (Vec::new(), None);
                for bundle in bundles {
                    match self.library.verify(&bundle) {
                        Ok(bundle) => good.push(bundle),
                        Err(refusal) => {
                            bad = Some(refusal);
                            break;
                        }
                    }
                }
                self.tell(to, Input::Range { from: sender, id, floor, bundles: good });
                if let Some(refusal) = bad {
                    self.tell(to, Input::Refused { from: sender, refusal });
                }
            }
            Ok(Response::Fork { first, second }) => match Fork::check(&first, &second, self.network.id()) {
                Ok(fork) => self.tell(to, Input::Fork { from: sender, id, fork: Box::new(fork) }),
                Err(refusal) => {
                    self.tell(to, Input::Refused { from: sender, refusal });
                    self.tell(to, Input::Failed { from: sender, id });
                }
            },
            Ok(Response::Receipt(receipt)) => match receipt.check(self.network.id()) {
                Ok(()) => self.tell(to, Input::Receipt { from: sender, id, receipt }),
                Err(refusal) => {
                    self.tell(to, Input::Refused { from: sender, refusal });
                    self.tell(to, Input::Failed { from: sender, id });
                }
            },
            Ok(Response::State(said)) => match StateInput::answer(sender, id, said, self.network.id()) {
                Ok((input, bad)) => {
                    self.tell(to, Input::State(input));
                    bad.into_iter().for_each(|refusal| self.tell(to, Input::Refused { from: sender, refusal }));
                }
                Err(refusal) => {
                    self.tell(to, Input::Refused { from: sender, refusal });
                    self.tell(to, Input::Failed { from: sender, id });
                }
            },
            Ok(Response::Chain(response)) => self.hear_answer(sender, to, id, response),
            Ok(Response::Unserved(_)) => self.tell(to, Input::Failed { from: sender, id }),
            Err(refusal) => {
                self.tell(to, Input::Refused { from: sender, refusal });
                self.tell(to, Input::Failed { from: sender, id });
            }
        }
    }

    /// Nobody answered.
    pub(super) fn on_silence(&mut self, host: usize, life: u64, id: u64) {
        if self.hosts[host].life != life {
            return;
        }
        let asked = self.hosts[host].process.as_mut().and_then(|p| p.asked.remove(&id));
        if let Some(from) = asked.and_then(|asked| self.id_of(asked.peer)) {
            self.tell(host, Input::Failed { from, id });
        }
    }

    /// Requests over a connection that is no more will not be answered.
    pub(super) fn fail_requests(&mut self, host: usize, peer: usize) {
        let (link, id_of_peer) = (self.link(host, peer), self.id_of(peer));
        let Some((process, from)) = self.hosts[host].process.as_mut().zip(id_of_peer) else { return };
        let lost =
            process.asked.iter().filter(|(_, asked)| asked.peer == peer && (link.is_none() || asked.link != link));
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(process) = &mut self.hosts[host].process {
                process.asked.remove(&id);
            }
            self.tell(host, Input::Failed { from, id });
        }
    }

    /// A villain does what it likes, and tries to get in again where it was sent away.
    pub(super) fn mischief(&mut self, villain: usize) {
        let peer = self.hosts.len() + villain;
        self.intrude(peer);
        let wall = WallMs(super::host::EPOCH_MS + self.now_us / 1000);
        let hosts = self.hosts.len();
        let silent = self.healed_us.is_some();
        let deeds = match self.villains.get_mut(villain) {
            Some(villain) if !silent => villain.act(hosts, wall, &mut self.rng),
            Some(_) | None => Vec::new(),
        };
        for deed in deeds {
            match deed {
                Deed::Gossip { to, topic, bytes } => self.gossip(peer, to, Topic::Feeds(topic), bytes),
                Deed::Ask { to, bytes } => self.send_request(peer, to, 0, 0, bytes),
            }
        }
        let next = self.rng.within(100_000, 900_000);
        self.agenda.add(self.now_us + next, Event::Mischief { villain });
    }
}

/// What gossip knows a frame by: its topic and its bytes.
fn content_name(topic: Topic, bytes: &[u8]) -> crate::types::Hash {
    Domain::Trace.hash(&[&[topic.tag()], bytes])
}
