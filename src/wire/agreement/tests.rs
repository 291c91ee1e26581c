//! What validators say: bytes that must never change, and what is not believed.

use std::sync::Arc;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::types::chain::{BlockId, ChainId, Height, Validator, ValidatorSet};
use crate::types::{Hash, NodeId};
use crate::wire::ledger::{Branch, PageSlot};
use crate::wire::{Refusal, Request, Response};

const CHAIN: ChainId = ChainId(Hash([9; 32]));

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn node(n: u8) -> NodeId {
    NodeId(key(n).verifying_key().to_bytes())
}

fn block(n: u8) -> BlockId {
    BlockId(Hash([n; 32]))
}

fn set(nodes: impl IntoIterator<Item = u8>) -> Arc<ValidatorSet> {
    Arc::new(ValidatorSet::new(nodes.into_iter().map(|n| Validator { id: node(n), power: 1 })).unwrap())
}

fn vote(n: u8, step: Step, height: u64, round: u32, value: Option<BlockId>) -> Signed<Vote> {
    Vote { step, height: Height(height), round, value, voter: node(n) }.sign(CHAIN, &key(n))
}

fn proposal(n: u8, height: u64, round: u32, value: BlockId, valid_round: Option<u32>) -> Signed<Proposal> {
    Proposal { height: Height(height), round, value, valid_round, proposer: node(n) }.sign(CHAIN, &key(n))
}

fn certificate(nodes: &[u8], height: u64, value: BlockId) -> Certificate {
    let signed = |n: &u8| (node(*n), vote(*n, Step::Precommit, height, 2, Some(value)).signature);
    let mut signatures: Vec<_> = nodes.iter().map(signed).collect();
    signatures.sort_by_key(|(voter, _)| *voter);
    Certificate { height: Height(height), round: 2, value, signatures }
}

fn polka(nodes: &[u8]) -> Polka {
    let signed = |n: &u8| (node(*n), vote(*n, Step::Prevote, 7, 2, Some(block(3))).signature);
    let mut signatures: Vec<_> = nodes.iter().map(signed).collect();
    signatures.sort_by_key(|(voter, _)| *voter);
    Polka { height: Height(7), round: 2, value: block(3), signatures }
}

fn round(votes: &[(u8, Step, Option<BlockId>)], skip: bool) -> RoundCertificate {
    let signed = |(n, step, value): &(u8, Step, Option<BlockId>)| RoundVote {
        step: *step,
        value: *value,
        voter: node(*n),
        signature: vote(*n, *step, 7, 2, *value).signature,
    };
    let mut votes: Vec<_> = votes.iter().map(signed).collect();
    votes.sort_by_key(|vote| vote.voter);
    RoundCertificate { height: Height(7), round: 2, skip, votes }
}

fn samples() -> Vec<Message> {
    vec![
        Message::Vote(vote(1, Step::Prevote, 7, 2, Some(block(3)))),
        Message::Vote(vote(1, Step::Precommit, 7, 2, None)),
        Message::Proposal(proposal(1, 7, 2, block(3), None)),
        Message::Proposal(proposal(1, 7, 2, block(3), Some(1))),
        Message::Polka(polka(&[1, 2, 3])),
        Message::Certificate(certificate(&[1, 2, 3], 7, block(3))),
        Message::Round(round(&[(1, Step::Precommit, None), (2, Step::Precommit, Some(block(3)))], false)),
        Message::Round(round(&[(1, Step::Prevote, None), (2, Step::Precommit, Some(block(3)))], true)),
    ]
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    chain: String,
    secret_keys: Vec<String>,
    digests: Vec<String>,
    sayings: Vec<String>,
    evidence: Vec<String>,
}

fn evidence() -> [Evidence; 2] {
    let votes = [Some(block(3)), None].map(|value| vote(1, Step::Prevote, 7, 2, value));
    let proposals = [3, 4].map(|n| proposal(1, 7, 2, block(n), None));
    [Evidence::of_votes(votes[0], votes[1]).unwrap(), Evidence::of_proposals(proposals[1], proposals[0]).unwrap()]
}

