"""Weights in the faster type with float32 master copies: Muon for the hidden matrices, AdamW for the rest."""

import torch
from torch import nn


class Optimiser:
    """Steps the modules' weights by a schedule of warm-up, plateau and linear decay to 3 %."""

    def __init__(
        self,
        modules: list[nn.Module],
        *,
        muon: float,
        adamw: float,
        steps: int,
        warm_up: int,
        decay_from: float,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        named = [(f"{i}.{n}", p) for i, m in enumerate(modules) for n, p in m.named_parameters()]
        self.parameters = [p for _, p in named]
        self.masters = [p.detach().float().clone() for p in self.parameters]
        for module in modules:
            module.to(dtype)
        others = (
            "embed",
            "lm_head",
            "colour",
            "place",
            "centre",
            "vote",
        )  # tables and heads, which are no hidden matrices
        matrix = [p.ndim == 2 and not any(s in n for s in others) for n, p in named]
        pick = [m for m, is_matrix in zip(self.masters, matrix, strict=True) if is_matrix]
        rest = [m for m, is_matrix in zip(self.masters, matrix, strict=True) if not is_matrix]
        self.optimisers = [
            torch.optim.AdamW(rest, lr=adamw, betas=(0.9, 0.95), weight_decay=0.01),
            torch.optim.Muon(pick, lr=muon, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        ]
        self.rates = (adamw, muon)
        self.steps, self.warm_up, self.decay_from = steps, warm_up, decay_from

    def rate(self, step: int) -> float:
        """Share of the full learning rate at a step."""
        done = step / self.steps
        fading = 1.0 if done < self.decay_from else max(0.03, (1 - done) / (1 - self.decay_from))
        return min(1.0, (step + 1) / self.warm_up) * fading

    @torch.no_grad()
    def step(self, step: int) -> None:
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        nn.utils.clip_grad_norm_(self.masters, 1.0)
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * self.rate(step)
            optimiser.step()
        publish(self.masters, self.parameters)

    def state(self) -> dict:
        return {"masters": self.masters, "optimisers": [o.state_dict() for o in self.optimisers]}

    @torch.no_grad()
    def load(self, state: dict) -> None:
        for master, saved in zip(self.masters, state["masters"], strict=True):
            master.copy_(saved)
        if "optimisers" in state:
            for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(saved)
        publish(self.masters, self.parameters)


@torch.no_grad()
def publish(masters: list[torch.Tensor], parameters: list[nn.Parameter]) -> None:
    """Copy master weights into a module's parameters, rounding to their type."""
    for master, parameter in zip(masters, parameters, strict=True):
        parameter.copy_(master)
