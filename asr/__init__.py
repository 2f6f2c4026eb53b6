"""`asr`: end-to-end speech recognition.

A waveform becomes features, features become scores, scores become a loss while training and text
while decoding. The folders are those words, in that order.

    import asr

    recognizer = asr.load("exp/an4/default/best")
    print(recognizer.transcribe("audio.wav").text)

The legend, used everywhere:

- `B` utterances, `T` frames, `F` feature bins, `H` hidden units, `V` vocabulary including blank,
  `U` target tokens, `S` sampled alignments, `K` hypotheses. Batch first, everywhere.
- `blank` is token 0.
- Lengths are integers in samples, frames or tokens, `(B,)` int64; times are seconds.
- Logarithms are natural. `logits` are unnormalised, `log_probs` are normalised.
"""

from typing import TYPE_CHECKING, Any

from asr.version import __version__

if TYPE_CHECKING:
    from asr.recognizer import Recognizer, Transcript, load, transcribe

__all__ = ["Recognizer", "Transcript", "__version__", "load", "transcribe"]


def __getattr__(name: str) -> Any:
    """Import the recogniser (and torch with it) only when somebody asks for it."""
    if name in ("Recognizer", "Transcript", "load", "transcribe"):
        import asr.recognizer

        return getattr(asr.recognizer, name)
    raise AttributeError(f"module 'asr' has no attribute {name!r}")
