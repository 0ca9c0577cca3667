"""The stories: what is stored bears out what they say, and each can be run live."""

import json
from pathlib import Path

import pytest
from serving import ready

from app.record import FORMAT
from app.registry import Registry
from app.stories import deck
from app.stories.deck import FOLDER, picture, shown, stories
from app.stories.live import live
from app.stories.make import SEED, SOUGHT, percent, rows
from app.stories.tab import script, template
from resprune.models.hub import assets_dir
from resprune.world.casts import Plan
from resprune.world.scenes import Composer, Scene

LONGEST = 600  # characters of a story's words, to be read from the back of a room


@pytest.fixture(scope="module")
def registry() -> Registry:
    registry = Registry()
    registry.start()
    return ready(registry)


def scene_of(story: deck.Story, plan: Plan | None) -> Scene:
    """The scene of a stored picture, found again by its pixels."""
    from PIL import Image

    composer = Composer(assets_dir() / "sprites")
    wanted = Image.open(picture(story.runs[0])).convert("RGB").tobytes()
    return next(s for i in range(500) for s in [composer.scene((SEED, i), plan=plan)] if s.pixels.tobytes() == wanted)


def test_there_are_six_stories_and_one_is_of_a_failure() -> None:
    names = [story.name for story in stories()]
    assert names == [sought.story.name for sought in SOUGHT] and len(names) == 6
    failures = [s for s in stories() if not all(all(t.verdicts.values()) for t in s.runs)]
    assert [s.name for s in failures] == ["mass", "fails"]
    assert all(t.verdicts["full"] for s in stories() for t in s.runs), "a story of pruning starts from a right answer"
    assert all(len(s.lead) + len(s.reason) < LONGEST and "{" not in s.lead + s.reason for s in stories())


@pytest.mark.parametrize("number", range(len(SOUGHT)))
def test_each_story_says_what_its_runs_show(number: int) -> None:
    """The words are those that the stored answers, maps and times lead to."""
    sought, story = SOUGHT[number], stories()[number]
    words = sought.claim(list(story.runs), scene_of(story, sought.plan))
    assert words is not None, "the claim no longer holds"
    assert (story.lead, story.reason) == (sought.story.lead.format(**words), sought.story.reason.format(**words))


def test_a_claim_that_does_not_hold_is_not_made() -> None:
    mass = next(s for s in stories() if s.name == "mass")
    sought = next(s for s in SOUGHT if s.story.name == "mass")
    assert sought.claim([mass.runs[1], mass.runs[0]], scene_of(mass, None)) is None


def test_what_the_browser_is_given() -> None:
    for story in stories():
        given = shown(story)
        assert json.loads(json.dumps(given, allow_nan=False)) == given
        for run in given["runs"]:
            assert run["map"]["src"].startswith("data:image/jpeg;base64,")
            assert set(run["panels"]) == {"full", "pruned"}
    assert sum(len(json.dumps(shown(story))) for story in stories()) < 1e6


def test_a_deck_of_another_version_is_no_deck(tmp_path: Path) -> None:
    told = json.loads((FOLDER / "deck.json").read_text())
    (tmp_path / "deck.json").write_text(json.dumps(told | {"format": FORMAT + 1}))
    assert stories(tmp_path) == ()
    assert len(stories(FOLDER)) == 6


def test_the_decks_script_makes_maps_of_the_pages_own_parts() -> None:
    assert script().count("function patchMap(") == 1 and "const CIVIDIS" in script()
    assert template().count("<canvas") == 2 and "<!-- map -->" not in template()


def test_a_story_is_run_live(registry: Registry) -> None:
    """As stored, or said plainly that it is not: rounding differs between machines."""
    story = stories()[0]
    updates = list(live(registry, {"story": story.name}))
    assert "Live run" in updates[0] and len(updates) > 4
    assert updates[-1].count('data-stage="done"') == 2 * len(story.runs)
    assert updates[-1].count('class="mark') == 2 * len(story.runs)
    assert story.runs[0].record["question"] in updates[-1]


@pytest.mark.parametrize("clicked", [None, {}, {"story": "<b>"}, {"story": 3}, "yes"])
def test_a_story_that_is_not_there_is_refused(registry: Registry, clicked: object) -> None:
    (said,) = live(registry, clicked)
    assert "There is no such story" in said and "<b>Live" in said and "<b>&" not in said


def test_a_model_that_fails_says_so_and_the_next_one_answers(registry: Registry) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("no room")

    hook = registry.loaded.model.model.language_model.register_forward_pre_hook(fail)
    broken = list(live(registry, {"story": stories()[0].name}))[-1]
    hook.remove()
    assert 'role="alert"' in broken
    assert 'data-stage="done"' in list(live(registry, {"story": stories()[0].name}))[-1]


def test_helpers_count_what_they_say() -> None:
    assert percent(0.126) == "13 %"
    composer = Composer(assets_dir() / "sprites")
    scene = composer.scene((SEED, 0))
    word = scene.things[0].word
    assert sum(thing.word == word for thing in scene.things) == 1
    places = [[0, r, c] for r in range(24) for c in range(24)]
    showing = [i for i, (_, r, c) in enumerate(places) if scene.owners[r, c] == 0]
    record = {"map": {"places": places, "kept": showing[:2] + [i for i in range(576) if i not in showing][:3]}}
    assert rows(record, scene, word) == (len(showing), 2)
