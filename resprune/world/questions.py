"""Questions about a scene, with their answers: generated, so that each is right by construction."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from resprune.world.scenes import COLOURS, Composer, Scene, Thing
from resprune.world.sprites import SIGN
from resprune.world.wording import (
    ABOUT_PRESENT,
    ABOUT_STRANGERS,
    CANNOT_TELL,
    CORNERS,
    DIRECTIONS,
    KINDS,
    LARGER,
    NUMBERS,
    OUTSIDE,
    PHRASINGS,
    PLACES,
    SMALLER,
    STRANGERS,
    UNCOUNTED,
    Kind,
    counted,
    kept_for_tests,
    listed,
    no_such,
    plural,
    sentence,
    with_article,
)

MOST_DESCRIBED = 4  # sorts of things that a description lists
MOST_IN_TRAINING = 6


@dataclass(frozen=True)
class Question:
    """A question, its one right answer, and the nouns of the world that it names."""

    kind: Kind
    text: str
    answer: str
    nouns: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The kind, with "Yes." and "No." apart, and counts above one apart from the easy ones."""
        if self.kind in ("present", "coloured"):
            return f"{self.kind} {self.answer.lower()[:-1]}"
        if self.kind == "count":
            return "count one" if self.answer == "One." else "count more"
        return self.kind


def questions(
    composer: Composer, scene: Scene, seed: int | tuple[int, ...], *, held_out: bool = False
) -> dict[Kind, list[Question]]:
    """Every question that the scene answers without doubt, by kind, in an order drawn from ``seed``.

    Where an answer is "Yes." or "No.", there are about as many of each. Half of the absent nouns that are asked for
    have a relative of their category in the scene. ``held_out`` asks of the unknown what training never does.
    """
    found = _Asking(composer, scene, np.random.default_rng(seed), held_out).everything()
    return {kind: found[kind] for kind in KINDS}


def one_of_each(composer: Composer, scene: Scene, seed: int | tuple[int, ...]) -> list[Question]:
    """At most one question a label, so that yes and no are asked alike: what the held-out sets ask."""
    found = questions(composer, scene, seed, held_out=True)
    return [q for asked in found.values() for q in {q.label: q for q in reversed(asked)}.values()]


class _Asking:
    """The questions of one scene in the making."""

    def __init__(self, composer: Composer, scene: Scene, rng: np.random.Generator, held_out: bool) -> None:
        self.composer, self.scene, self.rng, self.held_out = composer, scene, rng, held_out
        self.counts = Counter(t.word for t in scene.things)
        self.single = [t for t in scene.things if self.counts[t.word] == 1]
        self.absent = self._absent()
        self.found: dict[Kind, list[Question]] = {kind: [] for kind in KINDS}

    def everything(self) -> dict[Kind, list[Question]]:
        self.ask_of_presence()
        self.ask_of_shapes()
        self.ask_of_places()
        self.ask_of_numbers()
        self.ask_of_sizes()
        self.ask_of_all()
        self.ask_of_nothing()
        for kind, asked in self.found.items():
            self.found[kind] = [asked[i] for i in self.rng.permutation(len(asked))]
        return self.found

    def add(self, kind: Kind, answer: str, nouns: tuple[str, ...] = (), **words: str) -> None:
        usable = [form for form in PHRASINGS[kind] if "{ns}" not in form or "ns" in words]
        text = self.one_of(usable).format(**words)
        self.found[kind].append(Question(kind, text, answer, nouns))

    def one_of(self, items: tuple[str, ...] | list[str]) -> str:
        return items[self.rng.integers(len(items))]

    def ask_of_presence(self) -> None:
        for word in self.counts:
            self.add("present", "Yes.", (word,), a=_any(word))
        for word in self.absent:
            self.add("present", "No.", (word,), a=_any(word))
        for category in dict.fromkeys(t.category for t in self.scene.things if t.category != SIGN):
            members = {t.word for t in self.scene.things if t.category == category}
            if len(members) == 1:
                word = members.pop()
                self.add("category", sentence(counted(word, self.counts[word])), (category,), c=category)

    def ask_of_shapes(self) -> None:
        shapes = {t.word: t.colour for t in self.scene.things if t.colour}
        other = [c for c in COLOURS if c not in shapes.values()]
        if len(shapes) == 1:
            self.add("colour", sentence(next(iter(shapes.values()))), ("shape",), n="shape")
        for word, colour in shapes.items():
            self.add("colour", sentence(colour), (word,), n=word)
            self.add("shape", sentence(with_article(word)), (), colour=colour)
            named = self.one_of(["shape", word])
            self.add("coloured", "Yes.", (named,), a=with_article(f"{colour} {named}"))
            self.add("coloured", "No.", (named,), a=with_article(f"{self.one_of(other)} {named}"))
        # the colour is there, on another shape: the first's on the second and the other way round
        for (word, _), (_, colour) in pairwise([*shapes.items(), *list(shapes.items())[:1]] if len(shapes) > 1 else []):
            self.add("coloured", "No.", (word,), a=with_article(f"{colour} {word}"))

    def ask_of_places(self) -> None:
        scene = self.scene
        for thing in self.single:
            if place := _place_of(thing, scene.side):
                self.add("where", sentence(place), (thing.word,), n=thing.word)
            for relation, direction in DIRECTIONS.items():
                if other := _neighbour(thing, direction, scene.things):
                    self.add("relation", sentence(with_article(other.word)), (thing.word,), n=thing.word, r=relation)
        for corner in CORNERS:
            right, down = (v * scene.side for v in PLACES[corner])
            nearest = _clearly_nearest(scene.things, lambda t, x=right, y=down: np.hypot(t.x - x, t.y - y), margin=30)
            if nearest:
                self.add("place", sentence(with_article(nearest.word)), (), p=corner)

    def ask_of_numbers(self) -> None:
        countable = [w for w, count in self.counts.items() if w not in UNCOUNTED and count < len(NUMBERS)]
        for word in countable:
            self.add("count", sentence(NUMBERS[self.counts[word]]), (word,), ns=plural(word))
        for _ in range(4 if len(countable) > 1 else 0):
            a, b = (countable[i] for i in self.rng.permutation(len(countable))[:2])
            if self.counts[a] != self.counts[b]:
                more = max(a, b, key=self.counts.get)
                self.add("compare", f"More {plural(more)}.", (a, b), ns=plural(a), ms=plural(b))

    def ask_of_sizes(self) -> None:
        things = [t for t in self.single if t.category != SIGN]
        for _ in range(4 if len(things) > 1 else 0):
            a, b = (things[i] for i in self.rng.permutation(len(things))[:2])
            if max(a.size, b.size) >= 1.4 * min(a.size, b.size):
                larger = self.rng.random() < 0.5
                asked = (max if larger else min)(a, b, key=lambda t: t.size)
                words = self.one_of(LARGER if larger else SMALLER)
                self.add("size", f"The {asked.word}.", (a.word, b.word), s=words, n=a.word, m=b.word)

    def ask_of_all(self) -> None:
        for thing in self.single:
            if thing.text:
                for _ in range(1 if self.held_out else 2):
                    self.add("sign", f'It says "{thing.text}".', (SIGN,))
        if odd := _odd_one(self.scene.things):
            self.add("odd", f"The {odd.word}.")
        if len(self.counts) <= (MOST_DESCRIBED if self.held_out else MOST_IN_TRAINING):
            ordered = sorted(self.scene.things, key=lambda t: t.x)
            phrases = {t.word: _described(t, self.counts[t.word]) for t in ordered}
            for _ in range(1 if self.held_out else 2):  # one a scene is too rare to learn from
                self.add("describe", sentence(listed(list(phrases.values()))))

    def ask_of_nothing(self) -> None:
        """What the picture does not answer: things that are not there, and things that no picture here shows."""
        for word in self.absent:
            words = {"n": word, "r": self.one_of(list(DIRECTIONS))} | (
                {} if word in UNCOUNTED else {"ns": plural(word)}
            )
            self.add("absent", no_such(word), (word,), **words)
        stranger = self.one_of(kept_for_tests(STRANGERS, self.held_out))
        thing = self.scene.things[self.rng.integers(len(self.scene.things))].word
        for text in (
            self.one_of(kept_for_tests(OUTSIDE, self.held_out)),
            self.one_of(ABOUT_STRANGERS).format(a=with_article(stranger), n=stranger),
            self.one_of(ABOUT_PRESENT).format(n=thing),
        ):
            self.found["unknown"].append(Question("unknown", text, CANNOT_TELL))

    def _absent(self) -> list[str]:
        """As many nouns as there are in the scene, none in it; every second one is a relative of one that is."""
        words, categories = self.composer.words, self.composer.categories
        outside = [i for i, word in enumerate(words) if word not in self.counts]
        near = {t.category for t in self.scene.things}
        related = [i for i in outside if categories[i] in near]
        pools = [related if i % 2 and related else outside for i in range(len(self.counts))]
        return list(dict.fromkeys(words[pool[self.rng.integers(len(pool))]] for pool in pools))


