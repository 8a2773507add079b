"""How many parameters a network has, and how large one of so many parameters is (Table 1)."""

from collections.abc import Sequence

from ..clock import Clock, shared_out


def count_parameters(
    model: str,
    hidden_size: int,
    input_size: int,
    output_size: int,
    periods: int | Sequence[int] | None = None,
    module_sizes: Sequence[int] | None = None,
    bidirectional: bool = False,
    peepholes: bool = False,
) -> int:
    """Parameters of a network with one hidden layer and one output layer, biases included.

    For a CW-RNN only what the mask allows of W_H counts, and each clock period counts as one
    parameter (Section 4 of the paper), once per network even if it is bidirectional.

    Args:
        model: "cw", "srn" or "lstm".
        hidden_size: n, units (cells) per direction.
        input_size: m.
        output_size: units of the output layer.
        periods: of a CW-RNN, as :meth:`cwrnn_cli.clock.Clock.of` takes them.
        module_sizes: likewise.
        bidirectional: two directions, each with its own weights.
        peepholes: of an LSTM: 3 more weights per cell.

    Raises:
        ValueError: no such model, or periods and sizes that do not fit.
    """
    n, m = hidden_size, input_size
    directions = 2 if bidirectional else 1
    clocks = 0
    if model == "cw":
        clock = Clock.of(n, periods, module_sizes)
        layer = clock.recurrent_parameters() + n * m + n
        clocks = len(clock.periods)
    elif model == "srn":
        layer = n * n + n * m + n
    elif model == "lstm":
        layer = 4 * (n * n + n * m + n) + 3 * n * peepholes
    else:
        raise ValueError(f"model {model!r}: expected cw, srn or lstm")
    return directions * layer + clocks + output_size * (directions * n + 1)


def hidden_size_for(
    parameters: int,
    model: str,
    input_size: int,
    output_size: int,
    periods: int | Sequence[int] | None = None,
    bidirectional: bool = False,
    peepholes: bool = False,
    module_shares: Sequence[int] | None = None,
) -> int:
    """The hidden size whose count is nearest to ``parameters`` (the smaller one of two as near).

    With ``module_shares``, modules of a CW-RNN are as :func:`cwrnn_cli.clock.shared_out` makes
    them; as rounding may take a unit from one module for another, a size beside the one found can
    then be nearer by a little.

    Raises:
        ValueError: fewer parameters than the smallest such network has.
    """
    if periods is None or isinstance(periods, int):
        smallest = periods or 1
    else:
        smallest = len(periods)
    if model != "cw":
        smallest = 1
    elif module_shares:
        smallest = -(-sum(module_shares) // min(module_shares))

    def count(n: int) -> int:
        return count_parameters(
            model,
            n,
            input_size,
            output_size,
            periods=periods,
            module_sizes=shared_out(n, module_shares) if module_shares else None,
            bidirectional=bidirectional,
            peepholes=peepholes,
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
