"""Scenes composed of freely licensed emoji, coloured shapes and signs: the world that the bundled model knows.

A seed gives the same scene everywhere, so that a held-out set is a range of seeds, and no picture needs to be stored.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from resprune.world.backgrounds import background
from resprune.world.casts import Cast, Plan, cast
from resprune.world.sprites import SIGN, Sprites, restyled

SIDE = 336
PATCH = 14
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (245, 215, 40),
    "orange": (245, 140, 30),
    "purple": (140, 50, 180),
    "white": (250, 250, 250),
    "black": (20, 20, 20),
    "brown": (130, 75, 35),
    "grey": (128, 128, 128),
    "pink": (250, 150, 190),
    "teal": (20, 140, 140),
}
TRAINING_STYLES = ("noto", "twemoji", "emojione", "fxemoji")
UNSEEN_STYLE = "fluent-emoji-flat"
TRAINING_FONTS = ("roboto-slab", "oswald", "courier-prime", "lato")
UNSEEN_FONT = "comic-neue"
GROUND, MIXED = -1, -2
TRIES = 25  # to find room for an object


@dataclass(frozen=True)
class Thing:
    """One object of a scene: what it is, and where, in pixels; ``size`` is the longer side of its box."""

    noun: int
    word: str
    category: str
    x: float
    y: float
    size: int
    colour: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        pixels: ``[side, side, 3]`` uint8, RGB.
        things: the objects, in the order in which they were drawn.
        nouns: ``[side / 14, side / 14]`` int64, the noun or the glyph of a sign that each patch shows, :data:`GROUND`,
            or :data:`MIXED` where it is neither clearly.
        colours: as ``nouns``, for the colours of shapes.
        owners: as ``nouns``, the number in ``things`` of the object that a patch shows, or -1.
        side: width and height in pixels.
    """

    pixels: np.ndarray
    things: tuple[Thing, ...]
    nouns: np.ndarray
    colours: np.ndarray
    owners: np.ndarray
    side: int

    def image(self) -> Image.Image:
        return Image.fromarray(self.pixels)


