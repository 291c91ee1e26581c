//! The chain of one node, alone: what the other validators say is signed here.

use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::super::chain_io::Missed;
use super::super::{ChainInput, ChainOutput, ChainSetup, Channel, Gate, Input, Node, Output, Setup, Stage, Step};
use super::*;
use crate::consensus::proposer;
use crate::ledger::{GenesisAccount, GenesisValidator, Params, Token};
use crate::types::chain::BlockId;
use crate::types::storage::{Batch, Key, Table, Txn};
use crate::types::{MemoryStore, Now, Tokens, WallMs};
use crate::wire::agreement::{ChainResponse, Message, Proposal, Saying, Step as Vow, Vote};
use crate::wire::ledger::{Body, Order, Pack, Sealed, Transaction};
use crate::wire::{Request, Response};

mod decisions;
mod endorse;

const START: WallMs = WallMs(1_700_000_000_000);

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn id(n: u8) -> NodeId {
    NodeId(key(n).verifying_key().to_bytes())
}

/// Validators 1 to `validators`; account 9 has tokens.
fn genesis(validators: u8) -> Genesis {
    Genesis {
        name: "alone".into(),
        time_ms: START,
        treasury: Tokens(0),
        token: Token { symbol: "TST".into(), decimals: 6 },
        params: Params::default(),
        validators: (1..=validators)
            .map(|n| GenesisValidator { id: id(n), stake: Tokens(10_000_000), commission_permille: 0 })
            .collect(),
        accounts: vec![GenesisAccount { id: id(9), balance: Tokens(1_000_000_000) }],
    }
    .checked()
    .unwrap()
}

/// A node that is never slow to write: what it wants leaves as soon as its step is on the disk.
struct Lone {
    n: u8,
    validators: u8,
    node: Node,
    store: MemoryStore,
    log: Vec<(Height, Record)>,
    now: Now,
    /// What left.
    out: Vec<Output>,
}

impl Lone {
    fn new(n: u8, validators: u8) -> Lone {
        let now = Now { mono: Mono(1_000_000), wall: START.plus(Duration::from_secs(60)) };
        Lone::open(n, validators, MemoryStore::default(), Vec::new(), now)
    }

    fn open(n: u8, validators: u8, store: MemoryStore, log: Vec<(Height, Record)>, now: Now) -> Lone {
        let timeouts = Timeouts::default();
        let height = ledger::chain::head(&store).unwrap().map_or(Height::GENESIS, |head| head.height).next();
        let records = log.iter().filter(|(of, _)| *of == height).map(|(_, record)| record.clone()).collect();
        let chain = ChainSetup {
            genesis: genesis(validators),
            // Who is no validator follows.
            validates: n <= validators,
            timeouts,
            cadence: Duration::from_millis(10),
            heartbeat: None,
            log: records,
            abstains: false,
            join: Default::default(),
        };
        let setup = Setup {
            network: "alone".parse().unwrap(),
            key: key(n),
            entropy: 1,
            place: 1,
            bootstrap: Vec::new(),
            target_peers: 0,
            scheduler: Default::default(),
            packing: Default::default(),
            lanes: Default::default(),
            strategy: Default::default(),
            role: Default::default(),
            retention: Default::default(),
            floor_waits: crate::types::limits::FLOOR_MEMBERS,
            registration: None,
            chain: Some(chain),
        };
        let (node, step) = Node::open(setup, &store, now).unwrap();
        let mut lone = Lone { n, validators, node, store, log, now, out: Vec::new() };
        lone.release(step);
        lone
    }

    /// Loses what is in memory, and what the store has not flushed: everything since the last block.
    fn crash(self) -> Lone {
        let Lone { n, validators, mut store, log, now, .. } = self;
        store.crash(0);
        Lone::open(n, validators, store, log, now)
    }

    fn release(&mut self, step: Step) {
        let Step { batch, outputs, log, .. } = step;
        self.store.commit(batch);
        self.log.extend(log);
        for (_, output) in outputs {
            if let Output::Halt { fault } = &output {
                panic!("halted: {fault:?}");
            }
            self.out.push(output);
        }
    }

    /// One step with one input.
    fn give(&mut self, input: Input) -> Vec<(Stage, Output)> {
        let mut step = Step::default();
        self.node.handle(input, &self.store, self.now, &mut step);
        self.node.finish(&self.store, self.now, &mut step);
        self.out.clear();
        let Step { batch, outputs, log, .. } = step;
        self.store.commit(batch);
        self.log.extend(log);
        outputs
    }

