//! `skep up` and `skep down` with networks, over one engine of the fleet.

use crate::ingress::{ask, port, spec};
use crate::networks::shown;
use crate::support::fleet::{Fleet, Transport};
use crate::support::image;
use crate::support::process::{Process, skep};
use crate::world::{SOON, until_soon};
use std::path::Path;
use std::process::Command;

/// The program with a data directory of its own.
fn of(data: &Path, words: &[&str]) -> Command {
    let mut command = skep(words);
    command.env("SKEP_DATA_DIR", data).env_remove("DOCKER_HOST");
    command.current_dir("/");
    command
}

/// Runs it to its end; what it printed.
async fn run(data: &Path, words: &[&str]) -> String {
    let command = tokio::process::Command::from(of(data, words)).output();
    let output = command.await.expect("skep can be run");
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn skep_up_realises_networks_on_one_machine_and_down_takes_its_agent_away() {
    let fleet = Fleet::mixed(1, Transport::Plain).await;
    fleet.load(&image::busybox(fleet.dir())).await;
    let node = fleet.node(1);
    let before = shown(node).await;
    let data = fleet.dir().join("data");
    let url = node.url();
    let any = "127.0.0.1:0";
    let mut words = vec!["up", "--listen", any, "--metrics-listen", any];
    words.extend(["--networks", "--network-pool", "10.99.0.0/16"]);
    words.extend(["--engine", &url]);
    let mut up = Process::spawn("up", of(&data, &words), fleet.dir());
    until_soon("the node is ready", async || {
        assert!(up.is_running(), "{}", up.output());
        up.output().contains("node local ready").then_some(())
    })
    .await;

    let manifest = fleet.dir().join("web.yaml");
    let text = format!(
        "{{apiVersion: skep.dev/v1, kind: Service, metadata: {{name: web}}, spec: {}}}",
        spec(1, 2)
    );
    std::fs::write(&manifest, text).expect("the temporary directory takes the manifest");
    let file = manifest.to_str().expect("a temporary path is text");
    run(&data, &["apply", "-f", file, "--wait"]).await;
    let networks = run(&data, &["get", "networks"]).await;
    assert!(networks.contains("10.99."), "{networks}");
    until_soon("the node's port leads to the tasks", async || {
        let asked = ask(port(node)).await;
        asked.inspect_err(|error| eprintln!("    {error}")).ok()
    })
    .await;
    eprintln!("passed: single: a published port answers with `skep up --networks`");

    // Nobody runs: what is to go goes by a control plane of its own.
    let ended = up.terminate(SOON).await;
    assert!(ended.success(), "{}", up.output());
    let said = run(&data, &["down", "--yes"]).await;
    assert!(said.contains("agent on local removed"), "{said}");
    let after = shown(node).await;
    assert_eq!(after, before, "{said}");
    eprintln!("passed: single: `skep down` leaves the node as it was found");
}
