"""What pruning may not add: work to a call without images, waits for the accelerator, copies, memory."""

import copy
import functools
import gc
import weakref
from collections import Counter

import pytest
import torch
from asking import ONE, TWO, ask, inputs_of, member
from remote import HOST, Remote, accelerator, on_host, there
from tiny import picture
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map_only
from transformers import StoppingCriteria

import resprune
from resprune.seam import request
from resprune.seam.encoding import encode
from resprune.selection import Selection, select
from resprune.settings import Settings

TEXT = "USER: How many red apples are to the left of the cat? ASSISTANT:"


class Operations(TorchDispatchMode):
    """Counts the operations of PyTorch by name."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count[str(func)] += 1
        return func(*args, **(kwargs or {}))


class TestTextOnly:
    def operations(self, model, inputs):
        ask(model, inputs)  # caches of transformers are filled by the first call
        with Operations() as operations:
            ask(model, inputs)
        return operations.count

    def test_not_one_operation_is_added(self, tiny):
        model, processor = tiny
        text = processor.tokenizer(TEXT, return_tensors="pt")
        image = resprune.build_inputs(processor, picture(), TEXT)
        plain_text, plain_image = self.operations(model, text), self.operations(model, image)
        with resprune.pruned(model, processor, keep=9, mass=True):
            assert self.operations(model, text) == plain_text
            assert self.operations(model, image) != plain_image

    def test_generate_gets_the_very_arguments(self, tiny, monkeypatch):
        model, processor = tiny
        seen = []

        def generate(self, *args, **kwargs):
            seen.append((self, args, kwargs))
            return kwargs.get("input_ids", torch.ones(1, 1))

        monkeypatch.setattr(type(model), "generate", generate)
        resprune.attach(model, processor)
        text = processor.tokenizer(TEXT, return_tensors="pt")
        model.generate(text["input_ids"], attention_mask=text["attention_mask"], max_new_tokens=3)
        ((whose, args, kwargs),) = seen
        assert whose is model and len(args) == 1 and args[0] is text["input_ids"]
        assert kwargs.keys() == {"attention_mask", "max_new_tokens"}
        assert kwargs["attention_mask"] is text["attention_mask"]
        # An image shows that the arguments would show a change.
        model.generate(**resprune.build_inputs(processor, picture(), TEXT))
        assert {"mm_encoder_outputs", "position_ids"} <= seen[1][2].keys()


class TestWaits:
    """On an accelerator the host waits for nothing between the encoder's work and the first forward pass, where the
    method chooses there; else it waits for the inner products of each image.
    """

    def prepared(self, family, rows, settings, monkeypatch, serves=True):
        """What the host waited for once the images were encoded, all tensors of the call being elsewhere."""
        model, processor = member(family)
        inputs = inputs_of(processor, rows)
        call = {name: value for name, value in inputs.items() if name != "pixel_values"}
        call["mm_encoder_outputs"] = {"image": encode(model, inputs)}
        here = request.prepare(model, processor, settings, call)
        embedding = copy.deepcopy(model.get_input_embeddings())
        embedding.weight = nn.Parameter(there(embedding.weight.data), requires_grad=False)
        for name, buffer in embedding.named_buffers():
            setattr(embedding, name, there(buffer))
        monkeypatch.setattr(model, "get_input_embeddings", lambda: embedding)
        if serves:
            # The kernel itself needs a card or an interpreter: what it would give comes without a wait.
            monkeypatch.setattr("resprune.seam.prune.serves", lambda device: device.type == "meta")
            monkeypatch.setattr("resprune.methods.subspace.select_all", self.chosen_there)
            monkeypatch.setattr(
                "resprune.methods.subspace.select",
                lambda gram, k, weights, first: self.chosen_there([gram], [k], [weights], [first])[0],
            )
        if hasattr(model.base_model, "rope_deltas"):
            monkeypatch.setattr(model.base_model, "rope_deltas", None)
        with accelerator() as notes:
            monkeypatch.setattr("resprune.device.clock.mark", lambda device: notes.append("clock") or 0.0)
            remote = request.prepare(model, processor, settings, there(call))
            begun, waits = notes[: notes.index("clock")], notes[notes.index("clock") :]
        # Copies of the prompt, and of what goes with it, which come before the encoder's work and are read after it.
        assert begun == ["wait: _to_copy"] * len(begun) and len(begun) <= 4
        assert all(isinstance(remote.call[name], Remote) for name in ("input_ids", "attention_mask", "position_ids"))
        assert torch.equal(remote.call["input_ids"].values, here.call["input_ids"])
        assert torch.equal(remote.call["position_ids"].values, here.call["position_ids"])
        if remote.cached.bias is not None:
            bias = on_host(lambda values: values, remote.cached.bias)
            assert torch.equal(bias, here.cached.bias)
        kept = [
            on_host(lambda order, k: order[:k], one.selection.order, one.tokens_kept).tolist() for one in remote.results
        ]
        assert kept == [r.selection.chosen.tolist() for r in here.results]
        return [note for note in waits if note != "clock"]

    @staticmethod
    def chosen_there(grams, budgets, weights, firsts):
        """What the host chooses, as the accelerator would give it."""
        with _disable_current_modes():
            bare = tree_map_only(Remote, lambda tensor: tensor.values, (list(grams), list(weights), list(firsts)))
            chosen = [
                select(gram, k, scale, None, first)
                for gram, k, scale, first in zip(bare[0], budgets, *bare[1:], strict=True)
            ]
            return [Selection(there(one.order), there(one.indices)) for one in chosen]

    @pytest.mark.parametrize("rows", [ONE, TWO], ids=["one", "two-images"])
    @pytest.mark.parametrize("mass", [False, True], ids=["", "mass"])
    def test_none_where_the_method_chooses_there(self, family, rows, mass, monkeypatch):
        assert self.prepared(family, rows, Settings(keep=0.4, mass=mass), monkeypatch) == []

    @pytest.mark.parametrize("settings", [{"positions": "sequential"}, {"protect": [3, 0]}, {"keep": 9}], ids=str)
    @pytest.mark.parametrize("method", ["resprune", "paper", "subspace", "cdpruner"])
    def test_none_whatever_else_is_asked(self, settings, method, monkeypatch):
        settings = Settings(**{"keep": 0.4, "mass": True, "method": method} | settings)
        assert self.prepared("llava", TWO, settings, monkeypatch) == []

    @pytest.mark.parametrize("rows", [ONE, TWO], ids=["one", "two-images"])
    @pytest.mark.parametrize("mass", [False, True], ids=["", "mass"])
    def test_one_for_each_image_where_the_host_chooses(self, rows, mass, monkeypatch):
        waits = self.prepared("llava", rows, Settings(keep=0.4, mass=mass), monkeypatch, serves=False)
        assert waits == ["wait: _to_copy"] * sum(count for _, count in rows)

    @pytest.mark.parametrize(
        ("method", "waits"), [("divprune", 1), ("random", 0), ("uniform", 0)], ids=lambda v: str(v)
    )
    def test_other_methods(self, method, waits, monkeypatch):
        assert len(self.prepared("llava", ONE, Settings(keep=0.4, method=method), monkeypatch)) == waits

    def test_a_budget_that_follows_the_energy_waits_once(self, monkeypatch):
        assert len(self.prepared("llava", ONE, Settings(keep="auto"), monkeypatch, serves=False)) == 1

    def test_each_kind_of_wait_would_be_seen(self):
        with accelerator() as notes:
            values = there(torch.arange(6.0))
            reads = [
                lambda: int(values.sum()),
                lambda: bool((values > 2).any()),
                lambda: values[values > 2],
                lambda: values.cpu(),
                lambda: values.to(HOST),
                lambda: torch.empty(6).copy_(values),
                lambda: (values > 2).nonzero(),
            ]
            for count, read in enumerate(reads, 1):
                read()
                assert len(notes) == count
            values[:2] = values[2:4] * 2  # work that nobody waits for
            assert len(notes) == len(reads)
            with pytest.raises(AssertionError, match="mixes"):
                values + torch.arange(6)
        assert values.values.tolist() == [4, 6, 2, 3, 4, 5]


class Watch(StoppingCriteria):
    """Looks around after each token."""

    def __init__(self, look):
        self.look = look

    def __call__(self, input_ids, scores, **kwargs):
        self.look()
        return torch.zeros(len(input_ids), dtype=torch.bool)


class TestCopies:
    def alive(self, model, processor, monkeypatch, holds=False, **settings):
        """How many values of encoded features are alive after each token: of the full ones, and of the kept ones."""
        full, kept, held = [], [], []
        features_of, kept_of = model.model.get_image_features, request.Images.kept

        @functools.wraps(features_of)  # the library asks which inputs it takes
        def encoded(*args, **kwargs):
            output = features_of(*args, **kwargs)
            full.extend(weakref.ref(tokens) for tokens in output.pooler_output)
            if holds:
                held.append(output)
            return output

        def pruned(self, *args):
            output = kept_of(self, *args)
            kept.extend(weakref.ref(tokens) for tokens in output.pooler_output)
            return output

        monkeypatch.setattr(model.model, "get_image_features", encoded)
        monkeypatch.setattr(request.Images, "kept", pruned)
        seen = []

        def look():
            gc.collect()
            seen.append([sum(len(ref()) for ref in refs if ref() is not None) for refs in (full, kept)])

        inputs = resprune.build_inputs(processor, picture(), TEXT)
        with resprune.pruned(model, processor, **settings):
            ask(model, inputs, stopping_criteria=[Watch(look)])
        return seen

    def test_after_prefill_the_kept_features_are_the_only_ones(self, tiny, monkeypatch):
        model, processor = tiny
        seen = self.alive(model, processor, monkeypatch, keep=9)
        assert seen == [[0, 9]] * len(seen) and seen

    def test_others_would_be_seen(self, tiny, monkeypatch):
        model, processor = tiny
        assert self.alive(model, processor, monkeypatch, holds=True, keep=9)[0] == [36, 9]
