"""A scheduler in an image: the command and the file that start it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from htcdaskgateway.errors import ConfigurationError
from htcdaskgateway.launchers.base import SchedulerSpec
from htcdaskgateway.shell import exports, quoted, words

SCRIPT = "scheduler.sh"


def scheduler_script(spec: SchedulerSpec, image: str, directory: str) -> str:
    """Give what a shell in the image reads: the environment, which is nobody's business, and the command.

    Raises
    ------
    InvalidRequestError
        A variable that cannot be set.
    """
    program = quoted(spec.command[0])
    problem = quoted(f"the image '{image}' has no program '{spec.command[0]}', PATH is")
    lines = [
        "#!/bin/sh",
        *exports({"HOME": directory, **spec.environment, "TMPDIR": directory}),
        f'command -v {program} >/dev/null || {{ printf "%s \'%s\'.\\n" {problem} "$PATH" >&2; exit 69; }}',
        f"exec {words(spec.command)}",
    ]
    return "\n".join([*lines, ""])


def apptainer_command(
    image: str, directory: str, program: str = "apptainer", arguments: Sequence[str] = ()
) -> list[str]:
    """Give the command that runs the file in the image: it sees nothing of the host but the directory.

    Raises
    ------
    ConfigurationError
        The directory cannot be bound.
    """
    if bad := next((one for one in ',:"\\' if one in directory), ""):
        raise ConfigurationError(
            f"The scheduler's directory {directory!r} cannot be bound into an image: it holds {bad!r}.",
            remedy="Set c.LocalLauncher.directory to another one.",
        )
    return [
        program, "--quiet", "exec", "--cleanenv", "--contain", "--no-home", "--workdir", directory,
        "--pwd", directory, "--bind", directory, *arguments, image, "/bin/sh", f"{directory}/{SCRIPT}",
    ]  # fmt: skip


def apptainer_environment(directory: str) -> dict[str, str]:
    """Where Apptainer itself writes: nowhere else."""
    return {
        "APPTAINER_TMPDIR": directory,
        "APPTAINER_CACHEDIR": f"{directory}/apptainer",
        "APPTAINER_CONFIGDIR": f"{directory}/apptainer",
    }
