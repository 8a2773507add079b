"""What `cwrnn search` may look for, and where: one table, the same for every model."""

from collections.abc import Iterable, Mapping, Sequence

from data_prep.errors import UserError

from ..clock import FEEDS
from ..kernels.clockwork.slow_input import KINDS
from ..models.cell import option_owners
from .registry import TASKS, AnyTask
from .search_bounds import LogRange, Searched, Word
from .search_clocks import Clocks, Series, Ticks

SEARCHED: Mapping[str, Searched] = {
    "lr": LogRange("lr", 0.1, 10, of_published=True, by_default=True),
    "momentum": LogRange("momentum", 0.01, 0.5, below_one=True, by_default=True),
    "clip": LogRange("clip", 1, 100, by_default=True),
    "weight-std": LogRange("weight_std", 0.02, 0.5),
    "clock": Clocks(3, 9),
    "series": Series((1, 2, 4)),
    "periods": Ticks(9, 256),
    "ticks": Ticks(9, 256, offsets=True),
    "mask": Word("mask", tuple(FEEDS)),
    "slow-input": Word("slow_input", tuple(KINDS)),
}


def described() -> str:
    """What can be looked for, and where, for help texts."""
    return "; ".join(f"{name}: {searched.text}" for name, searched in SEARCHED.items())


def searchable(task: AnyTask, model: str) -> list[str]:
    """Names of what a task and a model have."""
    cells = {name: {cell.name for cell in owners} for name, owners in option_owners().items()}
    tasks: dict[str, set[str]] = {}
    for each in TASKS.values():
        for option in each.train_options:
            tasks.setdefault(option.name, set()).add(each.name)
    return [
        name
        for name, searched in SEARCHED.items()
        if all(
            model in cells.get(option, {model}) and task.name in tasks.get(option, {task.name})
            for option in searched.sets
        )
    ]


def chosen(
    names: Sequence[str] | None, task: AnyTask, model: str, given: Iterable[str]
) -> list[str]:
    """What is looked for.

    Args:
        names: as typed; None: by default, without what is given.
        task: to train.
        model: name of a cell.
        given: options with a fixed value.

    Raises:
        UserError: something that the task or the model has not, or that has a fixed value.
    """
    known, fixed = searchable(task, model), set(given)
    if names is None:
        free = (n for n in known if SEARCHED[n].by_default)
        found = [n for n in free if not fixed.intersection(SEARCHED[n].sets)]
        if not found:
            flags = (f"--{n}" for n in known if SEARCHED[n].by_default)
            raise UserError(
                f"nothing to search: {', '.join(flags)} are given; name something else of "
                f"{', '.join(known)} with --search"
            )
        return found
    wanted = [name.strip().replace("_", "-") for name in names]
    for name in wanted:
        if name not in known:
            raise UserError(
                f"--search {name}: --task {task.name} with --model {model} can search "
                f"{', '.join(known)}"
            )
        if twice := fixed.intersection(SEARCHED[name].sets):
            flag = "--" + sorted(twice)[0].replace("_", "-")
            raise UserError(f"--search {name}: {flag} is given already")
        for other in wanted:
            if other != name and set(SEARCHED[name].sets).intersection(SEARCHED[other].sets):
                raise UserError(f"--search {name},{other}: both decide the clock; take one")
    return [name for name in known if name in wanted]
