"""A clock drawn: at which steps its modules run, and where its mask lets weights be."""

import numpy as np

from ..clock import Clock
from .figures import Target, pyplot, save, shades

_INK, _SOFT = "#000000", "#444444"
STEPS = 64  # that are drawn


def draw_clock(path: Target, clock: Clock) -> None:
    """The steps at which each module runs, beside the mask of W_H.

    Args:
        path: what to write.
        clock: to draw.
    """
    modules = len(clock.periods)
    figure, (left, right) = pyplot().subplots(
        1, 2, figsize=(9, max(2.6, 0.26 * modules + 1.3)), width_ratios=(1.9, 1)
    )
    runs = [np.arange(0, STEPS, period) for period in clock.periods]
    left.eventplot(runs, lineoffsets=range(modules), linelengths=0.62, linewidths=2, colors=_INK)
    labels = [f"T = {t}, {k} units" for t, k in zip(clock.periods, clock.sizes, strict=True)]
    left.set_yticks(range(modules), labels, fontsize=8)
    left.set_ylim(modules - 0.4, -0.6)  # the fastest on top, as in the mask
    left.set_xlim(-1, STEPS)
    left.set_xticks(range(0, STEPS + 1, 8))
    left.tick_params(labelsize=8, length=0, axis="y")
    left.tick_params(labelsize=8, axis="x")
    left.set_xlabel("step t; a mark where the module runs", fontsize=8)
    for side in ("top", "right", "left"):
        left.spines[side].set_visible(False)
    right.imshow(clock.mask(), cmap=shades(), vmin=0, vmax=1.4, interpolation="nearest")
    for start in clock.starts[1:-1]:
        right.axhline(start - 0.5, color=_SOFT, linewidth=0.3)
        right.axvline(start - 0.5, color=_SOFT, linewidth=0.3)
    middles = (np.array(clock.starts[:-1]) + np.array(clock.starts[1:]) - 1) / 2
    right.set_xticks(middles, [str(t) for t in clock.periods], fontsize=6)
    right.set_yticks(middles, [str(t) for t in clock.periods], fontsize=6)
    right.tick_params(length=0)
    right.set_xlabel("from the module of period", fontsize=8)
    right.set_ylabel("to the module of period", fontsize=8)
    figure.tight_layout()
    save(figure, path)


def words(clock: Clock) -> str:
    """The same for those who do not see it."""
    n = clock.hidden_size
    return (
        f"Clock of {len(clock.periods)} modules with periods {', '.join(map(str, clock.periods))} "
        f"and {', '.join(map(str, clock.sizes))} units: a module of period T runs at every T-th "
        f"step. The mask beside it is block upper triangular: modules are fed by those of their "
        f"own and of longer periods only, {clock.recurrent_parameters()} of {n * n} recurrent "
        "weights."
    )
