"""What Graves & Jaitly (2014) report, Table 1: error rates in % on the Wall Street Journal.

Reference: Graves & Jaitly, "Towards End-to-End Speech Recognition with Recurrent Neural Networks",
ICML 2014. The character error rates of rows with a language model are not reported.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Figures(NamedTuple):
    """Error rates in %; None where the paper has none."""

    wer: float
    cer: float | None = None

    def text(self) -> str:
        """As a cell of a table."""
        return f"{self.wer:.1f}" if self.cer is None else f"{self.wer:.1f} / {self.cer:.1f}"


HOURS = ("14 h", "81 h")  # of training speech: si84 and si284
CTC, EXPECTED_WER, BASELINE, COMBINATION = "CTC", "expected WER", "DNN-HMM", "combination"
NO_LM, DICTIONARY, MONOGRAM, BIGRAM, TRIGRAM = (
    "none",
    "dictionary",
    "1-gram",
    "2-gram",
    "3-gram",
)
NGRAMS: Mapping[int, str] = {1: MONOGRAM, 2: BIGRAM, 3: TRIGRAM}

PAPER: Mapping[tuple[str, str], Mapping[str, Figures]] = {
    (CTC, NO_LM): {"14 h": Figures(74.2, 30.9), "81 h": Figures(30.1, 9.2)},
    (CTC, DICTIONARY): {"14 h": Figures(69.2, 30.0), "81 h": Figures(24.0, 8.0)},
    (CTC, MONOGRAM): {"14 h": Figures(25.8), "81 h": Figures(15.8)},
    (CTC, BIGRAM): {"14 h": Figures(15.5), "81 h": Figures(10.4)},
    (CTC, TRIGRAM): {"14 h": Figures(13.5), "81 h": Figures(8.7)},
    (EXPECTED_WER, NO_LM): {"14 h": Figures(74.5, 31.3), "81 h": Figures(27.3, 8.4)},
    (EXPECTED_WER, DICTIONARY): {"14 h": Figures(69.7, 31.0), "81 h": Figures(21.9, 7.3)},
    (EXPECTED_WER, MONOGRAM): {"14 h": Figures(26.0), "81 h": Figures(15.2)},
    (EXPECTED_WER, BIGRAM): {"14 h": Figures(15.3), "81 h": Figures(9.8)},
    (EXPECTED_WER, TRIGRAM): {"14 h": Figures(13.5), "81 h": Figures(8.2)},
    (BASELINE, DICTIONARY): {"14 h": Figures(56.1), "81 h": Figures(51.1)},
    (BASELINE, MONOGRAM): {"14 h": Figures(23.4), "81 h": Figures(19.9)},
    (BASELINE, BIGRAM): {"14 h": Figures(11.6), "81 h": Figures(9.4)},
    (BASELINE, TRIGRAM): {"14 h": Figures(9.4), "81 h": Figures(7.8)},
    (COMBINATION, TRIGRAM): {"81 h": Figures(6.7)},
}
