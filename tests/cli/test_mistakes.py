"""Values out of range, stdout that takes no more, paths with spaces."""

import errno
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from cwrnn_cli.cli import main
from tests.conftest import one_line_error

ROOT = Path(__file__).parents[2]
TRAINING = ("train --model cw", "compare", "scan")
RANGES = [
    ("--epochs -1", "--epochs -1: expected at least 1"),
    ("--epochs 0", "--epochs 0: expected at least 1"),
    ("--runs 0", "--runs 0: expected at least 1"),
    ("--seed -1", "--seed -1: expected at least 0"),
    ("--momentum 1", "--momentum 1: expected 0 or more, below 1"),
    ("--momentum nan", "--momentum nan: expected 0 or more, below 1"),
    ("--task iamondb --batch 0", "--batch 0: expected at least 1"),
    ("--task iamondb --patience 0", "--patience 0: expected at least 1"),
    ("--task iamondb --clip 0", "--clip 0: expected a length above 0"),
    ("--task timit --noise -1", "--noise -1: expected a standard deviation, 0 or more"),
    ("--weight-std 0", "--weight-std 0: expected a standard deviation above 0"),
    ("--weight-std inf", "--weight-std inf: expected a standard deviation above 0"),
    ("--batch 2", "--batch: not an option of --task audio"),
    ("--task timit --loss half_sum_of_squares", "--loss: not an option of --task timit"),
]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        *((f"{command} {words}", message) for command in TRAINING for words, message in RANGES),
        ("train --model cw --lr -1", "--lr -1: expected a learning rate above 0"),
        ("train --model cw --lr nan", "--lr nan: expected a learning rate above 0"),
        ("train --model cw --params 0", "'--params': 0 is not in the range x>=1."),
        ("train --model srn --periods 1,2", "--periods: only a CW-RNN has clock periods"),
        ("compare --lr cw=-1", "--lr cw=-1: expected MODEL=X, with X such as 1e-5"),
        ("compare --sizes -3", "--sizes -3: expected numbers with commas between"),
        ("scan --rates 1e-4,0", "--rates 1e-4,0: expected rates such as 1e-4,3e-4"),
        ("bench layer --repeats 0", "--repeats 0: expected at least 1"),
        ("bench layer --seconds -1", "--seconds -1: expected at least 0"),
        ("bench layer --batches 0", "--batches 0: expected numbers with commas between"),
        ("bench ensemble --repeats 0", "--repeats 0: expected at least 1"),
        ("bench ensemble --seconds nan", "--seconds nan: expected at least 0"),
        ("bench handwriting --repeats 0", "--repeats 0: expected at least 1"),
        ("bench handwriting --seconds -1", "--seconds -1: expected at least 0"),
        ("prepare audio --sequences 0", "at least 1 sequence of at least 2 samples"),
        ("prepare audio --length -1", "at least 1 sequence of at least 2 samples"),
        ("prepare audio --start -1", "--start -1: seconds from the beginning, 0 or more"),
        ("prepare timit --standin --seed -1 --keep k", "--seed -1: expected at least 0"),
        ("prepare timit --standin --hop-ms 0 --keep k", "expected 1 <= hop <= window <= 1000"),
        ("prepare iamondb --standin --seed -1 --keep k", "--seed -1: expected at least 0"),
        ("prepare iamondb --standin --every 0 --keep k", "--every 0: expected 1 to 100"),
    ],
)
def test_out_of_range_is_refused_before_anything_is_made(cwrnn, tmp_path, words, message):
    result = cwrnn(*words.split(), expect=2)
    assert message in one_line_error(result) and result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_sizes_are_called_what_they_were_typed_behind(cwrnn, piece):
    for command in ("compare", "scan"):
        message = one_line_error(cwrnn(command, "--sizes", 2, "--data", piece, expect=2))
        assert message.startswith("--sizes 2: 2 parameters")
    message = one_line_error(
        cwrnn("train", "--model", "cw", "--params", 2, "--data", piece, expect=2)
    )
    assert message.startswith("--params 2: 2 parameters")


