"""Every command says what it does and what each of its options means."""

import re
import shlex

import click
import pytest

from cwrnn_cli.cli import main
from cwrnn_cli.help import OTHER, group_of
from cwrnn_cli.models import CELLS
from cwrnn_cli.tasks import TASKS


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
MAKE_NUMBERS = ("train", "eval", "analyse", "compare", "scan", "search", "bench")


def test_the_commands_that_others_call():
    assert {" ".join(words) for words in COMMANDS} >= {
        "prepare", "prepare audio", "prepare timit", "prepare words", "prepare iamondb",
        "train", "eval", "generate", "generate audio", "compare", "scan", "search", "keep", "draw",
        "bench", "bench layer", "bench ensemble", "bench handwriting", "bench precision", "analyse",
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
        if words[0] in {*MAKE_NUMBERS} and words != ("bench",):
            assert "--json" in {opt for option in command.params for opt in option.opts}, words


def parsed(words: list[str]) -> click.Context:
    """A command line's innermost context: read as when it is run, to every value, but not run."""
    context = main.make_context("cwrnn", words)
    while left := [*context._protected_args, *context.args]:
        name, inner, rest = context.command.resolve_command(context, left)
        context = inner.make_context(name, rest, parent=context)
    return context


@pytest.mark.parametrize("words", [(), *COMMANDS], ids=lambda words: " ".join(words) or "cwrnn")
def test_every_command_has_examples_that_can_be_typed(cwrnn, tmp_path, words):
    command = COMMANDS[words] if words else main
    text = cwrnn(*words, "--help").stdout
    assert command.examples
    for example in command.examples:
        assert f"  # {example.what}\n  {example.words}\n" in text
        called, *typed = shlex.split(example.words)
        assert called == "cwrnn"
        if typed[-1] == "--help":
            with pytest.raises(click.exceptions.Exit):
                parsed(typed)
        else:
            typed_command = parsed(typed).command
            assert typed_command is command or isinstance(command, click.Group)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_in_one_group(cwrnn, words):
    command = COMMANDS[words]
    text = cwrnn(*words, "--help").stdout
    options = [p for p in command.params if isinstance(p, click.Option)]
    other = {option.name for option in options if group_of(option) == OTHER}
    assert other == {"quiet", "verbose"}  # those of all commands
    _, *parts = re.split(r"^(\S.*):\n", text, flags=re.M)
    shown = {}
    for title, part in zip(parts[::2], parts[1::2], strict=True):
        for name in (
            re.findall(r"^  (?:-\w, )?(--[\w-]+)", part, re.M) if title != "Examples" else ()
        ):
            assert name not in shown
            shown[name] = title
    assert len(set(parts[::2])) == len(parts[::2])
    wanted = {o.opts[-1]: group_of(o) for o in options} | {"--help": OTHER}
    assert {name: shown[name] for name in wanted} == wanted and shown.keys() == wanted.keys()


def test_what_only_one_task_has_is_in_a_group_of_its_own(cwrnn):
    text = cwrnn("train", "--help").stdout
    for name, task in TASKS.items():
        others = [o.name for t in TASKS.values() if t is not task for o in t.train_options]
        own = [option.flag for option in task.train_options if option.name not in others]
        part = text.split(f"\nOnly of task {name}:\n")[1].split("\n\n")[0] if own else ""
        assert all(f"  {flag} " in part for flag in own)
    network = text.split("\nNetwork:\n")[1].split("\n\n")[0]
    for cell in CELLS.values():
        assert all(f"  {option.flag} " in network for option in cell.options)
