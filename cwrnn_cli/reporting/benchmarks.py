"""What `cwrnn bench` shows."""

from collections.abc import Mapping
from typing import Any

from data_prep.errors import UserError

from ..models import CELLS, ClockworkRNN
from ..training.sections import Claim
from .figures import Target, pyplot, save
from .tables import Table, counted, table

_SETTING = "setting"  # a column


def machine_text(result: Mapping[str, Any]) -> str:
    """One line about the machine."""
    machine = result["machine"]
    threads = counted(machine["threads"], "thread")
    text = f"{machine['processor']}, {threads}, torch {machine['torch']}"
    if "device" in result:
        text += f"; on {result['device']}, {machine['gpu']}"
        if machine["cudnn_tf32"] and result["device"].startswith("cuda"):
            text += ", cuDNN in TF32, as torch has it"
    if "peak_gflops" not in result:  # an older one
        return text
    return f"{text}; torch.mm reaches {result['peak_gflops']:.0f} GFLOP/s in float32"


def layer_claims(result: Mapping[str, Any], command: str) -> list[Claim]:
    """The appendix's bound on the speed-up, as medians of `cwrnn bench layer` judge it.

    It holds where no point is below it, by the faster of torch's and our own SRN.
    """
    rows = [
        row
        for row in result["rows"]
        if row.get("paper_bound") and row.get("ratio_faster") and _best(row)
    ]
    if not rows:
        return []
    below = sum(row["ratio_faster"] < row["paper_bound"] for row in rows)
    least, most = (end(row["ratio_faster"] for row in rows) for end in (min, max))
    return [
        Claim(
            place="Appendix",
            says=f"At least g/4 ({rows[0]['paper_bound']:g}) times as fast as an SRN of its width",
            found=f"{least:.1f} to {most:.1f} times as fast as the faster of torch's and our own "
            f"SRN; below the bound at {below} of {counted(len(rows), 'point')}",
            data=machine_text(result),
            n=f"{counted(min(row.get('rounds', 1) for row in rows), 'round')} or more of each",
            verdict="fails" if below else "holds",
            command=command,
        )
    ]


def _best(row: Mapping[str, Any]) -> bool:
    """Whether it is of the layer as `auto` takes it on the CPU."""
    return (row["cell"], row["backend"]) == (ClockworkRNN.__name__, "compiled")


def layer_table(result: Mapping[str, Any]) -> Table:
    """A row per layer, backend and point."""
    rows = []
    for row in result["rows"]:
        size = row["bytes"]
        rows.append(
            [
                f"{row['cell']} ({row['backend']})",
                *(str(row[name]) for name in ("width", "batch", "length")),
                f"{row['ms']:.2f}",
                f"{row['ms_min']:.2f}..{row['ms_max']:.2f}",
                *(_ratio(row.get(name)) for name in ("ratio", "ratio_own", "ratio_faster")),
                f"{row['operations_ratio']:.1f}" if "operations_ratio" in row else "",
                f"{row['cascade_ratio']:.1f}" if "cascade_ratio" in row else "",
                f"{row['paper_bound']:g}" if "paper_bound" in row else "",
                f"{row['gflops']:.0f}" if "gflops" in row else "",
                "–" if size is None else f"{size / 2**20:.0f}",
                row.get("setting", ""),
            ]
        )
    header = (
        "layer (backend)",
        "width",
        "batch",
        "length",
        "ms",
        "spread",
        "times nn.RNN",
        "times our SRN",
        "times the faster",
        "operations (paper)",
        "(cascade)",
        "g/4",
        "GFLOP/s",
        "MiB",
        _SETTING,
    )
    if not any(row[-1] for row in rows):
        return Table(header[:-1], [row[:-1] for row in rows])
    return Table(header, rows)


def layer_note(found: Table) -> str:
    """What the columns and marks of :func:`layer_table` are, of those that it has."""
    more = ["MiB: by how much memory rises"]
    if _SETTING in found.header:
        more.append(f"{_SETTING}: JAX's, the fastest")
    if any("–" in row for row in found.rows):
        more.append("–: not measured")
    return (
        "forward + backward, input as wide as the layer; spread: least and greatest round;\n"
        "times: how many times as fast as torch.nn.RNN, as our own SRN, as the faster of both;\n"
        "operations: an SRN's over a CW-RNN's, as the paper's appendix counts and as our cascade\n"
        "does; g/4: how many times as fast as an SRN a CW-RNN is at least, by the paper;\n"
        "GFLOP/s: the cascade's operations by the time, whatever the backend does;\n"
        f"{'; '.join(more)}"
    )


