//! The grammar and its help, without a store.

use clap::CommandFactory;
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
