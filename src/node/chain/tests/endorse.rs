//! Validators' word on replicated state: asked for, and given.

use super::*;
use crate::crdt::{Condition, Sum, Wish, Wished};
use crate::node::{Ack, Answer, Call, CallRefusal, Endorse, Gathered, NotAsked, Word, Write};
use crate::types::{Version, limits};
use crate::wire::kind::Json;
use crate::wire::ledger::{Endorsed, EndorsementAsk, Extent};
use crate::wire::{CollectionHead, StateRequest, StateResponse};

const NAME: &str = "prices";

impl Lone {
    fn reply(&mut self, call: Call) -> Option<Result<Answer, CallRefusal>> {
        let outputs = self.tell(Input::Call { id: 77, call });
        replied(outputs)
    }

    fn put(&mut self, path: &str) {
        let wished = Wished::Put(Json::from(&serde_json::json!(1)));
        let wishes = vec![Wish { path: path.into(), wished, condition: Condition::None }];
        let write = Write { collection: NAME.into(), client: None, wishes, restores: None, ack: Ack::Accepted };
        assert!(matches!(self.reply(Call::Write(Box::new(write))), Some(Ok(Answer::Wrote(_)))));
    }

    /// What it retains of the collection before now.
    fn own(&mut self) -> Endorse {
        let until = self.now.wall;
        let to = crate::wire::ledger::end(until);
        let call = Call::Extent { collection: NAME.into(), from: Version::default(), to };
        let Some(Ok(Answer::Extent(Sum { count, root }))) = self.reply(call) else { panic!("a sum") };
        let head = CollectionHead { name: NAME.into(), retained: count, root: root.hash() };
        Endorse { until, collections: vec![head] }
    }

    /// What a peer may ask about that.
    fn asks(&mut self) -> EndorsementAsk {
        let Endorse { until, collections } = self.own();
        let (chain, block) = (self.chain().ledger.head().chain, self.chain().ledger.head().id);
        let network = crate::types::NetworkName::from_str("alone").unwrap().id();
        EndorsementAsk { height: self.height(), block, extent: Extent { chain, network, until, collections } }
    }

    /// Its answer, long enough after the one before.
    fn answer(&mut self, asked: &EndorsementAsk) -> Endorsed {
        self.wait(Duration::from_millis(300));
        self.answer_now(2, asked)
    }

    fn answer_now(&mut self, from: u8, asked: &EndorsementAsk) -> Endorsed {
        let request = Request::State(StateRequest::Endorse(Box::new(asked.clone())));
        let outputs = self.tell(Input::Request { from: id(from), id: 5, request });
        let said = outputs.into_iter().find_map(|output| match output {
            Output::Respond { id: 5, response: Response::State(StateResponse::Endorsed(said)) } => Some(said),
            _ => None,
        });
        said.unwrap()
    }

    fn says(&mut self, from: NodeId, number: u64, said: Endorsed) -> Vec<Output> {
        self.tell(Input::State(crate::node::StateInput::Endorsed { from, id: number, said }))
    }
}

use std::str::FromStr;

fn replied(outputs: Vec<Output>) -> Option<Result<Answer, CallRefusal>> {
    outputs.into_iter().find_map(|output| match output {
        Output::Reply { id: 77, answer } => Some(answer),
        _ => None,
    })
}

fn gathered(outputs: Vec<Output>) -> Gathered {
    let Some(Ok(Answer::Endorsed(gathered))) = replied(outputs) else { panic!("nobody said anything") };
    *gathered
}

/// Whom it asks, and under which numbers.
fn endorsers(outputs: &[Output]) -> Vec<(NodeId, u64, EndorsementAsk)> {
    let asked = |output: &Output| match output {
        Output::Request { to, id, request: Request::State(StateRequest::Endorse(asked)) } => {
            Some((*to, *id, (**asked).clone()))
        }
        _ => None,
    };
    outputs.iter().filter_map(asked).collect()
}

/// What everyone has the same of.
fn nothing() -> (WallMs, Vec<CollectionHead>) {
    (WallMs(0), vec![CollectionHead { name: NAME.into(), retained: 0, root: Hash::ZERO }])
}

