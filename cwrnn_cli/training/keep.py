"""A trained run made small: the weights to evaluate it by, and no more, to keep or to give away."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from data_prep.errors import UserError
from data_prep.files import sha256_of, whole_folder, write_text
from data_prep.reading import json_of
from data_prep.strict_json import dumps

from .checkpoints import Checkpoint
from .contents import BEST
from .engine import Weights
from .folder import CHECKPOINT, CONFIG, RunFolder
from .manifest import MANIFEST, digests

PRECISIONS = {"float32": torch.float32, "float16": torch.float16}


def keep(run: RunFolder, out: Path, precision: str) -> int:
    """Write a run folder that holds only what its networks are evaluated by.

    Momentum, random generators, and the last epoch's weights where the best epoch's are evaluated
    are left out, so it cannot be trained on; and in which folder its data were. The manifest is the
    run's, with ``weights``: the file, its sha256 and the precision.

    Args:
        run: trained, to its end or not.
        out: new folder.
        precision: of :data:`PRECISIONS`, of the weights.

    Returns:
        Bytes of the weights' file.

    Raises:
        UserError: no such run or one that was kept already, a weight beyond the precision, a
            damaged manifest, or ``out`` is taken.
    """
    config, last = run.config(), run.checkpoint()
    config = replace(config, data_path=Path(config.data_path).name)
    if not last.velocity:
        raise UserError(f"{run.path}: kept already; keep the run itself")
    dtype = PRECISIONS[precision]

    def rounded(tensors: Weights) -> Weights:
        found = {n: w.to(dtype) if w.dtype == torch.float32 else w for n, w in tensors.items()}
        for name, weight in found.items():
            if (weight.isinf() & tensors[name].isfinite()).any():
                raise UserError(f"{run.path}: {name} is too large for {precision}")
        return found

    judged = any(name.startswith(BEST) for name in last.extra)
    weights = {} if judged else rounded(last.weights)
    kept = Checkpoint(last.epoch, weights, {}, "[]", rounded(last.extra))
    manifest = _manifest(run.path / MANIFEST)
    if "configuration" in manifest:
        manifest["configuration"] |= {"data_path": config.data_path}
    with whole_folder(out) as folder:
        small = RunFolder(folder)
        write_text(folder / CONFIG, dumps(config.to_json(), indent=1) + "\n")
        small.save(kept)
        file = folder / CHECKPOINT
        size = file.stat().st_size
        manifest["files"] = digests(folder)
        manifest["weights"] = {"file": CHECKPOINT, "sha256": sha256_of(file), "as": precision}
        write_text(folder / MANIFEST, dumps(manifest, indent=1) + "\n")
    return size


def _manifest(path: Path) -> dict[str, Any]:
    """A run's; empty where it has none, as runs of before.

    Raises:
        UserError: a damaged one.
    """
    if not path.exists():
        return {}
    try:
        return dict(json_of(path))
    except (UserError, ValueError, TypeError) as error:
        reason = error.reason if isinstance(error, UserError) else error
        raise UserError(f"{path}: damaged ({reason}); remove it to keep the run without") from error
