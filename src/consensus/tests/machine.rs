//! Single rules of the machine, one node at a time.

use std::time::Duration;

use super::member::{CHAIN, id, key, validators};
use super::net::{Cut, Net, at, quick};
use crate::consensus::{Consensus, Fault, Input, Output, Phase, Record, Setup, Start, Wait, proposer};
use crate::types::chain::{BlockId, Height};
use crate::types::{Hash, Mono};
use crate::wire::agreement::{Certificate, Genuine, Message, Proposal, Short, Step, Vote};

fn block(n: u8) -> BlockId {
    BlockId(Hash([n; 32]))
}

/// The validator that proposes at height 1 in a round.
fn leader(round: u32) -> usize {
    let leader = proposer(&validators(4), Height(1), round).id;
    (0..4).find(|n| id(*n) == leader).unwrap()
}

/// Someone who does not propose at height 1 in the first rounds.
fn other() -> usize {
    (0..4).find(|n| (0..3).all(|round| leader(round) != *n)).unwrap()
}

fn setup(n: usize) -> Setup {
    Setup { chain: CHAIN, me: id(n), key: (n < 4).then(|| key(n).clone()), timeouts: quick() }
}

fn start(height: u64, idle: bool) -> Start {
    Start { height: Height(height), validators: validators(4), not_before: at(1), idle }
}

fn open(n: usize, log: &[Record]) -> (Consensus, Vec<Output>) {
    Consensus::open(setup(n), start(1, false), log, None, at(1))
}

fn vote(n: usize, step: Step, height: u64, round: u32, value: Option<BlockId>) -> Message {
    Message::Vote(Vote { step, height: Height(height), round, value, voter: id(n) }.sign(CHAIN, key(n)))
}

fn proposal(n: usize, round: u32, value: BlockId) -> Message {
    let said = Proposal { height: Height(1), round, value, valid_round: None, proposer: id(n) };
    Message::Proposal(said.sign(CHAIN, key(n)))
}

fn certificate(nodes: &[usize], value: BlockId) -> Message {
    let said = |n: usize| Vote { step: Step::Precommit, height: Height(1), round: 0, value: Some(value), voter: id(n) };
    let mut signatures: Vec<_> = nodes.iter().map(|n| (id(*n), said(*n).sign(CHAIN, key(*n)).signature)).collect();
    signatures.sort();
    Message::Certificate(Certificate { height: Height(1), round: 0, value, signatures })
}

fn heard(from: usize, message: Message) -> Input {
    Input::Heard { from: id(from), message: Genuine::check(message, CHAIN).unwrap() }
}

fn said(out: &[Output]) -> Vec<Message> {
    let say = |output: &Output| if let Output::Say { message } = output { Some(message.clone()) } else { None };
    out.iter().filter_map(say).collect()
}

fn logged(out: &[Output]) -> Vec<Record> {
    let log = |output: &Output| if let Output::Log { record, .. } = output { Some(record.clone()) } else { None };
    out.iter().filter_map(log).collect()
}

fn halted(out: &[Output]) -> Option<&Fault> {
    out.iter().find_map(|output| if let Output::Halt { fault } = output { Some(fault) } else { None })
}

fn own_votes(out: &[Output], n: usize) -> Vec<Vote> {
    let own = |message: Message| match message {
        Message::Vote(vote) if vote.said.voter == id(n) => Some(vote.said),
        _ => None,
    };
    said(out).into_iter().filter_map(own).collect()
}

/// Everything one node heard and wanted while it decided height 1 with the block of the leader.
fn decide(n: usize) -> (Consensus, Vec<Output>) {
    let (mut node, mut all) = open(n, &[]);
    let proposer = leader(0);
    let mut inputs = vec![
        heard(proposer, proposal(proposer, 0, block(1))),
        Input::Body { block: block(1) },
        Input::Checked { block: block(1), valid: true },
    ];
    for step in [Step::Prevote, Step::Precommit] {
        inputs.extend((0..4).filter(|other| *other != n).map(|m| heard(m, vote(m, step, 1, 0, Some(block(1))))));
    }
    for (k, input) in inputs.into_iter().enumerate() {
        all.extend(node.handle(input, at(2 + k as u64)));
    }
    (node, all)
}

