"""A trained run made small: the weights to evaluate it by, and no more, to keep or to give away."""

import json
from pathlib import Path

import torch

from data_prep.files import sha256_of, whole_folder, write_text

from .engine import Weights
from .folder import CHECKPOINT, CONFIG, Checkpoint, RunFolder
from .manifest import MANIFEST
from .stopping import BEST

PRECISIONS = {"float32": torch.float32, "float16": torch.float16}


def keep(run: RunFolder, out: Path, precision: str) -> int:
    """Write a run folder that holds only what its networks are evaluated by.

    Momentum, random generators, and the last epoch's weights where the best epoch's are evaluated
    are left out, so it cannot be trained on. The manifest is the run's, with ``weights``: the file,
    its sha256 and the precision.

    Args:
        run: trained, to its end or not.
        out: new folder.
        precision: of :data:`PRECISIONS`, of the weights.

    Returns:
        Bytes of the weights' file.

    Raises:
        UserError: no such run, or ``out`` is taken.
    """
    config, last = run.config(), run.checkpoint()
    dtype = PRECISIONS[precision]

    def rounded(tensors: Weights) -> Weights:
        return {n: w.to(dtype) if w.dtype == torch.float32 else w for n, w in tensors.items()}

    judged = any(name.startswith(BEST) for name in last.extra)
    weights = {} if judged else rounded(last.weights)
    kept = Checkpoint(last.epoch, weights, {}, "[]", rounded(last.extra))
    source = run.path / MANIFEST
    manifest = json.loads(source.read_text(encoding="utf-8")) if source.exists() else {}
    with whole_folder(out) as folder:
        small = RunFolder(folder)
        write_text(folder / CONFIG, json.dumps(config.to_json(), indent=1) + "\n")
        small.save(kept)
        file = folder / CHECKPOINT
        size = file.stat().st_size
        manifest["weights"] = {"file": CHECKPOINT, "sha256": sha256_of(file), "as": precision}
        write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return size
