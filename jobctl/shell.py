"""``jobctl completion``: the script that a shell reads once.

Names of commands are in the script, so that a Tab does not start Python for them; what follows an
option or names something in Redis is asked of ``jobctl`` itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.shell_completion import get_completion_class

_BASH = """\
# Completion of jobctl for bash. For zsh: autoload -U bashcompinit && bashcompinit first.
_jobctl() {
  local word path=jobctl words="" skip=""
  local current="${COMP_WORDS[COMP_CWORD]}"
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $skip ]] && { skip=""; continue; }
    case "$word" in
      VALUED) skip=1 ;;
      -*) ;;
      *) path="$path $word" ;;
    esac
  done
  if [[ ! $skip ]]; then
    case "$path" in
CASES
    esac
    case "$path:$current" in
      *:-*) words="${words#*|}" ;;
      *) words="${words%%|*}" ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [[ ${COMPREPLY[*]} ]] && return
  fi
  local IFS=$'\\n' kind value
  COMPREPLY=()
  while IFS=, read -r kind value; do
    case "$kind" in
      file) compopt -o default 2>/dev/null ;;
      plain) COMPREPLY+=("$value") ;;
    esac
  done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
    _JOBCTL_COMPLETE=bash_complete "$1")
}
complete -o nosort -F _jobctl jobctl 2>/dev/null || complete -F _jobctl jobctl
"""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands, options and names in Redis.

    In ~/.bashrc: eval "$(jobctl completion bash)"; in ~/.zshrc: eval "$(jobctl completion zsh)";
    for fish: jobctl completion fish > ~/.config/fish/completions/jobctl.fish
    """
    root = context.find_root().command
    if shell == "bash":
        click.echo(bash(root), nl=False)
        return
    made = get_completion_class(shell)
    assert made is not None
    source = made(root, {}, "jobctl", "_JOBCTL_COMPLETE").source()
    # For fish, click cuts the texts at their first comma.
    click.echo(source.replace('string split ","', 'string split --max 1 ","'))


def bash(root: click.Command) -> str:
    """The script for bash."""
    cases, valued = [], {"-P"}
    for path, command, context in commands(root, "jobctl", None):
        options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
        names = [name for each in options for name in each.opts if not each.hidden]
        valued |= {name for each in options if not each.is_flag for name in each.opts}
        below = command.list_commands(context) if isinstance(command, click.Group) else []
        cases.append(f'      "{path}") words="{" ".join(below)}|{" ".join(names)} --help" ;;')
    return _BASH.replace("CASES", "\n".join(cases)).replace("VALUED", "|".join(sorted(valued)))


def commands(
    command: click.Command, path: str, parent: click.Context | None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """All commands with their paths, such as ``jobctl dead ls``."""
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent)
    yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from commands(below, f"{path} {name}", context)
