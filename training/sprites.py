"""Render what scenes are made of into ``assets/sprites``: emoji, one picture a style, and the letters of signs.

    npm install --prefix build/npm @iconify-json/{noto,twemoji,emojione,fxemoji,fluent-emoji-flat} \\
        @fontsource/{roboto-slab,oswald,courier-prime,lato,comic-neue}
    python -m training.sprites --packages build/npm/node_modules

Needed only to add nouns, styles or fonts: what it makes is in the repository.
"""

import argparse
import io
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CELL = 128
COLUMNS = 11
GLYPHS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
GLYPH_CELL = 64  # pixels, in which a capital letter is 48 high
FONTS = {
    "roboto-slab": ("Apache 2.0", "Christian Robertson"),
    "oswald": ("SIL OFL 1.1", "The Oswald Project Authors"),
    "courier-prime": ("SIL OFL 1.1", "The Courier Prime Project Authors"),
    "lato": ("SIL OFL 1.1", "Lukasz Dziedzic"),
    "comic-neue": ("SIL OFL 1.1", "The Comic Neue Project Authors"),
}
STYLES = ("noto", "twemoji", "emojione", "fxemoji", "fluent-emoji-flat")

# Category -> nouns; "noun=icon|icon" where a pack names the drawing otherwise.
NOUNS = {
    "animal": "dog=dog|dog-face|dogface cat horse cow pig rabbit mouse elephant "
    "camel=camel|bactriancamel|two-hump-camel snake turtle frog fish whale dolphin octopus snail butterfly "
    "bee=honeybee|bee ant spider crab lobster duck owl eagle penguin parrot flamingo bat panda monkey gorilla "
    "lion tiger zebra giraffe crocodile lizard hedgehog fox goat shark bear=bear|bear-face|bearface koala "
    "unicorn=unicorn|unicorn-face rooster squid scorpion",
    "fruit": "apple=red-apple|redapple banana grapes watermelon lemon pineapple mango pear peach cherries strawberry "
    "coconut",
    "food": "bread hamburger pizza taco cookie doughnut carrot broccoli corn=ear-of-corn|earofmaize mushroom avocado "
    "eggplant cake=birthday-cake|birthdaycake egg=cooking popcorn tomato croissant candy cheese=cheese-wedge",
    "vehicle": "car=automobile|oncomingautomobile bus truck=delivery-truck|deliverytruck tractor bicycle motorcycle "
    "train=locomotive|steamlocomotive airplane helicopter rocket sailboat scooter=kick-scooter ambulance taxi ship",
    "instrument": "guitar violin trumpet drum saxophone accordion piano=musical-keyboard",
    "tool": "hammer wrench axe scissors key magnet pencil knife=kitchen-knife",
    "garment": "shirt=t-shirt|tshirt dress jeans scarf crown boot=womans-boot|womansboots glasses hat=top-hat necktie "
    "backpack=backpack|schoolsatchel kimono",
    "furniture": "chair bed door toilet bathtub couch=couch-and-lamp",
    "building": "house castle=castle|europeancastle church factory tent stadium",
    "face": "ghost alien skull baby clown=clown-face robot",
    "plant": "cactus rose sunflower tulip tree=deciduous-tree",
    "object": "candle umbrella camera balloon kite trophy anchor bell book=closed-book clock=alarm-clock "
    "gift=wrapped-gift heart=red-heart bomb telephone=telephone|blacktelephone snowman=snowman-without-snow",
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


def lettering(files: Path) -> tuple[Image.Image, list[int]]:
    """One row of glyphs, white on black, and the width of each in pixels; ``files`` is a font package."""
    font_file = str(next(files.glob("files/*-latin-700-normal.woff")))
    tall = ImageFont.truetype(font_file, 100).getbbox("H", anchor="ls")
    font = ImageFont.truetype(font_file, round(100 * 48 / -tall[1]))
    row = Image.new("L", (len(GLYPHS) * GLYPH_CELL, GLYPH_CELL))
    widths = []
    for i, glyph in enumerate(GLYPHS):
        left, _, right, _ = font.getbbox(glyph, anchor="ls")
        cell = Image.new("L", (GLYPH_CELL, GLYPH_CELL))
        ImageDraw.Draw(cell).text((2 - left, 56), glyph, font=font, fill=255, anchor="ls")
        row.paste(cell, (i * GLYPH_CELL, 0))
        widths.append(min(GLYPH_CELL, round(right - left) + 4))
    return row, widths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True, help="folder of node modules")
    parser.add_argument("--out", type=Path, default=Path("assets/sprites"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    known = concepts()
    index = {
        "cell": CELL,
        "columns": COLUMNS,
        "nouns": [{"word": noun, "category": category} for noun, category, _ in known],
        "styles": {},
        "glyphs": {"characters": GLYPHS, "cell": GLYPH_CELL, "fonts": {}},
    }
    for style in STYLES:
        folder = args.packages / "@iconify-json" / style
        pack = json.loads((folder / "icons.json").read_text())
        info = json.loads((folder / "info.json").read_text())
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
    glyphs = Image.new("L", (len(GLYPHS) * GLYPH_CELL, len(FONTS) * GLYPH_CELL))
    for i, (name, (license_, author)) in enumerate(FONTS.items()):
        row, widths = lettering(args.packages / "@fontsource" / name)
        glyphs.paste(row, (0, i * GLYPH_CELL))
        index["glyphs"]["fonts"][name] = {"widths": widths, "license": license_, "author": author}
    glyphs.save(args.out / "glyphs.png", optimize=True)
    (args.out / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
