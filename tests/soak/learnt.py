"""Commands in this process: what they import and compile is there for its forked children."""

import contextlib
import os
import sys
import time
from pathlib import Path

from cwrnn_cli.cli import main

from .children import Ended
from .settings import Stage

QUICK = 1.0  # seconds


class Learnt(dict[str, Stage]):
    """Stages by name; one that is asked for is warmed up, and has learnt what it comes to."""

    def __init__(self, stages: dict[str, Stage]) -> None:
        super().__init__(stages)
        self._seconds: dict[str, float] = {}

    def __getitem__(self, name: str) -> Stage:
        """A stage that has learnt."""
        stage = super().__getitem__(name)
        if name not in self._seconds:
            stage.empty()
            here(stage.words(), stage.case)
            began = time.monotonic()
            stage.learn()
            self._seconds[name] = (time.monotonic() - began) / 2
        return stage

    def by_time(self, names: list[str]) -> tuple[list[str], list[str]]:
        """The quick ones, and the others."""
        quick = [name for name in names if self[name] and self._seconds[name] < QUICK]
        return quick, [name for name in names if name not in quick]


def here(words: list[str], folder: Path) -> Ended:
    """A command in this process."""
    before, argv, status = Path.cwd(), sys.argv, 0
    os.chdir(folder)
    sys.argv = ["cwrnn", *words]
    try:
        with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
            with contextlib.redirect_stderr(nothing):
                main(words, prog_name="cwrnn")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        os.chdir(before)
        sys.argv = argv
    return Ended(status, "")
