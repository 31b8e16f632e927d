#!/usr/bin/env python3
"""How long until n jobs are in the schedd, and until n workers are connected, beside the alternatives.

Run it as root with the environment that ``scripts/env`` makes; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import ways
from benchmarks.ground import Ground, prepared
from benchmarks.results import BARE, GATEWAY, HAND, JOBQUEUE, Results, Series, rotated
from distributed import Client
from rich.console import Console
from tests.support.pool import BUILD_DEADLINE, HOLD, RECIPE, NoPoolError, Pool, running_pool
from tests.support.waiting import eventually

QUEUE_DEADLINE = 600.0  # seconds
CONNECT_DEADLINE = 180.0
POLL = 0.005  # seconds between two looks into the schedd's log
SETTLE = 1.0  # seconds in which further transactions on the same jobs still count
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def measure_queued(ground: Ground, way: ways.Way, number: int) -> tuple[float, int]:
    """Seconds until the call has returned and the jobs are committed; transactions on them."""
    try:
        with way(ground) as scale:
            log = ground.log()
            deadline = time.monotonic() + QUEUE_DEADLINE
            start = time.perf_counter()
            scale(number)
            while True:
                seconds = time.perf_counter() - start  # before the look, which takes time of its own
                if log.read() >= number:
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{log.jobs} of {number} jobs after {QUEUE_DEADLINE:g} s")
                time.sleep(POLL)
            time.sleep(SETTLE)
            found = (log.read(), ground.jobs())
            if found != (number, number):
                raise RuntimeError(f"{number} jobs wanted; in the schedd's log and in the queue: {found}")
            return seconds, log.transactions
    finally:
        ground.clear()


def measure_connected(ground: Ground, way: ways.WorkersWay, number: int) -> float:
    """Seconds until the scheduler has the workers."""
    try:
        with way(ground) as workers:
            start = time.perf_counter()
            workers.scale(number)
            what = f"{number} workers connected"
            eventually(what, lambda: connected(workers.client) >= number, CONNECT_DEADLINE)
            return time.perf_counter() - start
    finally:
        ground.clear()


def connected(client: Client) -> int:
    """Ask the scheduler. `client.wait_for_workers` would ask the gateway, where there is one."""
    identity = client.sync(client.scheduler.identity, n_workers=-1)
    return sum(worker["status"] == "running" for worker in identity["workers"].values())


def run(ground: Ground, options: argparse.Namespace, console: Console) -> Results:
    results = Results(about(ground))
    idle = ways.sandbox_of_idle_jobs(ground)
    queued = {GATEWAY: ways.gateway, BARE: ways.condor_submit(idle), JOBQUEUE: ways.dask_jobqueue}
    for number in options.sizes:
        names = [name for name in queued if name != JOBQUEUE or number <= options.jobqueue_limit]
        row = results.queued[number] = {name: Series() for name in names}
        for repetition in range(options.repetitions):
            for name in rotated(names, repetition):
                seconds, transactions = measure_queued(ground, queued[name], number)
                row[name].seconds.append(seconds)
                row[name].transactions.append(transactions)
            report(console, f"n = {number}, in the schedd", row)
    results.extrapolate_jobqueue()
    sandbox = ways.sandbox_of_workers(ground)
    ground.clear()
    connected = {GATEWAY: ways.gateway_workers, HAND: ways.workers_by_hand(sandbox)}
    row = results.connected[options.workers] = {name: Series() for name in connected}
    for repetition in range(options.repetitions):
        for name in rotated(list(connected), repetition):
            row[name].seconds.append(measure_connected(ground, connected[name], options.workers))
        report(console, f"n = {options.workers}, connected", row)
    return results


def report(console: Console, what: str, row: dict[str, Series]) -> None:
    """One line for each repetition: the way to the table is long."""
    last = ", ".join(f"{name} {series.seconds[-1]:.2f} s" for name, series in row.items())
    console.print(f"{what}: {last}", soft_wrap=True)


def about(ground: Ground) -> dict[str, str]:
    condor = ground.pool.command("condor_version").split()
    packages = ("htcdaskgateway", "dask-gateway", "distributed", "dask-jobqueue")
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    return {
        "HTCondor": condor[1] if len(condor) > 1 else "unknown",
        "Python": platform.python_version(),
        **{name: version(name) for name in packages},
        "machine": f"{os.cpu_count()} CPUs, load {load} at the start",
    }


@contextmanager
def held_pool() -> Iterator[Pool]:
    """The pool, out of the reach of a Ctrl-C until our jobs are removed from it.

    A terminal sends it to all processes of the foreground, so the first holder is in a session of its own.
    """
    command = [str(RECIPE), "with", *HOLD]
    holder = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        with running_pool() as pool:
            yield pool
    finally:
        holder.communicate(timeout=BUILD_DEADLINE)


def interrupted(number: int, frame: FrameType | None) -> NoReturn:
    for each in ENDING:  # clearing up has its own deadlines
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 100, 1000], metavar="N", help="jobs")
    parser.add_argument("--workers", type=int, default=8, metavar="N", help="workers that are to connect")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N")
    parser.add_argument(
        "--jobqueue-limit", type=int, default=100, metavar="N",
        help="largest size for dask-jobqueue, which starts one condor_submit for each job, all at once",
    )  # fmt: skip
    parser.add_argument("--smoke", action="store_true", help="1 and 20 jobs, 2 workers, once: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, each repetition, to it")
    options = parser.parse_args()
    if options.smoke:
        options.sizes, options.workers, options.repetitions = [1, 20], 2, 1
    if min(*options.sizes, options.workers, options.repetitions) < 1:
        parser.error("sizes, workers and repetitions are numbers from 1")
    return options


def main() -> int:
    options = parsed()
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    if os.geteuid() != 0:
        console.print("Only root can make the pool's accounts: run it as root.")
        return 2
    for number in ENDING:
        signal.signal(number, interrupted)
    try:
        with held_pool() as pool, prepared(pool) as ground:
            results = run(ground, options, console)
    except NoPoolError as error:
        console.print(f"There can be no pool here: {error}")
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted: jobs, gateway and files are cleared away.")
        return 130
    if options.json:
        options.json.write_text(json.dumps(results.as_json(), indent=2) + "\n")
    console.print()
    results.show(console)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
