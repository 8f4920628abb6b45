//! `skep completion`: completion scripts for shells.

use super::error::Error;
use super::terminal::Terminal;
use clap_complete::aot;

/// How a shell takes the script in.
const EXAMPLES: &str = "\
bash:  source <(skep completion bash)
zsh:   skep completion zsh > \"${fpath[1]}/_skep\"
fish:  skep completion fish > ~/.config/fish/completions/skep.fish";

/// Arguments of `skep completion`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Shells that can be completed in.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

pub(super) fn run(
    terminal: &Terminal,
    args: &Args,
    mut grammar: clap::Command,
) -> Result<(), Error> {
    let shell = match args.shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    aot::generate(shell, &mut grammar, "skep", &mut script);
    terminal.write(&script)
}
