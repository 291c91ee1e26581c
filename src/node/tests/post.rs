//! What this node sends.

use super::*;

#[test]
fn a_reader_that_declines_says_nothing_against_the_link() {
    for delivery in [Delivery::NotMine, Delivery::Early] {
        let mut machine = Machine::with([2]);
        let outputs = machine.post(peer(2), None);
        let (to, id, bundle) = sent(&outputs)[0];
        assert_eq!(to, peer(2));
        machine.tell(Input::Receipt { from: to, id, receipt: receipt(2, bundle, delivery) });
        assert_eq!(machine.node.routes.links()[0].loss_ppm, 0, "the way works");
        let again = machine.pass(60_000);
        assert!(!sent(&again).is_empty(), "it is tried again: {delivery:?}");
    }
}

/// The node's dead letters at a destination are redriven.
fn redrive(machine: &mut Machine) -> Vec<Output> {
    machine.call(Call::Sweep { selector: Selector::default(), redrive: true, dry: false })
}

fn soon(machine: &Machine, ms: u64) -> Option<WallMs> {
    Some(WallMs(machine.now.wall.0 + ms))
}

#[test]
fn what_its_reader_has_is_forgotten_and_its_time_with_it() {
    let mut machine = Machine::with([2]);
    for _ in 0..20 {
        let (to, id, bundle) = sent(&machine.post(peer(2), None))[0];
        assert!(machine.node.post.waiting.any(0..u64::MAX));
        machine.tell(Input::Receipt { from: to, id, receipt: receipt(2, bundle, Delivery::Taken) });
        assert!(!machine.node.post.waiting.any(0..u64::MAX), "nothing waits");
    }
    assert_eq!(machine.node.post.counts.delivered, 20);
}

#[test]
fn what_expires_under_way_is_not_delivered_as_well() {
    let mut machine = Machine::with([2]);
    let until = soon(&machine, 1_000);
    let (to, id, bundle) = sent(&machine.post(peer(2), until))[0];
    machine.pass(3_000);
    machine.tell(Input::Receipt { from: to, id, receipt: receipt(2, bundle, Delivery::Taken) });
    let counts = machine.node.post.counts;
    assert_eq!((counts.overdue, counts.delivered), (1, 0));
}

#[test]
fn a_redriven_message_has_time_and_is_over_again_when_that_is() {
    let mut machine = Machine::with([2]);
    let _unanswered = machine.post(peer(2), None);
    machine.now.wall = WallMs(START_MS + limits::DIRECT_KEEP.as_millis() as u64 + 10_000);
    machine.tell(Input::Tick);
    assert_eq!(machine.node.post.counts.overdue, 1);
    assert!(!sent(&redrive(&mut machine)).is_empty(), "it is sent again");
    assert!(machine.node.post.waiting.any(0..u64::MAX));
    machine.now.wall = WallMs(machine.now.wall.0 + limits::DIRECT_KEEP.as_millis() as u64 - 1);
    machine.tell(Input::Tick);
    assert_eq!(machine.node.post.counts.overdue, 1, "it has as much time as a new one");
    machine.now.wall = WallMs(machine.now.wall.0 + 2);
    machine.tell(Input::Tick);
    assert_eq!(machine.node.post.counts.overdue, 2);
}

#[test]
fn a_destination_turned_away_because_too_much_is_under_way_has_its_turn() {
    let full = (limits::DIRECT_IN_FLIGHT_ALL / limits::DIRECT_IN_FLIGHT) as u8;
    let mut machine = Machine::with(2..full + 3);
    let mut flights = Vec::new();
    for seed in 2..full + 2 {
        for _ in 0..limits::DIRECT_IN_FLIGHT + 5 {
            flights.extend(sent(&machine.post(peer(seed), None)));
        }
    }
    assert_eq!(flights.len(), limits::DIRECT_IN_FLIGHT_ALL);
    let late = peer(full + 2);
    assert_eq!(sent(&machine.post(late, None)), []);
    let (to, id, bundle) = flights[0];
    let outputs = machine.tell(Input::Receipt { from: to, id, receipt: receipt(2, bundle, Delivery::Taken) });
    assert_eq!(sent(&outputs).iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [late], "before more of the same");
}

#[test]
fn others_go_on_when_what_the_breaker_let_through_is_over_meanwhile() {
    let mut machine = Machine::with([2]);
    let mut flights = sent(&machine.post(peer(2), soon(&machine, 30_000)));
    for _ in 0..limits::BREAKER_FAILURES {
        let (to, id, _) = flights.pop().unwrap();
        machine.tell(Input::Failed { from: to, id });
        flights = sent(&machine.pass(1_500));
        assert_eq!(flights.len(), 1);
    }
    // What is under way now is the probe, and the only one its time is over for.
    let waits = sent(&machine.post(peer(2), None));
    assert_eq!(waits, []);
    let over = machine.pass(27_000);
    assert_eq!(machine.node.post.counts.overdue, 1);
    assert_eq!(sent(&over).len(), 1, "the other is the probe now");
}

#[test]
fn clients_take_nothing_from_a_destination_and_do_not_do_away_with_it() {
    let mut machine = Machine::with([2]);
    let (to, id, bundle) = sent(&machine.post(peer(2), None))[0];
    let name = Name::of(&Destination::Node(peer(2))).unwrap();
    let outcomes = vec![(0, Outcome::Ack)];
    let calls = [
        Call::DropSubscription { name: name.clone() },
        Call::PauseSubscription { name: name.clone(), reason: Some("no".into()) },
        Call::Lease { name: name.clone(), most: 1, found: None },
        Call::Settle { name: name.clone(), outcomes, ack: Ack::Written },
    ];
    for call in calls {
        let outputs = machine.call(call);
        let refused = |output: &Output| match output {
            Output::Reply { answer: Err(refusal), .. } => Some(refusal.to_string()),
            _ => None,
        };
        let refusal = outputs.iter().find_map(refused).unwrap();
        assert!(refusal.contains("route pending"), "{refusal}");
    }
    machine.tell(Input::Receipt { from: to, id, receipt: receipt(2, bundle, Delivery::Taken) });
    assert_eq!(machine.node.post.counts.delivered, 1);
}
