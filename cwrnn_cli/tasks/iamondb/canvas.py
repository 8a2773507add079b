"""Ink on a screen, made to look like a line of the corpus.

A network of task 3 was given whole lines from a whiteboard: x, y and time of a pen that an infrared
sensor saw about 70 times a second, standardised with mean and deviation over all training lines. It
has no notion of another size or pace, and a screen has both: its points are pixels, come 60 to 120
times a second and only while the pen moves, and who writes with a mouse takes two or three times as
long. A line a quarter too large, or written at half the pace, is hardly read any more. So, from
what is drawn to what the network is given:

- **size**: the page is ruled, and what fills the space between the outer rules is as high as tall
  words of the training lines are. The ink's own height would not do: "on" has neither ascender nor
  descender. But where all the ink would be higher than a median training line, or no rules are
  given, it becomes as high as that.
- **pace**: time is stretched so that the pen, while down, moves at the training lines' median
  speed. A pen that rests does not count for longer than 0.1 s.
- **pauses** between strokes are stretched alike, but no longer than 95 % of the training lines'.
- **sampling**: each stroke is sampled evenly in time, at the training lines' interval, straight
  between the points of the screen; a tap remains a single point.

Where the line stands does not matter, as frames are relative to its own corner and start; y grows
downwards on both.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from data_prep.errors import UserError

from .data import IamondbData

MOST_POINTS = 20_000  # of a line; the corpus' longest has a tenth
_LONGEST_REST = 0.1  # seconds between two points of a stroke
_TALL = 90  # percentile of the heights of words' widths of ink: with ascender and descender
_PAUSE = 95  # percentile


@dataclass(frozen=True)
class Hand:
    """How the training lines are written, in the corpus' units and seconds.

    Attributes:
        tall: height of what has ascenders and descenders, without the drift of a whole line.
        height: of a whole line, median.
        interval: from one point of a stroke to the next, as recorded.
        speed: of the pen while it is down, median over the lines.
        pause: between strokes, the 95th percentile.
    """

    tall: float
    height: float
    interval: float
    speed: float
    pause: float

    @classmethod
    def of(cls, data: IamondbData) -> Self:
        """Measure the training lines."""
        train, every = data.train, int(data.options["every"])
        frames = train.frames * train.scale + train.shift
        line = np.repeat(np.arange(len(train)), np.diff(train.offsets))
        first = train.offsets[:-1]
        if data.options.get("offsets"):
            total = np.cumsum(frames[:, :3], axis=0)
            frames[:, :3] = total - total[first][line]
        low, high = (f.reduceat(frames, first) for f in (np.minimum, np.maximum))
        height = float(np.median((high - low)[:, 1]))
        # stretches as wide as a line is high: a short word
        stretch = line * 10_000 + (frames[:, 0] - low[line, 0]) // max(height, 1e-9)
        order = np.argsort(stretch, kind="stable")
        starts = np.flatnonzero(np.diff(stretch[order], prepend=-1))
        y = frames[order, 1]
        heights = np.maximum.reduceat(y, starts) - np.minimum.reduceat(y, starts)
        step = np.diff(frames[:, :3], axis=0)
        same = line[1:] == line[:-1]
        inside = same & (frames[:-1, 3] < 0.5) & (step[:, 2] > 0)
        between = same & (frames[:-1, 3] >= 0.5)
        length = np.bincount(line[1:][inside], np.hypot(step[:, 0], step[:, 1])[inside], len(train))
        time = np.bincount(line[1:][inside], step[:, 2][inside], len(train))
        moved = (time > 0) & (length > 0)
        return cls(
            tall=float(np.percentile(heights, _TALL)) or 1.0,
            height=height or 1.0,
            interval=_middle(step[:, 2][inside]) / every,
            speed=float(np.median(length[moved] / time[moved])) if moved.any() else 1.0,
            pause=float(np.percentile(step[:, 2][between], _PAUSE)) if between.any() else 0.0,
        )

    def line_of(self, drawn: np.ndarray, rules: float | None) -> tuple[np.ndarray, float]:
        """A drawn line as the corpus would have it.

        Args:
            drawn: (N, 4) x and y in pixels, t in seconds, and 1 at the last point of each stroke.
            rules: pixels between the outer rules; None: unknown.

        Returns:
            (N', 4) strokes as of :func:`data_prep.iamondb_files.read_strokes`, and how many units
            of the corpus a pixel is.

        Raises:
            UserError: it is too long.
        """
        points = drawn.copy()
        scale = self.height / max(float(np.ptp(points[:, 1])), 1.0)
        if rules:
            scale = min(scale, self.tall / rules)
        points[:, :2] *= scale
        down = np.concatenate([[False], points[:-1, 3] == 0])
        step = np.diff(np.maximum.accumulate(points[:, 2]), prepend=points[0, 2])
        step[down] = np.minimum(step[down], _LONGEST_REST)
        length = np.hypot(*np.diff(points[:, :2], axis=0, prepend=points[:1, :2]).T)[down].sum()
        time = step[down].sum()
        if length > 0:
            if not time:  # a clock that stands still: as if it had ticked
                step[down], time = 1.0, down.sum()
            step *= length / self.speed / time
        step[~down] = np.minimum(step[~down], self.pause)
        points[:, 2] = np.cumsum(step)
        if step[down].sum() / self.interval > MOST_POINTS:
            raise UserError("the line is too long; clear it")
        return _sampled(points, self.interval), scale


def _middle(values: np.ndarray) -> float:
    """The mean without the outer tenths: of what was rounded to a hundredth, so no median."""
    if not len(values):
        return 1.0
    low, high = np.percentile(values, (10, 90))
    return float(values[(values >= low) & (values <= high)].mean())


def _sampled(points: np.ndarray, interval: float) -> np.ndarray:
    """(N', 4) points at even times of each stroke, its first and last among them."""
    strokes = []
    for stroke in np.split(points, np.flatnonzero(points[:, 3])[:-1] + 1):
        t = stroke[:, 2]
        more = max(round((t[-1] - t[0]) / interval), int(len(stroke) > 1))
        at = np.linspace(t[0], t[-1], more + 1)
        x, y = (np.interp(at, t, stroke[:, i]) for i in (0, 1))
        end = np.zeros(more + 1)
        end[-1] = 1
        strokes.append(np.stack([x, y, at, end], axis=1))
    return np.concatenate(strokes)
