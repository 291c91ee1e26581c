//! Writes to replicated state that peers should not have made: what breaks the rules, what is stamped far from now.

use super::*;
use crate::crdt::{Condition, State, Wish, Wished, conflicts};
use crate::node::Write;
use crate::wire::kind::Json;
use crate::wire::kind::state::{Change, CollectionWrite, Op};

/// The first bundle of the peer with key `seed`: one message for each payload, stamped at `ms`.
pub(super) fn said(seed: u8, ms: u64, payloads: &[Payload]) -> Verified {
    let mut pending = Pending::default();
    for (n, payload) in payloads.iter().enumerate() {
        let id = MessageId::new(Stamp::new(ms, n as u16), u64::from(seed));
        pending.push(&Draft::new(payload).message(id));
    }
    // Checked as it is when it comes from elsewhere.
    let wire = pending.seal(header(seed, Course::Feed, Category::Data), &key(seed)).unwrap().wire().clone();
    Verified::check(Bundle::decode(wire).unwrap(), network()).unwrap()
}

pub(super) fn write(path: &str, value: &str) -> Payload {
    let op = Op::Set { value: Json::from(&serde_json::Value::from(value)) };
    let change = Change { path: path.into(), over: Vec::new(), op };
    Payload::CollectionWrite(CollectionWrite { collection: "c".into(), client: None, changes: vec![change] })
}

impl Machine {
    pub(super) fn hear(&mut self, from: u8, bundle: Verified) {
        self.tell(Input::Bundle { from: peer(from), ticket: 1, bundles: vec![bundle] });
        self.pass(1_000);
    }

    fn value(&self, path: &str) -> Option<String> {
        let value = State::of("c", &self.store).cell(path)?.register?.value?;
        value.value().as_str().map(String::from)
    }

    /// What a client of the node itself writes.
    pub(super) fn put(&mut self, path: &str, value: &str) {
        let wished = Wished::Put(Json::from(&serde_json::Value::from(value)));
        let wishes = vec![Wish { path: path.into(), wished, condition: Condition::None }];
        let write = Write { collection: "c".into(), client: None, wishes, restores: None, ack: Ack::Written };
        self.call(Call::Write(Box::new(write)));
        self.pass(1_000);
    }
}

#[test]
fn a_write_that_breaks_the_rules_is_kept_and_counted_and_never_merged() {
    let (deep, longest) = (vec!["a"; 1_000].join("/"), "p".repeat(limits::PATH_BYTES));
    let most = "v".repeat(limits::REGISTER_BYTES - 2);
    let good = [write("good", "1"), write(&longest, "2"), write("full", &most)];
    let bad = [
        write("", "x"),
        write("a//b", "x"),
        write("a/../b", "x"),
        write(&deep, "x"),
        write(&format!("{longest}p"), "x"),
        write("over", &format!("{most}v")),
        write("nul\0", "x"),
    ];
    let mut machine = Machine::with([2]);
    let all: Vec<Payload> = bad.iter().chain(&good).cloned().collect();
    let bundle = said(2, START_MS, &all);
    assert_eq!(bundle.refused().len(), bad.len(), "each of them is told of: {:?}", bundle.refused());
    machine.hear(2, bundle);
    assert_eq!((machine.value("good"), machine.value(&longest)), (Some("1".into()), Some("2".into())));
    assert_eq!(machine.value("full"), Some(most));
    let listed = State::of("c", &machine.store).list("", None, 100);
    assert_eq!(listed.cells.len(), good.len(), "nothing else is there");
    assert_eq!(machine.node.counters.faulty_messages, bad.len() as u64);
    assert_eq!(machine.penalty(2), 0, "whoever carries it need not know this kind");
}

#[test]
fn a_write_stamped_1970_loses_to_what_stands_and_is_told_of() {
    let mut machine = Machine::with([2, 3]);
    machine.put("a", "now");
    machine.hear(2, said(2, 1, &[write("a", "then"), write("b", "then")]));
    assert_eq!(machine.value("a"), Some("now".into()));
    let lost = conflicts("c", "", None, 10, &machine.store);
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(machine.value("b"), Some("then".into()), "where nothing else stands it does");
    machine.put("b", "now");
    assert_eq!(machine.value("b"), Some("now".into()), "until anyone who has seen it writes");
}

#[test]
fn a_write_stamped_2100_is_refused_and_moves_no_clock() {
    let far_ms = 4_102_444_800_000;
    let mut machine = Machine::with([2]);
    machine.put("a", "now");
    machine.hear(2, said(2, far_ms, &[write("a", "squatted"), write("b", "squatted")]));
    assert_eq!((machine.value("a"), machine.value("b")), (Some("now".into()), None));
    assert_eq!(machine.node.counters.refused.get("day_ahead"), Some(&1));
    assert_eq!(machine.penalty(2), 0, "whoever carries it may not know the time");
    machine.put("a", "later");
    assert_eq!(machine.value("a"), Some("later".into()));
    let written_ms = State::of("c", &machine.store).cell("a").unwrap().register.unwrap().written_ms;
    assert!(written_ms < START_MS + 60_000, "{written_ms}");
}
