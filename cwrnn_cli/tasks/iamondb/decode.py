"""Beam search for task 3, with a language model of characters: beyond the paper, which has neither.

The language model is an interpolated n-gram (Witten and Bell, 1991) of the training lines' texts.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from data_prep.errors import UserError


@dataclass(frozen=True)
class BeamOptions:
    """How to search.

    Attributes:
        width: beams.
        ngram: order of the language model; 0 for none, at most 3.
        weight: of the language model.
        bonus: for every character, against the model's liking for short texts.
    """

    width: int
    ngram: int = 0
    weight: float = 0.5
    bonus: float = 0.5

    def __post_init__(self) -> None:
        """Raises UserError on values out of range."""
        if not 1 <= self.width <= 1000:
            raise UserError(f"--beam {self.width}: expected 1 to 1000")
        if not 0 <= self.ngram <= 3:
            raise UserError(f"--ngram {self.ngram}: expected 0 to 3")


def language_model(texts: list[list[int]], units: int, order: int) -> np.ndarray:
    """(units ** (order - 1), units) float64 log probabilities of a unit after a context.

    p(c | h) = (count(h c) + T(h) p(c | shorter h)) / (count(h) + T(h)), with T(h) the number of
    different units seen after h, down to equal probabilities. Unit 0 stands for the beginning of a
    line in contexts, and has no probability itself.

    Args:
        texts: units of each line, from 1 on.
        units: how many, the 0 included.
        order: of the n-gram, at least 1.
    """
    model = np.full((1, units), 1 / (units - 1))
    model[:, 0] = 0
    for n in range(1, order + 1):
        contexts = units ** (n - 1)
        counts = np.zeros((contexts, units))
        for text in texts:
            context = 0
            for unit in text:
                counts[context, unit] += 1
                context = (context * units + unit) % contexts
        different = (counts > 0).sum(axis=1, keepdims=True)
        shorter = np.tile(model, (contexts // len(model), 1))
        total = counts.sum(axis=1, keepdims=True) + different
        with np.errstate(invalid="ignore"):
            model = np.where(total > 0, (counts + different * shorter) / total, shorter)
    with np.errstate(divide="ignore"):
        return np.where(model > 0, np.log(model), -1e30)


class BeamSearch:
    """Prefix beam search over the outputs of a network.

    Args:
        options: how.
        texts: units of the training lines, for the language model.
        units: output units, the blank included.
    """

    def __init__(self, options: BeamOptions, texts: list[list[int]], units: int) -> None:
        from ...kernels.numba.beam import search  # noqa: PLC0415  (imports Numba)
        from ...kernels.numba.cache import log_compilation  # noqa: PLC0415

        self.options, self._search = options, search
        if options.ngram:
            self._language = language_model(texts, units, options.ngram)
            self._prior = (options.weight, options.bonus)
        else:
            self._language, self._prior = np.zeros((1, units)), (0.0, 0.0)
        with log_compilation("beam search"):
            search(np.zeros((1, units)), 1, self._language, *self._prior)

    def __call__(self, logits: Tensor, lengths: Tensor) -> list[np.ndarray]:
        """Units of each line; arguments as :func:`cwrnn_cli.tasks.iamondb.data.best_path`."""
        log_p = logits.log_softmax(dim=2).double().cpu().numpy()
        return [
            self._search(
                np.ascontiguousarray(line[:steps]), self.options.width, self._language, *self._prior
            )
            for line, steps in zip(log_p, lengths.tolist(), strict=True)
        ]
