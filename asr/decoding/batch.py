"""A trained network over many utterances: audio read ahead, similar lengths together."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from asr.data.batching import AudioReader, Waveform, collate, group_by_length
from asr.data.loading import load_ahead
from asr.data.manifest import Utterance
from asr.data.tokenizer import Tokenizer
from asr.decoding.greedy import greedy
from asr.decoding.hypothesis import Hypothesis
from asr.errors import AudioError
from asr.models.ctc import CTCModel

NUM_WORKERS = 2


def recognize(
    model: CTCModel,
    tokenizer: Tokenizer,
    utterances: Sequence[Utterance],
    *,
    reader: AudioReader,
    device: torch.device,
    batch_seconds: float,
) -> Iterator[tuple[Utterance, Hypothesis | AudioError]]:
    """The hypothesis of every utterance, or why its audio cannot be used; longest first.

    Args:
        model: in evaluation mode, on `device`.
        tokenizer: of the model.
        utterances: in any order.
        reader: at the sample rate of the model.
        device: where to compute.
        batch_seconds: most audio in a batch, padding included.
    """
    durations = [utterance.duration for utterance in utterances]
    batches = group_by_length(durations, batch_seconds=batch_seconds)[::-1]

    def load(batch: Sequence[int]) -> list[tuple[Utterance, Waveform | AudioError]]:
        return [(utterances[index], _read(reader, utterances[index])) for index in batch]

    for loaded in load_ahead(batches, load, NUM_WORKERS):
        readable = [(u, audio) for u, audio in loaded if isinstance(audio, np.ndarray)]
        for utterance, audio in loaded:
            if isinstance(audio, AudioError):
                yield utterance, audio
        waveforms = [audio for _, audio in readable]
        hypotheses = decode_batch(model, tokenizer, waveforms, device)
        for (utterance, _), hypothesis in zip(readable, hypotheses, strict=True):
            yield utterance, hypothesis


def decode_batch(
    model: CTCModel, tokenizer: Tokenizer, waveforms: Sequence[Waveform], device: torch.device
) -> list[Hypothesis]:
    """The hypotheses of B waveforms (samples,) float32 at the model's sample rate."""
    if not waveforms:
        return []
    batch = collate([""] * len(waveforms), waveforms, [()] * len(waveforms)).to(device)
    with torch.inference_mode():
        log_probs, lengths = model(batch.waveforms, batch.waveform_lengths)
    rate = model.frontend.sample_rate
    return greedy(
        log_probs,
        lengths,
        tokenizer,
        frame_seconds=model.frontend.frame_seconds,
        durations=[len(waveform) / rate for waveform in waveforms],
    )


def _read(reader: AudioReader, utterance: Utterance) -> Waveform | AudioError:
    try:
        return reader.read(utterance)
    except AudioError as error:
        return error
