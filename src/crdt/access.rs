//! Who may write where. A collection whose name ends in `@` and a node's id is that node's: it alone may write there, and
//! whoever its rules name. The rules are a register of the collection at [`RULES`], which only the owner may write.
//!
//! A write is judged by the rules that stood at its own stamp. So a rule that comes late changes what was judged before
//! it came, and every node that knows the same rules judges alike.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::floor::{FLOOR, is_floor};
use super::row::Row;
use super::unit::{Part, Unit, covers};
use crate::types::storage::{Key, Table, View};
use crate::types::{NodeId, Stamp, Version};
use crate::wire::kind::state::{Op, owner};

/// Where the rules of a collection are.
pub const RULES: &str = "_access";

/// Who may write under a prefix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Writers {
    /// Everyone.
    Everyone,
    /// These nodes.
    Nodes(Vec<NodeId>),
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    /// The path at and below which it counts; empty for the whole collection.
    pub prefix: String,
    /// Who may write there.
    pub writers: Writers,
}

/// The rules of a collection: whoever one of them names may write. The owner always may.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessRules {
    /// The rules.
    pub rules: Vec<AccessRule>,
}

impl AccessRules {
    fn allow(&self, path: &str, author: NodeId) -> bool {
        let named = |writers: &Writers| match writers {
            Writers::Everyone => true,
            Writers::Nodes(nodes) => nodes.contains(&author),
        };
        let at = |prefix: &str| prefix.is_empty() || covers(prefix, path);
        self.rules.iter().any(|rule| at(&rule.prefix) && named(&rule.writers))
    }
}

/// Whether a unit is the rules of its collection.
pub(super) fn is_rules(unit: &Unit) -> bool {
    unit.path == RULES && unit.part == Part::Register && owner(&unit.collection).is_some()
}

/// Whether former writes of a unit are retained beside the one that stands, and no prefix delete takes any.
pub(super) fn is_lasting(unit: &Unit) -> bool {
    is_rules(unit) || is_floor(unit)
}

/// Whether `author` may write at a place as of `version`, by the rules that are known.
pub(super) fn allows(unit: &Unit, author: NodeId, version: Version, view: &dyn View) -> bool {
    allows_by(unit, author, version, view, &|row| row.status.is_retained())
}

/// The same by those rules only that count.
pub(super) fn allows_by(
    unit: &Unit,
    author: NodeId,
    version: Version,
    view: &dyn View,
    counts: &dyn Fn(&Row) -> bool,
) -> bool {
    let Some(owner) = owner(&unit.collection) else { return true };
    if owner == author {
        return true;
    }
    // A prefix delete above the rules would take them; below them there is nothing to write. So it is with the floor.
    if covers(RULES, &unit.path) || covers(FLOOR, &unit.path) {
        return false;
    }
    rules_at(&unit.collection, version, view, counts).allow(&unit.path, author)
}

/// Whether `author` may write at a path now.
pub fn may_write(collection: &str, path: &str, author: NodeId, view: &dyn View) -> bool {
    let now = Version { stamp: Stamp(u64::MAX), digest: [u8::MAX; 16] };
    allows(&Unit::at(collection, path, Part::Register), author, now, view)
}

/// The rules that stood before a version, of those that count.
fn rules_at(collection: &str, version: Version, view: &dyn View, counts: &dyn Fn(&Row) -> bool) -> AccessRules {
    let unit = Unit::at(collection, RULES, Part::Register);
    let from = Key::new(Table::State, &[&unit.bytes(), &Version::default().to_bytes()]);
    let mut rules = AccessRules::default();
    view.scan_back(&from, &unit.row(version), &mut |key, value| {
        let row = Row::read(key, value).map(|(_, row)| row);
        let Some(row) = row.filter(counts) else {
            return std::ops::ControlFlow::Continue(());
        };
        if let Op::Set { value } = &row.body.op {
            // What is no rules at all allows nobody but the owner.
            rules = serde_json::from_str(value.as_str()).unwrap_or_default();
        }
        std::ops::ControlFlow::Break(())
    });
    rules
}
