//! What is held in memory of a node or an edge: enough to tell what changed, and to find ways.

use super::path::Field;
use crate::types::Domain;
use crate::wire::kind::Json;
use crate::wire::kind::data::Vector;

/// Nowhere, or at rest.
pub const ZERO: Vector = Vector { x: 0.0, y: 0.0, z: 0.0 };
/// The length of an edge that has none.
pub const WEIGHT: f64 = 1.0;

/// A node.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct HeldNode {
    /// Whether it is there; fields alone are no node.
    pub there: bool,
    pub position: Vector,
    pub velocity: Vector,
    /// A sum over its other fields.
    pub rest: u64,
}

impl Default for HeldNode {
    fn default() -> HeldNode {
        HeldNode { there: false, position: ZERO, velocity: ZERO, rest: 0 }
    }
}

/// An edge.
#[derive(Clone, PartialEq, Debug)]
pub struct HeldEdge {
    /// Source and target; none if it is not there.
    pub ends: Option<(String, String)>,
    pub weight: f64,
    /// A sum over its other fields.
    pub rest: u64,
}

impl Default for HeldEdge {
    fn default() -> HeldEdge {
        HeldEdge { ends: None, weight: WEIGHT, rest: 0 }
    }
}

impl HeldNode {
    /// Takes note of one of its registers.
    pub fn take(&mut self, field: Field<'_>, value: &Json) {
        match field {
            Field::Itself => self.there = true,
            Field::Position => self.position = vector(value).unwrap_or(ZERO),
            Field::Velocity => self.velocity = vector(value).unwrap_or(ZERO),
            Field::Type | Field::Title | Field::Content | Field::Metadata(_) => add(&mut self.rest, field, value),
            Field::Weight => {}
        }
    }
}

impl HeldEdge {
    /// Takes note of one of its registers.
    pub fn take(&mut self, field: Field<'_>, value: &Json) {
        match field {
            Field::Itself => self.ends = ends(value),
            Field::Weight => self.weight = weight(value).unwrap_or(WEIGHT),
            Field::Type | Field::Metadata(_) => add(&mut self.rest, field, value),
            Field::Title | Field::Content | Field::Position | Field::Velocity => {}
        }
    }
}

/// A place or a speed, if the value is one.
pub fn vector(value: &Json) -> Option<Vector> {
    let vector: Vector = serde_json::from_str(value.as_str()).ok()?;
    [vector.x, vector.y, vector.z].iter().all(|number| number.is_finite()).then_some(vector)
}

/// A length, if the value is one.
pub fn weight(value: &Json) -> Option<f64> {
    serde_json::from_str(value.as_str()).ok().filter(|weight: &f64| weight.is_finite() && *weight >= 0.0)
}

/// A text, if the value is one.
pub fn text(value: &Json) -> Option<String> {
    serde_json::from_str(value.as_str()).ok()
}

/// The ends of an edge, if the value names two different nodes.
pub fn ends(value: &Json) -> Option<(String, String)> {
    #[derive(serde::Deserialize)]
    struct Ends {
        source: String,
        target: String,
    }
    let Ends { source, target } = serde_json::from_str(value.as_str()).ok()?;
    (source != target).then_some((source, target))
}

/// A sum, so that the order of the fields does not matter.
fn add(sum: &mut u64, field: Field<'_>, value: &Json) {
    let name = match field {
        Field::Metadata(name) => name,
        Field::Type => "\0type",
        Field::Title => "\0title",
        Field::Content => "\0content",
        Field::Itself | Field::Position | Field::Velocity | Field::Weight => "\0",
    };
    let digest = Domain::GraphRest.hash(&[name.as_bytes(), &[0], value.as_str().as_bytes()]);
    let first = digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    *sum = sum.wrapping_add(first);
}
