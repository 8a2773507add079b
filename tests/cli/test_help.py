"""Every command says what it does and what each of its options means."""

import click
import pytest

from cwrnn_cli.cli import main


def commands(
    group: click.Group, words: tuple[str, ...] = ()
) -> dict[tuple[str, ...], click.Command]:
    """All commands below a group, by the words that call them."""
    found = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found[*words, name] = command
        if isinstance(command, click.Group):
            found |= commands(command, (*words, name))
    return found


COMMANDS = commands(main)


def test_the_commands_that_others_call():
    assert {" ".join(words) for words in COMMANDS} >= {
        "prepare", "prepare audio", "prepare timit", "prepare words", "prepare iamondb",
        "train", "eval", "generate", "generate audio", "compare", "scan", "search", "keep", "draw",
        "bench", "bench layer", "bench ensemble", "bench handwriting", "bench precision",
    }  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(cwrnn, words):
    text = cwrnn(*words, "--help").stdout
    assert f"Usage: cwrnn {' '.join(words)}" in text
    command = COMMANDS[words]
    assert command.help and command.help.splitlines()[0].endswith(".")
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.opts[0] in text
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            assert f"  {name} " in text


@pytest.mark.parametrize("words", [(), *COMMANDS], ids=lambda words: " ".join(words) or "cwrnn")
def test_no_help_is_cut(cwrnn, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    text = cwrnn(*words, "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert not [line for line in text.splitlines() if line.endswith("...") and "]" not in line]
    assert "s.d (" not in text  # a dot of an abbreviation is no full stop
    command = COMMANDS[words] if words else main
    if words and isinstance(command, click.Group):
        flat = " ".join(text.split())
        for name in command.list_commands(click.Context(command)):
            first = COMMANDS[*words, name].help.splitlines()[0]
            assert f"{name} {first.removesuffix('.')}" in flat
    if isinstance(command, click.Group):
        context = click.Context(command)
        assert all(i.help in " ".join(text.split()) for i in command.shell_complete(context, ""))


def test_every_command_that_makes_numbers_has_json():
    for words, command in COMMANDS.items():
        if words[0] in {"train", "eval", "compare", "scan", "search", "bench"} and words != (
            "bench",
        ):
            assert "--json" in {opt for option in command.params for opt in option.opts}, words
