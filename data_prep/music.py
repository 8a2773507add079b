"""The built-in piece of music: four seconds that our own code plays, the same on every machine.

The paper does not name its piece, and a sound file in the repository would need a licence and a
source. So the piece is synthesised: plucked and bowed strings in a slow chord progression, each
note with a dozen or more overtones that beat against each other (strings are a little inharmonic,
bows have vibrato), decay at their own rates, and carry noise.

Every number comes from additions and multiplications of IEEE doubles and from PCG64's raw bits,
never from a mathematical library whose last digit differs between machines, and is rounded to 16
bits in the end.
"""

import math

import numpy as np

RATE = 44100
SECONDS = 4.0
NAME = "built-in piece"

# (instrument, pitch in Hz, onset in seconds, length in seconds, loudness); notes that began before
# the start sound on at 0, so that the piece opens in the middle of a chord, as a cut from a record
# does
_SCORE = (
    ("bow", 110.0, -0.30, 2.4, 0.9),
    ("pluck", 220.0, -0.05, 2.0, 0.8),
    ("pluck", 329.628, -0.03, 2.0, 0.6),
    ("bow", 554.365, -0.20, 1.4, 0.5),
    ("pluck", 880.0, -0.01, 1.0, 0.4),
    ("pluck", 1108.731, 0.012, 0.8, 0.3),
    ("pluck", 246.942, 0.50, 1.5, 0.8),
    ("pluck", 369.994, 0.75, 1.5, 0.7),
    ("bow", 659.255, 1.10, 1.6, 0.6),
    ("bow", 92.499, 1.90, 2.1, 0.9),
    ("pluck", 277.183, 2.00, 2.0, 0.8),
    ("pluck", 440.0, 2.25, 1.7, 0.7),
    ("pluck", 739.989, 2.50, 1.5, 0.5),
    ("bow", 987.767, 2.70, 1.3, 0.4),
)


def _sine(cycles: np.ndarray) -> np.ndarray:
    """sin(2 pi cycles) by a polynomial, the same bits everywhere."""
    x = cycles - np.floor(cycles + 0.5)  # [-1/2, 1/2)
    x = np.where(x > 0.25, 0.5 - x, np.where(x < -0.25, -0.5 - x, x))  # [-1/4, 1/4]
    angle = x * 6.283185307179586
    square = angle * angle
    value = np.zeros_like(x)
    for k in range(8, -1, -1):
        value = value * square + (-1.0) ** k / math.factorial(2 * k + 1)
    return np.asarray(value * angle)


def _decay(steps: int, first: float, per_step: float) -> np.ndarray:
    """first, first * per_step, ...: multiplied one after the other."""
    factors = np.full(steps, per_step)
    factors[0] = first
    return np.multiply.accumulate(factors)


def _noise(generator: np.random.PCG64, steps: int) -> np.ndarray:
    """White noise in [-1, 1) from the generator's raw bits."""
    raw = np.asarray(generator.random_raw(steps)) >> np.uint64(11)
    return raw.astype(np.float64) * 2.0**-52 - 1.0


def _body(frequency: float) -> float:
    """What the wooden body passes: a resonance at 1800 Hz, then 12 dB less per octave."""
    off, high = (frequency - 1800.0) / 500.0, frequency / 3000.0
    return (1.0 + 1.0 / (1.0 + off * off)) / (1.0 + high * high)


def _pluck(pitch: float, time: np.ndarray, generator: np.random.PCG64) -> np.ndarray:
    """A string plucked at a fifth of its length: high partials die first, a scratch begins."""
    wave: np.ndarray = np.zeros_like(time)
    for k in range(1, 25):
        frequency = pitch * k * (1.0 + 2e-4 * k * k)  # stiffness sharpens high partials
        if frequency > 16000.0:
            break
        strength = _body(frequency) * float(_sine(np.array([k / 10.0]))[0]) / k  # sin(pi k / 5) / k
        fade = 1.0 - (1.5 + 0.004 * frequency) / RATE
        phase = float(_noise(generator, 1)[0])
        wave += _decay(len(time), strength, fade) * _sine(time * frequency + phase)
    scratch = _decay(len(time), 0.1, 1.0 - 120.0 / RATE) * _noise(generator, len(time))
    wave += scratch
    return wave


def _bow(pitch: float, time: np.ndarray, generator: np.random.PCG64) -> np.ndarray:
    """A bowed string: the sawtooth's partials through the body, with vibrato and hiss."""
    vibrato = _sine(time * 5.5) * (0.004 * pitch / (5.5 * 6.283185307179586))
    wave = np.zeros_like(time)
    for k in range(1, 41):
        frequency = pitch * k
        if frequency > 16000.0:
            break
        phase = float(_noise(generator, 1)[0])
        wave += (_body(frequency) / k) * _sine(time * frequency + vibrato * k + phase)
    attack = np.minimum(time * 8.0, 1.0)
    return np.asarray(attack * (0.5 * wave + 0.01 * _noise(generator, len(time))))


def piece() -> np.ndarray:
    """The whole piece: (176400,) int16 at 44.1 kHz, one channel."""
    steps = int(SECONDS * RATE)
    mix = np.zeros(steps)
    for number, (instrument, pitch, onset, length, loudness) in enumerate(_SCORE):
        generator = np.random.PCG64(number)
        note_steps = int(length * RATE)
        time = np.arange(note_steps) * (1.0 / RATE)
        play = _pluck if instrument == "pluck" else _bow
        note = loudness * play(pitch, time, generator)
        note *= np.minimum((length - time) * 20.0, 1.0)  # let go within 50 ms
        first = int(onset * RATE)
        begin, end = max(first, 0), min(first + note_steps, steps)
        mix[begin:end] += note[begin - first : end - first]
    samples: np.ndarray = np.rint(mix * (32000.0 / np.abs(mix).max())).astype(np.int16)
    return samples
