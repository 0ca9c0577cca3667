"""The words of the world's questions and answers."""

from typing import Literal

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
PLURAL = {
    "mouse": "mice",
    "fish": "fish",
    "butterfly": "butterflies",
    "strawberry": "strawberries",
    "knife": "knives",
}
# Nouns that are plural, or that nobody counts: "some grapes", and never "how many".
PLURAL_ONLY = {"grapes", "cherries", "scissors", "jeans", "glasses"}
UNCOUNTED = PLURAL_ONLY | {"bread", "broccoli", "corn", "popcorn", "candy", "cheese"}

Kind = Literal[
    "present", "category", "colour", "shape", "coloured", "where", "place", "count", "relation", "odd", "size", "sign",
    "compare", "describe", "absent", "unknown",
]  # fmt: skip
PHRASINGS: dict[Kind, tuple[str, ...]] = {
    "present": (
        "Is there {a} in the picture?",
        "Is there {a}?",
        "Can you see {a}?",
        "Does the picture show {a}?",
        "Does the image contain {a}?",
    ),
    "category": (
        "What {c} is in the picture?",
        "Which {c} is in the picture?",
        "Which {c} do you see?",
        "What {c} does the picture show?",
        "What is the {c} in the picture?",
    ),
    "colour": (
        "What colour is the {n}?",
        "What color is the {n}?",
        "Which colour does the {n} have?",
        "What is the colour of the {n}?",
    ),
    "shape": ("What shape is {colour}?", "Which shape is {colour}?", "What is the {colour} shape?"),
    "coloured": (
        "Is there {a}?",
        "Is there {a} in the picture?",
        "Can you see {a}?",
        "Does the picture show {a}?",
    ),
    "where": ("Where is the {n}?", "Where in the picture is the {n}?", "Where do you see the {n}?"),
    "place": ("What is at the {p}?", "What is in the {p} of the picture?", "What do you see at the {p}?"),
    "count": (
        "How many {ns} are there?",
        "How many {ns} are in the picture?",
        "How many {ns} do you see?",
        "Count the {ns}.",
    ),
    "relation": ("What is {r} the {n}?", "Which thing is {r} the {n}?", "What do you see {r} the {n}?"),
    "odd": ("Which one is the odd one out?", "What does not belong here?", "Which thing is different?"),
    "size": ("Which is {s}, the {n} or the {m}?", "What is {s}, the {n} or the {m}?", "Is the {n} or the {m} {s}?"),
    "sign": ("What does the sign say?", "What is written on the sign?", "Read the sign."),
    "compare": ("Are there more {ns} or more {ms}?", "Of which are there more, {ns} or {ms}?"),
    "describe": ("What is in the picture?", "Describe the picture.", "What do you see?", "What does the picture show?"),
    "absent": (
        "What is the {n} wearing?",
        "Where is the {n}?",
        "What colour is the {n}?",
        "What is {r} the {n}?",
        "What is the {n} doing?",
        "How many {ns} are there?",
        "How many {ns} do you see?",
    ),
    "unknown": (),
}
KINDS: tuple[Kind, ...] = tuple(PHRASINGS)
LARGER, SMALLER = ("larger", "bigger"), ("smaller",)
DIRECTIONS = {"to the left of": (-1, 0), "to the right of": (1, 0), "above": (0, -1), "below": (0, 1)}
PLACES = {
    "top left": (0.0, 0.0),
    "top": (0.5, 0.0),
    "top right": (1.0, 0.0),
    "left": (0.0, 0.5),
    "middle": (0.5, 0.5),
    "right": (1.0, 0.5),
    "bottom left": (0.0, 1.0),
    "bottom": (0.5, 1.0),
    "bottom right": (1.0, 1.0),
}
CORNERS = tuple(p for p in PLACES if " " in p)

