"""The drawings that scenes are composed of: emoji, coloured shapes, and the letters of signs."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SHAPES = ("square", "circle", "triangle", "diamond", "star", "cross", "rectangle")
SIGN = "sign"


class Sprites:
    """What ``folder`` (``assets/sprites``) holds, and the names of it all.

    Attributes:
        words: every noun of the world: emoji, then shapes, then the sign.
        categories: of each noun.
        drawn: nouns below this number are emoji, the others are drawn by this module.
        glyphs: characters that stand on signs; as the label of a patch, glyph ``i`` is ``len(words) + i``.
        available: for each style, which of the emoji it has.
        fonts: names of the fonts, in the order of their rows.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.index = json.loads((self.folder / "index.json").read_text())
        entries = self.index["nouns"]
        self.words = [e["word"] for e in entries] + [*SHAPES, SIGN]
        self.categories = [e["category"] for e in entries] + ["shape"] * len(SHAPES) + [SIGN]
        self.drawn = len(entries)
        self.glyphs: str = self.index["glyphs"]["characters"]
        self.fonts = list(self.index["glyphs"]["fonts"])
        self.available = {
            style: np.array([e["word"] not in facts["missing"] for e in entries])
            for style, facts in self.index["styles"].items()
        }
        self._sized: dict[tuple[int, str, int], np.ndarray] = {}

    @cached_property
    def _sheets(self) -> dict[str, np.ndarray]:
        """Every style's emoji with colours multiplied by opacity, so that resizing leaves no dark rim."""
        sheets = {}
        for style in self.index["styles"]:
            sheet = np.asarray(Image.open(self.folder / f"{style}.png").convert("RGBA")).astype(np.float32)
            sheet[..., :3] *= sheet[..., 3:] / 255
            sheets[style] = sheet.round().astype(np.uint8)
        return sheets

    @cached_property
    def _lettering(self) -> Image.Image:
        return Image.open(self.folder / "glyphs.png").convert("L")

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

    def letters(self, text: str, font: str, height: int) -> list[np.ndarray]:
        """The opacity ``[h, w]`` uint8 of each character of ``text``; a capital letter is ``height`` pixels high."""
        cell, row = self.index["glyphs"]["cell"], self.fonts.index(font)
        widths = self.index["glyphs"]["fonts"][font]["widths"]
        found = []
        for character in text:
            i = self.glyphs.index(character)
            glyph = self._lettering.crop((i * cell, row * cell, i * cell + widths[i], (row + 1) * cell))
            size = (max(1, round(widths[i] * height / 48)), round(cell * height / 48))
            found.append(np.asarray(glyph.resize(size, Image.Resampling.BOX)))
        return found


def restyled(art: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A sprite ``[n, n, 4]`` in another manner: turned, outlined, blurred, its colours shifted. Only for training."""
    picture = Image.fromarray(art, "RGBA")
    size = picture.size
    if rng.random() < 0.5:
        angle, shear = rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ [[1, shear], [0, 1]]
        turn = turn * rng.uniform(1.0, 1.15)
        shift = (np.eye(2) - turn) @ (np.array(size) / 2)
        matrix = (*turn[0], shift[0], *turn[1], shift[1])
        picture = picture.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    if rng.random() < 0.25:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.3)))
    pixels = np.asarray(picture).astype(np.float32)
    opacity = pixels[..., 3:] / 255
    if rng.random() < 0.6:
        mix = np.eye(3, dtype=np.float32) + rng.uniform(-0.3, 0.3, (3, 3)).astype(np.float32)
        mix /= mix.sum(1, keepdims=True).clip(0.5)
        pixels[..., :3] = (pixels[..., :3] @ mix.T).clip(0, 255)
    if rng.random() < 0.3:  # flat colours, as in the plainer sets
        steps = float(rng.uniform(30, 70))
        plain = pixels[..., :3] / opacity.clip(1 / 255)
        pixels[..., :3] = (plain / steps).round() * steps * opacity
    if rng.random() < 0.3:
        rim = picture.getchannel("A").filter(ImageFilter.MaxFilter(3 if size[0] < 64 or rng.random() < 0.5 else 5))
        rim = np.asarray(rim).astype(np.float32)[..., None] / 255
        shade = np.float32(rng.choice([20, 60, 245]))
        pixels[..., :3] += shade * (rim - opacity).clip(0)
        pixels[..., 3:] = np.maximum(rim, opacity) * 255
    return pixels.clip(0, 255).astype(np.uint8)


def _shape(name: str) -> Image.Image:
    """The mask of a shape, 384 pixels wide."""
    mask = Image.new("L", (384, 384))
    draw = ImageDraw.Draw(mask)
    match name:
        case "square":
            draw.rectangle((30, 30, 354, 354), fill=255)
        case "rectangle":
            draw.rectangle((5, 95, 379, 289), fill=255)
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
