//! Durable subscriptions: what a named consumer has had, what it owes an answer for, what it could not take.
//!
//! Pure. The machine knows positions of the log and what became of them; it does not read messages. Whoever reads
//! the log for a consumer reports what it found, takes leases, and says how each ended.
//!
//! ```text
//!                  ┌──────────────── nack, lease over: delay × 2^n ──────────────┐
//!                  ▼                                                             │
//!  log ──found──▶ ready ──lease──▶ leased ──ack──▶ settled                       │
//!                  ▲                 └─────────────────────────────────────▶ waiting
//!                  └── redrive ── dead letter ◀── parked, failed too often, expired
//! ```
//!
//! Everything below `scanned` is settled or open; every open position is on the disk before it is leased. So after a
//! crash what was acknowledged stays acknowledged, and what was leased comes again, marked as delivered before.

mod breaker;
mod dead;
mod deliveries;
mod outbox;
mod retry;
mod row;
mod spec;
mod subscription;

pub use breaker::{Breaker, BreakerState};
pub use dead::{DeadLetter, DeadPage, Disposition, Letter, Selector, dead_letter, dead_letters, letter};
pub use deliveries::{Deliveries, FetchLetter, Refused, Settled, Swept};
pub use retry::delay;
pub use spec::{Name, Sink, Spec};
pub use subscription::{
    Counts, Failure, FailureNote, Found, Lease, Leased, Look, Outcome, Settlement, State, Subscription,
};

#[cfg(test)]
mod tests;