class Composer:
    """Draws scenes from the sprites in ``folder`` (``assets/sprites``)."""

    def __init__(self, folder: str | Path) -> None:
        self.sprites = Sprites(folder)
        self.words, self.categories = self.sprites.words, self.sprites.categories
        self.glyphs, self.available = self.sprites.glyphs, self.sprites.available

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each noun."""
        return {word: i for i, word in enumerate(self.words)}

    def scene(
        self,
        seed: int | tuple[int, ...],
        *,
        side: int = SIDE,
        plan: Plan | None = None,
        styles: tuple[str, ...] = TRAINING_STYLES,
        fonts: tuple[str, ...] = TRAINING_FONTS,
        restyle: bool = False,
    ) -> Scene:
        """Compose the scene of a seed.

        Args:
            seed: any whole number of 0 or more, or several.
            side: width and height in pixels, a multiple of 28.
            plan: the sort of scene; ``"crowd"`` for many small objects, ``"dense"`` for as many different ones as find
                room and ``"signs"`` for as many signs, to train a vision tower.
            styles: drawing styles to mix.
            fonts: of signs.
            restyle: change the drawings further, and sometimes the sharpness of the whole picture, for training.
        """
        rng = np.random.default_rng(seed)
        easel = _Easel(rng, self.sprites, side)
        wanted = cast(rng, self.sprites, side, plan)
        for text in wanted.texts:
            easel.put_up_sign(text, fonts[rng.integers(len(fonts))])
        for noun in wanted.nouns:
            easel.draw(noun, wanted, styles, restyle)
        return easel.finished(coarse=restyle and rng.random() < 0.15)


class _Easel:
    """A scene in the making."""

    def __init__(self, rng: np.random.Generator, sprites: Sprites, side: int) -> None:
        self.rng, self.sprites, self.side = rng, sprites, side
        self.canvas = background(rng, side)
        self.owner = np.zeros((side, side), np.int16)
        self.glyph = np.zeros((side, side), np.int16)  # 1 + number of the glyph
        self.things: list[Thing] = []
        self.boxes: list[tuple[float, float, float, float]] = []  # middle, width, height
        self.colours = set(COLOURS)

    def draw(self, noun: int, wanted: Cast, styles: tuple[str, ...], restyle: bool) -> None:
        """Draw one object where there is room; else nothing."""
        rng, sprites = self.rng, self.sprites
        place = self._free_place(wanted)
        if place is None:
            return
        left, top, size = place
        emoji = noun < sprites.drawn
        usable = [s for s in styles if not emoji or sprites.available[s][noun]]
        art = sprites.sprite(noun, usable[rng.integers(len(usable))], size)
        if rng.random() < 0.5:
            art = art[:, ::-1] if emoji else art.transpose(1, 0, 2)
        if restyle and emoji and rng.random() < 0.6:
            art = restyled(art, rng)
        opacity, colour = art[..., 3:].astype(np.float32) / 255, None
        if emoji:
            paint = art[..., :3] * rng.uniform(0.85, 1.1, 3).astype(np.float32)
        else:
            colour = self._colour_seen_on(left, top, size)
            paint = opacity * np.clip(np.float32(COLOURS[colour]) + rng.normal(0, 12, 3).astype(np.float32), 0, 255)
        window = self.canvas[top : top + size, left : left + size]
        window *= 1 - opacity
        window += paint
        opaque = art[..., 3] > 127
        self.owner[top : top + size, left : left + size][opaque] = len(self.things) + 1
        self.glyph[top : top + size, left : left + size][opaque] = 0
        x, y = left + size / 2, top + size / 2
        self.things.append(Thing(noun, sprites.words[noun], sprites.categories[noun], x, y, size, colour))
        self.boxes.append((x, y, size, size))

    def put_up_sign(self, text: str, font: str) -> None:
        """A board with ``text`` on it, of contrasting colours."""
        rng, gap, rim = self.rng, 2, 6
        height = int(rng.integers(26, 44))
        letters = self.sprites.letters(text, font, height)
        while (width := sum(a.shape[1] + gap for a in letters) + 2 * rim) > 0.8 * self.side and height > 16:
            height -= 2
            letters = self.sprites.letters(text, font, height)
        tall = letters[0].shape[0] + rim
        for _ in range(TRIES):
            left, top = int(rng.integers(0, self.side - width + 1)), int(rng.integers(0, self.side - tall + 1))
            if self._is_free(left + width / 2, top + tall / 2, width, tall, 2):
                break
        else:
            return
        dark, light = rng.uniform(0, 90, 3).astype(np.float32), rng.uniform(190, 255, 3).astype(np.float32)
        board, ink = (dark, light) if rng.random() < 0.5 else (light, dark)
        self.canvas[top : top + tall, left : left + width] = board
        self.canvas[top : top + tall, [left, left + width - 1]] = ink
        self.canvas[[top, top + tall - 1], left : left + width] = ink
        self.owner[top : top + tall, left : left + width] = len(self.things) + 1
        across = left + rim
        for character, mask in zip(text, letters, strict=True):
            down = slice(top + rim // 2, top + rim // 2 + mask.shape[0])
            cells = slice(across, across + mask.shape[1])
            share = mask[..., None].astype(np.float32) / 255
            self.canvas[down, cells] += share * (ink - board)
            # the capitals' height, not the margins of their cell
            self.glyph[down.start + mask.shape[0] // 8 : down.stop - mask.shape[0] // 8, cells] = (
                self.sprites.glyphs.index(character) + 1
            )
            across += mask.shape[1] + gap
        noun = self.sprites.words.index(SIGN)
        x, y = left + width / 2, top + tall / 2
        self.things.append(Thing(noun, SIGN, SIGN, x, y, max(width, tall), text=text))
        self.boxes.append((x, y, width, tall))

    def finished(self, *, coarse: bool = False) -> Scene:
        """The scene; ``coarse`` as if its picture had been smaller once."""
        pixels = np.clip(self.canvas, 0, 255).astype(np.uint8)
        if coarse:
            once = int(self.side * self.rng.uniform(0.19, 0.6))
            small = Image.fromarray(pixels).resize((once, once), Image.Resampling.BOX)
            pixels = np.asarray(small.resize((self.side, self.side), Image.Resampling.BICUBIC))
        return Scene(pixels, tuple(self.things), *self._labels(), self.side)

    def _free_place(self, wanted: Cast) -> tuple[int, int, int] | None:
        """``(left, top, size)`` of a square that covers nothing drawn before, or little, if one is found soon."""
        span = wanted.largest - wanted.smallest
        for attempt in range(TRIES):
            share = self.rng.random() ** 1.3 * (1 - 0.6 * attempt / TRIES)  # smaller, the longer it takes
            size = int(wanted.smallest + span * share) // 2 * 2
            left, top = (int(v) for v in self.rng.integers(0, self.side - size + 1, 2))
            x, y, near = left + size / 2, top + size / 2, 2 - wanted.overlap * size
            if self._is_free(x, y, size, size, near):
                return left, top, size
        return None

    def _is_free(self, x: float, y: float, width: float, height: float, gap: float) -> bool:
        """Whether a box with its middle at ``x, y`` keeps the distance ``gap`` from all others."""
        return all(
            abs(x - bx) >= (width + w) / 2 + gap or abs(y - by) >= (height + h) / 2 + gap for bx, by, w, h in self.boxes
        )

    def _colour_seen_on(self, left: int, top: int, size: int) -> str:
        """A colour that no other shape has, and that the ground does not hide."""
        ground = self.canvas[top : top + size, left : left + size].mean((0, 1))
        seen = [c for c in COLOURS if c in self.colours and np.abs(ground - COLOURS[c]).sum() > 90]
        colour = seen[self.rng.integers(len(seen))]
        self.colours.remove(colour)
        return colour

    def _labels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What each patch shows, from the object and the glyph that own each pixel."""
        grid, things = self.side // PATCH, self.things
        patches = self.owner.reshape(grid, PATCH, grid, PATCH)
        share = np.stack([(patches == i).mean((1, 3)) for i in range(1, len(things) + 1)])
        best, most, covered = share.argmax(0), share.max(0), share.sum(0)
        nouns = np.where(most >= 0.3, np.array([t.noun for t in things])[best], np.where(covered < 0.05, GROUND, MIXED))
        names = list(COLOURS)
        colour = np.array([names.index(t.colour) if t.colour else MIXED for t in things])[best]
        if any(t.text for t in things):
            cells = self.glyph.reshape(grid, PATCH, grid, PATCH).transpose(0, 2, 1, 3).reshape(grid, grid, -1)
            for row, column in np.argwhere(cells.any(2)):
                found, count = np.unique(cells[row, column][cells[row, column] > 0], return_counts=True)
                if count.max() >= 0.4 * PATCH**2:
                    nouns[row, column] = len(self.sprites.words) + found[count.argmax()] - 1
                elif count.sum() >= 0.4 * PATCH**2:
                    nouns[row, column] = MIXED
        return nouns, np.where(most >= 0.5, colour, MIXED), np.where(most >= 0.3, best, -1)
