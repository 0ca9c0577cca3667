"""Render the emoji that scenes are made of: one picture a style, one cell a noun, into ``assets/sprites``.

    npm install --prefix build/npm @iconify-json/{noto,twemoji,emojione,fxemoji,fluent-emoji-flat}
    python -m training.sprites --icons build/npm/node_modules/@iconify-json

Needed only to add nouns or styles: what it makes is in the repository.
"""

import argparse
import io
import json
from pathlib import Path

from PIL import Image

CELL = 128
COLUMNS = 11
STYLES = ("noto", "twemoji", "emojione", "fxemoji", "fluent-emoji-flat")

# Category -> nouns; "noun=icon|icon" where a pack names the drawing otherwise.
NOUNS = {
    "animal": "dog=dog|dog-face|dogface cat horse cow pig rabbit mouse elephant "
    "camel=camel|bactriancamel|two-hump-camel snake turtle frog fish whale dolphin octopus snail butterfly "
    "bee=honeybee|bee ant spider crab lobster duck owl eagle penguin parrot flamingo bat panda monkey gorilla "
    "lion tiger zebra giraffe crocodile lizard hedgehog fox goat shark",
    "fruit": "apple=red-apple|redapple banana grapes watermelon lemon pineapple mango pear peach cherries strawberry "
    "coconut",
    "food": "bread hamburger pizza taco cookie doughnut carrot broccoli corn=ear-of-corn|earofmaize mushroom avocado "
    "eggplant cake=birthday-cake|birthdaycake",
    "vehicle": "car=automobile|oncomingautomobile bus truck=delivery-truck|deliverytruck tractor bicycle motorcycle "
    "train=locomotive|steamlocomotive airplane helicopter rocket sailboat scooter=kick-scooter",
    "instrument": "guitar violin trumpet drum saxophone accordion",
    "tool": "hammer wrench axe scissors key magnet",
    "garment": "shirt=t-shirt|tshirt dress jeans scarf crown boot=womans-boot|womansboots glasses",
    "object": "chair bed door toilet candle umbrella camera balloon kite trophy anchor",
}


def concepts() -> list[tuple[str, str, list[str]]]:
    """``(noun, category, icon names to try)`` of every noun."""
    found = []
    for category, words in NOUNS.items():
        for word in words.split():
            noun, _, icons = word.partition("=")
            found.append((noun, category, [*icons.split("|"), noun] if icons else [noun]))
    return found


def drawing(pack: dict, names: list[str]) -> str | None:
    """The first of ``names`` that an icon pack holds, as a square SVG."""
    for name in [*names, *(n.replace("-", "") for n in names)]:
        name = pack.get("aliases", {}).get(name, {}).get("parent", name)
        if icon := pack["icons"].get(name):
            width = icon.get("width", pack.get("width", 16))
            height = icon.get("height", pack.get("height", 16))
            side = max(width, height)
            left = icon.get("left", 0) - (side - width) / 2
            top = icon.get("top", 0) - (side - height) / 2
            return (
                f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="{left} {top} {side} {side}" width="{side}" height="{side}">{icon["body"]}</svg>'
            )
    return None


def render(svg: str) -> Image.Image:
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=CELL, height=CELL))
    return Image.open(io.BytesIO(png)).convert("RGBA")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--icons", type=Path, required=True, help="folder that holds the icon packs")
    parser.add_argument("--out", type=Path, default=Path("assets/sprites"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    known = concepts()
    index = {
        "cell": CELL,
        "columns": COLUMNS,
        "nouns": [{"word": noun, "category": category} for noun, category, _ in known],
        "styles": {},
    }
    for style in STYLES:
        pack = json.loads((args.icons / style / "icons.json").read_text())
        info = json.loads((args.icons / style / "info.json").read_text())
        sheet = Image.new("RGBA", (COLUMNS * CELL, -(-len(known) // COLUMNS) * CELL))
        missing = []
        for i, (noun, _, names) in enumerate(known):
            svg = drawing(pack, names)
            if svg is None:
                missing.append(noun)
                continue
            sheet.paste(render(svg), (i % COLUMNS * CELL, i // COLUMNS * CELL))
        sheet.save(args.out / f"{style}.png", optimize=True)
        index["styles"][style] = {"missing": missing, "license": info["license"], "author": info["author"]}
        print(style, "missing", missing)
    (args.out / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
