//! The ledger: value, stake, fees and policy, in one order.
//!
//! Pure. Agreement decides which block is next and knows blocks by their ids; this room says what is in them, whether
//! one may be voted for, and what becomes true with it. Everything is integers, ordered, and checked: a transaction
//! that fails costs its fee and changes nothing else, and a block whose books do not balance stops the ledger.
//!
//! ```text
//!   submit ─▶ Mempool ─▶ propose ─┐
//!                                 ├─▶ Executed ── decided ──▶ apply ─▶ rows, tree, records
//!   block from a peer ─▶ execute ─┘      └ state root: what validators vote on
//! ```
//!
//! Invariants: the tokens of all rows are the supply; a nonce is used once, in order; the same state and block give the
//! same root everywhere; what a block carries was signed by its account for this chain.

mod books;
pub mod chain;
mod endorsed;
mod execute;
mod fault;
mod genesis;
mod machine;
mod mempool;
pub mod model;
mod params;
mod parts;
mod proof;
pub mod query;
mod refusal;
pub mod rows;
mod show;
pub mod snapshot;
mod state;
mod tree;
mod witness;

pub use endorsed::{Endorsers, NotEndorsed, verify_endorsement};
pub use execute::{BadEvidence, Guilt, Unfit, price, work_digest};
pub use fault::Fault;
pub use genesis::{Genesis, GenesisAccount, GenesisError, GenesisValidator, Token};
pub use machine::{Executed, HISTORY, Ledger, Maker};
pub use mempool::{ACCOUNT_BYTES, ACCOUNT_SEALS, GAP_BLOCKS, Mempool, NONCES_AHEAD, NotPooled, POOL_BYTES, Picker};
pub use params::{Emission, Fees, Params, Staking, Voting};
pub use parts::{NoPart, Part, part};
pub use proof::{Proved, Unproved, verify, verify_anchors, verify_anchors_at, verify_at};
pub use refusal::{BlockRefusal, NotExecuted, NotTaken, OpenError};
pub use show::{Shown, key_named, shown, sort_named, sorts};
pub use snapshot::{Contradicted, Snapshot, Trust, Trusted};
pub use witness::{Agreement, Witness};

#[cfg(test)]
mod tests;
