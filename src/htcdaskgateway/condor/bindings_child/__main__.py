"""Calls htcondor2 for `BindingsSchedd`, one request at a time, until standard input ends.

Request and answer are JSON, each after its length in 8 bytes. Nothing of this package is imported: the
program starts quickly, and a user's session that is the parent is not imported again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

Request = dict[str, Any]
_NO_JOB = "2147483647.0"


class Failure(Exception):  # noqa: N818 - what HTCondor says, not a mistake of ours
    """Words of HTCondor, and the step that failed."""

    def __init__(self, step: str, words: str) -> None:
        super().__init__(words)
        self.step = step


class Child:
    def __init__(self, name: str, pool: str) -> None:
        try:
            import htcondor2
        except ImportError as error:
            raise Failure("import", str(error)) from error
        self.htcondor2 = htcondor2
        self.name, self.pool = name, pool
        self._location: Any = None
        self.found_name = ""

    def schedd(self) -> Any:
        """Find the schedd, or take it from where it was."""
        if self._location is None:
            daemon = self.htcondor2.DaemonType.Schedd
            try:
                collector = self.htcondor2.Collector(self.pool or None)
                location = collector.locate(daemon, self.name or None)
            except self.htcondor2.HTCondorException as error:
                raise Failure("locate", str(error)) from error
            if location is None:
                raise Failure("locate", f"The collector has no schedd named {self.name!r}.")
            self._location = location
            self.found_name = str(location.get("Name") or self.name)
        return self.htcondor2.Schedd(self._location)

    def again(self, call: Callable[[], Any], undone: Callable[[str], bool] = lambda _: True) -> Any:
        """Call, and once more: after its restart a schedd may be elsewhere and knows no old session.

        Only where the words say that nothing was done, or where doing it twice is the same. Not after a
        wait in vain: there is no time for another.
        """
        try:
            return call()
        except (self.htcondor2.HTCondorException, Failure) as error:
            self._location = None
            if "did not respond" in str(error) or not (isinstance(error, Failure) or undone(str(error))):
                raise
        return call()

    def submit(self, request: Request) -> Request:
        description = self.htcondor2.Submit(request["commands"])
        items = [{"worker_name": name} for name in request["worker_names"]]
        result = self.again(
            lambda: self.schedd().submit(description, spool=request["spool"], itemdata=iter(items)),
            undone=lambda words: words.startswith("Failed to connect to schedd"),
        )
        if request["spool"]:
            self._spool(result)
        return {"submitted": [result.cluster(), result.first_proc(), result.num_procs()]}

    def _spool(self, result: Any) -> None:
        """Send the input files; the jobs exist by now, and without them none may stay."""
        try:
            self.schedd().spool(result)
        except self.htcondor2.HTCondorException as error:
            try:
                self.schedd().act(self.htcondor2.JobAction.Remove, f"ClusterId == {result.cluster()}")
            except self.htcondor2.HTCondorException as again:
                words = f"{error}\nThe jobs of cluster {result.cluster()} could not be removed: {again}"
                raise Failure("left", words) from error
            raise Failure("spool", str(error)) from error

    def query(self, request: Request) -> Request:
        attributes = request["attributes"]
        found = self.again(lambda: self.schedd().query(request["constraint"], attributes))
        return {"ads": [plain(ad, attributes) for ad in found]}

    def act(self, request: Request) -> Request:
        action = getattr(self.htcondor2.JobAction, request["action"].capitalize())

        def call() -> Any:
            schedd = self.schedd()
            try:
                return schedd.act(action, request["ids"])
            except self.htcondor2.HTCondorException as error:
                self._explain(error)
                raise

        totals = self.again(call)
        return {"totals": {name: int(totals[name]) for name in totals if name.startswith("Total")}}

    def _explain(self, error: Exception) -> None:
        """Find out why `act` failed: its own words are always the same."""
        try:
            # As much as `act` may do, of no job, and with words.
            self.htcondor2.Schedd(self._location).retrieve([_NO_JOB])
        except self.htcondor2.HTCondorException as trouble:
            raise Failure("reach", str(trouble)) from error

    def history(self, request: Request) -> Request:
        attributes = request["attributes"]
        found = self.again(
            lambda: self.schedd().history(
                request["constraint"], attributes, request["match"], request["since"]
            )
        )
        return {"ads": [plain(ad, attributes) for ad in found]}

    def edit(self, request: Request) -> Request:
        def call() -> None:
            schedd = self.schedd()
            for attribute, value in request["changes"].items():
                schedd.edit(request["ids"], attribute, value)

        self.again(call)
        return {}

    def delegate(self, request: Request) -> Request:
        refused = {}
        for job in request["ids"]:
            cluster, _, process = job.partition(".")
            try:
                # 0: for as long as it is good itself
                self.schedd().refreshGSIProxy(int(cluster), int(process), request["path"], 0)
            except self.htcondor2.HTCondorException as error:
                refused[job] = str(error)
        return {"refused": refused}

    def retrieve(self, request: Request) -> Request:
        self.again(lambda: self.schedd().retrieve(request["ids"]), undone=lambda _: False)
        return {}

    def schedds(self, request: Request) -> Request:
        # Whole ads: what an expression in them refers to is part of them.
        collector = self.htcondor2.Collector(self.pool or None)
        found = collector.query(self.htcondor2.AdType.Schedd, request["constraint"])
        return {"ads": [evaluated(ad, request["attributes"]) for ad in found]}

    def slots(self, request: Request) -> Request:
        attributes = request["attributes"]
        collector = self.htcondor2.Collector(self.pool or None)
        found = collector.query(self.htcondor2.AdType.Startd, request["constraint"], attributes)
        return {"ads": [plain(ad, attributes) for ad in found]}

    def answer(self, request: Request) -> Request:
        calls = {
            "submit": self.submit, "query": self.query, "act": self.act, "history": self.history,
            "edit": self.edit, "delegate": self.delegate, "retrieve": self.retrieve,
            "schedds": self.schedds, "slots": self.slots,
        }  # fmt: skip
        try:
            return {**calls[request["call"]](request), "name": self.found_name}
        except Failure as failure:
            self._location = None
            return {"failed": str(failure), "step": failure.step, "name": self.found_name}
        except (self.htcondor2.HTCondorException, ValueError, TypeError) as error:
            self._location = None
            text = str(error) if isinstance(error, self.htcondor2.HTCondorException) else f"invalid: {error}"
            return {"failed": text, "step": "call", "name": self.found_name}


def plain(ad: Any, attributes: list[str]) -> Request:
    """Take from an ad what JSON can hold; an undefined value is none."""
    values = {name: ad.get(name) for name in attributes}
    return {name: value for name, value in values.items() if isinstance(value, (str, int, float, bool))}


def evaluated(ad: Any, attributes: list[str]) -> Request:
    """Likewise of an ad that holds expressions."""
    values = {name: ad.eval(name) for name in attributes if name in ad}
    return {name: value for name, value in values.items() if type(value) in (str, int, float, bool)}


def main() -> int:
    requests = sys.stdin.buffer
    # What the library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")  # of unused submit commands
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    child: Child | None = None
    while head := requests.read(8):
        request = json.loads(requests.read(int.from_bytes(head, "big")))
        # If the parent was killed, nobody else ends a call that blocks.
        signal.alarm(int(request["seconds"]) + 5)
        try:
            child = child or Child(**json.loads(sys.argv[1]))
            answer = child.answer(request)
        except Failure as failure:
            answer = {"failed": str(failure), "step": failure.step}
        signal.alarm(0)
        text = json.dumps(answer).encode()
        answers.write(len(text).to_bytes(8, "big") + text)
        answers.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
