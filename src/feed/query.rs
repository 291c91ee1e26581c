//! Reading what is kept: by position, by id, by conversation. Pure functions of a view.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::feeds::Feeds;
use super::log::{Log, Run, Stored, log_key, span_key};
use crate::types::storage::{Key, Table, View};
use crate::types::{Incarnation, MessageId, NodeId, Stamp, WallMs, limits};
use crate::wire::{Bundle, Category, Filter, Hops, Message, Priority, Proof, Signature, Slot, Verified};

/// One message as it is kept: its bytes, and what the bundle around it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in this node's log.
    pub position: u64,
    /// When it arrived here.
    pub arrived: WallMs,
    /// Who says it, in which life.
    pub author: NodeId,
    pub incarnation: Incarnation,
    /// Its bundle's number in the feed.
    pub sequence: u64,
    /// As its author ranked it.
    pub priority: Priority,
    /// The bundle's signature.
    pub signature: Signature,
    /// How the bundle's body is packed.
    pub codec: crate::wire::Codec,
    /// The way it came, if it came directly.
    pub hops: Option<Hops>,
    /// The signed bytes of the message.
    pub bytes: Bytes,
}

impl Entry {
    /// The message. None if the stored bytes are damaged.
    pub fn message(&self) -> Option<Message<'_>> {
        Message::decode(&self.bytes).ok()
    }
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest message kept.
    Beginning,
    /// With what comes from now on.
    End,
    /// With this position.
    Position(u64),
    /// With the last so many.
    Last(u64),
    /// With what arrived from this time on.
    Since(WallMs),
}

/// One page of a reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What was found, in order of position.
    pub entries: Vec<Entry>,
    /// Where to read on.
    pub next: u64,
    /// Messages between where reading was to start and the oldest one kept.
    pub missed: u64,
}

/// The position a reading starts at.
pub fn start_position(start: Start, view: &dyn View) -> u64 {
    let (first, end) = bounds(view);
    match start {
        Start::Beginning => first,
        Start::End => end,
        Start::Position(position) => position.min(end),
        Start::Last(count) => end.saturating_sub(count).max(first),
        Start::Since(time) => since(time, first, end, view),
    }
}

/// The first position kept and the position after the last.
pub fn bounds(view: &dyn View) -> (u64, u64) {
    let end = Log::load(view).end();
    (run_from(0, view).and_then(|run| first_kept(&run, view)).unwrap_or(end), end)
}

/// The position of the first message of a run that retention has not taken.
fn first_kept(run: &Run, view: &dyn View) -> Option<u64> {
    let mut first = None;
    run.bundles_from(run.position, view, &mut |_, stored| {
        first = Some(stored.position);
        ControlFlow::Break(())
    });
    first
}

fn run_from(position: u64, view: &dyn View) -> Option<Run> {
    let mut found = None;
    view.scan(&log_key(position), &Key::new(Table::Log, &[]).after_prefix(), &mut |key, value| {
        found = Run::read(key, value);
        ControlFlow::Break(())
    });
    found
}

/// The run whose messages include `position`, or the first after it.
fn run_at(position: u64, view: &dyn View) -> Option<Run> {
    Run::at(position, view).or_else(|| run_from(position, view))
}

/// The first position that arrived at `time` or later: a binary search, since arrival times grow with positions.
fn since(time: WallMs, first: u64, end: u64, view: &dyn View) -> u64 {
    let (mut low, mut high) = (first, end);
    while low < high {
        let middle = low + (high - low) / 2;
        match run_at(middle, view) {
            Some(run) if run.arrived < time => low = run.end().max(middle + 1),
            Some(run) => high = run.position.min(middle),
            None => high = middle,
        }
    }
    low.clamp(first, end)
}

/// Every bundle kept, in the order of the log, beginning with the one that has `position` in it.
pub fn bundles_from(position: u64, view: &dyn View, visit: &mut dyn FnMut(Slot, Stored) -> ControlFlow<()>) {
    runs_from(position, view, &mut |run| {
        let mut flow = ControlFlow::Continue(());
        run.bundles_from(position, view, &mut |slot, stored| {
            flow = visit(slot, stored);
            flow
        });
        flow
    });
}

fn runs_from(position: u64, view: &dyn View, visit: &mut dyn FnMut(&Run) -> ControlFlow<()>) {
    let Some(first) = run_at(position, view) else { return };
    view.scan(&log_key(first.position), &Key::new(Table::Log, &[]).after_prefix(), &mut |key, value| {
        Run::read(key, value).map_or(ControlFlow::Continue(()), |run| visit(&run))
    });
}

/// How much a page may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Messages.
    pub messages: usize,
    /// Bytes of messages; one is always read.
    pub bytes: usize,
}

impl Room {
    /// So many messages, and no more than [`limits::PAGE_BYTES`].
    pub fn of(messages: usize) -> Room {
        Room { messages, bytes: limits::PAGE_BYTES }
    }

