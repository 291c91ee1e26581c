//! The floor of a collection: below a version only the writes of a set count, which is named by its count and root (see
//! `roll`). The rules are in `docs/floor.md`.
//!
//! All floors that are said are known (`said`); which of them counts here is decided in one place (`rise`): the highest
//! whose roll is at hand, counted from what is retained or taken from a peer. What it lets go is let go in `sink`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::book;
use super::row::{Row, Status};
use super::said::Said;
use super::unit::{Part, Unit};
use crate::types::storage::View;
use crate::types::{Hash, Version, limits};
use crate::wire::kind::Json;
use crate::wire::kind::state::Op;

/// Where the floor of a collection is said.
pub const FLOOR: &str = "_floor";

/// Below a version only the writes of a set count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Below this.
    pub version: Version,
    /// How many writes are in the set.
    pub count: u64,
    /// The hash over them, in their order.
    pub root: Hash,
}

impl Floor {
    /// The value of the register.
    pub fn json(&self) -> Json {
        Json::from(&serde_json::json!({ "version": self.version, "count": self.count, "root": self.root }))
    }

    /// What a value of the register says, if that is a floor.
    pub fn read(value: &Json) -> Option<Floor> {
        let floor: Floor = serde_json::from_str(value.as_str()).ok()?;
        (floor.count <= limits::FLOOR_WRITES).then_some(floor)
    }

    /// What a write of the register says, if that is a floor.
    pub(super) fn said(row: &Row) -> Option<Floor> {
        let Op::Set { value } = &row.body.op else { return None };
        let floor = Floor::read(value)?;
        // What is not written yet cannot have been counted.
        (floor.version < row.version).then_some(floor)
    }
}

/// The floors of a collection, as a node has come to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Floors {
    /// The one that counts here.
    pub adopted: Option<Floor>,
    /// The highest one that was said, if that is higher and this node has not come to it.
    pub pending: Option<Floor>,
}

/// Whether a unit is where the floor of its collection is said.
pub(super) fn is_floor(unit: &Unit) -> bool {
    unit.path == FLOOR && unit.part == Part::Register
}

/// Whether a retained write below a floor is in its set.
pub(super) fn stays(unit: &Unit, row: &Row) -> bool {
    let stands = match row.body.op {
        Op::Set { .. } | Op::Count { .. } | Op::Add { .. } => row.status == Status::Kept,
        Op::Delete | Op::Remove | Op::DeletePrefix => false,
    };
    !is_floor(unit) && (stands || super::access::is_rules(unit))
}

/// The floors of a collection by the store: the one that counts, and a higher one that is said.
pub fn floors(collection: &str, view: &dyn View) -> Floors {
    let adopted = adopted(collection, view);
    let highest = Said::load(collection, view).highest();
    Floors { adopted, pending: highest.filter(|floor| Some(*floor) > adopted) }
}

/// The floor that counts, by the store.
pub(super) fn adopted(collection: &str, view: &dyn View) -> Option<Floor> {
    book::stored(collection, view)?.adopted.map(|adopted| adopted.floor)
}
