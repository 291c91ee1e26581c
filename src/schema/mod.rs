//! Schemas of Custom messages: what one may say, whether a new version goes with the old ones, and which registration
//! of many counts.
//!
//! Pure. A registration is a message like any other (`Governance/SchemaRegistration`); every node keeps all of them as
//! rows, and the registry is a function of the set of rows. So nodes that have the same messages have the same
//! registry, in whatever order they came.
//!
//! ```text
//!   JSON ──read──▶ Document: bounded, refs put in, compiled
//!   registrations of a subject, by id ──fold──▶ Subject: owner, versions 1..n, and those that do not count, and why
//!   body + version ──check──▶ every fault of it
//! ```
//!
//! Invariants: whatever a document or a body says, the work on it is bounded by the constants here; two nodes of one
//! version give one answer.

mod bounds;
mod compat;
mod document;
mod rows;
mod subject;

pub use compat::{Conflict, Direction, Finding, Verdict, compare};
pub use document::Document;
pub use rows::{AUTHOR_SCHEMAS, Registration, Rows, revision, subjects};
pub use subject::{Passed, SUBJECT_VERSIONS, Subject, Version};

#[cfg(test)]
mod tests;
