"""`cwrnn analyse` for task 3: errors without each module, and which modules the ink is read by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from data_prep.errors import UserError
from data_prep.store import Split

from ...models import CELLS
from ...models.ensemble import Ensemble
from ...models.modules import Module, input_gradients, modules_of
from ...option import Option, within
from ...reporting.analysis import (
    ablation,
    ablation_lines,
    draw_ablation,
    module_columns,
    opening,
)
from ...reporting.figures import finish, pyplot, shades
from ...reporting.tables import percent, table
from ...training.analysis import Analyser, Analysis, Rows
from ...training.evaluation import Evaluation
from ...training.folder import RunFolder
from ...training.stopping import BestNetworks
from .data import IamondbData, best_path, error_rate
from .engines import transcripts
from .evaluate import pen_path, spread
from .report import draw_ink

LINES = 200  # by default
_SPLIT = "valid"
_COLUMNS = 240  # of the figure: steps with the pen about there are taken together


class IamondbAnalyser(Analyser[IamondbData]):
    """Of the network that is best on the validation set, over lines of that."""

    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "lines",
            "Lines of the validation set to read with each module silenced, spread over it.",
            int,
            default=str(LINES),
        ),
        Option(
            "line",
            "Which line of the validation set to show the saliency of, counted from 1; 0: none, so "
            "that nothing of the corpus is in the folder.",
            int,
            default="1",
        ),
    )

    def analyse(self, run: RunFolder, data: IamondbData, **options: Any) -> Analysis:
        """See :class:`Analyser`; options ``lines`` and ``line``."""
        every = data.split(_SPLIT)
        count, line = options.get("lines", LINES), options.get("line", 1)
        within("--lines", count, 1)
        if not 0 <= line <= len(every):
            raise UserError(
                f"--line {line}: expected 1 to {len(every)}, of the validation set, or 0 for none"
            )
        best = BestNetworks.of(run)
        index = best.best()
        network = best.ensemble.part(torch.tensor([index]))
        lines = every.part(spread(len(every), count))
        parts = best.config, data, _SPLIT, best.epoch, best.ensemble, best.diverged
        about = Evaluation(*parts).heading() | {"split": _SPLIT, "network": index}
        about |= {"lines": len(lines), "lines_of_split": len(every)}

        errors = ablation(network, partial(_errors, data=data, lines=lines))
        caption = f"{opening(about, '')[1]}, validation set"
        figures: dict[str, Callable[[Path], None]] = {
            "ablation": partial(
                draw_ablation,
                rows=[row | {"percent": 100 * row["cer"]} for row in errors],
                column="percent",
                label="character error rate, %",
                caption=f"{caption}; {len(lines)} of {len(every)} lines, best path; one network",
            )
        }
        text, tables = _text(about, errors), {"ablation": errors}
        if line:
            found = saliency(network, data, every, line - 1)
            about |= {"line": line, "name": every.names[line - 1], "read": found.read}
            figures["saliency"] = partial(
                draw_saliency, found=found, colour=CELLS[best.config.model].colour, caption=caption
            )
            tables |= {"shares": found.shares(), "saliency": found.rows()}
            text += "\n" + _line_text(about, tables["shares"], found)
        return Analysis(about, tables, text, figures)


def _errors(network: Ensemble, data: IamondbData, lines: Split) -> dict[str, Any]:
    """Character error rate by best path."""
    return {"cer": error_rate(lines.text or [], transcripts(network, 0, data, lines))}


@dataclass(frozen=True)
class Saliency:
    """How much the likeliest path of a line hangs on the ink, by the module that reads it.

    Attributes:
        modules: g of them, all directions.
        size: (g, T) float64, length of the gradient of the path's log probability by the
            (standardised) input of a step, as it enters the module there; 0 between its ticks.
        log_probability: of the path.
        right: the line's text.
        read: the text of the path.
        pen: (T, 4) frames in the file's units, positions.
    """

    modules: tuple[Module, ...]
    size: np.ndarray
    log_probability: float
    right: str
    read: str
    pen: np.ndarray

    def shares(self) -> Rows:
        """A row per module: its part of the sizes' sum over all modules and steps."""
        total = self.size.sum() or 1.0
        return [
            {**module_columns(module), "share": float(size.sum() / total)}
            for module, size in zip(self.modules, self.size, strict=True)
        ]

    def rows(self) -> Rows:
        """A row per step: a column per module."""
        names = [module.name for module in self.modules]
        return [
            {"step": t} | dict(zip(names, values, strict=True))
            for t, values in enumerate(self.size.T.tolist())
        ]


