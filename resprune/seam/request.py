"""One call of ``generate``: choose the visual tokens of its images, and write the call to make instead."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import PreTrainedModel, ProcessorMixin
from transformers.modeling_outputs import ModelOutput
from transformers.utils.generic import is_flash_attention_requested

from resprune.device import SharedSpan, Span, device_of, sent, sent_home
from resprune.errors import InputError
from resprune.layouts import check_ids, check_whole
from resprune.seam.arguments import CallersPrompt, setting
from resprune.seam.encoding import Images, encoded
from resprune.seam.positions import note_deltas, positions_of
from resprune.seam.prune import Image, Pruned, Words, prune
from resprune.seam.result import PruneResult
from resprune.seam.shorten import Shortened, end_of, shorten
from resprune.settings import Settings

_ALIGNED = ("token_type_ids", "mm_token_type_ids")  # inputs of one value a column, beside the mask and the positions
SIZES = ("image_sizes", "image_grid_thw", "batch_num_images")  # of images
_VIDEOS = ("pixel_values_videos", "video_grid_thw")
_ON_CACHE = "_resprune_prompt"


@dataclass(frozen=True)
class Cached:
    """What a KV cache is filled with.

    Attributes:
        shortened: what was sent of the caller's prompt; where the choice was made.
        positions: ``[..., B, S]`` int64 of the caller's columns.
        bias: ``[B, L]`` float32, the logarithm of the mass of each column that was sent; where the choice was made;
            ``None`` where all is 1.
    """

    shortened: Shortened
    positions: torch.Tensor
    bias: torch.Tensor | None


@dataclass(frozen=True)
class Request:
    """A call of ``generate`` with a shortened prompt.

    Attributes:
        call: its arguments.
        prompt: the caller's.
        cached: what it leaves in the cache, beside the answer.
        results: what happened to each image.
    """

    call: dict[str, Any]
    prompt: CallersPrompt
    cached: Cached
    results: list[PruneResult]


def prepare(
    model: PreTrainedModel, processor: ProcessorMixin, settings: Settings | Sequence[Settings], call: dict[str, Any]
) -> Request | None:
    """The request to make instead of ``call``; ``None`` where it is to be left alone.

    Args:
        model: of a supported family.
        processor: of the model.
        settings: of all rows of the batch, or one for each.
        call: arguments of ``generate``.

    Raises:
        InputError: if it asks for what cannot be done with a shortened prompt, its images do not fit its prompts, or
            the settings do not fit its rows.
    """
    if not concerns_us(model, call):
        return None
    return _request(model, processor, by_row(settings, len(call["input_ids"])), call)


def by_row(settings: Settings | Sequence[Settings], rows: int) -> list[Settings]:
    """The settings of each row of a batch.

    Raises:
        InputError: if they are not as many as the rows, or some row's tokens would leave inside the model.
    """
    each = [settings] * rows if isinstance(settings, Settings) or not isinstance(settings, Iterable) else list(settings)
    if not all(isinstance(one, Settings) for one in each):
        raise InputError("The settings of a call are of another type; give resprune.Settings, one for each prompt.")
    if len(each) != rows:
        raise InputError(f"There are {len(each)} settings for {rows} prompts; give one for all, or one for each.")
    if inside := [one.method.name for one in each if one.method.inside]:
        raise InputError(f"The method {inside[0]!r} cannot stand in a list of settings; ask it by itself.")
    return each


def remember(request: Request, output: ModelOutput | torch.Tensor | None = None) -> None:
    """Note on the KV cache what is in it, so that a later call can go on from it, or from a copy of it.

    Before the call there is only the caller's: it holds what it holds, even if the call is interrupted.
    """
    for cache in (request.call.get("cache"), getattr(output, "cache", None)):
        if cache is not None:
            setattr(cache, _ON_CACHE, request.cached)


def concerns_us(model: PreTrainedModel, call: dict[str, Any]) -> bool:
    """Whether a call has images, or goes on from a cache that was shortened."""
    if any(call.get(name) is not None for name in _VIDEOS) or (call.get("mm_encoder_outputs") or {}).get("video"):
        raise InputError("A video cannot be pruned; leave it out, or detach the model first.")
    ids, mask = call.get("input_ids"), call.get("attention_mask")
    encoded, pixels = encoded_images(call) is not None, call.get("pixel_values") is not None
    limit = setting(model, call, "max_length") if setting(model, call, "max_new_tokens") is None else None
    # What generate() refuses, it refuses best by itself, in the caller's own numbers.
    refused = (
        ids is None
        or call.get("inputs_embeds") is not None
        or (mask is not None and mask.ndim != 2)
        or (encoded and pixels)
        or (limit is not None and limit <= ids.shape[1])
    )
    if refused or not (encoded or pixels or earlier_prompt(call)):
        return False
    if call.get("assistant_model") is not None:
        raise InputError("An assistant_model cannot follow a pruned prompt; leave it out, or detach the model first.")
    return True


def encoded_images(call: dict[str, Any]) -> ModelOutput | None:
    """The images that a caller encoded."""
    return (call.get("mm_encoder_outputs") or {}).get("image")


def earlier_prompt(call: dict[str, Any]) -> Cached | None:
    """The shortened prompt that filled the cache from which a call goes on."""
    cache = call.get("cache")
    return getattr(cache, _ON_CACHE, None) if cache is not None and cache.get_seq_length() else None


@torch.no_grad()
def _request(
    model: PreTrainedModel, processor: ProcessorMixin, settings: list[Settings], call: dict[str, Any]
) -> Request:
    ids, earlier, cached = call["input_ids"], earlier_prompt(call), _in_cache(call)
    mask, filler = mask_and_filler(model, call)
    # A call that goes on from a cache may give the new tokens only, beside the mask of all.
    full = pad(ids, (mask.shape[1] - ids.shape[1], 0), value=filler)
    # What is decided about the prompt is decided on the host. Its copies are begun before the encoder has work to wait
    # for, and read when that work is queued, so that the host does its part meanwhile.
    told = _told(call)
    prompt, *later = sent_home([torch.stack([full, mask.to(full)]), *told.values()])
    output = encoded_images(call)
    if output is None and call.get("pixel_values") is not None:
        output = encoded(model, call, attends=any(one.method.attends for one in settings))
    own_ids, own_mask = prompt.read()
    told = {name: values.read() for name, values in zip(told, later, strict=True)}
    check_ids(model, own_ids[:, -ids.shape[1] :])
    start, device = end_of(cached), device_of(model)

    whole = Span(device)
    own = _Prompt(own_ids, own_mask, start, model.config.image_token_id)
    images = None if output is None else Images.of(model, output, {**call, **told, "input_ids": own_ids[:, start:]})
    rows = rows_of(own.is_image.sum(dim=1).tolist(), [len(tokens) for tokens in images.features] if images else [])
    if with_boxes := sorted({row for row in rows if settings[row].boxes}):
        check_whole(processor, own_ids[with_boxes])
    asked = {row: Words.of(model, processor, own_ids[row], settings[row].method) for row in set(rows)}
    candidates = zip(images.features, images.coords, images.saliency, rows, strict=True) if images else []
    asked_of = [Image(*image, asked[row], settings[row]) for *image, row in candidates]
    chosen = prune(asked_of, SharedSpan(whole, len(asked_of)), processor, model)
    if any(image.result.tokens_kept < image.result.tokens_total for image in chosen):
        chosen = own.written(chosen)
    mass, dropped, stay = own.outcome(chosen, rows)
    written = _there(mask, own_mask, mass.device)
    shortened = shorten(written, dropped, stay, cached, force_padding=_needs_mask(model, call))
    bias = _bias(mass, shortened, cached.shape[1], earlier) if _carries(earlier, chosen) else None

    positions = call.get("position_ids")
    if positions is None:
        known = None if earlier is None else earlier.positions.cpu()
        told["input_ids"] = own_ids[:, -ids.shape[1] :]
        positions = positions_of(model, own_ids, own_mask, start, known, {**call, **told})
    positions, there = sent(positions, ids.device), shortened.to(ids.device)
    placed = zip(rows, chosen, strict=True)
    shorter = {row for row, image in placed if image.result.tokens_kept < image.result.tokens_total}
    closed = [row in shorter and one.positions == "sequential" for row, one in enumerate(settings)]
    if any(closed):
        counted = (there.sent().cumsum(dim=1) - 1).clamp_min(0)
        positions = torch.where(sent(torch.tensor(closed, device="cpu")[:, None], ids.device), counted, positions)
    sent_ids = there.take(full, filler)
    if ids.shape[1] < full.shape[1]:
        sent_ids = sent_ids[:, cached.shape[1] :]
    prompt = CallersPrompt(ids, sent_ids.shape[1])
    new = {name: value for name, value in call.items() if name != "pixel_values"} | prompt.translate(model, call)
    new |= {"input_ids": sent_ids, "position_ids": there.take(positions, 0)}
    new |= {"attention_mask": there.take(mask, 0)}
    for name in _ALIGNED:
        if (values := call.get(name)) is not None:
            new[name] = there.take(pad(values, (full.shape[1] - values.shape[1], 0)), 0)
    if images:
        left = replace(images, features=[image.features for image in chosen])
        kept = {"image": left.kept([image.stays for image in chosen], own.kept(chosen, rows))}
        new["mm_encoder_outputs"] = (call.get("mm_encoder_outputs") or {}) | kept
    note_deltas(model, new["position_ids"], new["attention_mask"])
    whole.end()
    return Request(new, prompt, Cached(shortened, positions, bias), [image.result for image in chosen])


def _there(values: torch.Tensor, own: torch.Tensor, device: torch.device) -> torch.Tensor:
    """``values`` on ``device``: themselves where they are there, else ``own``, their copy on the host."""
    return values if values.device == device else sent(own, device)


def _told(call: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What a call tells of its images and its prompt beside the tokens."""
    return {name: call[name] for name in (*SIZES, *_ALIGNED) if isinstance(call.get(name), torch.Tensor)}