    /// The same, and the block is on the disk if there was one; what left.
    fn tell(&mut self, input: Input) -> Vec<Output> {
        let outputs: Vec<Output> = self.give(input).into_iter().map(|(_, output)| output).collect();
        let applied = outputs.iter().find_map(|output| match output {
            Output::Chain(ChainOutput::Applied { height }) => Some(*height),
            _ => None,
        });
        let mut all = outputs;
        if let Some(height) = applied {
            self.store.flush();
            all.extend(self.tell(Input::Chain(ChainInput::Applied { height })));
        }
        all
    }

    /// Time passes, and the node is woken.
    fn wait(&mut self, time: Duration) -> Vec<Output> {
        self.now = Now { mono: self.now.mono + time, wall: self.now.wall.plus(time) };
        self.tell(Input::Tick)
    }

    fn chain(&self) -> &Chain {
        self.node.chain.as_ref().unwrap()
    }

    fn height(&self) -> Height {
        self.chain().ledger.head().height
    }

    /// The validator that proposes in a round of the next height.
    fn leader(&self, round: u32) -> u8 {
        let leader = proposer(self.chain().ledger.next_validators(), self.height().next(), round).id;
        (1..=self.validators).find(|n| id(*n) == leader).unwrap()
    }

    /// A block of another validator.
    fn block_of(&self, n: u8, time: WallMs) -> Block {
        self.chain().ledger.propose(&self.chain().pool, &self.store, 0, time, id(n), &Signatures).unwrap().block
    }

    fn hear(&mut self, from: u8, message: Message) -> Vec<Output> {
        let message = Genuine::check(message, self.chain().ledger.head().chain).unwrap();
        self.tell(Input::Chain(ChainInput::Heard { from: id(from), ticket: 1, message }))
    }

    fn proposal(&self, round: u32, value: BlockId, valid_round: Option<u32>) -> Message {
        let n = self.leader(round);
        let said = Proposal { height: self.height().next(), round, value, valid_round, proposer: id(n) };
        Message::Proposal(said.sign(self.chain().ledger.head().chain, &key(n)))
    }

    fn vote(&self, n: u8, step: Vow, round: u32, value: Option<BlockId>) -> Message {
        let said = Vote { step, height: self.height().next(), round, value, voter: id(n) };
        Message::Vote(said.sign(self.chain().ledger.head().chain, &key(n)))
    }

    fn certificate(&self, height: Height, value: BlockId, voters: &[u8]) -> Certificate {
        let said = |n: u8| Vote { step: Vow::Precommit, height, round: 0, value: Some(value), voter: id(n) };
        let chain = self.chain().ledger.head().chain;
        let mut signatures: Vec<_> =
            voters.iter().map(|n| (id(*n), said(*n).sign(chain, &key(*n)).signature)).collect();
        signatures.sort();
        Certificate { height, round: 0, value, signatures }
    }

    /// Answers what was asked of a peer with a block's body, with or without a word on it.
    fn bring(&mut self, asked: &[Output], block: &Block) -> Vec<Output> {
        let Some((from, id)) = asked.iter().find_map(|output| match output {
            Output::Request { to, id, request: Request::Chain(ChainRequest::Body { block: of }) }
                if *of == block.id() =>
            {
                Some((*to, *id))
            }
            _ => None,
        }) else {
            panic!("nobody was asked for the body: {asked:?}")
        };
        self.tell(Input::Chain(ChainInput::Body { from, id, block: Box::new(block.clone()), proposal: None }))
    }
}

/// The votes this node says, in order.
fn votes(out: &[Output], n: u8) -> Vec<Vote> {
    let said = |output: &Output| match output {
        Output::Chain(ChainOutput::Say { bytes, .. }) => match Saying::decode(bytes).ok()?.message {
            Message::Vote(vote) if vote.said.voter == id(n) => Some(vote.said),
            _ => None,
        },
        _ => None,
    };
    out.iter().filter_map(said).collect()
}

/// What peers are asked about the chain.
fn asked(out: &[Output]) -> Vec<(NodeId, u64, ChainRequest)> {
    let about = |output: &Output| match output {
        Output::Request { to, id, request: Request::Chain(request) } => Some((*to, *id, *request)),
        _ => None,
    };
    out.iter().filter_map(about).collect()
}