#[test]
fn the_bytes_of_agreement_are_the_golden_ones() {
    let digest = |message: &Message| match message {
        Message::Vote(vote) => Some(vote.said.digest(CHAIN).to_string()),
        Message::Proposal(proposal) => Some(proposal.said.digest(CHAIN).to_string()),
        Message::Polka(_) | Message::Round(_) | Message::Certificate(_) => None,
    };
    let current = Vectors {
        chain: CHAIN.to_string(),
        secret_keys: (1..=3).map(|n| hex::encode(key(n).to_bytes())).collect(),
        digests: samples().iter().filter_map(digest).collect(),
        sayings: samples().into_iter().map(|m| hex::encode(Saying { again: 1, message: m }.encode())).collect(),
        evidence: evidence().iter().map(|evidence| hex::encode(evidence.encode())).collect(),
    };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/agreement.json");
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(path, serde_json::to_string_pretty(&current).unwrap() + "\n").unwrap();
    }
    let golden: Vectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(current, golden);
    for (bytes, message) in golden.sayings.iter().zip(samples()) {
        let read = Saying::decode(&hex::decode(bytes).unwrap()).unwrap();
        assert_eq!(read, Saying { again: 1, message: message.clone() });
        assert!(read.message.holds(CHAIN));
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
    for (bytes, evidence) in golden.evidence.iter().zip(evidence()) {
        assert_eq!(Evidence::decode(&hex::decode(bytes).unwrap()), Ok(evidence));
        assert!(evidence.holds(CHAIN));
        assert_eq!((evidence.culprit(), evidence.height()), (node(1), Height(7)));
    }
}

#[test]
fn every_field_of_a_vote_is_under_its_signature() {
    let genuine = vote(1, Step::Prevote, 7, 2, Some(block(3)));
    assert!(genuine.holds(CHAIN));
    assert!(!genuine.holds(ChainId(Hash([8; 32]))));
    let changes: [fn(&mut Vote); 6] = [
        |vote| vote.step = Step::Precommit,
        |vote| vote.height = Height(8),
        |vote| vote.round = 3,
        |vote| vote.value = None,
        |vote| vote.value = Some(block(4)),
        |vote| vote.voter = node(2),
    ];
    for change in changes {
        let mut other = genuine;
        change(&mut other.said);
        assert!(!other.holds(CHAIN), "{:?}", other.said);
    }
}

#[test]
fn every_field_of_a_proposal_is_under_its_signature() {
    let genuine = proposal(1, 7, 2, block(3), Some(1));
    assert!(genuine.holds(CHAIN));
    let changes: [fn(&mut Proposal); 6] = [
        |proposal| proposal.height = Height(8),
        |proposal| proposal.round = 3,
        |proposal| proposal.value = block(4),
        |proposal| proposal.valid_round = None,
        |proposal| proposal.valid_round = Some(0),
        |proposal| proposal.proposer = node(2),
    ];
    for change in changes {
        let mut other = genuine;
        change(&mut other.said);
        assert!(!other.holds(CHAIN), "{:?}", other.said);
    }
}

#[test]
fn no_block_is_not_the_block_of_zeros() {
    let none = vote(1, Step::Prevote, 7, 2, None).said;
    let zeros = Vote { value: Some(block(0)), ..none };
    assert_ne!(none.digest(CHAIN), zeros.digest(CHAIN));
    let bytes = |vote: Vote| Message::Vote(vote.sign(CHAIN, &key(1))).encode();
    assert_ne!(bytes(none), bytes(zeros));
    assert_eq!(Message::decode(&bytes(zeros)), Ok(Message::Vote(zeros.sign(CHAIN, &key(1)))));
}

