"""`cwrnn compare` on several processes or machines: under torchrun, or in shares (--shard)."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from data_prep.files import is_occupied, write_text
from data_prep.strict_json import dumps

from ..console import first_process, print_json, print_text, progress_bar, quoted, warn
from ..training import distributed
from ..training.claims import Claims
from ..training.data import Data
from ..training.folder import Damaged, check_free
from ..training.grid import Grid, open_grid
from ..training.jobs import one_thread
from ..training.units import (
    Unit,
    blocks_of,
    cell_folder,
    dealt,
    train_units,
    trained_by,
    units_of,
)
from .options import resumable

_PATIENCE = 60.0  # seconds that a shard waits for others that begin with it
_MOST_SHARDS = 1 << 16
_RUN = ".torchrun"  # in a folder: which run of torchrun has begun it


@dataclass(frozen=True)
class Sharing:
    """How the work is shared out.

    Attributes:
        shard: which share of how many; None: all of it.
        collect: whether only to collect what shards have trained.
        block: runs of a unit; None: by their time.
    """

    shard: tuple[int, int] | None
    collect: bool
    block: int | None


def sharing(
    shard: str | None, collect: bool, block: int | None, jobs: int | None, several: bool
) -> Sharing:
    """What the options say, as they were typed.

    Args:
        shard: of --shard.
        collect: whether --collect.
        block: of --block.
        jobs: of --jobs.
        several: whether there are several --data.

    Raises:
        UserError: they do not go together, or --shard is none.
    """
    if jobs and distributed.under_torchrun():
        raise UserError("--jobs: not under torchrun, whose processes share the networks out")
    for option, given in (("--shard", shard), ("--collect", collect)):
        if given and distributed.under_torchrun():
            raise UserError(f"{option}: not under torchrun, whose processes share the networks out")
        if given and jobs:
            raise UserError(f"--jobs: not with {option}")
    if shard and collect:
        raise UserError("--shard, --collect: expected one of them")
    if several and (shard or collect or jobs):
        option = "--shard" if shard else "--collect" if collect else "--jobs"
        raise UserError(f"{option}: with one --data only")
    return Sharing(_shard(shard) if shard else None, collect, block)


def _shard(text: str) -> tuple[int, int]:
    """A share and how many there are."""
    which, _, count = text.partition("/")
    if not (which.isdecimal() and count.isdecimal() and text.isascii()) or not (
        1 <= int(which) <= int(count) <= _MOST_SHARDS
    ):
        raise UserError(f"--shard {text}: expected I/N, from 1/N to N/N, such as 3/16")
    return int(which), int(count)


def train_shard(grid: Grid, data: Data, out: Path, how: Sharing, as_json: bool) -> None:
    """Train one share, from where it is: what --shard does.

    Args:
        grid: all of it.
        data: the corpus.
        out: its folder, made by whichever shard is first.
        how: which share.
        as_json: whether to print JSON.
    """
    assert how.shard
    patience = _PATIENCE + how.shard[1]  # all of them open it, one after the other
    every = open_grid(out, grid, True, grid.blocks(how.block), patience)
    units = dealt(every, *how.shard)
    bar = progress_bar(sum(unit.config.epochs for unit in units), "the shard's networks")
    with one_thread(), resumable(bar, " of a network"):
        train_units(units, data, lambda epochs, _: bar.update(epochs - bar.n))
    which, count = how.shard
    if as_json:
        found = [unit.name for unit in units]
        print_json({"out": str(out), "shard": which, "shards": count, "units": found})
    else:
        print_text(
            f"{quoted(out)}: shard {which} of {count} is trained, {len(units)} of {len(every)} "
            "units; when all are: the same command with --collect instead of --shard"
        )


def check_collectable(out: Path) -> None:
    """Raises UserError if there is nothing to collect."""
    if not is_occupied(out):
        raise UserError("nothing there to collect; start its shards first (--shard I/N)", out)


def meet(
    grid: Grid, out: Path, how: Sharing, resume: bool, devices: Collection[str]
) -> tuple[Claims, list[Unit]]:
    """Meet the other processes of torchrun; the first opens the folder.

    Args:
        grid: what all of them train.
        out: the folder, which the first process holds.
        how: how the cells are cut.
        resume: whether it may hold something.
        devices: of the grid.

    Returns:
        Who trains what; and the units, the same in all processes.
    """
    claims = Claims("cuda" if "cuda" in devices else "cpu")
    digest = hashlib.sha256(dumps(grid.configuration).encode()).hexdigest()
    if not first_process():
        return claims, units_of(out, grid.cells, claims.opened(digest))
    name, begun = distributed.run_name(), out / _RUN
    # what a process that was killed has begun under this torchrun goes on
    if not (resume or (begun.is_file() and begun.read_text(encoding="utf-8") == name)):
        check_free(out)
    fresh = not begun.exists()
    write_text(begun, name)
    try:
        units = open_grid(out, grid, True, grid.blocks(how.block))
    except UserError:
        if fresh:  # what was there is not of this torchrun
            begun.unlink()
        raise
    done = sum(unit.config.epochs for unit in units if unit.done)
    claims.open(digest, blocks_of(units), done)
    return claims, units


def part(claims: Claims, out: Path) -> None:
    """What the first process does at last, when results are written."""
    claims.part()
    (out / _RUN).unlink(missing_ok=True)


def train_claimed(claims: Claims, units: list[Unit], data: Data, bar: Any) -> None:
    """Train what this process takes, until all is trained.

    Args:
        claims: of all processes.
        units: of the grid.
        data: the corpus.
        bar: of the first process, over all epochs of all processes.
    """
    mine = 0

    def show(epochs: int, values: dict[str, Any]) -> None:
        nonlocal mine
        mine = epochs
        if (total := claims.report(epochs)) is not None:
            bar.update(total - bar.n)

    train_units(claims.take(units, lambda: show(mine, {})), data, show)


def processors_of(out: Path, grid: Grid) -> dict[str, Any]:
    """For the manifest: on what the units were trained; with a word where that was not the same."""
    try:
        found = trained_by(cell_folder(out, cell) for cell in grid.cells)
    except Damaged as error:
        warn(f"{error.place}: damaged; on what the units were trained is not noted")
        return {}
    if len(found) > 1:
        kinds = "; ".join(f"{kind['processor']}: {kind['units']} units" for kind in found)
        warn(
            f"trained on different processors or with different versions ({kinds}; manifest.json): "
            "one kind alone may come to other last places"
        )
    return {"trained_by": found}
