//! Words: ids, hashes, time and sizes with units, limits, and the storage contract.
//!
//! Pure. Knows no message, no machine, no socket. Everything above imports this room; it imports nothing of ours.

mod address;
pub mod chain;
mod hash;
mod id;
pub mod limits;
mod memory;
pub mod row;
pub mod storage;
mod time;
mod tokens;
mod version;

pub use address::dialable;
pub use hash::{Domain, Hash};
pub use id::{IdError, Incarnation, MessageId, NetworkId, NetworkName, NodeId};
pub use memory::MemoryStore;
pub use time::{Clock, ClockRefusal, Mono, Now, Stamp, WallMs};
pub use tokens::{Overflow, Tokens};
pub use version::Version;

#[cfg(test)]
mod tests;
