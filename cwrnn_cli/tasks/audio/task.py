"""Task 1, sequence generation (Section 4.1), as the rest of the program sees it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...kernels.numba.threads import default_threads
from ...models.ensemble import Ensemble
from ...option import Option
from ...paper import AUDIO
from ...training.config import TrainConfig
from ...training.folder import RunFolder
from ...training.problem import Problem
from ...training.results import Results
from ...training.sections import Found, Story
from ...training.share import Blocks, Share
from ...training.stopping import last_networks
from ...training.task import Arrays, Task
from . import evaluate, report
from .analysis import AudioAnalyser
from .data import LOSSES, AudioData, deviation, load
from .engines import NETWORKS_PER_CORE, AudioTrainer, is_compiled, is_fused, line_of
from .evaluate import AudioEvaluation
from .sounds import SoundsSurvey


class AudioTask(Task[AudioData, AudioEvaluation]):
    """One network learns one stretch of sound, without any input."""

    name = "audio"
    protocol = AUDIO
    splits = ("train",)  # a network is evaluated on the sequence that it learnt
    default_split = "train"
    selection_split = "train"
    train_options: ClassVar[tuple[Option, ...]] = (
        Option(
            "loss",
            "Half the squared error, its sum over the steps or its mean.",
            tuple(LOSSES),
            of_protocol=lambda protocol: protocol.loss,
        ),
    )
    commands: ClassVar[Mapping[tuple[str, str], str]] = {
        ("prepare", "audio"): "cwrnn_cli.tasks.audio.commands:prepare",
        ("generate", "audio"): "cwrnn_cli.tasks.audio.commands:generate",
        ("bench", "ensemble"): "cwrnn_cli.tasks.audio.benchmark:command",
        ("bench", "figure3"): "cwrnn_cli.tasks.audio.on_device:figure3",
    }
    standin_label = "stand-in for the paper's music"
    without_data = "the built-in piece"
    share = Share(
        shows="Table 2, row 1; Figures 3 and 5",
        quick_sizes=tuple(AUDIO.hidden_sizes),
        quick={"runs": 10},
        lasts={},  # all train to the last epoch
    )
    blocks = Blocks(is_compiled, line_of)
    progress = ("mse_median", "diverged")
    gpu_rule = f"from {NETWORKS_PER_CORE} networks (runs x sequences) per core of the CPU on"

    def load(self, path: Path) -> AudioData:
        """See :class:`Task`."""
        return load(path)

    def problem(self, data: AudioData) -> Problem:
        """See :class:`Task`."""
        sequences, length = data.targets.shape
        return Problem(0, 1, sequences, length, {})

    def prepare_default(self, path: Path) -> str:
        """The built-in piece."""
        from data_prep.audio import prepare  # noqa: PLC0415  (its music, only where it is needed)

        prepare(path)
        return (
            f"no audio prepared yet: made {path} from the built-in piece, which our own code plays "
            "(for your own: cwrnn prepare audio --src FILE)"
        )

    def trainer(self, config: TrainConfig, data: AudioData) -> AudioTrainer:
        """See :class:`Task`."""
        return AudioTrainer(config, data)

    def expects_gpu(self, config: TrainConfig) -> bool:
        """From :data:`.engines.NETWORKS_PER_CORE` networks on that a kernel can train."""
        enough = config.networks >= NETWORKS_PER_CORE * default_threads()
        return enough and is_fused(config.cell)

    def evaluate(
        self, run: RunFolder, data: AudioData, split: str, **options: Any
    ) -> AudioEvaluation:
        """See :class:`Task`."""
        return evaluate.evaluate_networks(run.config(), data, run.checkpoint())

    def networks(self, run: RunFolder) -> Ensemble:
        """See :class:`Task`; as they are after the last epoch."""
        return last_networks(run.config(), run.checkpoint())

    def best_network(self, run: RunFolder, data: Path | None = None) -> int:
        """See :class:`Task`; of all sequences."""
        return self.best_judged(run, data)

    def selection(self, evaluation: AudioEvaluation) -> np.ndarray:
        """MSE/σ; a network that diverged counts as one that gives the constant mean: σ."""
        sigma = np.tile(deviation(evaluation.data.targets), evaluation.config.runs)
        found: np.ndarray = np.where(evaluation.diverged, sigma, evaluation.metrics["nmse_paper"])
        return found

    def published_metric(self, evaluation: AudioEvaluation) -> np.ndarray:
        """See :class:`Task`; what choices are made by, as there is one split only."""
        return self.selection(evaluation)

    def arrays(self, evaluation: AudioEvaluation) -> dict[str, np.ndarray]:
        """See :class:`Task`."""
        return evaluate.arrays(evaluation)

    def shared_arrays(self, evaluation: AudioEvaluation) -> dict[str, np.ndarray]:
        """``targets``: (S, T)."""
        return {"targets": evaluation.data.targets}

    def about(self, evaluation: AudioEvaluation) -> dict[str, Any]:
        """``sequences``: name of each."""
        return {"sequences": [{"name": name} for name in evaluation.data.names]}

    def numbers(self, about: Mapping[str, Any], arrays: Arrays, shared: Arrays) -> dict[str, Any]:
        """See :class:`Task`."""
        return evaluate.numbers(about, arrays, shared)

    def text(self, summary: Mapping[str, Any]) -> str:
        """See :class:`Task`."""
        return report.evaluation_text(summary)

    def comparison(self, results: Results) -> dict[str, Any]:
        """See :class:`Task`."""
        return report.comparison(results)

    def bench_text(self, result: Mapping[str, Any]) -> str | None:
        """Of `cwrnn bench ensemble` and `cwrnn bench figure3`."""
        from . import benchmark, on_device  # noqa: PLC0415  (they import the command line)

        if "device" in result:
            return on_device.text(result)
        return benchmark.ensemble_text(result) if "figure3_s" in result else None

    def comparison_text(self, results: Results) -> str:
        """Figure 3's medians and Table 2, row 1."""
        return report.comparison_text(results)

    def figures(self, out: Path, results: Results, caption: str) -> list[Path]:
        """Figures 3 and 5."""
        return report.figures(out, results, caption)

    def report(self, found: Found) -> Story:
        """See :func:`.sections.story`."""
        from . import sections  # noqa: PLC0415  (only for the page)

        return sections.story(found)

    def analyser(self) -> AudioAnalyser:
        """Spectra and ablation."""
        return AudioAnalyser()

    def survey(self) -> SoundsSurvey:
        """Figure 3 over many sounds."""
        return SoundsSurvey()
