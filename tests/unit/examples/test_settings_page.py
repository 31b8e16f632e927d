"""The page of the admin guide that is made from the program is the program's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import htcdaskgateway

ROOT = Path(__file__).parents[3]


def test_the_page_of_settings_is_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "settings_page"), "--print"],
        env={**os.environ, "PYTHONPATH": str(Path(htcdaskgateway.__file__).parents[1])},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = ROOT / "docs" / "admin" / "settings.md"
    assert done.stdout == page.read_text(), "run scripts/settings_page"


def test_it_has_what_a_site_sets() -> None:
    page = (ROOT / "docs" / "admin" / "settings.md").read_text()
    for setting in (
        "`command_prefix`",
        "`schedd_names`",
        "`x509_minimum`",
        "`scheduler_address`",
        "`sandbox-days`",
    ):
        assert f"| {setting} |" in page
