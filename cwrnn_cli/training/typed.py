"""Options of training as a command that a person can type."""

import shlex
from collections.abc import Mapping
from typing import Any


def train_command(options: Mapping[str, Any]) -> str:
    """The `cwrnn train` with these options; None is not given."""
    words = ["cwrnn", "train"]
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, list | tuple):
            words += [f"--{flag}", ",".join(map(_word, value))]
        elif value is not None:
            words += [f"--{flag}", str(value)]
    return shlex.join(words)


def _word(value: Any) -> str:
    """Of a list; a period with an offset is a pair."""
    return "@".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
