"""What every test shares: no network, one thread, small models built once."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch
import zoo
from tiny import QUESTION, picture, tiny_llava

from resprune import attach, build_inputs

torch.set_num_threads(1)
for spelling in ("no_proxy", "NO_PROXY"):  # the pages of the tests are on this machine, whatever proxy it is behind
    os.environ[spelling] = ",".join(filter(None, (os.environ.get(spelling), "localhost,127.0.0.1,::1")))


@pytest.fixture
def tiny():
    """A fresh (model, processor) of the LLaVA family with 6 x 6 patches an image."""
    return tiny_llava(grid=6)


@pytest.fixture
def inputs(tiny):
    """A question about a picture, for the tiny model."""
    return build_inputs(tiny[1], picture(), QUESTION)


@pytest.fixture
def attached(tiny):
    """The tiny model, which keeps 9 of its 36 visual tokens."""
    model, processor = tiny
    return attach(model, processor, keep=9)


@pytest.fixture(scope="module")
def browser():
    """A real Chromium."""
    from browser import chromium  # here, like the page below: environments that test other parts lack these packages

    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def registry():
    """What the page answers with: a small model of random weights, unless a module says otherwise."""
    from serving import small_registry

    return small_registry(grid=6)


@pytest.fixture(scope="module")
def address(registry):
    """Of the page, served with ``registry``."""
    from serving import ready, served

    with served(registry) as found:
        ready(registry)
        yield found


@pytest.fixture(params=zoo.FAMILIES)
def family(request):
    """The name of each family in turn."""
    return request.param


def pytest_collection_modifyitems(items):
    """Files whose tests wait for a browser are spread among the others, so that the cores have work meanwhile."""
    files: dict = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = [file for file, tests in files.items() if any("browser" in test.fixturenames for test in tests)]
    rest = [file for file in files if file not in waiting]
    every = max(1, len(rest) // max(1, len(waiting)))
    order = []
    for place, file in enumerate(rest):
        if place % every == 0 and waiting:
            order.append(waiting.pop(0))
        order.append(file)
    items[:] = [item for file in [*order, *waiting] for item in files[file]]


def pytest_terminal_summary(terminalreporter):
    """The matrix of families and checks: how many of a check's cases passed, and an F where any failed."""
    families = sorted(zoo.FAMILIES)
    cells, failed = {}, set()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            path, _, case = report.nodeid.partition("[")
            family = next((f for f in case.rpartition("]")[0].split("-") if f in zoo.FAMILIES), None)
            if family is None or (outcome == "passed" and report.when != "call"):
                continue
            check = path.rpartition("::")[2].removeprefix("test_").replace("_", " ")
            cells[check, family] = cells.get((check, family), 0) + 1
            if outcome != "passed":
                failed.add((check, family))
    if not cells:
        return
    terminalreporter.section("families x checks: cases passed")
    widths = [len(family) for family in families]
    checks = list(dict.fromkeys(check for check, _ in cells))
    first = max(map(len, checks))
    terminalreporter.line(" " * first + "  " + "  ".join(families))
    for check in checks:
        row = ["F" if (check, f) in failed else str(cells.get((check, f), "-")) for f in families]
        terminalreporter.line(check.ljust(first) + "  " + "  ".join(map(str.rjust, row, widths)))
