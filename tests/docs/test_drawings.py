"""The pictures are what the code draws."""

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_they_are_drawn_anew_byte_for_byte(tmp_path):
    (tmp_path / "docs").mkdir()
    shutil.copy(DOCS / "draw.py", tmp_path / "docs")
    (tmp_path / "cwrnn_cli").symlink_to(DOCS.parent / "cwrnn_cli")
    (tmp_path / "data_prep").symlink_to(DOCS.parent / "data_prep")
    subprocess.run([sys.executable, tmp_path / "docs" / "draw.py"], check=True)
    drawn = sorted(path.name for path in (tmp_path / "docs").glob("*.svg"))
    assert drawn == sorted(path.name for path in DOCS.glob("*.svg")) and len(drawn) == 3
    for name in drawn:
        assert (tmp_path / "docs" / name).read_bytes() == (DOCS / name).read_bytes(), name


def test_what_is_drawn_is_inside_the_picture_and_has_a_title():
    for path in DOCS.glob("*.svg"):
        root = ElementTree.parse(path).getroot()
        _, _, width, height = map(float, root.get("viewBox").split())
        assert root.find("{*}title").text
        for box in root.iter("{http://www.w3.org/2000/svg}rect"):
            x, y, w, h = (float(box.get(k, 0)) for k in ("x", "y", "width", "height"))
            assert x + w <= width and y + h <= height, path.name
        for words in root.iter("{http://www.w3.org/2000/svg}text"):
            wide = 0.56 * float(words.get("font-size")) * len(words.text)
            anchored = float(words.get("x")) - (
                wide / 2 if words.get("text-anchor") != "start" else 0
            )
            assert anchored >= 0 and anchored + wide <= width, words.text


def test_every_picture_and_page_that_the_documentation_names_is_there():
    import re

    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
