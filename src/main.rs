//! `skep`: parses the command line and hands it to `app`.

use clap::{CommandFactory, FromArgMatches};
use skep::app::arguments::Arguments;
use skep::app::process;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything speaks TLS: every client takes the process's default provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let grammar = Arguments::command();
    let arguments = match Arguments::from_arg_matches(&grammar.clone().get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the machine has room for the runtime's threads");
    let code = runtime.block_on(process::run(arguments, grammar));
    // A blocking read of standard input may never end: it must not hold the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}
