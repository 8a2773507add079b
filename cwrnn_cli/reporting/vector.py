"""Figures as SVG that stands in the text of an HTML page and takes its colours from there.

What is drawn is what the PNG files show (:mod:`.figures` and the tasks' own). Black, greys and
white become the page's custom properties, so that a figure is readable on a light page and a dark
one; letters stay letters, in the page's font.
"""

import re
from collections.abc import Callable
from io import StringIO
from itertools import count
from typing import Any

# matplotlib's defaults and ours -> custom properties of a page's style sheet
_COLOURS = {
    "#000000": "--ink",
    "#222222": "--ink",
    "#444444": "--soft",
    "#808080": "--soft",
    "#b0b0b0": "--line",
    "#cccccc": "--line",
    "#ffffff": "--card",
}
_PLACES = 2  # of coordinates, in points
_numbers = count(1)  # of figures, as names in a page must differ
_SAVED: Any = {"transparent": True, "bbox_inches": "tight", "metadata": {"Date": None}}
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cwrnn",
    "path.simplify": True,
    "path.simplify_threshold": 0.2,
}


def svg(draw: Callable[[StringIO], Any]) -> str:
    """The element of a figure, without a name for those who do not see it: the page adds it.

    Args:
        draw: a function of :mod:`.figures`, or like those: called with what to write to.
    """
    import matplotlib  # noqa: PLC0415  (slow to import)

    stream = StringIO()
    with matplotlib.rc_context(_SETTINGS):
        draw(stream)
    return slim(stream.getvalue())


def save(figure: Any, stream: StringIO) -> None:
    """Write a figure as SVG without a ground."""
    figure.savefig(stream, format="svg", **_SAVED)


def slim(text: str) -> str:
    """An SVG file as an element of a page.

    Without declarations, comments, metadata, style sheets (they would hold for the whole page) and
    names that nothing refers to; the other names, and those that refer to them, made its own.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.S)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    mark = f"f{next(_numbers)}-"
    own = {name: f"{mark}{i}" for i, name in enumerate(sorted(used))}
    text = re.sub(r' id="([^"]*)"', lambda m: _name(m[1], own), text)
    text = re.sub(r'(url\(#|href="#)([^)"]+)', lambda m: m[1] + own[m[2]], text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r' (?:xmlns:xlink|xmlns|version)="[^"]*"', "", text)
    text = re.sub(r"#[0-9a-f]{6}\b", lambda m: _colour(m[0]), text)
    text = re.sub(r"(font: [^;\"']*?[\d.]+px)[^;\"]*", r"\1 var(--sans)", text)
    text = re.sub(r"<[^>]+>", lambda m: _rounded(m[0]), text)
    # the size is the page's business; the viewBox has the proportions
    text = re.sub(r'<svg([^>]*?) (?:width|height)="[\d.]+pt"', r"<svg\1", text)
    text = re.sub(r'<svg([^>]*?) (?:width|height)="[\d.]+pt"', r"<svg\1", text)
    text = re.sub(r"<defs>\s*</defs>", "", text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def _name(name: str, own: dict[str, str]) -> str:
    return f' id="{own[name]}"' if name in own else ""


def _colour(value: str) -> str:
    return f"var({_COLOURS[value]})" if value in _COLOURS else value


def _rounded(tag: str) -> str:
    """A tag with short coordinates; what is between tags is text."""
    return re.sub(r"-?\d+\.\d{3,}", lambda m: _short(float(m[0])), tag)


def _short(value: float) -> str:
    short = f"{value:.{_PLACES}f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short
