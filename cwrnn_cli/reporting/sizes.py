"""Table 1: hidden units by parameters, ours beside the paper's."""

from collections.abc import Iterable

from ..models import CELLS
from ..models.sizing import count_parameters, hidden_size_for
from ..paper import Protocol
from .tables import Table


def table1(protocols: Iterable[Protocol]) -> Table:
    """A row per task and size, and for each of the paper's models its three numbers."""
    models = [name for name, cell in CELLS.items() if not cell.like]
    rows = []
    for protocol in protocols:
        for params, published in sorted(protocol.hidden_sizes.items()):
            row = [protocol.task, str(params)]
            for model in models:
                row += _numbers(protocol, params, model, published[model])
            rows.append(row)
    header = ["task", "parameters"]
    for model in models:
        header += [CELLS[model].label, "nearest", "count"]
    return Table(header, rows)


NOTE = (
    "units (LSTM: cells) as the paper has them (those that were trained are in each task's table); "
    "the number whose count of parameters is nearest to the budget; parameters that the paper's "
    "number gives"
)


def _numbers(protocol: Protocol, params: int, model: str, units: int) -> list[str]:
    options = CELLS[model].published(protocol)
    sizes, both = protocol.sizes, protocol.bidirectional
    nearest = hidden_size_for(params, model, *sizes, bidirectional=both, **options)
    count = count_parameters(model, units, *sizes, bidirectional=both, **options)
    return [str(units), str(nearest), str(count)]
