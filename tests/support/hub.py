"""Something that answers the gateway as JupyterHub does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OPEN, CLOSED = "token-with-access", "token-without-access"


class _Hub(BaseHTTPRequestHandler):
    """What the gateway asks of JupyterHub: who holds this token, and what may they do."""

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("token ")
        scopes = ["access:services!service=dask-gateway"] if token == OPEN else []
        known = self.path == "/hub/api/user" and token in (OPEN, CLOSED)
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"name": "analyst", "kind": "user", "scopes": scopes}).encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def running_hub(address: str = "127.0.0.1") -> Iterator[int]:
    """Port that it listens at."""
    server = ThreadingHTTPServer((address, 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
