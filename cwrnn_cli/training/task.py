"""A task: all that training, comparing and the command line know of one experiment.

A task is one folder below :mod:`cwrnn_cli.tasks` (or a package of somebody else's with an entry
point in the group ``cwrnn.tasks``); docs/extending.md adds one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from torch import nn

from data_prep.errors import UserError

from ..models.ensemble import Ensemble
from ..models.recurrent import RecurrentLayer
from ..option import Option
from ..paper import Protocol
from .analysis import Analyser
from .config import TrainConfig
from .data import D, check_is_of
from .evaluation import Evaluation
from .folder import RunFolder
from .manifest import noted
from .problem import Problem, Recognised, RunsReport
from .results import Cell, Results
from .sections import Found, Story
from .share import Blocks, Share
from .stopping import BestNetworks, all_diverged
from .survey import Survey
from .trainer import EnsembleTrainer

E = TypeVar("E", bound=Evaluation[Any])
Arrays = dict[str, np.ndarray]


class Task(ABC, Generic[D, E]):
    """One experiment, from its prepared corpus to its tables and figures.

    Attributes:
        name: in the registry, in files and on the command line.
        protocol: the paper's.
        splits: names of the corpus' splits.
        default_split: the one that networks are evaluated on.
        selection_split: the one that choices are made on, unless :meth:`judged_by` knows better;
            never the test set.
        train_options: fields of :class:`.TrainConfig` that only some tasks let the user set.
        eval_options: of `cwrnn eval`, passed on to :meth:`evaluate`.
        commands: (group, name) -> "module:command", click commands of its own, such as `cwrnn
            prepare NAME`; imported when they are called. No group: a file of that name in cli.
        data_parallel: whether the processes of torchrun can train one run together; `cwrnn compare`
            then trains several runs at once, as one does not fill the cores.
        standin_label: what a corpus that stands in for the paper's is, or is not.
        without_data: what is trained on where nothing has been prepared, for the help; "": nothing.
        progress: names of metrics.jsonl that the progress bar shows.
        gpu_rule: for the help, when :meth:`expects_gpu`; "": never.
        share: of `cwrnn compare --all`; None: it has no part in it.
        blocks: how several processes may train one cell; None: they may not.
    """

    name: ClassVar[str]
    protocol: ClassVar[Protocol]
    splits: ClassVar[tuple[str, ...]]
    default_split: ClassVar[str]
    selection_split: ClassVar[str]
    train_options: ClassVar[tuple[Option, ...]] = ()
    eval_options: ClassVar[tuple[Option, ...]] = ()
    commands: ClassVar[Mapping[tuple[str, str], str]] = {}
    data_parallel: ClassVar[bool] = False
    standin_label: ClassVar[str] = "a stand-in"
    without_data: ClassVar[str] = ""
    progress: ClassVar[tuple[str, ...]] = ()
    gpu_rule: ClassVar[str] = ""
    share: ClassVar[Share | None] = None
    blocks: ClassVar[Blocks | None] = None

    # the corpus

    @abstractmethod
    def load(self, path: Path) -> D:
        """Read a prepared corpus.

        Raises:
            UserError: it is not one of this task.
        """

    @abstractmethod
    def problem(self, data: D) -> Problem:
        """What it asks of a network."""

    def prepare_default(self, path: Path) -> str:
        """Make a corpus where the user has prepared none.

        Args:
            path: to write.

        Returns:
            What was made, to say to the user.

        Raises:
            UserError: this task has none to offer; says how to get one.
        """
        raise UserError(
            f"{path}: no such file; make it with `cwrnn prepare {self.name} --src DIR` from your "
            f"own copy of the corpus, or with `cwrnn prepare {self.name} --standin` from a free "
            "substitute"
        )

    def hold_out(self, data: D, count: int) -> D:
        """The corpus as a run sees it that holds some of its training set out (``hold_out``).

        Here, for tasks without the option, all of it; ``count`` is :attr:`.TrainConfig.hold_out`.

        Raises:
            UserError: there is not so much to hold out.
        """
        return data

    # training

    @abstractmethod
    def trainer(self, config: TrainConfig, data: D) -> EnsembleTrainer:
        """The networks of a run at their start, ready to train; data: after :meth:`hold_out`."""

    def expects_gpu(self, config: TrainConfig) -> bool:
        """Whether `--device auto` takes a GPU, where torch sees one: it should be the faster."""
        return False

    # what came of it

    @abstractmethod
    def evaluate(self, run: RunFolder, data: D, split: str, **options: Any) -> E:
        """Run every network of a run over a split of the corpus that it was trained on.

        Args:
            run: with a checkpoint.
            data: the corpus, after :meth:`hold_out`; has been checked to be the run's.
            split: one of :attr:`splits`.
            options: :attr:`eval_options` that were given.

        Raises:
            UserError: no checkpoint, or options out of range.
        """

    def judged_by(self, config: TrainConfig) -> str:
        """The split on which choices among networks of a run are made; never the test set."""
        return self.selection_split

    @abstractmethod
    def selection(self, evaluation: E) -> np.ndarray:
        """(R,) errors by which networks, rates and other choices are made: never the test set's.

        Args:
            evaluation: on the split of :meth:`judged_by`.
        """

    def published_metric(self, evaluation: E) -> np.ndarray:
        """(R,) errors in the protocol's ``metric``, to compare with the paper's, not to choose by.

        As here of the rows, and infinite for networks that diverged.

        Args:
            evaluation: on :attr:`default_split`.
        """
        found = self.arrays(evaluation)[self.protocol.metric]
        return np.asarray(np.where(evaluation.diverged, np.inf, found))

    @abstractmethod
    def arrays(self, evaluation: E) -> Arrays:
        """A cell's rows in results.h5, one per network; ``diverged`` among them."""

    def shared_arrays(self, evaluation: E) -> Arrays:
        """What results.h5 holds once for all cells."""
        return {}

    def about(self, evaluation: E) -> dict[str, Any]:
        """What the JSON of `cwrnn eval` says of an evaluation beside its heading and numbers."""
        return {}

    @abstractmethod
    def numbers(self, about: Mapping[str, Any], arrays: Arrays, shared: Arrays) -> dict[str, Any]:
        """What the JSON of `cwrnn eval` makes of the rows, and of nothing else.

        `cwrnn verify` makes it again from results.h5.

        Args:
            about: heading of the JSON, and :meth:`about`.
            arrays: of :meth:`arrays`.
            shared: of :meth:`shared_arrays`.

        Returns:
            Names of the JSON and their values; those of ``about`` may be among them.
        """

    def summary(self, evaluation: E) -> dict[str, Any]:
        """The JSON of `cwrnn eval`."""
        about = evaluation.heading() | self.about(evaluation)
        rows = self.arrays(evaluation), self.shared_arrays(evaluation)
        return about | self.numbers(about, *rows)

    @abstractmethod
    def text(self, summary: Mapping[str, Any]) -> str:
        """What `cwrnn eval` shows of :meth:`summary`."""

    def examples(self, evaluation: E) -> str:
        """More that `cwrnn eval` shows below; "" for nothing."""
        return ""

    @abstractmethod
    def comparison(self, results: Results) -> dict[str, Any]:
        """The JSON of `cwrnn compare`."""

    @abstractmethod
    def comparison_text(self, results: Results) -> str:
        """The table of `cwrnn compare`, ours beside the paper's."""

    def figures(self, out: Path, results: Results, caption: str) -> list[Path]:
        """Draw the figures of `cwrnn compare`, and give their files; here none.

        Args:
            out: the grid's folder, to draw into.
            results: of the whole grid.
            caption: data, and the command that made them.
        """
        return []

    def report(self, found: Found) -> Story:
        """What `cwrnn report` shows of a folder beside clock, printed table and manifest.

        Every number of it is made from the rows in ``found``; here there is nothing.
        """
        return Story()

    def survey(self) -> Survey[D, E]:
        """What `cwrnn compare` makes of several corpora; UserError where a task takes only one."""
        raise UserError(f"--data: several files, or a folder, are not for --task {self.name}")

    def analyser(self) -> Analyser[D]:
        """What `cwrnn analyse` asks; UserError where a task has no such analysis."""
        raise UserError(f"cwrnn analyse: not for a run of task {self.name}")

    def recognise(self, run: RunFolder, data: D, file: Path) -> Recognised:
        """What a run makes of a file of the user's; UserError: it has no such files, or is none."""
        raise UserError(f"--file: not an option for a run of task {self.name}")

    def plot(self, evaluation: E, path: Path) -> None:
        """Draw an evaluation as PNG; UserError where the task has no such picture."""
        self.check_plot()

    def check_plot(self) -> None:
        """Raises UserError, before anything is evaluated, if the task has no :meth:`plot`."""
        if type(self).plot is Task.plot:
            raise UserError(f"--plot: not an option for a run of task {self.name}")

    def networks(self, run: RunFolder) -> Ensemble:
        """A run's networks, with the weights that :meth:`evaluate` evaluates.

        As here after an :class:`.EarlyStop`: each one's best. UserError without a checkpoint.
        """
        return BestNetworks.of(run).ensemble

    def best_network(self, run: RunFolder, data: Path | None = None) -> int:
        """Index of the network with the least error by which choices are made.

        As here for those that an :class:`.EarlyStop` stops: what they stop by.

        Args:
            run: with a checkpoint.
            data: the run's HDF5 file, if it has moved and is needed.

        Raises:
            UserError: all networks diverged.
        """
        return BestNetworks.of(run).best()

    def best_judged(self, run: RunFolder, data: Path | None = None) -> int:
        """:meth:`best_network` for runs whose networks have to be evaluated anew to be judged."""
        evaluation = self.evaluate_run(run, data, self.judged_by(run.config()))
        if evaluation.diverged.all():
            raise all_diverged(run)
        return int(np.where(evaluation.diverged, np.inf, self.selection(evaluation)).argmin())

    def compare_runs(
        self,
        out: Path,
        runs: Mapping[str, RunFolder],
        evaluations: Mapping[str, E],
        at: Sequence[int],
    ) -> RunsReport:
        """A table and curves of runs of `cwrnn train` as they are, trained to their end or not.

        Args:
            out: folder to write into.
            runs: by their names.
            evaluations: theirs, all on one split.
            at: epochs at which to compare all of them.

        Raises:
            UserError: the task has no such report.
        """
        raise self._no_report_of_runs()

    def check_compare_runs(self) -> None:
        """Raises UserError, before any run is evaluated, without a :meth:`compare_runs`."""
        if type(self).compare_runs is Task.compare_runs:
            raise self._no_report_of_runs()

    def _no_report_of_runs(self) -> UserError:
        return UserError(f"--run: not an option of --task {self.name}")

    def runs_text(
        self,
        summaries: Mapping[str, Mapping[str, Any]],
        lines: Mapping[str, Sequence[Mapping[str, Any]]],
        at: Sequence[int],
    ) -> str:
        """The text of :meth:`compare_runs` for `cwrnn verify`; UserError where a task has none.

        Args:
            summaries: name -> JSON of the run's `cwrnn eval`.
            lines: name -> those of its metrics.jsonl.
            at: as there.
        """
        raise UserError(f"--run: not an option of --task {self.name}")

    def bench_text(self, result: Mapping[str, Any]) -> str | None:
        """What a benchmark of the task's own shows of its JSON; None: it is not of one."""
        return None

    # what all tasks do alike

    def network(
        self, run: RunFolder, which: int | str = "best", data: Path | None = None
    ) -> tuple[RecurrentLayer, nn.Linear]:
        """One network of a run as layer and output layer: see :func:`cwrnn_cli.load`."""
        ensemble = self.networks(run)
        index = self.best_network(run, data) if which == "best" else which
        if not isinstance(index, int | np.integer) or not 0 <= index < ensemble.networks:
            raise UserError(
                f"{run.path}: network {which!r}: expected 'best' or 0 to {ensemble.networks - 1}"
            )
        return ensemble.member(int(index))

    def cell(self, evaluation: E, with_shared: bool = False) -> Cell:
        """What results.h5 holds of a run.

        Args:
            evaluation: of the run.
            with_shared: whether :meth:`shared_arrays` are among its arrays.
        """
        values = evaluation.config.values() | {"data_path": ""}
        rows = self.arrays(evaluation) | (self.shared_arrays(evaluation) if with_shared else {})
        return Cell(values, self.summary(evaluation), rows)

    def data_label(self, name: str, standin: bool) -> str:
        """The data's name, with what it stands in for where it does."""
        return f"{name} ({self.standin_label})" if standin else name

    def evaluate_run(
        self, run: RunFolder, data: D | Path | None = None, split: str | None = None, **more: Any
    ) -> E:
        """:meth:`evaluate`, with the corpus and the split looked up.

        Args:
            run: with a checkpoint.
            data: the corpus as it was loaded, or its file; None: the file that the run was trained
                on.
            split: None: :attr:`default_split`.
            more: as there.

        Raises:
            UserError: as there; no such split, no such file, or other data than it was trained on.
        """
        split = split or self.default_split
        if split not in self.splits:
            several = f"the splits {', '.join(self.splits[:-1])} and {self.splits[-1]}"
            names = several if len(self.splits) > 1 else f"one split, {self.splits[0]}"
            raise UserError(f"--split {split}: task {self.name} has {names}")
        held = self.data_of(run.config(), data, noted(run.path, "data"))
        return self.evaluate(run, held, split, **more)

    def data_of(self, config: TrainConfig, data: D | Path | None = None, known: Any = None) -> D:
        """The corpus of a run, after :meth:`hold_out`: the one given, or the one at its place.

        With ``known``, what the run's manifest has of its data, another file of the same source
        that was prepared alike will do.

        Raises:
            UserError: no such file, not the data that the run was trained on, or of other sizes.
        """
        if data is None or isinstance(data, Path):
            data = self.load(data or Path(config.data_path))
        check_is_of(data, config, known)
        held = self.hold_out(data, config.hold_out)
        self.problem(held).check_sizes(vars(config))
        return held
