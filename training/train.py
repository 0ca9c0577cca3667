"""Train the bundled model, stage by stage, on the CPU: ``torchrun --nproc-per-node 2 -m training.train``.

Two processes of one thread each share every batch, which is half as fast again as one process of two threads.

Each stage starts from the one before. A checkpoint is written every few minutes; the same command resumes. Every
batch comes from the stage's seed and the step's number. No visual token is ever dropped: the early
stages see smaller pictures (a window of 12 x 12 patches at its place on the full grid), the last ones the full 24 x 24.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset
from transformers import LlavaForConditionalGeneration

from resprune.device import faster_on_cpu
from resprune.world import COLOURS, GROUND, Composer, Plan, one_of_each
from training.batches import IGNORED, Batch, Batches, Prompt, on_canvas
from training.network import HIDDEN, begin_from, build, normalise, patch_features, window
from training.optimise import Optimiser
from training.pointing import counting_loss, pointing_loss
from training.tokenizer import build_tokenizer

TEMPERATURE = 0.07
EVALUATION_SEED = 777


@dataclass(frozen=True)
class Stage:
    """One part of the curriculum."""

    name: str
    seed: int
    steps: int
    side: int
    batch: int
    answers: bool
    shares: dict[Plan, float]  # of the scenes, by what they are to hold; the rest are like those of the tests
    patches: float  # weight of the patch loss beside the answers'
    muon: float
    adamw: float
    warm_up: int = 30
    decay_from: float = 0.6
    micro: int = 8  # pictures at a time, as many as the caches hold
    tower: bool = True  # whether the vision tower learns too
    place: float = 0.3  # weight of the losses that ask each visual token where it and its object's middle lie
    pointing: float = 0.3  # weight of the loss that says where to look
    counting: float = 0.3  # weight of the losses that give each object one vote, in tokens and in attention


RARE = {"crowd": 0.1, "sign": 0.12, "forms": 0.08}  # what the tests' scenes have too little of
STAGES = (
    # Letters are not learned from one sign a picture.
    Stage(
        "tower-168", 31, 240, 168, 48, False, {"dense": 0.4, "signs": 0.35, "crowd": 0.05, "forms": 0.05}, 1.0,
        muon=2e-3, adamw=1.5e-3, decay_from=0.6, micro=24,
    ),
    Stage(
        "tower-336", 32, 160, 336, 16, False, {"dense": 0.3, "signs": 0.2, "crowd": 0.1, "forms": 0.05}, 1.0,
        muon=1.5e-3, adamw=1e-3, decay_from=0.3, micro=4,
    ),
    # The tower names patches well by now: what is left to learn lies in the language model, at a rate too high for it.
    Stage(
        "language-168", 33, 240, 168, 24, True, RARE, 0.3,
        muon=2.5e-3, adamw=1.5e-3, decay_from=0.8, tower=False,
    ),
    # From step 400 on with the herds, and twice the weight on counting: it had learned everything but to count.
    Stage(
        "language-336", 34, 840, 336, 16, True, RARE | {"herd": 0.2, "odd": 0.08}, 0.3,
        muon=2e-3, adamw=1e-3, decay_from=0.3, micro=4, tower=False, counting=0.6,
    ),
)  # fmt: skip
SMOKE = (
    Stage("tower-168", 11, 3, 168, 4, False, {"dense": 1.0}, 1.0, muon=2.5e-3, adamw=1.5e-3, warm_up=1),
    Stage("answers-336", 14, 2, 336, 2, True, {}, 0.5, muon=6e-4, adamw=5e-4, warm_up=1),
)


class Student(nn.Module):
    """The model in training, with small heads that tell colours and places apart and are thrown away afterwards."""

    def __init__(self, composer: Composer, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.tokenizer = build_tokenizer(composer)
        self.prompt = Prompt(self.tokenizer, composer)
        self.model: LlavaForConditionalGeneration = build(
            len(self.tokenizer), self.tokenizer.convert_tokens_to_ids("<image>")
        )
        self.model.model.language_model.config._attn_implementation = "pointing"
        self.colour = nn.Linear(HIDDEN, len(COLOURS))
        self.place = nn.Linear(HIDDEN, 48)
        self.centre = nn.Linear(HIDDEN, 2)
        self.vote = nn.Linear(HIDDEN, 1)
        self.tower_learns = True
        names = [f" {word}" for word in composer.words] + [*composer.glyphs, " background"]
        kinds = list(dict.fromkeys(composer.categories))
        for name, texts in {
            "words": names,
            "kinds": [f" {kind}" for kind in kinds],
            "neutral": [" picture", " image"],
        }.items():
            self.register_buffer(name, torch.tensor([self.tokenizer.encode(t)[0] for t in texts]), persistent=False)
        kind_of = torch.tensor([kinds.index(category) for category in composer.categories])
        self.register_buffer("kind_of", kind_of, persistent=False)

    def see(self, pixels: np.ndarray, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``(hidden, visual tokens)``, both ``[B, N, HIDDEN]``."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tower_learns):
            hidden = patch_features(self.model, normalise(pixels), places)
        return hidden, self.model.model.multi_modal_projector(hidden)

    def cosines(self, visual: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """``[..., M]`` float32: cosine of each visual token and the input embedding of each of ``tokens``."""
        table = self.model.get_input_embeddings().weight[tokens].float()
        return F.normalize(visual.float(), dim=-1) @ F.normalize(table, dim=-1).T

    def name_patches(self, visual: torch.Tensor) -> torch.Tensor:
        """``[B, N, nouns + glyphs + 1]`` logits."""
        return self.cosines(visual, self.words) / TEMPERATURE

    def patch_loss(self, hidden: torch.Tensor, visual: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Each patch points at the embeddings of what it shows and of its category, and knows its colour if it is a
        shape's. Words for the picture itself lie near no patch."""
        background = len(self.words) - 1
        nouns = torch.where(batch.nouns == GROUND, background, torch.where(batch.nouns < 0, IGNORED, batch.nouns))
        loss = F.cross_entropy(self.name_patches(visual).flatten(0, 1), nouns.flatten(), ignore_index=IGNORED)
        coloured = batch.colours >= 0
        # A sum, because the mean of no patches is not a number.
        found = self.colour(hidden[coloured]).float()
        wrong = F.cross_entropy(found, batch.colours[coloured], reduction="sum")
        shown = (batch.nouns >= 0) & (batch.nouns < len(self.kind_of))
        kinds = self.cosines(visual[shown], self.kinds) / TEMPERATURE
        astray = F.cross_entropy(kinds, self.kind_of[batch.nouns[shown]], reduction="sum")
        loss = loss + 0.5 * astray / max(1, len(kinds))
        loss = loss + self.cosines(visual, self.neutral).square().mean()
        return loss + 0.3 * wrong / max(1, len(found))

    def place_loss(self, visual: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Each visual token knows its row and column on the full grid, and the middle of the object that it shows.

        Trained on names alone, the tower forgets where a patch lies, and no question of place can be learned.
        """
        rows, columns = self.place(visual).float().flatten(0, 1).split(24, dim=1)
        places = batch.places.flatten()
        loss = F.cross_entropy(rows, places // 24) + F.cross_entropy(columns, places % 24)
        shown = batch.nouns >= 0
        return loss + F.smooth_l1_loss(self.centre(visual[shown]).float(), batch.centres[shown])

    def vote_loss(self, visual: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Each visual token knows its part of its object's one vote, most of which lies near the object's middle.

        The logarithm of the part is what an attention that counts objects has to add.
        """
        near = (-0.5 * batch.centres.square().sum(2)).exp()
        same = (batch.owners[:, :, None] == batch.owners[:, None]).to(near.dtype)
        shown = batch.owners >= 0
        wanted = (near / (same @ near[..., None]).squeeze(2)).log().clamp_min(-5)
        votes = self.vote(visual).float().squeeze(2)
        total = (same @ votes.clamp_max(2).exp()[..., None]).squeeze(2)  # of the object that a token shows
        return F.smooth_l1_loss(votes[shown], wanted[shown]) + 0.3 * total[shown].log().square().mean()

    def answer_logits(self, visual: torch.Tensor, text: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """``([M, V] float32, [M])`` logits and targets at the places of the answers."""
        embed = self.model.get_input_embeddings()
        prefix = embed(torch.tensor(self.prompt.prefix)).expand(len(visual), -1, -1)
        inputs = torch.cat([prefix, visual, embed(text["ids"])], 1)
        hidden = self.model.model.language_model(
            inputs_embeds=inputs,
            attention_mask=text["mask"].to(inputs.dtype),
            position_ids=text["positions"],
            use_cache=False,
        ).last_hidden_state[:, -text["ids"].shape[1] :]
        asked = text["targets"] != IGNORED
        return self.model.lm_head(hidden[asked]).float(), text["targets"][asked]


@torch.no_grad()
def evaluate(student: Student, composer: Composer, *, side: int, answers: bool, scenes: int = 48) -> dict:
    """Foreground patches named right, relevance AUC, and answers right by kind, on scenes never trained on."""
    grid = side // 14
    corner = ((24 - grid) // 2,) * 2
    places = window(torch.tensor([corner]), grid)
    right: dict[str, list[bool]] = {}
    named, areas = [], []
    for i in range(scenes):
        scene = composer.scene((EVALUATION_SEED, i), side=side)
        _, visual = student.see(scene.pixels[None], places)
        logits = student.name_patches(visual)[0]
        truth = torch.from_numpy(scene.nouns).flatten()
        named += (logits.argmax(1) == truth)[truth >= 0].tolist()
        for noun in set(truth[truth >= 0].tolist()):
            inside, outside = logits[truth == noun, noun], logits[(truth != noun) & (truth >= GROUND), noun]
            areas.append(float((inside[:, None] > outside).float().mean()))
        if answers:
            asked = one_of_each(composer, on_canvas(scene, corner), (EVALUATION_SEED, i, 1))
            found, wanted = student.answer_logits(visual, student.prompt.pack(places, [asked]))
            lengths = [len(student.prompt.block(question)[1]) for question in asked]
            for question, hits in zip(asked, (found.argmax(1) == wanted).split(lengths), strict=True):
                right.setdefault(question.label, []).append(bool(hits.all()))
    result = {"patches": round(float(np.mean(named)), 3), "auc": round(float(np.mean(areas)), 3)}
    if right:
        result["right"] = round(float(np.mean([r for rs in right.values() for r in rs])), 3)
        result["kinds"] = {k: round(float(np.mean(v)), 2) for k, v in sorted(right.items())}
    return result


def add_up(parameters: list[nn.Parameter]) -> None:
    """Sum the gradients of all processes, where several share each batch."""
    if dist.is_initialized():
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.float().flatten() for g in gradients])
        dist.all_reduce(flat)
        for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))


