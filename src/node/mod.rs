//! The node: one owner of all protocol state, changed in one way.
//!
//! Pure. [`Node::handle`] takes an [`Input`], reads through a view, and leaves writes and [`Output`]s in a [`Step`];
//! [`Node::finish`] ends a step of one or many inputs. Nothing here blocks, sleeps, draws randomness or reads a clock.
//!
//! ```text
//!   Input ──▶ handle ──▶ feed: in order? missing? forked? ──▶ log: a position ──▶ router: one match on the kind
//!   Call::Publish ──▶ lanes ──▶ finish: stamp, seal ──▶ the same way in
//! ```

mod boot;
mod call;
mod chain;
mod chain_io;
mod checkpoint;
mod deadlines;
mod deferred;
mod deliveries;
mod door;
mod endorse;
mod evidence;
mod excerpts;
mod floors;
mod gate;
mod healing;
mod heartbeat;
mod holders;
mod input;
mod output;
mod owner;
mod peers;
mod post;
mod publish;
mod queues;
mod registry;
mod relay;
mod role;
mod schemas;
mod sealing_keys;
mod state;
mod state_io;
mod status;
mod sync;
mod talks;
mod ways;

pub use boot::{Life, Setup};
pub use call::{Ack, Answer, Call, CallRefusal};
pub use chain::{AgreementStatus, ChainCounts, ChainSetup, Ended, FINALITY_MS, Finality, JoinSetup, JoinStatus};
pub use chain_io::{ChainInput, ChainOutput, Channel, Missed};
pub use checkpoint::{Cut, Joined, Tally, cut};
pub use deliveries::SubscriptionInfo;
pub use endorse::{Endorse, Gathered, NotAsked, Word};
pub use excerpts::unproved;
pub use floors::{CountFloor, FloorCount, FloorRefusal};
pub use gate::{Freed, Gate};
pub use input::Input;
pub use output::{Event, Output, Stage, Step, Verdict};
pub use owner::Node;
pub use peers::PeerInfo;
pub use post::PostCounts;
pub use queues::{LaneInfo, Queues};
pub use registry::{Registered, all as registered};
pub use role::Role;
pub use sealing_keys::{Announced, sealing_key, sealing_keys};
pub use state::{Restore, Write, Wrote};
pub use state_io::StateInput;
pub use status::{CategoryTotals, Counters, Status};
pub use ways::{Explained, LinkedNode, Outbox, Waiting};

#[cfg(test)]
mod tests;
