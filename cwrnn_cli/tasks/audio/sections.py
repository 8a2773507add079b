"""Task 1 in the page of `cwrnn report`: its claims, Figures 3 and 5, sound, training curves."""

from collections.abc import Iterator, Mapping

import numpy as np

from ...paper import AUDIO
from ...reporting import page
from ...reporting.claimed import claims_of_grid
from ...reporting.figures import curves
from ...reporting.tables import number
from ...reporting.vector import svg
from ...training.results import Results
from ...training.sections import (
    Claim,
    Found,
    Part,
    Picture,
    Remark,
    Section,
    Sheet,
    Sound,
    Sounds,
    Story,
)
from . import report, sounds, sounds_report
from .sound import looped
from .sounds import SoundsSurvey

RATE = 44100  # Hz, the paper's
_SECONDS = 0.3  # of a loop, which players repeat


def story(found: Found) -> Story:
    """See :meth:`cwrnn_cli.training.task.Task.report`."""
    if found.survey:
        return Story((), [Section("Figure 3 over many sounds", list(_survey(found)))])
    sections = []
    if found.results:
        sections = [
            Section("Table 2, row 1, and Figure 3", _errors(found.results)),
            Section("Figure 5", list(_figure5(found.results))),
        ]
    if found.curves:
        sections.append(Section("Training", [_curves(found)]))
    return Story(_claims(found) if found.results else (), sections)


def _claims(found: Found) -> list[Claim]:
    assert found.results
    return claims_of_grid(
        found.results,
        found.command,
        "median MSE/σ",
        number,
        "Figure 3",
        same_data=True,  # nobody knows the paper's music: any piece stands for it
        errors=AUDIO.metric,
    )


def _errors(results: Results) -> list[Part]:
    """Figure 3 and both tables."""
    main, medians = report.main_table(results), report.median_table(results)
    words = "; ".join(": ".join([row[0], row[1]]) for row in medians.rows)
    parts: list[Part] = [
        Picture(
            svg(lambda path: report.figure3(path, results, "")),
            f"Box plots of MSE/σ, logarithmic, a box per model and size; medians: {words}",
            "The paper's Figure 3, ours: MSE/σ of the target; whiskers from the 2nd to the 98th "
            f"percentile. ◇: the median that the paper published, on {report.MUSIC}; boxes are of "
            f"{page.drawn_networks(results)}.",
        ),
        Sheet(
            "MSE/σ of every model and size, beside Table 2",
            *page.beside(main, results.first, report.MUSIC),
            note=report.MAIN_NOTE,
        ),
        Sheet(
            "Medians with their 95 % intervals, beside Figure 3",
            *page.beside(medians, results.first, report.MUSIC),
        ),
    ]
    if lines := [*report.ratio_lines(results), *page.win_lines(results, AUDIO.metric)]:
        parts.append(Remark(items=lines))
    return parts


def _figure5(results: Results) -> Iterator[Part]:
    """Waves to see and to hear."""
    targets, best = results.shared["targets"], report.best_waves(results)
    labels = " ".join(f"{page.label_of(m)}: {_fit(targets, w)}." for m, w in best.items())
    yield Picture(
        svg(lambda path: report.figure5(path, results, "")),
        f"Waves of {len(targets)} sequences, a row per model. {labels}",
        f"The paper's Figure 5, ours: the best of the largest networks ({max(results.sizes)} "
        "parameters) for each sequence (solid) over its target (dotted).",
    )
    milliseconds = 1000 * targets.shape[1] / RATE
    yield Sounds(
        f"What they play. A sequence is {milliseconds:.2g} ms long, too short to be heard: each is "
        f"repeated here without a gap for {_SECONDS:g} s, and players repeat that until they are "
        "stopped, so that a tone is heard whose colour is the wave's. All at one scale: what is "
        "drawn flat is silent.",
        {
            f"Sequence {i + 1}": [
                Sound(f"sequence {i + 1}, {label}", looped(wave, RATE, _SECONDS))
                for label, wave in _heard(i, targets, best)
            ]
            for i in range(len(targets))
        },
    )
    silent = [page.label_of(m) for m, w in best.items() if np.isnan(w).all(axis=1).any()]
    if silent:
        yield Remark(f"No player where every network of a sequence diverged: {', '.join(silent)}.")


def _heard(
    i: int, targets: np.ndarray, best: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    yield "target", targets[i]
    for model, waves in best.items():
        if np.isfinite(waves[i]).all():
            yield page.label_of(model), waves[i]


def _fit(targets: np.ndarray, waves: np.ndarray) -> str:
    """In words how near waves are to their targets."""
    errors = np.square(waves.astype(float) - targets).mean(axis=1) / targets.std(axis=1)
    return f"MSE/σ {', '.join(number(None if np.isnan(e) else float(e)) for e in errors)}"


def _curves(found: Found) -> Picture:
    """Of the networks' median."""
    points = {
        name: [(line["epoch"], line["mse_median"]) for line in lines if line["mse_median"]]
        for name, lines in found.curves.items()
    }
    ends = "; ".join(f"{name}: {number(each[-1][1])}" for name, each in points.items() if each)
    return Picture(
        svg(lambda path: curves(path, points, "median MSE", "", logarithmic=True)),
        f"Learning curves, median mean squared error over epochs; at the end {ends}",
        "Training: the mean squared error by epoch, the median over those of a cell's networks "
        "that have not diverged by then.",
        found.curves_file,
    )


def _survey(found: Found) -> Iterator[Part]:
    rows = found.survey
    assert rows
    medians = sounds.medians(rows)["nmse_paper"]
    yield Picture(
        svg(lambda path: sounds_report.draw(path, rows, medians, "")),
        f"Dots: the median MSE/σ of each model on each of {len(rows.names)} sounds, at the "
        "smallest and the largest size, with the paper's medians as dashed lines; the table below "
        "counts them",
        f"{sounds_report.said(rows, medians)}; dashed: the medians of the paper's Figure 3",
    )
    yield Sheet(
        "On how many sounds the CW-RNN's median is below the others'",
        *sounds_report.ahead_table(rows, SoundsSurvey().comparison(rows)),
        note=sounds_report.AHEAD_NOTE,
    )