def agreed(dtype: torch.dtype) -> torch.dtype:
    """What the first process measured, in all of them."""
    if not dist.is_initialized():
        return dtype
    choice = [dtype]
    dist.broadcast_object_list(choice)
    return choice[0]


def parts(batch: Batch, size: int) -> Iterator[Batch]:
    """A batch cut into pieces that fit the caches."""
    for a in range(0, len(batch.pixels), size):
        text = batch.text and {k: v[a : a + size] for k, v in batch.text.items()}
        yield Batch(
            batch.pixels[a : a + size],
            batch.places[a : a + size],
            batch.nouns[a : a + size],
            batch.colours[a : a + size],
            batch.owners[a : a + size],
            batch.centres[a : a + size],
            batch.shown[a : a + size],
            text,
        )


def run_stage(
    stage: Stage,
    student: Student,
    composer: Composer,
    out: Path,
    *,
    scenes: int = 48,
    log_every: int = 25,
    save_every: int = 50,
    dtype: torch.dtype = torch.float32,
    after_step: Callable[[int], None] = lambda done: None,
) -> None:
    """Train one stage, resuming from its checkpoint; append what happens to ``out/log.jsonl``."""
    checkpoint = out / f"{stage.name}.pt"
    student.tower_learns = stage.tower
    optimiser = Optimiser(
        [student],
        muon=stage.muon,
        adamw=stage.adamw,
        steps=stage.steps,
        warm_up=stage.warm_up,
        decay_from=stage.decay_from,
        dtype=dtype,
    )
    language_model = student.model.model.language_model
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        optimiser.load(state)
        first = state["step"]
    batches = Batches(
        composer,
        student.tokenizer,
        seed=stage.seed,
        steps=stage.steps,
        batch=stage.batch,
        side=stage.side,
        shares=stage.shares,
        answers=stage.answers,
        shard=(rank, world),
    )
    rest = Subset(batches, range(first, stage.steps))
    loader = DataLoader(rest, batch_size=None, num_workers=1, prefetch_factor=4)
    began, losses = time.time(), []
    for step, batch in enumerate(loader, first):
        for part in parts(batch, stage.micro):
            share = len(part.pixels) / stage.batch
            hidden, visual = student.see(part.pixels, part.places)
            terms = {"patch": student.patch_loss(hidden, visual, part), "place": student.place_loss(visual, part)}
            terms["vote"] = student.vote_loss(visual, part)
            weights = {"patch": stage.patches, "place": stage.place, "vote": stage.counting}
            if part.text is not None:
                terms["answer"], weights["answer"] = F.cross_entropy(*student.answer_logits(visual, part.text)), 1.0
                terms["pointing"] = pointing_loss(language_model, part.text, part.shown)
                terms["counting"] = counting_loss(language_model, part.text, part.shown, part.owners)
                weights |= {"pointing": stage.pointing, "counting": stage.counting}
            (share * sum(weights[name] * term for name, term in terms.items())).backward()
            losses.append({name: float(term.detach()) for name, term in terms.items()})
        add_up(optimiser.parameters)
        optimiser.step(step)
        done = step + 1
        if rank:
            continue
        if done % save_every == 0 or done == stage.steps:
            torch.save({"step": done, **optimiser.state()}, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
        after_step(done)
        if done % log_every == 0 or done == stage.steps:
            line = {"stage": stage.name, "step": done, "seconds": round(time.time() - began, 1)}
            line |= {f"{name}_loss": round(float(np.mean([term[name] for term in losses])), 3) for name in losses[0]}
            losses = []
            if done % (8 * log_every) == 0 or done == stage.steps:
                line |= evaluate(student, composer, side=stage.side, answers=stage.answers, scenes=scenes)
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/training"), help="checkpoints and log")
    parser.add_argument("--sprites", type=Path, default=Path("assets/sprites"))
    parser.add_argument("--init", type=Path, help="begin from the weights of a folder, its words matched by spelling")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that everything runs")
    args = parser.parse_args()
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    composer = Composer(args.sprites)
    student = Student(composer)
    dtype = agreed(faster_on_cpu())
    print(f"computing in {dtype}", flush=True)
    if args.init:
        begin_from(student.model, student.tokenizer, args.init)
    for stage in SMOKE if args.smoke else STAGES:
        run_stage(stage, student, composer, args.out, scenes=2 if args.smoke else 48, dtype=dtype)


if __name__ == "__main__":
    main()
