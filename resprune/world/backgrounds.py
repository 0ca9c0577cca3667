"""What scenes stand on: plain, graded, textured and cluttered ground."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def background(rng: np.random.Generator, side: int) -> np.ndarray:
    """``[side, side, 3]`` float32, 0 to 255."""
    colour = rng.uniform(50, 255, 3).astype(np.float32)
    if rng.random() < 0.15:
        colour[:] = 255
    match rng.integers(5):
        case 0:
            return np.broadcast_to(colour, (side, side, 3)).copy()
        case 1:
            return _graded(rng, side, colour)
        case 2:
            grain = rng.normal(0, rng.uniform(5, 30), (side // 4, side // 4, 1 if rng.random() < 0.5 else 3))
            return np.clip(colour + grain.astype(np.float32).repeat(4, 0).repeat(4, 1), 0, 255)
        case 3:
            return _striped(rng, side, colour)
        case _:
            return _cluttered(rng, side, colour)


def _graded(rng: np.random.Generator, side: int, colour: np.ndarray) -> np.ndarray:
    ramp, angle = np.linspace(0, 1, side, dtype=np.float32), rng.uniform(0, 2 * np.pi)
    slope = np.float32(np.cos(angle)) * ramp[None] + np.float32(np.sin(angle)) * ramp[:, None]
    slope = ((slope - slope.min()) / np.ptp(slope))[..., None]
    return colour * (1 - slope) + rng.uniform(60, 250, 3).astype(np.float32) * slope


def _striped(rng: np.random.Generator, side: int, colour: np.ndarray) -> np.ndarray:
    """Stripes, or checks where both directions have them."""
    other = np.clip(colour + rng.uniform(-60, 60, 3), 0, 255).astype(np.float32)
    width = int(rng.integers(8, 40))
    line = np.arange(side) // width % 2
    pattern = [line[None], line[:, None], line[None] ^ line[:, None]][rng.integers(3)]
    pattern = np.broadcast_to(pattern, (side, side))[..., None]
    return np.where(pattern == 1, other, colour)


def _cluttered(rng: np.random.Generator, side: int, colour: np.ndarray) -> np.ndarray:
    """Strokes, spots and patches of no meaning, of colours near that of the ground."""
    picture = Image.new("RGB", (side, side), tuple(int(c) for c in colour))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(20, 60)) * side // 336):
        near = tuple(int(c) for c in np.clip(colour + rng.uniform(-30, 30, 3), 0, 255))
        x, y = rng.uniform(0, side, 2)
        w, h = rng.uniform(6, 60, 2)
        match rng.integers(3):
            case 0:
                draw.ellipse((x, y, x + w, y + h), fill=near)
            case 1:
                draw.line((x, y, x + w - 30, y + h - 30), fill=near, width=int(rng.integers(1, 6)))
            case _:
                corners = [(x + rng.uniform(-30, 30), y + rng.uniform(-30, 30)) for _ in range(3)]
                draw.polygon(corners, fill=near)
    return np.asarray(picture.filter(ImageFilter.BoxBlur(2))).astype(np.float32)
