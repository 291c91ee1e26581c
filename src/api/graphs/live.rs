//! Nodes of one graph in motion: where they are, in frames for clients, and what of it is due to be written down.
//!
//! No clock and no socket: whoever holds it says what time it is.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::types::{WallMs, limits};
use crate::wire::kind::data::Vector;
use crate::wire::{Place, PositionFrame};

/// A node in motion is written down this often.
pub const WRITTEN_EVERY: Duration = Duration::from_secs(2);
/// A node that did not move for this long is at rest.
const AT_REST: Duration = Duration::from_millis(300);
/// A node at rest is in no frame any more after this long.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// Nodes written down at once: position and velocity of each are two changes of one write.
const WRITTEN: usize = limits::WRITE_CHANGES / 2;

/// A node in motion.
struct Moving {
    number: u32,
    position: Vector,
    velocity: Vector,
    /// The frame that tells of it first.
    frame: u32,
    heard: Instant,
    /// When a client of this node first moved it since it was last written down.
    unwritten: Option<Instant>,
}

/// What one tick tells: frames for those who know the tick before.
#[derive(Clone, Debug, Default)]
pub struct Tick {
    /// Frames of names, then of positions.
    pub frames: Vec<Bytes>,
}

/// The nodes of a graph that move.
#[derive(Default)]
pub struct Live {
    nodes: BTreeMap<String, Moving>,
    /// Names not told yet.
    fresh: Vec<(u32, String)>,
    numbers: u32,
    /// The frame that comes next.
    frame: u32,
    at: WallMs,
    moved: bool,
}

impl Live {
    /// A node is there now. `own` says that a client of this node said so.
    pub fn hear(&mut self, id: &str, (position, velocity): (Vector, Vector), at: WallMs, own: bool, now: Instant) {
        let frame = self.frame;
        let node = self.nodes.entry(id.into()).or_insert_with(|| {
            self.fresh.push((self.numbers, id.into()));
            self.numbers += 1;
            Moving { number: self.numbers - 1, position, velocity, frame, heard: now, unwritten: None }
        });
        (node.position, node.velocity, node.frame, node.heard) = (position, velocity, frame, now);
        if own {
            node.unwritten = node.unwritten.or(Some(now));
        }
        self.at = self.at.max(at);
        self.moved = true;
    }

    /// Whether anything moved since the last tick.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// What moved since the last tick.
    pub fn tick(&mut self) -> Tick {
        let frame = self.frame;
        let places: Vec<Place> = self.nodes.values().filter(|node| node.frame == frame).map(Moving::place).collect();
        let names = std::mem::take(&mut self.fresh);
        (self.frame, self.moved) = (frame.wrapping_add(1), false);
        Tick { frames: frames(names, frame, self.at, places) }
    }

    /// Everything that is in motion, for one who knows nothing or has missed something.
    pub fn whole(&self) -> Tick {
        let names = self.nodes.iter().map(|(id, node)| (node.number, id.clone())).collect();
        let places = self.nodes.values().map(Moving::place).collect();
        Tick { frames: frames(names, self.frame.wrapping_sub(1), self.at, places) }
    }

    /// Nodes to be written down now, those that wait longest first; they count as written.
    pub fn due(&mut self, now: Instant) -> Vec<(String, Vector, Vector)> {
        let since = |node: &Moving| {
            let since = node.unwritten?;
            let rests = now.duration_since(node.heard) >= AT_REST;
            (rests || now.duration_since(since) >= WRITTEN_EVERY).then_some(since)
        };
        let mut due: Vec<(Instant, String)> =
            self.nodes.iter().filter_map(|(id, node)| Some((since(node)?, id.clone()))).collect();
        due.sort_unstable();
        due.truncate(WRITTEN);
        let write = |(_, id): (Instant, String)| {
            let node = self.nodes.get_mut(&id)?;
            node.unwritten = None;
            Some((id, node.position, node.velocity))
        };
        due.into_iter().filter_map(write).collect()
    }

    /// Whether something is still to be written down.
    pub fn has_unwritten(&self) -> bool {
        self.nodes.values().any(|node| node.unwritten.is_some())
    }

    /// Lets go of what is at rest and written down.
    pub fn forget(&mut self, now: Instant) {
        let rests = |node: &Moving| node.unwritten.is_none() && now.duration_since(node.heard) >= FORGOTTEN;
        self.nodes.retain(|_, node| !rests(node));
    }
}

