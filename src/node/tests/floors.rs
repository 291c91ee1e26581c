//! Floors that are not to be: each reason why one is not counted, or not said.

use std::time::Duration;

use super::rolls::beat;
use super::writes::{said, write};
use super::*;
use crate::crdt::{Condition, FLOOR, Floor, RollRoot, Wish, Wished};
use crate::node::{CountFloor, FloorCount, FloorRefusal, Write};
use crate::types::Version;

fn count(collection: &str, older_ms: u64, dry: bool) -> Call {
    Call::CountFloor(CountFloor { collection: collection.into(), older_than: Duration::from_millis(older_ms), dry })
}

/// A client writes to the register of a collection's floor.
fn say(collection: &str, wished: Wished) -> Call {
    let wishes = vec![Wish { path: FLOOR.into(), wished, condition: Condition::None }];
    let collection = collection.into();
    Call::Write(Box::new(Write { collection, client: None, wishes, restores: None, ack: Ack::Written }))
}

/// What calls were answered, by their numbers.
fn answers(outputs: Vec<Output>) -> BTreeMap<u64, Result<Answer, CallRefusal>> {
    let reply = |output: Output| match output {
        Output::Reply { id, answer } => Some((id, answer)),
        _ => None,
    };
    outputs.into_iter().filter_map(reply).collect()
}

impl Machine {
    /// The answer to a call that is answered at once.
    fn answer(&mut self, call: Call) -> Result<Answer, CallRefusal> {
        let outputs = self.call(call);
        answers(outputs).remove(&self.calls).expect("it is answered in the same step")
    }

    /// Why there is to be no floor.
    fn floor_refusal(&mut self, call: Call) -> FloorRefusal {
        match self.answer(call) {
            Err(CallRefusal::Floor(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    /// What a floor would come to.
    fn counted(&mut self, call: Call) -> Floor {
        match self.answer(call) {
            Ok(Answer::Floor(FloorCount { floor, .. })) => floor,
            other => panic!("{other:?}"),
        }
    }

    fn hears_beat(&mut self, seed: u8) {
        let bundles = vec![beat(seed, self.now.wall.0)];
        self.tell(Input::Bundle { from: peer(2), ticket: 1, bundles });
    }
}

#[test]
fn nobody_sets_the_floor_of_anothers_collection() {
    let mut machine = Machine::new(Retention::new());
    let others = format!("c@{}", peer(2));
    for dry in [true, false] {
        assert_eq!(machine.floor_refusal(count(&others, 0, dry)), FloorRefusal::Denied(others.clone()));
    }
    machine.counted(count(&format!("c@{}", peer(1)), 0, false));
}

#[test]
fn a_floor_is_not_set_at_or_below_the_one_that_counts() {
    let mut machine = Machine::new(Retention::new());
    let floor = machine.counted(count("c", 1_000, false));
    machine.answer(say("c", Wished::Put(floor.json()))).unwrap();
    machine.pass(1_000);
    assert_eq!(machine.node.replica().floor("c"), Some(floor));
    // A second later: the same version, and one long before.
    for (older_ms, dry) in [(2_000, false), (3_600_000, false), (2_000, true)] {
        assert_eq!(machine.floor_refusal(count("c", older_ms, dry)), FloorRefusal::NotAbove(floor.version));
    }
    assert!(machine.counted(count("c", 1_999, false)).version > floor.version);
}

#[test]
fn one_floor_is_counted_at_a_time() {
    let mut machine = Machine::new(Retention::new());
    let calls = [(101, count("c", 0, true)), (102, count("d", 0, true))];
    let calls = calls.into_iter().map(|(id, call)| Input::Call { id, call }).collect();
    let mut answers = answers(machine.tell_all(calls));
    assert!(matches!(answers.remove(&102), Some(Err(CallRefusal::Floor(FloorRefusal::Busy)))));
    assert!(matches!(answers.remove(&101), Some(Ok(Answer::Floor(_)))), "the first is counted all the same");
    machine.counted(count("d", 0, true));
}

#[test]
fn a_client_says_only_what_was_counted_for_it() {
    let mut machine = Machine::new(Retention::new());
    let made_up = RollRoot::default().floor(Version { stamp: Stamp::new(START_MS - 1_000, 0), digest: [0; 16] });
    let dry = machine.counted(count("c", 2_000, true));
    let other = machine.counted(count("d", 2_000, false));
    let put = |floor: Floor| Wished::Put(floor.json());
    let no_floors = [put(made_up), put(dry), put(other), Wished::Delete, Wished::DeletePrefix];
    let no_registers = [Wished::Add(made_up.json()), Wished::Assign(made_up.json()), Wished::Count(1)];
    for wished in no_floors.into_iter().chain(no_registers) {
        assert_eq!(machine.floor_refusal(say("c", wished)), FloorRefusal::NotCounted);
    }
    let first = machine.counted(count("c", 2_000, false));
    let last = machine.counted(count("c", 1_500, false));
    assert_eq!(machine.floor_refusal(say("c", put(first))), FloorRefusal::NotCounted, "another was counted since");
    machine.answer(say("c", put(last))).unwrap();
}

#[test]
fn what_comes_below_while_it_is_counted_makes_a_client_ask_again() {
    let mut machine = Machine::with([2, 3]);
    // The answer comes when the step ends, and what came in it counts.
    let mut during = |older_ms, seed| {
        let bundles = vec![said(seed, START_MS - 1_000, &[write(&format!("by/{seed}"), "x")])];
        let asked = Input::Call { id: 101, call: count("c", older_ms, true) };
        let outputs = machine.tell_all(vec![asked, Input::Bundle { from: peer(seed), ticket: 1, bundles }]);
        answers(outputs).remove(&101).unwrap()
    };
    assert!(matches!(during(60_000, 2), Ok(Answer::Floor(_))), "what comes above does no harm");
    assert!(matches!(during(0, 3), Err(CallRefusal::Floor(FloorRefusal::Late))));
    assert_eq!(machine.counted(count("c", 0, true)).count, 2);
}

#[test]
fn who_has_another_state_or_has_not_spoken_is_waited_for_and_named() {
    let mut machine = Machine::with([2]);
    let members = |seeds: &[u8]| {
        let mut members: Vec<NodeId> = seeds.iter().map(|seed| peer(*seed)).collect();
        members.sort_unstable();
        FloorRefusal::Members(members)
    };
    assert_eq!(machine.floor_refusal(count("c", 0, false)), members(&[2]), "it is there, and has not spoken");
    machine.hears_beat(2);
    assert_eq!(machine.floor_refusal(count("c", 0, false)), members(&[2]), "it has, of another state");
    machine.hears_beat(3);
    assert_eq!(machine.floor_refusal(count("c", 0, false)), members(&[2, 3]), "so has one behind it");
    machine.counted(count("c", 0, true));
    // Three days of silence.
    let later = limits::FLOOR_MEMBERS + Duration::from_secs(1);
    machine.now = Now { mono: machine.now.mono + later, wall: machine.now.wall.plus(later) };
    machine.counted(count("c", 0, false));
}
