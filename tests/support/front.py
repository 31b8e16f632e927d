"""A TCP front before a server that others use as well: for whoever comes this way it can be away."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.ports import free_port

WAYS = ("refuses", "hangs")  # nobody listens any more; or connections are taken, and nothing comes of them
BLOCK = 65536


class Front:
    """Hands on what comes to ``127.0.0.1:port``.

    Parameters
    ----------
    host : str
    port : int
        Of the server behind it.
    delay : float
        Seconds that everything takes on its way, in both directions.
    """

    def __init__(self, host: str, port: int, delay: float = 0) -> None:
        self.behind, self.port, self.delay = (host, port), free_port(), delay
        self._flows = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._flows.set()
        self._listen()

    @classmethod
    def of(cls, kubeconfig: Path, delay: float = 0) -> Front:
        """Before the API server of a kubeconfig."""
        server = urlsplit(json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"])
        return cls(server.hostname or "", server.port or 443, delay)

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def lead_here(self, kubeconfig: Path) -> None:
        """Make whoever uses this kubeconfig come this way."""
        config = json.loads(kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.port}"
        kubeconfig.write_text(json.dumps(config))

    @contextmanager
    def away(self, how: str) -> Iterator[None]:
        """Refuse, or hang, until the block ends."""
        if how == "hangs":
            self._flows.clear()
            try:
                yield
            finally:
                self._flows.set()
        else:
            self.close()
            try:
                yield
            finally:
                self._listen()

    def close(self) -> None:
        """End the listening and all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # `close` alone does not end an `accept`
        self._listener.close()
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with ExitStack() as stack, contextlib.suppress(OSError):
            stack.enter_context(near)
            self._flows.wait()
            far = stack.enter_context(socket.create_connection(self.behind, timeout=10))
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            stack.callback(self._forget, near, far)
            back = threading.Thread(target=self._hand_on, args=(far, near), daemon=True)
            back.start()
            self._hand_on(near, far)
            back.join()

    def _forget(self, *ended: socket.socket) -> None:
        with self._lock:
            self._open -= set(ended)

    def _hand_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(BLOCK):
                self._flows.wait()
                time.sleep(self.delay)
                sink.sendall(block)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
