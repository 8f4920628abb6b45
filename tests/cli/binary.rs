//! The grammar and its help, without a store.

use crate::world::{WEB, World};
use clap::{CommandFactory, Parser};
use skep::cli::{Cli, HELP_TEMPLATE};

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_names_every_verb() {
    for verb in Cli::command().get_subcommands() {
        let line = format!("\n  {} ", verb.get_name());
        assert!(
            HELP_TEMPLATE.contains(&line),
            "{} is missing",
            verb.get_name()
        );
        assert!(
            verb.get_about().is_some(),
            "{} has no help",
            verb.get_name()
        );
    }
}

#[test]
fn every_verb_has_readable_help() {
    for verb in Cli::command().get_subcommands_mut() {
        let help = verb.render_long_help().to_string();
        assert!(!help.contains("See ["), "{}: {help}", verb.get_name());
    }
}

#[test]
fn nonsense_on_the_command_line_is_exit_code_2() {
    for words in [
        "skep",
        "skep aply",
        "skep apply",
        "skep get",
        "skep exec web",
        "skep wait svc web",
        "skep node add n1",
        "skep node add n1 --engine tcp://n1:2376 --tls-ca ca.pem",
        "skep apply -f x --timeout soon",
        "skep completion tcsh",
    ] {
        let error = Cli::try_parse_from(words.split(' ')).expect_err(words);
        assert_eq!(error.exit_code(), 2, "{words}");
    }
}

#[tokio::test]
async fn what_needs_no_store_works_without_one() {
    let world = World::new();
    world.store.set_reachable(false);
    let file = world.file("web.yaml", WEB);
    assert_eq!(
        world.ok(&format!("validate -f {file}")).await,
        "service default/web valid\n"
    );
    let bad = world.file("bad.yaml", &WEB.replace("image:", "imgae:"));
    let said = world.skep(&format!("validate -f {bad}")).await;
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("bad.yaml:7:") && said.err.contains("image"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("hint:"), "{}", said.err);
    assert_eq!(world.skep("validate -f /nonexistent.yaml").await.code, 1);
    for shell in ["bash", "zsh", "fish"] {
        let script = world.ok(&format!("completion {shell}")).await;
        assert!(script.contains("api-resources"), "{shell}");
    }
    assert!(world.ok("version").await.starts_with("skep "));
    assert!(
        world
            .ok("api-resources")
            .await
            .contains("services/<namespace>/<name>")
    );
}

/// The real program, without a store.
fn program(words: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_skep"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SKEP_") || text.starts_with("ETCDCTL_") {
            command.env_remove(&name);
        }
    }
    // Nothing listens on port 1; the directory has no configuration.
    command
        .env("SKEP_ENDPOINTS", "127.0.0.1:1")
        .current_dir("/");
    command
        .args(words)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn the_whole_help_names_every_verb() {
    for verb in skep::app::arguments::Arguments::command().get_subcommands() {
        let line = format!("\n  {} ", verb.get_name());
        assert!(
            HELP_TEMPLATE.contains(&line),
            "{} is missing",
            verb.get_name()
        );
    }
}

#[test]
fn the_program_ends_with_the_codes_that_its_help_names() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (good, bad) = (
        file("web.yaml", WEB),
        file("bad.yaml", &WEB.replace("image:", "imgae:")),
    );
    let garbage = file("garbage.pem", "not a certificate");
    let cases: [(&[&str], i32, &str); 23] = [
        (&["--help"], 0, ""),
        (&["--version"], 0, ""),
        (&["version"], 0, ""),
        (&["api-resources"], 0, ""),
        (&["validate", "-f", &good], 0, ""),
        (&["validate", "-f", &bad], 1, "bad.yaml:7:"),
        (&["validate", "-f", "/nonexistent"], 1, "/nonexistent"),
        (&[], 2, "Usage: skep"),
        (&["aply"], 2, "apply"),
        (&["get"], 2, "KIND"),
        (&["get", "svc"], 3, "127.0.0.1:1"),
        (&["apply", "-f", &good], 3, "127.0.0.1:1"),
        (&["diff", "-f", &good], 3, "127.0.0.1:1"),
        (&["exec", "web", "--", "true"], 125, "127.0.0.1:1"),
        (&["manager", "--controllers", "nonsense"], 2, "scheduler"),
        (&["manager", "--name", "a/b"], 2, "no slashes"),
        (&["up", "--name", ""], 2, "no slashes"),
        (
            &["get", "svc", "--endpoints", "http://"],
            2,
            "`http://` is no endpoint of etcd",
        ),
        (
            &["manager", "--endpoints", "a:1,b"],
            2,
            "`b` is no endpoint of etcd",
        ),
        (
            &["get", "svc", "--cacert", "/nonexistent.pem"],
            2,
            "/nonexistent.pem cannot be used for --cacert",
        ),
        (
            &["manager", "--cacert", &garbage],
            2,
            "garbage.pem cannot be used for --cacert (SKEP_CACERT",
        ),
        (
            &["exec", "web", "--cacert", &garbage, "--", "true"],
            125,
            "--cacert",
        ),
        (
            &["get", "svc", "--cert", &garbage, "--key", &garbage],
            2,
            "needs --cacert",
        ),
    ];
    for (words, code, text) in cases {
        let output = program(words);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {err}");
        assert!(err.contains(text), "{words:?}: {err}");
    }
}

#[test]
fn completion_scripts_are_sound() {
    use std::io::Write;
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = program(&["completion", shell]).stdout;
        let text = String::from_utf8(script).unwrap();
        for verb in ["describe", "whoami", "api-resources"] {
            assert!(text.contains(verb), "{shell}: no {verb}");
        }
        let mut command = std::process::Command::new(shell);
        command.arg(check).stdin(std::process::Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if shell != "bash" && error.kind() == std::io::ErrorKind::NotFound => {
                println!("not covered: {shell} is not installed, its completion was not parsed");
                continue;
            }
            Err(error) => panic!("{shell}: {error}"),
        };
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(
            child.wait().unwrap().success(),
            "{shell} refuses the script"
        );
    }
}

#[test]
fn nobody_who_reads_is_no_error() {
    let skep = env!("CARGO_BIN_EXE_skep");
    let words = format!("'{skep}' completion bash | head -n 1; exit ${{PIPESTATUS[0]}}");
    let output = std::process::Command::new("bash")
        .args(["-c", &words])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
