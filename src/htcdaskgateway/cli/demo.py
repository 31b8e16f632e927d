"""``htcdask demo``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NoReturn

import click

DIRECTORY = click.Path(path_type=Path)


@click.command()
@click.argument("more", nargs=-1, metavar="[FILE]...")
@click.option(
    "--input", "inputs", multiple=True, metavar="FILE", help="A NanoAOD file of your own. Repeatable."
)
@click.option(
    "--workers", default=4, show_default=True, type=click.IntRange(1, 1000), metavar="N", help="Dask workers."
)
@click.option(
    "--output", default=".", type=DIRECTORY, metavar="DIR", help="Where the picture goes. [default: here]"
)
@click.option("--keep", is_flag=True, help="Leave it running; print how a notebook connects.")
@click.option("--stop", type=DIRECTORY, metavar="DIR", help="End a demo that was kept.")
@click.option(
    "--run-on",
    type=click.Choice(["auto", "htcondor", "processes"]),
    default="auto",
    metavar="WHAT",
    help="What runs the workers: auto (the default), htcondor or processes.",
)
@click.option(
    "--timeout",
    default=300.0,
    show_default=True,
    type=click.FloatRange(1),
    metavar="SECONDS",
    help="For the workers, and for a task.",
)
@click.option(
    "--seed",
    default=20120712,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="Of the generated sample.",
)
def demo(
    more: tuple[str, ...],
    inputs: tuple[str, ...],
    workers: int,
    output: Path,
    keep: bool,
    stop: Path | None,
    run_on: str,
    timeout: float,
    seed: int,
) -> None:
    """Find dimuon candidates in NanoAOD files, on a gateway that is brought up for it.

    Its Dask workers are HTCondor jobs, or plain processes where there is no HTCondor. At the end everything
    but the picture is cleared away. Without FILE a sample is generated.

    \b
        htcdask demo --workers 8 --output /tmp nano_*.root
        htcdask demo --keep
    """  # noqa: D301 - \b is click's: keep these lines as they are
    from rich.console import Console

    from htcdaskgateway.cli.demo_result import Result
    from htcdaskgateway.cli.demo_show import RichShow
    from htcdaskgateway.demo.facility import stop_kept
    from htcdaskgateway.demo.run import Order, run
    from htcdaskgateway.demo.signals import EndedBySignal, ignore_signals

    console = Console(highlight=False)
    if stop is not None:
        ran = stop_kept(stop)
        console.print("Stopped." if ran else "It had ended already; its files are removed.")
        return
    # Lost connections at the end are what the demo wants; distributed reports them as trouble.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    show, result = RichShow(console), Result(console)
    try:
        outcome = run(Order((*inputs, *more), workers, output, run_on, keep, seed, timeout), show)
    except EndedBySignal as ended:
        ignore_signals()
        _end(ended.number)
    result.outcome(outcome)
    result.times(show.steps)
    if outcome.directory is not None:
        result.kept(outcome.notebook, f"htcdask demo --stop {outcome.directory}")


def _end(number: int) -> NoReturn:
    """Exit with the code that a shell gives to a program that a signal ended."""
    click.echo("Ended, and cleared away.", err=True)
    raise click.exceptions.Exit(128 + number)