#[test]
fn every_word_follows_the_record_of_it() {
    let (node, out) = decide(other());
    assert_eq!(node.phase(), Phase::Decided);
    let mut written = Vec::new();
    for output in &out {
        match output {
            Output::Log { record, .. } => written.push(record.clone()),
            Output::Say { message: Message::Vote(vote) } => assert!(written.contains(&Record::Vote(*vote))),
            Output::Say { message: Message::Proposal(said) } => assert!(written.contains(&Record::Proposal(*said))),
            _ => {}
        }
    }
    assert_eq!(own_votes(&out, other()).len(), 2);
    let decided = out.iter().filter(|output| matches!(output, Output::Decided { .. })).count();
    assert_eq!(decided, 1);
}

#[test]
fn from_any_part_of_its_log_a_node_says_what_it_said_or_nothing_and_then_goes_on() {
    let me = other();
    let (_, out) = decide(me);
    let (log, before) = (logged(&out), own_votes(&out, me));
    for kept in 1..=log.len() {
        let (mut node, mut after) = open(me, &log[..kept]);
        assert_eq!(halted(&after), None);
        for step in [Step::Prevote, Step::Precommit] {
            for m in (0..4).filter(|m| *m != me) {
                after.extend(node.handle(heard(m, vote(m, step, 1, 0, Some(block(1)))), at(9)));
            }
        }
        for vote in own_votes(&after, me) {
            let twin = before.iter().find(|other| (other.round, other.step) == (vote.round, vote.step));
            assert!(twin.is_none_or(|twin| twin.value == vote.value), "{kept} records: {vote:?}");
        }
        let known = log[..kept].iter().any(|record| matches!(record, Record::Value { .. }));
        let decided = after.iter().any(|output| matches!(output, Output::Decided { .. }));
        assert_eq!(decided, known, "{kept} records");
    }
}

#[test]
fn a_log_that_leads_elsewhere_stops_the_node_with_an_explanation() {
    let me = other();
    let (_, out) = decide(me);
    let mut log = logged(&out);
    for record in &mut log {
        if let Record::Value { valid, .. } = record {
            *valid = false;
        }
    }
    let (mut node, out) = open(me, &log);
    let fault = halted(&out).expect("a vote for a block and the block found invalid do not fit");
    assert!(matches!(fault, Fault::Diverged { .. }), "{fault}");
    assert!(fault.to_string().contains("Do not delete the log"));
    assert_eq!(node.handle(heard(leader(0), proposal(leader(0), 0, block(1))), at(2)), []);
}

#[test]
fn a_proposer_is_given_back_the_block_it_made_before_the_crash() {
    let me = leader(0);
    let (mut node, out) = open(me, &[]);
    let wanted = |made| Output::WantBlock { height: Height(1), round: 0, made };
    assert!(out.contains(&wanted(None)));
    let out = node.handle(Input::Built { height: Height(1), round: 0, block: block(7) }, at(2));
    assert!(said(&out).contains(&proposal(me, 0, block(7))));
    let log = logged(&out);
    let (_, out) = open(me, &log[..1]);
    assert!(out.contains(&wanted(Some(block(7)))), "it was made, and not proposed yet");
    let (_, out) = open(me, &log);
    assert!(!out.iter().any(|output| matches!(output, Output::WantBlock { .. })), "it was proposed");
    assert!(said(&out).contains(&proposal(me, 0, block(7))));
}

