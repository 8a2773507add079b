"""Layers that torch has, too: from its own, and back, exactly."""

from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from .recurrent import RecurrentLayer, suffix


class TorchPeer(RecurrentLayer):
    """A layer that computes what one of torch's does, with one bias where torch adds up two.

    Attributes:
        peer: torch's class.
        peer_options: attributes that the constructors of both take, beside those of all layers.
    """

    peer: ClassVar[type[nn.RNNBase]]
    peer_options: ClassVar[tuple[str, ...]] = ()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        if f"{prefix}weight_ih_l0" in state_dict:
            arguments[-1].append(
                f"{self._name}: these weights have the names of torch.nn.{self.peer.__name__}; "
                f"load them there, then {self._name}.from_torch(layer)"
            )
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @classmethod
    def from_torch(cls, module: nn.RNNBase) -> Self:
        """This layer with the weights of torch's: the same outputs and gradients.

        Args:
            module: a layer of :attr:`peer`; it is left as it is.

        Raises:
            TypeError: a layer of another class.
            ValueError: an LSTM with projections.
        """
        if not isinstance(module, cls.peer):
            raise TypeError(
                f"{cls.__name__}.from_torch takes a torch.nn.{cls.peer.__name__}, "
                f"got {type(module).__name__}"
            )
        if module.proj_size:
            raise ValueError(f"{cls.__name__}.from_torch: it has projections (proj_size)")
        make: Any = cls  # the subclasses' constructors are alike
        new: Self = make(module.input_size, module.hidden_size, **cls._options(module, module.bias))
        with torch.no_grad():
            for end, theirs in new._suffix_pairs():
                for name in ("weight_ih", "weight_hh"):
                    weight = module.get_parameter(name + theirs)
                    _take(new.get_parameter(name + end), weight, weight.requires_grad)
                if module.bias:
                    both = [module.get_parameter(f"bias_{way}{theirs}") for way in ("ih", "hh")]
                    learns = any(bias.requires_grad for bias in both)
                    for name, value in new._join_biases(*both).items():
                        _take(new.get_parameter(name + end), value, learns)
        return new.train(module.training)

    def to_torch(self) -> nn.RNNBase:
        """Torch's layer with these weights; of its two biases the second is 0 where they add up.

        Raises:
            ValueError: no input, or peepholes: torch has no such layer.
        """
        if self.input_size == 0:
            raise ValueError(f"{self._name}.to_torch: torch has no layer without input")
        make: Any = self.peer
        options = self._options(self, self.has_bias)
        new: nn.RNNBase = make(self.input_size, self.hidden_size, **options)
        with torch.no_grad():
            for own, end in self._suffix_pairs():
                for name in ("weight_ih", "weight_hh"):
                    weight = getattr(self, name + own)
                    _take(new.get_parameter(name + end), weight, weight.requires_grad)
                if self.has_bias:
                    learns = getattr(self, "bias" + own).requires_grad
                    for way, value in zip(("ih", "hh"), self._split_biases(own), strict=True):
                        _take(new.get_parameter(f"bias_{way}{end}"), value, learns)
        return new.train(self.training)

    @classmethod
    def _options(cls, module: Any, bias: bool) -> dict[str, Any]:
        names = ("num_layers", "batch_first", "dropout", "bidirectional", *cls.peer_options)
        weight = cast(Tensor, next(module.parameters()))
        like = {"device": weight.device, "dtype": weight.dtype}
        return {name: getattr(module, name) for name in names} | {"bias": bias} | like

    def _suffix_pairs(self) -> list[tuple[str, str]]:
        """What names end in, here and in torch, layer by layer, direction by direction."""
        return [
            (suffix(layer, direction), f"_l{layer}" + ("_reverse" if direction else ""))
            for layer, direction in self._places()
        ]

    def _join_biases(self, bias_ih: Tensor, bias_hh: Tensor) -> dict[str, Tensor]:
        """Torch's two as ours, by name."""
        return {"bias": bias_ih + bias_hh}

    def _split_biases(self, end: str) -> tuple[Tensor, Tensor]:
        """Ours as torch's two; ``end`` is what the names end in."""
        bias = getattr(self, "bias" + end)
        return bias, torch.zeros_like(bias)


def _take(weight: nn.Parameter, value: Tensor, learns: bool) -> None:
    weight.copy_(value)
    weight.requires_grad_(learns)
