"""How relevant each visual token is to the question: its nouns, and their cosine with the tokens.

The nouns come from HanTa (the Hanover Tagger, https://github.com/wartaal/HanTa), whose models for English, German and
Dutch are part of its package. All nouns count, "picture" in "Is there a dog in the picture?" too: that is the method
of the paper, and a list of exceptions would be a second, hidden one.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from HanTa.HanoverTagger import HanoverTagger

LONGEST = 40  # letters; the tagger's time grows with their square, and no word of these languages needs more

_LETTER = "A-Za-zÀ-ÖØ-öø-ɏ"
_SENTENCE = re.compile(r"[^.?!\n]+[.?!]*")
_WORD = re.compile(rf"[{_LETTER}]+?(?=n't\b)|n't\b|'[{_LETTER}]+|[{_LETTER}]+(?:-[{_LETTER}]+)*|\d+|[.,;:?!()]")


@dataclass(frozen=True)
class Noun:
    """A noun of the question: ``surface`` as it stands there, ``lemma`` as a dictionary lists it."""

    surface: str
    lemma: str


@dataclass(frozen=True)
class _Language:
    """What there is to know of a language.

    Attributes:
        model: HanTa's file.
        nouns: how its tags of common and proper nouns begin.
        foreign: its tag of a word from another language.
        function_words: by which a text in it is known.
    """

    model: str
    nouns: tuple[str, ...]
    foreign: str
    function_words: str


_ENGLISH = _Language(
    model="morphmodel_en.pgz",
    nouns=("NN", "NP0"),
    foreign="UNC",
    function_words="a an and any are at by can describe do does for from has have he her his how i in is it its many "
    "me my no not of on or she show that the their there these they this those to was were what when "
    "where which who whose why with you",
)
_GERMAN = _Language(
    model="morphmodel_ger.pgz",
    nouns=("NN", "NE"),
    foreign="FM",
    function_words="am an auf aus bei beim da das dem den der des die du ein eine einem einen einer er es für gibt "
    "haben hat ich ihr im in ist kein keine man mir mit nicht oder sich sie sind steht und unter über "
    "vom von vor wann war warum was welche welchem welchen welcher welches wem wen wer wie viele wo "
    "worauf zu zum zur",
)
_DUTCH = _Language(
    model="morphmodel_dutch.pgz",
    nouns=("N(",),
    foreign="SPEC(vreemd)",
    function_words="aan bij boven de deze die dit dat door een en er geen heb hebben heeft het hij hoe hoeveel ik in "
    "is je kan met mij naar naast niet of om onder ook op over staan staat te tel tussen uit van voor "
    "waar waarom waren wat welk welke wie zie zien zij zijn zit",
)


@cache
def _tagger(language: _Language) -> HanoverTagger:
    return HanoverTagger(language.model)  # a tenth of a second and 25 MB; for Dutch two seconds and 270 MB


def find_nouns(text: str) -> list[Noun]:
    """The common and proper nouns of a question in English, German or Dutch.

    The language is the one with most function words in the text, English where that says nothing. A single word that
    the tagger takes for foreign counts as a noun ("taco"); several in a row are another language, and do not. Words in
    other scripts than Latin are passed over.

    Args:
        text: any text, without the words of a chat template.

    Returns:
        Each noun once, whatever its form, in order of appearance; nothing where there is no noun.
    """
    return list(_found(text))


@lru_cache(maxsize=256)  # a question is asked of several pictures, budgets and methods; tagging it takes a millisecond
def _found(text: str) -> tuple[Noun, ...]:
    text = unicodedata.normalize("NFC", text).replace("\u2019", "'")  # the typographic apostrophe
    sentences = [_WORD.findall(sentence) for sentence in _SENTENCE.findall(text)]
    sentences = [[word for word in sentence if len(word) <= LONGEST] for sentence in sentences]
    language = _language(word.lower() for sentence in sentences for word in sentence)
    nouns, seen = [], set()
    for sentence in filter(None, sentences):
        for noun in _tagged_nouns(sentence, language):
            forms = {noun.lemma.casefold(), noun.surface.casefold()}
            if seen.isdisjoint(forms):
                nouns.append(noun)
            seen |= forms
    return tuple(nouns)


def find_words(text: str) -> list[Noun]:
    """Every word of a question once, in order of appearance: what :func:`find_nouns` chooses from.

    Each is its own lemma. Words in other scripts than Latin are passed over, and so are those that are very long.
    """
    text = unicodedata.normalize("NFC", text).replace("\u2019", "'")
    words: dict[str, str] = {}
    for word in _WORD.findall(text):
        if word[-1].isalpha() and len(word) <= LONGEST:
            words.setdefault(word.casefold(), word)
    return [Noun(word, word) for word in words.values()]


def _language(words: Iterable[str]) -> _Language:
    """The one with most function words among lower-case ``words``; of equals the first."""
    count = Counter(words)
    return max((_ENGLISH, _GERMAN, _DUTCH), key=lambda known: sum(count[word] for word in known.function_words.split()))


def _tagged_nouns(words: list[str], language: _Language) -> Iterator[Noun]:
    tagged = _tagger(language).tag_sent(words)
    foreign = [False, *(tag == language.foreign for _, _, tag in tagged), False]
    for (surface, lemma, tag), before, alone, after in zip(tagged, foreign, foreign[1:], foreign[2:], strict=False):
        if not surface[-1].isalpha():
            continue
        if tag.startswith(language.nouns):
            yield Noun(surface, lemma)
        elif alone and not before and not after:
            yield Noun(surface, surface)