def _any(word: str) -> str:
    return with_article(word).replace("some ", "any ")


def _described(thing: Thing, count: int) -> str:
    if thing.colour and count == 1:
        return with_article(f"{thing.colour} {thing.word}")
    return counted(thing.word, count)


def _odd_one(things: tuple[Thing, ...]) -> Thing | None:
    """The one thing unlike at least three others that are all of one noun, or all of one category."""
    for same in (lambda t: t.word, lambda t: t.category):
        groups = Counter(same(t) for t in things)
        if len(groups) == 2 and min(groups.values()) == 1 and len(things) >= 4:
            return next(t for t in things if groups[same(t)] == 1)
    return None


def _place_of(thing: Thing, side: int, margin: float = 0.04) -> str | None:
    """The third of the picture, across and down, in which a thing's middle lies; ``None`` near a border of thirds."""
    spot = []
    for share in (thing.x / side, thing.y / side):
        if min(abs(share - 1 / 3), abs(share - 2 / 3)) < margin:
            return None
        spot.append((0.0, 0.5, 1.0)[int(share * 3)])
    return next(name for name, at in PLACES.items() if at == tuple(spot))


def _neighbour(thing: Thing, direction: tuple[int, int], things: tuple[Thing, ...]) -> Thing | None:
    """The nearest other thing within a cone in that direction, if no other kind of thing is about as near.

    A thing just outside the cone, as near, leaves doubt too.
    """
    right, down = direction
    cone, wider = [], []
    for other in things:
        dx, dy = other.x - thing.x, other.y - thing.y
        ahead, aside = dx * right + dy * down, abs(dx * down) + abs(dy * right)
        if other is not thing and ahead > 0 and aside < 1.1 * ahead:
            wider.append(other)
            if aside < 0.7 * ahead:
                cone.append(other)

    def distance(other: Thing) -> float:
        return float(np.hypot(other.x - thing.x, other.y - thing.y))

    nearest = _clearly_nearest(tuple(wider), distance, margin=24)
    return nearest if nearest in cone else None


def _clearly_nearest(things: tuple[Thing, ...], distance: Callable[[Thing], float], margin: float) -> Thing | None:
    ranked = sorted(things, key=distance)
    if not ranked:
        return None
    rivals = [t for t in ranked if t.word != ranked[0].word]
    return ranked[0] if not rivals or distance(rivals[0]) - distance(ranked[0]) >= margin else None