/// A validator of four that does not propose in the first two rounds of height 1.
fn follower() -> Lone {
    let lone = Lone::new(1, 4);
    let me = (1..=4).find(|n| lone.leader(0) != *n && lone.leader(1) != *n).unwrap();
    let mut lone = Lone::new(me, 4);
    // An idle chain waits for work.
    lone.tell(Input::Call { id: 1, call: crate::node::Call::Submit(Box::new(transfer(&lone, 0))) });
    lone.wait(Duration::from_millis(50));
    lone
}

fn transfer(lone: &Lone, nonce: u64) -> Sealed {
    let body = Body::Transfer { to: id(1), amount: Tokens(5), memo: None };
    let transactions = vec![Transaction { fee: Tokens(10_000), body }];
    let chain = lone.chain().ledger.head().chain;
    Order { chain, account: id(9), nonce, transactions }.seal(&key(9)).unwrap()
}

#[test]
fn a_block_from_the_future_is_voted_for_when_its_time_has_come() {
    let mut lone = follower();
    let me = lone.n;
    let others: Vec<u8> = (1..=4).filter(|n| *n != me).collect();
    // Of now for the others, whose clocks are a little ahead, and not for this node.
    let ahead = Duration::from_millis(15_200);
    let block = lone.block_of(lone.leader(0), lone.now.wall.plus(ahead));
    let said = lone.proposal(0, block.id(), None);
    let out = lone.hear(others[0], said);
    let out = lone.bring(&out, &block);
    assert_eq!(votes(&out, me), [], "its time has not come");
    let out = lone.wait(Duration::from_millis(190));
    assert_eq!(votes(&out, me), []);
    let out = lone.wait(Duration::from_millis(20));
    assert_eq!(votes(&out, me).first().map(|vote| vote.value), Some(Some(block.id())), "{out:?}");
}

#[test]
fn what_a_node_came_to_late_it_votes_for_in_the_next_round() {
    let mut lone = follower();
    let me = lone.n;
    let others: Vec<u8> = (1..=4).filter(|n| *n != me).collect();
    let block = lone.block_of(lone.leader(0), lone.now.wall.plus(Duration::from_millis(17_000)));
    let said = lone.proposal(0, block.id(), None);
    let out = lone.hear(others[0], said);
    lone.bring(&out, &block);
    let out = lone.wait(Duration::from_millis(1_100));
    assert_eq!(votes(&out, me).iter().map(|vote| vote.value).collect::<Vec<_>>(), [None], "nobody waits for ever");
    // The others lock the block, and it is proposed again, while this node's clock is still behind.
    let mut out = Vec::new();
    for n in &others {
        out.extend(lone.hear(*n, lone.vote(*n, Vow::Prevote, 0, Some(block.id()))));
    }
    for n in &others[..2] {
        out.extend(lone.hear(*n, lone.vote(*n, Vow::Precommit, 0, None)));
    }
    out.extend(lone.wait(Duration::from_millis(1_000)));
    let again = lone.proposal(1, block.id(), Some(0));
    out.extend(lone.hear(others[0], again));
    let vote = votes(&out, me).into_iter().find(|vote| vote.step == Vow::Prevote && vote.round == 1);
    assert_eq!(vote.map(|vote| vote.value), Some(Some(block.id())), "{:?}", votes(&out, me));
}

#[test]
fn what_was_decided_is_taken_whatever_its_time() {
    let mut lone = follower();
    let others: Vec<u8> = (1..=4).filter(|n| *n != lone.n).collect();
    let block = lone.block_of(lone.leader(0), lone.now.wall.plus(Duration::from_secs(3_600)));
    let certificate = lone.certificate(Height(1), block.id(), &others);
    let said = lone.proposal(0, block.id(), None);
    let out = lone.hear(others[0], said);
    let out = lone.bring(&out, &block);
    assert_eq!(votes(&out, lone.n), [], "an hour ahead");
    lone.hear(others[0], Message::Certificate(certificate));
    assert_eq!(lone.height(), Height(1));
}

