"""Values out of range, stdout that takes no more, paths with spaces."""

import errno
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from cwrnn_cli.cli import main
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.memory import least_bytes
from data_prep.errors import MAKE_ROOM
from data_prep.memory import free_bytes
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
        ("train --model cw --params 0", "--params 0: expected at least 1"),
        ("train --model srn --periods 1,2", "--periods: only a clockwork model has clock periods"),
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
        ("prepare audio --start -1", "--start -1: expected at least 0"),
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
    full = f"stdout, or a file: cannot be written ({os.strerror(errno.ENOSPC)}); {MAKE_ROOM}"
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


def fails(monkeypatch, error):
    """Let `cwrnn eval` meet an error."""

    def fail(*_):
        raise error

    monkeypatch.setattr("cwrnn_cli.cli.eval.newest_run", fail)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "memory is full"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "memory is"),
        (OSError("Can't write data (memory allocation failed for chunk)"), "memory is full"),
        (RuntimeError("can't start new thread"), "no further process or thread can be started"),
        (BlockingIOError(errno.EAGAIN, "x"), "no further process or thread can be started"),
        (OSError(errno.EMFILE, "x", "a.h5"), "a.h5: too many open files; raise `ulimit -n`"),
        (PermissionError(errno.EACCES, "x", "a.h5"), "a.h5: Permission denied; no permission"),
        (OSError(errno.ENAMETOOLONG, "x", "a" * 300), "File name too long; choose a shorter"),
        (OSError("write failed (errno = 28, error message = 'x')"), "stdout, or a file: cannot"),
        (
            OSError(errno.EFBIG, "x", "a.h5"),
            "a.h5: cannot be written (File too large); make room; "
            "the same command goes on, with --resume if it has that",
        ),
        ("\udce9".encode, "text that cannot be written"),
        (RecursionError("x"), "nested too deeply"),
        (ImportError("libx.so"), "a library cannot be loaded (libx.so)"),
    ],
)
def test_what_the_system_refuses_is_one_line(cwrnn, monkeypatch, error, line):
    if not isinstance(error, Exception):
        with pytest.raises(UnicodeEncodeError) as found:
            error()
        error = found.value
    fails(monkeypatch, error)
    assert line in one_line_error(cwrnn("eval", expect=2))


def test_a_fault_of_ours_is_one_line_with_a_status_of_its_own(cwrnn, monkeypatch):
    """With -v where it is from."""
    fails(monkeypatch, OSError(errno.EBADF, "a bug \x1b[31m"))
    result = cwrnn("eval", expect=70)
    assert r"a bug \x1b[31m" in result.stderr and "\x1b" not in result.stderr
    assert result.stderr.startswith("Error: this is a fault of cwrnn: OSError in test_mistakes.py:")
    assert result.stderr.count("\n") == 1 and "a bug" in result.stderr
    assert "Traceback" in cwrnn("eval", "-v", expect=70).stderr


def test_ctrl_c_is_one_line(cwrnn, monkeypatch):
    fails(monkeypatch, KeyboardInterrupt())
    assert cwrnn("eval", expect=130).stderr == "interrupted\n"


SMALL = "train --model srn --params 100 --epochs 2 --runs"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (f"{SMALL} 3000000", " would fit"),
        (f"{SMALL} 10000000000", "--runs 10000000000: expected at least 1 and at most 16777216"),
        ("train --model srn --params 1000000000", " would fit"),
        ("train --model srn --params 1000000000000", "--params 1000000000000: expected at most"),
        (
            "train --model srn --epochs 1000000000000",
            "--epochs 1000000000000: expected at least 1 and at most 2147483648",
        ),
        ("compare --sizes 1000000000", " would fit"),
        ("compare --sizes 100 --models srn,cw --runs 1 --jobs 1000000000000", "--jobs 1000"),
        ("compare --sizes 0", "--sizes 0: expected numbers"),
        ("bench layer --repeats 1000000000", "--repeats 1000000000: expected at most 1e+06"),
        ("bench layer --seconds inf", "--seconds inf: expected a number, at most 1e+08"),
        ("bench layer --seconds nan", "--seconds nan: expected at least 0"),
        ("prepare audio --start nan", "--start nan: expected at least 0"),
    ],
)
def test_what_no_machine_has_is_refused_before_work_begins(cwrnn, piece, tmp_path, words, message):
    data = () if words.startswith(("bench", "prepare")) else ("--data", piece)
    assert message in one_line_error(cwrnn(*words.split(), *data, expect=2))
    assert not list(tmp_path.iterdir())


def test_what_would_fit_fits(cwrnn, piece):
    line = one_line_error(cwrnn(*SMALL.split(), 3_000_000, "--data", piece, expect=2))
    runs = int(line.rpartition("--runs ")[2].split()[0])
    config = configure(TASKS["audio"].load(piece), "srn", 100, runs=runs)
    assert 0.5 * free_bytes() < least_bytes(config) < 1.5 * free_bytes()


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE=abc: expected a number from 1 to 65536"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2: expected a number from 0 to 1"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2, but no MASTER_ADDR in the environment"),
    ],
)
def test_an_environment_that_is_not_torchruns(cwrnn, spoken, lines, monkeypatch, variables, line):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    words = ("--task", "iamondb", "--model", "srn", "--data", lines)
    assert one_line_error(cwrnn("train", *words, expect=2)).startswith(line)


def ended_with(command, **environment):
    """Run a line of shell; `cwrnn` is the program."""
    program = f'cwrnn() {{ {shlex.quote(sys.executable)} -m cwrnn_cli "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", program + command],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
    )


LOSES = """
import click, cwrnn_cli.cli as cli
class Taken:
    def __del__(self):
        raise KeyboardInterrupt
cli.main.add_command(click.Command("lose", callback=lambda: Taken() and print("went on")))
cli.main()
"""


def test_an_interrupt_where_python_forgets_it_ends_the_command():
    ended = subprocess.run([sys.executable, "-c", LOSES, "lose"], cwd=ROOT, capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"interrupted\n")


def test_closed_streams_are_no_files(tmp_path, monkeypatch):
    """A file that is opened does not get the number of a closed stream, and its text."""
    monkeypatch.chdir(tmp_path)
    result = ended_with("cwrnn prepare audio <&- >&- 2>&-")
    assert result.returncode == 0
    assert ended_with("cwrnn prepare audio --out b.h5 2>&-").returncode == 0
    assert (tmp_path / "data/audio.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert ended_with("cwrnn evil 2>/dev/full").returncode == 2


def test_streams_and_names_in_other_encodings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = ended_with("cwrnn --help", PYTHONIOENCODING="iso8859-7")
    assert result.returncode == 0 and rb"Koutn\xedk" in result.stdout
    result = ended_with(r"cwrnn prepare audio --out $'lat\xe9.h5' && ls")
    assert result.returncode == 0 and result.stdout.endswith(b"\nlat\xe9.h5\n")
    assert result.stdout.startswith(rb"lat\udce9.h5: 5 sequences")
    result = ended_with(r"cwrnn train --model srn --data $'no\xe9.h5'")
    assert result.stderr.startswith(rb"Error: no\udce9.h5: no such file")


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


@pytest.mark.parametrize("corpus", ["timit", "iamondb"])
def test_a_corpus_and_its_substitute_are_not_both_taken(cwrnn, tmp_path, corpus):
    words = ("prepare", corpus, "--standin", "--src", str(tmp_path))
    line = "--standin and --src: expected one of them"
    assert one_line_error(cwrnn(*words, expect=2)) == line
