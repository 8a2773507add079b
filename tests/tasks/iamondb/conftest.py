"""A run that reads ink, and a server for it."""

import json
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

from cwrnn_cli.tasks.iamondb import data as handwriting
from cwrnn_cli.tasks.iamondb.draw import DrawServer
from cwrnn_cli.tasks.iamondb.reading import Reader
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import train
from data_prep import iamondb, iamondb_standin


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> tuple[Path, list[Path]]:
    """A few lines of the stand-in, prepared; and their line files."""
    pytest.importorskip("HersheyFonts", reason="the extra `standin` is not installed")
    folder = tmp_path_factory.mktemp("draw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iamondb_standin, "FORMS", dict.fromkeys(iamondb_standin.FORMS, 1))
        with iamondb_standin.tree(folder / "files") as root:
            iamondb.prepare(folder / "data.h5", root)
    return folder / "data.h5", sorted((folder / "files").rglob("*.xml"))


@pytest.fixture(scope="session")
def run(corpus, tmp_path_factory):
    """A run that reads nonsense, but of every line another one: its weights start large."""

    def make(model: str) -> RunFolder:
        data = handwriting.load(corpus[0])
        config = configure(data, model, 2000, runs=1, epochs=1, weight_std=1.0, lr=1e-6)
        folder = RunFolder(tmp_path_factory.mktemp("runs") / model)
        folder.start(config)
        train(config, data, folder)
        return folder

    return make


@pytest.fixture(scope="session")
def clockwork(run) -> RunFolder:
    return run("cw")


@contextmanager
def serving(folder: RunFolder, path: Path, page: str | None = None):
    with DrawServer(Reader.of(folder, handwriting.load(path)), page=page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def post(server: DrawServer, value: object) -> dict:
    with urlopen(Request(server.url + "read", json.dumps(value).encode())) as answer:
        return json.load(answer)


def lists(strokes: np.ndarray) -> list[list[list[float]]]:
    parts = np.split(strokes[:, :3], np.flatnonzero(strokes[:, 3])[:-1] + 1)
    return [part.tolist() for part in parts]


def pixels(strokes: np.ndarray, scale: float = 0.1) -> np.ndarray:
    """A line as a screen of 60 points a second has it."""
    drawn = []
    for part in np.split(strokes, np.flatnonzero(strokes[:, 3])[:-1] + 1):
        t = np.arange(part[0, 2], part[-1, 2] + 1 / 120, 1 / 60)
        x, y = (np.interp(t, part[:, 2], part[:, i]) * scale for i in (0, 1))
        drawn.append(np.stack([x, y, t - strokes[0, 2], t == t[-1]], axis=1))
    return np.concatenate(drawn)
