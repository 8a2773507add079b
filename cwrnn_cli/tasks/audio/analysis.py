"""`cwrnn analyse` for task 1: what each module plays, and the error without it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.signal import periodogram

from data_prep.audio import RATE
from data_prep.errors import UserError

from ...models import CELLS
from ...models.ensemble import Ensemble
from ...models.modules import contributions, modules_of
from ...reporting.analysis import (
    ablation,
    ablation_lines,
    draw_ablation,
    module_columns,
    opening,
)
from ...reporting.figures import finish, pyplot
from ...reporting.tables import number, table
from ...statistics import statistics
from ...training.analysis import Analyser, Analysis, Rows
from ...training.folder import RunFolder
from ...training.stopping import all_diverged
from . import data as audio
from .evaluate import AudioEvaluation, evaluate_networks

_DRAWN = 5  # sequences in the figure
_LEAST = 1e-6  # of the target's peak: what is below is not drawn
_INK = "#444444"


class AudioAnalyser(Analyser[audio.AudioData]):
    """Spectra of the best network of each sequence; ablation of all that did not diverge."""

    def analyse(self, run: RunFolder, data: audio.AudioData, **options: Any) -> Analysis:
        """See :class:`Analyser`."""
        evaluation = evaluate_networks(run.config(), data, run.checkpoint())
        if evaluation.diverged.all():
            raise all_diverged(run)
        best = {}
        for sequence in range(len(data.targets)):
            try:
                best[sequence] = evaluation.best(sequence)
            except UserError:  # all of its networks diverged
                continue
        spectra = {s: Spectra(evaluation, s, network) for s, network in best.items()}
        modules: Rows = [row for found in spectra.values() for row in found.modules()]
        errors = ablation_rows(evaluation)
        about = evaluation.heading() | {"sequences": data.names, "rate_hz": RATE}
        text = _text(about, modules, errors, evaluation)
        caption = opening(about, "")[1]
        tables = {
            "modules": modules,
            "spectrum": [row for found in spectra.values() for row in found.rows()],
            "ablation": errors,
        }
        figures = {
            "spectrum": partial(draw_spectra, found=spectra, caption=caption),
            "ablation": partial(
                draw_ablation,
                rows=errors,
                column="median",
                label="MSE/σ, median",
                caption=f"{caption}; {errors[0]['networks']} networks",
                logarithmic=True,
            ),
        }
        return Analysis(about, tables, text, figures)


class Spectra:
    """What a network plays, what it learnt, and what each of its modules adds.

    Args:
        evaluation: of the run.
        sequence: index of the sequence.
        network: index of the network, which learnt it.

    Attributes:
        label: of the network's cell.
        frequencies: (F,) in Hz.
        waves: signal -> (T,): ``target``, ``output`` and modules by name.
        power: signal -> (F,) power spectral density, under a Hann window, without the mean.
    """

    def __init__(self, evaluation: AudioEvaluation, sequence: int, network: int) -> None:
        self.sequence, self.network = sequence, network
        self.cell = CELLS[evaluation.config.model]
        part = evaluation.ensemble.part(torch.tensor([network]))
        steps = evaluation.config.length
        with torch.no_grad():
            hidden = part.hidden(audio.silence(1, steps, part.weight_hh))
            parts = contributions(part, hidden)[:, 0, 0, :, 0].double().numpy()  # (modules, T)
        self._modules = modules_of(part.shape)
        self.waves: dict[str, np.ndarray] = {
            "target": evaluation.data.targets[sequence].astype(float),
            "output": evaluation.outputs[network].astype(float),
        }
        self.waves |= {m.name: wave for m, wave in zip(self._modules, parts, strict=True)}
        self.power: dict[str, np.ndarray] = {}
        for name, wave in self.waves.items():
            self.frequencies, self.power[name] = periodogram(wave, RATE, "hann")

    def nyquist(self) -> dict[str, float]:
        """Module -> in Hz, the highest frequency that its ticks can follow."""
        return {module.name: RATE / (2 * module.period) for module in self._modules}

    def modules(self) -> Rows:
        """A row per module: where its spectrum peaks, and its variance over the target's."""
        target = self.waves["target"].var()
        return [
            {
                "sequence": self.sequence + 1,
                "network": self.network,
                **module_columns(module),
                "nyquist_hz": RATE / (2 * module.period),
                "peak_hz": self._peak(module.name),
                "power": float(self.waves[module.name].var() / target),
            }
            for module in self._modules
        ]

    def _peak(self, name: str) -> float | None:
        """In Hz; None for a wave that is constant."""
        power = self.power[name]
        return float(self.frequencies[power.argmax()]) if power.any() else None

    def rows(self) -> Rows:
        """A row per frequency: the power spectral density of each signal."""
        return [
            {"sequence": self.sequence + 1, "network": self.network, "frequency_hz": float(hz)}
            | {name: float(power[i]) for name, power in self.power.items()}
            for i, hz in enumerate(self.frequencies)
        ]


