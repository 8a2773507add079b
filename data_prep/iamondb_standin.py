"""A free stand-in for IAM-OnDB: the same tree and file formats, lines drawn by synthetic writers.

Not handwriting of people, and every result on it says so. Single-stroke fonts give the letters; a
writer has a font, a slant, a size, a speed, a drifting baseline and an unsteady hand, and the pen
slows down in curves as a hand does (the two-thirds power law). For tests, and for whoever has not
got the corpus.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError
from .files import filled_folder

MARKER = "STANDIN.TXT"  # beside lineStrokes: what this is
FORMS = {"trainset.txt": 48, "testset_v.txt": 8, "testset_t.txt": 8, "testset_f.txt": 16}
LINES_EACH = 6
LINES_IN_ALL = sum(FORMS.values()) * LINES_EACH
_FONTS = ("futural", "rowmans", "scripts", "cursive")
_WORDS = (
    "the of and to in a is that it was for on are as with his they at be this from have or by one "
    "had not but what all were when we there can an your which their said if do will each about "
    "how up out them then she many some so these would other into has more her two like him see "
    "time could no make than first been its who now people my made over did down only way find use "
    "may water long little very after words called just where most know get through back much "
    "before go good new write our used me man too any day same right look think also around "
    "another came come work three must because does part even place well such here take why things "
    "help put years different away again off went old number great tell men say small every found "
    "still between name should home big give air line set own under read last never us left end "
    "along while might next sound below saw something thought both few those always looked show "
    "large often together asked house world going want school important until form food keep "
    "children feet land side without boy once animals life enough took four head above kind began "
    "almost live page got earth need far hand high year mother light country father let night "
    "picture being study second soon story since white ever paper hard near sentence better best "
    "across during today however sure knew trying told young sun thing whole hear example heard "
    "several change answer room sea against top turned learn point city play toward five using "
    "himself usually money seen car morning quickly jumped"
).split()


@dataclass(frozen=True)
class Writer:
    """One hand.

    Attributes:
        font: of the letters.
        slant: shear to the right, of the height.
        size: height of a capital, in the files' units.
        speed: of the pen on a straight line, in units per second.
        tremor: standard deviation of the hand's unsteadiness, in units.
        drift: of the baseline, units per 1000 units.
    """

    font: str
    slant: float
    size: float
    speed: float
    tremor: float
    drift: float


@contextmanager
def tree(keep: Path | None, seed: int = 0, tick: Callable[[], Any] | None = None) -> Iterator[Path]:
    """The corpus in a folder: ``keep``, which stays, or a temporary one.

    Args:
        keep: must not exist yet, or be empty; it appears whole or not at all.
        seed: everything is drawn from it.
        tick: called after each line.

    Raises:
        UserError: there is something in ``keep``, or it cannot be written.
    """
    with filled_folder(keep, lambda root: write_tree(root, seed, tick)) as root:
        yield root


def write_tree(root: Path, seed: int = 0, tick: Callable[[], Any] | None = None) -> None:
    """Write the corpus below ``root``, in IAM-OnDB's layout: lineStrokes, ascii, the four lists.

    Raises:
        UserError: hershey-fonts is not installed.
    """
    forms = [f"a{i // 1000:02d}-{i % 1000:03d}{'uz'[i % 2]}" for i in range(sum(FORMS.values()))]
    pens = {font: _font(font) for font in _FONTS}
    for index, form in enumerate(forms):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        writer = Writer(
            font=_FONTS[rng.integers(len(_FONTS))],
            slant=float(rng.normal(0.1, 0.15)),
            size=float(rng.uniform(250, 450)),
            speed=float(rng.uniform(1300, 2400)),
            tremor=float(rng.uniform(1, 6)),
            drift=float(rng.normal(0, 15)),
        )
        lines = [_sentence(rng) for _ in range(LINES_EACH)]
        place = Path(form[:3]) / form[:7]
        (root / "ascii" / place).mkdir(parents=True, exist_ok=True)
        text = "OCR:\n\n" + "\n".join(lines) + "\n\nCSR:\n\n" + "\n".join(lines) + "\n"
        (root / "ascii" / place / f"{form}.txt").write_text(text, encoding="ascii")
        folder = root / "lineStrokes" / place
        folder.mkdir(parents=True, exist_ok=True)
        start = float(rng.uniform(1e6, 2e6))
        for number, line in enumerate(lines, 1):
            strokes = _draw(line, writer, pens[writer.font], start, rng)
            (folder / f"{form}-{number:02d}.xml").write_text(_xml(strokes), encoding="ascii")
            start = strokes[-1][-1, 2] + 2
            if tick:
                tick()
    at = 0
    for name, count in FORMS.items():
        (root / name).write_text("".join(f" {form}\n" for form in forms[at : at + count]))
        at += count
    (root / MARKER).write_text(
        "Not IAM-OnDB: lines that cwrnn drew with single-stroke fonts to stand in for it, in the "
        f"same layout. Seed {seed}.\n",
        encoding="ascii",
    )


def _font(name: str) -> Any:
    try:
        from HersheyFonts import HersheyFonts  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise UserError(
            "synthetic handwriting needs hershey-fonts: pip install hershey-fonts (cwrnn[standin])"
        ) from error
    font = HersheyFonts()
    font.load_default_font(name)
    font.normalize_rendering(1.0)
    return font


def _sentence(rng: np.random.Generator) -> str:
    words = [_WORDS[i] for i in rng.integers(len(_WORDS), size=rng.integers(3, 7))]
    if rng.random() < 0.3:
        words[int(rng.integers(len(words)))] = str(rng.integers(1, 2000))
    if rng.random() < 0.5:
        words[0] = words[0].capitalize()
    return " ".join(words) + ("", ".", ",", "?", " -")[rng.choice(5, p=(0.4, 0.3, 0.2, 0.05, 0.05))]


def _draw(
    text: str, writer: Writer, font: Any, start: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Strokes of a line: (N, 3) each, x and y (downwards) in whole units, t in seconds."""
    strokes, now, pen = [], start, None
    for raw in font.strokes_for_text(text):
        points = np.array(list(raw), np.float64)
        if len(points) < 2:
            continue
        path = np.stack([points[:, 0], -points[:, 1]], axis=1) * writer.size
        path[:, 0] -= writer.slant * path[:, 1]
        path[:, 1] += path[:, 0] * (writer.drift / 1000)
        path, times = _move(path, writer, rng)
        if pen is not None:
            now += 0.05 + float(np.hypot(*(path[0] - pen))) / (2 * writer.speed)
        stamped = np.round(times + now, 2)
        strokes.append(np.column_stack([np.rint(path + 3000), stamped]))
        now, pen = float(stamped[-1]) + 0.01, path[-1]
    return strokes