    /// Takes the room for a message. False when there is not enough.
    fn take(&mut self, entry: &Entry, first: bool) -> bool {
        let fits = self.messages > 0 && (first || entry.bytes.len() <= self.bytes);
        if fits {
            self.messages -= 1;
            self.bytes = self.bytes.saturating_sub(entry.bytes.len());
        }
        fits
    }
}

/// Reads messages that match, from a position on, as many as there is room for. Expired messages and those that break a
/// rule of their kind are passed over.
pub fn page(from: u64, mut room: Room, filter: &Filter, wall: WallMs, view: &dyn View) -> Page {
    let mut page = Page { entries: Vec::new(), next: from, missed: 0 };
    let mut reached = None;
    runs_from(from, view, &mut |run| {
        let wanted_feed = filter.topic_and_author(run.slot.feed.topic, run.slot.feed.author);
        if !wanted_feed {
            reached = reached.or_else(|| first_kept(run, view));
            page.next = page.next.max(run.end());
            return ControlFlow::Continue(());
        }
        let mut flow = ControlFlow::Continue(());
        run.bundles_from(from, view, &mut |slot, stored| {
            reached = reached.or(Some(stored.position));
            flow = page.take(&stored, slot.feed.topic, from, &mut room, filter, wall);
            flow
        });
        if flow.is_continue() {
            page.next = page.next.max(run.end());
        }
        if room.messages == 0 { ControlFlow::Break(()) } else { flow }
    });
    page.missed = reached.map_or(0, |first| first.saturating_sub(from));
    page
}

impl Page {
    /// Takes what is wanted of a bundle, until the page is full.
    fn take(
        &mut self,
        stored: &Stored,
        topic: Category,
        from: u64,
        room: &mut Room,
        filter: &Filter,
        wall: WallMs,
    ) -> ControlFlow<()> {
        for entry in entries(stored).into_iter().filter(|e| e.position >= from) {
            if !wanted(&entry, topic, filter, wall) {
                continue;
            }
            if !room.take(&entry, self.entries.is_empty()) {
                self.next = entry.position;
                return ControlFlow::Break(());
            }
            self.next = entry.position + 1;
            self.entries.push(entry);
        }
        ControlFlow::Continue(())
    }
}

fn wanted(entry: &Entry, topic: Category, filter: &Filter, wall: WallMs) -> bool {
    entry.message().is_some_and(|m| filter.matches(topic, &m) && m.expires.is_none_or(|at| at > wall))
}

/// The messages of one bundle, without those that were refused.
fn entries(stored: &Stored) -> Vec<Entry> {
    let Ok(bundle) = Bundle::decode(stored.wire.clone()) else { return Vec::new() };
    let Ok(body) = bundle.unpack() else { return Vec::new() };
    let kept = bundle.divide(&body).enumerate().filter(|(i, _)| stored.refused.binary_search(&(*i as u32)).is_err());
    kept.map(|(index, bytes)| entry(stored, &bundle, index, bytes)).collect()
}

fn entry(stored: &Stored, bundle: &Bundle, index: usize, bytes: Bytes) -> Entry {
    let header = bundle.header();
    Entry {
        position: stored.position + index as u64,
        arrived: stored.arrived,
        author: header.feed.author,
        incarnation: header.feed.incarnation,
        sequence: header.sequence,
        priority: header.priority,
        signature: bundle.signed_header().signature,
        codec: bundle.codec(),
        hops: stored.hops.clone(),
        bytes,
    }
}

/// A bundle's messages as entries for readers who follow live: for ephemeral bundles, which have no position.
pub fn ephemeral_entries(bundle: &Verified, arrived: WallMs) -> Vec<Entry> {
    let stored = Stored { position: 0, arrived, refused: Vec::new(), wire: bundle.wire().clone(), hops: None };
    let refused = |index: usize| bundle.refused().binary_search_by_key(&(index as u32), |(i, _)| *i).is_ok();
    let kept = bundle.bytes().enumerate().filter(|(i, _)| !refused(*i));
    kept.map(|(index, bytes)| entry(&stored, bundle.bundle(), index, bytes)).collect()
}

/// A message found by its id, with the proof that makes it stand alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The message.
    pub entry: Entry,
    /// Its proof.
    pub proof: Proof,
}

