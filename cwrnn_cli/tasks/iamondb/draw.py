"""`cwrnn draw`: a page on this machine to write on, and see what a network reads.

The page is one file, draw.html; it asks for nothing but this server's own answers:

    GET  /          the page
    GET  /about     which network, of which data
    POST /read      {"units": "canvas", "rules": pixels, "strokes": [[[x, y, seconds], ...], ...]}

``canvas`` ink goes through :mod:`.canvas`, ``corpus`` strokes are taken as those of a line file of
IAM-OnDB. What is asked wrongly is answered by a status of 4xx and ``{"error": "..."}``.
"""

import base64
import hashlib
import json
import math
import re
import threading
import webbrowser
from collections.abc import Callable
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

import click
import numpy as np

from data_prep.errors import UserError
from data_prep.iamondb import which_kept

from ...console import RUNS_FOLDER, print_text, say, warn
from ...help import Command, section
from ...models import CELLS
from ...option import RUN
from ...training.config import TrainConfig
from ...training.folder import RunFolder
from ...training.folders import newest_run
from .canvas import MOST_POINTS, Hand
from .data import IamondbData
from .reading import Reader
from .task import IamondbTask

HOST = "127.0.0.1"
LARGEST_BODY = 1 << 20  # bytes
_FURTHEST = 1e6  # pixels or seconds, of ink
_FURTHEST_IN_CORPUS = 1e12  # as in its files
_STALLED = 10  # seconds
_DRAINED = 1 << 24  # bytes of a body that is too large


