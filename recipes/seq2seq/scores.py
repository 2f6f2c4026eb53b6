"""How good targets are: errors in tokens against the nearest reference, and BLEU."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from asr.errors import ConfigError
from asr.scoring.alignment import count_edits

Kind = Literal["phones", "tokens", "bleu"]
INSTALL = "pip install 'asr-toolkit[translation]'"

Words = Sequence[str]


def score(
    kind: Kind, hypotheses: Sequence[Words], references: Sequence[Sequence[Words]]
) -> dict[str, float]:
    """The metrics of a set, by name.

    Args:
        kind: "phones" gives `per` and `wer`, "tokens" `ter` (errors by tokens of the references)
            and `ser` (share of wrong targets), "bleu" `bleu` (0 to 100).
        hypotheses: of each source.
        references: of each source, all that are right.

    Raises:
        ConfigError: "bleu" without sacrebleu.
    """
    if kind == "bleu":
        return {"bleu": bleu(hypotheses, [listed[0] for listed in references])}
    names = ("per", "wer") if kind == "phones" else ("ter", "ser")
    rates = error_rates(hypotheses, references)
    return dict(zip(names, rates, strict=True))


def error_rates(
    hypotheses: Sequence[Words], references: Sequence[Sequence[Words]]
) -> tuple[float, float]:
    """Errors by the length of the references, and the share of hypotheses that are not right.

    Each is compared with the reference that it is nearest to, the first of those as near; that one
    also gives the length.
    """
    errors = length = wrong = 0
    for hypothesis, listed in zip(hypotheses, references, strict=True):
        edits, nearest = min(
            ((count_edits(reference, hypothesis).errors, reference) for reference in listed),
            key=lambda found: found[0],
        )
        errors, length, wrong = errors + edits, length + len(nearest), wrong + (edits > 0)
    return errors / max(length, 1), wrong / max(len(hypotheses), 1)


def bleu(hypotheses: Sequence[Words], references: Sequence[Words]) -> float:
    """BLEU, 0 to 100, of tokens as they are: case counts, and nothing is tokenised again.

    Raises:
        ConfigError: sacrebleu is not installed.
    """
    measure = _sacrebleu().BLEU(tokenize="none", force=True)
    texts = [" ".join(words) for words in hypotheses]
    result = measure.corpus_score(texts, [[" ".join(words) for words in references]])
    return float(result.score)


def check_installed(kind: Kind) -> None:
    """Return when what scores is there: to know it before a training.

    Raises:
        ConfigError: it is not.
    """
    if kind == "bleu":
        _sacrebleu()


def _sacrebleu() -> Any:
    try:
        from sacrebleu import metrics  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ConfigError(f"BLEU needs sacrebleu: {INSTALL}") from error
    return metrics


def metrics_text(metrics: Mapping[str, float]) -> str:
    """For a person: `perplexity 1.23  per 0.0812`."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
