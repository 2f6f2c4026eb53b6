"""A trained network over many utterances: audio read ahead, similar lengths together.

What a network puts out for each frame, `outputs` (B, T, …), is for decoders of its kind: with CTC
log-probabilities of the labels, with a transducer what its joint network takes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.data.batching import AudioReader, Waveform, collate, group_by_length
from asr.data.loading import load_ahead
from asr.data.manifest import Utterance
from asr.decoding.fused_search import FusedSearch
from asr.decoding.greedy import greedy
from asr.decoding.hypothesis import Hypothesis, Spelling
from asr.decoding.transducer import TransducerSearch
from asr.decoding.transducer_greedy import TransducerGreedy
from asr.errors import AudioError, DataError, shown
from asr.models.ctc import CTCModel
from asr.models.speech import SpeechModel

NUM_WORKERS = 2
FRAMES_TOGETHER = 10_000  # of a transducer's search, padding included


class Decoder(Protocol):
    """Outputs of a network to hypotheses: `GreedyDecoder`, `beam.BeamSearch`, or a transducer's.

    Attributes:
        signature: what one must know of a search to compare an error rate; empty: the best path.
    """

    @property
    def signature(self) -> str: ...  # noqa: D102

    def decode_nbest(
        self,
        outputs: Any,
        lengths: Any = None,
        /,
        *,
        nbest: int = 10,
        frame_seconds: float = 1.0,
        durations: Sequence[float] | None = None,
    ) -> list[list[Hypothesis]]:
        """The best hypotheses of each utterance, the best first; at least one.

        Args:
            outputs: (B, T, …) of the network for each frame.
            lengths: (B,) frames.
            nbest: most hypotheses of an utterance.
            frame_seconds: time from one frame to the next.
            durations: seconds of each utterance, which no word's time exceeds.
        """


@dataclass(frozen=True, slots=True)
class GreedyDecoder:
    """Best-path decoding, which has one hypothesis for an utterance; `spelling` joins tokens."""

    spelling: Spelling
    signature: str = field(default="", init=False)

    def decode_nbest(
        self,
        log_probs: Any,
        lengths: Any = None,
        *,
        nbest: int = 1,
        frame_seconds: float = 1.0,
        durations: Sequence[float] | None = None,
    ) -> list[list[Hypothesis]]:
        """As `Decoder`; arguments and errors as for `greedy`."""
        best = greedy(
            log_probs, lengths, self.spelling, frame_seconds=frame_seconds, durations=durations
        )
        return [[hypothesis] for hypothesis in best]


def best_path_decoder(model: SpeechModel, spelling: Spelling) -> Decoder:
    """What follows the best path of a network, without a search; `spelling` joins tokens."""
    if isinstance(model, CTCModel):
        return GreedyDecoder(spelling)
    return TransducerGreedy(model, spelling)


def ranks_by_length(decoder: Decoder) -> bool:
    """Whether the order of what a decoder finds is that of the score per label."""
    return isinstance(decoder, FusedSearch) and decoder.fusion.by_length


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """What the network says of some utterances.

    Attributes:
        utterances: those whose audio could be read.
        outputs: (B, T, …) for each frame, on the device of the network.
        lengths: (B,) frames.
        durations: seconds of each.
        failures: the others, and why not.
    """

    utterances: Sequence[Utterance]
    outputs: Tensor
    lengths: Tensor
    durations: Sequence[float]
    failures: Sequence[tuple[Utterance, AudioError]]

    def by_id(self) -> dict[str, NDArray[np.float32]]:
        """The outputs (T, …) of each utterance, without padding."""
        arrays = self.outputs.float().cpu().numpy()
        frames = self.lengths.tolist()
        return {u.id: arrays[i, : frames[i]].copy() for i, u in enumerate(self.utterances)}


def score_utterances(
    model: SpeechModel,
    utterances: Sequence[Utterance],
    *,
    reader: AudioReader,
    device: torch.device,
    batch_seconds: float,
) -> Iterator[ScoredBatch]:
    """What the network puts out for all utterances, in batches, the longest first.

    Args:
        model: in evaluation mode, on `device`.
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
        failures = [(u, audio) for u, audio in loaded if isinstance(audio, AudioError)]
        outputs, lengths, seconds = _score(model, [audio for _, audio in readable], device)
        yield ScoredBatch([u for u, _ in readable], outputs, lengths, seconds, failures)


