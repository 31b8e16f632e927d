"""A person's Python session in a process of its own, which a test may kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import eventually


@dataclass
class ClientProcess:
    process: subprocess.Popen[bytes]
    log: Path
    _last_output: str = ""

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else self._last_output

    def wait_for(self, text: str, deadline: float = 60) -> None:
        """Wait until it has printed this."""

        def seen() -> bool:
            if text in self.output():
                return True
            if self.process.poll() is not None:
                raise RuntimeError(f"the client ended with {self.process.returncode}: {self.output()}")
            return False

        try:
            eventually(f"client prints {text!r}", seen, deadline)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.output()}") from error

    def wait(self, deadline: float = 120) -> str:
        """Wait until it ends well; what it printed."""
        code = self.process.wait(deadline)
        if code:
            raise RuntimeError(f"the client ended with {code}: {self.output()}")
        return self.output()

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(30)

    def close(self) -> None:
        """End it; what it printed can still be asked for when its log is gone."""
        self.kill()
        self._last_output = self.output()


def python(script: str) -> list[str]:
    """Command of the tests' own Python; warnings of its libraries are not what is tested."""
    return [sys.executable, "-u", "-c", script]
