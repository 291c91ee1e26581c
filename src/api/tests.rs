//! The API over a real node.

mod following;
mod operating;
mod publishing;
mod reading;
pub mod rig;
