"""What the shell completes, what a near miss is told, and how loud a command is."""

import io
import os
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest
from click.testing import CliRunner

from cwrnn_cli.cli import main
from cwrnn_cli.models import CELLS
from cwrnn_cli.tasks import TASKS
from tests.conftest import one_line_error

ROOT = Path(__file__).parents[2]
SMALL = ("--model", "cw", "--params", 100, "--runs", 1, "--epochs", 4)


def typed(words: str) -> dict[str, str]:
    """What bash's completion asks with, the last word half typed."""
    count = str(len(words.split(" ")) - 1)
    return {"_CWRNN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": count}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("cwrnn tr", ["train"]),
        ("cwrnn -q ev", ["eval"]),
        ("cwrnn train --model ", list(CELLS)),
        ("cwrnn train --task ", list(TASKS)),
        ("cwrnn eval --task ti", ["timit"]),
        ("cwrnn bench lay", ["layer"]),
        ("cwrnn prepare ", ["audio", "timit", "words", "iamondb"]),
        ("cwrnn train --momentum-r", ["--momentum-ramp"]),
        ("cwrnn --verb", ["--verbose"]),
        ("cwrnn train --mo", ["--model", "--module-shares", "--momentum", "--momentum-ramp"]),
        ("cwrnn train --tens", ["--tensorboard"]),
        ("cwrnn eval --task ", list(TASKS)),
        ("cwrnn scan --task ", list(TASKS)),
        ("cwrnn runs di", ["diff"]),
    ],
)
def test_the_shell_completes(words, found):
    result = CliRunner().invoke(main, [], prog_name="cwrnn", env=typed(words))
    assert result.stdout.splitlines() == [f"plain,{word}" for word in found]


