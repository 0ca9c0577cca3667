"""Nouns of questions, their embeddings, and the relevance of visual tokens to them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tiny import BOS, EOS, tiny_tokenizer
from tokenizers import Tokenizer, models, normalizers, processors
from torch import nn
from transformers import PreTrainedTokenizerFast

from resprune.question.nouns import Noun, find_nouns, find_words
from resprune.question.relevance import noun_embeddings, relevance, token_embeddings

ENDS = [("<s>", BOS), ("</s>", EOS)]


def lemmas(text: str) -> list[str]:
    return [noun.lemma for noun in find_nouns(text)]


@pytest.mark.parametrize(
    ("question", "nouns"),
    [
        ("What animal is in the picture?", ["animal", "picture"]),
        ("How many dogs are there?", ["dog"]),
        ("How many penguins are next to the red car?", ["penguin", "car"]),
        ("What is to the left of the guitar?", ["left", "guitar"]),
        ("What is left of the guitar?", ["guitar"]),
        ("Is there a saxophone in the picture?", ["saxophone", "picture"]),
        ("What colour is the triangle?", ["colour", "triangle"]),
        ("what shape is red ?", ["shape"]),
        ("WHAT ANIMAL IS IN THE PICTURE?", ["animal", "picture"]),
        ("Is he taller than she is?", []),
        ("What is this?", []),
        ("What's in the picture? Isn't it a cat's tail?", ["picture", "cat", "tail"]),
        ("Is there a dog? Are there two dogs?", ["dog"]),
        ("Where is London?", ["London"]),
        ("Is there a taco in the picture?", ["taco", "picture"]),
        ("tofu is here, is it not?", ["tofu"]),
        ("is there a bonsai", ["bonsai"]),
        ("Are there 3 dogs, a cat, a cow, or a dog?", ["dog", "cat", "cow"]),
        ("Was ist links vom Hund?", ["Hund"]),
        ("WAS IST LINKS VOM HUND?", ["Hund"]),
        ("Wie viele Hunde sind auf dem Bild?", ["Hund", "Bild"]),
        ("Welche Farbe hat das Auto neben den Häusern?", ["Farbe", "Auto", "Haus"]),
        ("Ist da ein Taco?", ["Taco"]),
        ("Wat is links van de gitaar?", ["gitaar"]),
        ("Hoeveel honden staan er op de foto?", ["hond", "foto"]),
        ("Welke kleur heeft de auto?", ["kleur", "auto"]),
    ],
)
def test_nouns_in_three_languages(question, nouns):
    assert lemmas(question) == nouns


def test_the_surface_is_what_was_typed():
    assert find_nouns("Are the Dogs and dogs near Häuser?")[0] == Noun("Dogs", "dog")
    assert find_nouns("the cat\u2019s tail") == [Noun("cat", "cat"), Noun("tail", "tail")]


def test_every_noun_of_the_bundled_vocabulary_is_found():
    for noun in ("giraffe", "octopus", "broccoli", "doughnut", "watermelon", "eggplant", "accordion", "wrench", "kite"):
        assert find_nouns(f"Is there a {noun} in the picture?")[0] == Noun(noun, noun)
    for noun in ("cherries", "grapes", "scissors", "glasses", "jeans"):
        assert [found.surface for found in find_nouns(f"Where are the {noun}?")] == [noun]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n",
        "?",
        "12 + 13 = 25",
        "犬はどこですか",
        "Где собака?",
        "أين الكلب؟",
        "🐶🐱",
        "Où est le chien noir ?",
    ],
)
def test_no_noun_where_none_can_be_read(text):
    assert find_nouns(text) == []


def test_nouns_among_what_cannot_be_read():
    assert lemmas("🐶 is there a dog 犬 in\nthe picture??!! 12") == ["dog", "picture"]


def test_long_texts():
    assert find_nouns("a" * 4000) == []
    assert lemmas("dog " * 1000) == ["dog"]
    assert lemmas("x" * 41 + " in the picture") == ["picture"]
    assert lemmas("the " + "x" * 40 + " in the picture") == ["x" * 40, "picture"]


def test_all_words_in_order_once_and_as_they_stand():
    text = "Isn\u2019t the Dog near the dog's 3 e\u0301clairs; and " + "y" * 40 + " " + "z" * 41 + "?"
    words = ["Is", "n't", "the", "Dog", "near", "'s", "\u00e9clairs", "and", "y" * 40]
    assert find_words(text) == [Noun(word, word) for word in words]
    assert find_words("犬 12 ?") == find_words("") == []


@examples(derandomize=True, deadline=None, max_examples=150)
@given(st.text(max_size=60) | st.text("abzäßœÿİ\u0131ŉǆ'\u2019-.?! \n1", max_size=60))
def test_any_text_is_read_twice_alike(text):
    nouns = find_nouns(text)
    assert find_nouns(text) == nouns
    assert len({noun.lemma.casefold() for noun in nouns}) == len(nouns)
    assert all(noun.lemma and noun.surface for noun in nouns)


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """A tokenizer that puts its own mark before the first word, as Llama's does."""
    words = ["<unk>", "▁", "▁a", "▁dog", "▁penguin", "▁penguins", "s", "▁gr", "ape", "▁grapes"]
    pieces = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    pieces.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    unigram = models.Unigram([(word, -float(len(words) - len(word))) for word in words], unk_id=0)
    pieces.model = unigram
    return PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="<unk>")


