"""How probable a given text is: ln Pr(labels | audio), summed over all CTC alignments.

Reference: Graves et al., "Connectionist temporal classification", ICML 2006, section 4.1. The loss
of training computes the same for batches; this is for one utterance and many texts.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled


def labelling_log_prob(
    log_probs: NDArray[np.floating[Any]], tokens: NDArray[np.integer[Any]], blank: int = 0
) -> float:
    """Ln Pr(tokens | audio), or -inf when there are too few frames.

    Args:
        log_probs: (T, V) of one utterance, from `log_softmax`.
        tokens: (U,) labels, without blanks.
        blank: the symbol that stands for no label.
    """
    return float(_forward(log_probs, np.asarray(tokens, dtype=np.int64), blank))


@compiled
def _forward(scores, tokens, blank):  # type: ignore[no-untyped-def]
    """The forward variable over labels with blanks around them, in place from the end on."""
    num_states = 2 * len(tokens) + 1
    alpha = np.full(num_states, -np.inf)
    alpha[0] = 0.0  # before the first frame: as if a blank had been said
    for t in range(len(scores)):
        for s in range(num_states - 1, -1, -1):
            label = tokens[s // 2] if s % 2 else blank
            total = alpha[s]
            if s >= 1:
                total = np.logaddexp(total, alpha[s - 1])
            if s % 2 and s >= 3 and label != tokens[s // 2 - 1]:
                total = np.logaddexp(total, alpha[s - 2])
            alpha[s] = total + scores[t, label]
    if num_states == 1:
        return alpha[0]
    return np.logaddexp(alpha[num_states - 1], alpha[num_states - 2])
