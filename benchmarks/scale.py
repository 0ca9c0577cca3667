"""What pruning would save at scale, on paper: ``python -m benchmarks.scale`` prints the tables of ``docs/scale.md``.

    python -m benchmarks.scale [--card "H100 SXM"] [--answer 32] [--price 1.0] [--write]

Ratios of prefills and times of selection are those in ``benchmarks/results``, measured on processors; the rest is
arithmetic from the shapes of the models and the data sheets of the cards. The last table alone was measured on cards:
it holds the arithmetic against whole calls, see ``benchmarks.end_to_end``.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.held_against import against_cards
from benchmarks.shapes import CARDS, MODELS, Card, encode_work, held_bytes, kv_bytes, prefill_work, weights

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "scale.md"

# Assumptions, to be changed: shares of the data sheet that a server reaches, and what a question looks like.
OF_PEAK, OF_BANDWIDTH, OF_MEMORY = 0.4, 0.6, 0.9
PICTURE_BYTES = 200_000
CARDS_AT_SCALE = 1000


@dataclass(frozen=True)
class Question:
    """What one question costs where the card is always full.

    Attributes:
        kept: visual tokens that the language model reads.
        encode, prefill, decode: milliseconds of the card.
        at_once: questions whose keys and values fit beside the weights.
        host: milliseconds of one processor core for selection, measured; 0 where nothing is selected.
    """

    kept: int
    encode: float
    prefill: float
    decode: float
    at_once: int
    host: float

    @property
    def card(self) -> float:
        """Milliseconds of the card, selection being done meanwhile."""
        return self.encode + self.prefill + self.decode


def measured(name: str) -> dict:
    """The measured case of a model."""
    return json.loads((RESULTS / f"{MODELS[name].results}.json").read_text(encoding="utf-8"))["cases"][name]


def questions(name: str, card: Card, answer: int) -> list[Question]:
    """One with all tokens, then one a measured budget."""
    model, case = MODELS[name], measured(name)
    tokens, text = case["tokens"], case["text_tokens"]
    compute, stream = card.peak * OF_PEAK, card.bandwidth * OF_BANDWIDTH
    held = held_bytes(model)
    encode = 1e3 * encode_work(model, tokens) / compute
    prefill = 1e3 * prefill_work(model, tokens + text) / compute
    found = []
    for kept, row in [(tokens, None), *((int(k), row) for k, row in case["budgets"].items())]:
        sequence = kv_bytes(model) * (kept + text + answer)
        at_once = int((OF_MEMORY * card.memory - held) // sequence)
        step = max((held + at_once * sequence) / stream, at_once * 2 * weights(model) / compute)
        decode = 1e3 * answer * step / at_once
        speedup, host = (row["speedup"], case["ms"][f"selection {kept}"]["min"]) if row else (1.0, 0.0)
        found.append(Question(kept, encode, prefill / speedup, decode, at_once, host))
    return found


def stages(card: Card, answer: int) -> str:
    """A row a model and budget: where the card's time for a question goes."""
    lines = [
        "| model | visual tokens | encoder, ms | prefill, ms | decode, ms | together, ms | of all tokens |",
        "|---" * 7 + "|",
    ]
    for name in MODELS:
        full, *_ = asked = questions(name, card, answer)
        for q in asked:
            times = " | ".join(f"{ms:.1f}" for ms in (q.encode, q.prefill, q.decode, q.card))
            lines.append(f"| {name} | {q.kept} | {times} | {q.card / full.card:.0%} |")
    return "\n".join(lines)


