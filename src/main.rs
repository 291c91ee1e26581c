//! The `metanode` program: parse, run, exit code.

fn main() -> std::process::ExitCode {
    metanode::cli::run()
}
