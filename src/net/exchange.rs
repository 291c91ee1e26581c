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
    /// Critical messages to everyone.
    Urgent,
}

impl Protocol {
    fn of(request: &Request) -> Protocol {
        match request {
            Request::Deliver { .. } => Protocol::Direct,
            Request::State(_) => Protocol::State,
            Request::Heads { .. }
            | Request::Range { .. }
            | Request::Fork { .. }
            | Request::Chain(_)
            | Request::Ends { .. } => Protocol::Sync,
        }
    }

    /// Requests of one peer, and of all, whose answers have not left.
    const fn room(self) -> (usize, usize) {
        match self {
            Protocol::Sync | Protocol::State => (limits::ANSWERS_PER_PEER, limits::ANSWERS),
            Protocol::Direct => (limits::DIRECT_IN_FLIGHT, limits::DIRECT_IN_FLIGHT_ALL),
            Protocol::Urgent => (limits::URGENT_IN_FLIGHT, limits::URGENT_IN_FLIGHT_ALL),
        }
    }
}

impl Net {
    /// Asks a connected peer; the answer goes to the node under its own name and number.
    pub(super) fn ask(&mut self, peer: PeerId, asker: (NodeId, u64), request: &Request) {
        let (protocol, behaviour) = (Protocol::of(request), self.swarm.behaviour_mut());
        let number = match protocol {
            Protocol::Sync => behaviour.sync.send_request(&peer, request.encode()),
            Protocol::Direct | Protocol::Urgent => behaviour.direct.send_request(&peer, request.encode()),
            Protocol::State => behaviour.state.send_request(&peer, request.encode()),
        };
        self.asked.insert((protocol, number), asker);
    }

    pub(super) fn on_exchange(&mut self, protocol: Protocol, event: request_response::Event<Bytes, Bytes>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request { request_id, request, channel } if protocol == Protocol::Urgent => {
                    if self.has_room_to_serve(protocol, peer) {
                        self.serving.insert((protocol, request_id), peer);
                        self.on_urgent(peer, request);
                    }
                    // Whoever has no room for it gets it by gossip.
                    let _ = self.swarm.behaviour_mut().urgent.send_response(channel, Bytes::new());
                }
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
        let of_protocol = self.serving.iter().filter(|((other, _), _)| *other == protocol).map(|(_, peer)| *peer);
        match protocol {
            Protocol::Sync => has_room(protocol.room(), of_protocol, peer, |peer| self.is_validator(peer)),
            Protocol::Urgent | Protocol::State => has_room(protocol.room(), of_protocol, peer, |_| false),
            // Others may have taken all there is: direct bundles are small, and everyone has a place for one.
            Protocol::Direct => {
                !of_protocol.clone().any(|other| other == peer)
                    || has_room(protocol.room(), of_protocol, peer, |_| false)
            }
        }
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
            | Request::Ends { .. }
            | Request::State(_)) => {
                self.tell(Input::Request { from, id, request });
            }
        }
    }
}

/// Whether a peer's request can be served beside those `under_way`, of which one peer and all have so much room.
/// Validators have their own and take none of the others': who is no validator cannot keep their bodies from them.
fn has_room(
    (most_of_peer, most): (usize, usize),
    under_way: impl Iterator<Item = PeerId>,
    peer: PeerId,
    is_validator: impl Fn(&PeerId) -> bool,
) -> bool {
    let (of_peer, of_all) = under_way.fold((0, 0), |(of_peer, of_all), other| {
        (of_peer + usize::from(other == peer), of_all + usize::from(!is_validator(&other)))
    });
    of_peer < most_of_peer && (of_all < most || is_validator(&peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_that_take_all_room_leave_validators_theirs() {
        let (strangers, validator): (Vec<PeerId>, PeerId) =
            ((0..7).map(|_| PeerId::random()).collect(), PeerId::random());
        let room = Protocol::Sync.room();
        let full: Vec<PeerId> = strangers[..6].iter().flat_map(|peer| [*peer; limits::ANSWERS_PER_PEER]).collect();
        let has =
            |more: &[PeerId], peer| has_room(room, full.iter().chain(more).copied(), peer, |peer| *peer == validator);
        assert!(!has(&[], strangers[6]), "the room of all is taken");
        assert!(has(&[], validator));
        assert!(has(&[validator; limits::ANSWERS_PER_PEER - 1], validator));
        assert!(!has(&[validator; limits::ANSWERS_PER_PEER], validator), "a validator is bounded as well");
        assert!(has_room(room, [validator; 8].into_iter().cycle().take(100), strangers[0], |peer| *peer == validator));
    }
}
