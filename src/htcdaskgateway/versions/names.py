"""Names whose versions are compared, and what it is to agree. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from packaging.version import InvalidVersion, Version

# What travels between these is pickled code and Dask's own protocol.
MUST_AGREE = ("python", "dask", "distributed", "dask-gateway")

# What may travel inside of it, and all that distributed compares of itself.
SHOWN = ("msgpack", "cloudpickle", "tornado", "toolz", "numpy", "pandas", "pyarrow", "lz4", "blosc")


def agree(name: str, versions: Iterable[str]) -> bool:
    """Whether these versions of one package can work together.

    Parameters
    ----------
    name : str
        Lower case, with ``-``. Of ``python`` major and minor version count.
    versions : iterable of str
        An empty one stands for a package that is not there, which agrees with its like only.
    """
    return len({_same(name, version) for version in versions}) <= 1


def fits(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether a notebook and an image (or any two environments) can work together."""
    return all(agree(name, (one.get(name, ""), other.get(name, ""))) for name in MUST_AGREE)


def _same(name: str, version: str) -> Version | str:
    """What is equal for versions that agree."""
    if name == "python":
        return ".".join(version.split(".")[:2])
    try:
        return Version(version)
    except InvalidVersion:
        return version
