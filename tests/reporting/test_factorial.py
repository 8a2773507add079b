from math import log

from cwrnn_cli.reporting.scan import scan_text

SIZE = {"median": 0.06, "low": 0.05, "high": 0.07, "paper": 0.069}
AT = {"model": "lstm", "rate": "best", "lr": 1e-4, "distance": log(1.5)}
RESULT = {
    "command": "cwrnn scan --vary peepholes=yes,no",
    "task": "audio",
    "data": {"name": "a piece", "sha256": "00"},
    "standin": False,
    "judged_by": "train",
    "metric": "nmse_paper",
    "published_on": "train",
    "factors": {"peepholes": ["yes", "no"]},
    "nearest": [
        {
            **AT,
            "settings": {"peepholes": "no"},
            "low": log(1.25),
            "high": None,
            "sizes": {"100": SIZE},
        }
    ],
    "readings": [
        {
            "settings": {"momentum-ramp": "no"},
            "rate": "best",
            "distance": log(2),
            "low": log(1.5),
            "high": log(4),
            "models": {
                "srn": {"settings": {}, "lr": 1e-5, "distance": log(2)},
                "lstm": {"settings": {"peepholes": "no"}, "lr": 1e-4, "distance": log(1.5)},
            },
        }
    ],
    "effects": [
        {
            "model": "lstm",
            "measure": "published",
            "factor": "peepholes",
            "level": level,
            "ratio": ratio,
            "low": ratio and 0.5,
            "high": ratio and 1.25,
            "combinations": 3,
            "sizes": {"100": 0.06},
        }
        for level, ratio in (("yes", None), ("no", 0.75))
    ],
    "combinations": [
        {
            **AT,
            "settings": {"peepholes": "no"},
            "score": 0.125,
            "sizes": {"100": {"median": 0.06, "diverged": 2, "networks": 15}},
        }
    ],
}


def test_factorial_text():
    assert scan_text(RESULT).splitlines() == [
        "cwrnn scan --vary peepholes=yes,no",
        "data: a piece",
        "judged by the split train",
        "each combination's rate is that with the least mean error there; shown by the paper's "
        "nmse_paper on the split train",
        "",
        "nearest to the paper's medians (off: at the size that is furthest off)",
        "model        peepholes  rate                              100        off (95 %)",
        "-----------  ---------  ----  ------  -----------------------  ----------------",
        "lstm, paper                                            0.0690",
        "lstm                no  best  0.0001  0.0600 (0.0500..0.0700)  x1.50 (x1.25..–)",
        "",
        "readings nearest for all models, each with the nearest of its own factors",
        "rate  momentum-ramp           srn                         lstm            off (95 %)",
        "----  -------------  ------------  ---------------------------  --------------------",
        "best             no  1e-05: x2.00  peepholes=no, 0.0001: x1.50  x2.00 (x1.50..x4.00)",
        "",
        "main effects on nmse_paper: medians of all combinations, ratio to the first",
        "model     factor  level     100          ratio (95 %)  combinations",
        "-----  ---------  -----  ------  --------------------  ------------",
        "lstm   peepholes    yes  0.0600                                   3",
        "lstm   peepholes     no  0.0600  0.750 (0.500..1.250)             3",
        "",
        "all combinations: medians (diverged of networks)",
        "model  peepholes  rate                       100  score    off",
        "-----  ---------  ----  ------  ----------------  -----  -----",
        "lstm          no  best  0.0001  0.0600 (2 of 15)  0.125  x1.50",
    ]
