"""eSpeak NG through ctypes: synthetic speech with the time of every word.

The library and its voices come in the wheel of `espeakng-loader` (the extra ``standin``).
"""

import ctypes
import re
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import UserError
from .scratch import scratch_folder

_SYNCHRONOUS, _UTF8 = 2, 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # espeak_PARAMETER
_END_OF_LIST, _WORD = 0, 1  # espeak_EVENT_TYPE
_SILENT = 0.003  # of full scale


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("text", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("message", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker.

    Attributes:
        name: a language of eSpeak NG and a variant, such as "en-us+m3".
        pitch: 0 to 100, 50 is the voice's own.
        pitch_range: 0 (monotone) to 100.
        rate: words per minute, 80 to 450.
    """

    name: str
    pitch: int
    pitch_range: int
    rate: int


class Synthesiser:
    """A synthesiser in its first state: the same sentences one after the other, the same samples.

    The library keeps state from one sentence to the next, which nothing in it resets; so each
    instance loads a copy of its own.

    Attributes:
        rate: sampling rate in Hz.

    Raises:
        UserError: it is not installed.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader  # noqa: PLC0415  (an extra)
        except ImportError as error:
            raise UserError(
                "synthetic speech needs eSpeak NG: pip install espeakng-loader (cwrnn[standin])"
            ) from error
        with scratch_folder() as folder:
            copy = str(shutil.copy(espeakng_loader.get_library_path(), folder))
            self._library = ctypes.CDLL(copy)
        data = str(espeakng_loader.get_data_path()).encode()
        self.rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
        if self.rate <= 0:
            raise UserError("eSpeak NG does not start; install espeakng-loader again")

    def speak(
        self, text: str, voice: Voice, seed: int
    ) -> tuple[np.ndarray, list[tuple[int, int, str]]]:
        """Say something.

        Args:
            text: one sentence of ASCII.
            voice: who speaks.
            seed: of the noise in the voice.

        Returns:
            (N,) float32 samples of full scale 1; each word's first sample, the sample behind its
            last, and the word in lower case.

        Raises:
            UserError: no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise UserError(f"eSpeak NG has no voice {voice.name}; install espeakng-loader again")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        for parameter, value in (
            (_RATE, voice.rate),
            (_VOLUME, 80),
            (_PITCH, voice.pitch),
            (_RANGE, voice.pitch_range),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        chunks: list[np.ndarray] = []
        begins: list[tuple[int, str]] = []

        def take(wave: Any, count: int, events: Any) -> int:
            if count:
                chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
            index = 0
            while events[index].type != _END_OF_LIST:
                event = events[index]
                if event.type == _WORD:
                    first = event.text_position - 1  # counted from 1
                    begins.append((event.sample, text[first : first + event.length]))
                index += 1
            return 0

        callback = _Callback(take)
        self._library.espeak_SetSynthCallback(callback)
        raw = text.encode("ascii")
        self._library.espeak_Synth(raw, ctypes.c_size_t(len(raw) + 1), 0, 1, 0, _UTF8, None, None)
        samples = np.concatenate(chunks).astype(np.float32) / 32768
        loud = np.flatnonzero(np.abs(samples) > _SILENT)
        limits = [begin for begin, _ in begins[1:]] + [int(loud[-1]) + 1]
        words = [
            (begin, end, re.sub(r"[^a-z']", "", word.lower()))
            for (begin, word), end in zip(begins, limits, strict=True)
        ]
        return samples, words
