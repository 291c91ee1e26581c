//! The command line: one file for each command. Arguments, exit codes and standard output live here only.

mod bench;
pub mod client;
pub mod get;
pub mod kinds;
pub mod peer;
pub mod publish;
pub mod status;
pub mod subscribe;
pub mod verify;
mod completions;
mod doctor;
mod init;
mod key;
mod start;
mod testnet;

use clap::{CommandFactory, Parser, Subcommand};

/// A peer-to-peer node: signed messages between organisations, kept, caught up, never lost.
#[derive(Parser, Debug)]
#[command(name = "metanode", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Begin with `metanode testnet up` for a local network, or `metanode init` for a node.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.")]
struct Metanode {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Init(init::InitArgs),
    Start(start::StartArgs),
    Key(key::KeyCommand),
    Doctor(doctor::DoctorArgs),
    Testnet(testnet::TestnetCommand),
    Bench(bench::BenchArgs),
    Completions(completions::CompletionsArgs),
}

/// Runs the command of this process, and says how it ended.
pub fn run() -> std::process::ExitCode {
    let command = Metanode::parse().command;
    match execute(command) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metanode: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init(args) => args.run(),
        Command::Key(args) => args.run(),
        Command::Completions(args) => args.run(&mut Metanode::command()),
        Command::Start(args) => block_on(args.run()),
        Command::Doctor(args) => block_on(args.run()),
        Command::Testnet(args) => block_on(args.run()),
        Command::Bench(args) => block_on(args.run()),
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
