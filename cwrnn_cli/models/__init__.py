"""Recurrent cells as torch modules, ensembles of them, and their sizes."""

from importlib.metadata import entry_points

from ..clock import Clock
from .cell import CELLS, CellSpec
from .clockwork import ClockworkRNN, ClockworkSpec
from .gru import GRU, GRUSpec
from .lstm import LSTM, LSTMSpec
from .srn import SRN, SRNSpec

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "SRN",
    "CellSpec",
    "Clock",
    "ClockworkRNN",
    "ClockworkSpec",
    "LSTMSpec",
    "SRNSpec",
]

# in the order of tables
_REGISTERED: tuple[type[CellSpec], ...] = (SRNSpec, LSTMSpec, ClockworkSpec, GRUSpec)
CELLS.update({cell.name: cell for cell in _REGISTERED})
# and those of other packages
CELLS.update({point.name: point.load() for point in entry_points(group="cwrnn.cells")})
