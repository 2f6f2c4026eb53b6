"""SpeechBrain's CTC training on our manifests, for as much processor time as ours took.

    .venv-peers/bin/python tools/bench_speechbrain.py data/an4 --cpu-minutes 45 [--pass-lengths]

Runs in the environment of `constraints-peers.txt` and imports nothing of ours. The shape follows
SpeechBrain's TIMIT CTC recipe (`Fbank`, `InputNormalization`, encoder, `Linear`, `ctc_loss`, a
`Brain`), with the features, encoder size, batch size, optimiser, schedule and augmentation of
recipes/an4: 80 mels stacked by three, 3 x 320 bidirectional LSTM, 30 s of audio a batch, AdamW. As
there, the encoder is given no lengths; `--pass-lengths` gives them, which packs the sequences and
makes the output right for the shorter utterances. Time is that of the processor, with audio read
in the same process, so that other programs on the machine do not count. Prints one JSON line with
throughput and error rates.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from speechbrain.augment.freq_domain import SpectrogramDrop
from speechbrain.augment.time_domain import SpeedPerturb
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.sampler import DynamicBatchSampler
from speechbrain.decoders.ctc import ctc_greedy_decode
from speechbrain.lobes.features import Fbank
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.losses import ctc_loss
from speechbrain.nnet.RNN import LSTM
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.metric_stats import ErrorRateStats

STACK, MELS, HIDDEN, LAYERS, DROPOUT = 3, 80, 320, 3, 0.3
BATCH_SECONDS, LEARNING_RATE, WARMUP = 30.0, 2e-3, 0.1
SYMBOLS = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"


def main() -> None:
    """Train for the minutes given, score the test set, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of train.jsonl and test.jsonl")
    parser.add_argument("--cpu-minutes", type=float, default=45.0)
    parser.add_argument("--pass-lengths", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    modules = {
        "features": Fbank(n_mels=MELS),
        "normalize": InputNormalization(norm_type="sentence"),
        "encoder": LSTM(
            HIDDEN, input_size=MELS * STACK, num_layers=LAYERS, dropout=DROPOUT, bidirectional=True
        ),
        "output": Linear(input_size=2 * HIDDEN, n_neurons=len(SYMBOLS) + 1),
        "masks": _two_drops(dim=1, longest=20),
        "bands": _two_drops(dim=2, longest=12),
    }
    brain = Recogniser(
        modules,
        opt_class=lambda parameters: torch.optim.AdamW(parameters, LEARNING_RATE),
        run_opts={"device": "cpu", "noprogressbar": True},
    )
    brain.minutes, brain.pass_lengths = arguments.cpu_minutes, arguments.pass_lengths
    brain.speed = SpeedPerturb(16000, speeds=[90, 100, 110])
    train = _dataset(arguments.data / "train.jsonl")
    brain.begun = time.process_time()
    brain.fit(range(10_000), train["data"], train_loader_kwargs=_loading(train, shuffle=True))
    brain.evaluate(
        _dataset(arguments.data / "test.jsonl")["data"], test_loader_kwargs={"batch_size": 8}
    )
    print(json.dumps({"pass_lengths": arguments.pass_lengths, **brain.result()}))


class Recogniser(sb.Brain):  # type: ignore[misc]
    """The Brain of SpeechBrain's CTC recipes, stopped by the clock."""

    minutes: float
    pass_lengths: bool
    begun: float
    speed: Any
    audio_seconds = 0.0
    stepping_seconds = 0.0

    def compute_forward(self, batch: Any, stage: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, V) log-probabilities and relative lengths."""
        waveforms, lengths = batch.signal
        if stage == sb.Stage.TRAIN:
            waveforms = self.speed(waveforms)
        features = self.modules.normalize(self.modules.features(waveforms), lengths)
        if stage == sb.Stage.TRAIN:
            features = self.modules.bands(self.modules.masks(features))
        frames = features.shape[1] // STACK
        features = features[:, : frames * STACK].reshape(len(features), frames, STACK * MELS)
        given = lengths if self.pass_lengths else None
        encoded, _ = self.modules.encoder(features, lengths=given)
        return self.modules.output(encoded).log_softmax(-1), lengths

    def compute_objectives(self, predictions: Any, batch: Any, stage: Any) -> torch.Tensor:
        """The CTC loss; on the test set also the hypotheses."""
        log_probs, lengths = predictions
        tokens, token_lengths = batch.tokens
        if stage == sb.Stage.TEST:
            decoded = ctc_greedy_decode(log_probs, lengths, blank_id=0)
            said = ["".join(SYMBOLS[t - 1] for t in one).split() for one in decoded]
            self.errors.append(batch.id, said, [text.split() for text in batch.text])
        loss: torch.Tensor = ctc_loss(log_probs, tokens, lengths, token_lengths, blank_index=0)
        return loss

    def fit_batch(self, batch: Any) -> torch.Tensor:
        """One step at the learning rate of the clock; counts audio and time."""
        begun = time.process_time()
        done = (begun - self.begun) / 60 / self.minutes
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _one_cycle(min(done, 1.0))
        loss: torch.Tensor = super().fit_batch(batch)
        self.audio_seconds += float(sum(batch.duration))
        self.stepping_seconds += time.process_time() - begun
        return loss

    def on_stage_start(self, stage: Any, epoch: int | None = None) -> None:
        """Begin counting errors."""
        if stage == sb.Stage.TEST:
            self.errors = ErrorRateStats()

    def _should_stop(self) -> bool:
        return time.process_time() - self.begun > 60 * self.minutes

    def _fit_train(self, train_set: Any, epoch: int, enable: bool) -> None:
        if not self._should_stop():
            super()._fit_train(train_set=train_set, epoch=epoch, enable=enable)

    def result(self) -> dict[str, float]:
        """What is to be compared."""
        return {
            "test_wer": self.errors.summarize("error_rate"),
            "audio_seconds_per_cpu_second": self.audio_seconds / self.stepping_seconds,
            "audio_seconds": self.audio_seconds,
        }


def _two_drops(*, dim: int, longest: int) -> Any:
    return SpectrogramDrop(
        dim=dim, drop_length_low=0, drop_length_high=longest, drop_count_low=2, drop_count_high=2
    )


def _one_cycle(done: float) -> float:
    if done < WARMUP:
        return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * done / WARMUP)) / 2
    return 1e-4 + (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP))) / 2


def _dataset(manifest: Path) -> dict[str, Any]:
    """A SpeechBrain dataset of a manifest, and its durations."""
    records = {}
    for line in manifest.read_text(encoding="utf-8").split("\n"):
        if line:
            record = json.loads(line)
            record["audio_filepath"] = str(manifest.parent / record["audio_filepath"])
            records[record.pop("id")] = record

    @sb.utils.data_pipeline.takes("audio_filepath")  # type: ignore[untyped-decorator]
    @sb.utils.data_pipeline.provides("signal")  # type: ignore[untyped-decorator]
    def read(path: str) -> torch.Tensor:
        signal: torch.Tensor = sb.dataio.dataio.read_audio(path)
        return signal

    @sb.utils.data_pipeline.takes("text")  # type: ignore[untyped-decorator]
    @sb.utils.data_pipeline.provides("tokens")  # type: ignore[untyped-decorator]
    def tokens(text: str) -> torch.Tensor:
        return torch.tensor([SYMBOLS.index(symbol) + 1 for symbol in text])

    dataset = DynamicItemDataset(records, dynamic_items=[read, tokens])
    dataset.set_output_keys(["id", "signal", "tokens", "text", "duration"])
    return {"data": dataset, "durations": [record["duration"] for record in records.values()]}


def _loading(dataset: dict[str, Any], *, shuffle: bool) -> dict[str, Any]:
    sampler = DynamicBatchSampler(
        dataset["data"],
        max_batch_length=int(BATCH_SECONDS),
        num_buckets=30,
        lengths_list=dataset["durations"],
        shuffle=shuffle,
    )
    return {"batch_sampler": sampler, "num_workers": 0}


if __name__ == "__main__":
    main()
