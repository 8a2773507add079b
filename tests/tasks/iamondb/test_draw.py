"""`cwrnn draw`: ink over HTTP."""

import copy
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.tasks.iamondb import data as handwriting
from cwrnn_cli.tasks.iamondb.draw import LARGEST_BODY, DrawServer
from cwrnn_cli.tasks.iamondb.evaluate import recognise
from cwrnn_cli.tasks.iamondb.reading import Reader
from data_prep.errors import UserError
from data_prep.iamondb_files import read_strokes
from tests.conftest import one_line_error
from tests.tasks.iamondb.conftest import lists, pixels, post, serving

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def server(clockwork, corpus):
    with serving(clockwork, corpus[0]) as found:
        yield found


def refused(server: DrawServer, path: str, body: bytes | None, **headers: str) -> tuple[int, str]:
    with pytest.raises(HTTPError) as caught:
        urlopen(Request(server.url + path, body, headers))
    text = caught.value.read().decode()
    assert text.count("\n") == 1 and text.endswith("\n")
    return caught.value.code, json.loads(text)["error"]


def test_strokes_are_read_as_their_file_is(server, clockwork, corpus):
    texts = set()
    for file in corpus[1][:8]:
        strokes = lists(read_strokes(file.read_bytes()))
        found = post(server, {"units": "corpus", "strokes": strokes})["text"]
        assert found == recognise(clockwork, handwriting.load(corpus[0]), file)
        texts.add(found)
    assert len(texts) == 8 and min(map(len, texts)) > 5


def test_the_answer_says_where_and_when(server, corpus):
    drawn = pixels(read_strokes(corpus[1][0].read_bytes())) + [40, 30, 7, 0]
    found = post(server, {"rules": 40, "strokes": lists(drawn)})
    steps, activity = found["steps"], np.array(found["activity"])
    clock = server.reader.network.shape.cell.clock
    assert activity.shape == (2, len(clock.periods), len(steps)) and activity.max() <= 1
    forward, backward = activity
    for g, period in enumerate(clock.periods):  # a module's output is held until its next tick
        assert set(np.flatnonzero(np.diff(forward[g])) % period) <= {period - 1}
        assert set(np.flatnonzero(np.diff(backward[g, ::-1])) % period) <= {period - 1}
    assert np.diff(forward[0]).any()
    assert "".join(character for character, *_ in found["characters"]) == found["text"] != ""
    for character, step, probability in found["characters"]:
        assert steps[step][0] == character
        assert steps[step][1] == pytest.approx(probability, abs=1e-4)
    # the pen's places, in the pixels that were sent, each stroke's last point among them
    numbers = [number for *_, number in steps]
    assert numbers == sorted(numbers) and numbers[-1] == drawn[:, 3].sum() - 1
    for number, part in enumerate(lists(drawn)):
        where = np.array([step[2:4] for step in steps if step[4] == number])
        points = np.array(part)[:, :2]
        np.testing.assert_allclose(where[-1], points[-1], atol=0.1)
        assert (where >= points.min(axis=0) - 0.1).all()
        assert (where <= points.max(axis=0) + 0.1).all()


@pytest.mark.parametrize("model", ["srn", "lstm"])
def test_a_cell_without_a_clock_has_one_module(run, corpus, model):
    with serving(run(model), corpus[0]) as server:
        strokes = lists(read_strokes(corpus[1][0].read_bytes()))
        found = post(server, {"units": "corpus", "strokes": strokes})
        assert np.shape(found["activity"]) == (2, 1, len(found["steps"]))
        with urlopen(server.url + "about") as answer:
            assert json.load(answer)["periods"] == [1]


def test_size_place_and_pace_do_not_matter(server, corpus):
    drawn = pixels(read_strokes(corpus[1][1].read_bytes()))
    wanted = post(server, {"rules": 80, "strokes": lists(drawn)})
    unruled = post(server, {"strokes": lists(drawn)})
    assert wanted["text"] != unruled["text"] != ""
    # half as fast by a power of two, so that nothing is rounded; no rest is above 0.1 s in either
    for change in ([2, 2, 1, 1], [0.25, 0.25, 2, 1]):
        other = lists(drawn * change + [64, -32, 1024, 0])
        found = post(server, {"rules": 80 * change[0], "strokes": other})
        assert (found["text"], found["activity"]) == (wanted["text"], wanted["activity"])
        assert post(server, {"strokes": other})["text"] == unruled["text"]