/// Finds a message by id: among the runs whose time covers the id's.
pub fn find(id: MessageId, view: &dyn View) -> Option<Found> {
    let stamp = id.stamp();
    // A run ends at most so long after its first message.
    let earliest = Stamp::new(stamp.ms().saturating_sub(limits::BUNDLE_SPAN.as_millis() as u64), 0);
    let mut found = None;
    view.scan_back(&span_key(earliest, 0), &span_key(Stamp(stamp.0.saturating_add(1)), 0), &mut |key, value| {
        let position = key.get(9..).and_then(|p| p.try_into().ok()).map(u64::from_be_bytes);
        let closed = value.as_ref().try_into().map_or(Stamp(0), |clock| Stamp(u64::from_be_bytes(clock)));
        if let Some(position) = position.filter(|_| closed >= stamp) {
            found = Run::at(position, view).and_then(|run| find_in_run(&run, id, view));
        }
        if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}

/// The bundles of a run are in the order of their clocks: a binary search.
fn find_in_run(run: &Run, id: MessageId, view: &dyn View) -> Option<Found> {
    let slot = |index: u64| Slot { sequence: run.slot.sequence + index, ..run.slot };
    let (mut low, mut high) = (0, u64::from(run.bundles));
    while low < high {
        let middle = low + (high - low) / 2;
        match Feeds::signed_header(slot(middle), view) {
            Some(signed) if signed.header.clock >= id.stamp() => high = middle,
            Some(_) | None => low = middle + 1,
        }
    }
    find_in(slot(low), id, view)
}

fn find_in(slot: Slot, id: MessageId, view: &dyn View) -> Option<Found> {
    let stored = Stored::load(slot, view)?;
    let bundle = Bundle::decode(stored.wire.clone()).ok()?;
    let items: Vec<Bytes> = bundle.divide(&bundle.unpack().ok()?).collect();
    let index = items.iter().position(|item| Message::decode(item).is_ok_and(|m| m.id == id))?;
    let proof = bundle.prove(&items, index)?;
    Some(Found { entry: entry(&stored, &bundle, index, items.get(index)?.clone()), proof })
}

/// The message at a position with its proof; none when it was let go, or was refused.
pub fn found_at(position: u64, view: &dyn View) -> Option<Found> {
    let stored = stored_at(position, view)?;
    let bundle = Bundle::decode(stored.wire.clone()).ok()?;
    let items: Vec<Bytes> = bundle.divide(&bundle.unpack().ok()?).collect();
    let index = usize::try_from(position.checked_sub(stored.position)?).ok()?;
    let item = items.get(index)?.clone();
    let refused = stored.refused.binary_search(&(index as u32)).is_ok();
    let proof = bundle.prove(&items, index).filter(|_| !refused)?;
    Some(Found { entry: entry(&stored, &bundle, index, item), proof })
}

/// Those of the messages at these positions that are kept; every bundle is unpacked once.
pub fn entries_at(positions: &BTreeSet<u64>, view: &dyn View) -> Vec<Entry> {
    let mut found = Vec::with_capacity(positions.len());
    let mut wanted = positions.iter().copied().peekable();
    while let Some(position) = wanted.next() {
        let bundle = stored_at(position, view).map(|stored| entries(&stored)).unwrap_or_default();
        let last = bundle.last().map_or(position, |entry| entry.position);
        while wanted.next_if(|next| *next <= last).is_some() {}
        found.extend(bundle.into_iter().filter(|entry| positions.contains(&entry.position)));
    }
    found
}

/// The bundle with this position in it.
pub fn stored_at(position: u64, view: &dyn View) -> Option<Stored> {
    let mut found = None;
    Run::at(position, view)?.bundles_from(position, view, &mut |_, stored| {
        found = (stored.position <= position).then_some(stored);
        ControlFlow::Break(())
    });
    found
}

/// The messages of a conversation: the one whose id is the correlation id, and all that carry it, by id, as many as
/// there is room for; and whether there are more.
pub fn conversation(correlation: MessageId, mut room: Room, view: &dyn View) -> (Vec<Entry>, bool) {
    let mut entries: Vec<Entry> = find(correlation, view).map(|found| found.entry).into_iter().collect();
    let mut more = entries.first().is_some_and(|entry| !room.take(entry, true));
    let start = Key::new(Table::Correlation, &[&correlation.0]);
    view.scan(&start, &start.after_prefix(), &mut |_, value| {
        let position = value.as_ref().try_into().map(u64::from_be_bytes).unwrap_or(u64::MAX);
        let mut found = None;
        if let Some(run) = Run::at(position, view) {
            run.bundles_from(position, view, &mut |_, stored| {
                found = self::entries(&stored).into_iter().find(|e| e.position == position);
                ControlFlow::Break(())
            });
        }
        more |= found.as_ref().is_some_and(|entry| !room.take(entry, entries.is_empty()));
        if more {
            return ControlFlow::Break(());
        }
        entries.extend(found);
        ControlFlow::Continue(())
    });
    (entries, more)
}

/// The conversations of a bundle's messages, for removing what leads to them.
pub(super) fn correlations(bundle: &Bundle) -> Vec<(MessageId, MessageId)> {
    let Ok(body) = bundle.unpack() else { return Vec::new() };
    let messages = bundle.divide(&body).filter_map(|item| {
        let message = Message::decode(&item).ok()?;
        Some((message.correlation?, message.id))
    });
    messages.collect()
}