def ablation_rows(evaluation: AudioEvaluation) -> Rows:
    """See :func:`.reporting.analysis.ablation`; quantiles of MSE/σ over the networks.

    ``median``, ``q25`` and ``q75`` are of MSE/σ, ``median_nmse`` is that of MSE/variance.
    """
    finite = np.flatnonzero(evaluation.finite)
    targets = evaluation.data.targets[evaluation.sequence_of()[finite]]
    steps = evaluation.config.length

    def measure(networks: Ensemble) -> Mapping[str, Any]:
        x = audio.silence(networks.networks, steps, networks.weight_hh)
        found = audio.metrics(networks(x)[:, 0, :, 0].numpy(), targets)
        scale = statistics(found["nmse_paper"])
        return {name: scale[name] for name in ("median", "q25", "q75")} | {
            "median_nmse": statistics(found["nmse"])["median"],
            "networks": networks.networks,
        }

    return ablation(evaluation.ensemble.part(torch.from_numpy(finite)), measure)


def _text(
    about: Mapping[str, Any], modules: Rows, errors: Rows, evaluation: AudioEvaluation
) -> str:
    columns = sorted({row["sequence"] for row in modules})
    header = ["module", "units", "Nyquist Hz"]
    header += [f"{what} {s}" for what in ("peak Hz", "power") for s in columns]
    lines = []
    for first in [row for row in modules if row["sequence"] == columns[0]]:
        mine = [row for row in modules if row["module"] == first["module"]]
        peaks = ["–" if row["peak_hz"] is None else f"{row['peak_hz']:.0f}" for row in mine]
        powers = [number(row["power"]) for row in mine]
        start = [first["module"], str(first["units"]), f"{first['nyquist_hz']:.0f}"]
        lines.append(start + peaks + powers)
    resolution = RATE / evaluation.config.length
    return "\n".join(
        [
            *opening(about, f"{errors[0]['networks']} of {about['networks']} networks did not "
                     "diverge"),
            "",
            "what each module adds to the output of the best network of each sequence",
            table(header, lines),
            f"peak: of its spectrum (Hann window, {resolution:.0f} Hz apart); power: its variance "
            "over the target's; modules may cancel each other, so these need not add up to 1",
            "",
            *ablation_lines(
                errors,
                lambda row: f"{number(row['median'])} ({number(row['q25'])}.."
                f"{number(row['q75'])})",
                "MSE/σ with a module silenced: median (quartiles) over the networks",
            ),
        ]
    )  # fmt: skip


def draw_spectra(path: Path, found: Mapping[int, Spectra], caption: str) -> None:
    """A row per module, a column per sequence: its spectrum over the target's.

    Args:
        path: PNG file to write.
        found: sequence -> spectra.
        caption: data and how it was made.
    """
    drawn = list(found.values())[:_DRAWN]
    names = [name for name in drawn[0].waves if name != "target"]
    size = (max(2.3 * len(drawn) + 1.4, 7.5), 0.85 * len(names) + 1.3)
    figure, axes = pyplot().subplots(
        len(names), len(drawn), figsize=size, squeeze=False, sharex=True, sharey="col"
    )
    for column, each in enumerate(drawn):
        positive = each.frequencies > 0
        hz, peak = each.frequencies[positive], each.power["target"].max()
        for row, name in enumerate(names):
            axis = axes[row, column]
            target, own = (each.power[n][positive] / peak for n in ("target", name))
            axis.plot(hz, target, color=_INK, linewidth=1, linestyle=(0, (1, 1.2)))
            axis.plot(hz, np.maximum(own, _LEAST / 10), color=each.cell.colour, linewidth=1.2)
            if name in (limits := each.nyquist()):
                axis.axvline(limits[name], color=_INK, linewidth=0.6)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_ylim(_LEAST, 30)
            axis.margins(x=0)
            axis.tick_params(labelsize=6)
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
            if column == 0:
                label = name if name == "output" else f"period {name}"
                axis.set_ylabel(label, fontsize=7, rotation=0, ha="right", va="center")
        axes[0, column].set_title(f"sequence {each.sequence + 1}", fontsize=9)
        axes[-1, column].set_xlabel("Hz", fontsize=7)
    more = f"; {len(drawn)} of {len(found)} sequences" if len(drawn) < len(found) else ""
    finish(
        figure,
        path,
        f"{caption}{more}; {drawn[0].cell.label}, power of what each module adds to the output "
        "(solid) over the target's (dotted), relative to the target's peak; vertical: the "
        "module's Nyquist frequency",
    )
