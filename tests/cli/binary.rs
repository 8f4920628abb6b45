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
