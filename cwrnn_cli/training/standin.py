"""A free substitute for a corpus, prepared by the task's own command."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.errors import UserError

from .jobs import paths
from .registry import AnyTask


def standin_words(task: AnyTask, path: Path) -> list[str]:
    """The command that makes a task's stand-in, behind "cwrnn"."""
    standin = [] if task.without_data else ["--standin"]
    return ["prepare", task.name, *standin, "--out", str(path)]


def run_command(words: Sequence[str]) -> None:
    """A command of ours in a process of its own, for its files and its talk, not its table.

    Raises:
        UserError: it failed; on stderr it has said why.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cwrnn_cli", *words],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": paths()},
    )
    if done.returncode:
        raise UserError(f"cwrnn {shlex.join(words)}: ended with status {done.returncode}")


def prepare_standins(wanted: Mapping[Path, AnyTask]) -> None:
    """Make stand-ins, all at once, a process each.

    Args:
        wanted: where -> of which task.

    Raises:
        UserError: one failed, such as without the extra ``standin``; as its command says it.
    """
    processes: dict[Path, subprocess.Popen[str]] = {}
    try:
        for path, task in wanted.items():
            processes[path] = subprocess.Popen(
                [sys.executable, "-P", "-m", "cwrnn_cli", *standin_words(task, path)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": paths()},
            )
        for path, process in processes.items():
            _, said = process.communicate()
            if process.returncode:
                last = (said.strip().splitlines() or ["no word of why"])[-1]
                raise UserError(f"{path}: {last.removeprefix('Error: ')}")
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
