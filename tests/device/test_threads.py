"""Threads of NumPy's linear algebra: a number of the whole process, put back by whoever leaves last."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from resprune.device import one_thread

PATIENCE = 30  # seconds


class Libraries:
    """In place of the libraries of this process, of which not all take a number in every thread."""

    number = 4

    def limit(self, limits, user_api):
        before, self.number = self.number, limits
        return SimpleNamespace(restore_original_limits=lambda: setattr(self, "number", before))


@pytest.mark.parametrize("first_leaves", ["first", "last"])
def test_blocks_that_overlap_leave_what_was_there(first_leaves, monkeypatch):
    libraries = Libraries()
    monkeypatch.setattr("resprune.device.threads._libraries", lambda: libraries)
    inside, left, seen = threading.Barrier(2), threading.Event(), []

    def block(leaves_first):
        with one_thread():
            inside.wait(PATIENCE)
            if not leaves_first:
                left.wait(PATIENCE)
                seen.append(libraries.number)
        left.set()

    with ThreadPoolExecutor(2) as threads:
        order = (True, False) if first_leaves == "first" else (False, True)
        for future in [threads.submit(block, leaves_first) for leaves_first in order]:
            future.result()
    assert (seen, libraries.number) == ([1], 4)
