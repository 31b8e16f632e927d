"""``htcdask completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what lets SHELL complete commands, options and names of clusters.

    \b
    bash:  eval "$(htcdask completion bash)"    in ~/.bashrc
    zsh:   eval "$(htcdask completion zsh)"     in ~/.zshrc, after compinit
    fish:  htcdask completion fish | source     in ~/.config/fish/config.fish
    """  # noqa: D301 - Click takes the character for "as it is written"
    from htcdaskgateway.cli.group import htcdask

    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"Click knows no completion for {shell}.")
    click.echo(found(htcdask, {}, "htcdask", "_HTCDASK_COMPLETE").source())
