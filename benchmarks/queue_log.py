"""What the schedd has committed: read from its own transaction log, ``job_queue.log``.

The log holds one record a line. ``105`` begins a transaction and ``106`` commits it; between them
``101 CLUSTER.PROC`` makes an ad and ``103 CLUSTER.PROC NAME VALUE`` sets an attribute. Ads of clusters have
a negative PROC. A transaction is on disk, and its jobs are in the queue, when its ``106`` is there.

Source: HTCondor 25.14.1, its log as seen; the numbers are those of ``CondorLogOp`` in HTCondor's sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

NEW_AD, SET, BEGIN, COMMIT = "101", "103", "105", "106"


class QueueLog:
    """Jobs that carry a mark and have come since this object was made, and the transactions on them.

    Parameters
    ----------
    spool : Path
        The schedd's ``SPOOL``.
    attribute, value : str
        The mark: a string attribute of the jobs.
    """

    def __init__(self, spool: Path, attribute: str, value: str) -> None:
        self._path = spool / "job_queue.log"
        self._mark = (attribute, f'"{value}"')
        self._inode, self._offset = self._stat()
        self._transaction: list[list[str]] | None = None
        self._clusters: set[int] = set()
        self.jobs = 0
        self.transactions = 0

    def _stat(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_ino, found.st_size

    def read(self) -> int:
        """Read on to the end of the log; how many of the jobs are committed."""
        inode, size = self._stat()
        if inode != self._inode or size < self._offset:
            raise RuntimeError(f"the schedd has rewritten {self._path} during a measurement: measure again")
        with self._path.open("rb") as log:
            log.seek(self._offset)
            text = log.read(size - self._offset)
        text = text[: text.rfind(b"\n") + 1]
        self._offset += len(text)
        for line in text.decode(errors="replace").splitlines():
            self._take(line.split(" ", 3))
        return self.jobs

    def _take(self, record: list[str]) -> None:
        if record[0] == BEGIN:
            self._transaction = []
        elif record[0] == COMMIT:
            self._commit(self._transaction or [])
            self._transaction = None
        elif self._transaction is not None and len(record) > 1:
            self._transaction.append(record)

    def _commit(self, records: Sequence[Sequence[str]]) -> None:
        self._clusters |= {
            _cluster(record) for record in records if record[0] == SET and tuple(record[2:]) == self._mark
        }
        ours = [record for record in records if _cluster(record) in self._clusters]
        self.jobs += sum(record[0] == NEW_AD and "-" not in record[1] for record in ours)
        self.transactions += bool(ours)


def _cluster(record: Sequence[str]) -> int:
    return int(record[1].partition(".")[0])
