"""Recurrent cells as torch modules, ensembles of them, and their sizes."""

from importlib.metadata import entry_points
from warnings import warn

from ..clock import Clock
from .cell import CELLS, CellSpec
from .clocked import ClockedSpec
from .clockwork import ClockworkRNN, ClockworkSpec
from .cwgru import ClockworkGRU, ClockworkGRUSpec
from .cwlstm import ClockworkLSTM, ClockworkLSTMSpec
from .gru import GRU, GRUSpec
from .lstm import LSTM, LSTMSpec
from .srn import SRN, SRNSpec
from .stream import Stream

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "SRN",
    "CellSpec",
    "Clock",
    "ClockedSpec",
    "ClockworkGRU",
    "ClockworkGRUSpec",
    "ClockworkLSTM",
    "ClockworkLSTMSpec",
    "ClockworkRNN",
    "ClockworkSpec",
    "GRUSpec",
    "LSTMSpec",
    "SRNSpec",
    "Stream",
]

# in the order of tables
_REGISTERED: tuple[type[CellSpec], ...] = (
    *(SRNSpec, LSTMSpec, ClockworkSpec),
    *(GRUSpec, ClockworkLSTMSpec, ClockworkGRUSpec),
)
CELLS.update({cell.name: cell for cell in _REGISTERED})
# and those of other packages; a broken one must not keep the others from working
for _point in entry_points(group="cwrnn.cells"):
    try:
        CELLS.setdefault(_point.name, _point.load())
    except (ImportError, AttributeError) as _error:
        warn(f"cell {_point.name}: {_point.value} cannot be loaded ({_error})", stacklevel=1)
