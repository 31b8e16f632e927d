"""A kernel of a person's own Jupyter server, spoken to as JupyterLab does: over the server's web socket."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from tests.jupyter.hub import request

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Output:
    """What a cell showed.

    Attributes
    ----------
    text : str
        All text of it, streams and results, in the order in which it came.
    kinds : set of str
        MIME types that it showed something in.
    error : str
        Name of the exception that ended it; empty if none did.
    """

    text: str = ""
    kinds: set[str] = field(default_factory=set)
    error: str = ""

    def add(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "stream":
            self.text += content["text"]
        elif kind in ("execute_result", "display_data", "update_display_data"):
            self.kinds |= set(content["data"])
            self.text += str(content["data"].get("text/plain", "")) + "\n"
        elif kind == "error":
            self.error = str(content["ename"])
            self.text += COLOURS.sub("", "\n".join(content["traceback"])) + "\n"


class Kernel:
    """A running one; `execute` may be called any number of times."""

    def __init__(self, server: str, token: str, name: str) -> None:
        self.server, self.token, self.name = server, token, name

    def execute(self, *cells: str, deadline: float = 120) -> list[Output]:
        """Run cells one after the other; each has so many seconds. All run, also after one with an error."""
        return asyncio.run(self._execute(cells, deadline))

    async def _execute(self, cells: Sequence[str], deadline: float) -> list[Output]:
        url = f"{self.server}/api/kernels/{self.name}/channels".replace("http", "ws", 1)
        headers = {"Authorization": f"token {self.token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, headers=headers, max_msg_size=0) as socket,
        ):
            return [await self._run(socket, cell, deadline) for cell in cells]

    @staticmethod
    async def _run(socket: aiohttp.ClientWebSocketResponse[Any], cell: str, deadline: float) -> Output:
        number, output = uuid.uuid4().hex, Output()
        done: set[str] = set()
        content = {"code": cell, "silent": False, "store_history": True, "allow_stdin": False}
        header = {"msg_id": number, "msg_type": "execute_request", "username": "", "session": number}
        message = {
            "header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {},
            "content": content, "channel": "shell", "buffers": [],
        }  # fmt: skip
        await socket.send_str(json.dumps(message))

        async def listen() -> None:
            while done != {"reply", "idle"}:
                told = await socket.receive()
                if told.type is aiohttp.WSMsgType.BINARY:  # with buffers, as widgets send them: not for us
                    continue
                if told.type is not aiohttp.WSMsgType.TEXT:
                    raise RuntimeError(f"the kernel's web socket ended: {told}; so far: {output.text}")
                answer = json.loads(told.data)
                if answer["parent_header"].get("msg_id") != number:
                    continue
                kind = answer["header"]["msg_type"]
                if kind == "execute_reply":
                    done.add("reply")
                elif kind == "status" and answer["content"]["execution_state"] == "idle":
                    done.add("idle")
                else:
                    output.add(kind, answer["content"])

        try:
            await asyncio.wait_for(listen(), deadline)
        except asyncio.TimeoutError:
            raise TimeoutError(f"not within {deadline:g} s:\n{cell}\nso far:\n{output.text}") from None
        return output


@contextmanager
def kernel(server: str, token: str) -> Iterator[Kernel]:
    """Start one on this server, and end it: its Python is asked to end, as by Jupyter's own button."""
    # of a notebook in the directory where a person's notebooks are
    wanted = {"name": "python3", "path": "any.ipynb"}
    name = request("POST", f"{server}/api/kernels", wanted, token)["id"]
    try:
        yield Kernel(server, token, name)
    finally:
        request("DELETE", f"{server}/api/kernels/{name}", None, token)
