from cwrnn_cli.reporting.scan import scan_text, write_scan

RESULT = {
    "command": "cwrnn scan --task timit",
    "task": "timit",
    "data": {"name": "speech", "sha256": "00"},
    "standin": True,
    "judged_by": "valid",
    "best": {"cw, ramp": 3e-4, "lstm, constant": None},
    "rows": [
        {
            "model": "cw",
            "momentum_ramp": True,
            "lr": 3e-4,
            "score": 0.25,
            "sizes": {
                "500": {"mean": 0.5, "median": 0.4, "diverged": 0, "networks": 30},
                "1000": {"mean": 0.00005, "median": 0.1, "diverged": 3, "networks": 30},
            },
        },
        {
            "model": "lstm",
            "momentum_ramp": False,
            "lr": 10.0,
            "score": None,
            "sizes": {
                "500": {"mean": None, "median": None, "diverged": 30, "networks": 30},
                "1000": {"mean": 0.5, "median": 0.1, "diverged": 0, "networks": 30},
            },
        },
    ],
}


def test_scan_text():
    assert scan_text(RESULT).splitlines() == [
        "cwrnn scan --task timit",
        "data: speech (synthetic voices, not TIMIT)",
        "judged by the split valid",
        "model  momentum    rate  500 (diverged)  1000 (diverged)    all",
        "-----  --------  ------  --------------  ---------------  -----",
        "cw         ramp  0.0003       0.500 (0)      5.0e-05 (3)  0.250",
        "lstm   constant      10          – (30)        0.500 (0)      –",
        "best for cw, ramp: 0.0003",
        "best for lstm, constant: none, networks diverged at each",
    ]


def test_it_stands_beside_the_json(tmp_path):
    path, columns = write_scan(tmp_path, RESULT)
    assert path == tmp_path / "scan.txt" and columns == tmp_path / "table.csv"
    assert path.read_text(encoding="utf-8") == scan_text(RESULT) + "\n"
