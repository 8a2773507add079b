"""Curves of a run for TensorBoard: events made of the lines of metrics.jsonl, as they are written.

They lie in ``tensorboard/`` of the run folder, a file for each time that training began or went on
there; what is cut off metrics.jsonl then is cut off them, too.
"""

import json
import shutil
import struct
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

from data_prep.errors import UserError
from data_prep.files import append_bytes, write_bytes
from data_prep.reading import content_of, lines_of

from .folder import LARGEST_METRICS, METRICS, RunFolder
from .listing import finite_numbers

EVENTS_FOLDER = "tensorboard"
_PREFIX, _DIGITS = "events.out.tfevents.", 6  # TensorBoard wants the word, and reads by name
_HEAD, _TAIL = 12, 4  # bytes of a record before its event and behind it: length, checksums
_OF_SEVERAL: dict[str, Callable[[list[float]], float]] = {"min": min, "median": median, "max": max}


def check_tensorboard() -> None:
    """Raises UserError if it is not installed."""
    try:
        from tensorboard.summary.writer import record_writer  # noqa: F401, PLC0415
    except ImportError as error:
        raise UserError(
            "--tensorboard: needs TensorBoard, which is not installed: pip install tensorboard"
        ) from error


class CurvesFolder(RunFolder):
    """A run folder whose metrics are also events for TensorBoard.

    Args:
        path: of the folder; need not exist.
    """

    @property
    def _files(self) -> list[Path]:
        return sorted((self.path / EVENTS_FOLDER).glob(_PREFIX + "[0-9]" * _DIGITS))

    @cached_property
    def _networks(self) -> int:
        return self.config().networks

    def discard(self) -> None:
        """See :class:`.RunFolder`."""
        shutil.rmtree(self.path / EVENTS_FOLDER, ignore_errors=True)
        super().discard()

    def cut_metrics(self, epoch: int) -> None:
        """See :class:`.RunFolder`; then the same with the events, and begin a file of more.

        Lines that no events were made of get theirs now.
        """
        super().cut_metrics(epoch)
        before, last = self._files, 0
        for path in before:
            last = _cut(path, epoch, last)
        number = int(before[-1].name.removeprefix(_PREFIX)) + 1 if before else 1
        self._file = self.path / EVENTS_FOLDER / f"{_PREFIX}{number:0{_DIGITS}}"
        self._opening = _opening(epoch + 1)
        for values in map(json.loads, lines_of(self.path / METRICS, LARGEST_METRICS)):
            if values["epoch"] > last:
                self._add(values)

    def append_metrics(self, values: dict[str, Any]) -> None:
        """See :class:`.RunFolder`; then the same as an event."""
        super().append_metrics(values)
        self._add(values)

    def _add(self, line: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl as an event."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415

        numbers = {name: value for name, value in line.items() if name != "epoch"}
        found = scalars(numbers, several=self._networks > 1)
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in found.items()]
        event = _record(step=line["epoch"], summary=Summary(value=values))
        self._file.parent.mkdir(exist_ok=True)
        append_bytes(self._file, self._opening + event)
        self._opening = b""


def scalars(line: Mapping[str, Any], several: bool) -> dict[str, float]:
    """Tag -> number, of what metrics.jsonl has; what is not finite has no point.

    Args:
        line: name -> a number of all networks, or a list of those of each that trains still.
        several: whether the run has several networks: of a list then least, median and greatest.
    """
    found: dict[str, float] = {}
    for name, value in line.items():
        numbers = finite_numbers(value)
        if several and isinstance(value, list):
            found |= {f"{name}/{of}": f(numbers) for of, f in _OF_SEVERAL.items() if numbers}
        elif numbers:
            found[name] = numbers[0]
    return found


def _opening(step: int) -> bytes:
    """Records that open a file: of which kind it is, and that there is nothing from a step on."""
    from tensorboard.compat.proto.event_pb2 import SessionLog  # noqa: PLC0415

    start = SessionLog(status=SessionLog.START)
    return _record(file_version="brain.Event:2") + _record(step=step, session_log=start)


def _record(**values: Any) -> bytes:
    """An event of now in the framing of event files."""
    from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415
    from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415

    file = BytesIO()
    RecordWriter(file).write(Event(wall_time=time.time(), **values).SerializeToString())
    return file.getvalue()


def _cut(path: Path, epoch: int, last: int) -> int:
    """Drop what a file of events has beyond an epoch, and what is no whole record.

    The file stays, even without a point: a TensorBoard that is looking on may be reading it.

    Args:
        path: of the file.
        epoch: the last to keep.
        last: epoch of the last event before this file.

    Returns:
        Epoch of the last event in it, or ``last``.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415

    content, at = content_of(path, LARGEST_METRICS), 0
    while at + _HEAD <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        begin, end = at + _HEAD, at + _HEAD + length + _TAIL
        try:
            event = Event.FromString(content[begin : begin + length])
        except DecodeError:
            break
        if end > len(content) or (event.HasField("summary") and event.step > epoch):
            break
        at, last = end, max(last, event.step) if event.HasField("summary") else last
    if at < len(content):
        write_bytes(path, content[:at])
    return last
