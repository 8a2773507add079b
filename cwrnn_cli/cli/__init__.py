"""The command line: thin; each command is a module of its own, imported when it is called."""

import click

from data_prep import __version__

from ..paper import AUDIO
from .groups import CommandLine

*_, _MODEL = AUDIO.learning_rates  # for examples
_COMMANDS = {
    "prepare": "Turn a corpus into one HDF5 file.",
    "train": "Train networks of one model and size.",
    "eval": "Errors of a trained run, beside the paper's.",
    "analyse": "What each module of a network does.",
    "generate": "Let a trained network play what it has learnt.",
    "compare": "Train the paper's grid; its tables and figures.",
    "draw": "Write by hand, and watch a network read.",
    "scan": "Try learning rates, each model's own, on held-out seeds.",
    "search": "Hyperparameters by Optuna, on validation data.",
    "bench": "Measure speed on this machine.",
    "runs": "What has been trained, and in what two runs differ.",
    "keep": "Only the weights of a run, made small.",
    "report": "Results as one HTML page, to open and to print.",
    "verify": "Check published numbers against their raw rows.",
}
_PLACES = {name: (f"{__name__}.{name}:command", text) for name, text in _COMMANDS.items()}


@click.group(
    cls=CommandLine,
    places=_PLACES,
    examples=[
        (
            "train 500 networks of the paper's kind on its first task",
            f"cwrnn train --model {_MODEL}",
        ),
        ("their errors, beside the paper's", "cwrnn eval"),
        ("what else a command can do", "cwrnn compare --help"),
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "-V", "--version", prog_name="cwrnn")
def main() -> None:
    """A Clockwork RNN (Koutník et al., ICML 2014): the paper's experiments, whole.

    Start with `cwrnn train --help`, then `cwrnn eval`; the README has a tour of five minutes.
    """