fn roster() -> Roster {
    Roster { chain: CHAIN, height: Height(7), current: set(1..=4), next: set(2..=5), before: set(1..=3) }
}

#[test]
fn strangers_and_other_heights_stay_outside_before_any_signature_is_looked_at() {
    let admit = |vote| roster().admit(Message::Vote(vote)).map(Genuine::take);
    let forged = |mut vote: Signed<Vote>| {
        vote.signature.0[0] ^= 1;
        vote
    };
    let good = vote(1, Step::Prevote, 7, 0, None);
    assert_eq!(admit(good), Ok(Message::Vote(good)));
    assert_eq!(admit(forged(good)), Err(Refusal::BadSignature));
    let stranger = forged(vote(5, Step::Prevote, 7, 0, None));
    assert_eq!(admit(stranger), Err(Refusal::Stranger { node: node(5) }));
    assert!(admit(vote(5, Step::Prevote, 8, 0, None)).is_ok(), "a validator of the next height speaks of it");
    let unknown = admit(vote(1, Step::Prevote, 8, 0, None));
    assert_eq!(unknown, Err(Refusal::Height { height: 8, at: 7 }), "an election may be in this height");
    assert_eq!(unknown.unwrap_err().penalty(), 0);
    assert!(admit(vote(1, Step::Prevote, 6, 0, None)).is_ok(), "one who missed the last decision");
    assert_eq!(admit(vote(4, Step::Prevote, 6, 0, None)), Err(Refusal::Stranger { node: node(4) }));
    for height in [5, 9, u64::MAX] {
        let other = forged(vote(1, Step::Prevote, height, 0, None));
        assert_eq!(admit(other), Err(Refusal::Height { height, at: 7 }));
    }
}

#[test]
fn a_proof_that_proves_nothing_stays_outside_before_any_signature_is_looked_at() {
    let forged = |mut certificate: Certificate| {
        certificate.signatures.iter_mut().for_each(|(_, signature)| signature.0[0] ^= 1);
        certificate
    };
    let admit = |message| roster().admit(message).map(Genuine::take);
    let is_refused = |message| matches!(admit(message), Err(Refusal::Agreement { .. }));
    assert!(is_refused(Message::Certificate(forged(certificate(&[1, 2], 7, block(3))))));
    assert!(is_refused(Message::Polka(polka(&[1, 2]))));
    assert!(is_refused(Message::Round(round(&[(1, Step::Prevote, None)], true))));
    assert!(admit(Message::Polka(polka(&[1, 2, 3]))).is_ok());
    assert_eq!(admit(Message::Certificate(forged(certificate(&[1, 2, 3], 7, block(3))))), Err(Refusal::BadSignature));
}

#[test]
fn decisions_of_strangers_are_let_go_before_any_signature_is_looked_at() {
    let admit = |certificate| roster().admit_decision(certificate).map(|some| some.map(Genuine::take));
    let good = |height| certificate(&[1, 2, 3], height, block(3));
    for height in [7, 8, 70] {
        assert_eq!(admit(good(height)), Ok(Some(good(height))));
        let mut forged = good(height);
        forged.signatures[2].1.0[0] ^= 1;
        assert_eq!(admit(forged), Err(Refusal::BadSignature));
    }
    assert_eq!(admit(good(6)), Ok(None), "it is over");
    let strangers = |height| certificate(&[5, 6, 7, 8], height, block(3));
    let refused = admit(strangers(7)).unwrap_err();
    assert!(refused.penalty() > 0, "of this height everyone knows who decides: {refused}");
    assert_eq!(admit(strangers(8)), Ok(None), "others may decide then");
    assert_eq!(admit(certificate(&[1, 2], 9, block(3))), Ok(None));
}