def test_a_noun_is_embedded_as_it_stands_inside_a_sentence():
    for tokenizer in (tiny_tokenizer(), sentencepiece_like()):
        embedding = nn.Embedding(len(tokenizer), 7)
        before = tokenizer("a", add_special_tokens=False).input_ids
        after = tokenizer("a dog", add_special_tokens=False).input_ids[len(before) :]
        vector = noun_embeddings([Noun("dogs", "dog")], tokenizer, embedding)
        torch.testing.assert_close(vector[0], embedding.weight[after].mean(0))
        assert not set(after) & set(tokenizer.all_special_ids)


def test_the_lemma_is_embedded_unless_the_word_itself_is_shorter():
    tokenizer = sentencepiece_like()
    vocabulary = tokenizer.get_vocab()
    embedding = nn.Embedding(len(tokenizer), 7, dtype=torch.bfloat16)
    vectors = noun_embeddings([Noun("penguins", "penguin"), Noun("grapes", "grape")], tokenizer, embedding)
    assert torch.equal(vectors[0], embedding.weight[vocabulary["▁penguin"]].float())
    assert torch.equal(vectors[1], embedding.weight[vocabulary["▁grapes"]].float())
    assert vectors.dtype == torch.float32
    assert not vectors.requires_grad


def test_no_nouns_have_no_embeddings():
    assert noun_embeddings([], tiny_tokenizer(), nn.Embedding(9, 7)).shape == (0, 7)


def test_a_noun_that_cannot_be_spelled_is_relevant_to_nothing():
    silent = Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[]))  # drops what it does not know
    vectors = noun_embeddings(
        [Noun("dog", "dog")], PreTrainedTokenizerFast(tokenizer_object=silent), nn.Embedding(2, 7)
    )
    assert not vectors.any()
    assert (relevance(torch.randn(5, 7), vectors).combined == 1).all()


def test_relevance_is_the_largest_cosine_brought_to_one():
    features = torch.tensor([[1.0, 0], [1, 1], [0, 3], [-2, 0], [0, -1]])
    result = relevance(features, torch.tensor([[2.0, 0], [-1, 1]]))
    half = math.sqrt(0.5)
    wanted = torch.tensor([[1, half, 0, -1, 0], [-half, 0, half, half, -half]])
    torch.testing.assert_close(result.per_noun, wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(result.combined, torch.tensor([1, half, half, half, 1e-6]))


def test_relevance_is_stretched_to_the_whole_range():
    features = nn.functional.normalize(torch.randn(50, 8) + 5, dim=1)
    result = relevance(features.bfloat16(), torch.ones(1, 8).bfloat16())
    assert result.per_noun.min() > 0.5
    assert result.combined.aminmax() == (pytest.approx(1e-6), 1)
    assert result.combined.argsort().equal(result.per_noun[0].argsort())
    assert result.per_noun.dtype == result.combined.dtype == torch.float32


def test_relevance_without_any_difference_is_one():
    features = torch.randn(1, 6).repeat(4, 1)
    for nouns in (features[:2], -features[:2], torch.zeros(0, 6)):
        assert (relevance(features, nouns).combined == 1).all()
    assert relevance(features, torch.zeros(0, 6)).per_noun.shape == (0, 4)


def test_an_empty_token_is_relevant_to_nothing():
    result = relevance(torch.tensor([[0.0, 0], [1, 0]]), torch.tensor([[1.0, 0]]))
    assert result.combined.tolist() == pytest.approx([1e-6, 1])


def test_special_tokens_that_a_tokenizer_adds_are_no_part_of_a_noun():
    tokenizer = tiny_tokenizer()
    embedding = nn.Embedding(len(tokenizer), 7)
    known = noun_embeddings([Noun("dog", "dog")], tokenizer, embedding)
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ENDS)
    assert tokenizer("a").input_ids[-1] == EOS
    assert torch.equal(noun_embeddings([Noun("dog", "dog")], tokenizer, embedding), known)


