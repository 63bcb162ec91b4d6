//! Benchmarks of Vellum, each beside its controls in one interleaved run.

mod bucket;
mod check;
mod counters;
mod failure;
mod mounted;
mod offsets;
mod paths;
mod placement;
mod process;
mod report;
mod stats;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "vellum-bench",
    about = "Benchmarks, each beside its controls in one interleaved run"
)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Overwrites in this process: Vellum beside bare memcpy, the floor and the naive path.
    Process(process::ProcessArgs),
    /// Overwrites through mounts: Vellum beside null, floor, improved and naive servers.
    Mounted(mounted::MountedArgs),
    /// Writes to files never read, over a store that answers and one that is stuck.
    Stuck(mounted::StuckArgs),
    /// System calls, futexes, context switches, allocations and copies per write. Needs root.
    Counters(counters::CountersArgs),
    /// Reads and commits through a mount of a bucket, beside the SDK alone.
    Bucket(bucket::BucketArgs),
    /// Holds Vellum to bounds: in process no slower than the improved form of the naive path,
    /// mounted at least 0.8 of the floor's rate, over a stuck store at most twice the p99.
    Check(check::CheckArgs),
    /// One control's server; `mounted` and `counters` start it.
    #[command(hide = true)]
    Serve(mounted::ServeArgs),
    /// A process that only writes; `counters` starts it.
    #[command(hide = true)]
    Spin(counters::SpinArgs),
}

fn main() -> std::process::ExitCode {
    if mounted::product::is_product() {
        return mounted::product::run();
    }
    let outcome = match Cli::parse().what {
        What::Process(args) => process::run(&args),
        What::Mounted(args) => mounted::run(&args),
        What::Stuck(args) => mounted::stuck(&args),
        What::Counters(args) => counters::run(&args),
        What::Bucket(args) => bucket::run(&args),
        What::Check(args) => check::run(&args),
        What::Spin(args) => counters::spin(&args),
        What::Serve(args) => mounted::serve(&args),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("vellum-bench: {failure}");
            std::process::ExitCode::FAILURE
        }
    }
}
