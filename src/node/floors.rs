//! Floors of collections, as clients set them: what would stay below a version is counted, if every member is of one
//! mind. See `docs/floor.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::call::{Answer, CallRefusal};
use super::output::{Output, Stage};
use super::owner::{Node, Turn};
use super::state::Write;
use crate::crdt::{self, Counted, FLOOR, Floor, Merge, Wish, Wished};
use crate::types::{Hash, Mono, NodeId, Now, Stamp, Version, limits};
use crate::wire::{Category, FaultCode, Faults};

/// A client wants to set a floor, or to know what it would come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CountFloor {
    /// The collection.
    pub collection: String,
    /// Below what is older than this.
    pub older_than: Duration,
    /// Only count.
    pub dry: bool,
}

/// What a floor would come to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct FloorCount {
    /// The floor: below which version, and how many writes stay.
    pub floor: Floor,
    /// How many deletes, removals, prefix deletes and former floors go.
    pub tombstones: u64,
}

/// Why there is to be no floor.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FloorRefusal {
    #[error("the floor of {0} is not this node's to set; its owner sets it")]
    Denied(String),
    #[error("the floor is at {0} already, and only rises")]
    NotAbove(Version),
    #[error("a floor is being counted already; ask again in a moment")]
    Busy,
    #[error("only a floor that was just counted here can be set; `metanode state floor` counts it and sets it")]
    NotCounted,
    #[error("writes below it came while it was counted; ask again")]
    Late,
    #[error("{} have another state, or have not spoken since this node started; wait until all hold the same, or for \
             three days of silence", names(.0))]
    Members(Vec<NodeId>),
}

fn names(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")
}

/// What a node said of its state when it last spoke.
#[derive(Clone, Copy, Debug)]
struct Said {
    at: Mono,
    root: Hash,
    /// It was this node's.
    alike: bool,
}

/// What others said of their state, and who waits for a count.
#[derive(Debug, Default)]
pub(super) struct FloorDesk {
    said: BTreeMap<NodeId, Said>,
    asked: Option<(u64, String)>,
}

impl FloorDesk {
    /// A node speaks: of its state, or that it has none.
    pub fn on_beat(&mut self, node: NodeId, root: Option<Hash>, own: Hash, now: Mono) {
        let Some(root) = root else {
            self.said.remove(&node);
            return;
        };
        if self.said.len() >= limits::KNOWN_PEERS && !self.said.contains_key(&node) {
            let oldest = self.said.iter().min_by_key(|(_, said)| said.at).map(|(node, _)| *node);
            oldest.map(|node| self.said.remove(&node));
        }
        self.said.insert(node, Said { at: now, root, alike: root == own });
    }

    /// Nodes heard from in a time that hold something else, as far as they said.
    fn apart(&self, own: Hash, within: Duration, now: Mono) -> impl Iterator<Item = NodeId> {
        let heard = self.said.iter().filter(move |(_, said)| said.at + within >= now);
        let apart = heard.filter(move |(_, said)| {
            let lately = said.alike && said.at + limits::FLOOR_ALIKE >= now;
            said.root != own && !lately
        });
        apart.map(|(node, _)| *node)
    }
}

impl Node {
    /// A client wants a floor. It is answered when that is counted.
    pub(super) fn on_count_floor(&mut self, id: u64, count: CountFloor, turn: &mut Turn<'_>) {
        let below = turn.now.wall.minus(count.older_than);
        let below = Version { stamp: Stamp::new(below.0, 0), digest: [0; 16] };
        if let Err(refusal) = self.may_count(&count, below, turn) {
            return turn.out.push((Stage::Now, Output::Reply { id, answer: Err(refusal) }));
        }
        self.floors.asked = Some((id, count.collection.clone()));
        let mut merge = Merge::new(&mut self.states.replica, &mut turn.tx, turn.now.wall);
        merge.count_floor(&count.collection, below, !count.dry);
    }

