//! The command line: one file for each command. Arguments, exit codes and standard output live here only.

mod alerts;
mod bench;
mod client;
mod completions;
mod consumer;
mod dlq;
mod doctor;
mod durable;
mod get;
mod gov;
mod graph;
mod init;
mod key;
mod kinds;
mod ledger;
mod peer;
mod publish;
mod queue;
mod request;
mod route;
mod schema;
mod sealing;
mod sim;
mod start;
mod state;
mod status;
mod subscribe;
mod tap;
mod testnet;
mod top;
mod trace;
mod verify;

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
    Pub(publish::PublishArgs),
    Sub(subscribe::SubscribeArgs),
    Get(get::GetArgs),
    Verify(verify::VerifyArgs),
    Trace(trace::TraceArgs),
    Request(request::RequestArgs),
    Reply(request::ReplyArgs),
    Route(route::RouteArgs),
    Peer(peer::PeerArgs),
    State(state::StateArgs),
    Graph(graph::GraphArgs),
    Queue(queue::QueueArgs),
    Tap(tap::TapArgs),
    Alerts(alerts::AlertsArgs),
    Consumer(consumer::ConsumerArgs),
    Dlq(dlq::DlqArgs),
    Status(status::StatusArgs),
    Top(top::TopArgs),
    Doctor(doctor::DoctorArgs),
    Kinds(kinds::KindsArgs),
    Schema(schema::SchemaArgs),
    Ledger(ledger::LedgerArgs),
    Gov(gov::GovArgs),
    Testnet(testnet::TestnetCommand),
    Sim(sim::SimArgs),
    Bench(bench::BenchArgs),
    Completions(completions::CompletionsArgs),
}

/// Runs the command of this process, and says how it ended.
pub fn run() -> std::process::ExitCode {
    let command = Metanode::parse().command;
    match execute(command) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metanode: {}", told(&error));
            std::process::ExitCode::from(client::exit_code(&error))
        }
    }
}

/// An error and what caused it, each said once.
fn told(error: &anyhow::Error) -> String {
    let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.dedup();
    causes.join(": ")
}

fn execute(command: Command) -> anyhow::Result<()> {
    if !matches!(command, Command::Start(_)) {
        // A reader that has seen enough (`… | head`) ends a command, but not a node.
        sigpipe::reset();
    }
    match command {
        Command::Init(args) => args.run(),
        Command::Start(args) => run_node(args),
        Command::Key(args) => args.run(),
        Command::Pub(args) => block_on(args.run()),
        Command::Sub(args) => block_on(args.run()),
        Command::Get(args) => block_on(args.run()),
        Command::Verify(args) => block_on(args.run()),
        Command::Trace(args) => block_on(args.run()),
        Command::Request(args) => block_on(args.run()),
        Command::Reply(args) => block_on(args.run()),
        Command::Route(args) => block_on(args.run()),
        Command::Peer(args) => block_on(args.run()),
        Command::State(args) => block_on(args.run()),
        Command::Graph(args) => block_on(args.run()),
        Command::Queue(args) => block_on(args.run()),
        Command::Tap(args) => block_on(args.run()),
        Command::Alerts(args) => block_on(args.run()),
        Command::Consumer(args) => block_on(args.run()),
        Command::Dlq(args) => block_on(args.run()),
        Command::Status(args) => block_on(args.run()),
        Command::Top(args) => block_on(args.run()),
        Command::Doctor(args) => block_on(args.run()),
        Command::Kinds(args) => block_on(args.run()),
        Command::Schema(args) => block_on(args.run()),
        Command::Ledger(args) => block_on(args.run()),
        Command::Gov(args) => block_on(args.run()),
        Command::Testnet(args) => block_on(args.run()),
        Command::Sim(args) => args.run(),
        Command::Bench(args) => block_on(args.run()),
        Command::Completions(args) => args.run(&mut Metanode::command()),
    }
}

/// Runs a node. When it ends because it cannot go on, the process ends here and now: to take down a store whose disk has
/// failed can take for ever.
fn run_node(args: start::StartArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(args.run()) {
        Ok(()) => Ok(()),
        Err(error) => {
            eprintln!("metanode: {}", told(&error));
            std::process::exit(client::exit_code(&error).into())
        }
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
