import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_what_works_names_tests():
    text = (ROOT / "docs/using.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text.split("## What works")[1]))
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    found = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.M)}
    assert len(named) > 40 and named <= found, named - found
    entry_points = [path.read_text() for path in (ROOT / "tests/models/entry_points").glob("*.py")]
    own = {name for text in entry_points for name in re.findall(r"^def (test_\w+)", text, re.M)}
    assert len(own) > 20
    assert own <= named, own - named
