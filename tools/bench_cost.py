"""What an epoch of a recogniser's recipe costs, by the measured time of its updates.

    python -m tools.bench_cost recipes/wsj --hours 81.3 --utterances 37416

Updates of noise of the mean length of an utterance, with targets of `--rate` symbols a second, in
batches as the recipe makes them; nothing of the corpus is needed. Prints the median seconds of an
update and of a frame, and the hours of an epoch: reading audio and evaluating come on top.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from asr.building import build_model
from asr.criterion import build_criterion
from asr.data.batching import Batch
from asr.data.bundle_tokenizer import BundleTokenizerConfig
from asr.data.labels import labels_of
from asr.data.tokenizer import train_tokenizer
from asr.devices import choose_device
from asr.recipe import Recipe, load_recipe
from asr.training.optimizer import build_optimizer
from asr.training.step import Part, Stepper

WARM = 2  # updates that compile and allocate
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--hours", type=float, required=True, help="of training speech")
    parser.add_argument("--utterances", type=int, required=True)
    parser.add_argument("--rate", type=float, default=14.0, help="symbols a second")
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe)
    if not isinstance(recipe, Recipe):
        parser.error(f"{options.recipe}: is no recipe of a recogniser")
    device = choose_device(options.device)
    seconds = 3600 * options.hours / options.utterances
    count = recipe.training.batch_utterances or max(1, int(recipe.training.batch_seconds / seconds))
    took, frames = measure(recipe, seconds, count, options.rate, options.updates, device)
    epoch = took * options.utterances / count / 3600
    threads = f"{torch.get_num_threads()} threads, " if device.type == "cpu" else ""
    update = f"{count} x {seconds:.1f} s: {took:.3f} s an update"
    frame = f"{1000 * took / frames:.3f} ms a frame"
    print(f"{update}, {frame}, {epoch:.1f} h an epoch of {options.hours:g} h ({threads}{device})")


def measure(
    recipe: Recipe, seconds: float, count: int, rate: float, updates: int, device: torch.device
) -> tuple[float, int]:
    """Median seconds of an update on `count` utterances of noise, and their frames together."""
    torch.manual_seed(0)
    if isinstance(recipe.tokenizer, BundleTokenizerConfig):
        raise SystemExit("the tokens of this recipe come from a bundle; give them with --set")
    tokenizer = train_tokenizer(recipe.tokenizer, [f"{LETTERS} {LETTERS}"])
    model = build_model(recipe, tokenizer.vocabulary_size)
    if model.frontend.needs_statistics():
        noise = 0.1 * torch.randn(1, 160_000)
        model.frontend.estimate_normalization([(noise, torch.tensor([160_000]))])
    model.to(device)
    criterion = build_criterion(
        recipe.objective, labels_of(tokenizer.pieces, tokenizer.symbols), model
    )
    batch = _batch(recipe, seconds, count, int(seconds * rate), tokenizer.vocabulary_size)
    texts = [tokenizer.decode(tokens) for tokens in batch.targets.tolist()]
    batch = batch.to(device)

    def loss() -> Tensor:
        outputs, lengths = model(batch.waveforms, batch.waveform_lengths)
        return criterion(outputs, lengths, batch, texts)

    stepper = Stepper(
        model,
        build_optimizer(model.parameters(), recipe.optimizer),
        clip_norm=recipe.training.clip_norm,
        precision=recipe.training.precision,
        device=device,
    )
    times = []
    for number in range(updates + WARM):
        begun = time.perf_counter()
        stepper.update([Part(loss, batch.ids, number)], deviation=0.0)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    frames = count * model.frontend.num_frames_of(batch.waveforms.shape[1])
    return statistics.median(times[WARM:]), frames


def _batch(recipe: Recipe, seconds: float, count: int, symbols: int, num_labels: int) -> Batch:
    samples = int(seconds * recipe.frontend.sample_rate)
    return Batch(
        ids=tuple(str(number) for number in range(count)),
        waveforms=0.1 * torch.randn(count, samples),
        waveform_lengths=torch.full((count,), samples),
        targets=torch.randint(1, num_labels, (count, symbols)),
        target_lengths=torch.full((count,), symbols),
    )


if __name__ == "__main__":
    main()
