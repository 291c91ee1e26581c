//! Validators endorse replicated state: this node asks them, and as a validator answers, by its own index.
//!
//! ```text
//!  call ──▶ own index ── differs ──▶ reply
//!               └─ same ──▶ Endorse to every connected validator ──▶ answers ──▶ two thirds, all, or 5 s ──▶ reply
//! ```
//!
//! What is signed is no vote: it has a label of its own, and nothing follows from it on the chain.

use std::collections::BTreeMap;
use std::time::Duration;

use super::call::{Answer, CallRefusal};
use super::output::{Output, Stage};
use super::owner::{Node, Turn};
use crate::crdt::Sum;
use crate::ledger::chain::header;
use crate::ledger::{self, HISTORY};
use crate::types::chain::{Height, ValidatorSet};
use crate::types::storage::View;
use crate::types::{Hash, Mono, NodeId, Version, WallMs, limits};
use crate::wire::ledger::{Endorsed, EndorsementAsk, Extent, end};
use crate::wire::{Category, CollectionHead, Refusal, Request, Response, Signature, StateRequest, StateResponse};

/// Calls that are being answered at a time.
const GATHERINGS: usize = 4;
/// How long validators have to answer, and how long the last ones once there are enough.
const PATIENCE: Duration = Duration::from_secs(5);
const ENOUGH: Duration = Duration::from_millis(500);
/// A peer is judged for no more often than this, and so many collections are looked up for all of them in a second.
const EVERY: Duration = Duration::from_millis(250);
const LOOKUPS: usize = 4 * limits::COLLECTIONS;

/// What a client wants endorsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endorse {
    /// Writes stamped before this count.
    pub until: WallMs,
    /// By name, each once.
    pub collections: Vec<CollectionHead>,
}

/// Why nobody is asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAsked {
    #[error("{0}")]
    Malformed(&'static str),
    #[error("the chain has no block yet: endorsements rest on one")]
    NoBlock,
    #[error("this node follows no Data, and has no replicated state")]
    NoState,
    #[error("what this node retains is being judged anew; ask again in a moment")]
    Unsettled,
    #[error("{GATHERINGS} endorsements are being asked for already; ask again in a moment")]
    Busy,
    #[error("this node has {retained} writes of {name} before that time, with another sum", name = .0.name, retained = .0.retained)]
    Differs(CollectionHead),
    #[error("the chain cannot be read: {0}")]
    Fault(#[from] ledger::Fault),
}

impl NotAsked {
    /// A short stable word.
    pub const fn code(&self) -> &'static str {
        match self {
            NotAsked::Malformed(_) => "malformed",
            NotAsked::NoBlock => "no_block",
            NotAsked::NoState => "no_state",
            NotAsked::Unsettled => "unsettled",
            NotAsked::Busy => "busy",
            NotAsked::Differs(_) => "differs",
            NotAsked::Fault(_) => "fault",
        }
    }
}

/// What came of asking a validator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// It signed, and the signature holds.
    Signed(Signature),
    /// It answered otherwise.
    Refused(Endorsed),
    /// It signed something, but not this.
    BadSignature,
    /// This node is not connected with it.
    NotConnected,
    /// It did not answer, or not in time.
    NoAnswer,
}

/// What came of asking all of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gathered {
    /// What they were asked.
    pub asked: EndorsementAsk,
    /// The power of those who signed.
    pub power: u64,
    /// The power of all.
    pub total: u64,
    /// Whether the first is more than two thirds of the second.
    pub is_enough: bool,
    /// Each validator's power and word, by its id.
    pub words: BTreeMap<NodeId, (u64, Word)>,
}

/// An endorsement that is being asked for.
struct Gathering {
    asked: EndorsementAsk,
    validators: ValidatorSet,
    flights: BTreeMap<u64, NodeId>,
    words: BTreeMap<NodeId, Word>,
    deadline: Mono,
}

/// What is asked for, and of whom this node was asked.
#[derive(Default)]
pub(super) struct Endorsing {
    /// By the number of the client's call.
    gatherings: BTreeMap<u64, Gathering>,
    /// When peers were judged for last, as long as it matters.
    judged: BTreeMap<NodeId, Mono>,
    /// Collections looked up since then.
    looked_up: (Mono, usize),
}

impl Endorsing {
    pub fn next_wake(&self) -> Option<Mono> {
        self.gatherings.values().map(|gathering| gathering.deadline).min()
    }

    /// Whether a peer may be judged for now.
    fn admits(&mut self, peer: NodeId, collections: usize, now: Mono) -> bool {
        self.judged.retain(|_, at| *at + EVERY > now);
        if self.looked_up.0 + Duration::from_secs(1) <= now {
            self.looked_up = (now, 0);
        }
        let admits = !self.judged.contains_key(&peer) && self.looked_up.1 + collections <= LOOKUPS;
        if admits {
            self.judged.insert(peer, now);
            self.looked_up.1 += collections;
        }
        admits
    }

