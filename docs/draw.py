"""The drawings of docs/kernels.md: `python docs/draw.py` writes them beside this file.

Periods, sizes and places are those of the code: clocks of :mod:`cwrnn_cli.clock`, blocks of
:mod:`cwrnn_cli.kernels.clockwork.layout`, shapes of :mod:`cwrnn_cli.models.ensemble`.
"""

import sys
from html import escape
from itertools import groupby
from math import prod
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))  # the tree that this file is in, installed or not

import numpy as np

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels.clockwork.layout import Places, clock_layout, packing
from cwrnn_cli.kernels.numba.simd import LANES
from cwrnn_cli.models import ClockworkSpec
from cwrnn_cli.models.ensemble import Shape

INK, FAINT, LINE, PADDING = "#1f2933", "#66727f", "#b8c1cb", "#eceff2"
MODULES = ("#2a9d5c", "#2f6fb7", "#d9822b", "#8e4ec6")  # the fastest module's colour first
PALE = ("#d3eddd", "#d3e2f3", "#f8e3cb", "#e8daf5")
FOLLOWED = "#c0392b"  # what a reader's eye should follow
BLOCK_CLOCK = Clock.of(4, (1, 2))  # small, so that every weight has a line of its own
BLOCK_SHAPE = Shape(ClockworkSpec.of_clock(BLOCK_CLOCK), 0, 1)  # no input, one output: task 1's


class Drawing:
    """An SVG on a white ground, so that it is readable on a dark page too.

    Args:
        width: in pixels.
        height: in pixels.
        title: what a screen reader says first.
        description: and then.
    """

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self.lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-labelledby="title desc" '
            'font-family="Helvetica, Arial, sans-serif" font-size="13">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="desc">{escape(description)}</desc>',
        ]
        self.box(0, 0, width, height, "#ffffff", corner=12)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        stroke: str = "none",
        corner: int = 0,
    ) -> None:
        """A rectangle from its upper left corner."""
        self.lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{corner}" '
            f'fill="{fill}" stroke="{stroke}"/>'
        )

    def line(
        self, x0: float, y0: float, x1: float, y1: float, stroke: str = LINE, dash: str = "none"
    ) -> None:
        """A straight line."""
        self.lines.append(
            f'<line x1="{x0:g}" y1="{y0:g}" x2="{x1:g}" y2="{y1:g}" stroke="{stroke}" '
            f'stroke-width="1.5" stroke-dasharray="{dash}"/>'
        )

    def dot(self, x: float, y: float, fill: str) -> None:
        """A small disc with a white rim."""
        self.lines.append(f'<circle cx="{x:g}" cy="{y:g}" r="4" fill="{fill}" stroke="#ffffff"/>')

    def text(
        self,
        x: float,
        y: float,
        words: object,
        fill: str = INK,
        anchor: str = "start",
        size: int = 13,
        bold: bool = False,
    ) -> None:
        """One line of text; y is its base line."""
        weight = "bold" if bold else "normal"
        self.lines.append(
            f'<text x="{x:g}" y="{y:g}" fill="{fill}" text-anchor="{anchor}" '
            f'font-size="{size}" font-weight="{weight}">{escape(str(words))}</text>'
        )

    def svg(self) -> str:
        """The file."""
        return "\n".join([*self.lines, "</svg>", ""])