def layer_text(result: Mapping[str, Any]) -> str:
    """:func:`layer_table`, explained."""
    found = layer_table(result)
    return f"{machine_text(result)}\n{layer_note(found)}\n\n{table(*found)}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def precision_text(result: Mapping[str, Any]) -> str:
    """A row per cell and precision."""
    rows = [
        [row["cell"], row["precision"], f"{row['outputs']:.1e}", f"{row['gradients']:.1e}"]
        for row in result["rows"]
    ]
    return (
        f"width {result['units']}, batch {result['batch']}, {result['steps']} steps, "
        f"{result['modules']} modules where a cell has any; "
        "largest error over largest value, emulated\n"
        + table(("layer", "products in", "outputs", "gradients"), rows)
    )


def saving_text(result: Mapping[str, Any]) -> str:
    """A row per training."""
    rows = [
        [
            f"{row['params']} {CELLS[row['model']].label}",
            *(str(row[name]) for name in ("networks", "checkpoints", "bytes")),
            f"{row['seconds']:.1f}",
            *(f"{1e3 * row[name]:.2f}" for name in ("saving", "metrics", "digest", "lock")),
            *(f"{100 * row[name]:.3f}" for name in ("written_share", "safety_share")),
        ]
        for row in result["rows"]
    ]
    header = (
        "network",
        "networks at once",
        "checkpoints",
        "bytes of one",
        "training s",
        "checkpoints ms",
        "metrics ms",
        "one digest ms",
        "lock ms",
        "written: % of training",
        "digests and lock: %",
    )
    return f"{machine_text(result)}\n\n{table(header, rows)}"


def gpu_resources_text(result: Mapping[str, Any]) -> str:
    """A row per kernel, width, precision and architecture."""
    chosen = ("kernel", "width", "precision", "others", "arch", "warps")
    columns = (*chosen, "registers", "stack", "spills", "shared")
    rows = [[str(row[column]) for column in columns] for row in result["rows"]]
    return (
        f"Triton {result['triton']}; compiled, not run\n"
        "registers, and bytes of stack and spills, of a thread; shared: bytes of a program\n\n"
        + table(columns, rows)
    )


def drawn_rows(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those that :func:`plot_layers` draws."""
    return [
        row
        for row in result["rows"]
        if (row["cell"], row["backend"]) == ("ClockworkRNN", "compiled")
        and row["ratio_faster"] is not None
    ]


def plot_layers(path: Target, result: Mapping[str, Any]) -> None:
    """Ratio to the faster SRN over the width, a panel per length, a line per batch.

    Raises:
        UserError: there is no row of our layer to draw.
    """
    rows = drawn_rows(result)
    if not rows:
        raise UserError(f"{path}: nothing to draw, no ClockworkRNN and SRN were measured")
    lengths = sorted({row["length"] for row in rows})
    batches = sorted({row["batch"] for row in rows})
    figure, axes = pyplot().subplots(
        1, len(lengths), figsize=(max(5 * len(lengths), 7.5), 4.2), squeeze=False, sharey=True
    )
    colours = [cell.colour for cell in CELLS.values()]
    for axis, length in zip(axes[0], lengths, strict=True):
        for batch, colour in zip(batches, colours * len(batches), strict=False):
            points = sorted(
                (r["width"], r["ratio_faster"])
                for r in rows
                if r["length"] == length and r["batch"] == batch
            )
            if not points:  # left out
                continue
            axis.plot(*zip(*points, strict=True), "o-", color=colour, label=f"batch {batch}")
        bound = rows[0]["paper_bound"]
        axis.axhline(bound, color="black", linewidth=0.7, linestyle="--")
        widest = max(row["width"] for row in rows)
        axis.text(widest, bound, "the paper's bound, g/4", fontsize=7, va="bottom", ha="right")
        counted = sorted({(row["width"], row["cascade_ratio"]) for row in rows})
        axis.plot(
            *zip(*counted, strict=True), color="grey", linewidth=0.8, label="operations saved"
        )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        axis.set_title(f"{length} steps", fontsize=9)
        axis.set_xlabel("width")
        axis.grid(linewidth=0.3)
    axes[0, 0].set_ylabel("times as fast as the faster SRN, torch's or ours")
    axes[0, 0].legend(fontsize=7)
    figure.suptitle(machine_text(result), fontsize=7)
    figure.tight_layout()
    save(figure, path)
