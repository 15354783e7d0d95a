"""What others found on the tasks of the long_memory experiment."""

from typing import NamedTuple


class Published(NamedTuple):
    """What others found on a task at a lag."""

    task: str
    lag: int
    network: str
    settings: str
    solved: str
    sequences: str  # until it was solved
    source: str


_TABLES = {
    number: f"Hochreiter & Schmidhuber (1997), table {number}, {trials} trials"
    for number, trials in ((2, "18"), (7, "10"), (8, "10"), (9, "20 and 10"))
}
_LSTM = "LSTM of 1997"
PUBLISHED = (
    Published("latching", 4, "recurrent, RTRL", "36 weights, rate 1", "78 %", "1,043,000", _TABLES[2]),
    Published("latching", 4, "recurrent, RTRL", "36 weights, rate 4", "56 %", "892,000", _TABLES[2]),
    Published("latching", 4, "recurrent, RTRL", "36 weights, rate 10", "22 %", "254,000", _TABLES[2]),
    Published("latching", 10, "recurrent, RTRL", "144 weights, rates 1 to 10", "0 %", "> 5,000,000", _TABLES[2]),
    Published("latching", 100, "recurrent, RTRL", "10,404 weights, rates 1 to 10", "0 %", "> 5,000,000", _TABLES[2]),
    Published("latching", 100, "recurrent, BPTT", "10,404 weights, rates 1 to 10", "0 %", "> 5,000,000", _TABLES[2]),
    Published("latching", 100, "sequence chunker", "10,506 weights, rate 1", "33 %", "32,400", _TABLES[2]),
    Published("latching", 100, _LSTM, "10,504 weights, rate 1", "100 %", "5,040", _TABLES[2]),
    Published("adding", 100, _LSTM, "93 weights, rate 0.5", "-", "74,000", _TABLES[7]),
    Published("adding", 500, _LSTM, "93 weights, rate 0.5", "-", "209,000", _TABLES[7]),
    Published("adding", 1000, _LSTM, "93 weights, rate 0.5", "-", "853,000", _TABLES[7]),
    Published("multiplication", 100, _LSTM, "93 weights, rate 0.1; 140 of 2000 wrong", "-", "482,000", _TABLES[8]),
    Published("multiplication", 100, _LSTM, "93 weights, rate 0.1; 13 of 2000 wrong", "-", "1,273,000", _TABLES[8]),
    Published("temporal_order", 100, _LSTM, "156 weights, rate 0.5", "-", "31,390", _TABLES[9]),
    Published("temporal_order_of_three", 100, _LSTM, "308 weights, rate 0.1", "-", "571,100", _TABLES[9]),
)