#[test]
fn a_certificate_needs_more_than_two_thirds_of_that_heights_validators() {
    let four = set(1..=4);
    assert_eq!(certificate(&[1, 2, 3], 7, block(3)).decides(&four), Ok(()));
    let short = certificate(&[1, 2], 7, block(3)).decides(&four);
    assert_eq!(short, Err(Short::Power { power: 2, total: 4 }));
    let stranger = certificate(&[1, 2, 3, 9], 7, block(3)).decides(&four);
    assert_eq!(stranger, Err(Short::Stranger(node(9))));
    let mut twice = certificate(&[1, 2], 7, block(3));
    let first = twice.signatures[0];
    twice.signatures.insert(0, first);
    assert_eq!(twice.decides(&four), Err(Short::Order(first.0)));
    assert!(Certificate::decode(&twice.encode()).is_err(), "nor are its bytes read");
    let mut forged = certificate(&[1, 2, 3], 7, block(3));
    forged.value = block(4);
    assert!(!forged.holds(CHAIN));
}

#[test]
fn a_third_and_more_may_skip_to_a_round_but_not_leave_it() {
    let four = set(1..=4);
    let mixed = [(1, Step::Prevote, None), (2, Step::Precommit, Some(block(3)))];
    assert_eq!(round(&mixed, true).suffices(&four), Ok(()));
    assert_eq!(round(&mixed, false).suffices(&four), Err(Short::Prevote));
    let precommits = mixed.map(|(n, _, value)| (n, Step::Precommit, value));
    assert_eq!(round(&precommits, false).suffices(&four), Err(Short::Power { power: 2, total: 4 }));
    assert_eq!(round(&mixed[..1], true).suffices(&four), Err(Short::Power { power: 1, total: 4 }));
    assert_eq!(polka(&[1, 2]).suffices(&four), Err(Short::Power { power: 2, total: 4 }));
}

#[test]
fn what_does_not_contradict_is_no_evidence() {
    let one = vote(1, Step::Prevote, 7, 2, None);
    assert_eq!(Evidence::of_votes(one, one), None);
    assert_eq!(Evidence::of_votes(one, vote(2, Step::Prevote, 7, 2, Some(block(3)))), None);
    assert_eq!(Evidence::of_votes(one, vote(1, Step::Precommit, 7, 2, Some(block(3)))), None);
    assert_eq!(Evidence::of_votes(one, vote(1, Step::Prevote, 7, 3, Some(block(3)))), None);
    let mut bytes = Message::Vote(one).encode();
    bytes.extend(Message::Vote(one).encode());
    assert!(Evidence::decode(&bytes).is_err());
    let swapped = match evidence()[0] {
        Evidence::Votes(low, high) => Evidence::Votes(high, low),
        other @ Evidence::Proposals(..) => other,
    };
    assert!(Evidence::decode(&swapped.encode()).is_err(), "one contradiction has one form");
}

#[test]
fn a_proposal_of_a_block_that_was_valid_later_is_refused() {
    let bytes = Message::Proposal(proposal(1, 7, 2, block(3), Some(2))).encode();
    assert!(matches!(Message::decode(&bytes), Err(Refusal::Agreement { .. })));
}

#[test]
fn what_is_said_again_has_the_same_subject_and_nothing_else_has() {
    let subject = |again, message: Message| Saying::subject(&Saying { again, message }.encode()).unwrap();
    let mut subjects: Vec<Hash> = samples().into_iter().map(|message| subject(1, message)).collect();
    assert_eq!(subjects, samples().into_iter().map(|message| subject(9, message)).collect::<Vec<_>>());
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), samples().len());
    let certificate = |voters: &[u8]| Message::Certificate(certificate(voters, 7, block(3)));
    assert_eq!(subject(1, certificate(&[1, 2, 3])), subject(1, certificate(&[1, 2, 4])), "they prove the same");
    for bytes in [&[][..], &[1, 0, 0], &[1, 0, 0, 7, 0], &[1, 0, 0, 5, 0]] {
        assert_eq!(Saying::subject(bytes), None);
    }
}