def saliency(network: Ensemble, data: IamondbData, lines: Split, index: int) -> Saliency:
    """Of one line of a split.

    Args:
        network: an ensemble of one.
        data: the corpus.
        lines: the split.
        index: of the line.

    Raises:
        UserError: the network's outputs are no numbers.
    """
    like = network.weight_hh
    x = torch.from_numpy(lines[index]).to(like)

    def objective(logits: torch.Tensor) -> torch.Tensor:
        return logits.log_softmax(dim=1).max(dim=1).values.sum()

    gradients, logits = input_gradients(network, x, objective)
    if not logits.isfinite().all() or not gradients.isfinite().all():
        raise UserError("the network has diverged; train with a lower --lr")
    (units,) = best_path(logits[None], torch.tensor([len(x)]))
    assert lines.text is not None
    return Saliency(
        modules_of(network.shape),
        gradients.double().norm(dim=2).numpy(),
        float(objective(logits)),
        lines.text[index],
        data.decode(units),
        pen_path(lines, index, data),
    )


def _text(about: Mapping[str, Any], errors: Rows) -> str:
    title = (
        f"character error rate in % with a module silenced: best path, {about['lines']} of "
        f"{about['lines_of_split']} lines of the validation set"
    )
    return "\n".join(
        [
            *opening(about, f"network {about['network']}, the best on the validation set"),
            "",
            *ablation_lines(errors, lambda row: percent(row["cer"]), title),
        ]
    )


def _line_text(about: Mapping[str, Any], shares: Rows, found: Saliency) -> str:
    return "\n".join(
        [
            "",
            f"saliency of line {about['line']}, {about['name']}: log probability of the likeliest "
            f"path {found.log_probability:.2f}",
            f"right: {found.right}",
            f"read:  {found.read}",
            table(
                ("module", "share of the gradient's size, %"),
                [[row["module"], percent(row["share"])] for row in shares],
            ),
            "the gradient of that log probability by the input of each step, apart for each module "
            "that reads it there, with all that follows from it in this and other modules",
        ]
    )


def draw_saliency(path: Path, found: Saliency, colour: str, caption: str) -> None:
    """The line's ink, and below it by module how much the reading hangs on the ink there.

    Below a place are the steps at which the pen was at that place, left to right.

    Args:
        path: PNG file to write.
        found: of the line.
        colour: of the largest.
        caption: data and how it was made.
    """
    names, x = [module.name for module in found.modules], found.pen[:, 0]
    left, right = float(x.min()), float(x.max())
    edges = np.linspace(left, right if right > left else left + 1, _COLUMNS + 1)
    sums = np.stack([np.histogram(x, edges, weights=size)[0] for size in found.size])
    figure, (top, bottom) = pyplot().subplots(
        2, 1, figsize=(9, 2.4 + 0.22 * len(names)), sharex=True,
        gridspec_kw={"height_ratios": [1.3, 0.22 * len(names)]},
    )  # fmt: skip
    draw_ink(top, found.pen)
    top.axis("off")
    title = f"right: {found.right}\nread:  {found.read}"
    top.set_title(title, fontsize=8, loc="left", family="monospace")
    # a root, as a few steps have most of it
    bottom.imshow(
        np.sqrt(sums), cmap=shades(colour), aspect="auto", vmin=0, interpolation="nearest",
        extent=(edges[0], edges[-1], len(names) - 0.5, -0.5),
    )  # fmt: skip
    bottom.set_yticks(range(len(names)), names, fontsize=7)
    bottom.set_xticks([])
    bottom.set_ylabel("module of period", fontsize=7)
    finish(
        figure,
        path,
        "how much the likeliest path's log probability hangs on the ink, by the module that reads "
        f"it (root of the gradient's size); {caption}",
    )
