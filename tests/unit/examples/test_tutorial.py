"""The tutorial quotes the commands that the demo prints for root."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
PLACES = ("work", "env", "root", "HTCDASK_POOL_HOME")  # long paths, that the tutorial has as …


def test_the_words_that_the_demo_ends_with() -> None:
    demo = (ROOT / "scripts/demo").read_text(encoding="utf-8")
    function = demo[demo.index("closing_words() {") :].partition("\n}\n")[0] + "\n}\n"
    values = [f"{name}=…" for name in PLACES] + ["user=analyst", "CONDOR_CONFIG=…/condor_config"]
    done = subprocess.run(
        ["env", *values, "bash", "-euc", f"{function}closing_words"],
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    )
    words = done.stdout.replace("htcdask-demo-*", "htcdask-demo-…").strip()
    assert words.count("runuser -u analyst -- env -i ") == 2
    assert f"```text\n{words}\n```\n" in (ROOT / "docs/tutorial/first-cluster.md").read_text(encoding="utf-8")
