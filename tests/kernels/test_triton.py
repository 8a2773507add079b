import os

import pytest
import torch

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels.clockwork import clockwork
from cwrnn_cli.kernels.lstm import lstm
from tests.conftest import interpreted


def test_in_the_interpreter():
    pytest.importorskip("triton", reason="torch brings Triton on Linux only")
    assert interpreted("tests.kernels.interpreted") == "20 cases agree\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_on_a_gpu():
    from tests.kernels.interpreted import CASES, LSTM_CASES, check, check_lstm

    assert check("cuda", torch.float32, 1e-4) == len(CASES)
    assert check_lstm("cuda", torch.float32, 1e-4) == len(LSTM_CASES)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="interpreted: all is taken")
def test_refused_with_the_reason():
    values = [torch.zeros(1, 1, 3, 0), None, torch.zeros(1, 6, 6), None, None]
    with pytest.raises(ValueError, match="it runs on a GPU, not on cpu; use 'auto'"):
        clockwork(*values, Clock.of(6, 2), "triton")
    values = [torch.zeros(1, 1, 3, 0), None, torch.zeros(1, 24, 6), None, None, None, None, None]
    with pytest.raises(ValueError, match="it runs on a GPU, not on cpu; use 'auto'"):
        lstm(*values, "triton")


def test_what_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # where all else is taken
    values = [torch.zeros(1, 1, 3, 0), None, torch.zeros(1, 130, 130), None, None]
    with pytest.raises(ValueError, match="it does at most 128 units at once, not 129; use 'auto'"):
        clockwork(*values, Clock.of(130, [1, 2], [1, 129]), "triton")
    values = [torch.zeros(1, 1, 3, 0), None, torch.zeros(1, 260, 65), None, None, None, None, None]
    with pytest.raises(ValueError, match="it does at most 64 units at once, not 65; use 'auto'"):
        lstm(*values, "triton")