@pytest.mark.parametrize(
    "words",
    ["eval", "keep", "draw", "generate audio", "compare --run", "runs diff", "runs diff runs/b"],
)
def test_the_shell_completes_run_folders(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    for name in ("b", "audio-2", "audio-1"):
        Path("runs", name).mkdir(parents=True)
    Path("runs/a.txt").touch()

    def completed(last):
        environment = typed(f"cwrnn {words} {last}")
        shown = CliRunner().invoke(main, [], prog_name="cwrnn", env=environment).stdout
        return shown.splitlines()

    # bash drops what stands before a "dir", and looks for folders if nothing stands behind it
    assert completed("") == ["dir,", "plain,runs/audio-1", "plain,runs/audio-2", "plain,runs/b"]
    assert completed("runs/a") == ["dir,runs/a", "plain,runs/audio-1", "plain,runs/audio-2"]
    assert completed("elsewhere") == ["dir,elsewhere"]


@pytest.mark.skipif(not which("bash"), reason="no bash")
def test_bash_itself_completes(tmp_path):
    (tmp_path / "runs" / "one").mkdir(parents=True)
    command = tmp_path / "cwrnn"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cwrnn_cli "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(_CWRNN_COMPLETE=bash_source cwrnn)"\n'
        "complete -p cwrnn >&2\n"
        "compopt() { :; }\n"  # it works where a line is edited only
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
        "_cwrnn_completion cwrnn\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment |= {"PYTHONPATH": str(ROOT)}
    for words, found in [
        (("train", "--model", "cw"), ["cw", "cwlstm", "cwgru"]),
        (("eval", ""), ["runs/one"]),
    ]:
        done = subprocess.run(
            ["bash", "-c", script, "bash", "cwrnn", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines() == found, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_is_given_its_script(shell):
    environment = {"_CWRNN_COMPLETE": f"{shell}_source"}
    text = CliRunner().invoke(main, [], prog_name="cwrnn", env=environment).stdout
    assert f"_CWRNN_COMPLETE={shell}_complete" in text
    for page in ("README.md", "docs/command-line.md"):  # they say how to load it
        assert f"_CWRNN_COMPLETE={shell}_source cwrnn" in (ROOT / page).read_text()


def test_completing_a_command_imports_nothing_slow():
    code = (
        "import sys; from cwrnn_cli.cli import main\n"
        "try: main([], prog_name='cwrnn')\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'numba', 'scipy', 'h5py', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {slow}' if slow else 0)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | typed("cwrnn tr")
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("plain,train\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "cwrnn trian: no such command. Did you mean 'train'?"),
        ("bench layr", "cwrnn bench layr: no such command. Did you mean 'layer'?"),
        ("prepare adio", "cwrnn prepare adio: no such command. Did you mean 'audio'?"),
        ("xyz", "cwrnn xyz: no such command. There are prepare, train, eval, analyse, generate"),
        (
            "train --model lstn",
            "'lstn' is not one of 'srn', 'lstm', 'cw', 'gru', 'cwlstm', 'cwgru'. Did you mean 'ls",
        ),
        ("train --task timid --model cw", "Did you mean 'timit'?"),
        ("eval --split tset", "Did you mean 'test'?"),
        ("train --task iamondb --model cw --optimizer adm", "Did you mean 'adam'?"),
        (
            "compare --models cw,lstn",
            "'lstn' is none of srn, lstm, cw, gru, cwlstm, cwgru. Did you mean 'lstm'?",
        ),
        ("compare --lr lstn=1e-3", "Did you mean 'lstm'?"),
        ("train --epoch 3", "No such option '--epoch'. Did you mean '--epochs'? (see `cwrnn train"),
        ("--quit", "No such option '--quit'. Did you mean '--quiet'? (see `cwrnn --help`)"),
        (
            "train",
            "Missing option '--model'. Choose from: srn, lstm, cw, gru, cwlstm, cwgru (see ",
        ),
        ("train --model cw --epochs x", "'x' is not a valid integer. (see `cwrnn train --help`)"),
    ],
)
def test_a_near_miss_is_told_what_is_near_in_one_line(cwrnn, words, message):
    result = cwrnn(*words.split(), expect=2)
    assert message in one_line_error(result)
    assert result.stderr.count("\n") == 1 and not result.stdout


def test_version(cwrnn):
    assert cwrnn("-V").stdout == cwrnn("--version").stdout
    assert cwrnn("-V").stdout.startswith("cwrnn, version ")


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    """Run a command line with a terminal as stderr; what it says there."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", Terminal())
            with pytest.raises(SystemExit) as ended:
                main([str(word) for word in words], prog_name="cwrnn")
            return ended.value.code, sys.stderr.getvalue()

    return run


def test_quiet_and_verbose_before_the_command_and_behind_it(terminal, piece):
    train = ("train", *SMALL, "--data", piece)
    status, usual = terminal(*train)
    assert status == 0 and "4/4" in usual and "training 1 x 5 cw" in usual  # the bar, and talk
    assert "CompiledEngine" not in usual and "took" not in usual
    terminal(*train)  # whatever was compiled has been
    assert terminal("-q", *train) == (0, "")
    assert terminal(*train, "--quiet") == (0, "")
    for words in (("-v", *train), (*train, "--verbose"), (*train, "-q", "-v")):
        status, text = terminal(*words)
        assert "4/4" in text and "trained by CompiledEngine on cpu" in text
        assert f"data: {piece}: built-in piece, sha256 " in text and "took " in text


def test_quiet_keeps_warnings_and_errors(cwrnn, piece):
    result = cwrnn("-q", "train", *SMALL, "--data", piece, "--resume")
    assert result.stderr == "nothing to resume: starting anew\n"
    result = cwrnn("eval", "-q", "nowhere", expect=2)
    assert result.stderr == f"Error: {one_line_error(result)}\n"


def test_verbose_says_where_an_error_is_from(cwrnn):
    result = cwrnn("eval", "nowhere", "-v", expect=2)
    assert "Traceback" in result.stderr and "in config" in result.stderr
    assert "nowhere: no run folder" in one_line_error(result)
    assert "Traceback" not in cwrnn("eval", "nowhere", expect=2).stderr
