"""Between a question and a prompt: write one into the chat template, and find it there again."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from resprune.layouts import is_a, without_images

if TYPE_CHECKING:
    from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

# How a model reads that was made for a picture and a text rather than for a chat, such as PaliGemma.
_BARE = (
    "{% for part in messages[-1]['content'] %}"
    "{% if part['type'] == 'image' %}{{ image_token }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
)
# They look for their special tokens in all of a text, in what the user typed too.
_COUNTING = ("Gemma3Processor", "PaliGemmaProcessor", "Idefics3Processor", "InternVLProcessor")
_MARK = "\0"  # around each special token, so that one that a user typed as text is not taken for it
_SENTINEL = "zqz"
_ROLES = ("user", "assistant", "user")
_FRAMES: WeakKeyDictionary[ProcessorMixin, tuple[tuple[Any, ...], tuple[str, ...]]] = WeakKeyDictionary()


def build_inputs(processor: ProcessorMixin, image: Any, question: str) -> BatchFeature:
    """What ``model.generate`` needs for one question about one image, by the processor's own chat template.

    Where it has none, the question follows the image. Special tokens in the question stay text: typing ``<image>`` or
    ``</s>`` neither adds an image nor ends a turn.

    Args:
        processor: of a supported family.
        image: as its image processor takes it, such as an RGB ``PIL.Image.Image``.
        question: of any content.

    Returns:
        ``input_ids`` and ``attention_mask`` ``[1, S]``, ``pixel_values`` and what else the family needs.
    """
    content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
    messages = [{"role": "user", "content": content}]
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    tokenizer, template = processor.tokenizer, processor.chat_template
    if not template:
        options |= {"chat_template": _BARE, "image_token": processor.image_token}
    if holds_control(processor, question):
        if any(is_a(processor, name) for name in _COUNTING):
            return _spliced(processor, messages, options)
        options["sanitize_control_tokens"] = True
        bos = tokenizer.bos_token
        if template and bos and tokenizer("").input_ids and not _rendered(processor, [_SENTINEL]).startswith(bos):
            # Text with marked tokens is not given to the tokenizer's post-processor, which would put this token there.
            options["chat_template"] = "{{ bos_token }}" + template
    return processor.apply_chat_template(messages, **options)


def holds_control(processor: ProcessorMixin, text: str) -> bool:
    """Whether a tokenizer would take a part of ``text`` for more than text: a special token, or the template's own.

    Other added tokens are words like any; Gemma has one for a line break.
    """
    template = processor.chat_template or ""
    return any(
        token.content in text and (token.special or (token.content in template and not token.content.isspace()))
        for token in processor.tokenizer.added_tokens_decoder.values()
    )


def _spliced(processor: ProcessorMixin, messages: list[dict[str, Any]], options: dict[str, Any]) -> BatchFeature:
    """A prompt in which a special token holds the place of the question, and then the question's own tokens stand."""
    tokenizer, part = processor.tokenizer, messages[0]["content"][1]
    question = part["text"]
    frame = _rendered(processor, [_SENTINEL]) if processor.chat_template else ""
    holder = next(t for t in (tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token) if t and t not in frame)
    ids = tokenizer(question, add_special_tokens=False, split_special_tokens=True, return_tensors="pt").input_ids
    part["text"] = holder
    inputs = processor.apply_chat_template(messages, **options)
    column = int((inputs["input_ids"][0] == tokenizer.convert_tokens_to_ids(holder)).nonzero()[0, 0])
    length = inputs["input_ids"].shape[1]
    for name in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "labels"):
        if name in inputs and inputs[name].shape == (1, length):
            values = inputs[name]
            own = ids if name == "input_ids" else values[:, column : column + 1].expand(1, ids.shape[1])
            inputs[name] = torch.cat([values[:, :column], own, values[:, column + 1 :]], dim=1)
    return inputs


