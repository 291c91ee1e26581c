//! Requests and answers, on three protocols: one for catching up, one for direct messages, one for replicated state, so
//! that none has to wait behind another.

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::request_response::{self, InboundRequestId, Message, ResponseChannel};

use super::address::node_id;
use super::swarm::Net;
use super::verifier::Job;
use crate::node::Input;
use crate::types::{NodeId, limits};
use crate::wire::{Refusal, Request, Response, StateRequest, Unserved};

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Protocol {
    /// Heads, ranges, proofs of forks.
    Sync,
    /// Direct bundles.
    Direct,
    /// What is retained of replicated state.
    State,
}

impl Protocol {
    fn of(request: &Request) -> Protocol {
        match request {
            Request::Deliver { .. } => Protocol::Direct,
            Request::State(_) => Protocol::State,
            Request::Heads { .. } | Request::Range { .. } | Request::Fork { .. } | Request::Chain(_) => Protocol::Sync,
        }
    }

    /// Requests of one peer, and of all, whose answers have not left.
    const fn room(self) -> (usize, usize) {
        match self {
            Protocol::Sync | Protocol::State => (limits::ANSWERS_PER_PEER, limits::ANSWERS),
            Protocol::Direct => (limits::DIRECT_IN_FLIGHT, limits::DIRECT_IN_FLIGHT_ALL),
        }
    }
}

impl Net {
    /// Asks a connected peer; the answer goes to the node under its own name and number.
    pub(super) fn ask(&mut self, peer: PeerId, asker: (NodeId, u64), request: &Request) {
        let (protocol, behaviour) = (Protocol::of(request), self.swarm.behaviour_mut());
        let number = match protocol {
            Protocol::Sync => behaviour.sync.send_request(&peer, request.encode()),
            Protocol::Direct => behaviour.direct.send_request(&peer, request.encode()),
            Protocol::State => behaviour.state.send_request(&peer, request.encode()),
        };
        self.asked.insert((protocol, number), asker);
    }

    pub(super) fn on_exchange(&mut self, protocol: Protocol, event: request_response::Event<Bytes, Bytes>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request { request_id, request, channel } => {
                    if self.has_room_to_serve(protocol, peer) {
                        self.serving.insert((protocol, request_id), peer);
                        self.on_request(protocol, peer, &request, channel);
                    } else {
                        let busy = Response::Unserved(Unserved::Busy).encode();
                        let _ = self.swarm.behaviour_mut().sync.send_response(channel, busy);
                    }
                }
                Message::Response { request_id, response } => {
                    if let Some((from, id)) = self.asked.remove(&(protocol, request_id)) {
                        self.verifiers.take(Job::Response { from, id, bytes: response });
                    }
                }
            },
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                if let Some((from, id)) = self.asked.remove(&(protocol, request_id)) {
                    tracing::debug!(peer = %from, ?protocol, cause = %error, "a request came to nothing");
                    self.tell(Input::Failed { from, id });
                }
            }
            request_response::Event::InboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, ?protocol, cause = %error, "a peer's request came to nothing");
                self.served(protocol, request_id);
                self.answers.retain(|_, channel| channel.is_open());
            }
            request_response::Event::ResponseSent { request_id, .. } => self.served(protocol, request_id),
        }
    }

    fn served(&mut self, protocol: Protocol, request: InboundRequestId) {
        self.serving.remove(&(protocol, request));
    }

    fn has_room_to_serve(&self, protocol: Protocol, peer: PeerId) -> bool {
        let of_protocol = self.serving.iter().filter(|((other, _), _)| *other == protocol);
        let (all, of_peer) =
            of_protocol.fold((0, 0), |(all, of_peer), (_, other)| (all + 1, of_peer + usize::from(*other == peer)));
        let (most_of_peer, most) = protocol.room();
        // Others may have taken all there is: direct bundles are small, and everyone has a place for one.
        let first = protocol == Protocol::Direct && of_peer == 0;
        first || of_peer < most_of_peer && all < most
    }

    fn on_request(&mut self, protocol: Protocol, peer: PeerId, bytes: &[u8], channel: ResponseChannel<Bytes>) {
        let Some(from) = node_id(&peer) else { return };
        let request = Request::decode(bytes).and_then(|request| {
            let elsewhere = || Refusal::Frame { reason: "a request on the wrong protocol".into() };
            if Protocol::of(&request) == protocol { Ok(request) } else { Err(elsewhere()) }
        });
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return self.tell(Input::Refused { from, refusal }),
        };
        let id = self.next_answer;
        self.next_answer += 1;
        self.answers.insert(id, channel);
        match request {
            Request::Deliver { hops, bundle } => {
                self.verifiers.take(Job::Deliver { from, id, hops, bytes: bundle });
            }
            Request::State(StateRequest::Take { writes }) => {
                self.verifiers.take(Job::Take { from, id, writes });
            }
            request @ (Request::Heads { .. }
            | Request::Range { .. }
            | Request::Fork { .. }
            | Request::Chain(_)
            | Request::State(_)) => {
                self.tell(Input::Request { from, id, request });
            }
        }
    }
}