#[test]
fn two_proposals_for_one_round_are_evidence_and_one_of_them_gets_the_vote() {
    let (me, proposer) = (other(), leader(0));
    let (mut node, _) = open(me, &[]);
    let mut out = Vec::new();
    for n in [1, 2] {
        out.extend(node.handle(heard(proposer, proposal(proposer, 0, block(n))), at(2)));
        out.extend(node.handle(Input::Body { block: block(n) }, at(2)));
        out.extend(node.handle(Input::Checked { block: block(n), valid: true }, at(2)));
    }
    assert_eq!(own_votes(&out, me).iter().map(|vote| vote.value).collect::<Vec<_>>(), [Some(block(1))]);
    for m in (0..4).filter(|m| *m != me) {
        for step in [Step::Prevote, Step::Precommit] {
            out.extend(node.handle(heard(m, vote(m, step, 1, 0, Some(block(1)))), at(3)));
        }
    }
    let culprits: Vec<_> =
        out.iter().filter_map(|o| if let Output::Evidence(e) = o { Some(e.culprit()) } else { None }).collect();
    assert_eq!(culprits, [id(proposer)]);
}

#[test]
fn a_proposal_by_anyone_but_the_proposer_is_let_go() {
    let (mut node, _) = open(other(), &[]);
    let out = node.handle(heard(leader(1), proposal(leader(1), 0, block(1))), at(2));
    assert_eq!(out, []);
}

#[test]
fn what_a_block_lacks_is_asked_of_who_has_it_and_then_of_the_next() {
    let (mut node, _) = open(other(), &[]);
    let (one, two) = (leader(0), leader(1));
    let out = node.handle(heard(one, vote(one, Step::Prevote, 1, 0, Some(block(1)))), at(2));
    assert!(out.contains(&Output::WantBody { block: block(1), from: id(one) }));
    let out = node.handle(heard(two, vote(two, Step::Prevote, 1, 0, Some(block(1)))), at(3));
    assert!(!out.iter().any(|output| matches!(output, Output::WantBody { .. })), "it is asked for already");
    let later = at(2) + quick().fetch;
    assert!(node.next_wake() <= Some(later));
    let out = node.handle(Input::Tick, later);
    assert!(out.contains(&Output::WantBody { block: block(1), from: id(two) }), "{out:?}");
    assert_eq!(node.handle(Input::Body { block: block(9) }, later), [], "a body nobody spoke of");
}

#[test]
fn a_certificate_short_of_two_thirds_is_refused_and_a_full_one_is_believed() {
    let (mut node, _) = open(other(), &[]);
    let short = node.handle(heard(0, certificate(&[0, 1], block(1))), at(2));
    assert_eq!(short, [Output::Refused { from: id(0), why: Short::Power { power: 2, total: 4 } }]);
    let out = node.handle(heard(0, certificate(&[0, 1, 2], block(1))), at(2));
    assert!(out.contains(&Output::WantBody { block: block(1), from: id(0) }), "{out:?}");
    let out = node.handle(Input::Body { block: block(1) }, at(3));
    assert_eq!(out, [Output::Check { height: Height(1), block: block(1), quorum: true }]);
    let out = node.handle(Input::Checked { block: block(1), valid: true }, at(3));
    assert!(
        out.iter().any(|output| matches!(output, Output::Decided { certificate } if certificate.value == block(1)))
    );
}

#[test]
fn a_block_that_others_decided_and_this_node_finds_invalid_stops_it() {
    let (mut node, _) = open(other(), &[]);
    node.handle(heard(0, certificate(&[0, 1, 2], block(1))), at(2));
    node.handle(Input::Body { block: block(1) }, at(3));
    let out = node.handle(Input::Checked { block: block(1), valid: false }, at(3));
    assert_eq!(halted(&out), Some(&Fault::Rejected { height: Height(1), block: block(1) }));
    assert_eq!(node.phase(), Phase::Halted);
}

