"""Scenes and questions: the same for the same seed everywhere, and right by construction."""

import json
from collections import Counter

import numpy as np
import pytest

from resprune.evaluate.questions import KINDS, one_of_each, plural, questions, with_article
from resprune.evaluate.scenes import GROUND, MIXED, UNSEEN_STYLE, Composer
from resprune.models import assets_dir


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer(assets_dir() / "sprites")


def test_a_seed_gives_the_same_scene_and_another_seed_another(composer: Composer) -> None:
    again = Composer(assets_dir() / "sprites")
    first, second, other = composer.scene((3, 1)), again.scene((3, 1)), composer.scene((3, 2))
    assert np.array_equal(first.pixels, second.pixels)
    assert first.things == second.things
    assert not np.array_equal(first.pixels, other.pixels)


def test_a_scene_has_the_stated_size_and_labels_where_its_things_lie(composer: Composer) -> None:
    for seed in range(20):
        scene = composer.scene((4, seed))
        assert scene.pixels.shape == (336, 336, 3)
        assert scene.nouns.shape == scene.colours.shape == (24, 24)
        assert scene.nouns.min() >= min(GROUND, MIXED)
        shown = set(scene.nouns[scene.nouns >= 0].tolist())
        assert shown == {t.noun for t in scene.things}
        for thing in scene.things:
            assert scene.nouns[int(thing.y / 14), int(thing.x / 14)] in (thing.noun, MIXED, GROUND)


def test_things_do_not_cover_each_other(composer: Composer) -> None:
    for seed in range(20):
        things = composer.scene((5, seed)).things
        for i, a in enumerate(things):
            for b in things[:i]:
                assert max(abs(a.x - b.x), abs(a.y - b.y)) >= (a.size + b.size) / 2


def test_the_unseen_style_draws_every_noun(composer: Composer) -> None:
    assert composer.available[UNSEEN_STYLE].all()
    scene = composer.scene((6, 0), styles=(UNSEEN_STYLE,))
    assert not np.array_equal(scene.pixels, composer.scene((6, 0)).pixels)


def test_questions_are_right(composer: Composer) -> None:
    kinds = Counter()
    for seed in range(40):
        scene = composer.scene((7, seed))
        counts = Counter(t.word for t in scene.things)
        for kind, asked in questions(composer, scene, (7, seed)).items():
            kinds[kind] += len(asked)
            for question in asked:
                if kind == "present":
                    assert (question.answer == "Yes.") == (question.nouns[0] in counts)
                elif kind == "count":
                    assert ["No.", "One.", "Two.", "Three.", "Four.", "Five."].index(question.answer) == (
                        counts[question.nouns[0]]
                    )
                elif kind in ("relation", "place", "shape"):
                    assert any(question.answer[:-1].lower() == with_article(word) for word in counts)
                elif kind == "describe":
                    assert all(word[:4] in question.answer.lower() for word in counts)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) > 0


def test_presence_is_balanced(composer: Composer) -> None:
    answers = Counter(
        q.answer
        for seed in range(40)
        for q in one_of_each(composer, composer.scene((8, seed)), (8, seed))
        if q.kind == "present"
    )
    assert answers["Yes."] == answers["No."] == 40


def test_a_relation_names_the_nearest_thing_in_that_direction(composer: Composer) -> None:
    checked = 0
    for seed in range(30):
        scene = composer.scene((9, seed))
        for question in questions(composer, scene, (9, seed))["relation"]:
            if " to the left of " in question.text:
                (anchor,) = (t for t in scene.things if t.word == question.nouns[0])
                found = [t for t in scene.things if with_article(t.word) == question.answer[:-1].lower()]
                assert any(t.x < anchor.x for t in found)
                checked += 1
    assert checked > 10


def test_words() -> None:
    assert [with_article(w) for w in ("dog", "owl", "grapes")] == ["a dog", "an owl", "some grapes"]
    assert [plural(w) for w in ("dog", "fox", "mouse", "peach", "butterfly", "fish")] == [
        "dogs",
        "foxes",
        "mice",
        "peaches",
        "butterflies",
        "fish",
    ]


def test_the_examples_exist_and_are_answered_by_their_scenes() -> None:
    folder = assets_dir() / "examples"
    listing = json.loads((folder / "examples.json").read_text())
    assert len(listing) == 6
    assert all((folder / entry["image"]).is_file() and entry["question"].endswith("?") for entry in listing)
