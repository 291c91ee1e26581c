//! A villain that makes up floors and hands over rolls that are none.

use super::rng::Rng;
use super::villain::Villain;
use super::workload;
use crate::crdt::{FLOOR, Floor, RollRoot, Root};
use crate::types::{Hash, Stamp, Version, WallMs, limits};
use crate::wire::kind::state::{Change, CollectionWrite, Op};
use crate::wire::{CollectionHead, Draft, FloorName, ListedCollection, Payload, RollEntry, StateResponse, Verified};

impl Villain {
    /// It notes which floors are said, and which root others have.
    pub(super) fn overhear(&mut self, bundle: &Verified) {
        for message in bundle.messages() {
            let payload = message.known_kind().and_then(|kind| Payload::decode(kind, message.payload).ok());
            if let Some(Payload::Heartbeat(beat)) = &payload {
                self.root = beat.state_root.or(self.root);
            }
            let Some(Payload::CollectionWrite(write)) = payload else { continue };
            for change in write.changes.iter().filter(|change| change.path == FLOOR) {
                if let Op::Set { value } = &change.op
                    && let Some(Floor { version, count, root }) = Floor::read(value)
                {
                    self.floors.insert(write.collection.clone(), FloorName { version, count, root });
                }
            }
        }
    }

    /// Collections, with floors that it says it has come to.
    pub(super) fn false_list(&self, names: Vec<&str>, more: bool) -> StateResponse {
        let one = |name: &str| {
            let head = CollectionHead { name: name.into(), retained: 7, root: Hash([9; 32]) };
            ListedCollection { head, floor: self.floors.get(name).copied() }
        };
        StateResponse::Collections { listed: names.into_iter().map(one).collect(), more }
    }

    /// As many entries as the floor has, in order, and with the floor's root if that were a sum: the last one balances
    /// the others. Of a floor without any writes it is the truth.
    pub(super) fn balanced_roll(&self, floor: &FloorName, rng: &mut Rng) -> StateResponse {
        let count = floor.count.min(limits::ROLL_ENTRIES as u64);
        let version =
            |n: u64| Version { stamp: Stamp(floor.version.stamp.0.saturating_sub(count - n)), digest: [0; 16] };
        let digest = |rng: &mut Rng| Hash([rng.below(250) as u8; 32]);
        let mut entries: Vec<RollEntry> =
            (0..count).map(|n| RollEntry { version: version(n), digest: digest(rng) }).collect();
        if let Some((last, others)) = entries.split_last_mut() {
            let sum = others.iter().fold(Root::default(), |sum, entry| sum.with(entry.digest));
            last.digest = Root::from(floor.root).minus(sum).hash();
        }
        StateResponse::Rolled { entries, more: false }
    }

    /// A floor just below now, which it says it has come to. Nobody can come to most of them; to one of no writes anybody
    /// can.
    pub(super) fn made_up_floor(&mut self, wall: WallMs, rng: &mut Rng) -> Draft {
        let version = Version { stamp: Stamp::new(wall.0 - rng.within(1, 4_000), 0), digest: [0; 16] };
        let floor = if rng.chance(150) {
            RollRoot::default().floor(version)
        } else {
            Floor { version, count: rng.within(1, 4), root: Hash([rng.below(250) as u8; 32]) }
        };
        let change = Change { path: FLOOR.into(), over: Vec::new(), op: Op::Set { value: floor.json() } };
        let collection = workload::collection(rng);
        let Floor { version, count, root } = floor;
        self.floors.insert(collection.clone(), FloorName { version, count, root });
        let write = CollectionWrite { collection, client: None, changes: vec![change] };
        Draft::new(&Payload::CollectionWrite(write))
    }
}