class _Prompt:
    """A prompt on the host, the image tokens in it, and what becomes of them.

    Args:
        ids: ``[B, S]``.
        mask: ``[B, S]``.
        start: its first column that is not in the cache.
        image: the image token.
    """

    def __init__(self, ids: torch.Tensor, mask: torch.Tensor, start: int, image: int) -> None:
        self.is_image = ids == image
        self.is_image[:, :start] = False
        self._mask, self._start = mask.bool(), start
        self._hidden = self.is_image & ~self._mask

    def written(self, images: list[Pruned]) -> list[Pruned]:
        """Without tokens that the mask hides, which are not sent; to find those waits for the choice."""
        if not self._hidden.any():
            return images
        seen = self._mask[self.is_image].split([len(image.mass) for image in images])
        images = [image.on_host() for image in images]
        return [
            replace(image, stays=image.stays[there[image.stays]]) for image, there in zip(images, seen, strict=True)
        ]

    def kept(self, images: list[Pruned], rows: list[int]) -> list[int]:
        """Of each row the number of image tokens that are sent."""
        kept = [0] * len(self.is_image)
        for image, row in zip(images, rows, strict=True):
            kept[row] += len(image.stays)
        return kept

    def outcome(self, images: list[Pruned], rows: list[int]) -> tuple[torch.Tensor, torch.Tensor, list[int] | None]:
        """What becomes of each column, where the choice was made.

        Returns:
            ``[B, S]`` float32, the mass of each; ``[B, S]`` bool, which are not to be sent; and of each row how many
            are, of those that are new and no padding: ``None`` where none is dropped.
        """
        if not images:
            mass = torch.ones(self.is_image.shape, dtype=torch.float32, device="cpu")
            return mass, torch.zeros_like(mass, dtype=torch.bool), None
        there = images[0].mass.device
        columns = sent(self.is_image.flatten().nonzero()[:, 0], there)
        mass = torch.ones(self.is_image.numel(), dtype=torch.float32, device=there)
        mass = mass.scatter_(0, columns, torch.cat([sent(image.mass, there) for image in images])).view(
            self.is_image.shape
        )
        if all(image.result.tokens_kept == image.result.tokens_total for image in images):
            return mass, mass == 0, None
        text = (self._mask & ~self.is_image)[:, self._start :].sum(dim=1).tolist()
        return mass, mass == 0, [sum(both) for both in zip(text, self.kept(images, rows), strict=True)]


