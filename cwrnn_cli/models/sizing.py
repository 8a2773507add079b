"""How many parameters a network has, and how large one of so many parameters is (Table 1)."""

from typing import Any

from .cell import CellSpec, cell_named


def count_parameters(
    model: str,
    hidden_size: int,
    input_size: int,
    output_size: int,
    *,
    bidirectional: bool = False,
    **options: Any,
) -> int:
    """Parameters of a network with one hidden layer and one output layer, biases included.

    For a CW-RNN only what the mask allows of W_H counts, and each clock period counts as one
    parameter (Section 4 of the paper), once per network even if it is bidirectional.

    Args:
        model: name of a cell.
        hidden_size: n, units (cells) per direction.
        input_size: m.
        output_size: units of the output layer.
        bidirectional: two directions, each with its own weights.
        options: of the cell; others are passed over.

    Raises:
        ValueError: no such cell, or options that do not fit.
    """
    cell = cell_named(model).of_size(hidden_size, options)
    return network_parameters(cell, input_size, output_size, bidirectional)


def network_parameters(
    cell: CellSpec, input_size: int, output_size: int, bidirectional: bool
) -> int:
    """As :func:`count_parameters`, of a cell."""
    directions = 2 if bidirectional else 1
    readout = output_size * (directions * cell.hidden_size + 1)
    return cell.parameter_count(input_size, directions) + readout


def hidden_size_for(
    parameters: int,
    model: str,
    input_size: int,
    output_size: int,
    *,
    bidirectional: bool = False,
    **options: Any,
) -> int:
    """The hidden size whose count is nearest to ``parameters`` (the smaller one of two as near).

    With module shares, modules of a CW-RNN are as :func:`cwrnn_cli.clock.shared_out` makes them; as
    rounding may take a unit from one module for another, a size beside the one found can then be
    nearer by a little.

    Raises:
        ValueError: no such cell, or fewer parameters than the smallest such network has.
    """
    smallest = cell_named(model).smallest(options)

    def count(n: int) -> int:
        return count_parameters(
            model, n, input_size, output_size, bidirectional=bidirectional, **options
        )

    if parameters < count(smallest):
        raise ValueError(
            f"{parameters} parameters: the smallest such network has {count(smallest)}"
        )
    low, high = smallest, smallest + 1
    while count(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if count(middle) < parameters:
            low = middle
        else:
            high = middle
    return low if parameters - count(low) <= count(high) - parameters else high
