//! Which path means what: the layout of a graph in its collection.
//!
//! ```text
//!  node/{id}  true              node/{id}/type │ title │ content │ position │ velocity │ metadata/{name}
//!  edge/{id}  {source, target}  edge/{id}/type │ weight │ metadata/{name}
//! ```

use crate::types::limits;

/// Where nodes are.
pub const NODES: &str = "node";
/// Where edges are.
pub const EDGES: &str = "edge";

/// What a path says something about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// Everything: a path above all nodes or all edges.
    All,
    /// A node, by its id.
    Node(String),
    /// An edge, by its id.
    Edge(String),
}

/// What a register below a node or an edge holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field<'a> {
    /// The node or the edge itself.
    Itself,
    /// What it is.
    Type,
    /// What is shown.
    Title,
    /// What is behind it.
    Content,
    /// Where it is.
    Position,
    /// How it moves.
    Velocity,
    /// How long it is.
    Weight,
    /// What else is known, by name.
    Metadata(&'a str),
}

/// What a path is about; none if it is no part of a graph.
pub fn subject(path: &str) -> Option<Subject> {
    let mut segments = path.split('/');
    let (kind, id) = (segments.next()?, segments.next());
    match (kind, id) {
        (NODES | EDGES, None) => Some(Subject::All),
        (NODES, Some(id)) => Some(Subject::Node(id.into())),
        (EDGES, Some(id)) => Some(Subject::Edge(id.into())),
        _ => None,
    }
}

/// The id and the field of a cell's path, with `kind` before it.
pub fn field<'a>(kind: &str, path: &'a str) -> Option<(&'a str, Field<'a>)> {
    let rest = path.strip_prefix(kind)?.strip_prefix('/')?;
    let (id, field) = rest.split_once('/').map_or((rest, None), |(id, field)| (id, Some(field)));
    let field = match field {
        None => Field::Itself,
        Some("type") => Field::Type,
        Some("title") => Field::Title,
        Some("content") => Field::Content,
        Some("position") => Field::Position,
        Some("velocity") => Field::Velocity,
        Some("weight") => Field::Weight,
        Some(other) => Field::Metadata(other.strip_prefix("metadata/").filter(|name| !name.contains('/'))?),
    };
    Some((id, field))
}

/// Where a node is.
pub fn node_path(id: &str) -> String {
    format!("{NODES}/{id}")
}

/// Where an edge is.
pub fn edge_path(id: &str) -> String {
    format!("{EDGES}/{id}")
}

/// What is wrong with the id of a node or an edge, or with a name of its metadata, if anything.
pub fn id_fault(id: &str) -> Option<&'static str> {
    if id.is_empty() || id.len() > limits::GRAPH_ID_BYTES {
        return Some("an id has 1 to 128 bytes");
    }
    if matches!(id, "." | "..") || id.contains(|c: char| c == '/' || c.is_control()) || id.trim().is_empty() {
        return Some("an id has no `/` and no control characters, and is not `.`, `..` or blank");
    }
    None
}
