from __future__ import annotations

from htcdaskgateway.condor.autoformat import ads_of


def test_one_ad_a_line() -> None:
    """As `condor_status -af:tV` prints them; a name with a tab in it would be one with too many columns."""
    output = '"slot1@a"\t4\tundefined\ttrue\n"slot\t2@a"\t4\t1.5\tfalse\n"slot3"\t4\t1.5\tfalse\n\n'
    assert ads_of(output, ["Name", "Cpus", "Disk", "Open"]) == [
        {"Name": "slot1@a", "Cpus": 4, "Open": True},
        {"Name": "slot3", "Cpus": 4, "Disk": 1.5, "Open": False},
    ]
    assert ads_of("", ["Name"]) == []
