"""Questions about a scene, with their answers: generated, so that each is right by construction."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from resprune.evaluate.scenes import COLOURS, Composer, Scene, Thing

NUMBERS = ("no", "one", "two", "three", "four", "five")
PLURAL = {
    "mouse": "mice",
    "fish": "fish",
    "butterfly": "butterflies",
    "strawberry": "strawberries",
}
# Nouns that are plural, or that nobody counts: "some grapes", and never "how many".
UNCOUNTED = {"grapes", "cherries", "scissors", "jeans", "glasses", "bread", "broccoli", "corn"}
PHRASINGS = {
    "present": ("Is there {a} in the picture?", "Is there {a}?", "Can you see {a}?", "Does the picture show {a}?"),
    "category": ("What {c} is in the picture?", "Which {c} is in the picture?", "Which {c} do you see?"),
    "colour": ("What colour is the {n}?", "What color is the {n}?", "Which colour does the {n} have?"),
    "shape": ("What shape is {colour}?", "Which shape is {colour}?", "What is the {colour} shape?"),
    "where": ("Where is the {n}?", "Where in the picture is the {n}?"),
    "place": ("What is at the {p}?", "What is in the {p} of the picture?"),
    "count": ("How many {ns} are there?", "How many {ns} are in the picture?", "How many {ns} do you see?"),
    "relation": ("What is {r} the {n}?", "Which thing is {r} the {n}?"),
    "describe": ("What is in the picture?", "Describe the picture.", "What do you see?"),
}
KINDS = tuple(PHRASINGS)
DIRECTIONS = {"to the left of": (-1, 0), "to the right of": (1, 0), "above": (0, -1), "below": (0, 1)}
PLACES = {
    "top left": (0.0, 0.0),
    "top": (0.5, 0.0),
    "top right": (1.0, 0.0),
    "left": (0.0, 0.5),
    "middle": (0.5, 0.5),
    "right": (1.0, 0.5),
    "bottom left": (0.0, 1.0),
    "bottom": (0.5, 1.0),
    "bottom right": (1.0, 1.0),
}
CORNERS = tuple(p for p in PLACES if " " in p)


@dataclass(frozen=True)
class Question:
    """A question, its one right answer, and the nouns of the world that it names."""

    kind: str
    text: str
    answer: str
    nouns: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The kind, with "Yes." and "No." apart, and counts above one apart from the easy ones."""
        if self.kind == "present":
            return f"present {self.answer.lower()[:-1]}"
        if self.kind == "count":
            return "count one" if self.answer == "One." else "count more"
        return self.kind


def with_article(word: str) -> str:
    """``"a dog"``, ``"an owl"``, ``"some grapes"``."""
    if word in UNCOUNTED:
        return f"some {word}"
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def plural(word: str) -> str:
    if word in PLURAL or word in UNCOUNTED:
        return PLURAL.get(word, word)
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def questions(composer: Composer, scene: Scene, seed: int | tuple[int, ...]) -> dict[str, list[Question]]:
    """Every question that the scene answers without doubt, by kind, in an order drawn from ``seed``.

    Of the kind ``present``, as many are answered "Yes." as "No.", and half of the absent nouns have a relative of their
    category in the scene.
    """
    rng = np.random.default_rng(seed)
    counts = Counter(t.word for t in scene.things)
    single = [t for t in scene.things if counts[t.word] == 1]
    found: dict[str, list[Question]] = {kind: [] for kind in KINDS}

    def add(kind: str, answer: str, nouns: tuple[str, ...] = (), **words: str) -> None:
        phrasing = PHRASINGS[kind][rng.integers(len(PHRASINGS[kind]))]
        found[kind].append(Question(kind, phrasing.format(**words), sentence(answer), nouns))

    for word, answer in _present(composer, counts, rng):
        add("present", answer, (word,), a=with_article(word).replace("some ", "any "))
    for category in dict.fromkeys(t.category for t in scene.things):
        members = {t.word for t in scene.things if t.category == category}
        if len(members) == 1:
            (word,) = members
            add("category", _noun_phrase(word, counts[word]), (category,), c=category)
    for thing in scene.things:
        if thing.colour:
            add("colour", thing.colour, (thing.word,), n=thing.word)
            add("shape", with_article(thing.word), (), colour=thing.colour)
    for thing in single:
        if place := _place_of(thing, scene.side):
            add("where", place, (thing.word,), n=thing.word)
        for relation, direction in DIRECTIONS.items():
            if other := _neighbour(thing, direction, scene.things):
                add("relation", with_article(other.word), (thing.word,), n=thing.word, r=relation)
    for corner in CORNERS:
        right, down = (v * scene.side for v in PLACES[corner])
        nearest = _clearly_nearest(scene.things, lambda t, x=right, y=down: np.hypot(t.x - x, t.y - y), margin=25)
        if nearest:
            add("place", with_article(nearest.word), (), p=corner)
    for word, count in counts.items():
        if word not in UNCOUNTED and count < len(NUMBERS):
            add("count", NUMBERS[count], (word,), ns=plural(word))
    add("describe", _description(scene, counts))
    for kind in KINDS:
        found[kind] = [found[kind][i] for i in rng.permutation(len(found[kind]))]
    return found


