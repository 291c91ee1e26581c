//! The API over a real node.

mod binary;
mod chain;
mod checkpoints;
mod delivering;
mod endorsing;
mod flowing;
mod following;
mod graphs;
mod operating;
mod perturbing;
mod publishing;
mod reading;
pub mod rig;
mod schemas;
mod sealing;
mod state;
mod webhooks;
