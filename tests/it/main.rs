//! Tests from outside: the house's rules, processes, files.

mod chain;
mod chain_anchors;
mod chain_faults;
mod chain_join;
mod chain_use;
mod checkpoint;
mod cluster;
mod deliver;
mod direct;
mod disk;
mod endorse;
mod floor;
mod flow;
mod graph;
mod heal;
mod ledger;
mod net_common;
mod perturb;
mod schema;
mod sealed;
mod sim;
mod slow_link;
mod state;
mod state_faults;
mod tidy;
