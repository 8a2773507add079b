"""Training of task 2: every network its own order, noise and early stop (Section 4.2)."""

import numpy as np

from ...models.ensemble import Ensemble
from ...training.config import TrainConfig
from ...training.stopping import EarlyStop, Measured
from ...training.trainer import EnsembleTrainer
from .data import TimitData, cross_entropy, error_rate
from .engines import LAYOUTS, CompiledEngine, StepwiseEngine, WordsEngine


def make_engine(config: TrainConfig, data: TimitData) -> WordsEngine:
    """The ensemble of a run at its start, in the engine that trains it fastest on its device."""
    ensemble = Ensemble(config.shape, config.networks)
    generators = config.generators()
    ensemble.draw(generators, config.weight_std)
    if config.device == "cpu" and type(config.cell) in LAYOUTS:
        return CompiledEngine(ensemble, data.train, config.noise, generators)
    return StepwiseEngine(ensemble.to(config.device), data.train, config.noise, generators)


class TimitTrainer(EnsembleTrainer):
    """See :class:`cwrnn_cli.training.trainer.EnsembleTrainer`.

    A network stops once its error on the training set without noise (cross entropy, or the rate of
    wrong words: ``config.stop_on``) has not been lower than before for ``config.patience`` epochs;
    the weights at its lowest are what it is evaluated by. One whose error is no number has
    diverged.

    Args:
        config: of the run.
        data: the words.
    """

    def __init__(self, config: TrainConfig, data: TimitData) -> None:
        self._words, self._engine = data.train, make_engine(config, data)
        # rate of wrong words at the best epoch
        at_best = {"train_error": np.ones(config.networks)}
        stop = EarlyStop(config.networks, config.patience, self._engine.weights(), at_best)
        super().__init__(config, self._engine, stop, len(data.train))

    def measure(self, active: np.ndarray, losses: np.ndarray) -> Measured:
        """Cross entropy and errors on the training set without noise."""
        logits = self._engine.logits(active, self._words)
        assert self._words.labels is not None
        clean = cross_entropy(logits, self._words.labels)
        wrong = error_rate(logits, self._words.labels)
        line = {
            "noisy_cross_entropy": _median(losses[-1]),
            "cross_entropy": _median(clean),
            "train_error": _median(wrong),
        }
        error = clean if self.config.stop_on == "cross_entropy" else wrong
        return Measured(error, ~np.isfinite(clean), line, {"train_error": wrong})


def _median(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None