def cascade() -> str:
    """Which module ticks when, who reads one tick's contribution, and what that costs."""
    clock, steps, followed = Clock.of(4, (1, 2, 4, 8)), 16, 3
    modules = len(clock.periods)
    cell, left, top, row = 36, 108, 84, 92
    right = left + steps * cell
    drawing = Drawing(
        right + 236,
        top + modules * row + 82,
        "The cascade",
        "Modules of period 8, 4, 2 and 1 over 16 steps, the slowest on top. A filled square is a "
        "tick, a pale bar behind it the held output. The bar below is the contribution of a tick: "
        "it enters the drive of all faster modules from the next step to the next tick. Lines "
        "follow one of them to the ticks that read it. On the right the multiply-adds with W_H.",
    )
    drawing.text(left, 28, "step t", FAINT)
    for t in range(steps):
        drawing.text(left + t * cell + cell / 2, 50, t, FAINT, "middle")
    columns = [("ticks", right + 52), ("ours", right + 122), ("appendix", right + 202)]
    drawing.text(columns[2][1], 28, "multiply-adds, in k²", FAINT, "end")
    for words, x in columns:
        drawing.text(x, 50, words, FAINT, "end")
    totals = [0, 0]
    y_of = {i: top + (modules - 1 - i) * row for i in range(modules)}

    def readers(t: int) -> list[int]:
        """Modules that tick at t and read the contribution that is followed."""
        return [i for i in range(followed) if t % clock.periods[i] == 0]

    start = y_of[followed]
    drawing.line(left + cell / 2, start + 28, left + cell * 1.5, start + 50, FOLLOWED)
    for t in range(1, clock.periods[followed] + 1):
        x = left + t * cell + cell / 2
        drawing.line(x, start + 50, x, y_of[min(readers(t))], FOLLOWED, "4 3")
    for i, period in enumerate(clock.periods):
        y = y_of[i]
        drawing.text(20, y + 19, f"period {period}", MODULES[i], bold=True)
        for t in range(0, steps, period):
            x, last = left + t * cell, min(t + period, steps)
            drawing.box(x + 2, y, (last - t) * cell - 4, 28, PALE[i], corner=5)
            drawing.box(x + 2, y, cell - 4, 28, MODULES[i], corner=5)
            drawing.text(x + cell / 2, y + 19, "y", "#ffffff", "middle", bold=True)
        ticks = -(-steps // period)
        numbers = (ticks, ticks * (i + 1), ticks * (modules - i))
        totals = [total + number for total, number in zip(totals, numbers[1:], strict=True)]
        for number, (_, x) in zip(numbers, columns, strict=True):
            drawing.text(x, y + 19, number, INK, "end")
        if i == 0:
            continue
        drawing.text(20, y + 54, "contribution", FAINT, size=12)
        for t in (-period, *range(0, steps, period)):  # read from the next step to the next tick
            begin, end = max(t + 1, 0), min(t + period, steps - 1) + 1
            if begin < end:
                paint = (PALE[i], MODULES[i]) if t >= 0 else (PADDING, LINE)
                where = (left + begin * cell + 2, y + 41, (end - begin) * cell - 4, 18)
                drawing.box(*where, *paint, 4)
    for t in range(1, clock.periods[followed] + 1):
        x = left + t * cell + cell / 2
        for y in [y_of[followed] + 50] + [y_of[i] for i in readers(t)]:
            drawing.dot(x, y, FOLLOWED)
    bottom = top + modules * row
    drawing.line(right + 16, bottom - 44, columns[2][1], bottom - 44)
    for number, (_, x) in zip(totals, columns[1:], strict=True):
        drawing.text(x, bottom - 24, number, INK, "end", bold=True)
    drawing.text(right + 16, bottom - 24, "sum", FAINT)
    drawing.text(columns[2][1], bottom - 4, f"without a clock: {steps * modules**2}", FAINT, "end")
    notes = (
        "Forward: the slowest module first, all its ticks; then its contributions, one per tick; "
        "then the next faster module.",
        "Backward: the fastest first; the gradients of all who read a contribution are summed, and "
        "the sum is multiplied once.",
        "Red: who reads the contribution of one tick. Grey: contributions of the initial state.",
    )
    for number, note in enumerate(notes):
        drawing.text(20, bottom + 22 + 20 * number, note, FAINT)
    return drawing.svg()


LEFTS = (316, 506, 696)  # of each module's blocks in the drawing of the layout
INDENT = 216  # of what stands over and before them
Runs = list[tuple[int, int, int]]  # (begin, end, module) of numbers of one module


def _runs(row: np.ndarray, clock: Clock, features: int) -> Runs:
    """The numbers of a block's row that are weights, not padding.

    Args:
        row: indices as in :class:`.Packing`, which count W_I's weights, then W_H's, from 1 on.
        clock: of the layer.
        features: m.
    """
    n, index = clock.hidden_size, row - 1
    recurrent = (index - n * features) % n  # the unit that a weight of W_H comes from
    unit = np.where(index < n * features, index // features, recurrent)
    modules = np.searchsorted(clock.starts, unit, side="right") - 1
    modules[row == 0] = -1
    edges = [0, *(np.flatnonzero(np.diff(modules)) + 1).tolist(), len(row)]
    pairs = zip(edges, edges[1:], strict=False)
    return [(a, b, int(modules[a])) for a, b in pairs if modules[a] >= 0]


def _draw_block(
    drawing: Drawing, x: float, y: float, numbers: np.ndarray, clock: Clock, features: int
) -> None:
    """One block (rows, columns) of indices, a square of 3 pixels for each number."""
    rows, columns = numbers.shape
    drawing.box(x, y, columns * 3, rows * 3, PADDING, LINE)
    found = [_runs(row, clock, features) for row in numbers]
    r = 0
    for runs, alike in groupby(found):
        count = len(list(alike))
        for begin, end, module in runs:
            where = (x + begin * 3, y + r * 3, (end - begin) * 3, count * 3)
            drawing.box(*where, MODULES[module])
        r += count
    for lane in range(LANES, columns, LANES):
        drawing.line(x + lane * 3, y, x + lane * 3, y + rows * 3, "#ffffff")


def _draw_pass(
    drawing: Drawing,
    top: float,
    index: np.ndarray,
    places: Places,
    rows: dict[str, tuple[int, ...]],
    clock: Clock,
    features: int,
) -> float:
    """All blocks of one pass: a line per use, a column per module; then the memory as a whole.

    Args:
        drawing: where.
        top: of the blocks.
        index: of all numbers, as in :class:`.Packing`.
        places: of the blocks.
        rows: of each module's block, by use.
        clock: of the layer.
        features: m.

    Returns:
        The lower edge.
    """
    ends = iter([*np.concatenate(places)[1:].tolist(), len(index) // LANES])
    step, strip = 4.4, []  # pixels of a vector; (use, module, first vector, vectors)
    for use, firsts in places._asdict().items():
        drawing.text(INDENT, top + 12, use, INK, bold=True)
        tallest = 0
        for i, first in enumerate(firsts.tolist()):
            count = next(ends) - first
            if count == 0:
                drawing.text(LEFTS[i], top + 12, "none is faster", FAINT, size=11)
                continue
            numbers = index[first * LANES : (first + count) * LANES].reshape(rows[use][i], -1)
            words = f"({rows[use][i]}, {numbers.shape[1] // LANES}), from vector {first} on"
            drawing.text(LEFTS[i], top + 12, words, FAINT, size=11)
            _draw_block(drawing, LEFTS[i], top + 18, numbers, clock, features)
            strip.append((use, i, first, count))
            tallest = max(tallest, rows[use][i])
        top += 18 + 3 * tallest + 14
    for use, i, first, count in strip:
        x, width = INDENT + first * step, count * step
        drawing.box(x, top, width, 18, PALE[i], MODULES[i])
        if width > 6.5 * len(use):
            drawing.text(x + width / 2, top + 13, use, INK, "middle", size=10)
    words = f"{len(index) // LANES} vectors"
    drawing.text(INDENT + len(index) // LANES * step + 8, top + 13, words, FAINT, size=11)
    return top + 18


def layout() -> str:
    """The mask of a clockwork layer, its padded modules, and the blocks of both passes."""
    clock, features = Clock.of(36, (1, 2, 4), (20, 9, 7)), 5
    table, packed = clock_layout(clock), packing(clock, features)
    n, k, scale = clock.hidden_size, clock.sizes, 4
    spans = list(zip(clock.starts, clock.starts[1:], strict=False))
    drawing = Drawing(
        920,
        814,
        "The packed weights of a clockwork layer",
        f"Left the mask of W_H for modules of {', '.join(map(str, k))} units. On top these units, "
        f"padded to whole vectors of {LANES}. Below the blocks of weights, by use and module, "
        "as the forward pass and the backward pass have them, and in which order; grey is padding.",
    )
    drawing.text(24, 30, "W_I and W_H", bold=True)
    drawing.text(24, 48, f"n = {n}, m = {features}", FAINT, size=12)
    left, y = 24 + features * scale + 8, 60
    drawing.box(left, y, n * scale, n * scale, PADDING, LINE)
    mask = clock.mask()
    for i, (a, b) in enumerate(spans):
        drawing.box(24, y + a * scale, features * scale, (b - a) * scale, MODULES[i], "#ffffff")
        for j, (c, d) in enumerate(spans):
            where = (left + c * scale, y + a * scale, (d - c) * scale, (b - a) * scale)
            if mask[a:b, c:d].all():
                drawing.box(*where, MODULES[j], "#ffffff")
                if i == j:
                    drawing.text(where[0] + 4, where[1] + 16, "own", "#ffffff", size=11)
    notes = ("row: who reads", "column: who is read", "grey: forbidden, padding")
    notes += ("a block: (rows, vectors)",)
    for number, note in enumerate(notes):
        drawing.text(24, y + n * scale + 20 + 17 * number, note, FAINT, size=12)
    words = f"The units, module by module in whole vectors of {LANES}: N = {table.padded}"
    drawing.text(LEFTS[0], 30, words, bold=True)
    for i, (units, width) in enumerate(zip(k, table.widths, strict=True)):
        first, size = int(table.clock.offsets[i]), 9
        x = LEFTS[0] + first * LANES * size
        drawing.text(x, 50, f"module {i}: {units} units", MODULES[i], size=12)
        drawing.text(x, 91, f"from vector {first} on", FAINT, size=11)
        for lane in range(width * LANES):
            fill = MODULES[i] if lane < units else PADDING
            drawing.box(x + lane * size, 57, size - 1, 18, fill)
        for vector in range(width):
            where = (x + vector * LANES * size - 1, 56, LANES * size, 20)
            drawing.box(*where, "none", INK)
    both = (
        (
            "Forward pass: the blocks transposed",
            packed.forward.numpy(),
            packed.forward_places,
            {"inputs": (features,) * len(k), "own": k, "columns": k},
        ),
        (
            "Backward pass: the blocks as they stand in W_I and W_H",
            packed.backward.numpy(),
            packed.places,
            {"inputs": k, "own": k, "columns": clock.starts[:-1]},
        ),
    )
    top: float = 134
    for words, index, places, rows in both:
        drawing.text(INDENT, top, words, bold=True)
        for i, period in enumerate(clock.periods):
            words = f"module {i}, period {period}"
            drawing.text(LEFTS[i], top + 20, words, MODULES[i], size=12)
        top = _draw_pass(drawing, top + 28, index, places, rows, clock, features) + 46
    return drawing.svg()


def block() -> str:
    """Weights of task 1's networks: a vector per weight, a lane per network."""
    networks = 21
    names = {"weight_hh": "W_H", "bias": "b_H", "weight_out": "W_O", "bias_out": "b_O"}
    weights = {names[name]: size for name, size in BLOCK_SHAPE.weights().items()}
    rows = sum(map(prod, weights.values()))
    blocks = -(-networks // LANES)
    cell, high, left, top, between, followed = 18, 15, 160, 62, 64, 5
    right = left + blocks * LANES * cell + (blocks - 1) * between
    drawing = Drawing(
        right + 40,
        top + rows * high + 70,
        "A block of 16 networks",
        f"theta of {networks} networks of {BLOCK_CLOCK.hidden_size} units in {blocks} blocks of "
        f"({rows}, {LANES}). A row is one weight of {LANES} networks, which is one vector; a "
        "column is a lane, one network. Lanes without a network are grey, as are weights that the "
        "mask keeps at 0.",
    )
    mask = BLOCK_CLOCK.mask().reshape(-1)
    for b in range(blocks):
        x0 = left + b * (LANES * cell + between)
        members = range(b * LANES, min((b + 1) * LANES, networks))
        words = f"block {b}: networks {members[0]} to {members[-1]}"
        drawing.text(x0, 32, words, bold=True)
        drawing.text(x0 - 8, top - 6, "lane", FAINT, "end", 10)
        for lane in range(LANES):
            drawing.text(x0 + lane * cell + cell / 2, top - 6, lane, FAINT, "middle", 10)
        for r in range(rows):
            for lane in range(LANES):
                there = lane < len(members) and (r >= len(mask) or mask[r])
                fill = PALE[1] if there else PADDING
                if there and b == 0 and lane == followed:
                    fill = MODULES[1]
                drawing.box(x0 + lane * cell, top + r * high, cell - 2, high - 2, fill)
    r = 0
    for name, size in weights.items():
        count, y = prod(size), top + r * high
        drawing.line(left - 42, y + 1, left - 42, y + count * high - 3, INK)
        words = f"{name} ({', '.join(map(str, size))})"
        drawing.text(left - 50, y + 12, words, INK, "end", bold=True)
        for position in np.ndindex(*size):
            words = ", ".join(map(str, position))
            drawing.text(left - 8, top + r * high + 11, words, FAINT, "end", 10)
            r += 1
    y = top + 6 * high
    drawing.box(left - 2, y - 1, LANES * cell + 2, high, "none", FOLLOWED, 2)
    y = top + rows * high
    last = left + LANES * cell + between
    words = f"blue: one lane, all P = {rows} weights of network {followed}"
    drawing.text(left, y + 24, f"red: one vector, the same weight of {LANES} networks", FOLLOWED)
    drawing.text(left, y + 44, words, MODULES[1])
    drawing.text(last, y + 24, "grey: a lane without a network,", FAINT)
    drawing.text(last, y + 44, "or a weight that the mask keeps at 0", FAINT)
    return drawing.svg()


DRAWINGS = {"cascade.svg": cascade, "layout.svg": layout, "block.svg": block}

if __name__ == "__main__":
    for file, draw in DRAWINGS.items():
        (FOLDER / file).write_text(draw(), encoding="utf-8", newline="\n")
