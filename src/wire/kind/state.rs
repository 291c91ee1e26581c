//! Data: a write to replicated state.
//!
//! Pure. What a write means when others wrote to the same place is decided where state is merged, not here. Who wrote,
//! in which life and bundle, when and under which id is the envelope's; none of it is said again.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{Checks, Rules};
use super::value::Json;
use crate::types::{NodeId, Version, limits};
use crate::wire::fault::Faults;

/// What is done at a path. The first two concern its register, the next its counter, the last but one its set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// The register has this value.
    Set {
        /// The value, at most 64 KiB of JSON.
        value: Json,
    },
    /// The register has no value.
    Delete,
    /// What the author has added to the counter in this life of its, and what it has taken away, both in all.
    Count {
        /// Added in all.
        plus: u64,
        /// Taken away in all.
        minus: u64,
    },
    /// The set has this element, in place of those that `over` names.
    Add {
        /// The element, at most 4 KiB of JSON.
        element: Json,
    },
    /// The set does not have the elements that `over` names.
    Remove,
    /// Nothing older is at the path or below it.
    DeletePrefix,
}

/// What is done at one path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Where: 1 to 32 segments between slashes.
    pub path: String,
    /// The versions its author had seen there and takes the place of.
    #[serde(default)]
    pub over: Vec<Version>,
    /// What.
    pub op: Op,
}

/// Cells of replicated state are written, all at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectionWrite {
    /// Name of the collection; one with `@` and a node's id at its end is that node's.
    pub collection: String,
    /// Which client of the author wrote, if it says.
    #[serde(default)]
    pub client: Option<String>,
    /// 1 to 64 changes, each of another cell.
    pub changes: Vec<Change>,
}

/// The node that a collection belongs to; none if it is everyone's.
pub fn owner(collection: &str) -> Option<NodeId> {
    collection.split_once('@')?.1.parse().ok()
}

/// What is wrong with a collection's name, if anything.
pub fn collection_fault(name: &str) -> Option<&'static str> {
    let (bare, of) = name.split_once('@').map_or((name, None), |(bare, of)| (bare, Some(of)));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if bare.is_empty() || name.len() > limits::COLLECTION_BYTES || !bare.chars().all(plain) {
        return Some("a collection is named with letters, digits, `.`, `_` and `-`");
    }
    let canonical = of.is_none_or(|of| of.parse::<NodeId>().is_ok_and(|id| id.to_string() == of));
    (!canonical).then_some("after `@` stands the id of the node it belongs to")
}

/// What is wrong with a path, if anything.
pub fn path_fault(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.len() > limits::PATH_BYTES {
        return Some("a path has 1 to 512 bytes");
    }
    if path.split('/').count() > limits::PATH_SEGMENTS {
        return Some("a path has at most 32 segments");
    }
    if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Some("a segment of a path is not empty, `.` or `..`");
    }
    path.contains(char::is_control).then_some("a path has no control characters")
}

impl Rules for Op {
    fn check(&self, faults: &mut Faults) {
        match self {
            Op::Set { value } => {
                faults.fits("set/value", value.as_str().len(), limits::REGISTER_BYTES);
            }
            Op::Add { element } => {
                faults.fits("add/element", element.as_str().len(), limits::ELEMENT_BYTES);
            }
            Op::Delete | Op::Count { .. } | Op::Remove | Op::DeletePrefix => {}
        }
    }
}

impl Rules for Change {
    fn check(&self, faults: &mut Faults) {
        let fault = path_fault(&self.path);
        let named = match &self.op {
            Op::Set { .. } | Op::Delete => self.over.len() <= 2,
            Op::Count { .. } => self.over.is_empty(),
            Op::Remove => !self.over.is_empty(),
            Op::Add { .. } | Op::DeletePrefix => true,
        };
        faults
            .must(fault.is_none(), "path", fault.unwrap_or_default())
            .fits("over", self.over.len(), limits::OVER_VERSIONS)
            .must(
                named,
                "over",
                "a register names what stood and what it restores, a counter nothing, a removal something",
            )
            .distinct("over", &self.over)
            .part("op", &self.op);
    }
}

impl Rules for CollectionWrite {
    fn check(&self, faults: &mut Faults) {
        let fault = collection_fault(&self.collection);
        let cells: BTreeSet<_> = self.changes.iter().map(cell).collect();
        faults
            .must(fault.is_none(), "collection", fault.unwrap_or_default())
            .name_if("client", &self.client)
            .filled("changes", &self.changes)
            .fits("changes", self.changes.len(), limits::WRITE_CHANGES)
            .must(cells.len() == self.changes.len(), "changes", "must not write one cell twice")
            .parts("changes", &self.changes);
    }
}

/// What a change concerns: no two of a write concern the same.
fn cell(change: &Change) -> (&str, u8, &str) {
    let (part, element) = match &change.op {
        Op::Set { .. } | Op::Delete => (0, ""),
        Op::Count { .. } => (1, ""),
        Op::Add { element } => (2, element.as_str()),
        Op::Remove => (3, ""),
        Op::DeletePrefix => (4, ""),
    };
    (&change.path, part, element)
}
