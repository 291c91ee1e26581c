//! A write as it is kept, and what it counts for.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::index::{self, Entry};
use super::unit::Unit;
use crate::types::row::{decode, decode_first, encode};
use crate::types::storage::View;
use crate::types::{Domain, Hash, Incarnation, MessageId, NodeId, Version};
use crate::wire::kind::state::{Change, CollectionWrite, Op};

/// Of a row's first byte: what the write counts for, and which numbers follow.
const STATUS: u8 = 0x0F;
const ARRIVED: u8 = 0x10;
const MASKED: u8 = 0x20;

/// What a write that is known counts for. Values are for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Status {
    /// It stands: readers see it.
    Kept = 1,
    /// Readers do not see it, but it still decides what they see: removals from a set, and former rules of access.
    Hollow = 2,
    /// Something later stands in its place.
    Superseded = 3,
    /// Its author said two things in one place at or before it.
    Masked = 4,
    /// Its author may not write there.
    Denied = 5,
}

impl Status {
    /// What the row of a write says it counts for.
    pub(super) fn of_row(value: &[u8]) -> Option<Status> {
        let byte = value.first()? & STATUS;
        let all = [Status::Kept, Status::Hollow, Status::Superseded, Status::Masked, Status::Denied];
        all.into_iter().find(|status| *status as u8 == byte)
    }

    /// Whether the root counts it.
    pub fn is_retained(self) -> bool {
        matches!(self, Status::Kept | Status::Hollow)
    }

    /// Whether it may stand if nothing later does.
    pub fn is_eligible(self) -> bool {
        !matches!(self, Status::Masked | Status::Denied)
    }
}

/// Where a write comes from: what its envelope says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    pub author: NodeId,
    pub incarnation: Incarnation,
    /// The bundle's number in its feed.
    pub sequence: u64,
    pub message: MessageId,
    /// The digest of the message's bytes.
    pub checksum: Hash,
}

/// A change and where it comes from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Body {
    pub author: NodeId,
    pub incarnation: Incarnation,
    pub sequence: u64,
    pub message: MessageId,
    pub client: Option<String>,
    pub over: Vec<Version>,
    pub op: Op,
}

/// Where a retained write came from: author, life, bundle, message. None if it is not there any more.
pub fn origin_of(collection: &str, entry: &Entry, view: &dyn View) -> Option<(NodeId, Incarnation, u64, MessageId)> {
    let unit = index::find(collection, entry, view)?;
    let body = Row::decode(entry.version, &view.get(&unit.row(entry.version))?)?.body;
    Some((body.author, body.incarnation, body.sequence, body.message))
}

/// One change of one write, as it is merged.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    pub(super) unit: Unit,
    pub(super) version: Version,
    pub(super) body: Body,
}

impl Member {
    /// The changes of a write, each by itself.
    pub fn of(write: CollectionWrite, origin: Origin) -> impl Iterator<Item = Member> {
        let CollectionWrite { collection, client, changes } = write;
        changes.into_iter().zip(0..).map(move |(change, index)| Member {
            unit: Unit::of(&collection, &change, origin.author, origin.incarnation),
            version: Version::of(origin.message.stamp(), origin.author, origin.checksum, index),
            body: Body::new(change, client.clone(), origin),
        })
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether there is a row of it that counts, or may count again.
    pub fn is_known(&self, view: &dyn View) -> bool {
        let row = view.get(&self.unit.row(self.version));
        row.and_then(|row| Status::of_row(&row)).is_some_and(|status| status != Status::Masked)
    }

    /// What the root counts it as, while it is retained.
    pub fn digest(&self) -> Hash {
        digest(&self.unit, self.version, &encode(&self.body))
    }

    /// Where it belongs: collection and path.
    pub fn place(&self) -> (&str, &str) {
        (&self.unit.collection, &self.unit.path)
    }
}

impl Body {
    fn new(Change { over, op, .. }: Change, client: Option<String>, origin: Origin) -> Body {
        let Origin { author, incarnation, sequence, message, .. } = origin;
        Body { author, incarnation, sequence, message, client, over, op }
    }

    /// What [`encode`] wrote, read as `serde` would; but the two ids are there as they are, not to be asked for byte by
    /// byte, which is a sixth of a read of the past.
    fn decode(raw: &[u8]) -> Option<Body> {
        let (author, rest) = raw.split_first_chunk()?;
        let ((incarnation, sequence), rest) = decode_first(rest)?;
        let (message, rest) = rest.split_first_chunk()?;
        let (client, over, op) = decode(rest)?;
        Some(Body { author: NodeId(*author), incarnation, sequence, message: MessageId(*message), client, over, op })
    }
}

/// A row: a version of a unit, what it counts for, and the write.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    pub version: Version,
    pub status: Status,
    /// The number of the event that came next when the write came; none of writes that came before this was kept.
    pub arrived: Option<u64>,
    /// The same for when it was masked.
    pub masked: Option<u64>,
    pub body: Body,
    /// The body's bytes.
    pub raw: Bytes,
}

impl Row {
    /// The row of a write.
    pub fn new(version: Version, status: Status, body: Body) -> Row {
        let raw = encode(&body).into();
        Row { version, status, arrived: None, masked: None, body, raw }
    }

    /// Reads a row and where it is; none if the key is not one of a write.
    pub fn read(key: &[u8], value: &Bytes) -> Option<(Unit, Row)> {
        let (unit, version) = Unit::read(key).filter(|(unit, _)| unit.part.has_writes())?;
        Row::decode(version, value).map(|row| (unit, row))
    }

    /// Reads a row's value.
    pub fn decode(version: Version, value: &Bytes) -> Option<Row> {
        let (first, rest) = value.split_first()?;
        let (arrived, rest) = number(first & ARRIVED != 0, rest)?;
        let (masked, raw) = number(first & MASKED != 0, rest)?;
        let body = Body::decode(raw)?;
        Some(Row { version, status: Status::of_row(value)?, arrived, masked, body, raw: value.slice_ref(raw) })
    }

    /// The row's value, as it counts from now on and since when it is masked.
    pub fn encode(&self, status: Status, masked: Option<u64>) -> Vec<u8> {
        let numbers = usize::from(self.arrived.is_some()) + usize::from(masked.is_some());
        let mut value = Vec::with_capacity(1 + 8 * numbers + self.raw.len());
        let follows = |number: Option<u64>, flag| number.map_or(0, |_| flag);
        value.push(status as u8 | follows(self.arrived, ARRIVED) | follows(masked, MASKED));
        for number in [self.arrived, masked].into_iter().flatten() {
            value.extend_from_slice(&number.to_be_bytes());
        }
        value.extend_from_slice(&self.raw);
        value
    }

    /// What the root counts it as.
    pub fn digest(&self, unit: &Unit) -> Hash {
        digest(unit, self.version, &self.raw)
    }
}

fn digest(unit: &Unit, version: Version, raw: &[u8]) -> Hash {
    Domain::Member.hash(&[&unit.bytes(), &version.to_bytes(), raw])
}

/// A number of a row, if there is one, and what follows it.
fn number(is_there: bool, rest: &[u8]) -> Option<(Option<u64>, &[u8])> {
    if !is_there {
        return Some((None, rest));
    }
    let (number, rest) = rest.split_first_chunk()?;
    Some((Some(u64::from_be_bytes(*number)), rest))
}
