from cwrnn_cli.kernels.graphs import PIECES, pieces


def test_pieces_hold_all_steps_and_no_more_than_they_must():
    assert [(piece.start, piece.stop) for piece in pieces(149)] == [
        (0, 64), (64, 128), (128, 144), (144, 148), (148, 152)
    ]  # fmt: skip
    for steps in range(1, 200):
        cut = pieces(steps)
        assert [step for piece in cut for step in piece] == list(range(-(-steps // 4) * 4))
        assert {len(piece) for piece in cut} <= set(PIECES)