@pytest.fixture
def ended(tmp_path, monkeypatch, capsys):
    """Run a command line with a file of the system's own as stdout; status and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(stream, *words):
        # what a pipe has not taken is dropped: the interpreter's own exit is tested below
        with monkeypatch.context() as patch, suppress(BrokenPipeError), stream:
            patch.setattr(sys, "stdout", stream)
            with pytest.raises(SystemExit) as end:
                main([str(word) for word in words], prog_name="cwrnn")
        return end.value.code, capsys.readouterr().err

    return run


def closed_pipe():
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w")


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@needs_full
def test_every_command_says_that_stdout_is_full(ended, cwrnn, piece):
    small = ("--runs", 1, "--epochs", 2, "--data", piece)
    one = ("train", "--model", "srn", "--params", 100, *small)
    cwrnn(*one, "--out", "run")
    grid = ("--sizes", 100, "--models", "srn", *small)
    commands = [
        ("eval", "run"),
        ("eval", "run", "--json"),
        (*one, "--json"),
        one,
        ("compare", *grid, "--json"),
        ("scan", *grid, "--rates", "1e-3", "--no-momentum-ramp"),
        ("prepare", "audio"),
        ("generate", "audio", "run"),
        ("bench", "precision", "--units", 8, "--steps", 1),
        ("train", "--help"),
        ("--version",),
    ]
    full = f"stdout, or a file: cannot be written ({os.strerror(errno.ENOSPC)})"
    for words in commands:
        status, said = ended(open("/dev/full", "w"), *words)
        assert status == 2 and said.endswith(f"Error: {full}\n"), (words, said)
        assert "Traceback" not in said, words


def test_a_closed_pipe_ends_without_a_word(ended, cwrnn, piece):
    small = ("--params", 100, "--runs", 1, "--epochs", 2, "--data", piece)
    cwrnn("train", "--model", "srn", *small, "--out", "run")
    for words in (("eval", "run"), ("eval", "run", "--json"), ("train", "--help")):
        status, said = ended(closed_pipe(), *words)
        assert (status, said) == (1, "")


@needs_full
def test_nor_does_the_interpreter_say_anything_at_its_exit():
    words = [sys.executable, "-m", "cwrnn_cli", "--help"]
    for unbuffered in ("", "1"):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
        for stream, status, said in (
            (open("/dev/full", "w"), 2, "Error: stdout, or a file: cannot be written"),
            (closed_pipe(), 1, ""),
        ):
            with stream:
                result = subprocess.run(
                    words, stdout=stream, stderr=subprocess.PIPE, text=True, env=environment
                )
            assert result.returncode == status
            assert result.stderr.startswith(said) and result.stderr.count("\n") == bool(said)


def test_other_errors_of_the_system_are_not_called_a_full_stdout(cwrnn, monkeypatch):
    def fail(*_):
        raise OSError(errno.EBADF, "a bug")

    monkeypatch.setattr("cwrnn_cli.cli.eval.newest_run", fail)
    with pytest.raises(OSError, match="a bug"):
        cwrnn("eval")


def test_what_is_to_be_pasted_is_quoted(cwrnn, piece):
    small = ("--runs", 1, "--epochs", 2, "--data", piece)
    result = cwrnn("train", "--model", "srn", "--params", 100, *small, "--out", "my run")
    assert "see `cwrnn eval 'my run'`" in result.stdout
    message = one_line_error(cwrnn("train", "--model", "cw", "--data", "no such.h5", expect=2))
    assert message.endswith("make it with `cwrnn prepare audio --out 'no such.h5'`")
    result = cwrnn("compare", "--sizes", 100, "--models", "srn", *small, "--out", "my grid")
    assert "written: 'my grid/results.h5', 'my grid/table.txt'" in result.stderr


def test_a_folder_of_several_runs_says_which_it_has(cwrnn, piece):
    small = ("--sizes", 100, "--models", "srn,cw", "--runs", 1, "--epochs", 2, "--data", piece)
    cwrnn("compare", *small, "--out", "my grid")
    message = one_line_error(cwrnn("eval", "my grid", expect=2))
    assert message == (
        "my grid: 2 runs, a folder each; name one of them, such as 'my grid/cells/cw-100'"
    )
    assert "CW-RNN" in cwrnn("eval", "my grid/cells/cw-100").stdout