#[test]
fn of_a_block_that_two_thirds_voted_for_nobody_asks_whether_it_is_of_now() {
    let me = other();
    let (mut node, _) = open(me, &[]);
    let check = |quorum| Output::Check { height: Height(1), block: block(1), quorum };
    let others: Vec<usize> = (0..4).filter(|n| *n != me).collect();
    node.handle(heard(others[0], vote(others[0], Step::Prevote, 1, 0, Some(block(1)))), at(2));
    assert_eq!(node.handle(Input::Body { block: block(1) }, at(2)), [check(false)]);
    let prevote = |n: usize| heard(n, vote(n, Step::Prevote, 1, 0, Some(block(1))));
    assert!(!node.handle(prevote(others[1]), at(3)).contains(&check(true)), "half of them");
    assert!(node.handle(prevote(others[2]), at(3)).contains(&check(true)));
    let out = node.handle(heard(0, certificate(&[0, 1, 2], block(1))), at(4));
    assert!(!out.contains(&check(true)), "it was said: {out:?}");
    let out = node.handle(Input::Checked { block: block(1), valid: true }, at(4));
    assert!(out.iter().any(|output| matches!(output, Output::Decided { .. })));
}

#[test]
fn a_body_is_kept_before_the_first_record_that_calls_its_block_valid() {
    let (_, out) = decide(other());
    let keep = out.iter().position(|o| *o == Output::Keep { height: Height(1), block: block(1) });
    let value = out.iter().position(|o| matches!(o, Output::Log { record: Record::Value { valid: true, .. }, .. }));
    assert!(keep.is_some() && keep < value, "{out:?}");
    assert_eq!(out.iter().filter(|output| matches!(output, Output::Keep { .. })).count(), 1);
}

#[test]
fn a_node_without_a_key_decides_by_certificates_and_says_nothing() {
    let (mut node, mut out) = Consensus::open(setup(9), start(1, false), &[], None, at(1));
    out.extend(node.handle(heard(0, certificate(&[0, 1, 2], block(1))), at(2)));
    out.extend(node.handle(Input::Body { block: block(1) }, at(3)));
    out.extend(node.handle(Input::Checked { block: block(1), valid: true }, at(3)));
    assert!(out.iter().any(|output| matches!(output, Output::Decided { .. })));
    out.extend(node.handle(Input::Tick, at(60_000)));
    assert_eq!(said(&out), []);
    assert_eq!(logged(&out), [], "who says nothing need not remember what it said");
}

#[test]
fn a_word_about_the_next_height_means_that_this_one_is_decided_elsewhere() {
    let (mut node, _) = open(other(), &[]);
    let out = node.handle(heard(1, vote(0, Step::Prevote, 2, 0, None)), at(2));
    assert_eq!(out, [Output::WantDecision { height: Height(1), from: id(0) }]);
    let out = node.handle(Input::Tick, at(2) + quick().fetch);
    assert!(out.contains(&Output::WantDecision { height: Height(1), from: id(1) }), "{out:?}");
}

#[test]
fn words_about_the_next_height_are_kept_for_it() {
    let me = other();
    let (mut node, _) = open(me, &[]);
    for m in (0..4).filter(|m| *m != me) {
        node.handle(heard(m, vote(m, Step::Precommit, 2, 0, None)), at(2));
    }
    node.handle(heard(0, certificate(&[0, 1, 2], block(1))), at(2));
    node.handle(Input::Body { block: block(1) }, at(3));
    node.handle(Input::Checked { block: block(1), valid: true }, at(3));
    let out = node.handle(Input::Start(start(2, false)), at(4));
    assert_eq!(logged(&out).iter().filter(|record| matches!(record, Record::Vote(_))).count(), 3);
    assert_eq!((node.height(), node.phase()), (Height(2), Phase::Running));
}

#[test]
fn an_idle_height_begins_with_work_or_with_someone_elses() {
    let (mut node, out) = Consensus::open(setup(leader(0)), start(1, true), &[], None, at(1));
    assert_eq!((out, node.next_wake()), (vec![], None));
    assert_eq!(node.handle(Input::Tick, at(100_000)), []);
    let out = node.handle(Input::Work, at(100_000));
    assert!(matches!(out[..], [Output::WantBlock { .. }]), "{out:?}");
    let (mut node, _) = Consensus::open(setup(other()), start(1, true), &[], None, at(1));
    let out = node.handle(heard(leader(0), proposal(leader(0), 0, block(1))), at(5));
    assert!(out.contains(&Output::WantBody { block: block(1), from: id(leader(0)) }), "{out:?}");
    assert_eq!(node.phase(), Phase::Running);
}