/// A validator of four after the first block, with three writes; the others are its peers.
fn validator() -> (Lone, Vec<u8>) {
    let mut lone = follower();
    let others: Vec<u8> = (1..=4).filter(|n| *n != lone.n).collect();
    let block = lone.block_of(lone.leader(0), lone.now.wall);
    let certificate = lone.certificate(Height(1), block.id(), &others);
    let said = lone.proposal(0, block.id(), None);
    let out = lone.hear(others[0], said);
    lone.bring(&out, &block);
    lone.hear(others[0], Message::Certificate(certificate));
    assert_eq!(lone.height(), Height(1));
    for n in &others {
        lone.tell(Input::PeerUp { peer: id(*n), dialled: None });
    }
    ["a", "b", "c"].into_iter().for_each(|path| lone.put(path));
    lone.wait(Duration::from_secs(1));
    (lone, others)
}

#[test]
fn a_validator_signs_what_it_retains_and_nothing_else() {
    let (mut lone, _) = validator();
    let asked = lone.asks();
    assert_eq!(asked.extent.collections[0].retained, 3);
    let Endorsed::Signed(signature) = lone.answer(&asked) else { panic!("it is the same") };
    assert!(asked.holds(id(lone.n), &signature));
    assert_eq!(lone.answer_now(2, &asked), Endorsed::Busy, "one peer, twice at once");
    assert!(matches!(lone.answer_now(3, &asked), Endorsed::Signed(_)), "and another");

    let own = asked.extent.collections[0].clone();
    type Change = fn(&mut EndorsementAsk);
    let cases: [(Change, Endorsed); 10] = [
        (|asked| asked.extent.collections[0].retained = 2, Endorsed::Differs(own.clone())),
        (|asked| asked.extent.collections[0].root = Hash::ZERO, Endorsed::Differs(own)),
        (|asked| asked.extent.until = WallMs(u64::MAX), Endorsed::Early),
        (|asked| (asked.extent.until, asked.extent.collections) = nothing(), Endorsed::Old),
        (|asked| asked.height = Height(2), Endorsed::Behind(Height(1))),
        (|asked| asked.block = BlockId(Hash::ZERO), Endorsed::WrongChain),
        (|asked| asked.height = Height(0), Endorsed::WrongChain),
        (|asked| asked.extent.chain = crate::types::chain::ChainId(Hash::ZERO), Endorsed::WrongChain),
        (|asked| asked.extent.network = crate::types::NetworkId(Hash::ZERO), Endorsed::WrongChain),
        (
            |asked| asked.extent.collections[0].name = "none".into(),
            Endorsed::Differs(CollectionHead { name: "none".into(), retained: 0, root: Hash::ZERO }),
        ),
    ];
    for (change, wanted) in cases {
        let mut other = asked.clone();
        change(&mut other);
        assert_eq!(lone.answer(&other), wanted, "{other:?}");
    }
    // An hour is not too long, and a moment more is.
    let mut old = asked.clone();
    (old.extent.until, old.extent.collections) = (lone.now.wall.minus(limits::ENDORSED_AGE), nothing().1);
    assert!(matches!(lone.answer_now(4, &old), Endorsed::Signed(_)));
    assert_eq!(lone.answer(&old), Endorsed::Old);
    // Writes that come later are stamped later: what it said once it says again.
    lone.put("d");
    assert!(matches!(lone.answer(&asked), Endorsed::Signed(_)));
    // What takes the place of an old one changes what there was.
    lone.put("a");
    assert!(matches!(lone.answer(&asked), Endorsed::Differs(head) if head.retained == 2));
}

#[test]
fn who_is_no_validator_signs_nothing() {
    let (lone, others) = validator();
    let block = ledger::chain::block(Height(1), &lone.store).unwrap().unwrap();
    let mut follower = Lone::new(9, 4);
    let chain = follower.chain().ledger.head().chain;
    let decision = Genuine::check(follower.certificate(Height(1), block.id(), &others), chain).unwrap();
    let out = follower.tell(Input::PeerUp { peer: id(others[0]), dialled: None });
    let under = asked(&out).into_iter().find(|(_, _, request)| matches!(request, ChainRequest::Decisions { .. }));
    let (from, number, _) = under.unwrap();
    let decisions = vec![missed(decision, &block)];
    follower.tell(Input::Chain(ChainInput::Decisions { from, id: number, decisions }));
    assert_eq!(follower.height(), Height(1));
    follower.put("a");
    follower.wait(Duration::from_secs(1));
    let asked = follower.asks();
    assert_eq!(follower.answer(&asked), Endorsed::NotValidator);
}

