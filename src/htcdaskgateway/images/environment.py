"""The variables that Apptainer would set in an image's container, as far as they decide which Python runs."""

from __future__ import annotations

from dataclasses import dataclass

from htcdaskgateway.images.file_errors import is_absent
from htcdaskgateway.images.files import ImageFiles
from htcdaskgateway.images.shell_conditions import Truth
from htcdaskgateway.images.shell_script import Shell
from htcdaskgateway.images.shell_words import UNKNOWN

DEFAULT_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

_SCRIPTS = "/.singularity.d/env"
_FROM_DOCKER = {"10-docker2singularity.sh", "10-docker.sh"}
_MAX_SCRIPTS, _MAX_SCRIPT, _MAX_NOTES = 50, 65536, 20
_MAX_DIRECTORIES = 100
_MATTERS = frozenset({"PATH", "PYTHONPATH", "PYTHONHOME"})
# Set by Apptainer, and different for each user and job.
_UNKNOWN = (
    "HOME",
    "PWD",
    "OLDPWD",
    "USER",
    "UID",
    "EUID",
    "GID",
    "HOSTNAME",
    "RANDOM",
    "IFS",
    "OPTIND",
    "SHLVL",
)
# Apptainer mounts these from the execute point.
_NOT_OF_THE_IMAGE = ("proc", "sys", "dev", "tmp", "home", "root", "run", "var", "cvmfs", "srv", "scratch")


def is_mounted(path: str) -> bool:
    """Whether this may be a directory of the execute point: the image does not tell what is there."""
    return path.split("/")[1:2] in [[name] for name in _NOT_OF_THE_IMAGE]


@dataclass(frozen=True)
class ContainerEnvironment:
    """What a program in the container would find.

    Attributes
    ----------
    path, pythonpath : tuple of str
        Absolute directories.
    notes : tuple of str
        What was left out of them because it is not known without running the container.
    """

    path: tuple[str, ...]
    pythonpath: tuple[str, ...]
    notes: tuple[str, ...]


def container_environment(files: ImageFiles) -> ContainerEnvironment:
    """Read the scripts of ``/.singularity.d/env`` as ``apptainer exec --cleanenv`` would run them.

    Raises
    ------
    ImageUnusableError
    OSError
        A script cannot be read, though it is there.
    """

    def is_there(test: str, path: str) -> Truth:
        if not path.startswith("/") or is_mounted(path):
            return None
        return {"-d": files.is_directory, "-f": files.is_file, "-x": files.is_program}.get(
            test, files.exists
        )(path)

    shell = Shell(is_there, _MATTERS, dict.fromkeys(_UNKNOWN, UNKNOWN))
    for name in _scripts(files, shell.notes):
        path = f"{_SCRIPTS}/{name}" if name != "environment" else "/environment"
        if not files.is_file(path):
            if files.exists(path) and not files.is_directory(path):
                shell.notes.append(f"{path} is no regular file and is not read")
            continue
        if name == "90-environment.sh" and "PATH" not in shell.variables:
            _add_default(shell)
        if shell.is_spent:
            continue  # which was said of the script before it
        script = files.read(path, _MAX_SCRIPT)
        if len(script) == _MAX_SCRIPT:
            shell.notes.append(f"{path} is too long to be read")
            continue
        shell.source(script.decode("utf-8", "surrogateescape"), path)
        if name in _FROM_DOCKER or name == "environment":
            _add_default(shell)
    if "PATH" not in shell.variables:
        _add_default(shell)
    python = shell.variables.get("PYTHONPATH", "") if "PYTHONPATH" in shell.exported else ""
    if "PYTHONHOME" in shell.exported and shell.variables.get("PYTHONHOME"):
        shell.notes.append("PYTHONHOME is set, which is not followed")
    found = {
        name: _directories(name, value, shell.notes)
        for name, value in (("PATH", shell.variables["PATH"]), ("PYTHONPATH", python))
    }
    return ContainerEnvironment(found["PATH"], found["PYTHONPATH"], tuple(shell.notes[:_MAX_NOTES]))


def _scripts(files: ImageFiles, notes: list[str]) -> list[str]:
    try:
        names = files.names(_SCRIPTS)
    except OSError as error:
        if not is_absent(error):
            raise
        return ["environment"]  # as images were before Singularity 2.3
    scripts = sorted(name for name in names if name.endswith(".sh") and name[0] != ".")
    if len(scripts) > _MAX_SCRIPTS:
        notes.append(f"only the first {_MAX_SCRIPTS} of {len(scripts)} scripts in {_SCRIPTS} are read")
    return scripts[:_MAX_SCRIPTS]


def _add_default(shell: Shell) -> None:
    """Append what is missing of the default, as Apptainer does."""
    value = shell.variables.get("PATH", "")
    parts = value.split(":") if value else []
    shell.variables["PATH"] = ":".join([*parts, *(one for one in DEFAULT_PATH if one not in parts)])
    shell.exported.add("PATH")


def _directories(name: str, value: str, notes: list[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for part in value.split(":"):
        if part.startswith("/") and UNKNOWN not in part:
            found[part] = None
        elif part:  # an empty one is the job's own directory, in which no image has anything
            shown = part.replace(UNKNOWN, "…")
            notes.append(f"{name} has {shown[:80]!r}, which is not known without running the container")
    if len(found) > _MAX_DIRECTORIES:
        notes.append(f"only the first {_MAX_DIRECTORIES} directories of {name} are looked at")
    return tuple(found)[:_MAX_DIRECTORIES]
