"""The compiled CTC against torch's, also where paths are next to impossible."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cwrnn_cli.kernels.numba.ctc import ctc, ctc_buffers
from cwrnn_cli.kernels.numba.simd import LANES

SHARE = 0.25


def ours(logits: np.ndarray, text: np.ndarray, apart: int = 0) -> tuple[float, np.ndarray]:
    """Loss, and SHARE times its gradient; rows lie ``apart`` vectors apart, behind one vector."""
    steps, units = logits.shape
    width = -(-units // LANES)
    rows = np.full((steps, width + apart, LANES), 7, logits.dtype)
    rows[:, :width] = 0
    rows.reshape(steps, -1)[:, :units] = logits
    flat = np.concatenate([np.full(LANES, 7, logits.dtype), rows.ravel()])
    buffers = ctc_buffers(steps, len(text))
    loss = ctc(flat, 1, width + apart, width, units, steps, text, buffers, SHARE)
    rows = flat[LANES:].reshape(steps, width + apart, LANES)
    assert (flat[:LANES] == 7).all() and (
        rows[:, width:] == 7
    ).all()  # nothing beside it is touched
    gradient = rows.reshape(steps, -1)
    assert not gradient[:, units : width * LANES].any()
    return loss, gradient[:, :units]


def torchs(logits: np.ndarray, text: np.ndarray) -> tuple[float, np.ndarray]:
    x = torch.from_numpy(logits).double().requires_grad_()
    lengths = torch.tensor([len(x)]), torch.tensor([len(text)])
    log_p = x.log_softmax(dim=1)[:, None]
    words = torch.from_numpy(text)[None]
    loss = torch.nn.functional.ctc_loss(
        log_p, words, *lengths, reduction="none", zero_infinity=True
    )
    (SHARE * loss).sum().backward()
    return loss.item(), x.grad.numpy()


@settings(max_examples=60)
@given(
    steps=st.integers(1, 60),
    units=st.integers(2, 40),
    length=st.integers(0, 30),
    scale=st.sampled_from([0.0, 1.0, 30.0, 1000.0]),
    apart=st.integers(0, 3),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([np.float64, np.float32]),
)
# a blank of probability 1 but for 1e-43, at every step: p is some 1e-1300, in float32
@example(steps=60, units=5, length=30, scale=0.0, apart=0, seed=-1, dtype=np.float32)
@example(steps=4, units=3, length=4, scale=1.0, apart=0, seed=0, dtype=np.float64)  # no path
def test_it_is_torchs(steps, units, length, scale, apart, seed, dtype):
    rng = np.random.default_rng(abs(seed))
    logits = scale * rng.standard_normal((steps, units))
    if seed < 0:
        logits[:, 0] += 100
    logits = logits.astype(dtype)
    text = rng.integers(1, units, length)
    loss, gradient = ours(logits, text, apart)
    wanted, grad = torchs(logits, text)
    near = 1e-9 if dtype == np.float64 else 1e-5
    assert loss == pytest.approx(wanted, rel=near, abs=near)
    np.testing.assert_allclose(gradient, grad, rtol=near, atol=near)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_seen(wrong):
    logits = np.zeros((5, 3))
    logits[2] = [0, wrong, 1] if wrong != -np.inf else wrong
    loss, gradient = ours(logits, np.array([1, 2]))
    assert np.isnan(loss) and np.isnan(gradient).all()


def test_a_probability_that_is_no_number_any_more_is_not_taken_for_a_text_too_long():
    logits = np.zeros((2, 3))
    logits[:, 0] = 1e20
    loss, gradient = ours(logits, np.array([1, 2]))
    assert np.isnan(loss) and np.isnan(gradient).all()
