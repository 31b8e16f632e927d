"""Ports on the loopback."""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOWEST = 10_000


def free_port() -> int:
    """A port that nobody listens at, out of those that the kernel gives to nobody.

    Tests, schedulers and workers of several processes take any port that is free: one of the kernel's own
    would often be another's before it is listened at.
    """
    highest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]) - 1
    any_port = random.SystemRandom()  # not the generator that hypothesis seeds, in all processes alike
    for _ in range(1000):
        port = any_port.randint(LOWEST, max(highest, 2 * LOWEST))
        if is_free(port):
            return port
    raise RuntimeError(f"no free port from {LOWEST} to {highest}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
