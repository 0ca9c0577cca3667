"""From a question to relevance: the prompt, its nouns, and their cosine with each visual token."""

from resprune.question.batch import collate
from resprune.question.nouns import Noun, find_nouns, find_words
from resprune.question.prompt import build_inputs, holds_control, question_of
from resprune.question.relevance import FLOOR, Relevance, noun_embeddings, relevance, token_embeddings

__all__ = [
    "FLOOR",
    "Noun",
    "Relevance",
    "build_inputs",
    "collate",
    "find_nouns",
    "find_words",
    "holds_control",
    "noun_embeddings",
    "question_of",
    "relevance",
    "token_embeddings",
]
