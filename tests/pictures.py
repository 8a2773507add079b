"""The pictures of docs/pictures: `cwrnn report` on a desk, on a phone, in the dark and on paper.

``python -m tests.pictures PUBLISHED QUICK``: pages of `cwrnn report results` and of `cwrnn compare
--all --quick` with nothing but stand-ins, whose ink may be shown. Needs Debian's chromium, and its
poppler-utils for the pages on paper.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tests.browser import Browser, browser

PLACE = Path(__file__).parents[1] / "docs" / "pictures"
_WIDTH, _PHONE, _HEIGHT = 1280, 390, 1298
_MARGIN, _BEHIND = 24, (120, 124, 130)
_TOP = """
Math.round(
  [...document.querySelectorAll("h2, h3")].find(e => e.textContent.trim() == {!r})
    .getBoundingClientRect().top + scrollY
)
"""


def beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Several in a row, on grey."""
    wide = sum(each.width for each in pictures) + _MARGIN * (len(pictures) + 1)
    found = Image.new("RGB", (wide, max(each.height for each in pictures) + 2 * _MARGIN), _BEHIND)
    left = _MARGIN
    for each in pictures:
        found.paste(each, (left, _MARGIN))
        left += each.width + _MARGIN
    return found


def shot(page: Browser, place: Path, top: int, width: int, height: int) -> Image.Image:
    """A part of the page."""
    page.screenshot(place / "shot.png", x=0, y=top, width=width, height=height)
    with Image.open(place / "shot.png") as found:
        return found.convert("RGB")


def on_paper(page: Browser, place: Path, numbers: Sequence[int]) -> list[Image.Image]:
    """Some of its pages."""
    page.pdf(place / "page.pdf")
    found = []
    for number in numbers:
        only = ("-f", str(number), "-l", str(number), "-singlefile")
        words = ["pdftoppm", "-r", "96", "-png", *only, "page.pdf", "sheet"]
        subprocess.run(words, cwd=place, check=True)
        with Image.open(place / "sheet.png") as sheet:
            found.append(sheet.convert("RGB"))
    return found


def take(published: Path, quick: Path, place: Path) -> dict[str, Image.Image]:
    """Name -> picture."""
    found = {}
    with browser(place / "profile") as page:
        page.open(published, _WIDTH, _WIDTH)
        found["desktop"] = shot(page, place, 0, _WIDTH, _WIDTH)
        page.open(quick, _PHONE, _HEIGHT)
        tops = [0, page.ask(_TOP.format("Figure 5")) - _MARGIN]
        found["phone"] = beside([shot(page, place, top, _PHONE, _HEIGHT) for top in tops])
        page.open(quick, _WIDTH, _WIDTH, dark=True)
        parts = []
        for title, height in (("Figure 5", 800), ("Ink, and what was read", 800)):
            top = page.ask(_TOP.format(title)) - _MARGIN
            parts.append(shot(page, place, top, _WIDTH, height))
        whole = Image.new("RGB", (_WIDTH, sum(part.height for part in parts)))
        whole.paste(parts[0], (0, 0))
        whole.paste(parts[1], (0, parts[0].height))
        found["dark"] = whole
        page.open(quick, _WIDTH, _WIDTH)
        found["print"] = beside(on_paper(page, place, (1, 7, 12)))
    return found


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser("pictures", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("published", type=Path)
    parser.add_argument("quick", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for name, picture in take(options.published, options.quick, Path(place)).items():
            picture.save(PLACE / f"report-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
