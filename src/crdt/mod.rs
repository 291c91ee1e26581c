//! Replicated state: registers, counters, sets and prefix deletes, kept as the set of signed writes that still matter.
//!
//! Pure. The machine knows writes and where they came from; it does not know messages, feeds or peers. State is a
//! function of the writes that are known, whatever order they came in and however often: see `docs/state.md` and
//! Shapiro et al., "Conflict-free Replicated Data Types", 2011.
//!
//! ```text
//!  write ──members──▶ merge ──▶ rows by cell: retained │ superseded │ masked │ denied
//!                       ├────▶ root: a sum over what is retained
//!                       ├────▶ conflicts: who lost to one that had not seen it
//!                       └────▶ events: what happened, in the order in which it did here
//!  floors that are said ──count, or a peer's roll──▶ the highest come to counts: what is below and not on its roll goes
//! ```
//!
//! Invariants: what is retained, and so the root, depends on nothing but the writes that are known and the forks that
//! are proved; what lost without having been seen is in the conflict log; a step's work is bounded, and what is left
//! to judge anew is on the disk.

mod access;
mod book;
mod collection;
mod compare;
mod conflict;
mod event;
mod floor;
mod hashed;
mod index;
mod merge;
mod past;
mod past_list;
mod read;
mod resolve;
mod rise;
mod roll;
mod root;
mod row;
mod said;
mod session;
mod sink;
mod standing;
mod sweep;
mod unit;
mod window;

pub use unit::covers;

pub use access::{AccessRule, AccessRules, Writers, may_write};
pub use collection::{CollectionInfo, Replica, collections};
pub use compare::{Compared, compare, tag};
pub use conflict::{Conflict, Reason, conflict, conflicts};
pub use event::{Event, What, events, events_end, first_event};
pub use floor::{FLOOR, Floor, Floors, floors};
pub use index::{Entry, Index, Sum, retained};
pub use merge::{Merge, Outcome};
pub use past::{Forgotten, ForgottenPath, Then};
pub use read::{Cell, Counter, Element, Listed, Past, Recount, Register, State};
pub use resolve::{Condition, Refused, Wish, Wished, resolve};
pub use rise::Counted;
pub use roll::RollRoot;
pub use root::Root;
pub use row::{Body, Member, Origin, Status, origin_of};
pub use session::{Asked, Found, Nonsense, Session};

#[cfg(test)]
mod tests;
