//! The command line.

pub mod completions;
pub mod doctor;
pub mod init;
pub mod key;
pub mod start;
pub mod testnet;
