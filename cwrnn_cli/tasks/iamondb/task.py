"""Task 3, online handwriting recognition (Section 4.3), as the rest of the program sees it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...models import ClockworkSpec, LSTMSpec, SRNSpec
from ...option import Option
from ...paper import IAMONDB
from ...training.config import TrainConfig
from ...training.folder import RunFolder
from ...training.optimizer import OPTIMIZERS, PUBLISHED
from ...training.problem import Problem, Recognised, RunsReport
from ...training.results import Results
from ...training.sections import Found, Story
from ...training.share import Blocks, Share
from ...training.task import Arrays, Task
from . import evaluate, report, runs_report
from .analysis import IamondbAnalyser
from .data import IamondbData, check_aligned, excerpt, load
from .decode import BeamOptions
from .engines import IamondbTrainer, is_compiled, line_of
from .evaluate import IamondbEvaluation
from .place import expects_gpu

EXAMPLES = 5  # lines shown with what was read
BEAM_WIDTH = 20  # where only the order of the n-gram is given


class IamondbTask(Task[IamondbData, IamondbEvaluation]):
    """A pen's path in, characters out."""

    name = "iamondb"
    protocol = IAMONDB
    splits = ("train", "valid", "test")
    default_split = "test"
    selection_split = "valid"
    train_options: ClassVar[tuple[Option, ...]] = (
        Option("batch", "Lines per update.", int, of_protocol=lambda protocol: str(protocol.batch)),
        Option(
            "reduction",
            "Learn from the mean of an update's lines, or from their sum.",
            ("mean", "sum"),
            of_protocol=lambda protocol: protocol.reduction,
        ),
        Option(
            "optimizer",
            f"Another than {PUBLISHED} departs from the paper.",
            tuple(OPTIMIZERS),
            default=PUBLISHED,
        ),
        Option("clip", "Shorten gradients to this length.", float, default="the paper names none"),
        Option(
            "decay",
            "Let the learning rate fall to 0 over --epochs.",
            bool,
            default="the paper's, constant",
        ),
        Option(
            "patience",
            "Epochs without a lower error after which a network stops.",
            int,
            of_protocol=lambda protocol: str(protocol.patience),
        ),
    )
    eval_options: ClassVar[tuple[Option, ...]] = (
        Option("beam", "Beam search of this width instead of the best path.", int),
        Option("ngram", "... with an n-gram of the training texts, n up to 3.", int),
    )
    commands: ClassVar[Mapping[tuple[str, str], str]] = {
        ("prepare", "iamondb"): "cwrnn_cli.tasks.iamondb.commands:prepare",
        ("bench", "handwriting"): "cwrnn_cli.tasks.iamondb.benchmark:command",
        ("", "draw"): "cwrnn_cli.tasks.iamondb.draw:command",
    }
    data_parallel = True
    share = Share(
        shows="Table 3, with learning curves",
        quick_sizes=tuple(IAMONDB.hidden_sizes),
        quick={"runs": 1, "epochs": 10},
        lasts={  # means of our networks on IAM-OnDB (results/iamondb), one line per update
            SRNSpec.name: {10000: 339, 50000: 280, 100000: 195},
            LSTMSpec.name: {10000: 124, 50000: 235, 100000: 251},
            ClockworkSpec.name: {10000: 107, 50000: 186, 100000: 111},
        },
        excerpt=excerpt,
    )
    blocks = Blocks(is_compiled, line_of)
    standin_label = "synthetic writers, not IAM-OnDB"
    progress = ("best_valid_cer", "active", "diverged")
    gpu_rule = "an update should take the CPU twice as long or more: wide layers, large batches"

    def load(self, path: Path) -> IamondbData:
        """See :class:`Task`."""
        return load(path)

    def problem(self, data: IamondbData) -> Problem:
        """See :class:`Task`."""
        longest = int(np.diff(data.train.offsets).max())
        sizes = data.train.frames.shape[1], len(data.characters) + 1
        return Problem(*sizes, len(data.train), longest, data.options)

    def trainer(self, config: TrainConfig, data: IamondbData) -> IamondbTrainer:
        """See :class:`Task`; UserError for a line that is too short for its text."""
        check_aligned(data)
        return IamondbTrainer(config, data)

    def expects_gpu(self, config: TrainConfig) -> bool:
        """See :func:`.place.expects_gpu`."""
        return expects_gpu(config)

    def evaluate(
        self, run: RunFolder, data: IamondbData, split: str, **options: Any
    ) -> IamondbEvaluation:
        """See :class:`Task`; options ``beam`` and ``ngram``."""
        width, ngram = options.get("beam"), options.get("ngram")
        beam = None
        if width is not None or ngram is not None:
            beam = BeamOptions(BEAM_WIDTH if width is None else width, ngram or 0)
        return evaluate.evaluate(run, data, split, beam)

    def selection(self, evaluation: IamondbEvaluation) -> np.ndarray:
        """Error rates on the validation set; infinite before the first epoch, and if diverged."""
        found: np.ndarray = np.where(evaluation.diverged, np.inf, evaluation.valid_cer)
        return found

    def arrays(self, evaluation: IamondbEvaluation) -> dict[str, np.ndarray]:
        """See :class:`Task`."""
        return evaluate.arrays(evaluation)

    def shared_arrays(self, evaluation: IamondbEvaluation) -> dict[str, np.ndarray]:
        """See :class:`Task`."""
        return evaluate.shared_arrays(evaluation)

    def about(self, evaluation: IamondbEvaluation) -> dict[str, Any]:
        """See :class:`Task`."""
        return evaluate.about(evaluation)

    def numbers(self, about: Mapping[str, Any], arrays: Arrays, shared: Arrays) -> dict[str, Any]:
        """See :class:`Task`."""
        return evaluate.numbers(about, arrays, shared)

    def text(self, summary: Mapping[str, Any]) -> str:
        """See :class:`Task`."""
        return report.evaluation_text(summary)

    def examples(self, evaluation: IamondbEvaluation) -> str:
        """Some lines, and what the best network reads."""
        return report.examples_text(evaluate.examples(evaluation, EXAMPLES))

    def comparison(self, results: Results) -> dict[str, Any]:
        """See :class:`Task`."""
        return report.comparison(results)

    def comparison_text(self, results: Results) -> str:
        """Table 3."""
        return report.comparison_text(results)

    def figures(self, out: Path, results: Results, caption: str) -> list[Path]:
        """Learning curves."""
        return report.figures(out, results, caption)

    def report(self, found: Found) -> Story:
        """See :func:`.sections.story`."""
        from . import sections  # noqa: PLC0415  (only for the page)

        return sections.story(found)

    def compare_runs(
        self,
        out: Path,
        runs: Mapping[str, RunFolder],
        evaluations: Mapping[str, IamondbEvaluation],
        at: Sequence[int],
    ) -> RunsReport:
        """Table and learning curves."""
        summaries = {name: self.summary(e) for name, e in evaluations.items()}
        return runs_report.compare_runs(out, runs, summaries, at)

    def runs_text(
        self,
        summaries: Mapping[str, Mapping[str, Any]],
        lines: Mapping[str, Sequence[Mapping[str, Any]]],
        at: Sequence[int],
    ) -> str:
        """Table 3, a row per run."""
        return runs_report.runs_text(summaries, lines, at)

    def bench_text(self, result: Mapping[str, Any]) -> str | None:
        """Of `cwrnn bench handwriting`."""
        from . import benchmark  # noqa: PLC0415  (it imports the command line)

        return benchmark.text(result) if "batches" in result else None

    def analyser(self) -> IamondbAnalyser:
        """Ablation and saliency."""
        return IamondbAnalyser()

    def recognise(self, run: RunFolder, data: IamondbData, file: Path) -> Recognised:
        """The text of a line file."""
        text = evaluate.recognise(run, data, file)
        return Recognised({"text": text}, text)

    def plot(self, evaluation: IamondbEvaluation, path: Path) -> None:
        """Some lines in ink, with what the best network reads."""
        lines = evaluate.drawn(evaluation, EXAMPLES)
        report.ink(path, lines, self.summary(evaluation))