    /// The word of a validator that was asked under `id`.
    fn note(&mut self, from: NodeId, id: u64, word: Word, now: Mono) {
        let asked = self.gatherings.values_mut().find(|gathering| gathering.flights.get(&id) == Some(&from));
        let Some(gathering) = asked else { return };
        gathering.flights.remove(&id);
        gathering.words.insert(from, word);
        if gathering.is_enough() {
            gathering.deadline = gathering.deadline.min(now + ENOUGH);
        }
    }

    fn asked(&self, from: NodeId, id: u64) -> Option<&EndorsementAsk> {
        let asked = self.gatherings.values().find(|gathering| gathering.flights.get(&id) == Some(&from));
        asked.map(|gathering| &gathering.asked)
    }

    /// The calls that can be answered now.
    fn take_over(&mut self, now: Mono) -> Vec<(u64, Gathering)> {
        let over = |gathering: &Gathering| gathering.flights.is_empty() || gathering.deadline <= now;
        let ids: Vec<u64> = self.gatherings.iter().filter(|(_, one)| over(one)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| Some((id, self.gatherings.remove(&id)?))).collect()
    }
}

impl Gathering {
    fn power(&self) -> u64 {
        let signed = self.words.iter().filter(|(_, word)| matches!(word, Word::Signed(_)));
        signed.map(|(validator, _)| self.validators.power(*validator)).sum()
    }

    fn is_enough(&self) -> bool {
        self.validators.is_quorum(self.power())
    }

    fn gathered(mut self) -> Gathered {
        let (power, is_enough) = (self.power(), self.is_enough());
        let word = |id: NodeId| self.words.remove(&id).unwrap_or(Word::NoAnswer);
        let words = self.validators.iter().map(|one| one.id).map(word).collect::<Vec<_>>();
        let words = self.validators.iter().zip(words).map(|(one, word)| (one.id, (one.power, word))).collect();
        Gathered { power, is_enough, words, total: self.validators.total(), asked: self.asked }
    }
}

impl Node {
    /// What is retained of a collection from one version on, up to and without another.
    pub(super) fn extent_of(&self, collection: &str, from: Version, to: Version) -> Sum {
        self.states.replica.index(collection).map(|index| index.sum(&(from..to))).unwrap_or_default()
    }

    /// The first collection of which this node has something else before that time, and what it has.
    fn differs(&self, until: WallMs, collections: &[CollectionHead]) -> Option<CollectionHead> {
        let own = |asked: &CollectionHead| {
            let sum = self.extent_of(&asked.name, Version::default(), end(until));
            CollectionHead { name: asked.name.clone(), retained: sum.count, root: sum.root.hash() }
        };
        collections.iter().map(|asked| (asked, own(asked))).find(|(asked, own)| *asked != own).map(|(_, own)| own)
    }

    /// Asks the validators for a client.
    pub(super) fn on_endorse(&mut self, id: u64, wanted: Endorse, turn: &mut Turn<'_>) {
        let refusal = if self.stopping {
            CallRefusal::Stopping
        } else if self.chain.is_none() {
            CallRefusal::NoChain
        } else {
            match self.begin_gathering(id, wanted, turn) {
                Ok(()) => return,
                Err(why) => CallRefusal::NotAsked(why),
            }
        };
        turn.out.push((Stage::Now, Output::Reply { id, answer: Err(refusal) }));
    }

    fn begin_gathering(&mut self, call: u64, wanted: Endorse, turn: &mut Turn<'_>) -> Result<(), NotAsked> {
        let Endorse { until, collections } = wanted;
        if !self.follows(Category::Data) {
            return Err(NotAsked::NoState);
        }
        if self.endorsing.gatherings.len() >= GATHERINGS {
            return Err(NotAsked::Busy);
        }
        let head = ledger::chain::head(&turn.tx)?.filter(|head| head.height > Height::GENESIS);
        let head = head.ok_or(NotAsked::NoBlock)?;
        // The one before the last: others may be a moment behind.
        let before = Height(head.height.0 - 1);
        let found = header(before, &turn.tx)?.map_or_else(|| header(head.height, &turn.tx), |found| Ok(Some(found)))?;
        let found = found.ok_or(NotAsked::NoBlock)?;
        let validators = ledger::chain::validators(&found.validators, &turn.tx)?.ok_or(NotAsked::NoBlock)?;
        let extent = Extent { chain: head.chain, network: self.network, until, collections };
        if let Some(fault) = extent.fault() {
            return Err(NotAsked::Malformed(fault));
        }
        if !self.states.is_settled() {
            return Err(NotAsked::Unsettled);
        }
        if let Some(own) = self.differs(until, &extent.collections) {
            return Err(NotAsked::Differs(own));
        }
        let asked = EndorsementAsk { height: found.height, block: found.id(), extent };
        let mut gathering = Gathering {
            asked: asked.clone(),
            flights: BTreeMap::new(),
            words: BTreeMap::new(),
            deadline: turn.now.mono + PATIENCE,
            validators,
        };
        for validator in gathering.validators.iter().map(|one| one.id) {
            if validator == self.id {
                gathering.words.insert(validator, self.own_word(&asked, turn));
            } else if self.peers.is_connected(validator) {
                let number = self.repair.fresh_id();
                gathering.flights.insert(number, validator);
                let request = Request::State(StateRequest::Endorse(Box::new(asked.clone())));
                turn.want(Output::Request { to: validator, id: number, request });
            } else {
                gathering.words.insert(validator, Word::NotConnected);
            }
        }
        self.endorsing.gatherings.insert(call, gathering);
        Ok(())
    }

