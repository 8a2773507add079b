"""Connectionist temporal classification (Graves et al., 2006): its loss and gradient, compiled.

Probabilities of paths are far below what a double holds (30 characters at 1e-10 each), and their
logarithms cost an exponential per addition. So here they are numbers with an exponent of their
own, ``mantissa * 2 ** (512 * exponent)``, mantissas kept between 2^-256 and 2^256: exact to a
double's precision, and a multiply-add is one but for a comparison.
"""

import math
from typing import NamedTuple

import numpy as np

from .products import inline, jit
from .simd import LANES, broadcast, exp_below, get, load, put, store

_LOG_STEP = 512 * math.log(2.0)
_HIGH, _LOW = 2.0**256, 2.0**-256
_DOWN, _UP = 2.0**-512, 2.0**512
_NOTHING = -(1 << 60)  # exponent of 0
_LEAST = -(1 << 40)  # of a probability
_PLAIN = 1e-30  # probabilities above it are exact as they are, in float32 too


class CtcBuffers(NamedTuple):
    """Memory for the longest line and text: T steps, S = 2 L + 1 states (blanks between units).

    Attributes:
        y: (T, L + 1) float64 mantissas of the probability of the blank, then of each unit.
        y_exponents: (T, L + 1) int64.
        alpha: (T, S) float64 mantissas of the forward variables.
        alpha_exponents: (T, S) int64.
        beta: (2, S + 2) float64: of one step, those of the next times its y.
        beta_exponents: (2, S + 2) int64.
    """

    y: np.ndarray
    y_exponents: np.ndarray
    alpha: np.ndarray
    alpha_exponents: np.ndarray
    beta: np.ndarray
    beta_exponents: np.ndarray


def ctc_buffers(steps: int, longest: int) -> CtcBuffers:
    """For lines of so many steps and texts of so many units at the most."""
    states = 2 * longest + 1
    shapes = (steps, longest + 1), (steps, states), (2, states + 2)
    y, alpha, beta = ((np.empty(shape), np.empty(shape, np.int64)) for shape in shapes)
    return CtcBuffers(*y, *alpha, *beta)


@inline
def _normal(mantissa, exponent):
    """The same number with its mantissa in range."""
    if mantissa < _LOW:
        if mantissa == 0.0:
            return 0.0, _NOTHING
        return mantissa * _UP, exponent - 1
    if mantissa > _HIGH:
        return mantissa * _DOWN, exponent + 1
    return mantissa, exponent


@inline
def _shifted(mantissa, exponent, to):
    """The mantissa with the exponent ``to``, not below its own; 0 if it is lost there."""
    if exponent == to:
        return mantissa
    return mantissa * _DOWN if exponent == to - 1 else 0.0


@inline
def _add(a, a_exponent, b, b_exponent):
    """The sum of two numbers, its mantissa perhaps out of range by a bit."""
    if a_exponent == b_exponent:
        return a + b, a_exponent
    exponent = max(a_exponent, b_exponent)
    return _shifted(a, a_exponent, exponent) + _shifted(b, b_exponent, exponent), exponent


@jit
def softmax(logits, first, width, units):
    """Probabilities in place of the logits of a step, 0 in their padding.

    Args:
        logits: numbers.
        first: vector of the step's first ones.
        width: in vectors.
        units: how many, without padding.

    Returns:
        The largest logit plus the logarithm of the sum of exp(logit - largest).
    """
    begin = first * LANES
    highest = get(logits, begin)
    for k in range(1, units):
        highest = max(highest, get(logits, begin + k))
    for k in range(units, width * LANES):
        put(logits, begin + k, highest)
    shift = broadcast(logits, highest)
    total = 0.0
    for u in range(width):
        store(logits, first + u, exp_below(load(logits, first + u) - shift))
    for k in range(units):
        total += get(logits, begin + k)
    for k in range(units, width * LANES):
        put(logits, begin + k, 0.0)
    factor = broadcast(logits, 1.0 / total)
    for u in range(width):
        store(logits, first + u, load(logits, first + u) * factor)
    return highest + math.log(total)


@jit
def _note(p, log_p, y, y_exponents, t, j):
    """y[t, j] = a probability: as it is, or from its logarithm where it is too small for that."""
    if p > _PLAIN:
        y[t, j], y_exponents[t, j] = p, 0
        return
    if log_p < _LEAST * _LOG_STEP:
        y[t, j], y_exponents[t, j] = 0.0, _NOTHING
    else:
        exponent = round(log_p / _LOG_STEP)
        y[t, j], y_exponents[t, j] = math.exp(log_p - exponent * _LOG_STEP), exponent