#[test]
fn a_validator_alone_goes_on_after_a_crash_at_any_record() {
    let mut whole = Lone::new(1, 1);
    whole.store.flush();
    whole.tell(Input::Call { id: 1, call: crate::node::Call::Submit(Box::new(transfer(&whole, 0))) });
    whole.store.flush();
    let before = whole.store.clone();
    whole.wait(Duration::from_millis(50));
    assert_eq!(whole.height(), Height(1), "one validator is enough");
    let records = whole.log.iter().filter(|(height, _)| *height == Height(1)).count();
    assert!(records > 3, "{records}");
    for kept in 0..=records {
        // Power is lost when so much of the log and nothing of the block is on the disk.
        let log = whole.log[..kept].to_vec();
        let mut back = Lone::open(1, 1, before.clone(), log, whole.now);
        back.wait(Duration::from_millis(50));
        back.wait(Duration::from_secs(3));
        back.wait(Duration::from_secs(3));
        assert!(
            back.chain().applied.is_some() || back.height() >= Height(1),
            "{kept} records: {:?}",
            back.chain().status()
        );
    }
}

#[test]
fn a_block_all_voted_for_is_given_to_whoever_asks_after_a_crash_of_everyone() {
    let mut lone = follower();
    let others: Vec<u8> = (1..=4).filter(|n| *n != lone.n).collect();
    lone.store.flush();
    let block = lone.block_of(lone.leader(0), lone.now.wall);
    let said = lone.proposal(0, block.id(), None);
    let out = lone.hear(others[0], said);
    let out = lone.bring(&out, &block);
    assert_eq!(votes(&out, lone.n).len(), 1);
    let mut lone = lone.crash();
    let request = Request::Chain(ChainRequest::Body { block: block.id() });
    let out = lone.tell(Input::Request { from: id(others[0]), id: 5, request });
    let body = out.iter().find_map(|output| match output {
        Output::Respond { response: Response::Chain(ChainResponse::Body { block, .. }), .. } => Some(block.clone()),
        _ => None,
    });
    assert_eq!(body, Some(Bytes::from(block.encode())), "{out:?}");
    for n in &others {
        lone.hear(*n, lone.vote(*n, Vow::Prevote, 0, Some(block.id())));
        lone.hear(*n, lone.vote(*n, Vow::Precommit, 0, Some(block.id())));
    }
    assert_eq!(lone.height(), Height(1));
}

#[test]
fn a_proposal_leaves_with_a_body_no_earlier_than_its_record_is_on_the_disk() {
    let lone = Lone::new(1, 4);
    let me = lone.leader(0);
    let mut lone = Lone::new(me, 4);
    let (mut gate, mut step) = (Gate::default(), Step::default());
    let work = Input::Call { id: 1, call: crate::node::Call::Submit(Box::new(transfer(&lone, 0))) };
    lone.node.handle(work, &lone.store, lone.now, &mut step);
    lone.node.finish(&lone.store, lone.now, &mut step);
    let block = step.log.iter().find_map(|(_, record)| match record {
        Record::Proposal(proposal) => Some(proposal.said.value),
        _ => None,
    });
    let request = Request::Chain(ChainRequest::Body { block: block.expect("a proposal") });
    assert!(gate.committed(step.outputs, false, false, step.log).log.is_some());
    // Somebody asks before the log is flushed.
    let mut step = Step::default();
    lone.node.handle(Input::Request { from: id(9), id: 5, request }, &lone.store, lone.now, &mut step);
    let is_answer = |output: &Output| matches!(output, Output::Respond { id: 5, .. });
    let freed = gate.committed(step.outputs, false, false, step.log);
    assert!(!freed.outputs.iter().any(is_answer), "{:?}", freed.outputs);
    assert!(gate.logged(1).iter().any(is_answer));
}

#[test]
fn who_only_follows_writes_nothing_down_and_answers_at_once() {
    let mut lone = Lone::new(5, 4);
    let leader = lone.leader(0);
    let block = lone.block_of(leader, lone.now.wall);
    let said = lone.proposal(0, block.id(), None);
    let out = lone.hear(leader, said);
    lone.bring(&out, &block);
    lone.hear(leader, lone.vote(leader, Vow::Prevote, 0, Some(block.id())));
    assert_eq!(lone.log, []);
    let request = Request::Chain(ChainRequest::Body { block: block.id() });
    let outputs = lone.give(Input::Request { from: id(9), id: 5, request });
    let freed = Gate::default().committed(outputs, false, false, lone.log);
    let answer = freed.outputs.iter().find_map(|output| match output {
        Output::Respond { id: 5, response: Response::Chain(answer) } => Some(answer),
        _ => None,
    });
    assert!(matches!(answer, Some(ChainResponse::Body { .. })), "{answer:?}");
}

fn missed(certificate: Genuine<Certificate>, block: &Block) -> Missed {
    Missed { certificate, block: block.clone(), seals: BTreeMap::new() }
}

