"""`cwrnn bench gpu-check`: from the source tree, on a machine with a GPU."""

from pathlib import Path
from typing import Any

import click

from data_prep.files import write_text
from data_prep.strict_json import dumps

from ..console import command_line, json_option, print_json, print_text, say, say_written
from ..help import Command, section
from ..option import SECONDS

CHECK = "check"
_COLUMNS = ("name", "status", "seconds", "about", "command")  # of a step, in table.csv


@click.command(
    cls=Command,
    examples=[
        ("the first GPU, in eight minutes", "cwrnn bench gpu-check --out check"),
        ("without a GPU, the check itself", "cwrnn bench gpu-check --interpret --out check"),
    ],
)
@section("Measurement")
@click.option(
    "--device",
    default="cuda",
    show_default=True,
    help="Which GPU is timed; the tests take the first (CUDA_VISIBLE_DEVICES=N: both that one).",
)
@click.option(
    "--interpret",
    is_flag=True,
    help="Try the check itself where there is no GPU: in small, by Triton's interpreter.",
)
@click.option("--seconds", type=SECONDS, help="For all of it.  [default: 470; interpreted: 900]")
@section("Output")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="New folder for check.txt, check.json, table.csv and manifest.json.",
)
@json_option
@click.pass_context
def command(
    context: click.Context,
    device: str,
    interpret: bool,
    seconds: float | None,
    out: Path,
    as_json: bool,
) -> None:
    """Is a GPU right, and how fast: kernels, layers, ensembles, and all of Figure 3.

    Runs the marked tests, every kernel against its reference among them, the two benchmarks against
    torch's own layers there (cuDNN), FlashRNN if it is installed, and the training of Figure 3;
    each with a time limit, and what fails is reported while the rest goes on. Exit status 1: a
    test, or another step, has failed. Needs the source tree, pytest and hypothesis.
    """
    from ..benchmarks import gpu_check as check  # noqa: PLC0415  (slow to import)
    from ..benchmarks.machine import describe  # noqa: PLC0415
    from ..reporting.csv import write_csv  # noqa: PLC0415
    from ..training.device import check_device  # noqa: PLC0415
    from ..training.manifest import certified_whole  # noqa: PLC0415

    device = "cpu" if interpret else device
    check_device(device, auto=False)
    limit = (900.0 if interpret else check.LIMIT) if seconds is None else seconds
    steps = check.steps_interpreted() if interpret else check.steps_on(device)
    settings = {"device": device, "interpret": interpret, "seconds": limit}
    with certified_whole(out, command_line(), None, settings) as folder:
        result: dict[str, Any] = {"machine": describe(), "device": device}
        result |= check.run(steps, interpret, limit, say)
        text = check.check_text(result)
        write_text(folder / f"{CHECK}.json", dumps(result, indent=1) + "\n")
        write_text(folder / f"{CHECK}.txt", text + "\n")
        rows = [{name: step[name] for name in _COLUMNS} for step in result["steps"]]
        write_csv(folder, rows)
    if as_json:
        print_json(result)
    else:
        print_text(text)
    say_written(*sorted(out.iterdir()))
    if not result["passed"]:
        context.exit(1)
