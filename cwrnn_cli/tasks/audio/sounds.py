"""Figure 3 over many sounds: where is the CW-RNN ahead, and what sort of sound is that?"""

from pathlib import Path
from typing import Any

import numpy as np

from ...reporting.page import cell_name
from ...reporting.tables import number, table
from ...statistics import conventions
from ...training.survey import Survey, SurveyRows
from .data import AudioData, deviation
from .evaluate import AudioEvaluation

_FULL = 32767  # a target of 1, as it is kept


class SoundsSurvey(Survey[AudioData, AudioEvaluation]):
    """Of each network its MSE, of each sound its sequences; all else follows from these."""

    def arrays(self, evaluation: AudioEvaluation) -> dict[str, np.ndarray]:
        """``mse`` and ``diverged`` of network ``run * S + sequence``."""
        return {"mse": evaluation.metrics["mse"], "diverged": evaluation.diverged}

    def of_corpus(self, data: AudioData) -> dict[str, np.ndarray]:
        """``targets``: (S, T) int16, 32767 is 1."""
        return {"targets": np.round(data.targets * _FULL).astype(np.int16)}

    def comparison(self, rows: SurveyRows) -> dict[str, Any]:
        """See :class:`.Survey`."""
        return {"task": rows.task, "sounds": medians(rows)}

    def text(self, rows: SurveyRows) -> str:
        """See :class:`.Survey`."""
        found = medians(rows)
        header = ["MSE/σ", *(cell_name(key) for key in rows.cells)]
        return table(header, [[s["name"], *map(number, s["nmse_paper"].values())] for s in found])

    def figures(self, out: Path, rows: SurveyRows, caption: str) -> list[Path]:
        """See :class:`.Survey`."""
        return []


def medians(rows: SurveyRows) -> list[dict[str, Any]]:
    """Of each sound ``nmse_paper``, MODEL/PARAMS -> median MSE/σ of the networks that live."""
    found = []
    for index, name in enumerate(rows.names):
        sigma = deviation(rows.of_corpora["targets"][index] / _FULL)
        values = {}
        for (model, params), arrays in rows.cells.items():
            mse, diverged = arrays["mse"][index].astype(float), arrays["diverged"][index]
            each = np.tile(sigma, len(mse) // len(sigma))
            middle = conventions(mse / each, diverged, each)["as_constant"]["median"]
            values[f"{model}/{params}"] = middle
        found.append({"name": name, "nmse_paper": values})
    return found