#[test]
fn no_saying_is_longer_than_the_longest() {
    let votes = (0..=u8::MAX).map(|n| RoundVote {
        step: Step::Prevote,
        value: Some(block(1)),
        voter: NodeId([n; 32]),
        signature: vote(1, Step::Prevote, 7, 2, None).signature,
    });
    let longest = RoundCertificate { height: Height(7), round: 2, skip: true, votes: votes.collect() };
    let saying = Saying { again: 0, message: Message::Round(longest) };
    assert_eq!(saying.encode().len(), SAYING_BYTES);
    assert_eq!(Saying::decode(&saying.encode()), Ok(saying));
    assert_eq!(Saying::decode(&[1; SAYING_BYTES + 1]), Err(Refusal::TooLarge { size_bytes: SAYING_BYTES + 1 }));
}

proptest! {
    #[test]
    fn a_saying_has_one_encoding_and_any_bytes_are_one_or_refused(
        which in 0..8usize, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in 0..400usize,
    ) {
        let mut bytes = Saying { again: 7, message: samples().remove(which) }.encode();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut % 40).max(1));
        if let Ok(saying) = Saying::decode(&bytes) {
            prop_assert_eq!(saying.encode(), bytes);
        }
    }
}

#[test]
fn what_is_asked_and_answered_about_a_state_has_these_bytes() {
    let request = |asked| hex::encode(Request::Chain(asked).encode());
    let start = Hash([0xA0; 32]);
    let mut first = Hash::ZERO;
    first.0[0] = 0xA0;
    let part = |branch| ChainRequest::Part { height: Height(5), branch, most: 4 };
    let zeros = "00".repeat(31);
    assert_eq!(request(ChainRequest::Header { height: Height(5) }), "040205");
    assert_eq!(request(ChainRequest::Trail { from: Height(300) }), "0403fb2c01");
    let asked = Request::Chain(part(Branch { depth: 1, start: first }));
    assert_eq!(hex::encode(asked.encode()), format!("04040501a0{zeros}04"));
    assert_eq!(Request::decode(&asked.encode()), Ok(asked));
    for wrong in [Branch { depth: 1, start }, Branch { depth: 65, start: Hash::ZERO }] {
        let refused = Request::decode(&Request::Chain(part(wrong)).encode());
        assert!(matches!(refused, Err(Refusal::Frame { .. })), "{refused:?}");
    }
    let answer = |said| {
        let response = Response::Chain(said);
        assert_eq!(Response::decode(&response.encode()), Ok(response.clone()));
        hex::encode(response.encode())
    };
    assert_eq!(answer(ChainResponse::Header(Bytes::from_static(&[7, 8]))), "0503020708");
    let one = |n: u8| Bytes::copy_from_slice(&[n]);
    let vouched = Vouched { header: one(1), validators: one(2), certificate: one(3) };
    let trail = |count| ChainResponse::Trail { headers: vec![vouched.clone(); count], more: true };
    assert_eq!(answer(trail(1)), "05040101010102010301");
    assert_eq!(answer(ChainResponse::Rows(vec![(one(1), one(2))])), "05050101010102");
    let mut page = Box::new([PageSlot::Empty; 16]);
    page[1] = PageSlot::Leaf { key: start, value: Hash::ZERO };
    page[2] = PageSlot::Branch(start);
    let (a0, zeros) = ("a0".repeat(32), "00".repeat(32));
    assert_eq!(answer(ChainResponse::Page(page)), format!("05060001{a0}{zeros}02{a0}{}", "00".repeat(13)));
    assert_eq!(answer(ChainResponse::NotKept { oldest: Height(2), newest: Height(9) }), "05070209");
    let many = [trail(TRAIL + 1), ChainResponse::Rows(vec![(one(1), one(2)); 1_025])];
    for said in many {
        let refused = Response::decode(&Response::Chain(said).encode());
        assert!(matches!(refused, Err(Refusal::Frame { .. })), "{refused:?}");
    }
}
