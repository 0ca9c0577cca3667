"""Training batches: scenes with the label of each patch, and questions packed behind one picture."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from resprune.world import COLOURS, PATCH, SIDE, Composer, Kind, Plan, Question, Scene, plural, questions, sentence
from training.network import window
from training.pointing import NO_NOUN
from training.tokenizer import ASSISTANT, USER

IGNORED = -100
# How many questions of each kind a scene is asked, where it has them: the hard kinds more often.
SHARES: dict[Kind, int] = {
    "describe": 2,
    "present": 3,
    "category": 2,
    "colour": 2,
    "shape": 1,
    "coloured": 3,
    "where": 2,
    "place": 2,
    "count": 6,
    "relation": 4,
    "odd": 1,
    "size": 2,
    "sign": 2,
    "compare": 2,
    "absent": 1,
    "unknown": 1,
}


@dataclass(frozen=True)
class Batch:
    """Tensors of one training step; see :meth:`Prompt.pack` for the text's.

    ``pixels [B, side, side, 3]``; ``places``, ``nouns``, ``colours`` and ``owners [B, N]``; ``centres [B, N, 2]``, how
    many patches right and down the middle of the object lies that a patch shows (0 where it shows none); ``shown
    [B, 3, N]``, the noun, the colour and the category of what a patch shows, numbered as :class:`Prompt` numbers words.
    """

    pixels: np.ndarray
    places: torch.Tensor
    nouns: torch.Tensor
    colours: torch.Tensor
    owners: torch.Tensor
    centres: torch.Tensor
    shown: torch.Tensor
    text: dict[str, torch.Tensor] | None


class Prompt:
    """Token ids of the parts of a prompt, by the bundled model's chat template.

    What a word names has one number: nouns first, then the glyphs of signs, the colours, and the categories.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, composer: Composer) -> None:
        self.tokenizer = tokenizer
        words, glyphs = composer.words, composer.glyphs
        # the singular last: a plural may be cut into the noun and an ending
        self.nouns = {
            tokenizer.encode(f" {form(word)}")[0]: noun for form in (plural, str) for noun, word in enumerate(words)
        }
        self.glyphs = {tokenizer.encode(glyph)[0]: len(words) + i for i, glyph in enumerate(glyphs)}
        self.first_colour = len(words) + len(glyphs)
        self.colours = {
            tokenizer.encode(f" {form}")[0]: self.first_colour + i
            for i, colour in enumerate(COLOURS)
            for form in (colour, sentence(colour)[:-1])
        }
        categories = list(dict.fromkeys(composer.categories))
        first = self.first_colour + len(COLOURS)
        self.kinds = {tokenizer.encode(f" {category}")[0]: first + i for i, category in enumerate(categories)}
        self.kind_of = np.array([first + categories.index(category) for category in composer.categories])
        self.prefix = tokenizer.encode(f"<s>{USER}")
        self.end = tokenizer.eos_token_id

    def known(self, kind: Kind) -> dict[int, int]:
        """The number of what each token names, in a question of that kind."""
        match kind:
            case "sign":  # "A" is a letter on a sign, and an article elsewhere
                return self.nouns | self.glyphs
            case "colour" | "coloured" | "shape":
                return self.kinds | self.nouns | self.colours
            case "category":
                return self.kinds | self.nouns
        return self.nouns

    def shown(self, scene: Scene) -> np.ndarray:
        """``[3, N]`` int64: noun, colour and category of each patch, :data:`NO_NOUN` where it has none."""
        nouns, colours = scene.nouns.ravel(), scene.colours.ravel()
        noun = (nouns >= 0) & (nouns < len(self.kind_of))
        return np.stack(
            [
                np.where(nouns < 0, NO_NOUN, nouns),
                np.where(colours < 0, NO_NOUN, colours + self.first_colour),
                np.where(noun, self.kind_of[np.where(noun, nouns, 0)], NO_NOUN),
            ]
        )

    def block(self, question: Question) -> tuple[list[int], list[int]]:
        """What stands behind the picture, and the answer."""
        asked = self.tokenizer.encode(f"\n{question.text} {ASSISTANT}", split_special_tokens=True)
        return asked, [*self.tokenizer.encode(f" {question.answer}", split_special_tokens=True), self.end]

    def pack(self, places: torch.Tensor, asked: list[list[Question]]) -> dict[str, torch.Tensor]:
        """Several questions behind one picture, each blind to the others.

        Returns:
            ``ids [B, T]`` of the text behind the picture, ``positions [B, P + N + T]`` of prefix, picture and text,
            ``mask [B, 1, T, P + N + T]`` additive, ``targets [B, T]``, and ``named`` and ``said [B, T]``, what each
            token names, and what is named next, at its article too.
        """
        rows = []
        start = len(self.prefix) + 576
        for row in asked:
            ids, positions, block, targets, named, said = [], [], [], [], [], []
            for i, question in enumerate(row, 1):
                prompt, answer = self.block(question)
                known = self.known(question.kind)
                tokens = prompt + answer[:-1]
                ids += tokens
                targets += [IGNORED] * (len(prompt) - 1) + answer
                positions += range(start, start + len(tokens))
                block += [i] * len(tokens)
                named += (known.get(token, NO_NOUN) for token in tokens)
                ahead = [known.get(token, NO_NOUN) for token in answer] + [NO_NOUN]
                articles = [a if a != NO_NOUN else b for a, b in pairwise(ahead)]
                said += [NO_NOUN] * (len(prompt) - 1) + articles
            rows.append((ids, positions, block, targets, named, said))
        length = -(-max(len(r[0]) for r in rows) // 16) * 16

        def padded(part: int, fill: int) -> torch.Tensor:
            return torch.tensor([r[part] + [fill] * (length - len(r[part])) for r in rows])

        count, prefix = len(rows), len(self.prefix)
        head = torch.zeros(count, prefix + places.shape[1], dtype=torch.long)
        block = padded(2, -1)
        owner = torch.cat([head, block], 1)
        causal = torch.ones(owner.shape[1], owner.shape[1], dtype=torch.bool).tril()[-length:]
        seen = causal & ((owner[:, None] == 0) | (owner[:, None] == block[:, :, None]))
        return {
            "ids": padded(0, 0),
            "positions": torch.cat([torch.arange(prefix).expand(count, -1), places + prefix, padded(1, start)], 1),
            "mask": torch.zeros(count, 1, *causal.shape).masked_fill(~seen[:, None], -1e9),
            "targets": padded(3, IGNORED),
            "named": padded(4, NO_NOUN),
            "said": padded(5, NO_NOUN),
        }


class Batches(Dataset):
    """The batch of each step, made from the stage's seed and the step's number alone, so that training can resume."""

    def __init__(
        self,
        composer: Composer,
        tokenizer: PreTrainedTokenizerFast,
        *,
        seed: int,
        steps: int,
        batch: int,
        side: int,
        shares: dict[Plan, float],
        answers: bool,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.composer, self.prompt = composer, Prompt(tokenizer, composer)
        self.seed, self.steps, self.batch, self.side = seed, steps, batch, side
        self.answers, self.shares = answers, shares
        self.shard = shard  # this process's number, and how many share each batch

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        mine = range(self.batch)[self.shard[0] :: self.shard[1]]
        seeds = [(self.seed, step, i) for i in mine]
        scenes = [self.composer.scene(s, side=self.side, plan=self._plan(s[2]), restyle=True) for s in seeds]
        grid = self.side // 14
        offsets = np.random.default_rng((self.seed, step)).integers(0, 25 - grid, (self.batch, 2))
        places = window(torch.from_numpy(offsets[mine]), grid)
        text = None
        if self.answers:
            asked = [
                mixture(self.composer, on_canvas(scene, tuple(offsets[s[2]])), s)
                for scene, s in zip(scenes, seeds, strict=True)
            ]
            text = self.prompt.pack(places, asked)
        return Batch(
            pixels=np.stack([s.pixels for s in scenes]),
            places=places,
            nouns=torch.from_numpy(np.stack([s.nouns for s in scenes])).flatten(1),
            colours=torch.from_numpy(np.stack([s.colours for s in scenes])).flatten(1),
            owners=torch.from_numpy(np.stack([s.owners for s in scenes])).flatten(1),
            centres=torch.from_numpy(np.stack([centres(s) for s in scenes])).flatten(1, 2),
            shown=torch.from_numpy(np.stack([self.prompt.shown(s) for s in scenes])),
            text=text,
        )

    def _plan(self, i: int) -> Plan | None:
        place, before = (i + 0.5) / self.batch, 0.0
        for plan, share in self.shares.items():
            before += share
            if place < before:
                return plan
        return None


def on_canvas(scene: Scene, offset: tuple[int, int]) -> Scene:
    """The scene as part of a full picture, its first patch at row and column ``offset``.

    "Where" then means the same in a window as in a full picture.
    """
    down, right = (PATCH * o for o in offset)
    things = tuple(replace(t, x=t.x + right, y=t.y + down) for t in scene.things)
    return replace(scene, things=things, side=SIDE)


def centres(scene: Scene) -> np.ndarray:
    """``[grid, grid, 2]`` float32: from each patch to the middle of its object, right and down, in patches."""
    grid = len(scene.owners)
    middles = np.array([(t.x, t.y) for t in scene.things], np.float32)[scene.owners] / PATCH
    own = np.stack(np.meshgrid(np.arange(grid), np.arange(grid)), -1).astype(np.float32) + 0.5
    return np.where(scene.owners[..., None] < 0, np.float32(0), middles - own)


def mixture(composer: Composer, scene: Scene, seed: tuple[int, ...]) -> list[Question]:
    """The questions that a training scene is asked, in random order."""
    found = questions(composer, scene, seed)
    rng = np.random.default_rng((*seed, 1))
    if rng.random() < 0.8:
        found["count"].sort(key=lambda q: q.answer == "One.")
    picked = [q for kind, share in SHARES.items() for q in found[kind][:share]]
    return [picked[i] for i in rng.permutation(len(picked))]
