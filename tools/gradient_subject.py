"""What `measure_gradient` measures: a trained model and utterances."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from asr.data.batching import AudioReader, Batch, collate
from asr.data.labels import Labels
from asr.data.manifest import Utterance
from asr.models.ctc import CTCModel

BATCH_SIZE = 8


@dataclass(frozen=True)
class Subject:
    """What is measured, and how much.

    Attributes:
        model: in evaluation mode.
        labels: of the model.
        utterances: of the manifest.
        reader: of their audio.
        encode: text to tokens.
        draws: of the estimator, for `forced`.
        forced_draws: alignments for each mean of `forced`.
        frames: of the utterance for `forced`.
        batches: how many for `noise` and `floor`.
    """

    model: CTCModel
    labels: Labels
    utterances: Sequence[Utterance]
    reader: AudioReader
    encode: Callable[[str], Sequence[int]]
    draws: int
    forced_draws: int
    frames: int
    batches: int

    def batch(self, utterances: Sequence[Utterance]) -> Batch:
        """Utterances with their audio."""
        return collate(
            [utterance.id for utterance in utterances],
            [self.reader.read(utterance) for utterance in utterances],
            [self.encode(utterance.text) for utterance in utterances],
        )

    def chosen(self) -> Iterator[Sequence[Utterance]]:
        """Batches of random utterances."""
        order = torch.randperm(len(self.utterances), generator=torch.Generator().manual_seed(1))
        for index in range(self.batches):
            part = order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
            yield [self.utterances[i] for i in part.tolist()]
