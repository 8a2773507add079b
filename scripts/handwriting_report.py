"""Task 3: trained runs, finished or not, as one table with their learning curves.

    python scripts/handwriting_report.py --out results/iamondb runs/iamondb-cw-10000-seed0 ...

`cwrnn compare --task iamondb` trains the whole of Table 3 and reports on it at its end. This
reports on runs of `cwrnn train` as they are: their errors (`cwrnn eval --json`) to NAME.json, their
epochs to NAME.jsonl, all of them to table.txt and curves.png. It looks at the test set: only call
it once nothing will be decided by its outcome any more.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from cwrnn_cli.paper import HANDWRITING, MODEL_NAMES
from cwrnn_cli.reporting.handwriting import curves
from cwrnn_cli.reporting.tables import data_label, percent, table
from cwrnn_cli.training.folder import METRICS, RunFolder
from cwrnn_cli.training.handwriting_results import evaluate, summary
from data_prep.files import write_text


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--at", default="25,50", help="Epochs at which to compare all runs.")
def main(runs: tuple[Path, ...], out: Path, at: str) -> None:
    equal = [int(word) for word in at.split(",")]
    rows, lines = [], {}
    for run in runs:
        found = evaluate(RunFolder(run))
        result = summary(found)
        noted = (run / METRICS).read_text(encoding="utf-8")
        write_text(out / f"{run.name}.json", json.dumps(result, indent=1) + "\n")
        write_text(out / f"{run.name}.jsonl", noted)
        lines[run.name] = [json.loads(line) for line in noted.splitlines()]
        model, params = result["model"], result["params"]
        variant = [d for d in result["deviations"] if d["name"] not in ("runs", "epochs")]
        papers = None if variant else HANDWRITING.table.get(params, {}).get(model)
        rows.append(
            [
                f"{params} {MODEL_NAMES[model]}" + (", variant" if variant else ""),
                run.name,
                str(result["hidden_size"]),
                percent(result["metrics"]["cer"]["mean"]),
                percent(papers),
                percent(result["metrics"]["valid_cer"]["mean"]),
                f"{result['metrics']['best_epoch']['median']:.0f}",
                str(result["epochs"]),
                _end(result, found.config.epochs),
                *(percent(_lowest(lines[run.name], epoch)) for epoch in equal),
            ]
        )
    header = (
        "parameters", "run", "units", "test CER %", "paper (Table 3)", "validation CER %",
        "best epoch", "epochs", "stopped by", *(f"validation by epoch {epoch}" for epoch in equal),
    )  # fmt: skip
    label = data_label(found.config.data_name, found.config.standin)
    text = f"data: {label}; one network each, best path\n\n{table(header, rows)}\n"
    write_text(out / "table.txt", text)
    curves(out / "curves.png", lines, f"data: {label}; one network each")
    click.echo(text)


def _lowest(lines: list[dict[str, Any]], epoch: int) -> float | None:
    """The lowest error on the validation set up to an epoch, if the run came so far."""
    if len(lines) < epoch:
        return None
    return min(float(line["valid_cer"][0]) for line in lines[:epoch])


def _end(result: dict[str, Any], epochs: int) -> str:
    if not result["cut_short"]:
        return "the rule"
    return "--epochs" if result["epochs"] == epochs else "us: cut short"


if __name__ == "__main__":
    main()
