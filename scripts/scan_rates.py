"""Scan each method's learning rate on held-out seeds ("optimised separately for each method").

    python scripts/scan_rates.py --data data/audio.h5 --out results/audio/rates-built-in.json

Every model at every size of Table 1, over a grid of rates, with momentum as by default (it ramps
up) and constant. The root seed is not that of any reported result. A rate's score is the mean over
all networks of MSE/σ, where a diverged network counts as one that gives the constant mean (MSE/σ =
σ). The best rate is one per method, for all sizes, as in the paper.
"""

import json
import sys
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from cwrnn_cli.paper import AUDIO, MODELS
from cwrnn_cli.reporting.tables import number, table
from cwrnn_cli.tasks.audio import load
from cwrnn_cli.training.audio import make_engine
from cwrnn_cli.training.audio_results import judge
from cwrnn_cli.training.configure import configure
from data_prep.files import write_text

RATES = {
    "srn": (3e-6, 1e-5, 3e-5, 1e-4, 3e-4),
    "lstm": (3e-6, 1e-5, 3e-5, 1e-4, 3e-4),
    "cw": (3e-5, 1e-4, 3e-4, 6e-4, 1e-3),
}


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=Path("data/audio.h5"))
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--runs", default=10)
@click.option("--seed", default=1000, help="Held out: reported results use 0.")
def main(data: Path, out: Path, runs: int, seed: int) -> None:
    sequences = load(data)
    sigma = np.tile(sequences.targets.std(axis=1), runs)
    rows, best = [], {}
    for model in MODELS:
        for ramp in (True, False):
            scores = {}
            for lr in RATES[model]:
                row = {"model": model, "momentum_ramp": ramp, "lr": lr, "sizes": {}}
                for params in AUDIO.hidden_sizes:
                    config = configure(
                        sequences, model, params, runs=runs, seed=seed, lr=lr, momentum_ramp=ramp
                    )
                    engine, _ = make_engine(config, sequences)
                    engine.run(config.momenta(0, config.epochs))
                    judged = judge(config, sequences, engine.weights(), config.epochs, np.array([]))
                    errors = np.where(judged.diverged, sigma, judged.metrics["nmse_paper"])
                    row["sizes"][str(params)] = {
                        "mean": float(errors.mean()),
                        "median": float(np.median(errors)),
                        "diverged": int(judged.diverged.sum()),
                        "networks": config.networks,
                    }
                scores[lr] = row["score"] = float(
                    np.mean([size["mean"] for size in row["sizes"].values()])
                )
                rows.append(row)
                print(
                    model,
                    "ramp" if ramp else "constant",
                    f"{lr:g}",
                    number(row["score"]),
                    flush=True,
                )
            best[f"{model}, {'ramp' if ramp else 'constant'}"] = min(scores, key=scores.get)
    result = {
        "command": f"python scripts/scan_rates.py --runs {runs} --seed {seed}",
        "data": {"name": sequences.source, "sha256": sequences.sha256},
        "standin": sequences.standin,
        "best": best,
        "rows": rows,
    }
    write_text(out, json.dumps(result, indent=1) + "\n")
    lines = [
        [
            row["model"],
            "ramp" if row["momentum_ramp"] else "constant",
            f"{row['lr']:g}",
            *(f"{number(s['mean'])} ({s['diverged']})" for s in row["sizes"].values()),
            number(row["score"]),
        ]
        for row in rows
    ]
    header = ["model", "momentum", "rate", *(f"{p} (diverged)" for p in AUDIO.hidden_sizes), "all"]
    text = f"{result['command']}\ndata: {sequences.source}\n{table(header, lines)}\nbest: {best}\n"
    write_text(out.with_suffix(".txt"), text)
    print(text)


if __name__ == "__main__":
    main()
