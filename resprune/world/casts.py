"""What a scene is to hold: how many objects, which, how large, and what its sign says."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from resprune.world.sprites import SHAPES, Sprites

Plan = Literal["few", "herd", "odd", "crowd", "dense", "signs", "sign", "forms"]
PLANS: dict[Plan, float] = {"few": 0.55, "herd": 0.27, "odd": 0.18}  # shares, where no plan is asked for
SMALL_SIDE = 168  # pictures of up to this side hold about a quarter of the objects

SIGN_WORDS = (
    "STOP OPEN EXIT SALE TAXI HOTEL CAFE BANK PARK SHOP FOOD GAS BUS WAY SLOW DANGER SCHOOL CLOSED HELP INFO NEWS "
    "ZOO FARM CAMP CITY PUSH PULL LEFT RIGHT UP DOWN NORTH SOUTH EAST WEST FREE NEW HOT COLD FRESH PIZZA JUICE MILK "
    "BREAD TEA COFFEE ICE FISH BIKE SHIP TRAIN PLANE GATE DOOR ROOM KEY LOST FOUND QUIET PLEASE THANKS HELLO "
    "WELCOME BYE YES NO GO WAIT WET DRY FAST EASY GOOD BEST BOOKS TOYS GAMES MUSIC ART MAP MENU RENT SOLD TICKETS "
).split()


@dataclass(frozen=True)
class Cast:
    """The objects of a scene.

    Attributes:
        nouns: their numbers, in the order in which they are placed; what finds no room is left out.
        smallest, largest: side of an object's square in pixels.
        overlap: how far two squares may reach into each other, as a share of the newer one's side.
        texts: of the signs.
    """

    nouns: list[int]
    smallest: int
    largest: int
    overlap: float
    texts: tuple[str, ...]


def cast(rng: np.random.Generator, sprites: Sprites, side: int, plan: Plan | None) -> Cast:
    """Draw a cast; ``plan`` says of which sort, or nothing for any of :data:`PLANS`."""
    if plan is None:
        plan = rng.choice(list(PLANS), p=list(PLANS.values()))
    small = side <= SMALL_SIDE
    nouns = rng.permutation(sprites.drawn).tolist()
    overlap = float(rng.choice([0.0, 0.12], p=[0.7, 0.3]))
    signed = plan == "sign" or rng.random() < (0.4 if plan in ("few", "dense") else 0.15)
    texts = (sign_text(rng, sprites, 3 if small else 7),) if signed else ()
    forms = _forms(rng, sprites, 1 if small else 3)
    match plan:
        case "dense":
            return Cast(forms + nouns[: 12 if small else 32], 28, 92 if small else 120, 0.12, texts)
        case "signs":
            texts = tuple(sign_text(rng, sprites, 4 if small else 7) for _ in range(4 if small else 9))
            return Cast(nouns[: 3 if small else 8], 28, 80, 0.0, texts)
        case "forms":
            shapes = (sprites.drawn + rng.permutation(len(SHAPES))[: int(rng.integers(1, 4))]).tolist()
            return Cast(shapes, 40, 92 if small else 140, 0.0, ())
        case "crowd":
            count = int(rng.integers(5, 11)) if small else int(rng.integers(18, 42))
            many = _repeated(rng, nouns[:2], 2 if small else 5)
            return Cast((forms[:2] + many + nouns[2:])[:count], 28, 44, overlap, ())
        case "herd":
            many = _repeated(rng, nouns[: 1 if small else int(rng.integers(2, 4))], 4 if small else 7)
            singles = int(rng.integers(0, 2 if small else 5))
            return Cast(many + forms[:1] + nouns[3 : 3 + singles], 28, 56 if small else 80, overlap, texts)
        case "odd":
            return Cast(_odd(rng, sprites, nouns, 4 if small else 7), 40, 80 if small else 120, 0.0, ())
        case _:
            count = int(rng.integers(1, 5 if small else 15))
            largest = 92 if small else 140 if count <= 5 else 110 if count <= 9 else 80
            many = _repeated(rng, nouns[:1], 3)
            return Cast((forms + many + nouns[1:])[:count], 28, largest, overlap, texts)


def sign_text(rng: np.random.Generator, sprites: Sprites, longest: int) -> str:
    """A word, a number, or letters that are no word."""
    kind = rng.random()
    if kind < 0.5:
        words = [word for word in SIGN_WORDS if len(word) <= longest]
        return words[rng.integers(len(words))]
    if kind < 0.75:
        return str(rng.integers(0, 1000))
    letters = [c for c in sprites.glyphs if c.isalpha()]
    return "".join(rng.choice(letters, int(rng.integers(2, min(longest, 5) + 1))))


def _forms(rng: np.random.Generator, sprites: Sprites, most: int) -> list[int]:
    count = int(rng.integers(0, most + 1)) if rng.random() < 0.75 else 0
    return (sprites.drawn + rng.permutation(len(SHAPES))[:count]).tolist()


def _repeated(rng: np.random.Generator, nouns: list[int], most: int) -> list[int]:
    return [noun for noun in nouns for _ in range(int(rng.integers(1, most + 1)))]


def _odd(rng: np.random.Generator, sprites: Sprites, nouns: list[int], most: int) -> list[int]:
    """All alike but one: copies of one noun, or nouns of one category."""
    one, *rest = nouns
    others = int(rng.integers(3, most + 1))
    strangers = [n for n in rest if sprites.categories[n] != sprites.categories[one]]
    if rng.random() < 0.5:
        return [one] * others + strangers[:1]
    relatives = [n for n in nouns if sprites.categories[n] == sprites.categories[one]][:others]
    return (relatives if len(relatives) >= 3 else [one] * others) + strangers[:1]
