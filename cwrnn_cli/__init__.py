"""A Clockwork RNN (Koutník et al., ICML 2014): the paper's experiments, and a layer for PyTorch.

Layers are in :mod:`cwrnn_cli.models`; :func:`load` gives a network that `cwrnn train` has trained.
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from .models.recurrent import RecurrentLayer


def load(
    run: str | PathLike[str],
    network: int | str = "best",
    data: str | PathLike[str] | None = None,
) -> "tuple[RecurrentLayer, nn.Linear]":
    """A trained network of a run folder, as an ordinary layer and output layer.

    Its weights are those that `cwrnn eval` evaluates: of the network's best epoch, or in task 1 of
    the last one.

    Args:
        run: folder of `cwrnn train`, or a cell of `cwrnn compare`.
        network: index of the network, in task 1 ``run * sequences + sequence``; "best": that with
            the least error by which choices are made (never the test set's).
        data: the run's HDF5 file, if it has moved; only "best" in task 1 needs it.

    Returns:
        The cell's layer with ``batch_first=True``, and a linear layer for its outputs, both in
        evaluation mode.

    Raises:
        data_prep.errors.UserError: no such run, no checkpoint, no such network, every one of them
            diverged; or the data are needed and are not there.

    Example:
        >>> layer, readout = load("runs/NAME")  # doctest: +SKIP
        >>> y, state = layer(torch.empty(1, 320, 0))  # doctest: +SKIP
        >>> readout(y).shape  # doctest: +SKIP
        torch.Size([1, 320, 1])
    """
    from .tasks import task_of  # noqa: PLC0415  (torch is slow to import)
    from .training.folder import RunFolder  # noqa: PLC0415

    folder = RunFolder(Path(run))
    task = task_of(folder)
    layer, readout = task.network(folder, network, None if data is None else Path(data))
    return layer.eval(), readout.eval()
