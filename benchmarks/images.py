#!/usr/bin/env python3
"""How long it takes to read an image's versions, beside running the image to ask it.

Run it as root with the environment that ``scripts/env`` makes; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.results import rotated
from rich import box
from rich.console import Console
from rich.table import Table
from tests.support.accounts import Accounts
from tests.support.pool import NoPoolError, Pool, running_pool

from htcdaskgateway.images.contents import forget, read_image
from htcdaskgateway.images.running import ask_image
from htcdaskgateway.versions.names import MUST_AGREE, SHOWN

IMAGE = "unpacked.cern.ch/registry.example.org/htcdask/worker"
PACKAGES = (*MUST_AGREE[1:], *SHOWN)
DEADLINE = 300.0  # seconds of one run
IMPORT = "import dask, distributed"
READ, AGAIN = "read_image(IMAGE)", "read_image(IMAGE), second look"
NEW = "python -c 'read_image(IMAGE)'"
RUN = f"apptainer exec IMAGE python -c '{IMPORT}'"
ENTERING = "  of which entering the pool"
# As this account in the pool's namespaces, where Apptainer and /cvmfs are; costs some milliseconds itself.
ENTER = "nsenter --target {master} --mount --pid -- setpriv --reuid={user} --regid={user} --init-groups --"

AIM_RATIO, AIM_CPU, AIM_AGAIN = 50, 50, 1  # times; ms; ms


@dataclass
class Series:
    """Wall and CPU seconds of each repetition."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, wall: float, cpu: float) -> None:
        self.wall.append(wall)
        self.cpu.append(cpu)


def _milliseconds(seconds: list[float]) -> str:
    low, middle, high = (1000 * one for one in (min(seconds), statistics.median(seconds), max(seconds)))
    digits = 2 if middle < 10 else 0
    return f"{middle:.{digits}f} ms ({low:.{digits}f}-{high:.{digits}f})"


@dataclass(frozen=True)
class Way:
    """One image, as this machine and as the pool sees it, and the command that enters the pool."""

    tag: str
    here: Path
    there: str
    enter: Sequence[str]


