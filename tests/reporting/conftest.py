from pathlib import Path
from types import SimpleNamespace

import pytest

import cwrnn_cli.tasks  # noqa: F401  (registers them)
from cwrnn_cli.reporting import figures


@pytest.fixture
def drawn(monkeypatch) -> SimpleNamespace:
    """The figure that was saved last, to look at what is drawn; the file is written all the same.

    ``into(module)``: for a module that has imported ``save`` by its name.
    """
    found = SimpleNamespace()
    save = figures.save

    def keep(figure: object, path: Path) -> None:
        found.figure = figure
        save(figure, path)
        assert path.read_bytes().startswith(b"\x89PNG")

    def into(module: object) -> None:
        monkeypatch.setattr(module, "save", keep)

    found.into = into
    into(figures)
    return found
