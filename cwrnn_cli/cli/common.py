"""Options and habits that several commands share."""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from data_prep.errors import UserError

from ..paper import PROTOCOLS

DATA_FOLDER = Path("data")
RUNS_FOLDER = Path("runs")

# in tasks/ and in reporting/
_MODULES = {"audio": "audio", "timit": "words", "iamondb": "handwriting"}

MODEL = click.Choice(["cw", "srn", "lstm"])
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else there."
)
task_option = click.option(
    "--task",
    type=click.Choice(sorted(PROTOCOLS)),
    default="audio",
    show_default=True,
    help="Which of the paper's experiments.",
)
_PROTOCOL = (
    click.option(
        "--runs",
        type=int,
        help="Trainings with other initial weights (audio: of each sequence).  "
        "[default: 100, iamondb 3]",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Root seed."),
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        help="Prepared HDF5 file.  [default: data/TASK.h5; audio: else the built-in piece]",
    ),
    click.option("--epochs", type=int, help="Passes over the data, at the most.  [default: 2000]"),
    click.option("--momentum", type=float, help="Nesterov's.  [default: audio 0.95, others 0.9]"),
    click.option(
        "--momentum-ramp/--no-momentum-ramp",
        default=None,
        help="Momentum that rises from 0.5 (Sutskever et al., 2013), or constant.  [default: ramp]",
    ),
    click.option("--batch", type=int, help="Lines per update (iamondb).  [default: 8]"),
    click.option(
        "--optimizer",
        type=click.Choice(["nesterov", "adam"]),
        help="adam departs from the paper (iamondb).  [default: nesterov]",
    ),
    click.option(
        "--clip",
        type=float,
        help="Shorten gradients to this length (iamondb).  [default: the paper names none]",
    ),
    click.option(
        "--decay/--no-decay",
        default=None,
        help="Let the learning rate fall to 0 over --epochs (iamondb).  [default: the paper's, "
        "constant]",
    ),
    click.option(
        "--noise", type=float, help="Of the inputs in training (timit), s.d.  [default: 0.6]"
    ),
    click.option(
        "--patience",
        type=int,
        help="Epochs without a lower error after which a network stops.  "
        "[default: timit 5, iamondb 50]",
    ),
    click.option(
        "--stop-on",
        type=click.Choice(["cross_entropy", "train_error"]),
        help="Which error of the training set without noise (timit).  [default: cross_entropy]",
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where to train; auto: the fastest for the task.",
    ),
    json_option,
)


def protocol_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `train` and `compare` share."""
    for option in reversed(_PROTOCOL):
        function = option(function)
    return function


def first_process() -> bool:
    """Whether this is the only process, or the first one under torchrun: the one that talks."""
    return os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """Talk to the user: on stderr, so that stdout holds results only."""
    if first_process():
        click.echo(message, err=True)


def print_json(value: Any) -> None:
    """The one JSON object of a command's --json."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def chosen_device(name: str) -> str:
    """The torch device for ``--device``.

    Raises:
        UserError: cuda was asked for and is not there.
    """
    if name == "cuda":
        import torch  # noqa: PLC0415  (slow to import)

        if not torch.cuda.is_available():
            raise UserError("--device cuda: torch sees no GPU here; use --device cpu")
        return "cuda"
    # auto: the compiled loop on the CPU; on a GPU task 1 has no fused kernel yet
    return "cpu"


def prepared(task: str, path: Path | None) -> Path:
    """The file to train on: the one given, else ./data/TASK.h5, for audio made if need be.

    Raises:
        UserError: it does not exist.
    """
    if path is not None:
        if not path.exists():
            raise UserError(
                f"{path}: no such file; make it with `cwrnn prepare {task} --out {path}`"
            )
        return path
    path = DATA_FOLDER / f"{task}.h5"
    if task != "audio" and not path.exists():
        raise UserError(
            f"{path}: no such file; make it with `cwrnn prepare {task} --src DIR` from your own "
            f"copy of the corpus, or with `cwrnn prepare {task} --standin` from a free substitute"
        )
    if not path.exists():
        from data_prep import audio  # noqa: PLC0415

        audio.prepare(path)
        say(
            f"no audio prepared yet: made {path} from the built-in piece, which our own code plays "
            "(for your own: cwrnn prepare audio --src FILE)"
        )
    return path


def load_prepared(task: str, path: Path | None) -> Any:
    """The data of a task, from the file of :func:`prepared`.

    Raises:
        UserError: no such file, or not one of this task.
    """
    return import_module(f"cwrnn_cli.tasks.{_MODULES[task]}").load(prepared(task, path))


def report_of(task: str) -> Any:
    """The module that reports on a task: evaluation_text, read_results, comparison ..."""
    return import_module(f"cwrnn_cli.reporting.{_MODULES[task]}")


def progress_bar(total: int, description: str, unit: str = "epoch") -> Any:
    """A tqdm bar on stderr, silent when that is not a terminal."""
    from tqdm import tqdm  # noqa: PLC0415

    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        file=sys.stderr,
        disable=not (sys.stderr.isatty() and first_process()),
        dynamic_ncols=True,
    )
