"""Figures as elements of a page."""

import re
from xml.etree import ElementTree

import numpy as np

from cwrnn_cli.clock import Clock
from cwrnn_cli.models import CELLS
from cwrnn_cli.reporting import clocks, figures
from cwrnn_cli.reporting.vector import slim, svg


def boxes() -> str:
    errors = {("cw", 100): np.array([0.1, 0.2, 0.3]), ("srn", 100): np.array([0.5, 0.6])}
    return svg(lambda path: figures.boxes(path, errors, "", {"cw": {100: 0.2}}, "error", {}))


def test_an_element_that_brings_nothing_into_its_page():
    text = boxes()
    root = ElementTree.fromstring(text)
    assert root.tag == "svg" and "viewBox" in root.attrib
    assert not {"width", "height"} & root.attrib.keys()
    for unwanted in ("<?xml", "<!DOCTYPE", "<style", "<metadata", "xmlns", "<!--", "http"):
        assert unwanted not in text


def test_names_are_its_own_and_all_used():
    first, second = boxes(), boxes()
    names = [set(re.findall(r' id="([^"]+)"', text)) for text in (first, second)]
    assert names[0] and names[0].isdisjoint(names[1])
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', first))
    assert used == names[0]


def test_ink_is_the_pages_and_colours_are_the_cells():
    text = boxes()
    assert "var(--ink)" in text and "var(--card)" in text and CELLS["cw"].colour in text
    assert "#000000" not in text and "#ffffff" not in text
    assert "parameters</text>" in text  # letters, not outlines


def test_numbers_are_cut_short_and_letters_are_not():
    found = slim('<svg width="9pt"><path d="M 1.23456 -0.0001 L 100.5 7"/><text>1.23456 %</text>')
    assert '"M 1.23 0 L 100.5 7"' in found and "width" not in found and "1.23456 %" in found


def test_a_clock_and_its_words():
    clock = Clock.of(8, (1, 2, 4))
    text = svg(lambda path: clocks.draw_clock(path, clock))
    assert all(f"T = {t}, {k} units" in text for t, k in zip((1, 2, 4), (3, 3, 2), strict=True))
    marks = text.count("<path") + text.count("<use")
    assert marks > clocks.STEPS * (1 + 1 / 2 + 1 / 4)
    assert f"{clock.recurrent_parameters()} of 64 recurrent weights" in clocks.words(clock)
