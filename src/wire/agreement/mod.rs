//! What validators say to one another while they agree on a block: proposals, votes, and what votes add up to.
//!
//! ```text
//!  bytes ──Message::decode──▶ Message ──Roster::admit──▶ Genuine<Message>
//! ```
//!
//! Everything is under the seal of [`crate::wire::Statement`], with labels of its own. Chain, height, round, step, value
//! and author are signed, never the bytes of a struct. What a signature is for follows from the fields alone, so the
//! same precommit counts in a vote, in a certificate and as evidence. Fixed layouts, little-endian; one message has one
//! encoding.

mod certificate;
mod evidence;
mod fields;
mod genuine;
mod message;
mod proposal;
mod sync;
mod vote;

pub use certificate::{Certificate, Polka, RoundCertificate, RoundVote, Short};
pub use evidence::Evidence;
pub use genuine::{Attested, Genuine, Roster};
pub use message::{Message, Once, SAYING_BYTES, Saying};
pub use proposal::Proposal;
pub use sync::{ChainRequest, ChainResponse, DECISIONS, DECISIONS_BYTES, Decision, TRAIL, Vouched};
pub use vote::{Signed, Step, Vote};

#[cfg(test)]
mod tests;
