//! What comes from peers, for this node and for others.

use super::*;

/// The node is asked by 2 to pass a bundle on over 3 to 4; under which number 3 was asked.
fn passed_on(machine: &mut Machine, answer: u64, ms: u64) -> (u64, Hash) {
    let bundle = direct(2, peer(4), Category::Data, ms);
    let outputs = machine.tell(deliver(2, answer, &[peer(1), peer(3), peer(4)], bundle));
    let (to, id, bundle) = sent(&outputs)[0];
    assert_eq!(to, peer(3));
    (id, bundle)
}

#[test]
fn a_relay_passes_on_the_readers_word_on_that_bundle_and_no_other() {
    let mut machine = Machine::with([2, 3]);
    let (id, bundle) = passed_on(&mut machine, 1, 1);
    let good = receipt(4, bundle, Delivery::Taken);
    let outputs = machine.tell(Input::Receipt { from: peer(3), id, receipt: good });
    assert_eq!(answered(&outputs), [(1, &Response::Receipt(good))]);
    assert_eq!(machine.penalty(3), 0);

    let other = Hash([9; 32]);
    for (n, false_one) in [(2, |_| receipt(4, Hash([9; 32]), Delivery::Taken)), (3, |b| receipt(3, b, Delivery::Taken))]
        as [(u64, fn(Hash) -> Receipt); 2]
    {
        let (id, bundle) = passed_on(&mut machine, n, n);
        assert_ne!(bundle, other);
        let outputs = machine.tell(Input::Receipt { from: peer(3), id, receipt: false_one(bundle) });
        assert_eq!(answered(&outputs), [(n, &Response::Unserved(Unserved::NoRoute))]);
    }
    assert_eq!((machine.penalty(3), machine.penalty(2)), (50, 0), "whoever answered so pays, and nobody else");
}

#[test]
fn what_others_want_passed_on_leaves_room_for_what_is_for_this_node() {
    let most = (limits::RELAYED / limits::RELAYED_PER_PEER) as u8;
    let mut machine = Machine::with(2..most + 4);
    let ahead = [peer(1), peer(2), peer(200)];
    let (mut taken, mut busy) = (0, 0);
    for seed in 3..most + 4 {
        for n in 0..limits::RELAYED_PER_PEER as u64 + 2 {
            let bundle = direct(seed, peer(200), Category::Data, n);
            let outputs = machine.tell(deliver(seed, 100 * u64::from(seed) + n, &ahead, bundle));
            taken += sent(&outputs).len();
            busy += answered(&outputs).iter().filter(|(_, r)| **r == Response::Unserved(Unserved::Busy)).count();
        }
    }
    assert_eq!(taken, limits::RELAYED);
    assert!(taken <= limits::DIRECT_IN_FLIGHT_ALL / 2, "half of the places stay");
    assert_eq!(busy, 2 * usize::from(most) + limits::RELAYED_PER_PEER + 2, "at once, and not when it is too late");
    let own = direct(3, peer(1), Category::Data, 900);
    let outputs = machine.tell(deliver(3, 1, &[peer(1)], own));
    assert!(matches!(answered(&outputs)[..], [(1, Response::Receipt(_))]));
}

#[test]
fn a_flood_of_strangers_takes_nothing_of_what_waits_nor_of_what_others_said() {
    let rule = Rule { max_age: None, max_bytes: Some(8_000) };
    let mut machine = Machine::new(Retention::from([(Category::External, rule)]));
    [2, 3, 4].into_iter().for_each(|seed| machine.up(seed));
    let waits = machine.node.log.end();
    let _unanswered = machine.post(peer(2), None);
    machine.tell(deliver(3, 1, &[peer(1)], direct(3, peer(1), Category::External, 0)));
    for n in 0..100 {
        machine.tell(deliver(4, 2 + n, &[peer(1)], direct(4, peer(1), Category::External, 100 + n)));
    }
    machine.pass(20_000);
    assert!(machine.node.directs.bytes(Category::External) <= 8_000);
    assert!(stored_at(waits, &machine.store).is_some(), "its own waits for its reader");
    assert!(stored_at(waits + 1, &machine.store).is_some(), "what another said is there");
    assert_eq!(machine.node.deliveries.dead_count(), 0);
    let late = direct(3, peer(1), Category::External, 1);
    let outputs = machine.tell(deliver(3, 200, &[peer(1)], late.clone()));
    let [(200, Response::Receipt(receipt))] = answered(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!((receipt.bundle, receipt.delivery), (late.id(), Delivery::Taken), "a flood makes nobody else's old");
}
