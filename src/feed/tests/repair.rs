//! What is asked of whom, and what is not.

use super::*;

fn peer(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn later(ms: u64) -> Mono {
    Mono(ms * 1000)
}

#[test]
fn a_gap_is_asked_of_one_who_has_it_and_of_another_when_that_fails() {
    let bundles = Author::chain(1, 10);
    let feed = bundles[0].header().feed;
    let (mut keeper, mut repair) = (Keeper::default(), Repair::default());
    keeper.offer(&bundles[0], false);
    keeper.offer(&bundles[5], false);
    repair.claim(peer(1), feed, 0, 9, &keeper.feeds, later(0));
    repair.claim(peer(2), feed, 3, 9, &keeper.feeds, later(0));
    assert!(repair.requests(&keeper.feeds, later(1)).is_empty(), "gossip has its chance first");
    let asked = repair.requests(&keeper.feeds, later(200));
    assert_eq!(asked[0].to, peer(1), "the other does not hold the first of it");
    assert_eq!(asked[0].request, Request::Range { feed, from: 1, to: 4, newest_first: false });
    assert!(repair.requests(&keeper.feeds, later(201)).is_empty(), "once is enough");
    assert_eq!(repair.expired(later(200) + limits::REQUEST_TIMEOUT).len(), 1);
    let asked = repair.requests(&keeper.feeds, later(20_000));
    assert_eq!(asked[0].to, peer(2));
    assert!(repair.flight(asked[0].id, peer(2)).unwrap().may_start);
    assert!(repair.flight(asked[0].id, peer(1)).is_none(), "nobody answers for another");
    repair.drop_peer(peer(2));
    assert_eq!((repair.requests(&keeper.feeds, later(30_000)).len(), repair.wanted_count()), (0, 0));
}

#[test]
fn requests_under_way_are_bounded() {
    let (keeper, mut repair) = (Keeper::default(), Repair::default());
    for seed in 0..60 {
        for by in 0..8 {
            repair.claim(peer(by), Author::new(seed).feed(), 0, 5, &keeper.feeds, later(0));
        }
    }
    let asked = repair.requests(&keeper.feeds, later(1000));
    assert_eq!(asked.len(), limits::RANGES_IN_FLIGHT);
    for by in 0..8 {
        assert!(asked.iter().filter(|a| a.to == peer(by)).count() <= limits::RANGES_PER_PEER);
    }
}

#[test]
fn a_peer_that_claims_everything_and_answers_nothing_keeps_nobody_away() {
    let (keeper, mut repair) = (Keeper::default(), Repair::default());
    let invented = |n: u32| FeedId { incarnation: Incarnation(u64::from(n)), author: peer(0), topic: Category::Data };
    for by in 0..4 {
        for n in 0..10_000 {
            repair.claim(peer(by), invented(n), 0, 5, &keeper.feeds, later(0));
        }
    }
    assert_eq!(repair.wanted_count(), limits::CLAIMS_PER_PEER, "all of them claim the same");
    let real = Author::new(9).feed();
    repair.claim(peer(200), real, 0, 5, &keeper.feeds, later(0));
    let asked = repair.requests(&keeper.feeds, later(200));
    assert!(asked.iter().any(|a| a.to == peer(200)), "it has its turn like everyone");
    assert_eq!(asked.iter().filter(|a| a.to == peer(1)).count(), limits::RANGES_PER_PEER);
    let after = later(200) + limits::REQUEST_TIMEOUT;
    assert_eq!(repair.expired(after).len(), 17);
    repair.claim(peer(200), real, 0, 5, &keeper.feeds, after);
    let asked = repair.requests(&keeper.feeds, after + Duration::from_secs(1));
    assert_eq!(asked.iter().filter(|a| a.to == peer(1)).count(), 1, "who does not answer is asked one thing at a time");
    for by in 0..4 {
        repair.drop_peer(peer(by));
    }
    assert_eq!(repair.wanted_count(), 1);
}

#[test]
fn nothing_is_asked_that_is_held_or_forked_or_let_go() {
    let bundles = Author::chain(1, 4);
    let feed = bundles[0].header().feed;
    let (mut keeper, mut repair) = (Keeper::default(), Repair::default());
    bundles.iter().for_each(|b| {
        keeper.offer(b, false);
    });
    repair.claim(peer(1), feed, 0, 3, &keeper.feeds, later(0));
    assert_eq!(repair.wanted_count(), 0);
    let mut twin = Author::new(1);
    assert_eq!(keeper.offer(&twin.say(2, b"other"), false), "forked");
    repair.claim(peer(1), feed, 0, 30, &keeper.feeds, later(0));
    assert_eq!(repair.wanted_count(), 0);
    let _ = Kind::ALL;
}

#[test]
fn one_peer_is_asked_for_the_proof_of_a_fork_and_for_a_lower_one_again() {
    let feed = Author::new(1).feed();
    let mut repair = Repair::default();
    let asked = repair.ask_fork(peer(1), feed, 5, later(0)).unwrap();
    assert_eq!(asked.request, Request::Fork { feed });
    assert_eq!(repair.ask_fork(peer(2), feed, 5, later(1)), None);
    assert_eq!(repair.ask_fork(peer(2), feed, 7, later(1)), None);
    assert!(repair.ask_fork(peer(2), feed, 4, later(1)).is_some());
    repair.finish(asked.id, false);
    assert!(repair.flight(asked.id, peer(1)).is_none());
}

#[test]
fn what_is_held_is_asked_for_when_the_feed_must_begin_with_it() {
    let bundles = Author::chain(1, 6);
    let feed = bundles[0].header().feed;
    let (mut keeper, mut repair) = (Keeper::default(), Repair::default());
    assert_eq!(keeper.offer(&bundles[5], false), "held");
    repair.claim(peer(1), feed, 5, 5, &keeper.feeds, later(0));
    let asked = repair.requests(&keeper.feeds, later(200));
    assert_eq!(asked[0].request, Request::Range { feed, from: 0, to: 5, newest_first: false });
}

#[test]
fn nobody_is_woken_for_what_cannot_be_asked_yet() {
    let (keeper, mut repair) = (Keeper::default(), Repair::default());
    for seed in 0..6 {
        repair.claim(peer(1), Author::new(seed).feed(), 0, 5, &keeper.feeds, later(0));
    }
    let asked = repair.requests(&keeper.feeds, later(200));
    assert_eq!(asked.len(), limits::RANGES_PER_PEER);
    assert_eq!(repair.next_wake(), Some(later(200) + limits::REQUEST_TIMEOUT));
    repair.finish(asked[0].id, false);
    assert_eq!(repair.requests(&keeper.feeds, later(201)).len(), 1, "the end of one brings the next");
}
