"""Reads systemd's units as far as the examples use them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Unit:
    """A unit's settings, in the order of the file: ``(section, key, value)``."""

    settings: tuple[tuple[str, str, str], ...]

    @classmethod
    def read(cls, file: Path, replaced: Mapping[str, str] | None = None) -> Unit:
        """Read it, with these texts replaced first."""
        text = file.read_text()
        for old, new in (replaced or {}).items():
            text = text.replace(old, new)
        found, section = [], ""
        for line in text.splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif line.strip() and not line.startswith(("#", ";")):
                key, sign, value = line.partition("=")
                if not sign or not section:
                    raise ValueError(f"{file.name}: {line!r}")
                found.append((section, key, value))
        return cls(tuple(found))

    def all(self, key: str) -> list[str]:
        """Values of a key in [Service]; systemd adds them up, where a key is a list."""
        return [value for section, name, value in self.settings if (section, name) == ("Service", key)]

    def one(self, key: str, default: str = "") -> str:
        """The value that counts: the last."""
        return self.all(key)[-1] if self.all(key) else default

    @property
    def command(self) -> list[str]:
        """Words of ``ExecStart``."""
        [line] = self.all("ExecStart")
        return shlex.split(line)

    @property
    def environment(self) -> dict[str, str]:
        return dict(word.split("=", 1) for value in self.all("Environment") for word in shlex.split(value))

    @property
    def credentials(self) -> dict[str, Path]:
        """Names of ``LoadCredential``, each with its file."""
        pairs = (value.split(":", 1) for value in self.all("LoadCredential"))
        return {name: Path(file) for name, file in pairs}

    @property
    def state_directories(self) -> list[str]:
        """What systemd makes for the unit when it starts it: ``/var/lib/…``."""
        return [f"/var/lib/{name}" for value in self.all("StateDirectory") for name in value.split()]

    @property
    def capabilities(self) -> list[str]:
        """What processes of the unit may ever have, as setpriv(1) writes it: ``setuid`` …"""
        words = " ".join(self.all("CapabilityBoundingSet")).split()
        return [word.removeprefix("CAP_").lower() for word in words]


@dataclass(frozen=True)
class Made:
    """A directory of tmpfiles.d(5)."""

    path: str
    mode: int
    user: str
    group: str


def made_by_tmpfiles(file: Path) -> list[Made]:
    """Directories that systemd-tmpfiles makes, in the order of the file; ValueError for anything else."""
    found = []
    for line in file.read_text().splitlines():
        if line and not line.startswith("#"):
            kind, path, mode, user, group, _ = line.split()
            if kind not in ("d", "D"):
                raise ValueError(f"{file.name}: {line!r}")
            found.append(Made(path, int(mode, 8), user, group))
    return found
