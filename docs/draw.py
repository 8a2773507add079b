"""Draw the pictures of docs/kernels.md: `python docs/draw.py` writes them anew, byte for byte.

Periods, ticks, masks and places come from the code that computes with them.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels.clockwork.layout import clock_layout, packing
from cwrnn_cli.kernels.numba.simd import LANES
from cwrnn_cli.models import ClockworkSpec
from cwrnn_cli.models.ensemble import Shape

FOLDER = Path(__file__).parent
COLOURS = ("#2a9d5c", "#3a7ca5", "#e0a030", "#d1495b")  # fastest module first
INK, FAINT = "#333333", "#dddddd"
FONT = "font-family='Helvetica,Arial,sans-serif'"


def text(x: float, y: float, words: str, size: int = 12, anchor: str = "start") -> str:
    """A line of words; (x, y) is its foot."""
    place = f"x='{x:g}' y='{y:g}' font-size='{size}' text-anchor='{anchor}'"
    return f"<text {place} {FONT} fill='{INK}'>{words}</text>"


def box(x: float, y: float, w: float, h: float, fill: str, opacity: float = 1.0) -> str:
    """A rectangle."""
    place = f"x='{x:g}' y='{y:g}' width='{w:g}' height='{h:g}'"
    paint = f"fill='{fill}' fill-opacity='{opacity:g}' stroke='{INK}' stroke-width='0.6'"
    return f"<rect {place} {paint}/>"


def picture(name: str, width: int, height: int, title: str, parts: Iterable[str]) -> None:
    """Write one SVG file, on a white ground so that it reads in the dark as well."""
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img'>",
        f"<title>{title}</title>",
        "<defs><marker id='head' viewBox='0 0 6 6' refX='5' refY='3' markerWidth='6' "
        f"markerHeight='6' orient='auto'><path d='M0 0L6 3L0 6z' fill='{INK}'/></marker></defs>",
        f"<rect width='{width}' height='{height}' rx='8' fill='white'/>",
        *parts,
        "</svg>",
    ]
    (FOLDER / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def cascade(clock: Clock, steps: int) -> None:
    """When each module ticks, and whom its outputs drive: slowest on top, as it runs first."""
    side, left, top, gap = 34, 130, 58, 30
    modules = len(clock.periods)
    rows = {i: top + (modules - 1 - i) * (side + gap) for i in range(modules)}
    parts = [text(14, 28, "one layer, module after module; time goes to the right", 14)]
    for i, period in enumerate(clock.periods):
        y = rows[i]
        parts.append(text(14, y + 22, f"period {period}", 13))
        for t in range(steps):
            tick = t % period == 0
            parts.append(box(left + t * side, y, side, side, COLOURS[i], 0.85 if tick else 0.15))
            if tick:
                parts.append(text(left + t * side + side / 2, y + 21, "tick", 10, "middle"))
    for i in range(1, modules):  # an output of tick s drives the next faster module from s + 1 on
        for t in range(0, steps - 1, clock.periods[i]):
            faster = clock.periods[i - 1]
            reader = t + 1 if faster == 1 else (t // faster + 1) * faster
            if reader >= steps or reader > t + clock.periods[i]:
                continue
            x1, x2 = left + t * side + side / 2, left + reader * side + side / 2
            y1, y2 = rows[i] + side, rows[i - 1]
            parts.append(
                f"<line x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2 - 2:g}' stroke='{INK}' "
                "stroke-width='0.9' marker-end='url(#head)'/>"
            )
    for t in range(steps):
        parts.append(text(left + t * side + side / 2, top - 8, str(t), 10, "middle"))
    bottom = top + modules * (side + gap)
    words = (
        "The slowest module runs alone over its own ticks. Its outputs times its columns of W_H,",
        "once per tick, are contributions to the drive of all faster modules (arrows: to the next",
        "faster one), held until its next tick.",
    )
    parts += [text(14, bottom + 18 * k, line) for k, line in enumerate(words)]
    picture("cascade.svg", left + steps * side + 20, bottom + 52, "The cascade", parts)


def layout(clock: Clock, features: int) -> None:
    """The mask, the padded modules, and where each block of weights lies."""
    padded, where = clock_layout(clock), packing(clock, features)
    parts = [text(14, 28, f"W_H: n = {clock.hidden_size} units, {len(clock.periods)} modules", 14)]
    unit, x0, y0 = 4.6, 14, 44
    for i, span in enumerate(padded.spans):
        for j, other in enumerate(padded.spans):
            size = (
                len(range(*other.indices(10**6))) * unit,
                len(range(*span.indices(10**6))) * unit,
            )
            fill = COLOURS[j] if j >= i else "white"
            opacity = 0.85 if i == j else 0.35
            parts.append(box(x0 + other.start * unit, y0 + span.start * unit, *size, fill, opacity))
    n = clock.hidden_size * unit
    parts.append(text(x0, y0 + n + 18, "a column block belongs to the module that it multiplies:"))
    parts.append(text(x0, y0 + n + 34, "dark, its own; light, what it contributes to faster ones;"))
    parts.append(text(x0, y0 + n + 50, "white, forbidden (eq. 3-4): in no block, never computed"))
    right, scale = 380, 2.1
    parts.append(text(right, 28, f"units in vectors of {LANES}: N = {padded.padded}", 14))
    x = right
    for i, (size, vectors) in enumerate(zip(clock.sizes, padded.widths, strict=True)):
        wide = vectors * LANES * scale
        parts.append(box(x, 40, wide, 22, FAINT))
        parts.append(box(x, 40, size * scale, 22, COLOURS[i], 0.85))
        parts.append(text(x + 4, 56, f"{size}", 11))
        x += wide
    parts.append(text(right, 78, "grey: padding, always 0", 11))
    total = max(len(where.forward), len(where.backward)) / LANES
    across = 420 / total
    uses = ("inputs: W_I", "own: diagonal blocks", "columns: to faster modules")
    for k, (name, places, length) in enumerate(
        (
            ("forward pass, transposed", where.forward_places, len(where.forward) / LANES),
            ("backward pass, as trained", where.places, len(where.backward) / LANES),
        )
    ):
        y = 118 + 112 * k
        parts.append(text(right, y, f"weights of the {name}: {length:g} vectors", 13))
        begins = [(int(v), use, i) for use, row in enumerate(places) for i, v in enumerate(row)]
        ends = [v for v, _, _ in begins[1:]] + [int(length)]
        for (first, use, i), end in zip(begins, ends, strict=True):
            if end > first:
                shade = (0.85, 0.6, 0.3)[use]
                wide = (end - first) * across
                parts.append(box(right + first * across, y + 8, wide, 26, COLOURS[i], shade))
        for use, row in enumerate(places):
            first = int(row[0] if use < 2 else row[1])
            at = right + first * across
            parts.append(text(at, y + 50 + 15 * (use % 3), f"↑ {uses[use]}", 11))
    parts.append(
        text(
            right,
            342,
            "one colour per module; a block per use and module, of whole vectors",
            11,
        )
    )
    picture("layout.svg", 830, 360, "How a clockwork layer lies in memory", parts)


def block(hidden_size: int, periods: tuple[int, ...]) -> None:
    """Task 1's theta: one network per lane."""
    clock = Clock.of(hidden_size, periods)
    shape = Shape(ClockworkSpec.of_clock(clock), 0, 1)
    sizes = {"weight_hh": "W_H", "bias": "b", "weight_out": "W_O", "bias_out": "b_O"}
    parts = [text(14, 28, f"theta of a block: (P, {LANES}), one network per lane", 14)]
    top, left, lane, height = 60, 120, 22, 250
    counts = {}
    for name, size in shape.weights().items():
        counts[name] = 1
        for extent in size:
            counts[name] *= extent
    total = sum(counts.values())
    for k in range(LANES):
        parts.append(text(left + k * lane + lane / 2, top - 6, str(k), 10, "middle"))
    y: float = top
    for (name, count), colour in zip(counts.items(), COLOURS, strict=True):
        tall = max(16.0, height * count / total)
        for k in range(LANES):
            parts.append(box(left + k * lane, y, lane, tall, colour, 0.7))
        parts.append(text(14, y + tall / 2 + 4, f"{sizes[name]}: {count}"))
        y += tall
    words = (
        f"P = {total} numbers of a network, {len(periods)} modules. An instruction works on",
        f"the same weight of {LANES} networks at once; networks never meet, so one that",
        "diverges harms no other.",
    )
    parts += [text(14, y + 24 + 18 * k, line) for k, line in enumerate(words)]
    picture("block.svg", 560, int(y) + 74, "A block of task 1's networks", parts)


def main() -> None:
    """All pictures."""
    cascade(Clock.of(8, (1, 2, 4, 8)), 16)
    layout(Clock.of(44, (1, 2, 4, 8)), 13)
    block(11, tuple(2**i for i in range(9)))


if __name__ == "__main__":
    main()
