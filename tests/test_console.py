"""What is not printable in a name reaches no terminal, and JSON stays JSON."""

import json

from cwrnn_cli.console import print_json, print_text

NAME = "a\x1b[31m\u202eb\x7f"


def test_a_result_for_people(capsys):
    print_text(f"σ 0.5\n{NAME} – 3")
    assert capsys.readouterr().out == "σ 0.5\na\\x1b[31m\\u202eb\\x7f – 3\n"


def test_json(capsys):
    for value, kept in (({"name": NAME}, False), ({"name": "Tchaïkovski"}, True)):
        print_json(value)
        text = capsys.readouterr().out
        assert json.loads(text) == value and ("ï" in text) == kept
        assert all(line.isprintable() for line in text.splitlines())
