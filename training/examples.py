"""Write the example scenes that come with the page: ``python -m training.examples``."""

import argparse
import json
from pathlib import Path

from resprune.world import Composer, Plan

# Seeds and sorts of scene picked by eye, and questions that each scene answers. The first ones of penguins, robots,
# truck and octopuses are kept because pruning to 16 tokens gets them wrong, with mass too, where all tokens are right.
EXAMPLES: tuple[tuple[str, int, Plan | None, tuple[str, ...]], ...] = (
    ("cake", 28, "odd", ("What animal is in the picture?", "Which one is the odd one out?")),
    (
        "penguins",
        12,
        "herd",
        ("What is to the right of the cross?", "What does the sign say?", "How many penguins are there?"),
    ),
    ("lion", 23, "odd", ("Where is the spider?", "Is there a guitar in the picture?")),
    ("robots", 11, None, ("What is at the bottom right?", "What is in the picture?", "How many robots are there?")),
    ("accordion", 20, None, ("What is at the top right?", "What colour is the square?")),
    ("truck", 10, None, ("What is below the circle?", "What vehicle is in the picture?", "What does the sign say?")),
    ("backpack", 16, None, ("What colour is the cross?", "What is at the top left?")),
    ("octopuses", 21, None, ("What is to the right of the shirt?", "Where is the shirt?")),
    ("ducks", 26, None, ("Are there more ducks or more ants?", "Where is the factory?")),
    ("ambulance", 31, None, ("What is above the ambulance?", "Is there a truck in the picture?")),
    ("crowd", 29, "crowd", ("Is there a snowman in the picture?", "How many hammers are there?")),
    ("market", 19, "crowd", ("Where is the turtle?", "Is there a guitar in the picture?")),
    ("snail", 30, None, ("What colour is the dog?", "Who painted this picture?")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("assets/examples"))
    parser.add_argument("--sprites", type=Path, default=Path("assets/sprites"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for old in args.out.glob("*.png"):
        old.unlink()
    composer = Composer(args.sprites)
    listing = []
    for name, seed, plan, questions in EXAMPLES:
        composer.scene((4343, seed), plan=plan).image().save(args.out / f"{name}.png", optimize=True)
        listing.append({"image": f"{name}.png", "question": questions[0], "more": questions[1:]})
    (args.out / "examples.json").write_text(json.dumps(listing, indent=1) + "\n")


if __name__ == "__main__":
    main()
