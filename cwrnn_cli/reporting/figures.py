"""Figures as PNG files or SVG: waves (Figure 5), box plots (Figures 3 and 4), curves."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.files import atomic_write

from ..models import CELLS
from ..outputs import AUTHOR
from . import vector

Target = Path | StringIO  # a PNG file to write, or a stream for SVG (see :mod:`.vector`)
_INK = "#444444"
_IN_LEGEND = 14  # runs; more than that have it beside the curves
_DPI = 120
_STYLES = ("-", "--", ":", "-.")


def pyplot() -> Any:
    """matplotlib.pyplot, for files only."""
    import matplotlib  # noqa: PLC0415  (slow to import)

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    return pyplot


def shades(colour: str = "#1b7a43") -> Any:
    """A colour map from nothing, whatever the ground is, to a colour."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba  # noqa: PLC0415  (as above)

    return LinearSegmentedColormap.from_list("shades", [to_rgba(colour, 0), to_rgba(colour)])


def save(figure: Any, path: Target) -> None:
    """Write a figure and forget it: a PNG of 256 colours, whole or not at all, or SVG."""
    from PIL import Image, PngImagePlugin  # noqa: PLC0415  (as above)

    if isinstance(path, StringIO):
        vector.save(figure, path)
        pyplot().close(figure)
        return
    about = PngImagePlugin.PngInfo()
    about.add_text("Software", AUTHOR)
    with BytesIO() as drawn, atomic_write(path) as file, _full_memory():
        figure.savefig(drawn, dpi=_DPI, format="png")
        with Image.open(drawn) as image:
            small = image.convert("RGB").quantize()  # a third of the bytes
            small.save(file, format="png", optimize=True, pnginfo=about)
    pyplot().close(figure)


@contextmanager
def _full_memory() -> Iterator[None]:
    """Call it so where Pillow, which gets none, has other words for it."""
    try:
        yield
    except (OSError, ValueError) as error:
        if str(error).startswith(("quantization error", "codec configuration error")):
            raise MemoryError from error
        raise


def finish(figure: Any, path: Target, caption: str) -> None:
    """:func:`save`, with a caption below, in as many lines as it needs."""
    lines = textwrap.wrap(caption, int(16 * figure.get_figwidth()))
    words = "\n".join(lines)
    figure.text(0.5, 0.005, words, ha="center", va="bottom", fontsize=7, color=_INK)
    figure.set_dpi(_DPI)  # at another, long labels have another width than the layout's
    figure.tight_layout(rect=(0, 0.03 * len(lines), 1, 1))
    save(figure, path)


def waves(
    path: Target,
    targets: np.ndarray,
    outputs: Mapping[str, np.ndarray],
    caption: str,
    columns: Sequence[str] | None = None,
) -> None:
    """Figure 5: each network's output (solid) over its target (dotted).

    A row per model, a column per sequence.

    Args:
        path: what to write.
        targets: (S, T) in [-1, 1].
        outputs: model -> (S, T or more); steps beyond T are drawn as the continuation that they
            are.
        caption: data and how it was made.
        columns: titles of the columns; default: sequence 1, 2 ...
    """
    plt = pyplot()
    rows, count = len(outputs), len(targets)
    width = max(2.6 * count + 1.4, 7.5)
    figure, axes = plt.subplots(
        rows, count, figsize=(width, 1.7 * rows + 0.9), squeeze=False, sharey=True
    )
    for row, (model, lines) in enumerate(outputs.items()):
        cell = CELLS[model]
        for column in range(count):
            axis, target, line = axes[row, column], targets[column], lines[column]
            axis.plot(target, color=_INK, linewidth=1, linestyle=(0, (1, 1.2)))
            axis.plot(line[: len(target)], color=cell.colour, linewidth=1.2)
            if len(line) > len(target):
                beyond = np.arange(len(target) - 1, len(line))
                axis.plot(beyond, line[len(target) - 1 :], color=cell.colour, linewidth=0.6)
                axis.axvline(len(target) - 1, color=_INK, linewidth=0.6)
            axis.set_ylim(-1.25, 1.25)
            axis.margins(x=0)
            axis.tick_params(labelsize=7)
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
            if row == 0:
                axis.set_title(columns[column] if columns else f"sequence {column + 1}", fontsize=9)
            if row == rows - 1:
                axis.set_xlabel("step (1/44100 s)", fontsize=7)
        axes[row, 0].set_ylabel(cell.label, fontsize=9)
    finish(figure, path, caption)