def _move(
    path: np.ndarray, writer: Writer, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The hand's way along a polyline: (N, 2) points and (N,) seconds, about 75 a second."""
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415  (slow to import)

    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    fine = np.linspace(0, length[-1], max(int(length[-1] / 8), 3))
    smooth = np.stack([np.interp(fine, length, axis) for axis in path.T], axis=1)
    smooth = gaussian_filter1d(smooth, 2.0, axis=0, mode="nearest")
    smooth += gaussian_filter1d(rng.normal(0, 4 * writer.tremor, smooth.shape), 6.0, axis=0)
    velocity = np.gradient(smooth, axis=0)
    turn = np.gradient(np.unwrap(np.arctan2(velocity[:, 1], velocity[:, 0])))
    step = np.hypot(*velocity.T) + 1e-9
    curvature = np.abs(gaussian_filter1d(turn, 2.0)) / step * writer.size
    speed = writer.speed / np.cbrt(1 + 3 * curvature)  # the two-thirds power law
    passed = np.concatenate([[0], np.cumsum(step[1:] / speed[1:])])
    ticks = np.linspace(0, passed[-1], max(int(passed[-1] * 75), 2))
    return np.stack([np.interp(ticks, passed, axis) for axis in smooth.T], axis=1), ticks


def _xml(strokes: list[np.ndarray]) -> str:
    every = np.concatenate(strokes)
    low, high = every[:, :2].min(axis=0).astype(int), every[:, :2].max(axis=0).astype(int)
    lines = [
        '<?xml version="1.0" encoding="ISO-8859-1"?>',
        "<WhiteboardCaptureSession>",
        "  <WhiteboardDescription>",
        '    <SensorLocation corner="top_left"/>',
        f'    <DiagonallyOppositeCoords x="{high[0]}" y="{high[1]}"/>',
        f'    <VerticallyOppositeCoords x="{low[0]}" y="{high[1]}"/>',
        f'    <HorizontallyOppositeCoords x="{high[0]}" y="{low[1]}"/>',
        "  </WhiteboardDescription>",
        "  <StrokeSet>",
    ]
    for stroke in strokes:
        first, last = stroke[0, 2], stroke[-1, 2]
        lines.append(f'    <Stroke colour="black" start_time="{first:.2f}" end_time="{last:.2f}">')
        lines += [f'      <Point x="{int(x)}" y="{int(y)}" time="{t:.2f}"/>' for x, y, t in stroke]
        lines.append("    </Stroke>")
    return "\n".join([*lines, "  </StrokeSet>", "</WhiteboardCaptureSession>", ""])
