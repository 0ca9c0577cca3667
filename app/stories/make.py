"""Write the deck of stories: ``python -m app.stories.make``.

A story makes a claim. Scenes are gone through in the order of their seeds, each story's questions are answered by the
bundled model, and the first scene on which the claim holds is taken. So what is shown is picked: it shows what can
happen, not how often. Every answer, time and map is of a real run.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from app.asking import Options
from app.record import FORMAT
from app.registry import Registry
from app.scenes import ASSETS, Example
from app.stored import run
from app.stories.deck import FOLDER, Story, Told, said_the_same
from resprune.evaluate import Example as Asking
from resprune.evaluate import Replies
from resprune.world import SIGN, Composer, Plan, Question, Scene, questions, with_article

SEED = 9301
MOST_SCENES = 150


@dataclass(frozen=True)
class Asked:
    """A question that a story asks of a scene, and how."""

    question: Question
    options: Options
    label: str = ""


@dataclass(frozen=True)
class Sought:
    """A story without its scene.

    Attributes:
        story: its words, with fields in braces that ``claim`` fills.
        asks: what might be asked of a scene.
        claim: the values of the fields if the answers bear the story out, else nothing.
        plan: of the scenes.
        pruned: of each run, whether its pruned answer is to be right; the full ones have to be.
    """

    story: Story
    asks: Callable[[dict[str, list[Question]], Scene], Iterator[list[Asked]]]
    claim: Callable[[list[Told], Scene], dict[str, Any] | None]
    plan: Plan | None = None
    pruned: tuple[bool, ...] = (True,)


def rows(record: dict[str, Any], scene: Scene, word: str) -> tuple[int, int]:
    """How many patches show things of that name, and how many of them were kept."""
    owners = {number for number, thing in enumerate(scene.things) if thing.word == word}
    showing = [i for i, (_, r, c) in enumerate(record["map"]["places"]) if int(scene.owners[r, c]) in owners]
    return len(showing), len(set(showing) & set(record["map"]["kept"]))


def budget_for(captured: list[float], share: float) -> int:
    """The fewest tokens that hold that share of the energy."""
    return 1 + sum(value < share for value in captured)


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def all_right(told: list[Told]) -> bool:
    return all(all(t.verdicts.values()) for t in told)


def one(kind: str, options: Options) -> Callable:
    """Each question of a kind, asked alone."""

    def asks(found: dict[str, list[Question]], scene: Scene) -> Iterator[list[Asked]]:
        for question in found[kind]:
            yield [Asked(question, options)]

    return asks


def redundant(told: list[Told], scene: Scene) -> dict[str, Any] | None:
    drawn = told[0].record["map"]
    heaviest = max(drawn["owner"].count(patch) for patch in drawn["kept"])
    if not all_right(told) or len(scene.things) > 5:
        return None
    kept, total = len(drawn["kept"]), len(drawn["order"])
    return {"kept": kept, "total": total, "heaviest": heaviest, "share": percent(drawn["captured"][kept - 1])}


def grows(told: list[Told], scene: Scene) -> dict[str, Any] | None:
    captured = told[0].record["map"]["captured"]
    if not all_right(told) or len(scene.things) < 4:
        return None
    return {"half": budget_for(captured, 0.5), "most": budget_for(captured, 0.9), "total": len(captured)}


def two_questions(found: dict[str, list[Question]], scene: Scene) -> Iterator[list[Asked]]:
    yes = [q for q in found["present"] if q.answer == "Yes." and q.nouns[0] != "sign"]
    for pair in pairwise(yes):
        yield [Asked(q, Options(keep=16, mass=True), f"Asked about {with_article(q.nouns[0])}") for q in pair]


def conditioned(told: list[Told], scene: Scene) -> dict[str, Any] | None:
    first, second = (next(iter(t.record["map"]["relevance"]), "") for t in told)
    if not all_right(told) or not first or not second:
        return None
    (of_first, own), (_, other) = rows(told[0].record, scene, first), rows(told[1].record, scene, first)
    (of_second, theirs), (_, missed) = rows(told[1].record, scene, second), rows(told[0].record, scene, second)
    if own <= other or theirs <= missed:
        return None
    return {
        "first": first, "second": second, "own": own, "other": other, "theirs": theirs, "missed": missed,
        "of_first": of_first, "of_second": of_second, "count": len(scene.things),
    }  # fmt: skip


def saves(told: list[Told], scene: Scene) -> dict[str, Any] | None:
    full, pruned = told[0].record["full"], told[0].record["pruned"]
    faster = full["prefill_ms"] / (pruned["prefill_ms"] + pruned["select_ms"])
    if not all_right(told) or faster < 1.2:
        return None
    return {
        "faster": f"{faster:.1f}",
        "smaller": f"{full['kv_bytes'] / pruned['kv_bytes']:.1f}",
        "sooner": f"{full['ttft_ms'] / pruned['ttft_ms']:.1f}",
    }


def weighed(found: dict[str, list[Question]], scene: Scene) -> Iterator[list[Asked]]:
    """What is not there first: on larger models that is where plain pruning errs."""
    plain = Options(keep=16, mass=False)
    for kind in ("present", "coloured", "count", "compare"):
        for question in found[kind]:
            if question.answer not in ("Yes.", "One."):
                other = Asked(question, replace(plain, mass=True), "16 tokens with mass")
                yield [Asked(question, plain, "16 tokens alone"), other]


def undone(told: list[Told], scene: Scene) -> dict[str, Any] | None:
    plain, other = (t.verdicts for t in told)
    if not (plain["full"] and other["full"] and other["pruned"]) or plain["pruned"]:
        return None
    shown = sum(int(scene.nouns[r, c]) != -1 for _, r, c in told[0].record["map"]["places"])
    kept = told[0].record["map"]["kept"]
    places = told[0].record["map"]["places"]
    of_things = sum(int(scene.nouns[places[p][1], places[p][2]]) != -1 for p in kept)
    return {
        "things": percent(shown / len(places)),
        "things_kept": percent(of_things / len(kept)),
        "wrong": told[0].record["pruned"]["answer"].strip(),
        "right": told[1].record["pruned"]["answer"].strip(),
    }


def too_few(found: dict[str, list[Question]], scene: Scene) -> Iterator[list[Asked]]:
    few = Options(keep=16, mass=True)
    for question in found["sign"]:
        yield [Asked(question, few, "16 tokens"), Asked(question, replace(few, keep=192), "192 tokens")]


def broken(told: list[Told], scene: Scene) -> dict[str, Any] | None:
    few, enough = (t.verdicts for t in told)
    if few["pruned"] or not (few["full"] and enough["pruned"]):
        return None
    showing, kept = rows(told[0].record, scene, SIGN)
    _, then = rows(told[1].record, scene, SIGN)
    return {"showing": showing, "kept": kept, "then": then, "wrong": told[0].record["pruned"]["answer"].strip()}


WITH_MASS = Options(keep=32, mass=True)
SOUGHT = (
    Sought(
        Story(
            "redundant",
            "Most of a picture says the same thing twice",
            "A model cuts a picture into {total} patches and reads every one. Here it answers from {kept} of them, the "
            "bright ones, and says the same. A white dot is a kept token's mass: how many patches it speaks for.",
            "One token stands for {heaviest} patches that look alike. The {kept} that were kept hold {share} of the "
            "energy: what all tokens together can say, in the sense of least squares.",
            (),
        ),
        one("describe", WITH_MASS),
        redundant,
    ),
    Sought(
        Story(
            "grows",
            "A subspace grows, token by token",
            "The first token is the one with the most to say. Each next one is the one that the tokens before it can "
            "express least, and so on. Press Play, or move the slider, and watch where it looks.",
            "Objects come first, the ground once. {half} tokens hold half of the energy, {most} of {total} hold 90 %.",
            (),
            grows=True,
        ),
        one("where", Options(keep=64, mass=True)),
        grows,
    ),
    Sought(
        Story(
            "question",
            "The question decides what is kept",
            "One picture of {count} things, two questions, 16 tokens each. Patches near a noun of the question count "
            "for more, so each question keeps more of what it asks about.",
            "Asked about it, {own} of the {of_first} patches of {first} are kept, else {other}; of the {of_second} of "
            "{second}, {theirs} instead of {missed}. This model was trained so that patches and nouns meet; how much "
            "it helps elsewhere has to be measured.",
            (),
        ),
        two_questions,
        conditioned,
        "crowd",
        (True, True),
    ),
    Sought(
        Story(
            "saves",
            "What it saves, and what it does not",
            "Reading the prompt is {faster} times faster, choosing the tokens included, and the memory of what was "
            "read {smaller} times smaller. The answer is the same.",
            "Seeing the picture costs as much as before, and so does each word of the answer: the first word comes "
            "{sooner} times sooner. This model is tiny; a larger one spends more of its time on reading.",
            (),
            figures=True,
        ),
        one("relation", Options(keep=64, mass=True)),
        saves,
    ),
    Sought(
        Story(
            "mass",
            "What plain pruning gets wrong, and how mass undoes it",
            "The whole picture gives the right answer. Sixteen tokens alone say “{wrong}” The same sixteen, each "
            "weighed by how many it stands for, say “{right}”",
            "Things fill {things} of the picture but {things_kept} of the kept tokens: to a model that cannot weigh, "
            "the picture is almost nothing but things. Mass gives the ground, and each thing, its weight back.",
            (),
        ),
        weighed,
        undone,
        pruned=(False, True),
    ),
    Sought(
        Story(
            "fails",
            "Where it fails, and why",
            "From all tokens the sign is read as it stands. From 16 tokens, mass and all, the model says “{wrong}” "
            "From 192 it is right again.",
            "The sign covers {showing} patches. Of 16 tokens {kept} show it, of 192 {then}: letters that nobody kept "
            "cannot be read, and a token that stands for them does not say which they were. A small budget guesses, "
            "and sounds as sure as ever.",
            (),
        ),
        too_few,
        broken,
        pruned=(False, True),
    ),
)


def find(sought: Sought, registry: Registry, composer: Composer, start: int) -> tuple[Story, int]:
    """The story on the first scene from number ``start`` that bears it out.

    Raises:
        LookupError: if no scene does.
    """
    file = FOLDER / f"{sought.story.name}.png"
    replies = Replies(registry.loaded.model, registry.loaded.processor)
    for number in range(start, start + MOST_SCENES):
        scene = composer.scene((SEED, number), plan=sought.plan)
        scene.image().save(file, optimize=True)
        image = scene.image()
        for asked in sought.asks(questions(composer, scene, (SEED, number, 1)), scene):
            if not _likely(replies, number, image, asked, sought.pruned):
                continue
            if sought.claim(_told(registry, file, asked, explained=False), scene) is None:
                continue
            told = _told(registry, file, asked, explained=True)  # once more: the first run warmed up
            words = sought.claim(told, scene)
            if words is not None:
                story = sought.story
                lead, reason = story.lead.format(**words), story.reason.format(**words)
                return replace(story, lead=lead, reason=reason, runs=tuple(told)), number
    raise LookupError(f"No scene of {MOST_SCENES} bears out the story {sought.story.name!r}.")


def _likely(replies: Replies, number: int, image: Image.Image, asked: list[Asked], pruned: tuple[bool, ...]) -> bool:
    """Whether the answers are right and wrong as wanted; quicker than runs with all their figures."""
    for one, wanted in zip(asked, pruned, strict=True):
        example = Asking(number, image, one.question.kind, one.question.text, (one.question.answer,))
        if not said_the_same(replies.to(example).text, one.question.answer):
            return False
        if said_the_same(replies.to(example, one.options.settings()).text, one.question.answer) != wanted:
            return False
    return True


def _told(registry: Registry, file: Path, asked: list[Asked], *, explained: bool) -> list[Told]:
    return [
        Told(
            run(registry, Example(file, a.question.text), a.options, explained=explained) | {"picture": file.name},
            a.question.answer,
            a.label,
        )
        for a in asked
    ]


def main() -> None:
    registry = Registry()
    for _ in registry.wait():
        pass
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    composer, deck, start = Composer(ASSETS / "sprites"), [], 0
    for sought in SOUGHT:
        story, number = find(sought, registry, composer, start)
        start = number + 1  # every story has a picture of its own
        deck.append(asdict(story))
        for told in story.runs:
            answers = [told.record[side]["answer"].strip() for side in ("full", "pruned")]
            print(f"{story.name}, scene {number}: {told.record['question']} {answers}", flush=True)
    text = json.dumps({"format": FORMAT, "stories": deck}, ensure_ascii=False, separators=(",", ":"))
    (FOLDER / "deck.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
