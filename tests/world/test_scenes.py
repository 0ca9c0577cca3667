"""Scenes and questions: the same for the same seed everywhere, and right by construction."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from resprune.models.hub import assets_dir
from resprune.world.casts import SIGN_WORDS
from resprune.world.questions import one_of_each, questions
from resprune.world.scenes import GROUND, MIXED, TRAINING_FONTS, TRAINING_STYLES, UNSEEN_FONT, UNSEEN_STYLE, Composer
from resprune.world.wording import CANNOT_TELL, KINDS, NUMBERS, STRANGERS, UNCOUNTED, no_such, plural, with_article


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
    lettered = 0
    for seed in range(30):
        scene = composer.scene((4, seed))
        assert scene.pixels.shape == (336, 336, 3)
        assert scene.nouns.shape == scene.colours.shape == (24, 24)
        assert scene.nouns.min() >= min(GROUND, MIXED)
        shown = set(scene.nouns[(scene.nouns >= 0) & (scene.nouns < len(composer.words))].tolist())
        assert shown <= {t.noun for t in scene.things}
        for number, thing in enumerate(scene.things):
            patches = scene.nouns[scene.owners == number]
            glyphs = {len(composer.words) + composer.glyphs.index(c) for c in thing.text or ""}
            lettered += bool(glyphs & set(patches.tolist()))
            assert set(patches.tolist()) <= {thing.noun, MIXED} | glyphs
    assert lettered > 5


def test_plans_hold_what_they_promise(composer: Composer) -> None:
    crowds = [composer.scene((5, seed), plan="crowd").things for seed in range(12)]
    assert all(15 <= len(things) <= 41 and all(28 <= t.size <= 44 for t in things) for things in crowds)
    few = [composer.scene((5, seed)).things for seed in range(60)]
    assert {len(things) for things in few} >= set(range(2, 13))
    assert min(t.size for things in few for t in things) >= 14
    assert max(t.size for things in few for t in things if not t.text) <= 140
    herds = [composer.scene((5, seed), plan="herd").things for seed in range(12)]
    assert max(max(Counter(t.word for t in things).values()) for things in herds) >= 5
    texts = {t.text for things in few for t in things if t.text}
    assert any(text.isdigit() for text in texts) and any(text in SIGN_WORDS for text in texts)


def test_things_cover_each_other_by_little(composer: Composer) -> None:
    """Two squares share at most a strip of 12 % of the newer one's side; some scenes have none of it."""
    overlapping = 0
    for seed in range(30):
        things = [t for t in composer.scene((5, seed)).things if not t.text]
        gaps = [
            max(abs(a.x - b.x), abs(a.y - b.y)) - (a.size + b.size) / 2 + 0.12 * a.size
            for i, a in enumerate(things)
            for b in things[:i]
        ]
        assert all(gap >= -1 for gap in gaps)
        overlapping += any(gap < 0.12 * 28 - 1 for gap in gaps)
    assert 0 < overlapping < 30


def test_the_world_has_its_words(composer: Composer) -> None:
    assert len(composer.words) >= 150
    categories = set(composer.categories)
    assert categories >= {"animal", "food", "vehicle", "tool", "garment", "furniture", "building", "face"}
    assert {"dog", "hammer", "umbrella", "eggplant", "anchor", "glasses"} <= set(composer.words)


def test_the_unseen_style_draws_every_noun(composer: Composer) -> None:
    assert composer.available[UNSEEN_STYLE].all()
    assert UNSEEN_FONT in composer.sprites.fonts and UNSEEN_FONT not in TRAINING_FONTS
    assert UNSEEN_STYLE not in TRAINING_STYLES
    scene = composer.scene((6, 0), styles=(UNSEEN_STYLE,))
    assert not np.array_equal(scene.pixels, composer.scene((6, 0)).pixels)


def test_plans_for_what_is_rare(composer: Composer) -> None:
    forms = [composer.scene((5, seed), plan="forms").things for seed in range(12)]
    assert all(t.colour for things in forms for t in things) and {len(things) for things in forms} == {1, 2, 3}
    signs = [composer.scene((5, seed), plan="sign").things for seed in range(12)]
    assert all(sum(bool(t.text) for t in things) == 1 for things in signs)