def boxes(
    path: Target,
    errors: Mapping[tuple[str, int], np.ndarray],
    caption: str,
    medians: Mapping[str, Mapping[int, float]],
    label: str,
    others: Mapping[tuple[str, int], Mapping[str, float]],
    logarithmic: bool = False,
) -> None:
    """Figures 3 and 4: box plots of errors per model and size, with the paper's medians beside.

    Args:
        path: what to write.
        errors: (model, parameters) -> errors of every network that did not diverge.
        caption: data and how it was made.
        medians: model -> parameters -> the paper's median.
        label: of the errors.
        others: (model, parameters) -> marker -> median over all networks, where some diverged.
        logarithmic: the scale of the errors.
    """
    plt = pyplot()
    models = [m for m in CELLS if any(m == model for model, _ in errors)]
    sizes = sorted({params for _, params in errors})
    figure, axis = plt.subplots(figsize=(max(1.5 + 1.9 * len(sizes), 7.5), 4.2))
    for k, model in enumerate(models):
        cell = CELLS[model]
        there = [i for i, params in enumerate(sizes) if len(errors.get((model, params), ()))]
        places = [i + 0.25 * (k - (len(models) - 1) / 2) for i in there]
        for i, place in zip(there, places, strict=True):
            drawn = axis.boxplot(
                errors[model, sizes[i]],
                positions=[place],
                widths=0.2,
                whis=(2, 98),
                patch_artist=True,
                flierprops={"markersize": 1.5, "markeredgecolor": cell.colour},
                medianprops={"color": "black"},
                manage_ticks=False,
            )
            (box,) = drawn["boxes"]
            box.set_facecolor(cell.colour)
            box.set_alpha(0.6)
            for marker, value in others.get((model, sizes[i]), {}).items():
                axis.plot(place, value, marker, color="black", markersize=5, linestyle="none")
        own = medians.get(model, {})
        papers = [(p, own.get(sizes[i])) for p, i in zip(places, there, strict=True)]
        axis.plot(
            [p for p, m in papers if m is not None],
            [m for _, m in papers if m is not None],
            linestyle="none",
            marker="D",
            markersize=5,
            markerfacecolor="white",
            markeredgecolor=cell.colour,
            label=cell.label + (" (◇ paper's median)" if own else ""),
        )
    if logarithmic:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    axis.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axis.set_xlabel("parameters")
    axis.set_ylabel(label)
    axis.grid(axis="y", linewidth=0.3)
    axis.legend(fontsize=7, loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.1), frameon=False)
    finish(figure, path, caption)


def curves(
    path: Target,
    runs: Mapping[str, Sequence[tuple[int, float]]],
    label: str,
    caption: str,
    logarithmic: bool = False,
) -> None:
    """A line per run over epochs, in the colour of its cell where its name has one in it.

    Args:
        path: what to write.
        runs: name, such as MODEL-PARAMS -> (epoch, value).
        label: of the values, percent.
        caption: data and how it was made.
        logarithmic: the scale of the values, which are then no percentages.
    """
    many = len(runs) > _IN_LEGEND
    figure, axis = pyplot().subplots(figsize=(11, 5) if many else (7, 4.2))
    drawn: list[str | None] = []
    for name, points in runs.items():
        colour = next((c.colour for m, c in CELLS.items() if f"-{m}-" in f"-{name}-"), None)
        style = _STYLES[drawn.count(colour) % len(_STYLES)]
        drawn.append(colour)
        epochs, values = zip(*points, strict=True) if points else ((), ())
        axis.plot(epochs, values, label=name, color=colour, linestyle=style, linewidth=1)
    axis.set_xlabel("epochs")
    axis.set_ylabel(label)
    if logarithmic:
        axis.set_yscale("log")
    else:
        axis.set_ylim(0, 100)
    axis.grid(linewidth=0.3)
    beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.02), "ncols": 2}
    axis.legend(fontsize=6 if many else 7, frameon=not many, **(beside if many else {}))
    finish(figure, path, caption)


def dots(
    path: Target,
    names: Sequence[str],
    panels: Mapping[str, Mapping[str, np.ndarray]],
    papers: Mapping[str, Mapping[str, float]],
    label: str,
    caption: str,
) -> None:
    """A dot per model and corpus, panels one below the other, the paper's values as lines.

    Args:
        path: what to write.
        names: (P,) of the corpora, in the order in which to draw them.
        panels: title -> model -> (P,) above 0.
        papers: title -> model -> the paper's value, where it has one.
        label: of the values.
        caption: data and how it was made.
    """
    plt = pyplot()
    size = (max(1.5 + 0.16 * len(names), 7.5), 2.5 * len(panels) + 1.6)
    figure, axes = plt.subplots(len(panels), 1, figsize=size, squeeze=False, sharex=True)
    places = np.arange(len(names))
    for axis, (title, models) in zip(axes[:, 0], panels.items(), strict=True):
        for model, values in models.items():
            cell = CELLS[model]
            axis.plot(
                places, values, "o", color=cell.colour, markersize=4, label=f"{cell.label}, median"
            )
            if model in papers[title]:
                axis.axhline(
                    papers[title][model],
                    color=cell.colour,
                    linewidth=1,
                    linestyle="--",
                    label=f"{cell.label}, the paper's",
                )
        axis.set_yscale("log")
        axis.set_ylabel(label, fontsize=8)
        axis.set_title(title, fontsize=9)
        axis.grid(axis="y", linewidth=0.3)
        axis.tick_params(labelsize=7)
    axes[0, 0].legend(fontsize=6, loc="lower right", ncols=3)
    axes[-1, 0].set_xticks(places, names, rotation=90, fontsize=6)
    axes[-1, 0].set_xlim(-0.7, len(names) - 0.3)
    finish(figure, path, caption)
