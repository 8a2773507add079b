"""Task 2, spoken word classification (Section 4.2), as the rest of the program sees it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...kernels.numba.threads import default_threads
from ...models import ClockworkSpec, LSTMSpec, SRNSpec
from ...option import Option, short
from ...paper import TIMIT
from ...training.config import TrainConfig
from ...training.folder import RunFolder
from ...training.problem import Problem, Recognised
from ...training.results import Results
from ...training.sections import Found, Story
from ...training.share import Blocks, Share
from ...training.task import Arrays, Task
from . import evaluate, report
from .analysis import TimitAnalyser
from .data import TimitData, load
from .engines import NETWORKS_PER_CORE, TimitTrainer, is_compiled, is_fused, line_of
from .evaluate import TimitEvaluation

LIKELIEST = 5  # words shown for a recording


class TimitTask(Task[TimitData, TimitEvaluation]):
    """A sequence of feature frames in, one of 25 words out."""

    name = "timit"
    protocol = TIMIT
    splits = ("train", "valid", "test")
    default_split = "test"
    selection_split = "train"
    train_options: ClassVar[tuple[Option, ...]] = (
        Option(
            "noise",
            "Standard deviation of the noise on the inputs in training.",
            float,
            of_protocol=lambda protocol: short(protocol.noise),
        ),
        Option(
            "patience",
            "Epochs without a lower error after which a network stops.",
            int,
            of_protocol=lambda protocol: str(protocol.patience),
        ),
        Option(
            "stop_on",
            "Which error of the training set without noise.",
            ("cross_entropy", "train_error"),
            of_protocol=lambda protocol: str(protocol.stop_on),
        ),
        Option(
            "loss_at",
            "Steps of a word that count in the loss: the last, or the sum over every one.",
            ("last", "every"),
            of_protocol=lambda protocol: protocol.loss_at,
        ),
        Option(
            "batch",
            "Sequences per update, whose mean is learnt from.",
            int,
            of_protocol=lambda protocol: str(protocol.batch),
        ),
        Option(
            "hold_out",
            "Of each word, training examples that are not trained on: the split valid.",
            int,
            default="0",
        ),
    )
    commands: ClassVar[Mapping[tuple[str, str], str]] = {
        ("prepare", "timit"): "cwrnn_cli.tasks.timit.commands:prepare",
        ("prepare", "words"): "cwrnn_cli.tasks.timit.commands:prepare_words",
    }
    standin_label = "synthetic voices, not TIMIT"
    share = Share(
        shows="Table 2, row 2; Figure 4",
        quick_sizes=(500, 2500, 10000),
        quick={"runs": 5},
        lasts={  # means of 100 networks each on stand-in speech (results/timit-standin)
            SRNSpec.name: {500: 152, 1000: 124, 2500: 101, 5000: 79, 10000: 65},
            LSTMSpec.name: {500: 119, 1000: 111, 2500: 100, 5000: 93, 10000: 98},
            ClockworkSpec.name: {500: 268, 1000: 331, 2500: 402, 5000: 422, 10000: 416},
        },
    )
    blocks = Blocks(is_compiled, line_of)
    progress = ("cross_entropy", "train_error", "active", "diverged")
    gpu_rule = f"from {NETWORKS_PER_CORE} networks per core on"

    def load(self, path: Path) -> TimitData:
        """See :class:`Task`."""
        return load(path)

    def problem(self, data: TimitData) -> Problem:
        """See :class:`Task`."""
        longest = int(np.diff(data.train.offsets).max())
        sizes = data.train.frames.shape[1], len(data.words)
        return Problem(*sizes, len(data.train), longest, data.features)

    def hold_out(self, data: TimitData, count: int) -> TimitData:
        """See :class:`Task` and :meth:`.TimitData.hold_out`."""
        return data.hold_out(count)

    def trainer(self, config: TrainConfig, data: TimitData) -> TimitTrainer:
        """See :class:`Task`."""
        return TimitTrainer(config, data)

    def expects_gpu(self, config: TrainConfig) -> bool:
        """From :data:`.engines.NETWORKS_PER_CORE` networks on that a kernel can train."""
        enough = config.networks >= NETWORKS_PER_CORE * default_threads()
        return enough and is_fused(config)

    def evaluate(
        self, run: RunFolder, data: TimitData, split: str, **options: Any
    ) -> TimitEvaluation:
        """See :class:`Task`."""
        return evaluate.evaluate(run, data, split)

    def judged_by(self, config: TrainConfig) -> str:
        """The split valid if a run held one out, else the training set."""
        return "valid" if config.hold_out else self.selection_split

    def best_network(self, run: RunFolder, data: Path | None = None) -> int:
        """See :class:`Task`; of a run that held words out, by its errors on those."""
        if run.config().hold_out:
            return self.best_judged(run, data)
        return super().best_network(run, data)

    def selection(self, evaluation: TimitEvaluation) -> np.ndarray:
        """The rate of wrong words on the split valid, of a run that held one out.

        Else what a network stops by, on the training set. Infinite where it diverged.

        Raises:
            ValueError: words were held out, and this is an evaluation on others.
        """
        errors = evaluation.lowest
        if evaluation.config.hold_out:
            if evaluation.split != "valid":
                raise ValueError(f"choices by errors on the split {evaluation.split}")
            errors = evaluation.error
        found: np.ndarray = np.where(evaluation.diverged, np.inf, errors)
        return found

    def published_metric(self, evaluation: TimitEvaluation) -> np.ndarray:
        """The rate of wrong words; a network that diverged counts as one that guesses."""
        guess = 1 - 1 / len(evaluation.data.words)
        found: np.ndarray = np.where(evaluation.diverged, guess, evaluation.error)
        return found

    def arrays(self, evaluation: TimitEvaluation) -> dict[str, np.ndarray]:
        """See :class:`Task`."""
        return evaluate.arrays(evaluation)

    def shared_arrays(self, evaluation: TimitEvaluation) -> dict[str, np.ndarray]:
        """``labels``: (S,)."""
        return {"labels": evaluation.labels}

    def about(self, evaluation: TimitEvaluation) -> dict[str, Any]:
        """See :class:`Task`."""
        return evaluate.about(evaluation)

    def numbers(self, about: Mapping[str, Any], arrays: Arrays, shared: Arrays) -> dict[str, Any]:
        """See :class:`Task`."""
        return evaluate.numbers(about, arrays, shared)

    def text(self, summary: Mapping[str, Any]) -> str:
        """See :class:`Task`."""
        return report.evaluation_text(summary)

    def comparison(self, results: Results) -> dict[str, Any]:
        """See :class:`Task`."""
        return report.comparison(results)

    def comparison_text(self, results: Results) -> str:
        """Figure 4's medians and Table 2, row 2."""
        return report.comparison_text(results)

    def figures(self, out: Path, results: Results, caption: str) -> list[Path]:
        """Figure 4, and the largest networks' confusions."""
        return report.figures(out, results, caption)

    def report(self, found: Found) -> Story:
        """See :func:`.sections.story`."""
        from . import sections  # noqa: PLC0415  (only for the page)

        return sections.story(found)

    def analyser(self) -> TimitAnalyser:
        """Probes and ablation."""
        return TimitAnalyser()

    def recognise(self, run: RunFolder, data: TimitData, file: Path) -> Recognised:
        """The likeliest words for a sound file."""
        likely = evaluate.recognise(run, data, file)[:LIKELIEST]
        text = "\n".join(f"{word:<14} {probability:.3f}" for word, probability in likely)
        return Recognised({"words": dict(likely)}, text)

    def plot(self, evaluation: TimitEvaluation, path: Path) -> None:
        """The confusion matrix."""
        report.confusions(path, self.summary(evaluation))