@jit
def ctc(logits, first, stride, width, units, steps, text, buffers, share):
    """-log p of a text; the logits become its gradient times ``share``, their padding 0.

    Args:
        logits: numbers; a row of ``width`` vectors per step.
        first: vector of step 0's row.
        stride: vectors from step to step.
        width: see logits.
        units: outputs without padding, the blank, 0, included.
        steps: T.
        text: (L,) int64 units.
        buffers: CtcBuffers.
        share: what the gradient is multiplied by.

    Returns:
        The loss; 0, with a gradient of 0, if the text is too long for its path; NaN, with a
        gradient of NaN, if a step's logits have no largest finite one, or if the text has no
        probability left: a unit of it is 1e14 below another.
    """
    y, y_exponents, alpha, alpha_exponents, beta, beta_exponents = buffers
    length = text.size
    states = 2 * length + 1
    for t in range(steps):
        row = (first + t * stride) * LANES
        y[t, 0] = get(logits, row)
        for j in range(length):
            y[t, 1 + j] = get(logits, row + text[j])
        log_total = softmax(logits, first + t * stride, width, units)
        if not -np.inf < log_total < np.inf:
            _fill(logits, first, stride, width, units, steps, np.nan)
            return np.nan
        _note(get(logits, row), y[t, 0] - log_total, y, y_exponents, t, 0)
        for j in range(length):
            p = get(logits, row + text[j])
            _note(p, y[t, 1 + j] - log_total, y, y_exponents, t, 1 + j)
    # forward; a state that cannot reach the end in time, or be reached, stays 0
    for s in range(states):
        alpha[0, s], alpha_exponents[0, s] = 0.0, _NOTHING
    for s in range(min(states, 2)):
        alpha[0, s], alpha_exponents[0, s] = y[0, s], y_exponents[0, s]
    for t in range(1, steps):
        for s in range(states):
            m, e = alpha[t - 1, s], alpha_exponents[t - 1, s]
            if s > 0:
                m, e = _add(m, e, alpha[t - 1, s - 1], alpha_exponents[t - 1, s - 1])
            j = (s + 1) // 2 if s % 2 else 0
            if j > 1 and text[j - 1] != text[j - 2]:
                m, e = _add(m, e, alpha[t - 1, s - 2], alpha_exponents[t - 1, s - 2])
            m, e = _normal(m * y[t, j], e + y_exponents[t, j])
            alpha[t, s], alpha_exponents[t, s] = m, e
    last = steps - 1
    p, p_exponent = alpha[last, states - 1], alpha_exponents[last, states - 1]
    if length > 0:
        p, p_exponent = _add(
            p, p_exponent, alpha[last, states - 2], alpha_exponents[last, states - 2]
        )
    if p == 0.0:
        needed = length
        for j in range(1, length):
            needed += text[j] == text[j - 1]
        lost = np.nan if needed <= steps else 0.0
        _fill(logits, first, stride, width, units, steps, lost)
        return lost
    # backward
    for s in range(states + 2):
        beta[0, s], beta_exponents[0, s] = 0.0, _NOTHING
        beta[1, s], beta_exponents[1, s] = 0.0, _NOTHING
    one_over = share / p
    factor = broadcast(logits, share)
    for back in range(steps):
        t = steps - 1 - back
        at = first + t * stride
        for u in range(width):
            store(logits, at + u, load(logits, at + u) * factor)
        here, there = t % 2, (t + 1) % 2
        for s in range(states):
            if t == last:
                m, e = (1.0, 0) if s >= states - 2 else (0.0, _NOTHING)
            else:
                m, e = beta[there, s], beta_exponents[there, s]
                m, e = _add(m, e, beta[there, s + 1], beta_exponents[there, s + 1])
                j = (s + 1) // 2
                if s % 2 and j < length and text[j - 1] != text[j]:
                    m, e = _add(m, e, beta[there, s + 2], beta_exponents[there, s + 2])
            j = (s + 1) // 2 if s % 2 else 0
            difference = alpha_exponents[t, s] + e - p_exponent
            if -2 < difference < 2:
                gamma = alpha[t, s] * m * one_over
                if difference:
                    gamma *= _UP if difference > 0 else _DOWN
                k = at * LANES + (text[j - 1] if j else 0)
                put(logits, k, get(logits, k) - gamma)
            m, e = _normal(m * y[t, j], e + y_exponents[t, j])
            beta[here, s], beta_exponents[here, s] = m, e
    return -(math.log(p) + p_exponent * _LOG_STEP)


@jit
def _fill(logits, first, stride, width, units, steps, value):
    for t in range(steps):
        row = (first + t * stride) * LANES
        for k in range(width * LANES):
            put(logits, row + k, value if k < units else 0.0)
