//! The `metanode` program: parse, run, exit code.

/// Rows and messages are made by one thread and given back by another; with the system's allocator they wait for each
/// other in that (`docs/performance.md`).
#[cfg(all(unix, target_arch = "x86_64"))]
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    metanode::cli::run()
}
