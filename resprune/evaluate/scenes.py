"""Scenes composed of freely licensed emoji and coloured shapes: the world that the bundled model knows.

A seed gives the same scene everywhere, so that a held-out set is a range of seeds, and no picture needs to be stored.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

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
}
SHAPES = ("square", "circle", "triangle", "diamond", "star", "cross")
TRAINING_STYLES = ("noto", "twemoji", "emojione", "fxemoji")
UNSEEN_STYLE = "fluent-emoji-flat"
GROUND, MIXED = -1, -2


@dataclass(frozen=True)
class Thing:
    """One object of a scene: what it is, and where, in pixels."""

    noun: int
    word: str
    category: str
    x: float
    y: float
    size: int
    colour: str | None = None


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        pixels: ``[side, side, 3]`` uint8, RGB.
        things: the objects, in the order in which they were drawn.
        nouns: ``[side / 14, side / 14]`` int64, the noun that each patch shows, :data:`GROUND`, or :data:`MIXED` where
            it is neither clearly.
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
        self.folder = Path(folder)
        self.index = json.loads((self.folder / "index.json").read_text())
        entries = self.index["nouns"]
        self.words = [e["word"] for e in entries] + list(SHAPES)
        self.categories = [e["category"] for e in entries] + ["shape"] * len(SHAPES)
        self.drawn = len(entries)  # nouns below this number are sprites, the others shapes
        self.available = {
            style: np.array([e["word"] not in facts["missing"] for e in entries])
            for style, facts in self.index["styles"].items()
        }
        self._sized: dict[tuple[int, str, int], np.ndarray] = {}

    @cached_property
    def _sheets(self) -> dict[str, np.ndarray]:
        """Every style's sprites with colours multiplied by opacity, so that resizing leaves no dark rim."""
        sheets = {}
        for style in self.index["styles"]:
            sheet = np.asarray(Image.open(self.folder / f"{style}.png").convert("RGBA")).astype(np.float32)
            sheet[..., :3] *= sheet[..., 3:] / 255
            sheets[style] = sheet.round().astype(np.uint8)
        return sheets

    def sprite(self, noun: int, style: str, size: int) -> np.ndarray:
        """``[size, size, 4]`` uint8: colours times opacity, and opacity; a shape is white."""
        key = (noun, style, size)
        if key not in self._sized:
            if noun < self.drawn:
                cell, columns = self.index["cell"], self.index["columns"]
                row, column = divmod(noun, columns)
                art = self._sheets[style][row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
                bands = [Image.fromarray(art[..., c]).resize((size, size), Image.Resampling.BOX) for c in range(4)]
                self._sized[key] = np.stack([np.asarray(band) for band in bands], -1)
            else:
                mask = np.asarray(_shape(SHAPES[noun - self.drawn]).resize((size, size), Image.Resampling.BOX))
                self._sized[key] = np.repeat(mask[..., None], 4, -1)
        return self._sized[key]

    def scene(
        self,
        seed: int | tuple[int, ...],
        *,
        side: int = SIDE,
        styles: tuple[str, ...] = TRAINING_STYLES,
        dense: bool = False,
    ) -> Scene:
        """Compose the scene of a seed.

        Args:
            seed: any whole number of 0 or more, or several.
            side: width and height in pixels, a multiple of 28.
            styles: drawing styles to mix.
            dense: as many different objects as find room, for training a vision tower.
        """
        rng = np.random.default_rng(seed)
        canvas = _background(rng, side)
        owner = np.zeros((side, side), np.int16)
        things: list[Thing] = []
        taken: set[str] = set()
        for noun in self._cast(rng, side, dense):
            place = _free_place(rng, things, side, dense)
            if place is None:
                continue
            left, top, size = place
            style = _style(rng, styles, self.available, noun if noun < self.drawn else None)
            art = self.sprite(noun, style, size)
            if noun < self.drawn and rng.random() < 0.5:
                art = art[:, ::-1]
            opacity = art[..., 3:].astype(np.float32) / 255
            colour = None
            if noun < self.drawn:
                paint = art[..., :3] * rng.uniform(0.85, 1.1, 3).astype(np.float32)
            else:
                colour = str(rng.choice([c for c in COLOURS if c not in taken]))
                taken.add(colour)
                paint = opacity * np.clip(np.float32(COLOURS[colour]) + rng.normal(0, 8, 3).astype(np.float32), 0, 255)
            window = canvas[top : top + size, left : left + size]
            window *= 1 - opacity
            window += paint
            owner[top : top + size, left : left + size][art[..., 3] > 127] = len(things) + 1
            things.append(
                Thing(noun, self.words[noun], self.categories[noun], left + size / 2, top + size / 2, size, colour)
            )
        return Scene(np.clip(canvas, 0, 255).astype(np.uint8), tuple(things), *_labels(owner, things), side)

    def _cast(self, rng: np.random.Generator, side: int, dense: bool) -> list[int]:
        """The nouns to draw: one may come several times, so that counting means something."""
        if dense:
            count, repeats, shapes = (12 if side <= 168 else 30), 1, int(rng.integers(0, 3))
        else:
            count = int(rng.integers(2, 6)) if side <= 168 else int(rng.integers(3, 10))
            repeats = int(rng.choice([1, 2, 3, 4, 5], p=[0.4, 0.2, 0.16, 0.13, 0.11]))
            shapes = int(rng.choice([0, 1, 2], p=[0.4, 0.35, 0.25]))
        nouns = rng.permutation(self.drawn)
        forms = self.drawn + rng.permutation(len(SHAPES))[:shapes]
        cast = [int(nouns[0])] * repeats + [int(f) for f in forms] + [int(n) for n in nouns[1:]]
        return cast[: max(count, repeats + shapes)]


def _style(rng: np.random.Generator, styles: tuple[str, ...], available: dict, noun: int | None) -> str:
    usable = [s for s in styles if noun is None or available[s][noun]]
    return usable[rng.integers(len(usable))]


def _free_place(rng: np.random.Generator, things: list[Thing], side: int, dense: bool) -> tuple[int, int, int] | None:
    """``(left, top, size)`` of a square that covers nothing drawn before, if one is found soon."""
    smallest, largest = 40, (120 if side > 168 else 92)
    for _ in range(40 if dense else 12):
        share = rng.random() ** 1.6 if dense else rng.random()
        size = int(smallest + (largest - smallest) * share) // 4 * 4
        left, top = (int(v) for v in rng.integers(0, side - size + 1, 2))
        margin = -0.06 * size if dense else 2
        x, y = left + size / 2, top + size / 2
        if all(max(abs(x - t.x), abs(y - t.y)) >= (size + t.size) / 2 + margin for t in things):
            return left, top, size
    return None


def _background(rng: np.random.Generator, side: int) -> np.ndarray:
    """``[side, side, 3]`` float32: one colour, a gradient, or texture."""
    kind, colour = rng.integers(3), rng.uniform(60, 250, 3).astype(np.float32)
    if kind == 0:
        return np.broadcast_to(colour, (side, side, 3)).copy()
    if kind == 1:
        ramp, angle = np.linspace(0, 1, side, dtype=np.float32), rng.uniform(0, 2 * np.pi)
        slope = np.float32(np.cos(angle)) * ramp[None] + np.float32(np.sin(angle)) * ramp[:, None]
        slope = ((slope - slope.min()) / np.ptp(slope))[..., None]
        return colour * (1 - slope) + rng.uniform(60, 250, 3).astype(np.float32) * slope
    grain = rng.normal(0, rng.uniform(5, 30), (side // 4, side // 4, 1 if rng.random() < 0.5 else 3))
    return np.clip(colour + grain.astype(np.float32).repeat(4, 0).repeat(4, 1), 0, 255)


def _labels(owner: np.ndarray, things: list[Thing]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each patch shows, from the object that owns each pixel."""
    grid = owner.shape[0] // PATCH
    patches = owner.reshape(grid, PATCH, grid, PATCH)
    share = np.stack([(patches == i).mean((1, 3)) for i in range(1, len(things) + 1)])
    best, most, covered = share.argmax(0), share.max(0), share.sum(0)
    noun = np.array([t.noun for t in things])[best]
    names = list(COLOURS)
    colour = np.array([names.index(t.colour) if t.colour else MIXED for t in things])[best]
    return (
        np.where(most >= 0.3, noun, np.where(covered < 0.05, GROUND, MIXED)),
        np.where(most >= 0.5, colour, MIXED),
        np.where(most >= 0.3, best, -1),
    )


def _shape(name: str) -> Image.Image:
    """The mask of a shape, 384 pixels wide."""
    mask = Image.new("L", (384, 384))
    draw = ImageDraw.Draw(mask)
    match name:
        case "square":
            draw.rectangle((30, 30, 354, 354), fill=255)
        case "circle":
            draw.ellipse((10, 10, 374, 374), fill=255)
        case "triangle":
            draw.polygon([(192, 20), (374, 360), (10, 360)], fill=255)
        case "diamond":
            draw.polygon([(192, 5), (345, 192), (192, 379), (39, 192)], fill=255)
        case "star":
            points = [(i * np.pi / 5 - np.pi / 2, 0.42 if i % 2 else 1.0) for i in range(10)]
            draw.polygon([(192 + 188 * r * np.cos(a), 200 + 188 * r * np.sin(a)) for a, r in points], fill=255)
        case "cross":
            draw.rectangle((130, 15, 254, 369), fill=255)
            draw.rectangle((15, 130, 369, 254), fill=255)
    return mask
