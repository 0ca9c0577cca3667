"""The bundled model's tokenizer and processor: byte-level BPE in which every noun of the scenes is one token."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

from resprune.world import (
    ABOUT_PRESENT,
    ABOUT_STRANGERS,
    CANNOT_TELL,
    COLOURS,
    DIRECTIONS,
    LARGER,
    NUMBERS,
    OUTSIDE,
    PHRASINGS,
    PLACES,
    SMALLER,
    Composer,
    kept_for_tests,
    no_such,
    plural,
    sentence,
    with_article,
)

SPECIAL = ("<pad>", "<s>", "</s>", "<image>")
VOCABULARY = 1536
# Capital letters follow one another on signs only, so that each letter read there is one token.
USER, ASSISTANT = "User: ", "Assistant:"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}" + USER + "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %} "
    "{% elif message['role'] == 'assistant' %}" + ASSISTANT + " {% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)


def build_tokenizer(composer: Composer) -> PreTrainedTokenizerFast:
    """A tokenizer that can represent any string, trained on the sentences about scenes.

    Raises:
        ValueError: if some noun, or some plural of other than noun + ending, is not one token, on which the alignment
            of patches and words relies; or if a word on a sign is not one token a letter.
    """
    lines = corpus(composer)
    tokenizer = _trained(lines)
    while cut := _cut_plurals(tokenizer, composer):
        # Plurals that would be cut inside the noun become tokens of their own, which may cut others: until none is.
        lines += [f" {plural(word)}" for word in cut for _ in range(60)]
        tokenizer = _trained(lines)
    nouns = [*composer.words, *dict.fromkeys(composer.categories), "picture", "image", "background"]
    split = [word for word in nouns if len(tokenizer.encode(" " + word)) != 1]
    if split or len(tokenizer.encode("STATION")) != 7:
        raise ValueError(f"These words are cut into tokens otherwise than they should be: {', '.join(split)}.")
    return tokenizer


def _trained(lines: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="left",
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        extra_special_tokens=["<image>"],
    )


def _cut_plurals(tokenizer: PreTrainedTokenizerFast, composer: Composer) -> list[str]:
    """Nouns whose plural is neither one token nor the noun's and an ending."""
    found = {word: tokenizer.encode(" " + plural(word)) for word in composer.words}
    return [w for w, ids in found.items() if len(ids) > 1 and ids[0] != tokenizer.encode(" " + w)[0]]


def corpus(composer: Composer) -> list[str]:
    """Every sentence form with every noun: what the tokenizer is trained on."""
    lines = []
    for word in composer.words:
        lines += [f" {word}", f" {with_article(word)},", f" the {word}?", f" {with_article(word)} and"] * 8
        lines += [f" Where is the {word}?", f"Is there {with_article(word)} in the picture?", no_such(word)]
    frame = {
        "a": "a thing",
        "n": "thing",
        "m": "thing",
        "ns": "",
        "ms": "",
        "p": "top left",
        "r": "to the left of",
        "s": "larger",
        "colour": "red",
        "c": "animal",
    }
    forms = [form for forms in PHRASINGS.values() for form in forms]
    forms += [*ABOUT_STRANGERS, *ABOUT_PRESENT, *kept_for_tests(OUTSIDE, False), CANNOT_TELL, 'It says "', "More ."]
    lines += [form.format(**frame) for form in forms] * 40
    names = [*COLOURS, *NUMBERS, *PLACES, *DIRECTIONS, *LARGER, *SMALLER, *dict.fromkeys(composer.categories)]
    names += ["some", "any", "background", "picture", "image"]
    lines += [f" {name}" for name in names for _ in range(40)]
    lines += [
        f" {sentence(name)}"
        for name in [*COLOURS, *NUMBERS, *PLACES, "yes", "no", "a", "an", "some", "the"]
        for _ in range(40)
    ]
    lines += [f"{USER}{ASSISTANT}", f"{USER}\n {ASSISTANT}"] * 40
    return lines


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """LLaVA-1.5's processor: 336 px, centre crop, 576 visual tokens a picture."""
    return LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=CHAT_TEMPLATE,
    )