    fn own_word(&self, asked: &EndorsementAsk, turn: &Turn<'_>) -> Word {
        match self.judge_extent(asked, turn) {
            Endorsed::Signed(signature) => Word::Signed(signature),
            other => Word::Refused(other),
        }
    }

    /// Answers a peer that asks for this node's endorsement.
    pub(super) fn serve_endorsement(&mut self, from: NodeId, asked: &EndorsementAsk, turn: &Turn<'_>) -> Response {
        let admitted = self.endorsing.admits(from, asked.extent.collections.len(), turn.now.mono);
        let said = if admitted { self.judge_extent(asked, turn) } else { Endorsed::Busy };
        Response::State(StateResponse::Endorsed(said))
    }

    /// This node's signature, if it is a validator of that block and retains what the extent says.
    fn judge_extent(&self, asked: &EndorsementAsk, turn: &Turn<'_>) -> Endorsed {
        let EndorsementAsk { height, block, extent } = asked;
        let Some(chain) = self.chain.as_ref().filter(|_| extent.network == self.network) else {
            return Endorsed::WrongChain;
        };
        // There is no head while another state is put in place.
        let Ok(Some(head)) = ledger::chain::head(&turn.tx) else { return Endorsed::Behind(Height::GENESIS) };
        if head.chain != extent.chain {
            return Endorsed::WrongChain;
        }
        if *height > head.height {
            return Endorsed::Behind(head.height);
        }
        if height.0 + HISTORY < head.height.0 {
            return Endorsed::Old;
        }
        let Some(seat) = seated(*height, self.id, &turn.tx).filter(|(id, _)| *id == block.0) else {
            return Endorsed::WrongChain;
        };
        if !seat.1 || !chain.validates() {
            return Endorsed::NotValidator;
        }
        if !self.follows(Category::Data) {
            return Endorsed::NoState;
        }
        if extent.until > turn.now.wall {
            return Endorsed::Early;
        }
        // Before all writes everyone has the same: whoever signed that would stand for any copy.
        if extent.until < turn.now.wall.minus(limits::ENDORSED_AGE) {
            return Endorsed::Old;
        }
        if !self.states.is_settled() {
            return Endorsed::Busy;
        }
        match self.differs(extent.until, &extent.collections) {
            Some(own) => Endorsed::Differs(own),
            None => Endorsed::Signed(asked.sign(&self.setup.key)),
        }
    }

    /// A validator answered.
    pub(super) fn on_endorsed(&mut self, from: NodeId, id: u64, said: Endorsed, turn: &mut Turn<'_>) {
        let Some(asked) = self.endorsing.asked(from, id) else { return };
        let word = match said {
            Endorsed::Signed(signature) if asked.holds(from, &signature) => Word::Signed(signature),
            Endorsed::Signed(_) => Word::BadSignature,
            refused => Word::Refused(refused),
        };
        if word == Word::BadSignature {
            self.on_refused(from, &Refusal::BadSignature, turn);
        }
        self.endorsing.note(from, id, word, turn.now.mono);
    }

    /// A validator will not answer.
    pub(super) fn on_endorse_failed(&mut self, from: NodeId, id: u64, now: Mono) {
        self.endorsing.note(from, id, Word::NoAnswer, now);
    }

    /// Answers the clients whose validators have said what they will. Belongs at the end of every step.
    pub(super) fn settle_endorsements(&mut self, turn: &mut Turn<'_>) {
        for (id, gathering) in self.endorsing.take_over(turn.now.mono) {
            let answer = Ok(Answer::Endorsed(Box::new(gathering.gathered())));
            turn.out.push((Stage::Now, Output::Reply { id, answer }));
        }
    }
}

/// The id of the decided block at a height, and whether a node was among those who decided it.
fn seated(height: Height, node: NodeId, view: &dyn View) -> Option<(Hash, bool)> {
    let found = header(height, view).ok()??;
    let validators = ledger::chain::validators(&found.validators, view).ok()??;
    Some((found.id().0, validators.index(node).is_some()))
}