def costs(card: Card, answer: int, price: float) -> str:
    """A row a model and budget: what a million questions cost, and what they ask of memory and of processors."""
    lines = [
        "| model | visual tokens | at once in memory | questions a second | cost of a million | selection, core ms | "
        "cores a card | cost of a million if the card waits |",
        "|---" * 8 + "|",
    ]
    for name in MODELS:
        for q in questions(name, card, answer):
            rate = 1e3 / q.card
            host = f"{q.host:.0f} | {q.host * rate / 1e3:.1f}" if q.host else " | "
            waits = (q.card + q.host) / 3.6 * price
            lines.append(
                f"| {name} | {q.kept} | {q.at_once:,} | {rate:.1f} | {q.card / 3.6 * price:.1f} | {host} | "
                f"{waits:.1f} |"
            )
    return "\n".join(lines)


def lengths(price: float, name: str = "LLaVA-1.5-7B", kept: int = 128) -> str:
    """A row a card and length of answer: what pruning changes there."""
    lines = [
        f"| {name}: card | tokens answered | all tokens: cost of a million | {kept} tokens | of full | encoder, "
        "prefill, decode when pruned |",
        "|---" * 6 + "|",
    ]
    for card in CARDS:
        for answer in (8, 32, 256):
            asked = {q.kept: q for q in questions(name, CARDS[card], answer)}
            full, q = next(iter(asked.values())), asked[kept]
            shares = ", ".join(f"{part / q.card:.0%}" for part in (q.encode, q.prefill, q.decode))
            costs = " | ".join(f"{x.card / 3.6 * price:.1f}" for x in (full, q))
            lines.append(f"| {card} | {answer} | {costs} | {q.card / full.card:.0%} | {shares} |")
    return "\n".join(lines)


def many(card: Card, answer: int) -> str:
    """A row a model: a thousand cards, all tokens and the middle budget."""
    lines = [
        f"| model | visual tokens | questions a second, {CARDS_AT_SCALE:,} cards | a million takes, s | pictures in, "
        "Gbit/s | cores for selection |",
        "|---" * 6 + "|",
    ]
    for name in MODELS:
        full, _, q, _ = questions(name, card, answer)
        for x in (full, q):
            rate = CARDS_AT_SCALE * 1e3 / x.card
            lines.append(
                f"| {name} | {x.kept} | {rate:,.0f} | {1e6 / rate:.1f} | {8 * PICTURE_BYTES * rate / 1e9:.0f} | "
                f"{x.host * rate / 1e3:,.0f} |"
            )
    return "\n".join(lines)


def tables(card: str, answer: int, price: float) -> str:
    """All that stands between the markers of the page."""
    said = (
        f"{card}, {answer} tokens answered, {price:g} a card and hour; {OF_PEAK:.0%} of the peak, {OF_BANDWIDTH:.0%} "
        f"of the bandwidth, {OF_MEMORY:.0%} of the memory, {PICTURE_BYTES // 1000} kB a picture: assumptions."
    )
    sheet = CARDS[card]
    arithmetic = [stages(sheet, answer), costs(sheet, answer, price), lengths(price), many(sheet, answer)]
    told = "Held against whole calls on cards, milliseconds a picture:"
    return "\n\n".join([said, *arithmetic, told, against_cards(OF_PEAK)])


def main() -> None:
    """Print the tables, or put them into the page."""
    parser = argparse.ArgumentParser(description="What pruning would save at scale, on paper.")
    parser.add_argument("--card", choices=CARDS, default="H100 SXM", help="(%(default)s)")
    parser.add_argument("--answer", type=_positive(int), default=32, metavar="N", help="tokens answered (%(default)s)")
    parser.add_argument("--price", type=_positive(float), default=1.0, help="of a card and hour (%(default)s)")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    options = parser.parse_args()
    text = tables(options.card, options.answer, options.price)
    print(text)
    if options.write:
        from benchmarks.evidence import insert  # needs much more than arithmetic does

        insert(PAGE, "scale", text)


def _positive(kind: type) -> object:
    def positive(text: str) -> float:
        value = kind(text)
        if not 0 < value < 1e6:
            raise ValueError
        return value

    positive.__name__ = "number above 0"
    return positive


if __name__ == "__main__":
    main()
