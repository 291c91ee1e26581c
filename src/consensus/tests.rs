//! Agreement among a few nodes over a bad network, judged after every step.

mod crashes;
mod faults;
mod journal;
mod judge;
mod machine;
mod member;
mod net;
mod twins;
