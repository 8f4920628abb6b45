//! The docker command line client, of this machine's engine or of a node's.

use std::process::Stdio;
use tokio::process::Command;

/// Runs `docker ARGS` against this machine's engine and gives back what it printed.
///
/// # Panics
/// It failed; the message holds what it said.
pub(crate) async fn docker(arguments: &[&str]) -> String {
    try_docker(arguments)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Like [`docker`], with the failure as a value.
pub(crate) async fn try_docker(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("docker");
    command.args(arguments);
    run(command).await
}

/// Runs a command to its end.
pub(crate) async fn run(mut command: Command) -> Result<String, String> {
    let shown = format!("{:?}", command.as_std());
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("cannot run {shown}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!(
            "{shown} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}

/// Runs `docker ARGS` where nothing can wait (in `drop`), and gives back its lines; a failure gives none.
pub(crate) fn lines(arguments: &[&str]) -> Vec<String> {
    let output = std::process::Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    output.map_or_else(
        |_| Vec::new(),
        |output| {
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(str::to_owned)
                .collect()
        },
    )
}