def _carries(earlier: Cached | None, chosen: list[Pruned]) -> bool:
    """Whether any column of a call stands for others as well: one of its own images, or of the cache."""
    carried = any(
        image.result.weights is not None and image.result.tokens_kept < image.result.tokens_total for image in chosen
    )
    return carried or (earlier is not None and earlier.bias is not None)


def _bias(mass: torch.Tensor, shortened: Shortened, cached: int, earlier: Cached | None) -> torch.Tensor:
    """``[B, L]`` logarithm of the ``mass [B, S]`` of each column sent; the first ``cached`` are those of the cache."""
    bias = shortened.take(mass.clamp_min(1).log(), 0)
    if earlier is not None and earlier.bias is not None:
        known = earlier.bias.repeat_interleave(len(mass) // len(earlier.bias), dim=0)[:, :cached]
        bias[:, :cached] = sent(pad(known, (0, cached - known.shape[1])), bias.device)
    return bias


def _in_cache(call: dict[str, Any]) -> torch.Tensor:
    """``[B, P]`` columns of the caller's prompt that the KV cache of a call holds, on the CPU."""
    ids, cache, earlier = call["input_ids"], call.get("cache"), earlier_prompt(call)
    entries = 0 if cache is None else int(cache.get_seq_length())
    if earlier is None:
        return torch.arange(entries, device="cpu").expand(len(ids), -1)
    return earlier.shortened.repeated(len(ids)).to(torch.device("cpu")).in_cache(entries)


def mask_and_filler(model: PreTrainedModel, call: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """The attention mask of a call, or the one that ``generate`` makes where it has none, and a token for padding."""
    pad_id, ends = setting(model, call, "pad_token_id"), setting(model, call, "eos_token_id")
    mask = call.get("attention_mask")
    if mask is None:
        tells = pad_id is not None and pad_id not in (ends if isinstance(ends, list) else [ends])
        mask = call["input_ids"].ne(pad_id).long() if tells else torch.ones_like(call["input_ids"])
    known = pad_id is not None and 0 <= pad_id < model.get_input_embeddings().num_embeddings
    return mask, pad_id if known else 0


def rows_of(placeholders: list[int], images: list[int]) -> list[int]:
    """The row of the batch in which each image stands.

    Args:
        placeholders: image tokens of each row.
        images: visual tokens of each image.

    Raises:
        InputError: if they do not fit.
    """
    rows, left = [], iter(images)
    for row, room in enumerate(placeholders):
        while room > 0 and (tokens := next(left, None)) is not None:
            rows.append(row)
            room -= tokens
        if room != 0:
            break
    if len(rows) != len(images) or sum(images) != sum(placeholders):
        raise InputError(
            f"The prompts have {placeholders} image tokens, but the images are {images} visual tokens; "
            "do not truncate prompts, and give the images in their order."
        )
    return rows


def _needs_mask(model: PreTrainedModel, call: dict[str, Any]) -> bool:
    """Whether gaps between positions would be taken for the seams of packed sequences, unless there is a mask.

    transformers does so without a KV cache, and in its flash attention; ``generate`` drops a mask of ones.
    """
    return setting(model, call, "use_cache") is False or is_flash_attention_requested(model.config.get_text_config())
