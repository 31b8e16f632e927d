"""The command ``htcdask``. A subcommand's module is imported when the subcommand is called."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from htcdaskgateway.cli.remedies import in_a_shell
from htcdaskgateway.errors import HTCDaskError

# name: where the command is, and its line in `htcdask --help`
COMMANDS = {
    "check": ("htcdaskgateway.cli.check:check", "See whether every part works from here, and what mends it."),
    "demo": ("htcdaskgateway.cli.demo:demo", "Run an analysis on a gateway of your own, and clean up."),
    "clusters": ("htcdaskgateway.cli.clusters:clusters", "List your clusters, with their workers."),
    "workers": (
        "htcdaskgateway.cli.clusters:workers",
        "List workers: where each is, and why one does not come.",
    ),
    "logs": ("htcdaskgateway.cli.logs:logs", "Show what the workers of a cluster wrote."),
    "images": ("htcdaskgateway.cli.images:images", "List images with their versions, and whether they fit."),
    "scale": ("htcdaskgateway.cli.change:scale", "Scale a cluster to a number of workers."),
    "shutdown": ("htcdaskgateway.cli.change:shutdown", "Shut clusters down."),
    "completion": (
        "htcdaskgateway.cli.completion:completion",
        "Print what lets a shell complete all of these.",
    ),
}


class Failure(click.ClickException):
    """An error of ours, shown as it is written."""

    def show(self, file: Any = None) -> None:
        click.echo(f"Error: {self.message}", file=file, err=True)


class LazyGroup(click.Group):
    """Commands by name; none is imported to list them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HTCDaskError as error:
            error.remedy = in_a_shell(error.remedy)
            raise Failure(str(error)) from error


def _version() -> str:
    try:
        return version("htcdaskgateway")
    except PackageNotFoundError:  # run from the source tree
        return "unknown"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="htcdask")
def htcdask() -> None:
    """Dask clusters from a notebook, with HTCondor workers, through dask-gateway."""
