"""The methods as a table of Markdown, and the options of one in words."""

from resprune.methods.base import Method
from resprune.methods.registry import available

_NEEDS = {
    "conditioned": "the question",
    "reads_text": "the question's tokens",
    "attends": "a CLS token (LLaVA-1.5)",
    "inside": "a look inside the language model",
}


def needs_of(method: type[Method]) -> str:
    """What it needs beside the visual tokens, in words; empty where that is nothing."""
    return ", ".join(words for name, words in _NEEDS.items() if getattr(method, name))


def markdown() -> str:
    """All methods: a line each with paper, source, needs and options; ``docs/methods.md`` shows those of ours."""
    lines = ["| method | what it keeps | paper | source | needs | options |", "|---|---|---|---|---|---|"]
    for name, method in available().items():
        options = ", ".join(f"`{one.name}`" for one in method.options())
        cells = (f"`{name}`", method.summary(), method.fact("Paper"), method.fact("Source"), needs_of(method), options)
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def described(method: type[Method]) -> str:
    """One method for people: summary, paper, and each option with its range and default."""
    facts = [method.summary() + "."]
    facts += [f"{name}: {said}." for name in ("Paper", "Source") if (said := method.fact(name))]
    for one in method.options():
        default = "" if one.default is None else f" ({one.default!r})"
        range_ = "" if one.checked else f"; {one.range}"
        facts.append(f"  {one.name}={one.name.upper()}: {one.meaning}{range_}{default}")
    return "\n".join(facts)
