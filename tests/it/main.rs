//! Tests from outside: the house's rules, processes, files.

mod chain;
mod cluster;
mod deliver;
mod disk;
mod net_common;
mod tidy;
