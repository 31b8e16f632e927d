"""Schedulers as processes beside the gateway, each under its user's own account."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import pwd
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from traitlets import Float, Integer, List, Unicode
from traitlets.config import LoggingConfigurable

from htcdaskgateway.credentials.words import shown
from htcdaskgateway.errors import ConfigurationError, InvalidRequestError, SchedulerStartError
from htcdaskgateway.launchers import scheduler_process
from htcdaskgateway.launchers.base import Addresses, SchedulerPorts, SchedulerSpec
from htcdaskgateway.launchers.container import (
    SCRIPT,
    apptainer_command,
    apptainer_environment,
    scheduler_script,
)

WORDS = 2000  # characters of foreign words that an error shows
LAST_WORDS = 500  # characters of a log's last line, in a reason
ANSWER_LIMIT = 2**20  # bytes; ours are far shorter
# useradd(8) takes these; a leading "-" would be an option to the command prefix.
ACCOUNT_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}", re.ASCII)


class LocalLauncher(LoggingConfigurable):
    """Runs each scheduler as a process on the gateway's own host.

    Whoever uses a cluster can run any code in its scheduler (``Client.run_on_scheduler``). So it runs
    under the account of the user, reached by ``command_prefix``; or, where ``single_user`` says that the
    gateway serves one person only, under the gateway's own.
    """

    command_prefix = List(
        Unicode(),
        help="""Command that runs another command as ``{user}``, as a list of words. It must pass standard
        input and output through, and let a process live on that starts a session of its own:
        ``["sudo", "-nu", "{user}", "--"]``, ``["runuser", "-u", "{user}", "--"]`` for a gateway that is
        root, or ``["systemd-run", "--quiet", "--scope", "--uid={user}"]`` likewise.""",
        config=True,
    )
    single_user = Unicode(
        "",
        help="""The one user of this gateway. Schedulers then run under the gateway's own account, and
        nobody else gets a cluster. For demonstrations and personal gateways.""",
        config=True,
    )
    minimum_uid = Integer(1000, help="Accounts below this uid get no scheduler.", config=True)
    maximum_uid = Integer(60000, help="Accounts above it, such as nobody, neither.", config=True)
    host = Unicode(
        "0.0.0.0",  # noqa: S104 - its TLS refuses everybody without the cluster's key
        help="The address that schedulers listen at; execute points and the gateway must reach it.",
        config=True,
    )
    python = Unicode(
        sys.executable, help="Python that every user may run, for our own small start program.", config=True
    )
    directory = Unicode(
        help="""Where schedulers have their directories, mode 0700 and owned by their users. Every user must
        be able to create one there. Default: the system's temporary directory.""",
        config=True,
    )
    apptainer = Unicode(
        "apptainer",
        help="Apptainer on this host, for schedulers in images: a path, or a name in ``PATH``.",
        config=True,
    )
    apptainer_arguments = List(
        Unicode(), help="Further options of ``apptainer exec`` for schedulers.", config=True
    )
    stop_grace = Float(
        10, min=0, help="Seconds between asking a scheduler to end and killing it.", config=True
    )
    command_timeout = Float(
        30, min=1, help="Seconds that the command prefix may take to start our program.", config=True
    )

    ports = SchedulerPorts()

    def check_configuration(self) -> None:
        if self.command_prefix and self.single_user:
            raise ConfigurationError(
                "LocalLauncher.command_prefix and LocalLauncher.single_user are both set.",
                {"command_prefix": " ".join(self.command_prefix), "single_user": self.single_user},
                "Keep command_prefix if the gateway serves several people, else single_user.",
            )
        if not self.command_prefix and not self.single_user:
            raise ConfigurationError(
                "Every user's scheduler would run under the gateway's own account.",
                {
                    "why that is refused": "a user runs any code in a scheduler; it could read the "
                    "gateway's database and keys, and the files of every other cluster"
                },
                'Set c.LocalLauncher.command_prefix = ["sudo", "-nu", "{user}", "--"] (or another command '
                "that runs one as the user), or, where one person only uses this gateway, "
                'c.LocalLauncher.single_user = "NAME".',
            )
        if self.command_prefix and not any("{user}" in word for word in self.command_prefix):
            raise ConfigurationError(
                "LocalLauncher.command_prefix does not name {user}: all schedulers would share one account.",
                {"command_prefix": " ".join(self.command_prefix)},
            )

    def check_ways(self, worker_contact: str, api_url: str) -> None:
        """Find every way good: schedulers are on the gateway's own host."""

    async def open(self, gateway: str) -> None:
        """Do nothing: each scheduler is a process of its own."""

    async def close(self) -> None:
        """Do nothing, likewise."""

    async def sweep(self, is_known: Callable[[str], bool]) -> None:
        """Do nothing: the state of each cluster leads to its process."""

    def addresses(self, state: Mapping[str, Any]) -> Addresses | None:
        """Leave it to the heartbeat: ports are the kernel's choice."""
        return None

    def admit(self, user: str) -> None:
        if self.single_user:
            if user != self.single_user:
                raise InvalidRequestError(f"This gateway serves {self.single_user!r} only, not {user!r}.")
            return
        if not ACCOUNT_NAME.fullmatch(user):
            raise InvalidRequestError(f"User name {user!r} cannot be an account of this host.")
        try:
            account = pwd.getpwnam(user)
        except KeyError:
            raise InvalidRequestError(f"User {user!r} has no account on the gateway's host.") from None
        if not self.minimum_uid <= account.pw_uid <= self.maximum_uid or account.pw_uid == os.geteuid():
            raise InvalidRequestError(f"Account {user!r} (uid {account.pw_uid}) may not run a scheduler.")

    def place(self, cluster: str) -> dict[str, Any]:
        return {"directory": str(Path(self.directory or tempfile.gettempdir()) / f"daskgateway-{cluster}")}

    async def start(self, spec: SchedulerSpec) -> dict[str, Any]:
        request = {"op": "start", **self.place(spec.cluster), **self._program(spec)}
        answer = await self._ask(spec.user, request, spec.cluster)
        if "error" in answer:
            raise SchedulerStartError(spec.cluster, str(answer["error"])[:WORDS])
        if not isinstance(answer.get("pid"), int):
            raise SchedulerStartError(spec.cluster, f"no answer of ours: {str(answer)[:WORDS]}")
        return {"pid": answer["pid"], "started": answer.get("started"), **self.place(spec.cluster)}

    def _program(self, spec: SchedulerSpec) -> dict[str, Any]:
        """What is started, on this host itself or in an image."""
        if spec.image is None:
            return {
                "files": dict(spec.files),
                "environment": {**spec.inherited, **spec.environment},
                "command": list(spec.command),
            }
        directory, image = self.place(spec.cluster)["directory"], spec.image.path
        return {
            "files": {**spec.files, SCRIPT: scheduler_script(spec, image, directory)},
            "environment": {**spec.inherited, **apptainer_environment(directory)},
            "command": apptainer_command(image, directory, self.apptainer, self.apptainer_arguments),
        }

    async def failure(self, user: str, state: Mapping[str, Any]) -> str:
        if "pid" not in state or "directory" not in state or scheduler_process.runs(state):
            return ""
        # Where /proc hides other users' processes, only the user's own account can tell.
        answer = await self._ask(user, {"op": "check", **state}, state["directory"])
        if answer.get("runs", True):
            return ""
        lines = [line for line in _log(answer).splitlines() if line.strip()]
        words = shown(lines[-1].strip(), LAST_WORDS) if lines else "(none)"
        return f"The scheduler's process has ended. Its last words: {words}"

    async def delay(self, user: str, state: Mapping[str, Any]) -> str:
        """Know of nothing: a process runs at once, or fails."""
        return ""

    async def stop(self, user: str, state: Mapping[str, Any]) -> str:
        if "directory" not in state:
            return ""
        request = {"op": "stop", "grace": self.stop_grace, **state}
        answer = await self._ask(user, request, state["directory"], wait=self.stop_grace + 5)
        if answer.get("runs") or "error" in answer:
            self.log.warning("Scheduler %s did not stop: %s", state, answer.get("error", "still running"))
        return _log(answer)

    async def _ask(
        self, user: str, request: Mapping[str, Any], subject: str, wait: float = 0
    ) -> dict[str, Any]:
        """Run our program as the user; whatever it or the prefix says instead of an answer is the error."""
        prefix = [word.replace("{user}", user) for word in self.command_prefix]
        try:
            process = await asyncio.create_subprocess_exec(
                *prefix, self.python, "-I", scheduler_process.__file__,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                start_new_session=True, cwd="/",
            )  # fmt: skip
        except OSError as error:
            raise SchedulerStartError(subject, str(error)) from error
        seconds = self.command_timeout + wait
        try:
            out, err = await asyncio.wait_for(_converse(process, json.dumps(request).encode()), seconds)
        except asyncio.TimeoutError:
            raise SchedulerStartError(
                subject, f"no answer from {' '.join(prefix) or self.python} in {seconds:g} s"
            ) from None
        finally:
            if process.returncode is None:
                # A prefix that became root cannot be killed; it is then left to end by itself.
                with contextlib.suppress(ProcessLookupError, PermissionError, asyncio.TimeoutError):
                    os.killpg(process.pid, signal.SIGKILL)
                    await asyncio.wait_for(process.wait(), 5)
        try:
            answer = json.loads(out)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            words = (out + err).decode(errors="replace").strip()[-WORDS:]
            raise SchedulerStartError(subject, f"exit code {process.returncode}: {words}")
        return answer


async def _converse(process: asyncio.subprocess.Process, question: bytes) -> tuple[bytes, bytes]:
    """Send the question, hear the answer to its end. The process is the user's: what it says is bounded."""

    async def hear(stream: asyncio.StreamReader | None) -> bytes:
        heard = b""
        while stream is not None and (chunk := await stream.read(65536)):
            heard = (heard + chunk)[:ANSWER_LIMIT]
        return heard

    if process.stdin is not None:
        process.stdin.write(question)
        process.stdin.close()
    out, err = await asyncio.gather(hear(process.stdout), hear(process.stderr))
    await process.wait()
    return out, err


def _log(answer: Mapping[str, Any]) -> str:
    try:
        return base64.b64decode(str(answer.get("log", ""))).decode(errors="replace")
    except ValueError:
        return ""
