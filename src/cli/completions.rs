//! `metanode completions`: what a shell needs to complete this program's command lines.

use std::io::{self, ErrorKind, Write};

use clap::{Args, Command};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  metanode completions bash > ~/.local/share/bash-completion/completions/metanode
  metanode completions zsh > \"${fpath[1]}/_metanode\"
  metanode completions fish > ~/.config/fish/completions/metanode.fish";

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// Writes them on standard output. `command` is the whole program's.
    pub fn run(self, command: &mut Command) -> anyhow::Result<()> {
        run(self.shell, command)
    }
}

/// Writes completions of `command` for `shell` on standard output.
pub fn run(shell: Shell, command: &mut Command) -> anyhow::Result<()> {
    let mut text = Vec::new();
    let name = command.get_name().to_string();
    clap_complete::generate(shell, command, name, &mut text);
    match io::stdout().lock().write_all(&text) {
        // `metanode completions bash | head` is no fault.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_completions_that_name_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut command = Command::new("metanode").subcommand(Command::new("testnet"));
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, "metanode", &mut text);
            assert!(String::from_utf8(text).unwrap().contains("testnet"), "{shell}");
        }
    }
}
