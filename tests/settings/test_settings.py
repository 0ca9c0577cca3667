"""Budgets as people write them, and what is refused."""

import math
from decimal import Decimal

import numpy as np
import pytest
import torch

from app.asking import Options
from resprune.errors import InputError
from resprune.methods import CDPruner, DivPrune, Manual, Random, ResPrune, available
from resprune.settings import Mass, Settings, checked_keep, parse_keep


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


@pytest.mark.parametrize("keep", [True, None, "128x", "", math.nan, math.inf, [128], b"9", 0, 0.0, -1, -0.5, 1.01])
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
    assert Settings() == Settings(128, ResPrune(alpha=8.0, sign=1, words="nouns", kernel="normalised"), None)


def test_the_page_starts_from_the_librarys_defaults():
    assert Options().settings() == Settings()


@pytest.mark.parametrize("name", [name for name in available() if name != "manual"])
def test_every_method_can_be_set(name):
    assert Settings(method=name).method == available()[name]() == Settings(method=available()[name]()).method


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("divprune", Settings(method=DivPrune())),
        ("resprune:alpha=4:words=all", Settings(method=ResPrune(alpha=4, words="all"))),
        (" resprune : sign=-1 ", Settings(method=ResPrune(sign=-1))),
        ("random:seed=3", Settings(method=Random(seed=3))),
        ("manual:indices=0 5 7", Settings(method=Manual([0, 5, 7]))),
        ("cdpruner+mass", Settings(method=CDPruner(), mass=True)),
        ("resprune:alpha=0.5+mass:alike=-1", Settings(method=ResPrune(alpha=0.5), mass=Mass(alike=-1))),
        ("resprune+mass+sequential", Settings(mass=Mass(), positions="sequential")),
    ],
)
def test_a_text_says_all_there_is_to_say(text, settings):
    assert Settings(method=text) == settings == Settings(method=str(settings))
    assert settings.method == eval(repr(settings.method)), "what is printed can be written"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("resprune:beta=1", "'resprune' has no option 'beta'; its options are words, pooling, alpha, sign"),
        ("divprune:alpha=1", "'divprune' has no option 'alpha'; it has none"),
        ("resprune:alpha", "is given 'alpha'; give each option once, as in alpha=VALUE"),
        ("resprune:alpha=1:alpha=2", "give each option once"),
        ("resprune:alpha=", "alpha is ''; give a number of 0 or more"),
        ("resprune:alpha=-1", "alpha is -1.0; give a number of 0 or more"),
        ("resprune:alpha=nan", "alpha is nan"),
        ("resprune:sign=up", "sign is 'up'; give 1 or -1"),
        ("resprune:sign=0", "sign is 0"),
        ("resprune:words=verbs", "words is 'verbs'; give 'nouns' or 'all'"),
        ("random:seed=1.5", "seed is '1.5'; give a whole number from 0 to 9223372036854775807"),
        ("random:seed=-1", "seed is -1"),
        ("manual", "'manual' needs indices"),
        ("manual:indices=", "give at least one token"),
        ("manual:indices=1 x", "give at least one token"),
        ("nothing:alpha=1", "no method 'nothing'; choose one of resprune, cdpruner"),
        ("resprune+weight", r"has '\+weight'; give \+mass"),
        ("resprune+mass:alike=2", "alike is 2.0; give a number from -1 to 1"),
        ("resprune+mass:much=1", r"'\+mass' has no option 'much'; its options are alike"),
    ],
)
def test_what_a_text_cannot_say_is_refused(text, says):
    with pytest.raises(InputError, match=says):
        Settings(method=text)


def test_mass_is_said_once():
    assert Settings(method="resprune+mass", mass=True) == Settings(mass=True)
    with pytest.raises(InputError, match="say it once"):
        Settings(method="resprune+mass:alike=0.5", mass=Mass(alike=0.6))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"alpha": 4}, r"write method=ResPrune\(alpha=4\), or method='resprune:alpha=4'"),
        ({"seed": 3, "method": "divprune"}, r"write method=Random\(seed=3\)"),
        ({"indices": [0, 5], "method": "manual"}, r"write method=Manual\(indices=\[0, 5\]\), or .*indices=0 5'"),
        (
            {"words": "all", "method": "cdpruner"},
            r"write method=CDPruner\(words='all'\), or method='cdpruner:words=all'",
        ),
        ({"words": "all", "method": CDPruner()}, r"write method=CDPruner"),
        ({"alike": 0.5}, r"write mass=Mass\(alike=0.5\)"),
        ({"kepe": 3}, "no setting 'kepe'; choose among keep, method, mass"),
    ],
)
def test_options_in_the_old_spelling_are_told_the_new_one(given, says):
    with pytest.raises(InputError, match=says):
        Settings.of(**given)


@pytest.mark.parametrize("given", [[3, 0, 3], (3, 0), np.array([3, 0]), torch.tensor([3, 0])])
def test_tokens_by_hand_come_in_any_sequence(given):
    assert Manual(given).indices == (3, 0)


@pytest.mark.parametrize("given", [[], [-1], [True], [1.5], "12", None, [[1]]])
def test_tokens_by_hand_that_are_none(given):
    with pytest.raises(InputError, match="indices are"):
        Manual(given)


NUMBERS = (np.int64, np.int32, np.uint8, np.array, torch.tensor)  # that hold whole ones
FLOATS = (np.float64, np.float32, np.float16, np.array, torch.tensor)


