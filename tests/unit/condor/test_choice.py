"""The choice of a schedd: who is left out, how likely the others are, what is said when none is left."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from htcdaskgateway.condor.choice import ScheddLoad, choose, load_of, weight, why_not
from htcdaskgateway.condor.errors import NoScheddError

FREE = ScheddLoad("free@", 0.1, 100, 5, 1000)
HALF = ScheddLoad("half@", 0.1, 500, 5, 1000)
BUSY = ScheddLoad("busy@", 0.96, 0, 0, 1000)
FULL = ScheddLoad("full@", 0.1, 950, 0, 1000)
CURBED = ScheddLoad("curbed@", 0.1, 0, 0, 1000, curbed=True)


def always(value: float) -> Callable[[], float]:
    return lambda: value


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (FREE, ""),
        (HALF, ""),
        (BUSY, "busy for 96% of its time, the limit is 95%"),
        (FULL, "950 jobs run of at most 1000, the limit is 95%"),
        (CURBED, "it asks for no more matches (CurbMatchmaking)"),
        (ScheddLoad("says nothing@"), ""),
        (ScheddLoad("above@", 0.0, 1200, 0, 1000), "1200 jobs run of at most 1000, the limit is 95%"),
    ],
)
def test_who_is_left_out(load: ScheddLoad, why: str) -> None:
    assert why_not(load) == why


@pytest.mark.parametrize(
    ("point", "name"), [(0.0, "free@"), (0.64, "free@"), (0.65, "half@"), (0.999999, "half@")]
)
def test_share_of_each(point: float, name: str) -> None:
    # 0.9 * 0.9 to 0.9 * 0.5
    assert choose([BUSY, HALF, FREE, FULL, CURBED], always(point)).name == name


def test_the_less_there_is_to_do_the_more_likely() -> None:
    random = Random(7)  # a fixed sequence
    seen = Counter(choose([FREE, HALF, BUSY], random.random).name for _ in range(3000))
    assert set(seen) == {"free@", "half@"}
    assert seen["free@"] / 3000 == pytest.approx(weight(FREE) / (weight(FREE) + weight(HALF)), abs=0.03)


def test_rounding_at_the_end_chooses_the_last() -> None:
    assert choose([FREE, HALF], always(1.0)).name == "half@"


def test_only_these_names() -> None:
    assert choose([FREE, HALF], always(0), names=["HALF@"]).name == "half@"


def test_none_is_left() -> None:
    with pytest.raises(NoScheddError) as caught:
        choose([BUSY, FULL, FREE], always(0), names=["busy@", "full@", "gone@"], pool="cm", constraint="Site")
    assert str(caught.value) == (
        "None of 3 schedds of the pool cm can take jobs now.\n"
        "  busy@:      busy for 96% of its time, the limit is 95%\n"
        "  full@:      950 jobs run of at most 1000, the limit is 95%\n"
        "  gone@:      the collector does not show it\n"
        "  constraint: Site\n"
        "`condor_status -schedd` lists the schedds of the pool."
    )
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.why == caught.value.why


def test_no_schedd_at_all() -> None:
    with pytest.raises(NoScheddError, match=r"None of 0 schedds of the pool \(default\)"):
        choose([], always(0))


def test_limits_of_the_site() -> None:
    assert choose([BUSY], always(0), duty_cycle=0.97) == BUSY
    with pytest.raises(NoScheddError, match="the limit is 40%"):
        choose([HALF], always(0), occupancy=0.4)
    with pytest.raises(NoScheddError, match="no part of it is free"):
        choose([ScheddLoad("x@", 1.0)], always(0), duty_cycle=1.1)


def test_ad() -> None:
    ad = {
        "Name": "ap@", "TotalRunningJobs": 7, "TotalIdleJobs": 8, "MaxJobsRunning": 9,
        "RecentDaemonCoreDutyCycle": 0.25, "CurbMatchmaking": True,
    }  # fmt: skip
    assert load_of(ad) == ScheddLoad("ap@", 0.25, 7, 8, 9, True)


@pytest.mark.parametrize("value", [None, "undefined", True, float("nan"), float("inf"), -3, {}])
def test_values_that_say_nothing(value: object) -> None:
    attributes = ("TotalRunningJobs", "TotalIdleJobs", "MaxJobsRunning", "RecentDaemonCoreDutyCycle")
    assert load_of({"Name": "ap@", **dict.fromkeys(attributes, value)}) == ScheddLoad("ap@")
