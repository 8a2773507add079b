"""Recurrent cells as torch modules, ensembles of them, and their sizes."""

from ..clock import Clock
from .cell import CELLS, CellSpec
from .clockwork import ClockworkRNN, ClockworkSpec
from .lstm import LSTM, LSTMSpec
from .srn import SRN, SRNSpec

__all__ = [
    "CELLS",
    "LSTM",
    "SRN",
    "CellSpec",
    "Clock",
    "ClockworkRNN",
    "ClockworkSpec",
    "LSTMSpec",
    "SRNSpec",
]

REGISTERED: tuple[type[CellSpec], ...] = (SRNSpec, LSTMSpec, ClockworkSpec)  # in tables' order
CELLS.update({cell.name: cell for cell in REGISTERED})
