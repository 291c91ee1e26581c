//! What was said about agreement a moment ago, so that the same is not carried over and over.
//!
//! Gossip carries the same bytes once, and what validators say again is numbered for that; but the number is nobody's
//! word, so anyone can number what was said anew. What a validator says again comes after a while; what comes sooner is
//! an echo.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::types::Hash;

/// What was said is not carried again before this.
const ECHO: Duration = Duration::from_millis(250);
/// Things remembered; the oldest is forgotten first.
const REMEMBERED: usize = 16_384;

/// What was believed lately.
#[derive(Debug, Default)]
pub struct Repeats {
    when: BTreeMap<Hash, Instant>,
    order: VecDeque<(Instant, Hash)>,
}

impl Repeats {
    /// Whether this was said a moment ago.
    pub fn is_echo(&self, subject: &Hash, now: Instant) -> bool {
        self.when.get(subject).is_some_and(|when| now.duration_since(*when) < ECHO)
    }

    /// This is said now, and is believed: what nobody signed takes nobody's place.
    pub fn note(&mut self, subject: Hash, now: Instant) {
        self.when.insert(subject, now);
        self.order.push_back((now, subject));
        while let Some((when, oldest)) = self.order.front().copied()
            && (self.order.len() > REMEMBERED || now.duration_since(when) >= ECHO)
        {
            self.order.pop_front();
            if self.when.get(&oldest) == Some(&when) {
                self.when.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Domain;

    fn subject(n: u64) -> Hash {
        Domain::Trace.hash(&[&n.to_le_bytes()])
    }

    #[test]
    fn the_same_is_an_echo_for_a_moment_and_then_is_said_again() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        assert!(!repeats.is_echo(&subject(1), now));
        repeats.note(subject(1), now);
        assert!(repeats.is_echo(&subject(1), now + ECHO / 2));
        assert!(!repeats.is_echo(&subject(2), now));
        let later = now + ECHO;
        assert!(!repeats.is_echo(&subject(1), later));
        repeats.note(subject(1), later);
        repeats.note(subject(2), later + ECHO / 2);
        assert!(repeats.is_echo(&subject(1), later + ECHO / 2), "what was said first is over, not what was said again");
    }

    #[test]
    fn only_so_much_is_remembered() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        for n in 0..2 * REMEMBERED as u64 {
            repeats.note(subject(n), now);
        }
        assert_eq!((repeats.when.len(), repeats.order.len()), (REMEMBERED, REMEMBERED));
        assert!(!repeats.is_echo(&subject(0), now) && repeats.is_echo(&subject(2 * REMEMBERED as u64 - 1), now));
    }
}
