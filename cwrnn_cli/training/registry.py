"""All tasks by name: ours, and those that other packages bring."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from data_prep.errors import UserError

from ..paper import PROTOCOLS
from .config import TrainConfig
from .data import Data
from .evaluation import Evaluation
from .folder import CONFIG, RunFolder
from .task import Task

AnyTask = Task[Data, Evaluation[Data]]


class Registry(Mapping[str, AnyTask]):
    """Tasks by name, each imported when it is asked for."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._tasks: dict[str, AnyTask] = {}

    def add(self, name: str, place: str) -> None:
        """Make a task known.

        Args:
            name: of the task.
            place: "module:class".
        """
        self._places[name] = place

    def __getitem__(self, name: str) -> AnyTask:
        if name not in self._tasks:
            module, _, found = self._places[name].partition(":")
            # a task takes its own data and evaluations only; whoever asks here passes on what
            # the same task gave
            try:
                task = cast(AnyTask, getattr(import_module(module), found)())
            except (ImportError, AttributeError) as error:
                raise UserError(
                    f"task {name}: {self._places[name]} cannot be loaded ({error}); "
                    "mend or uninstall the package that brings it"
                ) from error
            PROTOCOLS.setdefault(name, task.protocol)
            self._tasks[name] = task
        return self._tasks[name]

    def __contains__(self, name: object) -> bool:
        return name in self._places  # Mapping's own would import the task

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def add_installed(self) -> None:
        """Make those known that other packages bring, by the entry point group cwrnn.tasks."""
        for point in entry_points(group="cwrnn.tasks"):
            self._places.setdefault(point.name, point.value)


TASKS = Registry()  # filled by cwrnn_cli.tasks


def task_named(name: str) -> AnyTask:
    """A task of the registry.

    Raises:
        UserError: there is none of that name.
    """
    if name not in TASKS:
        raise UserError(f"task {name}: expected one of {', '.join(TASKS)} (is its package here?)")
    return TASKS[name]


def task_of(run: RunFolder) -> AnyTask:
    """The task of a run.

    Raises:
        UserError: no such run, its task is none that we have, or its device or a word in its
            configuration is none for that task.
    """
    config = run.config()
    try:
        task = task_named(config.task)
        _check_words(task, config)
        config.check_device()
        return task
    except UserError as error:
        raise UserError(error.reason, place=run.path / CONFIG) from error


def _check_words(task: AnyTask, config: TrainConfig) -> None:
    """Raises UserError for a word in a configuration that is none of the task's."""
    kinds = {option.name: option.kind for option in task.train_options}
    for name in ("loss", "stop_on", "loss_at", "reduction"):
        value, kind = getattr(config, name), kinds.get(name)
        words = kind if isinstance(kind, tuple) else (getattr(task.protocol, name),)
        if value not in words:
            expected = ", ".join(map(str, words))
            raise UserError(f"{name} {value}: expected {expected} for task {task.name}")
