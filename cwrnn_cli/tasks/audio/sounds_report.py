"""Many sounds as a table and a figure; see :mod:`.sounds`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...models import ClockworkSpec, LSTMSpec
from ...paper import AUDIO
from ...reporting.figures import Target, dots
from ...reporting.page import cell_name, label_of
from ...reporting.survey import deviations_of
from ...reporting.tables import Table, counted, interval, number, percent, table
from ...training.results import Key
from ...training.survey import SurveyRows
from .descriptions import DESCRIPTIONS
from .report import MUSIC

_SCALES = {"nmse_paper": "MSE/σ", "nmse": "MSE/σ²"}


def text(rows: SurveyRows, found: Mapping[str, Any]) -> str:
    """The table of `cwrnn compare`.

    Args:
        rows: of all sounds.
        found: of :meth:`.SoundsSurvey.comparison`.
    """
    lines = [
        f"{len(rows.names)} sounds of {found['files']} files; "
        f"{counted(found['runs'], 'run')} x {counted(found['sequences'], 'sequence')} of each, "
        f"{counted(found['epochs'], 'epoch')}",
        *deviations_of(rows),
        "medians over all networks of a cell; one that diverged counts as the constant mean "
        "(MSE/σ² = 1)",
    ]
    for part in (_ahead, _distance, _correlations, _medians, _described):
        lines += ["", *part(rows, found)]
    return "\n".join(lines)


AHEAD_NOTE = (
    "% with the exact interval, ratios with a bootstrap one, both over sounds; the paper's are on "
    f"{MUSIC}"
)


def _ahead(rows: SurveyRows, found: Mapping[str, Any]) -> Iterator[str]:
    """Where the CW-RNN is below the others."""
    yield from ahead_table(rows, found).lines()
    yield f"{AHEAD_NOTE}; hardly: by less than a tenth"
    for scale, sizes in found["ahead"].items():
        for params, others in sizes.items():
            for other, each in others.items():
                where = f"the {label_of(other)}, {params} parameters, {_SCALES[scale]}"
                for key, said in (("not_ahead", "not below"), ("even", "hardly below")):
                    if each[key]:
                        yield f"{said} {where}: {', '.join(each[key])}"


def ahead_table(rows: SurveyRows, found: Mapping[str, Any]) -> Table:
    """On how many sounds the CW-RNN is below the others.

    Args:
        rows: of all sounds.
        found: of :meth:`.SoundsSurvey.comparison`.
    """
    ours, out = ClockworkSpec.name, []
    for scale, sizes in found["ahead"].items():
        for params, others in sizes.items():
            for other, each in others.items():
                papers = [AUDIO.medians.get(m, {}).get(int(params)) for m in (other, ours)]
                above, below = papers
                out.append(
                    [
                        f"{params}, {label_of(other)}, {_SCALES[scale]}",
                        f"{each['ahead']}/{each['sounds']}",
                        f"{percent(each['share'])} ({percent(each['low'])}.."
                        f"{percent(each['high'])})",
                        interval(each["ratio"], _times),
                        f"{_times(each['least'])}..{_times(each['most'])}",
                        _times(above / below) if above and below else "–",
                    ]
                )
    header = [
        f"{label_of(ours)} below",
        "sounds",
        "% (95 %)",
        "ratio of medians (95 %)",
        "least..most",
        "paper (Fig. 3)",
    ]
    return Table(header, out)


def _distance(rows: SurveyRows, found: Mapping[str, Any]) -> Iterator[str]:
    """How near the paper's medians are."""
    out, within = [], []
    for part, each in found["distance"].items():
        which = _part_name(part, each["cells"])
        for sound in each["nearest"]:
            model, params = sound["furthest"].split("/")
            side = "above" if sound["above"] else "below"
            furthest = f"{cell_name((model, int(params)))}, {side}"
            out.append([which, sound["name"], _times(sound["factor"]), furthest])
        within += [
            f"{which}: within a factor {factor} of the paper on {len(names)} of "
            f"{len(rows.names)} sounds" + (f": {', '.join(names)}" if names else "")
            for factor, names in each["within"].items()
        ]
    yield table(["Figure 3, MSE/σ: nearest", "sound", "largest factor", "where"], out)
    yield from within


def _part_name(part: str, cells: int) -> str:
    if part == "all":
        return f"all {cells} medians"
    return f"{part} parameters" if part.isdigit() else f"{label_of(part)}, {cells} sizes"