def test_tokens_of_a_question_are_embedded_one_by_one_without_special_ones():
    tokenizer = tiny_tokenizer()
    embedding = nn.Embedding(len(tokenizer), 7, dtype=torch.bfloat16)
    ids = tokenizer("Is there a dog?", add_special_tokens=False).input_ids
    vectors = token_embeddings("Is there a dog?", tokenizer, embedding)
    assert torch.equal(vectors, embedding.weight[ids].float()) and vectors.dtype == torch.float32
    assert not vectors.requires_grad
    assert token_embeddings("", tokenizer, embedding).shape == (0, 7)


@pytest.mark.parametrize(
    ("pooling", "wanted"),
    [("max", [1, 0.6, 1, 0]), ("mean", [0.5, 0.6, 0.5, 0]), ("pooled", [0.8, 0.84, 0.6, 0])],
)
def test_the_cosines_with_several_nouns_are_pooled_as_the_settings_say(pooling, wanted):
    features = torch.tensor([[2.0, 0, 0], [0.6, 0.6, math.sqrt(0.28)], [0, 5, 0], [-1, -1, 0]])
    nouns = torch.tensor([[4.0, 0, 0], [0, 3, 0]])  # of other lengths, which count in the mean of "pooled" alone
    result = relevance(features, nouns, pooling)
    torch.testing.assert_close(result.cosine, torch.tensor(wanted), rtol=0, atol=1e-6)
    stretched = ((result.cosine - result.cosine.min()) / (result.cosine.max() - result.cosine.min())).clamp_min(1e-6)
    torch.testing.assert_close(result.combined, stretched)


def test_cosines_are_not_stretched_and_never_negative():
    features = torch.tensor([[1.0, 0], [1, 1], [-1, 0]])
    result = relevance(features, torch.tensor([[1.0, 0]]))
    assert result.cosine.tolist() == pytest.approx([1, math.sqrt(0.5), 0])
    assert relevance(features, torch.zeros(0, 2)).cosine.tolist() == [0, 0, 0]


def test_no_gradient_is_kept():
    features, nouns = torch.randn(4, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    result = relevance(features, nouns)
    assert not (result.per_noun.requires_grad or result.combined.requires_grad or result.cosine.requires_grad)


@pytest.mark.parametrize("pooling", ["max", "pooled"])
def test_features_of_length_zero_have_no_cosine(pooling):
    result = relevance(torch.zeros(2, 3), torch.ones(1, 3), pooling)
    assert result.cosine.tolist() == [0, 0] and result.per_noun.tolist() == [[0, 0]]


@pytest.mark.parametrize("pooling", ["max", "mean", "pooled"])
def test_the_length_of_features_plays_no_part(pooling):
    features, nouns = torch.randn(20, 8), torch.randn(3, 8)
    result, short = relevance(features, nouns, pooling), relevance(features / 1000, nouns, pooling)
    for name in ("per_noun", "cosine", "combined"):
        torch.testing.assert_close(getattr(short, name), getattr(result, name), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pooling", ["max", "mean", "pooled"])
@pytest.mark.parametrize("count", [0, 2])
def test_relevance_is_where_the_features_are(pooling, count):
    result = relevance(torch.ones(4, 3, device="meta"), torch.ones(count, 3), pooling)
    assert {values.device.type for values in (result.per_noun, result.cosine, result.combined)} == {"meta"}


def test_embeddings_are_where_the_models_are():
    tokenizer = tiny_tokenizer()
    embedding = nn.Embedding(len(tokenizer), 7, device="meta")
    given = []
    embedding.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0].device.type))
    assert noun_embeddings([Noun("dog", "dog")], tokenizer, embedding).device.type == "meta"
    assert token_embeddings("a dog", tokenizer, embedding).device.type == "meta"
    assert given == ["meta", "meta"]