    fn may_count(&self, count: &CountFloor, below: Version, turn: &Turn<'_>) -> Result<(), CallRefusal> {
        if self.stopping {
            return Err(CallRefusal::Stopping);
        }
        if !self.follows(Category::Data) {
            let mut faults = Faults::default();
            faults.add(FaultCode::NotAuthorised, "/kind", "a node of this type does not follow Data and has no state");
            return Err(CallRefusal::Invalid { index: 0, faults });
        }
        let name = &count.collection;
        if !crdt::may_write(name, FLOOR, self.id, &turn.tx) {
            return Err(FloorRefusal::Denied(name.clone()).into());
        }
        if let Some(floor) = self.states.replica.floor(name).filter(|floor| floor.version >= below) {
            return Err(FloorRefusal::NotAbove(floor.version).into());
        }
        if self.floors.asked.is_some() {
            return Err(FloorRefusal::Busy.into());
        }
        // Who only wants to know what would go need not wait for others.
        if count.dry { Ok(()) } else { self.of_one_mind(turn.now) }
    }

    /// What clients write to the register of a floor is one that was counted here, and nothing else.
    pub(super) fn check_floor(&self, write: &Write) -> Result<(), FloorRefusal> {
        let counted = |wish: &Wish| match &wish.wished {
            Wished::Put(value) => {
                Floor::read(value).is_some_and(|floor| self.states.replica.has_counted(&write.collection, &floor))
            }
            Wished::Delete
            | Wished::DeletePrefix
            | Wished::Add(_)
            | Wished::Remove(_)
            | Wished::Assign(_)
            | Wished::Count(_) => false,
        };
        let fits = write.wishes.iter().filter(|wish| wish.path == FLOOR).all(counted);
        if fits { Ok(()) } else { Err(FloorRefusal::NotCounted) }
    }

    /// Whether every member heard from lately holds what this node holds.
    fn of_one_mind(&self, now: Now) -> Result<(), CallRefusal> {
        let (own, within) = (self.states.replica.root(), self.setup.floor_waits);
        let mut apart: Vec<NodeId> = self.floors.apart(own, within, now.mono).collect();
        let since = now.wall.minus(within);
        let silent = self.peers.seen_since(since).filter(|peer| !self.beats.has_heard(*peer));
        apart.extend(silent.filter(|peer| *peer != self.id));
        apart.sort_unstable();
        apart.dedup();
        if apart.is_empty() { Ok(()) } else { Err(FloorRefusal::Members(apart).into()) }
    }

    /// Goes on with what is to be done about floors, and answers whom it was done for.
    pub(super) fn tend_floors(&mut self, turn: &mut Turn<'_>) {
        if self.states.replica.is_at_rest() {
            return;
        }
        let mut merge = Merge::new(&mut self.states.replica, &mut turn.tx, turn.now.wall);
        let counted = merge.tend_floors(limits::STEP_SWEEP);
        let at_rest = self.states.replica.is_at_rest();
        let Some((id, name)) = self.floors.asked.take() else { return };
        let done = counted.into_iter().find(|(of, _)| *of == name).map(|(_, done)| done);
        let answer = match done {
            Some(Counted { late: true, .. }) => Err(FloorRefusal::Late.into()),
            Some(Counted { floor, tombstones, late: false }) => Ok(Answer::Floor(FloorCount { floor, tombstones })),
            // Another floor came first.
            None if at_rest => Err(FloorRefusal::Busy.into()),
            None => return self.floors.asked = Some((id, name)),
        };
        // Once it is said, others may have to be handed its roll.
        turn.out.push((Stage::Flushed, Output::Reply { id, answer }));
    }

    /// A node spoke of its state.
    pub(super) fn note_state_of(&mut self, node: NodeId, root: Option<Hash>, now: Mono) {
        let own = self.states.replica.root();
        self.floors.on_beat(node, root, own, now);
    }
}