def test_training_sees_some_pictures_that_were_smaller_once(composer: Composer) -> None:
    def sharpness(restyle: bool) -> list[float]:
        scenes = (composer.scene((6, i), plan="forms", restyle=restyle) for i in range(40))
        return [float(np.abs(np.diff(s.pixels.astype(float), axis=1)).max()) for s in scenes]

    drop = np.array(sharpness(True)) < 0.6 * np.array(sharpness(False))
    assert 1 <= drop.sum() <= 15


def test_restyling_changes_pixels_and_nothing_else(composer: Composer) -> None:
    plain, other = (composer.scene((6, 1), plan="crowd", restyle=restyle) for restyle in (False, True))
    assert plain.things[0] == other.things[0]
    assert not np.array_equal(plain.pixels, other.pixels)


def test_questions_are_right(composer: Composer) -> None:
    kinds = Counter()
    for seed in range(60):
        scene = composer.scene((7, seed))
        counts = Counter(t.word for t in scene.things)
        sizes = {t.word: t.size for t in scene.things}
        for kind, asked in questions(composer, scene, (7, seed)).items():
            kinds[kind] += len(asked)
            for question in asked:
                right, named = question.answer.rstrip(".").lower(), question.nouns
                match kind:
                    case "present":
                        assert (right == "yes") == (named[0] in counts)
                    case "coloured":
                        there = {(t.colour, name) for t in scene.things for name in (t.word, "shape")}
                        asked_for = re.search(r"\ban? (\w+) (\w+)", question.text.replace("in the picture", ""))
                        assert (right == "yes") == (asked_for.groups() in there)
                    case "count":
                        assert right == NUMBERS[counts[named[0]]]
                    case "relation" | "place" | "shape":
                        assert any(right == with_article(word) for word in counts)
                    case "describe":
                        assert all(word[:4] in right for word in counts)
                        assert ("some" in right) == (max(counts.values()) > 1 or bool(set(counts) & UNCOUNTED))
                    case "compare":
                        a, b = named
                        assert right == f"more {plural(a if counts[a] > counts[b] else b)}"
                    case "size":
                        smaller, larger = sorted(named, key=sizes.get)
                        assert right == f"the {smaller if 'smaller' in question.text else larger}"
                    case "sign":
                        assert right == f'it says "{next(t.text for t in scene.things if t.text)}"'.lower()
                    case "odd":
                        assert counts[right.removeprefix("the ")] == 1
                    case "absent":
                        assert named[0] not in counts and right.endswith(f"no {named[0]}")
                    case "unknown":
                        assert question.answer == CANNOT_TELL
    assert set(kinds) == set(KINDS) and len(KINDS) >= 12
    assert min(kinds.values()) > 0


def test_presence_is_balanced(composer: Composer) -> None:
    answers = Counter(
        q.answer
        for seed in range(40)
        for q in one_of_each(composer, composer.scene((8, seed)), (8, seed))
        if q.kind == "present"
    )
    assert answers["Yes."] == answers["No."] == 40


def test_what_tests_ask_of_the_unknown_training_never_does(composer: Composer) -> None:
    scene = composer.scene((8, 0))
    asked = [
        {q.text for seed in range(300) for q in questions(composer, scene, seed, held_out=held_out)["unknown"]}
        for held_out in (False, True)
    ]
    about_present = {text for text in asked[0] & asked[1] if any(t.word in text for t in scene.things)}
    assert asked[0] & asked[1] == about_present
    assert not set(STRANGERS) & set(composer.words)


def test_a_relation_names_the_nearest_thing_in_that_direction(composer: Composer) -> None:
    checked = 0
    for seed in range(40):
        scene = composer.scene((9, seed))
        for question in questions(composer, scene, (9, seed))["relation"]:
            if " to the left of " in question.text:
                (anchor,) = (t for t in scene.things if t.word == question.nouns[0])
                found = [t for t in scene.things if with_article(t.word) == question.answer[:-1].lower()]
                assert any(t.x < anchor.x for t in found)
                checked += 1
    assert checked > 10


def test_words() -> None:
    said = [with_article(w) for w in ("dog", "owl", "unicorn", "grapes")]
    assert said == ["a dog", "an owl", "a unicorn", "some grapes"]
    assert no_such("grapes") == "There are no grapes." and no_such("bread") == "There is no bread."
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
    assert len(listing) >= 12
    assert all((folder / entry["image"]).is_file() and entry["question"] for entry in listing)
