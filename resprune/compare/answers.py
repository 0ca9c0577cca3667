"""What the caller of a comparison receives."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from resprune.compare.encoded import EncodedQuestion
from resprune.seam import PruneResult

Side = Literal["full", "pruned"]
Stage = Literal["encode", "select", "prefill", "decode", "done", "stopped"]


@dataclass(frozen=True)
class Answer:
    """An answer and what it cost.

    All times are in milliseconds on synchronised clocks and start where the question was submitted: the picture is
    open, nothing is prepared. Encoding is done once for both sides and counted in the times of each.

    Attributes:
        answer: the text.
        model: what it was loaded as, see :func:`resprune.models.load`.
        method: ``"full"``, or the method's name.
        mass: whether kept tokens carried the weight of those they stand for.
        tokens_total: visual tokens of the picture.
        tokens_kept: those that the language model read.
        kept: ``(tile, row, col)`` of each of them, in the order of selection; row by row where all were read.
        nouns: the words of the question that weighed the tokens.
        encode_ms: processor, vision tower and projector.
        select_ms: choosing the tokens; 0 where all were read.
        prefill_ms: the language model's first forward pass.
        ttft_ms: time to first token, encoding and selection included.
        tpot_ms: time per output token after the first, the end of text counted as one; ``None`` of a single token.
        total_ms: until the answer was complete.
        kv_bytes: of all tensors in the KV cache at the end.
        peak_bytes: peak memory, see :class:`resprune.device.PeakMemory`; ``None`` where it cannot be known.
        notes: sentences for the user.
    """

    answer: str
    model: str
    method: str
    mass: bool
    tokens_total: int
    tokens_kept: int
    kept: list[tuple[int, int, int]]
    nouns: list[str]
    encode_ms: float
    select_ms: float
    prefill_ms: float
    ttft_ms: float
    tpot_ms: float | None
    total_ms: float
    kv_bytes: int
    peak_bytes: int | None
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """All fields, of types that JSON knows."""
        return asdict(self)


@dataclass(frozen=True)
class Update:
    """What happened on one side.

    Attributes:
        side: whose.
        stage: the one that it is in now.
        text: the answer so far.
        answer: with the stage ``"done"``.
        prune: what was kept, from the end of selection on; the stage ``"select"`` comes once without, once with it.
        token_ids: of the answer, with the stage ``"done"``.
        encoded: the question, encoded, with the stage ``"done"``: for whoever wants to know more than the answer;
            ``None`` of one that was answered together with others.
        prompt_tokens: that the language model read, with the stage ``"done"``.
    """

    side: Side
    stage: Stage
    text: str = ""
    answer: Answer | None = None
    prune: PruneResult | None = None
    token_ids: tuple[int, ...] = ()
    encoded: EncodedQuestion | None = None
    prompt_tokens: int = 0
