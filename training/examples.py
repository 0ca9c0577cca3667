"""Write the example scenes that come with the page: ``python -m training.examples``."""

import argparse
import json
from pathlib import Path

from resprune.evaluate.scenes import Composer

# Seeds picked by eye; the questions are ones that each scene answers.
EXAMPLES = (
    ("butterfly", 25, "Where is the butterfly?"),
    ("cars", 14, "How many cars are there?"),
    ("duck", 6, "What is in the picture?"),
    ("rabbits", 9, "Is there a guitar in the picture?"),
    ("penguin", 10, "What animal is in the picture?"),
    ("zebra", 19, "What colour is the circle?"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("assets/examples"))
    parser.add_argument("--sprites", type=Path, default=Path("assets/sprites"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    composer = Composer(args.sprites)
    listing = []
    for name, seed, question in EXAMPLES:
        composer.scene((4242, seed)).image().save(args.out / f"{name}.png", optimize=True)
        listing.append({"image": f"{name}.png", "question": question})
    (args.out / "examples.json").write_text(json.dumps(listing, indent=1) + "\n")


if __name__ == "__main__":
    main()