def recognize(
    model: SpeechModel,
    decoder: Decoder,
    utterances: Sequence[Utterance],
    *,
    reader: AudioReader,
    device: torch.device,
    batch_seconds: float,
    nbest: int = 1,
) -> Iterator[tuple[Utterance, list[Hypothesis] | AudioError]]:
    """The best hypotheses of every utterance, or why its audio cannot be used; longest first.

    Arguments as for `score_utterances`.
    """
    for batch in score_utterances(
        model, utterances, reader=reader, device=device, batch_seconds=batch_seconds
    ):
        yield from batch.failures
        found = decode_scored(decoder, batch, model.frontend.frame_seconds, nbest=nbest)
        yield from zip(batch.utterances, found, strict=True)


def decode_scored(
    decoder: Decoder, batch: ScoredBatch, frame_seconds: float, *, nbest: int = 1
) -> list[list[Hypothesis]]:
    """The best hypotheses of each utterance of a batch."""
    if not batch.utterances:
        return []
    return decoder.decode_nbest(
        batch.outputs,
        batch.lengths,
        nbest=nbest,
        frame_seconds=frame_seconds,
        durations=batch.durations,
    )


def decode_each(
    decoder: Decoder,
    outputs: Mapping[str, NDArray[np.floating[Any]]],
    *,
    nbest: int = 1,
    frame_seconds: float = 1.0,
) -> Iterator[tuple[str, list[Hypothesis]]]:
    """The best hypotheses of each of many utterances (T, …) by name, in their order.

    Raises:
        DataError: outputs that are none of the network whose decoder this is.
    """
    settings = _Settings(decoder, nbest, frame_seconds)
    if isinstance(decoder, TransducerSearch):  # asks its networks about many at once
        yield from settings.together(outputs)
        return
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = pool.map(lambda item: settings.alone(*item), outputs.items())
        yield from zip(outputs, found, strict=True)


@dataclass(frozen=True, slots=True)
class _Settings:
    """How `decode_each` decodes."""

    decoder: Decoder
    nbest: int
    frame_seconds: float

    def alone(self, name: str, array: NDArray[np.floating[Any]]) -> list[Hypothesis]:
        """One utterance, named in errors."""
        try:
            return self._decoded(array[None], None)[0]
        except (ValueError, DataError) as error:
            raise DataError(f"utterance '{shown(name)}': {error}") from error

    def together(
        self, outputs: Mapping[str, NDArray[np.floating[Any]]]
    ) -> Iterator[tuple[str, list[Hypothesis]]]:
        """All of them, those of similar lengths at once."""
        names = list(outputs)
        frames = [len(outputs[name]) for name in names]
        found: dict[str, list[Hypothesis]] = {}
        for group in group_by_length([max(1.0, n) for n in frames], batch_seconds=FRAMES_TOGETHER):
            parts = [torch.from_numpy(outputs[names[index]]) for index in group]
            lengths = torch.tensor([frames[index] for index in group])
            try:
                lists = self._decoded(pad_sequence(parts, batch_first=True), lengths)
            except (ValueError, DataError):  # which names a place in the batch: whose is it?
                lists = [self.alone(names[index], outputs[names[index]]) for index in group]
            found.update((names[index], each) for index, each in zip(group, lists, strict=True))
        yield from ((name, found[name]) for name in names)

    def _decoded(self, outputs: Any, lengths: Tensor | None) -> list[list[Hypothesis]]:
        if isinstance(self.decoder, TransducerSearch):
            outputs = torch.as_tensor(outputs).to(self.decoder.device)
        return self.decoder.decode_nbest(
            outputs, lengths, nbest=self.nbest, frame_seconds=self.frame_seconds
        )


def decode_batch(
    model: SpeechModel,
    decoder: Decoder,
    waveforms: Sequence[Waveform],
    device: torch.device,
    *,
    nbest: int = 1,
) -> list[list[Hypothesis]]:
    """The best hypotheses of B waveforms (samples,) float32 at the model's sample rate."""
    if not waveforms:
        return []
    outputs, lengths, durations = _score(model, waveforms, device)
    return decoder.decode_nbest(
        outputs,
        lengths,
        nbest=nbest,
        frame_seconds=model.frontend.frame_seconds,
        durations=durations,
    )


def _score(
    model: SpeechModel, waveforms: Sequence[Waveform], device: torch.device
) -> tuple[Tensor, Tensor, list[float]]:
    """Outputs (B, T, …), frames (B,) and seconds of waveforms."""
    if not waveforms:
        return torch.zeros(0, 0, 0), torch.zeros(0, dtype=torch.int64), []
    batch = collate([""] * len(waveforms), waveforms, [()] * len(waveforms)).to(device)
    with torch.inference_mode():
        outputs, lengths = model(batch.waveforms, batch.waveform_lengths)
    rate = model.frontend.sample_rate
    return outputs, lengths, [len(waveform) / rate for waveform in waveforms]


def _read(reader: AudioReader, utterance: Utterance) -> Waveform | AudioError:
    try:
        return reader.read(utterance)
    except AudioError as error:
        return error
