"""Training batches: scenes with the label of each patch, and questions packed behind one picture."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from resprune.evaluate.questions import Question, questions
from resprune.evaluate.scenes import Composer, Scene
from training.network import window

IGNORED = -100
# How many questions of each kind a scene is asked, where it has them: the hard kinds more often.
SHARES = {
    "describe": 1,
    "present": 3,
    "category": 2,
    "colour": 1,
    "shape": 1,
    "where": 2,
    "place": 2,
    "count": 2,
    "relation": 3,
}


@dataclass(frozen=True)
class Batch:
    """Tensors of one training step; see :func:`pack` for the text's."""

    pixels: np.ndarray
    places: torch.Tensor
    nouns: torch.Tensor
    colours: torch.Tensor
    text: dict[str, torch.Tensor] | None


class Prompt:
    """Token ids of the parts of a prompt, by the bundled model's chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.prefix = tokenizer.encode("<s>USER: ")
        self.end = tokenizer.eos_token_id

    def block(self, question: Question) -> tuple[list[int], list[int]]:
        """What stands behind the picture, and the answer."""
        asked = self.tokenizer.encode(f"\n{question.text} ASSISTANT:", split_special_tokens=True)
        return asked, [*self.tokenizer.encode(f" {question.answer}", split_special_tokens=True), self.end]

    def pack(self, places: torch.Tensor, asked: list[list[Question]]) -> dict[str, torch.Tensor]:
        """Several questions behind one picture, each blind to the others.

        Returns:
            ``ids [B, T]`` of the text behind the picture, ``positions [B, P + N + T]`` of prefix, picture and text,
            ``mask [B, 1, P + N + T, P + N + T]`` additive, and ``targets [B, T]``.
        """
        rows = []
        start = len(self.prefix) + 576
        for row in asked:
            ids, positions, block, targets = [], [], [], []
            for i, question in enumerate(row, 1):
                prompt, answer = self.block(question)
                tokens = prompt + answer[:-1]
                ids += tokens
                targets += [IGNORED] * (len(prompt) - 1) + answer
                positions += range(start, start + len(tokens))
                block += [i] * len(tokens)
            rows.append((ids, positions, block, targets))
        length = -(-max(len(r[0]) for r in rows) // 16) * 16

        def padded(part: int, fill: int) -> torch.Tensor:
            return torch.tensor([r[part] + [fill] * (length - len(r[part])) for r in rows])

        count, prefix = len(rows), len(self.prefix)
        head = torch.zeros(count, prefix + places.shape[1], dtype=torch.long)
        owner = torch.cat([head, padded(2, -1)], 1)
        total = owner.shape[1]
        seen = torch.ones(total, total, dtype=torch.bool).tril() & (
            (owner[:, None] == 0) | (owner[:, None] == owner[:, :, None])
        )
        return {
            "ids": padded(0, 0),
            "positions": torch.cat([torch.arange(prefix).expand(count, -1), places + prefix, padded(1, start)], 1),
            "mask": torch.zeros(count, 1, total, total).masked_fill(~seen[:, None], -1e9),
            "targets": padded(3, IGNORED),
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
        dense: float,
        answers: bool,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.composer, self.prompt = composer, Prompt(tokenizer)
        self.seed, self.steps, self.batch, self.side = seed, steps, batch, side
        self.dense, self.answers = dense, answers
        self.shard = shard  # this process's number, and how many share each batch

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        mine = range(self.batch)[self.shard[0] :: self.shard[1]]
        seeds = [(self.seed, step, i) for i in mine]
        scenes = [self.composer.scene(s, side=self.side, dense=s[2] < self.dense * self.batch) for s in seeds]
        grid = self.side // 14
        offsets = np.random.default_rng((self.seed, step)).integers(0, 25 - grid, (self.batch, 2))
        places = window(torch.from_numpy(offsets[mine]), grid)
        text = None
        if self.answers:
            asked = [mixture(self.composer, scene, s) for scene, s in zip(scenes, seeds, strict=True)]
            text = self.prompt.pack(places, asked)
        return Batch(
            pixels=np.stack([s.pixels for s in scenes]),
            places=places,
            nouns=torch.from_numpy(np.stack([s.nouns for s in scenes])).flatten(1),
            colours=torch.from_numpy(np.stack([s.colours for s in scenes])).flatten(1),
            text=text,
        )


def mixture(composer: Composer, scene: Scene, seed: tuple[int, ...]) -> list[Question]:
    """The questions that a training scene is asked, in random order."""
    found = questions(composer, scene, seed)
    rng = np.random.default_rng((*seed, 1))
    if rng.random() < 0.7:
        found["count"].sort(key=lambda q: q.answer == "One.")
    picked = [q for kind, share in SHARES.items() for q in found[kind][:share]]
    return [picked[i] for i in rng.permutation(len(picked))]
