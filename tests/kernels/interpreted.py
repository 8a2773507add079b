"""The Triton backend against the reference; run with TRITON_INTERPRET=1 (or on a GPU, without)."""

import sys

import torch

from cwrnn_cli.clock import Clock
from cwrnn_cli.kernels.clockwork import WARPS, clockwork
from cwrnn_cli.kernels.lstm import WARPS as LSTM_WARPS
from cwrnn_cli.kernels.lstm import lstm

CASES = [  # networks, batch, steps, inputs, units, periods
    (2, 3, 9, 2, 10, [1, 2, 3, 7]),
    (1, 1, 17, 0, 20, 4),
    (1, 18, 6, 3, 40, [2, 5]),
    (2, 2, 5, 1, 18, [1]),
    (1, 9, 4, 2, 50, [1]),
    (2, 2, 3, 1, 70, [1]),
]


def check(device: str, dtype: torch.dtype, tolerance: float) -> int:
    """How many cases there were; an AssertionError if one is off."""
    for networks, batch, steps, inputs, units, periods in CASES:
        clock = Clock.of(units, periods)
        generator = torch.Generator().manual_seed(units)
        shapes = [
            (networks, batch, steps, inputs),
            (networks, units, inputs),
            (networks, units, units),
            (networks, units),
            (networks, batch, units),
        ]
        values = [
            (0.5 * torch.randn(shape, dtype=dtype, generator=generator)).to(device).requires_grad_()
            for shape in shapes
        ]
        arguments = [v if v.numel() or i == 0 else None for i, v in enumerate(values)]
        used = [v for v in values if v.numel()]
        results = []
        for backend in ("reference", "triton"):
            y = clockwork(*arguments, clock, backend)
            loss = (
                y * torch.linspace(-1, 1, y.numel(), dtype=dtype, device=device).view(y.shape)
            ).sum()
            results.append([y, *torch.autograd.grad(loss, used)])
        for theirs, mine in zip(*results, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)
    return len(CASES)


LSTM_CASES = [  # networks, batch, steps, inputs, cells, peepholes
    (2, 3, 7, 2, 5, True),
    (1, 18, 5, 0, 20, True),
    (3, 2, 6, 3, 16, False),
    (1, 9, 3, 2, 40, True),
]


def check_lstm(device: str, dtype: torch.dtype, tolerance: float) -> int:
    """Likewise for LSTMs."""
    for networks, batch, steps, inputs, cells, peepholes in LSTM_CASES:
        generator = torch.Generator().manual_seed(cells)
        shapes = [
            (networks, batch, steps, inputs),
            (networks, 4 * cells, inputs),
            (networks, 4 * cells, cells),
            (networks, 4 * cells),
            (networks, 3, cells) if peepholes else (0,),
            (networks, batch, cells),
            (networks, batch, cells),
        ]
        values = [
            (0.5 * torch.randn(shape, dtype=dtype, generator=generator)).to(device).requires_grad_()
            for shape in shapes
        ]
        arguments = [v if v.numel() or i == 0 else None for i, v in enumerate(values)]
        used = [v for v in values if v.numel()]
        results = []
        for backend in ("reference", "triton"):
            y, h, c = lstm(*arguments, None, backend)
            loss = y.square().sum() + h.sum() + 2 * c.sum()
            results.append([y, h, c, *torch.autograd.grad(loss, used)])
        for theirs, mine in zip(*results, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)
    return len(LSTM_CASES)


def untested() -> set[tuple[str, int]]:
    """Widths of kernels that no case takes."""
    modules = [size for *_, n, periods in CASES for size in Clock.of(n, periods).merged().sizes]
    left = {("clockwork", width) for width in WARPS} | {("lstm", width) for width in LSTM_WARPS}
    left -= {("clockwork", next(w for w in WARPS if w >= size)) for size in modules}
    return left - {("lstm", next(w for w in LSTM_WARPS if w >= n)) for *_, n, _ in LSTM_CASES}


if __name__ == "__main__":
    assert not untested(), untested()
    done = sum(
        each("cpu", dtype, tolerance)
        for each in (check, check_lstm)
        for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4))
    )
    print(f"{done} cases agree", file=sys.stdout)