#[test]
fn a_height_does_not_begin_before_its_time_and_says_when_that_is() {
    let later = Start { not_before: at(50), ..start(1, false) };
    let (mut node, out) = Consensus::open(setup(leader(0)), later, &[], None, at(1));
    assert_eq!((out, node.next_wake()), (vec![], Some(at(50))));
    assert_eq!(node.handle(Input::Work, at(49)), []);
    assert!(!node.handle(Input::Tick, at(50)).is_empty());
}

#[test]
fn who_votes_on_what_is_long_decided_is_shown_the_certificate_once_in_a_while() {
    let me = other();
    let (mut node, _) = decide(me);
    let late = heard(leader(0), vote(leader(0), Step::Precommit, 1, 0, Some(block(1))));
    assert_eq!(said(&node.handle(late.clone(), at(12))), [], "it was only a little late");
    let later = at(12) + quick().rebroadcast;
    let shown = said(&node.handle(late.clone(), later));
    assert!(matches!(shown[..], [Message::Certificate(_)]), "{shown:?}");
    assert_eq!(said(&node.handle(late, Mono(later.0 + 1))), []);
}

#[test]
fn to_begin_another_height_than_the_next_is_a_fault() {
    let (mut node, _) = decide(other());
    let out = node.handle(Input::Start(start(3, false)), at(20));
    assert!(matches!(halted(&out), Some(Fault::Core { .. })));
}

#[test]
fn one_validator_cannot_make_others_want_any_number_of_blocks_and_its_newest_counts() {
    let (mut node, _) = open(other(), &[]);
    let liar = leader(0);
    let value = |k: u8| BlockId(Hash([k; 32]));
    for k in 1..=100 {
        let out = node.handle(heard(liar, vote(liar, Step::Prevote, 1, u32::from(k % 10), Some(value(k)))), at(2));
        assert!(out.contains(&Output::WantBody { block: value(k), from: id(liar) }), "block {k} is asked for once");
    }
    let out = node.handle(Input::Tick, at(2) + quick().fetch);
    let again: Vec<_> =
        out.iter().filter_map(|o| if let Output::WantBody { block, .. } = o { Some(*block) } else { None }).collect();
    assert_eq!(again, (85..=100).map(value).collect::<Vec<_>>(), "the newest of them");
}

#[test]
fn a_block_known_to_be_valid_is_not_forgotten_for_those_nobody_has() {
    let (mut node, _) = open(other(), &[]);
    let liar = leader(0);
    node.handle(heard(liar, proposal(liar, 0, block(200))), at(2));
    node.handle(Input::Body { block: block(200) }, at(2));
    node.handle(Input::Checked { block: block(200), valid: true }, at(2));
    for k in 1..=100 {
        node.handle(heard(liar, vote(liar, Step::Prevote, 1, 1, Some(block(k)))), at(2));
    }
    let out = node.handle(heard(1, vote(1, Step::Prevote, 1, 0, Some(block(200)))), at(3));
    assert!(!out.iter().any(|output| matches!(output, Output::WantBody { .. })), "{out:?}");
}

#[test]
fn a_body_that_was_lost_before_its_check_is_asked_for_again() {
    let (mut node, _) = open(other(), &[]);
    let prevote = |n: usize| heard(n, vote(n, Step::Prevote, 1, 0, Some(block(1))));
    node.handle(prevote(leader(0)), at(2));
    node.handle(Input::Body { block: block(1) }, at(2));
    assert_eq!(node.handle(Input::Lost { block: block(1) }, at(2)), []);
    let out = node.handle(prevote(leader(1)), at(3));
    assert!(out.contains(&Output::WantBody { block: block(1), from: id(leader(1)) }), "{out:?}");
    let out = node.handle(Input::Body { block: block(1) }, at(4));
    assert_eq!(out, [Output::Check { height: Height(1), block: block(1), quorum: false }]);
}