def measure_here(call: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure_command(command: Sequence[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command with all processes that it waited for."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/")
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            words = output.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{shlex.join(command)} ended with {process.returncode}: {words}")
    return wall, used.ru_utime + used.ru_stime


def commands(way: Way) -> dict[str, Callable[[], tuple[float, float]]]:
    read = (
        f"from htcdaskgateway.images.contents import read_image; read_image({str(way.here)!r}, {PACKAGES!r})"
    )

    def first() -> tuple[float, float]:
        forget()
        return measure_here(lambda: read_image(way.here, PACKAGES))

    return {
        READ: first,
        AGAIN: lambda: measure_here(lambda: read_image(way.here, PACKAGES)),
        NEW: lambda: measure_command([sys.executable, "-c", read]),
        RUN: lambda: measure_command(
            [*way.enter, "timeout", f"{DEADLINE:g}", "apptainer", "exec", way.there, "python", "-c", IMPORT]
        ),
        ENTERING: lambda: measure_command([*way.enter, "true"]),
    }


def run(way: Way, repetitions: int) -> dict[str, Series]:
    """Take turns, so that what else the machine does meets all alike; the first turn only warms up."""
    calls = commands(way)
    found = {name: Series() for name in calls}
    for repetition in range(-1, repetitions):
        # Reading and its second look stay together.
        for name in rotated([READ, NEW, RUN, ENTERING], repetition):
            for each in (READ, AGAIN) if name == READ else (name,):
                figures = calls[each]()
                if repetition >= 0:
                    found[each].add(*figures)
    return found


def check(way: Way) -> dict[str, str]:
    """What is read must be what the image's own Python says; gives it."""
    forget()
    read = dict(read_image(way.here, PACKAGES).versions)
    with tempfile.TemporaryDirectory() as directory:
        apptainer = Path(directory) / "apptainer"
        apptainer.write_text(f'#!/bin/sh\nexec {shlex.join(way.enter)} apptainer "$@"\n')
        apptainer.chmod(0o755)
        asked = dict(ask_image(way.there, PACKAGES, apptainer=str(apptainer), timeout=DEADLINE).versions)
    if f"{asked['python']}.".startswith(f"{read['python']}."):
        asked["python"] = read["python"]
    if read != asked:
        raise RuntimeError(f"{way.tag}: {read} was read, but the image says {asked}")
    return read


@contextmanager
def prepared(tags: Sequence[str]) -> Iterator[list[Way]]:
    with running_pool() as pool:
        pool.build_images()
        enter = shlex.split(ENTER.format(master=pool.master, user=Accounts().analyst))
        cvmfs = _cvmfs(pool)
        yield [Way(tag, cvmfs / f"{IMAGE}:{tag}", f"/cvmfs/{IMAGE}:{tag}", enter) for tag in tags]


def _cvmfs(pool: Pool) -> Path:
    words = shlex.split(pool.recipe("env"))
    return Path(next(word.partition("=")[2] for word in words if word.startswith("HTCDASK_POOL_CVMFS=")))


def times_faster(found: dict[str, Series], name: str, kind: str) -> float:
    """By medians, and less what entering the pool costs."""

    def median(which: str) -> float:
        return float(statistics.median(getattr(found[which], kind)))

    return (median(RUN) - median(ENTERING)) / median(name)


def show(console: Console, way: Way, found: dict[str, Series], versions: dict[str, str]) -> None:
    console.print(f"\nworker:{way.tag}: {', '.join(f'{name} {number}' for name, number in versions.items())}")
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII2)
    for title in ("", "wall", "CPU", "times faster: wall", "CPU"):
        table.add_column(title, justify="right" if title else "left")
    for name, series in found.items():
        kinds = () if name in (RUN, ENTERING) else ("wall", "cpu")
        ratios = [f"{times_faster(found, name, kind):.0f}" for kind in kinds]
        table.add_row(name, _milliseconds(series.wall), _milliseconds(series.cpu), *ratios)
    console.print(table)
    faster = times_faster(found, READ, "wall")
    cpu, again = 1000 * max(found[READ].cpu), 1000 * max(found[AGAIN].wall)
    for reached, aim, value in (
        (faster >= AIM_RATIO, f"at least {AIM_RATIO} times faster", f"{faster:.0f}"),
        (cpu < AIM_CPU, f"less than {AIM_CPU} ms of CPU", f"at most {cpu:.2f} ms"),
        (again < AIM_AGAIN, f"the second look in less than {AIM_AGAIN} ms", f"at most {again:.2f} ms"),
    ):
        console.print(f"  {'reached' if reached else 'MISSED'}: {aim}: {value}")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tags", nargs="+", default=["matching", "mismatched"], metavar="TAG")
    parser.add_argument("--repetitions", type=int, default=15, metavar="N")
    parser.add_argument("--smoke", action="store_true", help="one image, twice: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, each repetition, to it")
    options = parser.parse_args()
    if options.smoke:
        options.tags, options.repetitions = options.tags[:1], 2
    if options.repetitions < 1:
        parser.error("repetitions are a number from 1")
    return options


def main() -> int:
    options = parsed()
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    if os.geteuid() != 0:
        console.print("Only root can make the pool's accounts: run it as root.")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    figures = {}
    try:
        with prepared(options.tags) as ways:
            load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
            console.print(
                f"Python {platform.python_version()}; {os.cpu_count()} CPUs, load {load} at the start"
            )
            for way in ways:
                versions = check(way)
                found = run(way, options.repetitions)
                show(console, way, found, versions)
                figures[way.tag] = {name: asdict(series) for name, series in found.items()}
    except NoPoolError as error:
        console.print(f"There can be no pool here: {error}")
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 130
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
