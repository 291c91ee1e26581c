//! Writes from the future. Their bundles are not taken until their time has come; whoever follows the state is told that
//! they wait, once for each bundle.

use std::collections::BTreeMap;

use super::excerpts::origin;
use super::owner::{Node, Turn};
use crate::crdt::{Member, Merge};
use crate::types::{ClockRefusal, Stamp, WallMs, limits};
use crate::wire::{Course, Message, Proven, Slot, Verified, checksum, write_in};

/// The bundles that were told of and whose time has not come.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    told: BTreeMap<Slot, Stamp>,
}

impl Deferred {
    /// Whether nothing was told of this bundle, and there is room to remember that it is now.
    fn is_news(&mut self, slot: Slot, clock: Stamp, wall: WallMs) -> bool {
        if self.told.len() >= limits::DEFERRED {
            self.told.retain(|_, clock| clock.wall() > wall.plus(limits::MAX_FUTURE));
        }
        self.told.len() < limits::DEFERRED && self.told.insert(slot, clock).is_none()
    }
}

impl Node {
    /// A bundle of a feed is too far ahead. One that no drift of clocks explains is not told of.
    pub(super) fn defer(&mut self, bundle: &Verified, why: ClockRefusal, turn: &mut Turn<'_>) {
        let slot = bundle.slot();
        let counts = bundle.header().course == Course::Feed && self.follows(slot.feed.topic);
        if !counts || bundle.writes().is_empty() || !self.is_deferred(slot, bundle.header().clock, why, turn) {
            return;
        }
        let items: Vec<_> = bundle.bytes().collect();
        let said = bundle.writes().iter().filter_map(|index| items.get(*index as usize));
        let members = said.filter_map(|item| {
            let message = Message::decode(item).ok()?;
            let origin = origin(slot, message.id, checksum(item));
            Some(Member::of(write_in(&message)?, origin).collect::<Vec<_>>())
        });
        let members: Vec<Member> = members.flatten().take(limits::DEFERRED_CHANGES).collect();
        self.tell_deferred(&members, turn);
    }

    /// The same of writes that came without their feed.
    pub(super) fn defer_proven(&mut self, proven: &Proven, why: ClockRefusal, turn: &mut Turn<'_>) {
        let slot = proven.header().slot();
        if !self.is_deferred(slot, proven.header().clock, why, turn) {
            return;
        }
        let said = proven.writes().iter();
        let members = said.flat_map(|said| Member::of(said.write.clone(), origin(slot, said.message, said.checksum)));
        let members: Vec<Member> = members.take(limits::DEFERRED_CHANGES).collect();
        self.tell_deferred(&members, turn);
    }

    fn is_deferred(&mut self, slot: Slot, clock: Stamp, why: ClockRefusal, turn: &Turn<'_>) -> bool {
        match why {
            ClockRefusal::FarFuture { .. } => self.deferred.is_news(slot, clock, turn.now.wall),
            ClockRefusal::DayAhead { .. } => false,
        }
    }

    fn tell_deferred(&mut self, members: &[Member], turn: &mut Turn<'_>) {
        let mut merge = Merge::new(&mut self.states.replica, &mut turn.tx, turn.now.wall);
        members.iter().for_each(|member| merge.defer(member));
    }
}
