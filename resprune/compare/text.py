"""The text of an answer, of which some tokens are but bytes of a character.

Tokens are always decoded together, from the first on, and never one by one. Even so a text may change as they come:
where a tokenizer spells in bytes what it has no piece for (Llama 2, Mistral, Gemma), one byte more makes all characters
of that stretch unreadable until the next one is complete.
"""

from itertools import pairwise

from transformers import PreTrainedTokenizerBase

_UNREADABLE = "\ufffd"  # in place of bytes that are no character
_NO_BYTE_OF_TEXT = "<0xFF>"
_LONGEST = 4  # bytes of a character


def settled(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> str:
    """As much of the text as no later token can change: each is the beginning of all that follow.

    Args:
        tokenizer: of the model.
        token_ids: of the answer so far.
    """
    text = _decoded(tokenizer, token_ids)
    spoiling = tokenizer.convert_tokens_to_ids(_NO_BYTE_OF_TEXT)
    if spoiling is not None and tokenizer.convert_ids_to_tokens(spoiling) == _NO_BYTE_OF_TEXT:
        text = _same_start(text, _decoded(tokenizer, [*token_ids, spoiling]))
    return text.rstrip(_UNREADABLE)


def complete(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> str:
    """The text of an answer that has ended, without a character whose bytes have not all come.

    Args:
        tokenizer: of the model.
        token_ids: of the whole answer.
    """
    heads = [token_ids[: max(0, len(token_ids) - cut)] for cut in range(_LONGEST)]
    return max((_decoded(tokenizer, head).rstrip(_UNREADABLE) for head in heads), key=len)


def additions(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> list[str]:
    """What each token of a whole answer adds to it: all together they are its :func:`complete` text.

    A token that is a byte adds nothing, until it is the last of its character.
    """
    whole = complete(tokenizer, token_ids)
    ends = [0]
    for count in range(1, len(token_ids)):
        ends.append(max(ends[-1], len(_same_start(_decoded(tokenizer, token_ids[:count]), whole))))
    return [whole[start:end] for start, end in pairwise([*ends, len(whole)])] if token_ids else []


def _decoded(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> str:
    return tokenizer.decode(token_ids, skip_special_tokens=True)


def _same_start(one: str, other: str) -> str:
    shorter = min(len(one), len(other))
    return one[: next((place for place in range(shorter) if one[place] != other[place]), shorter)]