#[test]
fn proposals_for_far_rounds_take_nobodys_place() {
    let me = leader(0);
    let (mut node, _) = open(me, &[]);
    node.handle(Input::Built { height: Height(1), round: 0, block: block(7) }, at(2));
    let liar = leader(1);
    for round in (1..400).filter(|round| leader(*round) == liar) {
        let out = node.handle(heard(liar, proposal(liar, round, block(9))), at(3));
        let is_far = round > 10;
        assert!(!is_far || out.is_empty(), "round {round}: {out:?}");
    }
    assert_eq!(node.proposal_of(block(7)).map(|own| own.said.proposer), Some(id(me)));
    let again = said(&node.handle(Input::Tick, at(2) + quick().rebroadcast));
    assert!(again.contains(&proposal(me, 0, block(7))), "{again:?}");
}

#[test]
fn a_certificate_of_strangers_begins_nothing() {
    let (mut node, _) = Consensus::open(setup(other()), start(1, true), &[], None, at(1));
    let out = node.handle(heard(0, certificate(&[7, 8, 9], block(1))), at(2));
    assert!(matches!(out[..], [Output::Refused { why: Short::Stranger(_), .. }]), "{out:?}");
    assert!(matches!(node.phase(), Phase::Waiting { idle: true, .. }));
    assert_eq!(node.handle(Input::Tick, at(5_000)), []);
    let out = node.handle(heard(0, certificate(&[0, 1, 2], block(1))), at(5_000));
    assert!(out.contains(&Output::WantBody { block: block(1), from: id(0) }), "{out:?}");
}

#[test]
fn nodes_that_only_follow_decide_what_validators_decide() {
    for seed in 0..5 {
        let mut net = Net::new(4, seed);
        net.lost_permille = 100;
        net.members.push(super::member::Member::new(7, false));
        net.members.push(super::member::Member::new(8, false));
        let mut net = net.cut(500, 1_500, Cut::Deaf(5)).start();
        net.run(at(60_000), 10);
        assert!(net.judge.is_content());
        assert_eq!(net.least(), 10, "{:?}", net.heights());
    }
}

#[test]
fn idle_nodes_say_nothing_and_all_go_on_when_one_has_work() {
    let mut net = Net::new(4, 1);
    net.idle = true;
    let mut net = net.start();
    net.run(at(5_000), 1);
    assert_eq!((net.said, net.least()), (0, 0));
    net.give(2, Input::Work);
    net.run(at(10_000), 2);
    assert_eq!(net.heights(), [1; 4]);
    let said = net.said;
    net.run(at(60_000), 2);
    assert_eq!((net.heights(), net.said), (vec![1; 4], said), "and then it is quiet again");
}

#[test]
fn a_record_of_a_wait_has_one_form() {
    for wait in [Wait::Propose, Wait::Prevote, Wait::Precommit] {
        let record = Record::Timeout { wait, round: 7 };
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
    assert!(Record::decode(&certificate(&[0, 1, 2], block(1)).encode()).is_err(), "a certificate is no record");
    assert!(Record::decode(&[17, 4, 0, 0, 0, 0]).is_err());
    assert!(Record::decode(&[]).is_err());
}

#[test]
fn waits_grow_with_the_round_up_to_the_most() {
    let (mut node, _) = open(other(), &[]);
    let first = node.next_wake().unwrap();
    assert_eq!(first, at(1) + quick().propose);
    let out = node.handle(Input::Tick, first);
    assert_eq!(own_votes(&out, other()).iter().map(|vote| vote.value).collect::<Vec<_>>(), [None]);
    assert!(quick().most > Duration::from_secs(1));
}
