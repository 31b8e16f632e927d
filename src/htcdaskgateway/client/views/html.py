"""A cluster as HTML, for a notebook with or without widgets. Pure; whatever others said is quoted."""

from __future__ import annotations

from html import escape
from urllib.parse import urlsplit

from htcdaskgateway.client.views.model import ClusterView
from htcdaskgateway.client.views.reasons import Reason

# Colours that can be read on white and on black: only backgrounds, and those half transparent.
TINTS = {
    "unsubmitted": "rgba(128,128,128,0.25)",
    "idle": "rgba(200,150,0,0.30)",
    "starting": "rgba(38,139,210,0.35)",
    "running": "rgba(80,160,0,0.45)",
    "leaving": "rgba(128,128,128,0.25)",
    "held": "rgba(220,50,47,0.35)",
    "failed": "rgba(220,50,47,0.35)",
    "cluster": "rgba(220,50,47,0.35)",
}
# JupyterLab shows links in widgets as plain text.
LINK = "text-decoration:underline;color:var(--jp-content-link-color,revert)"
LINE = "border-bottom:1px solid rgba(128,128,128,0.35);padding:0.15em 0.8em 0.15em 0;text-align:left"


def html(view: ClusterView) -> str:
    """Show all of it."""
    return (
        '<div style="line-height:1.5">'
        f"{title_html(view)}{bar_html(view)}{counts_html(view)}{reasons_html(view)}{facts_html(view)}</div>"
    )


def title_html(view: ClusterView) -> str:
    return f"<div><b>{escape(view.title)}</b></div>"


def bar_html(view: ClusterView) -> str:
    """Running and starting workers as a part of those that are wanted."""
    whole = max(view.wanted, view.running + view.starting, 1)
    parts = "".join(
        f'<span style="display:inline-block;height:100%;width:{100 * count / whole:.2f}%;'
        f'background:{TINTS[name]}"></span>'
        for name, count in (("running", view.running), ("starting", view.starting))
        if count
    )
    return (
        f'<div role="progressbar" aria-valuenow="{view.running}" aria-valuemax="{view.wanted}" '
        'style="width:30em;max-width:100%;height:1em;white-space:nowrap;overflow:hidden;'
        f'border:1px solid rgba(128,128,128,0.5)">{parts}</div>'
    )


def counts_html(view: ClusterView) -> str:
    """Numbers of workers by state; what there are none of is left out, but for wanted and running."""
    size = f" ({escape(view.size)})" if view.size else ""
    limit = "" if view.maximum is None else f" (the site allows {view.maximum})"
    cells = [f"<b>{view.wanted}</b> wanted{limit}", f"{_badge('running', view.running)}{size}"]
    cells += [_badge(name, count) for name, count in view.counts if count and name != "running"]
    return f"<div>{' &nbsp; '.join(cells)}</div>"


def reasons_html(view: ClusterView) -> str:
    """Why workers do not come."""
    rows = "".join(_reason_row(view, reason) for reason in view.reasons)
    return f'<table style="border-collapse:collapse;margin:0.4em 0">{rows}</table>' if rows else ""


def facts_html(view: ClusterView) -> str:
    """Where to look further."""
    around = view.around
    facts = {
        "Dashboard": link_html(around.dashboard),
        "Image": escape(view.image),
        "Versions": escape(around.versions),
        "Sandbox": escape(around.sandbox),
    }
    return "".join(
        f'<div style="overflow-wrap:anywhere"><b>{name}:</b> {fact}</div>'
        for name, fact in facts.items()
        if fact
    )


def link_html(address: str) -> str:
    """A link, if it is one to a web page."""
    try:
        is_web = urlsplit(address).scheme in ("http", "https")
    except ValueError:
        is_web = False
    quoted = escape(address)
    link = f'<a href="{quoted}" target="_blank" rel="noopener" style="{LINK}">{quoted}</a>'
    return link if is_web else quoted


def error_html(message: str) -> str:
    """What went wrong with what was asked for."""
    style = f"white-space:pre-wrap;background:{TINTS['failed']};padding:0.2em 0.5em"
    return f'<div role="alert" style="{style}">{escape(message)}</div>' if message else ""


def _badge(name: str, count: int) -> str:
    return f'<span style="background:{TINTS[name]};padding:0 0.4em">{count} {name}</span>'


def _reason_row(view: ClusterView, reason: Reason) -> str:
    age = view.age(reason)
    remedy = f"<div><i>{escape(reason.remedy)}</i></div>" if reason.remedy else ""
    badge = f'<span style="background:{TINTS[reason.kind]};padding:0 0.4em">{escape(reason.title)}</span>'
    return (
        f'<tr><td style="{LINE};vertical-align:top;white-space:nowrap">{badge}</td>'
        f'<td style="{LINE};vertical-align:top;white-space:nowrap">{escape(age)}</td>'
        f'<td style="{LINE};white-space:pre-wrap">{escape(reason.text)}{remedy}</td></tr>'
    )
