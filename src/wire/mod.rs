//! Every byte that leaves the process: messages and their kinds, seals, bundles, proofs, frames.
//!
//! Pure. The one room that encodes and decodes; `docs/wire.md` describes what it does well enough to write another.
//!
//! ```text
//!  Draft ──author's clock──▶ Message ──many──▶ Bundle ──one signature──▶ bytes
//!  bytes ──Bundle::decode──▶ Bundle ──verify──▶ Verified ──cut──▶ Proof (one message, provable alone)
//! ```
//!
//! A bundle is decoded by one function and believed by one function; [`Verified`] cannot be had otherwise.

pub mod agreement;
mod bundle;
mod checkpoint;
mod codec;
mod direct;
mod draft;
mod excerpt;
mod fault;
mod feed_id;
mod filter;
mod frame;
pub mod kind;
pub mod ledger;
mod merkle;
mod message;
mod positions;
mod proof;
mod ranges;
mod refusal;
mod seal;
mod sealed;
mod signatures;
mod state_frame;
mod verified;

pub use bundle::{
    Bundle, Course, HEADER_BYTES, Header, PREFIX_BYTES, SIGNED_BYTES, SignedHeader, WIRE_VERSION, messages_in,
};
pub use checkpoint::{Chunk, ChunkName, ChunkPart, CollectionChunks, Manifest, SignedManifest};
pub use codec::{Codec, Packing};
pub use direct::{Delivery, Hop, Hops, Receipt, STRATEGY_HEADER};
pub use draft::{Draft, Seal};
pub use excerpt::{Excerpt, Proven, Said, write_in};
pub use fault::{Fault, FaultClass, FaultCode, Faults};
pub use feed_id::{FeedId, Slot, topic_name};
pub use filter::Filter;
pub use frame::{Head, Request, Response, Unserved};
pub use kind::{Category, Kind, Payload};
pub use merkle::{Path, checksum, root_of};
pub use message::{ContentType, Destination, Encryption, Message, Priority};
pub use positions::{Place, PositionFault, PositionFrame};
pub use proof::Proof;
pub use ranges::{Mode, Part, Ranges, Tag};
pub use refusal::Refusal;
pub use seal::{Label, Signature, Statement};
pub use sealed::{SEALING_CHANNEL, SealingKey, Unopened, key_id, seal_for};
pub use signatures::{TOGETHER, verify_strict};
pub use state_frame::{CollectionHead, FloorName, ListedCollection, RollEntry, StateRequest, StateResponse, prove_all};
pub use verified::{Correlated, Pending, Verified};

#[cfg(test)]
mod tests;
