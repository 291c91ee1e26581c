//! `metanode testnet`: a network of processes on this machine.
//!
//! A shell room. Each node is the same executable with a directory of its own; what is known of them is in one file.
//!
//! ```text
//! DIR/testnet.json      who there is: name, pid, id, addresses, API, directory
//! DIR/node-0/           config.toml, key.json (not encrypted), ready.json while it runs, log.txt, the store
//! DIR/node-1/           the same; its one bootstrap address is node-0's
//! ```
//!
//! Invariants: a node's ports are chosen when it is made and never change, so others find it again; a process is
//! signalled only after it was seen to be that node; what `up` started and could not finish is stopped again.

mod args;
mod down;
mod home;
mod join;
mod one;
mod perturb;
mod ports;
mod print;
mod probe;
mod process;
mod record;
mod start;
mod status;
mod up;
mod verdict;
mod wait;

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  metanode testnet up -n 5                     five nodes, connected, in ./testnet-data
  metanode testnet status                      who is up, and whether all hold the same
  metanode testnet kill node-2                 what happens when one dies?
  metanode testnet wait --converged            fails, and says that node-2 is down
  metanode testnet start node-2                and back
  metanode testnet perturb partition 0 1       two apart from the others, for 30 s
  metanode testnet join                        one more, by one bootstrap address
  metanode testnet down --purge                stop all, remove all

With --json the answers are objects for programs. DIR/testnet.json lists the nodes.";

/// Run a network of nodes on this machine.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TestnetCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a network, or what is stopped of one, and wait until all nodes are connected.
    Up(up::UpArgs),
    /// Stop all nodes.
    Down(down::DownArgs),
    /// Show each node. The exit code is 0 unless there is no network in the directory.
    Status(status::StatusArgs),
    /// Wait until all nodes are connected or hold the same; fail with a diagnosis.
    Wait(wait::WaitArgs),
    /// Add a node that knows one bootstrap address, and measure how it finds its way.
    Join(join::JoinArgs),
    /// Send a signal to one node's process: kill it, pause it, let it go on.
    Kill(one::KillArgs),
    /// Start a stopped node again, with its data.
    Start(one::StartArgs),
    /// Put nodes wrong on purpose, for a time: cut off, slow, lossy, with a wrong clock.
    Perturb(perturb::PerturbArgs),
    /// Show the last lines of a node's log.
    Logs(one::LogsArgs),
}

impl TestnetCommand {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Up(args) => args.run().await,
            Verb::Down(args) => args.run().await,
            Verb::Status(args) => args.run().await,
            Verb::Wait(args) => args.run().await,
            Verb::Join(args) => args.run().await,
            Verb::Kill(args) => args.run().await,
            Verb::Start(args) => args.run().await,
            Verb::Perturb(args) => args.run().await,
            Verb::Logs(args) => args.run(),
        }
    }
}
