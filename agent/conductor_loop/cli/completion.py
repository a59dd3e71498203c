"""
`conductor-loop completion`: what makes a shell complete commands and options.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> int:
    """
    Print what makes a shell complete commands and options.

    \b
    bash: conductor-loop completion bash > ~/.local/share/bash-completion/completions/conductor-loop
    zsh:  conductor-loop completion zsh > ~/.zfunc/_conductor-loop   (a directory of $fpath)
    fish: conductor-loop completion fish > ~/.config/fish/completions/conductor-loop.fish
    """
    script = get_completion_class(shell)
    assert script is not None  # noqa: S101 - click has these three
    root = ctx.find_root()
    click.echo(script(root.command, {}, str(root.info_name), "_CONDUCTOR_LOOP_COMPLETE").source())
    return 0
