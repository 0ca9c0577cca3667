"""Budgets as people write them, and what is refused."""

import math

import pytest

from app.asking import Options
from resprune.errors import InputError
from resprune.methods import METHODS
from resprune.settings import Settings, checked_keep, parse_keep


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("128", 128),
        (" 1 ", 1),
        ("+64", 64),
        ("100000", 100000),
        ("22%", 0.22),
        ("100%", 1.0),
        ("0.5%", 0.005),
        ("0.22", 0.22),
        ("1.0", 1.0),
        (".5", 0.5),
        ("1e-1", 0.1),
    ],
)
def test_budgets_as_people_write_them(text, keep):
    parsed = parse_keep(text)
    assert parsed == pytest.approx(keep)
    assert type(parsed) is type(keep)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-5",
        "0.0",
        "-0.2",
        "0%",
        "-1%",
        "101%",
        "1.5",
        "200.0",
        "nan",
        "inf",
        "-inf",
        "nan%",
        "abc",
        "",
        " ",
        "%",
        "1,5",
        "12 tokens",
        "0x10",
        "1%%",
    ],
)
def test_budgets_that_are_refused(text):
    with pytest.raises(InputError, match=r"^The budget is .*give .*\.$"):
        parse_keep(text)


@pytest.mark.parametrize("keep", [True, None, "128", math.nan, math.inf, [128], 0, 0.0, -1, -0.5, 1.01])
def test_budgets_of_a_caller_that_are_refused(keep):
    with pytest.raises(InputError, match="The budget is"):
        checked_keep(keep)


@pytest.mark.parametrize(
    ("keep", "candidates", "budget"),
    [
        (128, 576, 128),
        (576, 576, 576),
        (1000, 576, 576),
        (1, 576, 1),
        (1.0, 576, 576),
        (0.22, 576, 127),
        (0.5, 5, 2),
        (0.001, 576, 1),
        (1e-9, 1, 1),
    ],
)
def test_budget_in_tokens(keep, candidates, budget):
    assert Settings(keep=keep).budget(candidates) == budget


def test_defaults():
    assert Settings() == Settings(keep=128, method="resprune", alpha=8.0, kernel="normalised", sign=1, seed=0)


def test_the_page_starts_from_the_librarys_defaults():
    options, settings = Options(), Settings()
    assert all(getattr(options, name) == getattr(settings, name) for name in vars(options) if hasattr(settings, name))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alike": 1.1}, "alike is 1.1; give a cosine"),
        ({"alike": True}, "alike is True"),
        ({"words": "verbs"}, "words is 'verbs'; give 'nouns' or 'all'"),
        ({"weighting": "none"}, "give 'bounded' or 'power'"),
        ({"kernel": ""}, "kernel is ''"),
    ],
)
def test_choices_that_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        Settings(**options)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_set(method):
    assert Settings(method=method).method == method


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "at least 1 token"),
        ({"keep": 1.2}, "at most 100%"),
        ({"method": "magic"}, "'magic'; choose one of resprune, paper"),
        ({"method": None}, "choose one of"),
        ({"alpha": -0.1}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"alpha": math.inf}, "alpha"),
        ({"alpha": "1"}, "alpha"),
        ({"sign": 0}, "sign"),
        ({"sign": 2}, "sign"),
    ],
)
def test_settings_that_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Settings(**options)


def test_settings_do_not_change():
    with pytest.raises(AttributeError):
        Settings().keep = 3