def _correlations(rows: SurveyRows, found: Mapping[str, Any]) -> Iterator[str]:
    """With what the sounds are like."""
    out = []
    columns: list[str] = []
    for name, sizes in found["correlations"].items():
        for params, each in sizes.items():
            columns = list(each)
            out.append([f"{DESCRIPTIONS[name].label}; {params}", *map(_rho, each.values())])
    names = [" / ".join(map(label_of, column.split("_over_"))) for column in columns]
    yield table(["Spearman's ρ with the median MSE/σ, and with ratios", *names], out)
    yield "over sounds; *: p < 0.001 for one ρ alone, as if all sounds were independent"


def _rho(found: Mapping[str, float | None]) -> str:
    rho, p = found["rho"], found["p"]
    if rho is None or p is None:
        return "–"
    return f"{rho:+.2f}{'*' if p < 1e-3 else ' '}"


def _medians(rows: SurveyRows, found: Mapping[str, Any]) -> Iterator[str]:
    """Each sound's, in both scales."""
    cells = sorted(rows.cells, key=lambda key: key[1])
    for scale, label in _SCALES.items():
        if scale != next(iter(_SCALES)):
            yield ""
        out = []
        for sound in found["sounds"]:
            values = sound["medians"][scale]
            out.append([sound["name"], *(number(values[f"{m}/{p}"]) for m, p in cells)])
            for params in rows.sizes:
                pair = [values.get(f"{m}/{params}") for m in (LSTMSpec.name, ClockworkSpec.name)]
                out[-1].append(_times(pair[0] / pair[1]) if all(pair) else "–")
            out[-1].append(str(sum(sound["diverged"].values())))
        ratios = [f"{params} LSTM/CW" for params in rows.sizes]
        yield table([label, *map(cell_name, cells), *ratios, "diverged"], out)


def _described(rows: SurveyRows, found: Mapping[str, Any]) -> Iterator[str]:
    """What each sound is like, and how far from the paper."""
    out = []
    for sound in found["sounds"]:
        each = sound["descriptions"]
        row = [f"{each[name]:.{d.digits}f}" for name, d in DESCRIPTIONS.items()]
        out.append([sound["name"], *row, *map(_times, sound["factors"].values())])
    names = [_part_name(part, each["cells"]) for part, each in found["distance"].items()]
    labels = [description.label for description in DESCRIPTIONS.values()]
    yield table(["sound", *labels, *(f"× {name}" for name in names)], out)
    yield "means over a sound's sequences; ×: largest factor to the paper's medians of MSE/σ"


def _times(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def figure(path: Path, rows: SurveyRows, medians: Mapping[Key, np.ndarray], caption: str) -> Path:
    """Each sound's medians at the smallest and the largest size, by the LSTM's at the largest."""
    draw(path, rows, medians, f"{said(rows, medians)}; {caption}")
    return path


def _order(rows: SurveyRows, medians: Mapping[Key, np.ndarray]) -> Key:
    """By which cell's median the sounds stand in the figure."""
    largest = rows.sizes[-1]
    return (LSTMSpec.name if (LSTMSpec.name, largest) in medians else rows.models[0]), largest


def said(rows: SurveyRows, medians: Mapping[Key, np.ndarray]) -> str:
    """What the dots of the figure are."""
    key = _order(rows, medians)
    return (
        f"medians over {rows.configs[key]['runs']} runs x {rows.configs[key]['sequences']} "
        f"sequences, networks that diverged as the constant mean; sounds by the "
        f"{label_of(key[0])}'s median"
    )


def draw(path: Target, rows: SurveyRows, medians: Mapping[Key, np.ndarray], caption: str) -> None:
    """See :func:`figure`."""
    sizes = sorted({rows.sizes[0], rows.sizes[-1]})
    order = medians[_order(rows, medians)].argsort(kind="stable")
    panels = {
        f"{params} parameters": {m: v[order] for (m, p), v in medians.items() if p == params}
        for params in sizes
    }
    papers = {
        f"{params} parameters": {
            m: AUDIO.medians[m][params] for m in rows.models if params in AUDIO.medians.get(m, {})
        }
        for params in sizes
    }
    dots(path, [rows.names[i] for i in order], panels, papers, "MSE / σ of the target", caption)