CANNOT_TELL = "I cannot tell: I know only simple scenes."
# What nothing in a scene answers. The last quarter of each list is kept for tests.
OUTSIDE = (
    "Who painted this picture?",
    "What is the weather like?",
    "What time is it?",
    "Who are you?",
    "How old are you?",
    "What is two plus two?",
    "What is the capital of France?",
    "Write a poem.",
    "Tell me a joke.",
    "Why is it here?",
    "How much does it cost?",
    "When was this picture taken?",
    "Which city is this?",
    "What happens next?",
    "Is it dangerous?",
    "Who won the match?",
    "What is your name?",
    "How are you?",
    "Translate this to German.",
    "What does it smell like?",
    "Is the picture beautiful?",
    "Where was it made?",
    "What is the mood of the picture?",
    "Who is the president?",
    "How do I cook it?",
    "What should I wear today?",
    "Explain the joke.",
    "Is this art?",
    "What is the meaning of life?",
    "Sing a song.",
    "How heavy is it?",
    "What sound does it make?",
    "Is it expensive?",
    "What year is it?",
    "Who lives here?",
    "Can I eat it?",
    "What is he thinking?",
    "Is she happy?",
    "Why are they sad?",
    "What language is this?",
    "Who took the photo?",
    "What is it made of?",
    "How far away is it?",
    "Is it raining?",
    "Which film is this?",
    "What brand is it?",
    "What is the story behind it?",
    "Do you like it?",
    "How fast does it go?",
    "What are the ingredients?",
    "Is it a real photo?",
    "Who is the artist?",
    "What is the temperature?",
    "When does it open?",
    "Where can I buy it?",
    "What will he say?",
    "Is it new or old?",
    "How tall is the man?",
    "What is the recipe?",
    "Which season is it?",
    "Who wrote the book?",
    "What is the score?",
    "Is it healthy?",
    "Where are we?",
)
STRANGERS = tuple(
    (
        "computer table river president spoon window phone bottle hand woman man child street mountain lake "
        "road bridge garden plate cup bowl basket carpet lamp shelf printer keyboard screen wallet coin "
        "ticket wheel engine pipe rope ladder bucket shovel helmet glove sock coat belt ring necklace soap "
        "towel brush comb razor needle button fence wall roof tower statue fountain tunnel airport harbour "
        "island desert forest cloud rainbow volcano planet comet dinosaur dragon mermaid vampire wizard "
        "pirate soldier doctor teacher farmer singer dancer judge king queen prince nurse pilot cook baker "
        "butcher painter writer lawyer noodle soup salad rice steak sausage bacon yoghurt chocolate honey "
        "sugar salt pepper garlic onion potato cabbage cucumber pumpkin spinach plum kiwi melon raspberry "
        "blueberry canoe ferry submarine tram caravan skateboard sled parachute swan goose turkey peacock "
        "sparrow pigeon seagull ostrich kangaroo otter badger beaver squirrel hamster wolf deer moose walrus "
        "seal jellyfish starfish worm beetle mosquito wasp dragonfly harp flute clarinet banjo harmonica "
    ).split()
)
ABOUT_STRANGERS = (
    "Is there {a}?",
    "Is there {a} in the picture?",
    "Where is the {n}?",
    "What colour is the {n}?",
    "How many {n}s are there?",
    "Can you see {a}?",
    "What is above the {n}?",
)
ABOUT_PRESENT = ("What is the {n} wearing?", "What is the {n} doing?", "What is the {n} thinking?")


def with_article(word: str) -> str:
    """``"a dog"``, ``"an owl"``, ``"some grapes"``."""
    if word in UNCOUNTED:
        return f"some {word}"
    return f"{'an' if word[0] in 'aeiou' and not word.startswith('uni') else 'a'} {word}"


def plural(word: str) -> str:
    if word in PLURAL or word in UNCOUNTED:
        return PLURAL.get(word, word)
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


def counted(word: str, count: int) -> str:
    """``"a dog"``, ``"some dogs"``, ``"some grapes"``: how many is a question of its own."""
    return with_article(word) if count == 1 else f"some {plural(word)}"


def listed(phrases: list[str]) -> str:
    """``"a dog, some cats and a red circle"``."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def no_such(word: str) -> str:
    return f"There {'are' if word in PLURAL_ONLY else 'is'} no {word}."


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def kept_for_tests(items: tuple[str, ...], held_out: bool) -> tuple[str, ...]:
    """The last quarter, or the rest."""
    cut = len(items) * 3 // 4
    return items[cut:] if held_out else items[:cut]