@pytest.mark.parametrize("kind", NUMBERS, ids=lambda kind: kind.__name__)
def test_whole_numbers_of_other_libraries_are_numbers(kind):
    given = kind(9)
    for one in (Settings(keep=given).keep, Random(seed=given).seed, *Settings(protect=[given]).protect):
        assert one == 9 and type(one) is int
    assert Manual([given, 3]).indices == (9, 3) and ResPrune(sign=kind(1)) == ResPrune(sign=1)
    size = Settings(protect=[[0, 0, given, given]], image_size=(kind(90), given))
    assert size.image_size == (90, 9) and {type(edge) for edge in size.protect[0]} == {int}


@pytest.mark.parametrize("kind", FLOATS, ids=lambda kind: kind.__name__)
def test_numbers_with_a_point_of_other_libraries_are_numbers(kind):
    given = kind(0.5)
    for one in (
        Settings(keep=given).keep,
        Settings(energy=given).energy,
        Mass(given).alike,
        ResPrune(alpha=given).alpha,
    ):
        assert one == 0.5 and type(one) is float
    assert Settings(mass=np.bool_(True)) == Settings(mass=True) and Settings(mass=np.bool_(False)).mass is None


@pytest.mark.parametrize("keep", ["22%", " 22 % ", "0.22", np.str_("22%")])
def test_a_budget_in_words_is_read_as_on_the_command_line(keep):
    assert Settings(keep=keep) == Settings(keep=0.22)
    assert Settings(keep="128") == Settings(keep=128) and Settings(keep="auto").keep == "auto"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([3, 0, 3], (3, 0)),
        (range(2), (0, 1)),
        ({5}, (5,)),
        (np.array([3, 0]), (3, 0)),
        (torch.tensor([3, 0]), (3, 0)),
        ([torch.tensor(3), np.int8(0)], (3, 0)),
        (np.array([], dtype=np.int64), ()),
        (None, ()),
        ([(0, 0, 5, 5)], ((0, 0, 5, 5),)),
        (np.array([[0, 0, 5, 5], [1, 1, 2, 2]]), ((0, 0, 5, 5), (1, 1, 2, 2))),
        (torch.tensor([[0.0, 0.5, 5, 5]]), ((0.0, 0.5, 5.0, 5.0),)),
        ([np.array([0, 0, 5, 5]), 7, torch.tensor([1, 1, 2, 2])], (7, (0, 0, 5, 5), (1, 1, 2, 2))),
        ([(-3, -3, 1, 1)], ((-3, -3, 1, 1),)),
    ],
)
@pytest.mark.parametrize("size", [(9, 8), [9, 8], np.array([9, 8]), torch.tensor([9, 8]), (9.0, np.int32(8))])
def test_what_is_protected_comes_in_any_form(given, kept, size):
    settings = Settings(protect=given, image_size=size)
    assert settings.protect == kept and settings.image_size == (9, 8)
    assert {type(side) for side in settings.image_size} == {int}
    assert settings == Settings(protect=kept, image_size=(9, 8)) and hash(settings)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"protect": 5}, r"protect is 5; give a list of tokens or boxes, as in \[0, 5\]"),
        ({"protect": "05"}, "protect is '05'; give a list"),
        ({"protect": {"box": 5}}, "give a list of tokens or boxes"),
        ({"protect": [1.5]}, "whole numbers of 0 or more"),
        ({"protect": np.array([True, False])}, "whole numbers of 0 or more"),
        ({"protect": np.array([0.0, 0, 5, 5])}, r"a box stands in a list, as in \[\(0, 0, 20, 20\)\]"),
        ({"protect": [(20, 0, 30, 5)]}, "lies outside the picture of 9 x 8 pixels"),
        ({"protect": [(0, -5, 5, 0)]}, "lies outside the picture"),
        ({"protect": ["0055"]}, "the box '0055'; give"),
        ({"protect": [(0, 0, math.nan, 5)]}, "x0 < x1"),
        ({"protect": [[[0, 0, 5, 5]]]}, "x0, y0, x1, y1"),
        ({"image_size": (9,)}, "image_size is .*; give .width, height. of the picture in pixels"),
        ({"image_size": 9}, "give .width, height."),
        ({"image_size": "99"}, "give .width, height."),
        ({"image_size": (0, 8)}, "whole pixels, each 1 or more"),
        ({"image_size": (9, 8.5)}, "whole pixels"),
        ({"image_size": (9, True)}, "whole pixels"),
        ({"energy": "0.9"}, "energy is '0.9'; give a share between 0 and 1, as a number"),
        ({"energy": np.float64(1.5)}, "energy is 1.5; give"),
        ({"keep": 9.0}, "900% of the tokens; give a share of at most 100%, or a number of tokens without a point"),
        ({"keep": Decimal("0.5")}, "The budget is 0.5 .Decimal.; give"),
        ({"keep": np.array([9])}, r"The budget is \[9\] .ndarray.; give"),
        ({"mass": "yes"}, "mass is 'yes'; give True, False or Mass"),
    ],
)
def test_odd_values_are_told_without_contradiction(options, says):
    with pytest.raises(InputError, match=says):
        Settings(**{"image_size": (9, 8)} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "at least 1 token"),
        ({"keep": 1.2}, "at most 100%"),
        ({"method": "magic"}, "'magic'; choose one of resprune, cdpruner"),
        ({"method": None}, "The method is None; give its name"),
        ({"mass": 0.5}, "mass is 0.5; give True, False or Mass"),
    ],
)
def test_settings_that_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Settings(**options)


@pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf, "1", True, None])
def test_options_of_a_caller_that_are_refused(alpha):
    with pytest.raises(InputError, match=r"alpha is .*; give a number of 0 or more"):
        ResPrune(alpha=alpha)


def test_settings_do_not_change():
    with pytest.raises(AttributeError):
        Settings().keep = 3
