"""A checkpoint is input: what does not fit its run's configuration is not believed."""

import io
import json
import zipfile

import pytest
import torch

import cwrnn_cli
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.contents import BEST
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.loop import train
from data_prep.errors import UserError
from tests import memory


def trained(path, task, corpus, model="cw"):
    data = TASKS[task].load(corpus)
    folder = RunFolder(path)
    config = configure(data, model, runs=1, params=800 if task == "timit" else 100, epochs=2)
    folder.start(config)
    train(config, data, folder)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, piece, spoken):
    path = tmp_path_factory.mktemp("runs")
    return {
        "audio": trained(path / "a", "audio", piece),
        "timit": trained(path / "t", "timit", spoken),
    }


STATE = {"bit_generator": "PCG64", "has_uint32": 0, "uinteger": 0}
CHANGES = {
    "epoch": lambda v: v | {"epoch": 3},
    "epoch ": lambda v: v | {"epoch": "1"},
    "weight_hh": lambda v: v | {"weights": v["weights"] | {"weight_hh": torch.zeros(1, 3, 3)}},
    "bias": lambda v: v | {"weights": {n: w for n, w in v["weights"].items() if n != "bias"}},
    "more": lambda v: v | {"weights": v["weights"] | {"more": torch.zeros(1)}},
    "weights": lambda v: v | {"weights": [1]},
    "weight_out": lambda v: v | {"velocity": v["velocity"] | {"weight_out": torch.zeros(1)}},
    "bias_out": lambda v: (
        v | {"weights": v["weights"] | {"bias_out": v["weights"]["bias_out"].int()}}
    ),
    "sparse": lambda v: v | {"weights": {n: w.to_sparse() for n, w in v["weights"].items()}},
    "expanded": lambda v: (
        v | {"weights": v["weights"] | {"bias": torch.zeros(1).expand(v["weights"]["bias"].shape)}}
    ),
    "generators": lambda v: v | {"generators": "no JSON"},
    "generators ": lambda v: v | {"generators": json.dumps([STATE] * 9)},
    "generators  ": lambda v: (
        v | {"generators": json.dumps([STATE | {"state": {"state": -1, "inc": 1 << 200}}] * 5)}
    ),
    "generators   ": lambda v: v | {"generators": None},
    "diverged_at": lambda v: v | {"extra": {}},
    "diverged_at ": lambda v: v | {"extra": v["extra"] | {"diverged_at": torch.zeros(2).long()}},
    "diverged_at  ": lambda v: v | {"extra": v["extra"] | {"diverged_at": torch.zeros(5)}},
    "largest_gradient": lambda v: v | {"extra": v["extra"] | {"largest_gradient": torch.zeros(9)}},
    "unknown": lambda v: v | {"extra": v["extra"] | {"unknown": "text"}},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_does_not_fit_its_configuration_is_refused(runs, what):
    folder = runs["audio"]
    path = folder.path / "checkpoint.pt"
    before = path.read_bytes()
    values = torch.load(path, weights_only=True)
    try:
        torch.save(CHANGES[what](values), path)
        with pytest.raises(UserError, match="does not fit config.json|damaged"):
            folder.checkpoint()
        with pytest.raises(UserError, match="checkpoint.pt"):
            cwrnn_cli.load(folder.path)
    finally:
        path.write_bytes(before)
    folder.checkpoint()


def test_so_are_best_weights_of_another_shape(runs):
    folder = runs["timit"]
    path = folder.path / "checkpoint.pt"
    before = path.read_bytes()
    values = torch.load(path, weights_only=True)
    for name in (BEST + "weight_hh", BEST + "other", "lowest", "best_epoch"):
        torch.save(values | {"extra": values["extra"] | {name: torch.zeros(2, 2)}}, path)
        with pytest.raises(UserError, match=name):
            folder.checkpoint()
    path.write_bytes(before)


def test_flipped_bits_are_seen_by_the_archives_checksums(runs):
    folder = runs["audio"]
    path = folder.path / "checkpoint.pt"
    before = path.read_bytes()
    values = folder.checkpoint()
    for place in range(100, len(before), 97):
        changed = bytearray(before)
        changed[place] ^= 4
        path.write_bytes(changed)
        try:
            found = folder.checkpoint()
        except UserError:
            continue
        for name, weight in values.weights.items():  # it was in the padding
            assert torch.equal(found.weights[name], weight)
    path.write_bytes(before)


def test_a_checkpoint_that_inflates_takes_no_memory(runs):
    folder = runs["audio"]
    path = folder.path / "checkpoint.pt"
    before = path.read_bytes()
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(before)) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content + bytes(300 << 20) * (name.endswith("/0")))
    path.write_bytes(packed.getvalue())
    try:
        begin = "import cwrnn_cli.tasks\nfrom cwrnn_cli.training.folder import RunFolder"
        code = f"RunFolder({str(folder.path)!r}).checkpoint()"
        message, taken = memory.refusal(begin, code)
    finally:
        path.write_bytes(before)
    assert "damaged" in message and taken < 100


def test_weights_that_the_checkpoint_has_not_are_never_made(runs):
    path = runs["audio"].path / "config.json"
    before = path.read_text()
    large = {"hidden_size": 65536, "periods": [1, 2], "module_sizes": [65535, 1], "runs": 10**6}
    try:
        path.write_text(json.dumps(json.loads(before) | large))
        with pytest.raises(UserError, match="does not fit config.json"):
            cwrnn_cli.load(path.parent)
    finally:
        path.write_text(before)


@pytest.mark.parametrize("name", ["lowest", "best_epoch", "stopped_at", "train_error", BEST])
def test_what_an_early_stop_needs_and_a_checkpoint_lacks(runs, spoken, name):
    folder = runs["timit"]
    path = folder.path / "checkpoint.pt"
    before = path.read_bytes()
    values = torch.load(path, weights_only=True)
    extra = {n: t for n, t in values["extra"].items() if not n.startswith(name)}
    try:
        torch.save(values | {"extra": extra}, path)
        with pytest.raises(UserError, match=f"{name}.*missing|no {name}"):
            TASKS["timit"].evaluate_run(folder, spoken)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", ["sequences", "length"])
def test_data_of_other_sizes_than_the_configuration_says(runs, spoken, name):
    path = runs["timit"].path / "config.json"
    before = path.read_text()
    values = json.loads(before)
    try:
        path.write_text(json.dumps(values | {name: values[name] + 1}))
        with pytest.raises(UserError, match=f"{name} {values[name] + 1} in the run's config.json"):
            TASKS["timit"].evaluate_run(runs["timit"], spoken)
    finally:
        path.write_text(before)
