//! Decisions that peers are asked for, and answers of which some is of no use.

use super::*;

#[test]
fn what_is_good_of_an_answer_is_taken_and_agreement_goes_on_behind_it() {
    let mut lone = follower();
    let others: Vec<u8> = (1..=4).filter(|n| *n != lone.n).collect();
    let (from, leader) = (id(others[0]), lone.leader(0));
    let block = lone.block_of(leader, lone.now.wall);
    // Rounds of the first height are under way here.
    let said = lone.proposal(0, block.id(), None);
    lone.hear(leader, said);
    let refusal = crate::wire::Refusal::Height { height: 99, at: 1 };
    let (_, number, request) = asked(&lone.tell(Input::Refused { from, refusal }))[0];
    assert_eq!(request, ChainRequest::Decisions { from: Height(1) });
    // The decision of the second height is about another block than the one that comes with it.
    let decided = [(1, block.id()), (2, BlockId(crate::types::Hash([7; 32])))];
    let decisions = decided.map(|(height, value)| {
        let certificate = lone.certificate(Height(height), value, &others);
        missed(Genuine::check(certificate, lone.chain().ledger.head().chain).unwrap(), &block)
    });
    lone.tell(Input::Chain(ChainInput::Decisions { from, id: number, decisions: decisions.into() }));
    assert_eq!(lone.height(), Height(1));
    assert_eq!(lone.chain().consensus.height(), Height(2), "it does not stop");
    assert_ne!(lone.chain().consensus.phase(), consensus::Phase::Halted);
}

#[test]
fn a_peer_is_asked_for_decisions_once_at_a_time_and_from_the_first_that_is_missing() {
    let mut lone = follower();
    let others: Vec<u8> = (1..=4).filter(|n| *n != lone.n).collect();
    let (one, two) = (id(others[0]), id(others[1]));
    let later = |lone: &mut Lone, from| {
        let refusal = crate::wire::Refusal::Height { height: 99, at: 1 };
        asked(&lone.tell(Input::Refused { from, refusal }))
    };
    let first = later(&mut lone, one);
    assert!(matches!(first[..], [(to, _, ChainRequest::Decisions { from: Height(1) })] if to == one), "{first:?}");
    assert_eq!(later(&mut lone, one), [], "it was asked");
    assert_eq!(later(&mut lone, two).len(), 1);
    // The decision of height 2 comes first; with it height 1 is the first that is missing, and then it is height 3.
    let blocks = [lone.block_of(others[0], lone.now.wall)];
    let certificate = |lone: &Lone, height| lone.certificate(Height(height), blocks[0].id(), &others);
    let genuine =
        |lone: &Lone, height| Genuine::check(certificate(lone, height), lone.chain().ledger.head().chain).unwrap();
    let decisions = vec![missed(genuine(&lone, 2), &blocks[0])];
    lone.tell(Input::Chain(ChainInput::Decisions { from: one, id: first[0].1, decisions }));
    let again = later(&mut lone, one);
    assert!(matches!(again[..], [(_, _, ChainRequest::Decisions { from: Height(1) })]), "{again:?}");
    let decisions = vec![missed(genuine(&lone, 1), &blocks[0])];
    let out = lone.give(Input::Chain(ChainInput::Decisions { from: one, id: again[0].1, decisions }));
    assert!(out.iter().any(|(_, output)| matches!(output, Output::Chain(ChainOutput::Applied { .. }))));
    let again = later(&mut lone, one);
    assert!(matches!(again[..], [(_, _, ChainRequest::Decisions { from: Height(3) })]), "{again:?}");
}