def question_of(processor: ProcessorMixin, input_ids: Sequence[int] | torch.Tensor) -> str:
    """The words of the last user turn in a prompt, without those that the chat template adds.

    Works for prompts written by hand in the template's manner, with a system text in front or without. Where the
    template's words are not found, or there is no template, all words of the prompt are returned.

    Args:
        processor: that made the prompt.
        input_ids: ``[S]``, one row of it; padding and image tokens are passed over.
    """
    text = _flat(_words(processor, torch.as_tensor(input_ids, device="cpu").tolist()))
    pieces = _frame(processor)
    if len(pieces) == 4:
        text = _last_turn(text, *pieces)
    return " ".join(re.sub(f"{_MARK}.*?{_MARK}", " ", text).split())


def _frame(processor: ProcessorMixin) -> tuple[str, ...]:
    """What a template writes before, between and behind three turns; nothing where there is no template.

    It is remembered: to render a template and split it into tokens takes a millisecond, in each call.
    """
    template = processor.chat_template
    if not template:
        return ()
    tokenizer = processor.tokenizer
    now = (str(template), id(tokenizer), len(tokenizer), tokenizer.pad_token_id, *tokenizer.all_special_ids)
    key, frame = _FRAMES.get(processor, (None, ()))
    if key != now:
        ids = processor.tokenizer(_rendered(processor, [_SENTINEL] * 3), add_special_tokens=False).input_ids
        frame = tuple(piece.strip() for piece in _flat(_words(processor, ids)).split(_SENTINEL))
        _FRAMES[processor] = now, frame
    return frame


def _last_turn(text: str, first_user: str, assistant: str, next_user: str, end: str) -> str:
    """The last user turn of a chat, given the words before the turns of each and those at the end."""
    text = text.removesuffix(end)
    # What stands before every turn of a user. In front of the first may be a system text, which a caller changes; in
    # front of the next is how the template ends an answer, and the model may end its own otherwise, or not at all.
    user = _common_end(first_user, next_user)
    if assistant:
        for header in filter(None, (next_user, user)):
            text = re.split(f"{re.escape(assistant)}.*?{re.escape(header)}", text, flags=re.DOTALL)[-1]
    if user.startswith(_MARK):
        text = text.rsplit(user, 1)[-1]
    else:
        for header in filter(None, (first_user, next_user, user)):
            if header in text:
                text = text.split(header, 1)[1]
                break
    return text.split(assistant, 1)[0] if assistant.startswith(_MARK) else text


def _common_end(one: str, other: str) -> str:
    """Whole words with which both end, from their last special token on where they share one."""
    words = [re.findall(f"{_MARK}.*?{_MARK}|[^{_MARK} ]+", text) for text in (one, other)]
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*map(reversed, words), strict=False))
    shared: list[str] = []
    for word, _ in same:
        shared.insert(0, word)
        if word.startswith(_MARK):
            break
    return _flat(" ".join(shared))


def _flat(text: str) -> str:
    """Words with one space between them and none beside special tokens: tokenizers differ in where they put spaces."""
    return re.sub(f" ?({_MARK}.*?{_MARK}) ?", r"\1", " ".join(text.split()))


def _rendered(processor: ProcessorMixin, turns: list[str]) -> str:
    """The template's text for a chat without images, in which user and assistant say ``turns`` in alternation."""
    said = [(role, [{"type": "text", "text": text}]) for role, text in zip(_ROLES, turns, strict=False)]
    messages = [{"role": role, "content": parts} for role, parts in said]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    if any(str(parts) in text for _, parts in said):
        # Some templates take what the assistant says for a text, and would write the list as code.
        for message in messages[1::2]:
            message["content"] = message["content"][0]["text"]
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
    return text


def _words(processor: ProcessorMixin, ids: list[int]) -> str:
    """Text of a prompt: image tokens, padding and the start of text left out, other special tokens marked."""
    tokenizer: PreTrainedTokenizerBase = processor.tokenizer
    special = {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    silent = {tokenizer.pad_token_id, tokenizer.bos_token_id}
    said = (i for i in without_images(processor, ids) if i not in silent)
    words = []
    for is_special, run in itertools.groupby(said, special.__contains__):
        if is_special:
            words += [f"{_MARK}{special[i]}{_MARK}" for i in run]
        else:
            words.append(tokenizer.decode(list(run)).replace(_MARK, ""))
    return "".join(words)
