"""Clockwork RNN, SRN and LSTM as torch modules, ensembles of them, and their sizes."""

from ..clock import Clock
from .clockwork import SRN, ClockworkRNN
from .lstm import LSTM

__all__ = ["LSTM", "SRN", "Clock", "ClockworkRNN"]
