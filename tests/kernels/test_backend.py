import pytest
import torch

from cwrnn_cli.kernels import backend
from cwrnn_cli.kernels.backend import (
    Backend,
    Backends,
    does_all,
    unsupported_by_numba,
    unsupported_by_triton,
)

SQUARES = Backends(
    {
        "slow": Backend(lambda x: f"slow {x * x}", does_all),
        "fast": Backend(lambda x: f"fast {x * x}", lambda x: "it is odd" if x % 2 else None),
    },
    lambda x: "slow" if x % 2 else "fast",
)


def test_an_explicit_one_is_obeyed_or_refused_with_the_reason():
    assert SQUARES.names == ("auto", "slow", "fast")
    assert SQUARES.run("slow", 2) == "slow 4" and SQUARES.run("fast", 2) == "fast 4"
    with pytest.raises(ValueError, match="^backend 'fast': it is odd; use 'auto'$"):
        SQUARES.run("fast", 3)
    with pytest.raises(ValueError, match="^backend 'new': expected one of auto, slow, fast$"):
        SQUARES.run("new", 2)


def test_auto_takes_the_fastest():
    assert SQUARES.run("auto", 3) == "slow 9" and SQUARES.run("auto", 4) == "fast 16"


def test_what_numba_and_triton_cannot_do(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    single, half = torch.zeros(1), torch.zeros(1, dtype=torch.float16)
    assert unsupported_by_numba(single) is unsupported_by_numba(single.double()) is None
    assert "not torch.float16" in unsupported_by_numba(half)
    assert "not on meta" in unsupported_by_numba(torch.zeros(1, device="meta"))
    assert "runs on a GPU, not on cpu" in unsupported_by_triton(single, 4, 8)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert unsupported_by_triton(half, 8, 8) is None
    own = single.as_subclass(type("Own", (torch.Tensor,), {}))
    for reason in (unsupported_by_numba(own), unsupported_by_triton(own, 8, 8)):
        assert reason == "it computes with plain tensors, not Own"
    assert "at most 8 units at once, not 9" in unsupported_by_triton(single, 9, 8)


def test_both_of_torchs_settings_say_whether_it_is_tf32():
    matmul = torch.backends.cuda.matmul
    try:
        matmul.allow_tf32 = True
        assert backend.tf32()
        matmul.allow_tf32 = False
        assert not backend.tf32()
        matmul.fp32_precision = "tf32"  # from now on the other cannot be read
        assert backend.tf32()
    finally:
        matmul.fp32_precision = "none"
    assert not backend.tf32()


def test_what_triton_looks_for(monkeypatch):
    missing = backend.missing_for_triton.__wrapped__
    monkeypatch.setattr(backend, "find_spec", lambda _: object())
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    assert missing() == "Triton needs a C compiler (CC, gcc or clang), and there is none"
    monkeypatch.setenv("CC", "/opt/cc")
    assert missing() is None
    monkeypatch.setattr(backend, "find_spec", lambda _: None)
    assert missing() == "Triton is not installed"
