"""A cluster as text. Pure."""

from __future__ import annotations

from htcdaskgateway.client.views.model import ClusterView
from htcdaskgateway.client.views.reasons import Reason
from htcdaskgateway.images.errors import printable

BAR = 30  # characters


def text(view: ClusterView) -> str:
    """Show all of it, some lines."""
    lines = [
        printable(view.title),
        f"  {bar(view.running, view.wanted)} {view.running} of {view.wanted} workers: {view.states}",
    ]
    around = view.around
    facts = {
        "workers have": view.size,
        "image": view.image,
        "versions": around.versions,
        "dashboard": around.dashboard,
        "sandbox": around.sandbox,
    }
    width = max(len(name) for name in facts) + 1
    lines += [f"  {name + ':':<{width}} {printable(fact)}" for name, fact in facts.items() if fact]
    for reason in view.reasons:
        lines += reason_lines(view, reason)
    return "\n".join(lines)


def reason_lines(view: ClusterView, reason: Reason) -> list[str]:
    """Show one reason: what, for how long, why, what to do."""
    age = view.age(reason)
    head = f"  {reason.title}{f', {age}' if age else ''}:"
    told = [printable(line) for line in (*reason.text.splitlines(), *reason.remedy.splitlines()) if line]
    return [f"{head} {told[0]}", *(f"    {line}" for line in told[1:])] if told else [head.rstrip(":")]


def line(view: ClusterView, wanted: int) -> str:
    """Show how far it is, in one line."""
    told = f"{bar(view.running, wanted)} {view.running} of {wanted} workers: {view.states}"
    first = next((reason for reason in view.reasons if reason.kind in ("cluster", "held", "failed")), None)
    return f"{told}; {first.kind}: {' '.join(printable(first.text).split())}" if first else told


def bar(done: int, total: int) -> str:
    """Show a part of a whole."""
    full = BAR if done >= total else BAR * done // total
    return f"[{'#' * full}{'.' * (BAR - full)}]"