impl Moving {
    fn place(&self) -> Place {
        let three = |vector: Vector| [vector.x as f32, vector.y as f32, vector.z as f32];
        Place { number: self.number, position: three(self.position), velocity: three(self.velocity) }
    }
}

fn frames(names: Vec<(u32, String)>, frame: u32, at: WallMs, places: Vec<Place>) -> Vec<Bytes> {
    let names = names.chunks(limits::FRAME_POSITIONS).map(|some| PositionFrame::Names(some.to_vec()));
    let places = places.chunks(limits::FRAME_POSITIONS);
    let places = places.map(|some| PositionFrame::Places { frame, at, places: some.to_vec() });
    names.chain(places).map(|frame| frame.encode().into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64) -> (Vector, Vector) {
        let zero = Vector { x: 0.0, y: 0.0, z: 0.0 };
        (Vector { x, ..zero }, zero)
    }

    fn told(tick: &Tick) -> (Vec<String>, Vec<(u32, f32)>) {
        let (mut ids, mut xs) = (Vec::new(), Vec::new());
        for bytes in &tick.frames {
            match PositionFrame::decode(bytes).unwrap() {
                PositionFrame::Names(names) => ids.extend(names.into_iter().map(|(_, id)| id)),
                PositionFrame::Places { places, .. } => {
                    xs.extend(places.iter().map(|place| (place.number, place.position[0])));
                }
            }
        }
        (ids, xs)
    }

    #[test]
    fn a_tick_tells_what_moved_since_the_last_and_names_once() {
        let (mut live, now) = (Live::default(), Instant::now());
        live.hear("a", at(1.0), WallMs(5), false, now);
        live.hear("b", at(2.0), WallMs(4), false, now);
        live.hear("a", at(3.0), WallMs(6), false, now);
        assert_eq!(told(&live.tick()), (vec!["a".into(), "b".into()], vec![(0, 3.0), (1, 2.0)]));
        assert!(!live.has_moved());
        live.hear("b", at(7.0), WallMs(7), false, now);
        assert_eq!(told(&live.tick()), (vec![], vec![(1, 7.0)]));
        assert_eq!(told(&live.whole()), (vec!["a".into(), "b".into()], vec![(0, 3.0), (1, 7.0)]));
        assert!(live.due(now + WRITTEN_EVERY).is_empty(), "whoever said it writes it down");
    }

    #[test]
    fn what_own_clients_move_is_written_down_at_rest_or_after_a_while() {
        let (mut live, start) = (Live::default(), Instant::now());
        let ms = Duration::from_millis;
        live.hear("a", at(1.0), WallMs(1), true, start);
        assert!(live.due(start + ms(100)).is_empty());
        assert_eq!(live.due(start + AT_REST).len(), 1);
        assert!(live.due(start + WRITTEN_EVERY).is_empty() && !live.has_unwritten());
        for n in 0..25 {
            live.hear("a", at(f64::from(n)), WallMs(2), true, start + ms(1000 + 100 * n as u64));
        }
        let due = live.due(start + ms(1000) + WRITTEN_EVERY);
        assert_eq!((due.len(), due[0].1.x), (1, 24.0));
        live.hear("a", at(9.0), WallMs(3), true, start + ms(5000));
        live.forget(start + ms(5000) + FORGOTTEN);
        assert!(live.has_unwritten(), "what is not written down is not forgotten");
        assert_eq!(live.due(start + ms(5000) + FORGOTTEN).len(), 1);
        live.forget(start + ms(5000) + FORGOTTEN);
        assert!(live.whole().frames.is_empty());
    }

    #[test]
    fn only_so_many_are_written_at_once_the_oldest_first() {
        let (mut live, start) = (Live::default(), Instant::now());
        for n in 0..WRITTEN as u64 + 3 {
            live.hear(&format!("{n:03}"), at(0.0), WallMs(1), true, start + Duration::from_micros(1000 - n));
        }
        let later = start + WRITTEN_EVERY;
        let due = live.due(later);
        assert_eq!((due.len(), due[0].0.as_str()), (WRITTEN, "034"));
        assert_eq!(live.due(later).len(), 3);
    }
}
