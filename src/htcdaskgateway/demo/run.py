"""The main job, step by step: gateway, cluster, workers, analysis, picture, and away with it all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import dask

from htcdaskgateway.demo import distribute, inputs, plot, sample
from htcdaskgateway.demo.facility import Facility, LeftBehindError
from htcdaskgateway.demo.pool import Pool, find_pool
from htcdaskgateway.demo.show import Show
from htcdaskgateway.demo.signals import ending_signals_raise
from htcdaskgateway.demo.spectrum import Spectrum
from htcdaskgateway.errors import InvalidRequestError, ScheddUnavailableError

if TYPE_CHECKING:
    from htcdaskgateway.client import HTCGateway, HTCGatewayCluster

PICTURE = "dimuon_mass.png"
SAMPLE_CHUNK, INPUT_CHUNK = 25_000, 200_000  # events of a task: a second or so of work
GENERATED = "Generated sample, not data"

# A person's own Dask configuration is for their own gateway: this one has other options and addresses,
# and loopback is not reached through an HTTP proxy.
NEUTRAL: dict[str, object] = {
    "gateway.cluster.options": {},
    "gateway.public-address": None,
    "gateway.proxy-address": None,
    "gateway.http-client.proxy": False,
}


@dataclass(frozen=True)
class Order:
    """What a person asks of the demo.

    Attributes
    ----------
    inputs : sequence of str
        NanoAOD files; none: a sample is generated.
    workers : int
    output : Path
        Directory for the picture.
    run_on : str
        ``auto``, ``htcondor`` or ``processes``.
    keep : bool
        Leave gateway, cluster and workers running.
    seed : int
        Of the generated sample.
    timeout : float
        Seconds to wait for workers, and for a task to end.
    """

    inputs: Sequence[str] = ()
    workers: int = 4
    output: Path = Path()
    run_on: str = "auto"
    keep: bool = False
    seed: int = 20120712
    timeout: float = 300.0


@dataclass
class Outcome:
    """What came of it. ``notebook`` and ``directory`` are of a demo that was kept."""

    spectrum: Spectrum
    source: str
    picture: Path
    notebook: list[str] = field(default_factory=list)
    directory: Path | None = None


def run(order: Order, show: Show) -> Outcome:
    """Run the demo; when it returns or raises, nothing of it is left unless it was to be kept.

    Raises
    ------
    InvalidRequestError
        Before anything is started, where that can be known.
    HTCDaskError
    EndedBySignal
        After the clean-up.
    """
    check_output(order.output)
    files = inputs.check_files(order.inputs)
    with ExitStack() as stack:
        stack.enter_context(ending_signals_raise())
        stack.enter_context(dask.config.set(NEUTRAL))
        entries = inputs.look_into(files[: inputs.LOOKED_INTO_HERE])
        if len(entries) == len(files) and files:
            inputs.check_total(entries)
        where = choose(order.run_on)
        show.note(where.sentence)
        facility = stack.enter_context(_closing(Facility(where, order.workers, order.keep), show))
        if not files:
            files, entries = _generate(facility.directory, order.seed, show)
        with show.step("Gateway") as step:
            facility.start()
            step.detail = facility.settings.address
        outcome = _main_job(order, facility, files, entries, show)
        if order.keep:
            facility.keep_running()
            outcome.directory = facility.directory
    return outcome


def _main_job(order: Order, facility: Facility, files: list[Path], entries: list[int], show: Show) -> Outcome:
    """What a notebook does, with what it has: the public client."""
    with ExitStack() as stack:
        gateway = stack.enter_context(_gateway(facility))
        with show.step("Scheduler") as step:
            # It is the facility that ends it, on every way out.
            cluster = stack.enter_context(closing(gateway.new_cluster(shutdown_on_close=False)))
            step.detail = f"dashboard {cluster.dashboard_link}"
        with show.step("Workers") as step:
            step.detail = _workers(cluster, order, show)
        with show.step("Analysis") as step:
            spectrum = _analysis(cluster, order, files, entries, show)
            step.detail = f"{_count(spectrum.chunks, 'task')} on {_count(len(spectrum.workers), 'worker')}"
        outcome = Outcome(spectrum, _source(order.inputs), order.output / PICTURE)
        with show.step("Picture") as step:
            plot.draw(spectrum, outcome.picture, outcome.source, cache=facility.directory)
            step.detail = str(outcome.picture)
        if order.keep:
            outcome.notebook = notebook_lines(facility, cluster.name)
        else:
            with show.step("Shutdown") as step:
                cluster.shutdown()
                step.detail = "cluster stopped"
    return outcome


def _analysis(
    cluster: HTCGatewayCluster, order: Order, files: list[Path], entries: list[int], show: Show
) -> Spectrum:
    client = cluster.get_client(set_as_default=False)
    try:
        entries = entries + distribute.count_entries(client, files[len(entries) :], order.timeout)
        inputs.check_total(entries)
        chunk = INPUT_CHUNK if order.inputs else SAMPLE_CHUNK
        counted = list(zip(files, entries, strict=True))
        return distribute.analyse(client, counted, chunk, order.timeout, show.tasks)
    finally:
        client.close(timeout=5)


def check_output(directory: Path) -> None:
    """Raise InvalidRequestError if no picture can be written there."""
    if not directory.is_dir():
        raise InvalidRequestError(f"There is no directory {str(directory)!r} for the picture.")
    probe = directory / f".{PICTURE}.new"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidRequestError(
            f"The picture cannot be written to {str(directory)!r}: {error.strerror}.",
            remedy="Name another directory with --output.",
        ) from error


def choose(run_on: str) -> Pool:
    """Find out where workers can run, or raise ScheddUnavailableError if HTCondor was asked for."""
    if run_on == "processes":
        return Pool()
    pool = find_pool()
    if run_on == "htcondor" and not pool.usable:
        raise ScheddUnavailableError("", pool.refusal or "HTCondor is not installed or not configured here")
    return pool


def notebook_lines(facility: Facility, cluster: str) -> list[str]:
    """Three lines that give a notebook this cluster; the password stays in its file."""
    settings = facility.settings
    login = f"BasicAuth({settings.user!r}, open({str(settings.password_file)!r}).read())"
    return [
        "from dask_gateway import BasicAuth; from htcdaskgateway import HTCGateway",
        f"gateway = HTCGateway({settings.address!r}, auth={login})",
        f"cluster = gateway.connect({cluster!r})",
    ]


def _generate(directory: Path, seed: int, show: Show) -> tuple[list[Path], list[int]]:
    with show.step("Sample") as step:
        files = sample.write_files(directory, seed)
        entries = inputs.look_into(files)
        step.detail = f"{len(files)} files of generated NanoAOD, {sum(entries):,} events"
    return files, entries


def _workers(cluster: HTCGatewayCluster, order: Order, show: Show) -> str:
    """Wait for them; with some of them only, the analysis goes on, and it is said."""
    from htcdaskgateway.client.errors import WorkersMissingError

    cluster.scale(order.workers)
    try:
        cluster.wait_for_workers(
            order.workers, order.timeout, on_change=lambda report: show.workers(order.workers, report)
        )
    except WorkersMissingError as error:
        if not error.running:
            raise
        why = error.why or error.states
        return f"{error.running} of {order.workers} running, going on with these ({why})"
    return f"{order.workers} running"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _source(paths: Sequence[str]) -> str:
    if not paths:
        return GENERATED
    return Path(paths[0]).name if len(paths) == 1 else f"{len(paths)} input files"


@contextmanager
def _gateway(facility: Facility) -> Iterator[HTCGateway]:
    from dask_gateway import BasicAuth

    from htcdaskgateway.client import HTCGateway

    settings = facility.settings
    gateway = HTCGateway(settings.address, auth=BasicAuth(settings.user, settings.password))
    try:
        yield gateway
    finally:
        gateway.close()


@contextmanager
def _closing(facility: Facility, show: Show) -> Iterator[Facility]:
    """Enter it, and tell of its end as a step."""
    with facility:
        try:
            yield facility
        except BaseException:  # of signals too; it goes on after this
            # What went wrong first is what the person must read.
            try:
                _close(facility, show)
            except LeftBehindError as error:
                show.note(str(error))
            raise
        if not facility.kept:
            _close(facility, show)


def _close(facility: Facility, show: Show) -> None:
    with show.step("Clean-up") as step:
        facility.close()
        step.detail = "no process, job or file left"
