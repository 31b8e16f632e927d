"""A person before the Hub's pages: logs in, sees the form, sends it."""

from __future__ import annotations

import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

from tests.jupyter.hub import PASSWORD, Hub


class Person:
    """One who has logged in."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub, self.name = hub, name
        self._cookies = CookieJar()
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self.see("/hub/login")
        self.send("/hub/login", username=name, password=PASSWORD)

    def see(self, path: str) -> str:
        with self._browser.open(f"{self.hub.url}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def send(self, path: str, **fields: str) -> None:
        """Send a form."""
        [guard] = [
            str(one.value) for one in self._cookies if one.name == "_xsrf" and one.path.startswith("/hub")
        ]
        form = urllib.parse.urlencode({**fields, "_xsrf": guard}).encode()
        with self._browser.open(f"{self.hub.url}{path}", form, timeout=60) as answer:
            answer.read()
