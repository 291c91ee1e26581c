//! Judges: small checkers that watch a run. Each looks at one promise and says what broke it.

mod accounts;
mod bounds;
mod chain;
mod clock;
mod convergence;
mod durable;
mod once;
mod peace;
mod post;
mod prefix;
mod registry;
mod state;
mod unique;
mod urgency;

pub use accounts::{Accounts, settled};
pub use bounds::{Load, bounds};
pub use chain::Ledgers;
pub use clock::stamps;
pub use convergence::{Holdings, convergence};
pub use durable::Durable;
pub use once::Subscriber;
pub use peace::{Idle, ban, halt};
pub use post::Posted;
pub use prefix::Prefixes;
pub use registry::{registry, schemas};
pub use state::{Promise, Writings, counts, proofs};
pub use unique::Unique;
pub use urgency::{Soon, Urgency};

/// What a judge says: nothing, or what it saw.
pub type Verdict = Result<(), String>;

/// The judges by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Judge {
    /// Every feed at every node is a prefix of what its author wrote.
    Prefix,
    /// Nothing is delivered twice to a subscriber, or out of order.
    Once,
    /// What was acknowledged as durable is there.
    Durable,
    /// Queues stay within their bounds.
    Bounds,
    /// Ids and stamps are used once, over all lives.
    Unique,
    /// No clock drives another so far ahead that what its node says would be put off.
    Clock,
    /// When all is well again, all hold the same, and no direct message is on its way.
    Convergence,
    /// Nodes that hold the same have the same state, and it is counted right.
    State,
    /// No write to the state is lost without a trace.
    Survival,
    /// What clients said was published, dropped by rule or pushed back, and that is all of it.
    Flow,
    /// What is Critical arrives soon, though Bulk saturates.
    Urgency,
    /// All nodes know the same schemas.
    Schemas,
    /// What durable subscriptions found is acknowledged or dead.
    Deliver,
    /// No honest node bans an honest node.
    Ban,
    /// No node gives up.
    Halt,
    /// No node runs in circles.
    Idle,
    /// At every height all decide the same block, with the signatures of that height's validators.
    Agreement,
    /// No honest validator signs two things in one place, over all its lives.
    Signatures,
    /// Evidence names the guilty only.
    Evidence,
    /// The ledger is what the plain model of it is, after every block; tokens come and go by the rules.
    Ledger,
    /// When all is well again, what was sent is soon final, at every node alike.
    Progress,
    /// Nothing panics.
    Panic,
}

impl Judge {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Judge::Prefix => "prefix",
            Judge::Once => "once",
            Judge::Durable => "durable",
            Judge::Bounds => "bounds",
            Judge::Unique => "unique",
            Judge::Clock => "clock",
            Judge::Convergence => "convergence",
            Judge::State => "state",
            Judge::Survival => "survival",
            Judge::Flow => "flow",
            Judge::Urgency => "urgency",
            Judge::Schemas => "schemas",
            Judge::Deliver => "deliver",
            Judge::Ban => "ban",
            Judge::Halt => "halt",
            Judge::Idle => "idle",
            Judge::Agreement => "agreement",
            Judge::Signatures => "signatures",
            Judge::Evidence => "evidence",
            Judge::Ledger => "ledger",
            Judge::Progress => "progress",
            Judge::Panic => "panic",
        }
    }
}

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Who saw it.
    pub judge: Judge,
    /// When, simulated microseconds.
    pub at_us: u64,
    /// What.
    pub detail: String,
}