#[test]
fn enough_signatures_are_waited_for_and_not_the_last() {
    let (mut lone, others) = validator();
    let wanted = lone.own();
    let out = lone.tell(Input::Call { id: 77, call: Call::Endorse(Box::new(wanted.clone())) });
    let asked = endorsers(&out);
    assert_eq!(asked.len(), 3, "itself it need not ask");
    let sign = |n: usize| {
        let (to, number, what) = asked[n].clone();
        let signer = others.iter().find(|n| id(**n) == to).unwrap();
        (to, number, Endorsed::Signed(what.sign(&key(*signer))))
    };
    let (first, number, said) = sign(0);
    assert!(replied(lone.says(first, number, said)).is_none());
    // The word of another under this number, and a word nobody asked for, are nobody's.
    let (second, number, said) = sign(1);
    assert!(replied(lone.says(first, number, said.clone())).is_none());
    assert!(replied(lone.says(second, 99_999, said.clone())).is_none());
    assert!(replied(lone.says(second, number, said)).is_none(), "the last has half a second");
    let done = gathered(lone.wait(Duration::from_millis(600)));
    assert!(done.is_enough);
    assert_eq!(3 * done.total, 4 * done.power, "three of four");
    assert_eq!(done.words[&asked[2].0].1, Word::NoAnswer);
    assert!(matches!(done.words[&id(lone.n)].1, Word::Signed(_)));
    assert_eq!(done.asked.extent.collections, wanted.collections);
}

#[test]
fn two_of_four_are_not_enough_and_a_strange_signature_is_none() {
    let (mut lone, others) = validator();
    let wanted = lone.own();
    let out = lone.tell(Input::Call { id: 77, call: Call::Endorse(Box::new(wanted)) });
    let asked = endorsers(&out);
    let signer = |to: NodeId| *others.iter().find(|n| id(**n) == to).unwrap();
    let (first, number, what) = asked[0].clone();
    lone.says(first, number, Endorsed::Signed(what.sign(&key(signer(first)))));
    let (second, number, what) = asked[1].clone();
    lone.says(second, number, Endorsed::Signed(what.sign(&key(signer(first)))));
    let (third, number, _) = asked[2].clone();
    let done = gathered(lone.tell(Input::Failed { from: third, id: number }));
    assert!(!done.is_enough);
    let words = [first, second, third].map(|peer| done.words[&peer].1.clone());
    assert!(matches!(words, [Word::Signed(_), Word::BadSignature, Word::NoAnswer]), "{words:?}");
}

#[test]
fn nobody_is_asked_what_is_not_so_here() {
    let (mut lone, _) = validator();
    let right = lone.own();
    let mut wrong = right.clone();
    wrong.collections[0].retained += 1;
    let refused = lone.reply(Call::Endorse(Box::new(wrong)));
    let Some(Err(CallRefusal::NotAsked(NotAsked::Differs(own)))) = refused else { panic!("{refused:?}") };
    assert_eq!(own, right.collections[0]);
    let nothing = Endorse { collections: vec![], ..right.clone() };
    let refused = lone.reply(Call::Endorse(Box::new(nothing)));
    assert!(matches!(refused, Some(Err(CallRefusal::NotAsked(NotAsked::Malformed(_))))));
    let mut early = follower();
    let refused = early.reply(Call::Endorse(Box::new(right.clone())));
    assert!(matches!(refused, Some(Err(CallRefusal::NotAsked(NotAsked::NoBlock)))), "{refused:?}");
    for n in 0..5 {
        let out = lone.tell(Input::Call { id: 100 + n, call: Call::Endorse(Box::new(right.clone())) });
        assert_eq!(endorsers(&out).len(), if n < 4 { 3 } else { 0 }, "four at a time");
    }
}