class Refusal(Exception):
    """A request that is not answered as asked.

    Args:
        status: of HTTP.
        reason: a line.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class DrawServer(ThreadingHTTPServer):
    """The page and its answers, for this machine only.

    Args:
        reader: of a run.
        port: 0 for a free one.
        page: HTML; None: the packaged one.

    Raises:
        UserError: the port is taken.
    """

    daemon_threads = True
    allow_reuse_port = False

    def __init__(self, reader: Reader, port: int = 0, page: str | None = None) -> None:
        self.reader, self.hand = reader, Hand.of(reader.data)
        self.page = page or files(__package__).joinpath("draw.html").read_text(encoding="utf-8")
        self.policy = content_policy(self.page)
        self._one_at_a_time = threading.Lock()
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UserError(
                f"--port {port}: cannot be opened ({error.strerror}); choose another, or none for "
                "a free one"
            ) from error

    @property
    def hosts(self) -> set[str]:
        """What a request may name as its host; others come from a page of somebody else's."""
        return {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    @cached_property
    def about(self) -> dict[str, Any]:
        """Which network, of which data, for the page."""
        config, data = self.reader.config, self.reader.data
        cell, shape = CELLS[config.model], self.reader.network.shape
        name = IamondbTask().data_label(data.source, data.standin)
        return {
            "network": f"{cell.label}, {config.hidden_size} {cell.unit}, "
            f"{config.parameter_count()} parameters",
            "data": name,
            "valid_cer": self.reader.valid_cer,
            "periods": [period for period, _ in shape.cell.modules],
            "directions": len(shape.suffixes),
            "interval": self.hand.interval,
        }

    def read(self, asked: Any) -> dict[str, Any]:
        """The answer to a request for a reading.

        Args:
            asked: JSON, as above; units are "canvas" unless it says otherwise.

        Returns:
            ``text``; ``characters``: each with the step at which it was first the likeliest, and
            its probability there; ``steps``, for each: the likeliest character ("" for the blank)
            and its probability, where the pen was (in the request's units) and in which of its
            strokes; ``seconds`` that the network saw; ``activity``: (directions, g, T).

        Raises:
            Refusal: not such JSON, numbers that are none, too many points, or a network that
                has diverged.
        """
        drawn, rules = _asked(asked)
        if not len(drawn):
            return {"text": "", "characters": [], "steps": [], "seconds": 0.0, "activity": []}
        strokes, scale = drawn, 1.0
        corner = drawn[:, :2].min(axis=0)
        if asked.get("units", "canvas") == "canvas":
            try:
                strokes, scale = self.hand.line_of(drawn, rules)
            except UserError as error:
                raise Refusal(413, error.reason) from error
        with self._one_at_a_time:
            try:
                reading = self.reader.read(strokes)
            except UserError as error:
                raise Refusal(409, error.reason) from error
        kept = which_kept(strokes, self.reader.path_options)
        at = (strokes[kept, :2] - strokes[:, :2].min(axis=0)) / scale + corner
        number = np.concatenate([[0], np.cumsum(strokes[:-1, 3])])[kept]
        alphabet = self.reader.data.characters
        return {
            "text": reading.text,
            "characters": reading.characters(alphabet),
            "steps": [
                [alphabet[unit - 1] if unit else "", round(float(p), 4), *where, int(stroke)]
                for unit, p, where, stroke in zip(
                    reading.path, reading.probability, at.round(1).tolist(), number, strict=True
                )
            ],
            "seconds": float(np.ptp(np.maximum.accumulate(strokes[:, 2]))),
            "activity": reading.activity.round(4).astype(float).round(4).tolist(),
        }

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a browser that hangs up is no error."""


def data_like(config: TrainConfig, data: IamondbData) -> IamondbData:
    """Data of a run, or of the same kind: its characters and standardisation are all it is for.

    Raises:
        UserError: of another corpus, prepared otherwise, or with more or fewer characters.
    """
    if data.sha256 != config.data_sha256:
        ours = (config.data_name, config.standin, config.data_options, config.output_size)
        given = (data.source, data.standin, data.options, len(data.characters) + 1)
        if given != ours:
            return IamondbTask().data_of(config, data)  # which refuses it
        warn(
            f"{data.path}: not the data of this run, but as many characters of the same corpus, "
            "prepared alike: taken for which they are and what lines look like"
        )
    return data


def content_policy(page: str) -> str:
    """The Content-Security-Policy of a page: its own scripts and styles, and answers from here."""

    def own(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digests = [hashlib.sha256(text.encode()).digest() for text in found]
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {own('script')}; style-src {own('style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _asked(asked: Any) -> tuple[np.ndarray, float | None]:
    """(N, 4) points of a request, and the pixels between its rules.

    Raises:
        Refusal: as :meth:`DrawServer.read`.
    """
    if not isinstance(asked, dict) or not isinstance(asked.get("strokes"), list):
        raise Refusal(400, "expected an object with strokes, a list of lists of [x, y, seconds]")
    units, rules = asked.get("units", "canvas"), asked.get("rules")
    if units not in ("canvas", "corpus"):
        raise Refusal(400, 'units: expected "canvas" or "corpus"')
    if rules is not None and not (_is_number(rules) and 1 <= rules <= _FURTHEST):
        raise Refusal(400, f"rules: expected pixels, 1 to {_FURTHEST:g}")
    furthest = _FURTHEST if units == "canvas" else _FURTHEST_IN_CORPUS
    points: list[tuple[float, float, float, float]] = []
    for stroke in asked["strokes"]:
        if not isinstance(stroke, list):
            raise Refusal(400, "strokes: expected lists of [x, y, seconds]")
        if len(points) + len(stroke) > MOST_POINTS:
            raise Refusal(413, f"strokes: more than {MOST_POINTS} points; clear the line")
        for point in stroke:
            if not (isinstance(point, list) and len(point) == 3 and all(map(_is_number, point))):
                raise Refusal(400, "strokes: a point that is not [x, y, seconds], finite numbers")
            x, y, t = point
            if max(abs(x), abs(y), abs(t)) > furthest:
                raise Refusal(400, f"strokes: a number beyond {furthest:g}")
            points.append((float(x), float(y), float(t), 0.0))
        if stroke:
            points[-1] = (*points[-1][:3], 1.0)
    return np.array(points, np.float64).reshape(-1, 4), rules


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


class _Handler(BaseHTTPRequestHandler):
    """One request; see :class:`DrawServer`."""

    server: DrawServer
    server_version = "cwrnn"
    sys_version = ""
    timeout = _STALLED

    def do_GET(self) -> None:
        """The page, or what it is about."""
        self._answer({"/": self._page, "/about": lambda: self._json(200, self.server.about)})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """A reading."""
        self._answer({"/read": lambda: self._json(200, self.server.read(self._body()))})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses, as JSON too."""
        self._json(code, {"error": message or self.responses.get(code, ("refused",))[0]})

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def _answer(self, places: dict[str, Callable[[], None]]) -> None:
        try:
            self._check_host()
            place = self.path.partition("?")[0]
            if place not in places:
                raise Refusal(404, f"{self.command} {place[:80]}: there is no such thing here")
            places[place]()
        except Refusal as refusal:
            self._json(refusal.status, {"error": refusal.reason})
        except OSError:
            raise  # hung up: there is nobody to tell
        except Exception as error:  # a mistake of ours; the page goes on
            warn(f"{self.command} {self.path!r}: {error!r}")
            self._json(500, {"error": "a mistake in cwrnn; see the terminal"})

    def _check_host(self) -> None:
        """Refuses requests that another site's page made this browser send."""
        allowed = self.server.hosts
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if host not in allowed or (
            origin is not None and origin.removeprefix("http://") not in allowed
        ):
            raise Refusal(403, f"this server answers {self.server.url} only")

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,12}", length):
            raise Refusal(411, "Content-Length: expected a number of bytes")
        if int(length) > LARGEST_BODY:
            for _ in range(min(int(length), _DRAINED) // LARGEST_BODY):  # so that it listens
                self.rfile.read(LARGEST_BODY)
            raise Refusal(413, f"{length} bytes; at most {LARGEST_BODY}; clear the line")
        try:
            return json.loads(self.rfile.read(int(length)), parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise Refusal(400, "not JSON") from error

    def _page(self) -> None:
        headers = {"Content-Security-Policy": self.server.policy}
        self._send(200, "text/html; charset=utf-8", self.server.page.encode(), headers)

    def _json(self, status: int, value: Any) -> None:
        self._send(status, "application/json", (json.dumps(value) + "\n").encode(), {})

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        always = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        always |= {"Cache-Control": "no-store", "Content-Type": kind, **headers}
        for name, value in (always | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


@click.command(
    cls=Command,
    examples=[
        ("the newest run", "cwrnn draw"),
        ("one by name", "cwrnn draw runs/RUN --data data/iamondb.h5 --port 8000"),
    ],
)
@click.argument("run", type=RUN, required=False)
@section("Data")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="The run's HDF5 file, if it has moved: it has the characters, and how large, how fast and "
    "around which mean the training lines are written.",
)
@section("Page")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="Where on this machine.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def command(run: Path | None, data: Path | None, port: int, no_browser: bool) -> None:
    """Write by hand, and watch a network read: RUN's best (the newest run unless named).

    Opens a page on 127.0.0.1, which no other machine can reach, to write a line on with the mouse
    or a finger: it shows what is read, as you write, and below at which step of the pen, and what
    each module did there. Ctrl-C ends it.
    """
    task = IamondbTask()
    folder = RunFolder(run) if run else newest_run(RUNS_FOLDER, task.name)
    config = folder.config()
    if config.task != task.name:
        raise UserError(f"{folder.path}: a run of task {config.task}; expected one of {task.name}")
    reader = Reader.of(folder, data_like(config, task.load(data or Path(config.data_path))))
    with DrawServer(reader, port) as server:
        try:
            print_text(f"{server.url} reads with {server.about['network']}; Ctrl-C ends it")
            if not no_browser:  # in a thread: a browser in the terminal waits for the page
                threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
            server.serve_forever()
        except KeyboardInterrupt:
            say("")
