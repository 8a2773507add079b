"""The drawings are what the code draws, and the pages that show them are whole."""

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cwrnn_cli.models.ensemble import Ensemble

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


def load():
    spec = importlib.util.spec_from_file_location("draw", DOCS / "draw.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


draw = load()


def test_every_drawing_has_its_code():
    assert {path.name for path in DOCS.glob("*.svg")} == set(draw.DRAWINGS)


@pytest.mark.parametrize("name", draw.DRAWINGS)
def test_a_drawing_is_byte_for_byte_what_the_code_draws(name):
    drawn = draw.DRAWINGS[name]().encode()
    assert (DOCS / name).read_bytes() == drawn, "run python docs/draw.py, and look at it"


@pytest.mark.parametrize("name", draw.DRAWINGS)
def test_a_drawing_says_what_it_shows(name):
    root = ElementTree.parse(DOCS / name).getroot()
    assert root.find(f"{SVG}title").text
    assert root.find(f"{SVG}desc").text


@pytest.mark.parametrize("name", draw.DRAWINGS)
def test_everything_lies_within_the_drawing(name):
    root = ElementTree.parse(DOCS / name).getroot()
    width, height = float(root.get("width")), float(root.get("height"))
    for box in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(box.get(key)) for key in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
    for words in root.iter(f"{SVG}text"):
        x, wide = float(words.get("x")), 0.56 * float(words.get("font-size")) * len(words.text)
        left = x - wide * {"start": 0, "middle": 0.5, "end": 1}[words.get("text-anchor")]
        assert left >= 0 and left + wide <= width, words.text


def test_the_block_has_the_order_of_an_ensembles_weights():
    parameters = Ensemble(draw.BLOCK_SHAPE, 1).named_parameters()
    assert [name for name, _ in parameters] == list(draw.BLOCK_SHAPE.weights())


def test_the_glossary_is_in_alphabetical_order():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^- \*\*(.+?)\*\*", text, re.MULTILINE)
    assert words == sorted(words, key=str.lower) and len(words) == len(set(words))


def test_every_picture_and_page_that_the_documentation_names_is_there():
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