def one_of_each(composer: Composer, scene: Scene, seed: int | tuple[int, ...]) -> list[Question]:
    """At most one question a kind, and of ``present`` one for each answer: what the held-out sets ask."""
    found = questions(composer, scene, seed)
    # every second count is of a noun that comes several times, where there is one
    found["count"].sort(key=lambda q: q.answer == "One.")
    present = {q.answer: q for q in found.pop("present")}
    return [*present.values(), *(asked[0] for asked in found.values() if asked)]


def _present(composer: Composer, counts: Counter, rng: np.random.Generator) -> list[tuple[str, str]]:
    here = list(counts)
    absent = [i for i, word in enumerate(composer.words) if word not in counts]
    near = {composer.categories[composer.words.index(word)] for word in here}
    related = [i for i in absent if composer.categories[i] in near]
    picked: list[tuple[str, str]] = [(word, "yes") for word in here]
    for i in range(len(here)):
        pool = related if i % 2 and related else absent
        picked.append((composer.words[pool[rng.integers(len(pool))]], "no"))
    return list(dict.fromkeys(picked))


def _noun_phrase(word: str, count: int) -> str:
    if count == 1 or word in UNCOUNTED:
        return with_article(word)
    return f"{NUMBERS[count]} {plural(word)}"


def _description(scene: Scene, counts: Counter) -> str:
    """The objects from left to right, each noun where it comes first."""
    words = list(dict.fromkeys(t.word for t in sorted(scene.things, key=lambda t: t.x)))
    phrases = [_noun_phrase(word, counts[word]) for word in words]
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _place_of(thing: Thing, side: int, margin: float = 0.04) -> str | None:
    """The third of the picture, across and down, in which a thing's middle lies; ``None`` near a border of thirds."""
    spot = []
    for share in (thing.x / side, thing.y / side):
        if min(abs(share - 1 / 3), abs(share - 2 / 3)) < margin:
            return None
        spot.append((0.0, 0.5, 1.0)[int(share * 3)])
    return next(name for name, at in PLACES.items() if at == tuple(spot))


def _neighbour(thing: Thing, direction: tuple[int, int], things: tuple[Thing, ...]) -> Thing | None:
    """The nearest other thing within a cone in that direction, if no other kind of thing is about as near."""
    right, down = direction
    cone = []
    for other in things:
        dx, dy = other.x - thing.x, other.y - thing.y
        ahead, aside = dx * right + dy * down, abs(dx * down) + abs(dy * right)
        if other is not thing and ahead > 0 and aside < 0.8 * ahead:
            cone.append(other)
    return _clearly_nearest(tuple(cone), lambda o: np.hypot(o.x - thing.x, o.y - thing.y), margin=20)


def _clearly_nearest(things: tuple[Thing, ...], distance: Callable[[Thing], float], margin: float) -> Thing | None:
    ranked = sorted(things, key=distance)
    if not ranked:
        return None
    rivals = [t for t in ranked if t.word != ranked[0].word]
    return ranked[0] if not rivals or distance(rivals[0]) - distance(ranked[0]) >= margin else None


def corpus(composer: Composer) -> list[str]:
    """Every sentence form with every noun, in the singular: what the tokenizer is trained on."""
    lines = []
    for word in composer.words:
        lines += [f" {word}", f" {with_article(word)},", f" the {word}?", f" {with_article(word)} and"] * 8
        lines += [f" Where is the {word}?", f"Is there {with_article(word)} in the picture?"]
    frame = {
        "a": "a thing",
        "n": "thing",
        "ns": "",
        "p": "top left",
        "r": "to the left of",
        "colour": "red",
        "c": "animal",
    }
    for forms in PHRASINGS.values():
        lines += [form.format(**frame) for form in forms] * 40
    names = [*COLOURS, *NUMBERS, *PLACES, *DIRECTIONS, *dict.fromkeys(composer.categories), "some", "any", "background"]
    lines += [f" {name}" for name in names for _ in range(40)]
    lines += [
        f" {sentence(name)}"
        for name in [*COLOURS, *NUMBERS, *PLACES, "yes", "no", "a", "an", "some"]
        for _ in range(40)
    ]
    lines += ["USER: ASSISTANT:", "USER: \n ASSISTANT:"] * 40
    return lines