#[test]
fn a_certificate_with_this_nodes_own_vote_leaves_no_earlier_than_its_record_is_on_the_disk() {
    let mut lone = follower();
    let (me, mut gate) = (lone.n, Gate::default());
    let others: Vec<u8> = (1..=4).filter(|n| *n != me).collect();
    let block = lone.block_of(lone.leader(0), lone.now.wall);
    let said = lone.proposal(0, block.id(), None);
    let out = lone.hear(others[0], said);
    lone.bring(&out, &block);
    for n in &others[..2] {
        lone.hear(*n, lone.vote(*n, Vow::Precommit, 0, Some(block.id())));
    }
    lone.hear(others[0], lone.vote(others[0], Vow::Prevote, 0, Some(block.id())));
    // With the last prevote this node votes, and that decides.
    let vote = lone.vote(others[1], Vow::Prevote, 0, Some(block.id()));
    let message = Genuine::check(vote, lone.chain().ledger.head().chain).unwrap();
    let heard = Input::Chain(ChainInput::Heard { from: id(others[1]), ticket: 1, message });
    let mut step = Step::default();
    lone.node.handle(heard, &lone.store, lone.now, &mut step);
    lone.node.finish(&lone.store, lone.now, &mut step);
    assert_eq!(lone.height(), Height(1));
    lone.store.commit(step.batch);
    assert!(gate.committed(step.outputs, false, false, step.log).log.is_some());
    let requests = [ChainRequest::Body { block: block.id() }, ChainRequest::Decisions { from: Height(1) }];
    for (n, request) in (5..).zip(requests) {
        let mut step = Step::default();
        let request = Input::Request { from: id(9), id: n, request: Request::Chain(request) };
        lone.node.handle(request, &lone.store, lone.now, &mut step);
        let freed = gate.committed(step.outputs, false, false, step.log);
        assert!(!freed.outputs.iter().any(|output| matches!(output, Output::Respond { .. })), "{:?}", freed.outputs);
    }
    let is_answer = |output: &&Output| {
        matches!(output, Output::Respond { response: Response::Chain(ChainResponse::Decisions(_)), .. })
    };
    assert_eq!(gate.logged(1).iter().filter(is_answer).count(), 2);
}

#[test]
fn who_lacks_the_body_of_a_block_that_the_others_made_true_gets_the_decision() {
    let mut lone = follower();
    let others: Vec<u8> = (1..=4).filter(|n| *n != lone.n).collect();
    let block = lone.block_of(lone.leader(0), lone.now.wall);
    let proposal = lone.proposal(0, block.id(), None);
    let out = lone.hear(others[0], proposal);
    let (from, number, request) = asked(&out)[0];
    assert_eq!(request, ChainRequest::Body { block: block.id() });
    for n in &others {
        lone.hear(*n, lone.vote(*n, Vow::Prevote, 0, Some(block.id())));
        lone.hear(*n, lone.vote(*n, Vow::Precommit, 0, Some(block.id())));
    }
    assert_eq!(lone.height(), Height::GENESIS, "all have agreed, and the block is not here");
    // One that has the body no more and says so, as a node two blocks on does, is asked what was decided.
    let out = lone.tell(Input::Failed { from, id: number });
    let (to, number, request) = asked(&out)[0];
    assert_eq!((to, request), (from, ChainRequest::Decisions { from: Height(1) }));
    let certificate = lone.certificate(Height(1), block.id(), &others);
    let decided = Genuine::check(certificate, lone.chain().ledger.head().chain).unwrap();
    let decisions = vec![missed(decided, &block)];
    lone.tell(Input::Chain(ChainInput::Decisions { from, id: number, decisions }));
    assert_eq!(lone.height(), Height(1));
    // Now it is another that lacks it.
    let request = Request::Chain(ChainRequest::Body { block: block.id() });
    let out = lone.tell(Input::Request { from: id(9), id: 7, request });
    let answer = out.iter().find_map(|output| match output {
        Output::Respond { id: 7, response: Response::Chain(ChainResponse::Decisions(decisions)) } => Some(decisions),
        _ => None,
    });
    let blocks: Vec<&Bytes> = answer.into_iter().flatten().map(|decision| &decision.block).collect();
    assert_eq!(blocks, [&Bytes::from(block.encode())]);
}

