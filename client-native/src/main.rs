//! `baton`: the command line (docs/cli.md).

use baton_client_native::{args::Cli, command, complain, raise_file_limit};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let cli = match Cli::read(&arguments) {
        Ok(cli) => cli,
        Err(code) => return ExitCode::from(code),
    };
    let json = cli.json;
    // Several rustls providers may be compiled in; the first to be named is the process's.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("baton: {error}"));
            return ExitCode::FAILURE;
        }
    };
    raise_file_limit();
    let result = runtime.block_on(command::run(cli));
    // Threads that still read a disk must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            if !json {
                complain(&format!("baton: {exit}"));
            }
            ExitCode::from(exit.code)
        }
    }
}
