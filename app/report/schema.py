"""What a report's record must be before the page shows it: a file from anywhere may claim to be one."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.record import FORMATS

MOST_TOKENS = 20_000  # visual tokens of a picture
PICTURE = r"^data:image/jpeg;base64,[A-Za-z0-9+/]+={0,2}$"

Text = Annotated[str, StringConstraints(max_length=20_000)]
Name = Annotated[str, StringConstraints(max_length=200)]
Amount = Annotated[float, Field(ge=0, le=1e12)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Share = Annotated[float, Field(ge=-1e-6, le=1 + 1e-6)]
Patch = Annotated[int, Field(ge=0, lt=MOST_TOKENS)]
Rank = Annotated[int, Field(ge=-MOST_TOKENS, lt=MOST_TOKENS)]  # below 0: of one that is not alike
Place = tuple[Count, Count, Count]
Pixels = Annotated[float, Field(ge=-1e6, le=1e6)]


class Part(BaseModel):
    """No field too many, none too few, no number that is none, and no text for a number."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class AnswerPart(Part):
    """The fields of :class:`resprune.compare.Answer`."""

    answer: Text
    model: Name
    method: Name
    mass: bool
    tokens_total: Annotated[int, Field(ge=1, le=MOST_TOKENS)]
    tokens_kept: Annotated[int, Field(ge=1, le=MOST_TOKENS)]
    kept: list[Place]
    nouns: list[Name]
    encode_ms: Amount
    select_ms: Amount
    prefill_ms: Amount
    ttft_ms: Amount
    tpot_ms: Amount | None
    total_ms: Amount
    kv_bytes: Count
    peak_bytes: Count | None
    notes: list[Text]


class OptionsPart(Part):
    """The fields of :class:`app.asking.Options`; whether they are in range is for the library to say."""

    keep: int | Name
    method: Name
    mass: bool
    positions: Name
    max_new_tokens: Annotated[int, Field(ge=1, le=100_000)]
    indices: list[Patch]


class EarlierOptionsPart(OptionsPart):
    """The same in the format 1, where the options of methods stood beside the others."""

    alpha: float
    sign: int
    seed: int


class ChangePart(Part):
    """The fields of :class:`resprune.compare.TokenChange`."""

    text: Text
    full: Share
    pruned: Share
    instead: Text | None


class MapPart(Part):
    """What :func:`app.patch_map.map_value` returns; N is the length of ``order``."""

    size: tuple[Annotated[int, Field(ge=1, le=10**6)], Annotated[int, Field(ge=1, le=10**6)]]
    boxes: list[tuple[Pixels, Pixels, Pixels, Pixels]]
    places: list[Place]
    order: Annotated[list[Patch], Field(min_length=1, max_length=MOST_TOKENS)]
    nested: bool
    energy: list[float] | None
    captured: list[Share] | None
    kept: Annotated[list[Patch], Field(min_length=1)]
    question: Text
    relevance: dict[Name, list[float]]
    ranks: list[Annotated[list[Rank], Field(min_length=1)]] | None
    owner: list[Patch | None] | None
    auto: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None
    by_hand: Literal[True] | None = None

    @model_validator(mode="after")
    def fits_together(self) -> "MapPart":
        total = len(self.order)
        if sorted(self.order) != list(range(total)):
            raise ValueError("order does not name each patch once")
        along = {"boxes": self.boxes, "places": self.places, "energy": self.energy, "captured": self.captured}
        along |= {"ranks": self.ranks, "owner": self.owner} | {f"relevance {n}": v for n, v in self.relevance.items()}
        for name, values in along.items():
            if values is not None and len(values) != total:
                raise ValueError(f"{name} has {len(values)} entries for {total} patches")
        if len(set(self.kept)) != len(self.kept) or max(self.kept) >= total:
            raise ValueError("kept names a patch twice, or one that is not there")
        if self.owner is not None and not set(self.owner) - {None} <= set(self.kept):
            raise ValueError("owner names a patch that is not kept")
        if self.ranks is not None and max(max(r, -1 - r) for ranks in self.ranks for r in ranks) >= total:
            raise ValueError("ranks names a place beyond the last one")
        return self


class RecordPart(Part):
    """What :func:`app.record.record_of` returns."""

    format: Literal[FORMATS]
    made: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT[0-9:.+Z-]{1,30}$")]
    versions: dict[Name, Name]
    machine: Name
    question: Text
    options: OptionsPart | EarlierOptionsPart
    picture: Annotated[str, StringConstraints(max_length=4_000_000, pattern=PICTURE)]
    full: AnswerPart
    pruned: AnswerPart
    map: MapPart
    differences: list[ChangePart] | None

    @model_validator(mode="after")
    def fits_together(self) -> "RecordPart":
        total, kept = len(self.map.order), len(self.map.kept)
        counts = [side.tokens_total for side in (self.full, self.pruned)] + [self.full.tokens_kept]
        if counts != [total] * 3 or self.pruned.tokens_kept != kept:
            raise ValueError("the answers and the map do not speak of the same tokens")
        return self


def checked(text: str) -> dict[str, Any]:
    """A record in JSON, as the same types that :func:`app.record.record_of` gives.

    Raises:
        ValidationError: of pydantic, if it is none.
    """
    return RecordPart.model_validate_json(text).model_dump(mode="json", exclude_unset=True)
