"""Training of task 3, stopped by the validation set (Section 4.3)."""

from typing import Any

import numpy as np

from ...training.config import TrainConfig
from ...training.stopping import EarlyStop, Measured
from ...training.trainer import EnsembleTrainer
from .data import IamondbData
from .engines import CtcEngine, character_errors


class IamondbTrainer(EnsembleTrainer):
    """See :class:`cwrnn_cli.training.trainer.EnsembleTrainer`.

    A network stops once its character error rate on the validation set (best path) has not been
    lower than before for ``config.patience`` epochs; the weights at its lowest are what it is
    evaluated by. The test set is not looked at.

    Args:
        config: of the run.
        data: the lines.
    """

    def __init__(self, config: TrainConfig, data: IamondbData) -> None:
        self.data, self._engine = data, CtcEngine(config, data)
        self._early = EarlyStop(config.networks, config.patience, self._engine.weights())
        updates = -(-len(data.train) // config.batch)
        super().__init__(config, self._engine, self._early, updates)

    def measure(self, active: np.ndarray, losses: np.ndarray) -> Measured:
        """Error rates on the validation set."""
        error = np.array(
            [
                character_errors(self._engine.ensemble, int(r), self.data, self.data.valid)
                for r in active
            ]
        )
        line = {
            "ctc": losses[-1].tolist(),
            "largest_gradient": [float(value) for value in self._engine.largest_gradient],
            "valid_cer": error.tolist(),
        }
        return Measured(error, ~np.isfinite(losses[-1]), line)

    def after_update(self) -> dict[str, Any]:
        """And the lowest error so far."""
        return {"best_valid_cer": float(self._early.lowest.min())} | super().after_update()
