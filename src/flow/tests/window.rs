//! The window: whom it waits for, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use crate::flow::{Pass, Window};
use crate::types::{Mono, NodeId};
use crate::wire::Category;

const BYTES: usize = 1000;
const TOPIC: Category = Category::Data;

/// A window, its peers, and a clock.
struct Bench {
    window: Window,
    now: Mono,
    next: u64,
    questions: u64,
    asked: BTreeMap<NodeId, u64>,
}

fn peer(n: u8) -> NodeId {
    NodeId([n; 32])
}

impl Bench {
    fn with(peers: u8) -> Bench {
        let mut window = Window::new(BYTES);
        (0..peers).for_each(|n| window.on_up(peer(n)));
        Bench { window, now: Mono(10_000_000), next: 0, questions: 0, asked: BTreeMap::new() }
    }

    fn say(&mut self, bytes: usize) {
        self.next += 1;
        self.window.on_said(TOPIC, self.next, bytes, self.now);
    }

    fn after(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Asks whoever is to be asked, a while later.
    fn ask(&mut self) -> Vec<NodeId> {
        self.after(Duration::from_millis(20));
        let number = &mut self.questions;
        let asked = self.window.questions(self.now, || {
            *number += 1;
            *number
        });
        self.asked.extend(asked.iter().copied());
        asked.into_iter().map(|(peer, _)| peer).collect()
    }

    fn holds(&mut self, n: u8, next: u64) -> bool {
        let Some(id) = self.asked.remove(&peer(n)) else { return false };
        self.window.on_answer(peer(n), id, &BTreeMap::from([(TOPIC, next)]), self.now)
    }

    fn pass(&mut self) -> Pass {
        self.window.pass(self.now)
    }
}

#[test]
fn a_node_that_is_alone_waits_for_nobody() {
    let mut bench = Bench::with(0);
    bench.say(10 * BYTES);
    assert_eq!(bench.pass(), Pass::All);
    assert_eq!(bench.ask(), []);
}

#[test]
fn it_closes_when_a_peer_lacks_a_window_and_opens_when_it_holds_more() {
    let mut bench = Bench::with(1);
    bench.say(600);
    assert_eq!(bench.ask(), [peer(0)]);
    assert_eq!(bench.pass(), Pass::All);
    assert!(bench.holds(0, 0));
    bench.say(600);
    assert_eq!(bench.pass(), Pass::Beside);
    bench.say(800);
    assert_eq!(bench.pass(), Pass::Beside);
    assert_eq!(bench.ask(), [peer(0)]);
    assert_eq!(bench.ask(), [], "one question at a time");
    assert!(bench.holds(0, 2));
    assert_eq!(bench.pass(), Pass::All);
    assert_eq!(bench.window.state().unheld_bytes, 800);
}

#[test]
fn the_faster_half_is_waited_for() {
    let mut bench = Bench::with(3);
    (0..3).for_each(|_| bench.say(500));
    assert_eq!(bench.ask().len(), 3);
    assert!(bench.holds(0, 3) && bench.holds(1, 0));
    assert_eq!(bench.pass(), Pass::Beside, "one of three");
    assert!(bench.holds(2, 3));
    assert_eq!(bench.pass(), Pass::All, "two of three");
    bench.window.on_down(peer(2));
    assert_eq!(bench.pass(), Pass::All, "one of two");
    bench.window.on_down(peer(0));
    assert_eq!(bench.pass(), Pass::Beside, "none of one");
}

#[test]
fn who_stalls_is_given_a_share_in_two_seconds_and_not_waited_for_after_ten() {
    let mut bench = Bench::with(1);
    for _ in 0..5 {
        assert_eq!(bench.pass(), Pass::All);
        bench.say(BYTES);
        assert_eq!(bench.pass(), Pass::Beside);
        assert!(bench.window.next_wake().is_some());
        bench.after(Duration::from_secs(2));
    }
    bench.say(5 * BYTES);
    assert_eq!(bench.pass(), Pass::All, "it is lost");
    bench.after(Duration::from_secs(1));
    bench.ask();
    assert!(bench.holds(0, 5));
    assert_eq!(bench.pass(), Pass::All, "until it has caught up");
    bench.after(Duration::from_secs(1));
    bench.ask();
    assert!(bench.holds(0, 6));
    bench.say(BYTES);
    assert_eq!(bench.pass(), Pass::Beside);
}

#[test]
fn what_was_said_before_a_peer_came_is_not_waited_for() {
    let mut bench = Bench::with(0);
    bench.say(5 * BYTES);
    bench.window.on_up(peer(1));
    assert_eq!(bench.pass(), Pass::All);
    bench.say(BYTES);
    assert_eq!(bench.pass(), Pass::Beside);
}

#[test]
fn a_topic_that_a_peer_does_not_follow_is_not_waited_for() {
    let mut bench = Bench::with(1);
    bench.say(5 * BYTES);
    bench.ask();
    let id = bench.asked[&peer(0)];
    assert!(bench.window.on_answer(peer(0), id, &BTreeMap::new(), bench.now));
    assert_eq!(bench.pass(), Pass::All);
}

#[test]
fn an_answer_to_another_question_counts_for_nothing() {
    let mut bench = Bench::with(2);
    bench.say(5 * BYTES);
    bench.ask();
    let id = bench.asked[&peer(0)];
    assert!(!bench.window.on_answer(peer(1), id, &BTreeMap::from([(TOPIC, 1)]), bench.now));
    assert!(!bench.window.on_answer(peer(9), id, &BTreeMap::from([(TOPIC, 1)]), bench.now));
    bench.window.on_failed(peer(0), id);
    assert!(!bench.holds(0, 1), "it failed");
    assert_eq!(bench.ask(), [], "not at once");
    bench.after(Duration::from_millis(200));
    assert_eq!(bench.ask(), [peer(0)], "it is asked again");
}

#[test]
fn a_peer_that_lacks_little_for_long_keeps_up() {
    let mut bench = Bench::with(1);
    bench.say(100);
    assert_eq!(bench.ask(), [], "that is worth no question");
    for _ in 0..20 {
        bench.after(Duration::from_secs(1));
        assert_eq!(bench.pass(), Pass::All);
    }
    assert_eq!(bench.window.state().peers, 1);
    bench.say(10 * BYTES);
    assert_eq!(bench.pass(), Pass::Beside, "it is waited for as ever");
}

#[test]
fn an_answer_that_takes_longer_than_a_second_counts() {
    let mut bench = Bench::with(1);
    bench.say(5 * BYTES);
    bench.ask();
    let first = bench.asked[&peer(0)];
    bench.after(Duration::from_secs(1));
    assert_eq!(bench.ask(), [peer(0)], "it is asked anew");
    let held = BTreeMap::from([(TOPIC, 1)]);
    assert!(bench.window.on_answer(peer(0), first, &held, bench.now));
    assert_eq!(bench.window.state().unheld_bytes, 0);
    assert!(bench.holds(0, 1), "so does the answer to the other");
    assert!(!bench.window.on_answer(peer(0), first, &held, bench.now), "but each once");
}

#[test]
fn who_holds_all_is_seen_to_though_nothing_of_it_is_remembered() {
    let mut bench = Bench::with(1);
    (0..5).for_each(|_| bench.say(BYTES));
    bench.after(Duration::from_secs(3));
    assert_eq!(bench.pass(), Pass::All);
    assert_eq!(bench.ask(), [peer(0)]);
    assert!(bench.holds(0, 5));
    bench.after(Duration::from_secs(8));
    assert_eq!(bench.ask(), [], "it holds all, and there is nothing to ask");
    assert_eq!(bench.pass(), Pass::All);
    assert_eq!(bench.window.state().peers, 1, "it keeps up");
}

/// A line with so many bytes a second and so long a way, which carries nothing in the second second and some more, a node
/// that always has more to say, and what came of it in the last two of eight seconds: bytes a second that arrived, and how
/// long a frame was under way at the most.
fn saturate(rate: u64, way: Duration, stall: Duration) -> (u64, Duration) {
    const FRAME: usize = 60 * 1024;
    const SECOND: u64 = 1_000_000;
    let (start, way) = (10 * SECOND, way.as_micros() as u64);
    let stall = start + SECOND..start + SECOND + stall.as_micros() as u64;
    let mut window = Window::new(4 << 20);
    window.on_up(peer(1));
    // When each frame was said, and when it is there.
    let mut frames: Vec<(u64, u64)> = Vec::new();
    let mut question: Option<(u64, u64)> = None;
    for now in (start..start + 8 * SECOND).step_by(1_000) {
        let at = Mono(now);
        if let Some((id, _)) = question.filter(|(_, back)| *back <= now) {
            question = None;
            let held = frames.iter().filter(|(_, there)| *there + way <= now).count() as u64;
            assert!(window.on_answer(peer(1), id, &BTreeMap::from([(TOPIC, held)]), at));
        }
        while window.pass(at) == Pass::All && frames.last().is_none_or(|(_, there)| *there < now + 60 * SECOND) {
            let free = frames.last().map_or(now, |(_, there)| (*there - way).max(now));
            let free = if stall.contains(&free) { stall.end } else { free };
            frames.push((now, free + FRAME as u64 * SECOND / rate + way));
            window.on_said(TOPIC, frames.len() as u64, FRAME, at);
        }
        for (_, id) in window.questions(at, || now) {
            question = Some((id, now + 2 * way));
        }
    }
    let late: Vec<_> =
        frames.iter().filter(|(_, there)| (start + 6 * SECOND..start + 8 * SECOND).contains(there)).collect();
    let longest = late.iter().map(|(said, there)| there - said).max().unwrap_or_default();
    (late.len() as u64 * FRAME as u64 / 2, Duration::from_micros(longest))
}

#[test]
fn it_is_as_large_as_the_line_needs() {
    for rate in [400_000, 5_000_000, 40_000_000] {
        for way in [1, 30].map(Duration::from_millis) {
            for stall in [0, 3_000].map(Duration::from_millis) {
                let (arrived, longest) = saturate(rate, way, stall);
                assert!(arrived > rate * 85 / 100, "{arrived} of {rate} bytes a second, {way:?} away");
                // Two frames are the least.
                let frames = Duration::from_micros(3 * 61_440 * 1_000_000 / rate);
                let most = 4 * way + Duration::from_millis(150) + frames;
                assert!(longest < most, "{longest:?} under way at {rate} bytes a second, {way:?} away, not {most:?}");
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Say(usize),
    Ask,
    Holds(u8, u64),
    Fails(u8),
    Comes(u8),
    Goes(u8),
    After(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..3 * BYTES).prop_map(Act::Say),
        3 => Just(Act::Ask),
        3 => (0..4u8, 0..40u64).prop_map(|(peer, next)| Act::Holds(peer, next)),
        1 => (0..4u8).prop_map(Act::Fails),
        1 => (0..4u8).prop_map(Act::Comes),
        1 => (0..4u8).prop_map(Act::Goes),
        1 => (1..3_000u64).prop_map(Act::After),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_never_stays_closed(acts in prop::collection::vec(act(), 0..60)) {
        let mut bench = Bench::with(2);
        let mut said = Vec::new();
        for act in acts {
            match act {
                Act::Say(bytes) => {
                    bench.say(bytes);
                    said.push((bytes, bench.now));
                }
                Act::Ask => drop(bench.ask()),
                Act::Holds(n, next) => drop(bench.holds(n, next)),
                Act::Fails(n) => if let Some(id) = bench.asked.remove(&peer(n)) {
                    bench.window.on_failed(peer(n), id);
                },
                Act::Comes(n) => bench.window.on_up(peer(n)),
                Act::Goes(n) => {
                    bench.asked.remove(&peer(n));
                    bench.window.on_down(peer(n));
                }
                Act::After(ms) => bench.after(Duration::from_millis(ms)),
            }
            let pass = bench.pass();
            // Nobody is waited for but for what was said in the last two seconds.
            let since = |at: Mono| bench.now - at <= Duration::from_secs(2);
            let recent: usize = said.iter().filter(|(_, at)| since(*at)).map(|(bytes, _)| bytes).sum();
            prop_assert!(pass == Pass::All || recent >= BYTES, "closed for {recent} bytes");
            let state = bench.window.state();
            prop_assert_eq!(pass == Pass::All, 2 * state.with_room >= state.peers);
            prop_assert!(pass == Pass::All || bench.window.next_wake().is_some());
        }
        bench.after(Duration::from_secs(2));
        prop_assert_eq!(bench.pass(), Pass::All);
    }
}