#[test]
fn a_question_about_the_chain_that_is_answered_with_something_else_is_over_and_costs_points() {
    let mut lone = follower();
    let peer = id((1..=4).find(|n| *n != lone.n).unwrap());
    lone.tell(Input::PeerUp { peer, dialled: None });
    let before = lone.chain().asked.clone();
    let (number, _) = before.iter().find(|(_, (of, _))| *of == peer).expect("a new peer is asked");
    lone.tell(Input::Heads { from: peer, id: *number, heads: Vec::new(), more: false });
    assert!(!lone.chain().asked.contains_key(number));
    let penalty = lone.node.peers.list(lone.now).into_iter().find(|info| info.id == peer).unwrap().penalty;
    assert!(penalty >= 20, "{penalty}");
}

#[test]
fn an_answer_with_decisions_fits_a_frame_whatever_is_in_the_blocks() {
    let lone = Lone::new(1, 1);
    let (mut batch, mut step) = (Batch::default(), Step::default());
    // Blocks of almost 2 MiB together, one of the largest behind them, and certificates of all validators there can be.
    let sizes = (1..=64u64).map(|height| if height == 64 { 1 << 20 } else { (2 << 20) / 63 - 100 });
    for (height, size) in (1..).zip(sizes) {
        let row = |table| Key::new(table, &[&u64::to_be_bytes(height)]);
        batch.put(row(Table::Block), vec![1; size]);
        batch.put(row(Table::Certificate), vec![2; 46 + 256 * 96]);
    }
    let mut store = lone.store.clone();
    store.commit(batch);
    let chain = lone.node.chain.unwrap();
    let Step { batch, outputs, barrier, log, passed } = &mut step;
    let turn = Turn { tx: Txn::new(&store, batch), out: outputs, barrier, log, passed, now: lone.now };
    let mut from = Height(1);
    let mut answers = 0;
    while from <= Height(64) {
        let ChainResponse::Decisions(decisions) = chain.serve_decisions(from, &turn) else { panic!() };
        let count = decisions.len() as u64;
        let response = Response::Chain(ChainResponse::Decisions(decisions));
        let bytes = response.encode();
        assert!(bytes.len() <= crate::types::limits::FRAME_BYTES && count > 0, "{} bytes, {count}", bytes.len());
        assert!(Response::decode(&bytes).is_ok());
        (from, answers) = (Height(from.0 + count), answers + 1);
    }
    assert!(answers > 1);
}

#[test]
fn what_waits_behind_a_gap_makes_no_blocks() {
    let mut lone = Lone::new(1, 1);
    lone.tell(Input::Call { id: 1, call: crate::node::Call::Submit(Box::new(transfer(&lone, 3))) });
    lone.wait(Duration::from_secs(10));
    assert_eq!((lone.height(), lone.chain().pool.size().0), (Height::GENESIS, 1));
    lone.tell(Input::Call { id: 2, call: crate::node::Call::Submit(Box::new(transfer(&lone, 0))) });
    lone.wait(Duration::from_secs(10));
    lone.wait(Duration::from_secs(10));
    assert_eq!((lone.height(), lone.chain().pool.size().0), (Height(1), 1), "and then it is quiet again");
}

#[test]
fn what_waits_is_said_again_and_again_to_who_sends_it_twice() {
    let mut lone = follower();
    let sealed = transfer(&lone, 1);
    let is_said = |out: &[Output], sealed: &Sealed| {
        let said = |output: &Output| match output {
            Output::Chain(ChainOutput::Say { channel: Channel::Transactions, bytes }) => {
                Pack::decode(bytes.clone()).unwrap().seals.contains(sealed.bytes())
            }
            _ => false,
        };
        out.iter().any(said)
    };
    for (call, at_once) in [(7, true), (8, false)] {
        let mut out = lone.tell(Input::Call { id: call, call: crate::node::Call::Submit(Box::new(sealed.clone())) });
        // What comes right behind a frame waits for the next.
        assert_eq!(is_said(&out, &sealed), at_once, "sent for the {call}th time: {out:?}");
        if !at_once {
            out.extend(lone.wait(super::gossip::GATHERED));
        }
        assert!(is_said(&out, &sealed), "sent for the {call}th time: {out:?}");
        let ids = out.iter().find_map(|output| match output {
            Output::Reply { id, answer: Ok(crate::node::Answer::Submitted { ids }) } if *id == call => {
                Some(ids.clone())
            }
            _ => None,
        });
        assert_eq!(ids.as_deref(), Some(sealed.ids()));
    }
    let first = transfer(&lone, 0);
    let out = lone.wait(POLL);
    assert!(is_said(&out, &first), "it is next, and nobody has put it into a block");
}