def test_no_ink_is_no_text(server):
    for strokes in ([], [[]]):
        assert post(server, {"strokes": strokes})["text"] == ""
    assert len(post(server, {"rules": 40, "strokes": [[[3, 3, 1]]]})["steps"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b'{"strokes": [[[1, 2, NaN]]]}', 400, "not JSON"),
        (b'{"strokes": [[[1, 2, 1e999]]]}', 400, "finite numbers"),
        (b'{"strokes": [[[1, 2, 1' + b"0" * 400 + b"]]]}", 400, "a number beyond"),
        (b'{"strokes": [[[1, 2, true]]]}', 400, "finite numbers"),
        (b'{"strokes": [[[1, 2]]]}', 400, "not [x, y, seconds]"),
        (b'{"strokes": [3]}', 400, "lists of"),
        (b"[]", 400, "expected an object"),
        (b'{"strokes": [], "units": "inch"}', 400, "units: expected"),
        (b'{"strokes": [], "rules": 0}', 400, "rules: expected pixels"),
        (b'{"strokes": [[' + b"[1,2,3]," * 20_001 + b"[1,2,3]]]}", 413, "more than 20000 points"),
        (b'{"rules": 1, "strokes": [[[0, 0, 0], [1e6, 0, 1]]]}', 413, "the line is too long"),
        (b" " * (LARGEST_BODY + 1), 413, f"at most {LARGEST_BODY}"),
    ],
)
def test_what_is_no_ink_is_refused(server, body, status, reason):
    found = refused(server, "read", body)
    assert found[0] == status and reason in found[1]


def test_other_sites_are_refused(server):
    port = server.server_port
    for headers in (
        {"Host": f"rebound.example:{port}"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ):
        for path, body in (("", None), ("read", b'{"strokes": []}')):
            assert refused(server, path, body, **headers)[0] == 403
    own = {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"}
    with urlopen(Request(server.url, headers=own)) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.read().decode() == server.page
    assert server.server_address[0] == "127.0.0.1"
    assert refused(server, "nothing", None)[0] == 404
    with socket.create_connection(server.server_address) as link:
        link.sendall(f"POST /read HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert b" 411 " in link.makefile("rb").readline()


def test_the_page_asks_for_nothing_from_elsewhere(server):
    assert "http" not in server.page.replace("http-equiv", "")
    assert "src=" not in server.page


def test_the_command(clockwork, corpus, piece, tmp_path, cwrnn):
    command = [sys.executable, "-m", "cwrnn_cli", "draw", clockwork.path, "--no-browser"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        line = process.stdout.readline()
        url = line.split()[0]
        with urlopen(url) as answer:
            assert b"<canvas" in answer.read()
        port = url.rstrip("/").rpartition(":")[2]
        taken = cwrnn("draw", clockwork.path, "--port", port, expect=2)
        assert f"--port {port}: cannot be opened" in one_line_error(taken)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (0, "", "")
    assert line.startswith("http://127.0.0.1:") and "parameters; Ctrl-C ends it\n" in line
    cwrnn("train", "--model", "srn", "--data", piece, "--runs", 1, "--epochs", 1, "--out", "wave")
    assert "a run of task audio; expected" in one_line_error(cwrnn("draw", "wave", expect=2))
    assert "no run of task" in one_line_error(cwrnn("draw", expect=2))


def test_other_data_of_the_same_kind_will_do(clockwork, corpus, lines, tmp_path, capsys):
    """It is only looked at for characters and standardisation; but that must fit."""
    from cwrnn_cli.tasks.iamondb.draw import data_like
    from data_prep import store

    config, again = clockwork.config(), store.read(corpus[0])
    again.provenance["source"]["more"] = "prepared another time"
    store.write(tmp_path / "again.h5", again)
    data = data_like(config, handwriting.load(tmp_path / "again.h5"))
    assert "again.h5: not the data of this run, but" in capsys.readouterr().err
    assert Reader.of(clockwork, data).data is data
    assert data_like(config, handwriting.load(corpus[0])).sha256 == config.data_sha256
    assert not capsys.readouterr().err
    with pytest.raises(UserError, match="not the data of this run"):
        data_like(config, handwriting.load(lines))


def test_a_file_of_the_same_source_prepared_alike_is_the_runs_data(
    clockwork, corpus, tmp_path, capsys
):
    """Whoever has the corpus makes a file of another name for where it is to be had."""
    from data_prep import store

    config, task, again = clockwork.config(), TASKS["iamondb"], store.read(corpus[0])
    known = {"provenance": copy.deepcopy(again.provenance)}
    known["provenance"]["source"]["sha256"] = "1" * 64
    again.provenance["source"] |= {"sha256": "1" * 64, "origin": "the shelf"}
    store.write(tmp_path / "again.h5", again)
    found = task.data_of(config, tmp_path / "again.h5", known)
    assert found.sha256 != config.data_sha256 and len(found.test) == len(again.splits["test"])
    assert "not this run's file, but its source, prepared alike" in capsys.readouterr().err
    for other in (None, {}, {"provenance": known["provenance"] | {"path": {"every": 5}}}):
        with pytest.raises(UserError, match="not the data of this run"):
            task.data_of(config, tmp_path / "again.h5", other)
    again.provenance["path"] = again.provenance["path"] | {"offsets": True}
    store.write(tmp_path / "offsets.h5", again)
    with pytest.raises(UserError, match="offsets False, not True"):
        task.data_of(config, tmp_path / "offsets.h5", known)
