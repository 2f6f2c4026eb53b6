"""Models of images as a task: what they are shown, and what is measured."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asr.data.images import Images, write_images
from asr.errors import ConfigError, DataError
from asr.image_task import BoundedModel, ImageBatch, ImageSplits, ImageTask, read_image_splits
from asr.training.plain_task import TaskData
from asr.training.task import BatchPlan

CPU = torch.device("cpu")


class Bernoulli(BoundedModel):
    """Every pixel white with one probability, and a part that is drawn."""

    def __init__(self, probability: float = 0.25, *, noisy: bool = False) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(probability).logit())
        self.noisy = noisy

    def terms(self, images: Tensor) -> dict[str, Tensor]:
        pixels = images.flatten(1)
        white = pixels * nn.functional.softplus(-self.logit)
        black = (1 - pixels) * nn.functional.softplus(self.logit)
        noise = torch.randn(len(images)) if self.noisy else torch.zeros(len(images))
        return {"pixels": (white + black).sum(dim=1), "drawn": noise}


def grey(count: int, level: int = 64) -> Images:
    return np.full((count, 6, 6), level, np.uint8)


def task_of(
    model: BoundedModel | None = None, *, binarise: bool = True, seed: int = 1
) -> ImageTask:
    splits = ImageSplits(grey(50), grey(700), grey(3))
    return ImageTask(model or Bernoulli(), splits, batch_size=16, seed=seed, binarise=binarise)


def loaded(task: ImageTask, epoch: int, items: tuple[int, ...] = (3, 1, 2)) -> Tensor:
    batch, skipped = task.load_batch(BatchPlan(items, 3.0), epoch)
    assert not skipped
    assert task.ids(batch) == tuple(f"image {item}" for item in items)
    return batch.images


def test_every_image_comes_once_an_epoch_in_another_order() -> None:
    task = task_of()
    first, second = ([plan.items for plan in task.plan_epoch(epoch)] for epoch in (0, 1))
    for plans in (first, second):
        assert sorted(item for items in plans for item in items) == list(range(50))
        assert [len(items) for items in plans] == [16, 16, 16, 2]
    assert first != second
    assert first == [plan.items for plan in task_of().plan_epoch(0)]
    assert first != [plan.items for plan in task_of(seed=2).plan_epoch(0)]


def test_pixels_are_drawn_anew_in_every_epoch_and_the_same_on_every_run() -> None:
    images = loaded(task_of(), 0)
    assert set(images.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(images, loaded(task_of(), 0))
    assert not torch.equal(images, loaded(task_of(), 1))
    assert not torch.equal(images, loaded(task_of(seed=2), 0))
    many = torch.cat([loaded(task_of(), epoch) for epoch in range(60)])
    assert float(many.mean()) == pytest.approx(64 / 255, abs=0.02)


def test_grey_levels_stay_where_nothing_is_drawn() -> None:
    assert torch.equal(loaded(task_of(binarise=False), 0), torch.full((3, 6, 6), 64 / 255))


def test_the_loss_is_the_sum_of_the_parts() -> None:
    images = torch.zeros(2, 6, 6)
    images[1] = 1.0
    batch = ImageBatch(("a", "b"), images)
    losses = task_of().loss(batch, CPU)
    expected = -36 * torch.tensor([0.75, 0.25]).log()
    assert torch.allclose(losses, expected)


def test_an_evaluation_repeats_itself_and_disturbs_nothing() -> None:
    task = task_of(Bernoulli(noisy=True))
    seen: list[tuple[int, int]] = []
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = task.evaluate("dev", CPU, lambda done, total: seen.append((done, total)))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert seen == [(0, 700), (500, 700), (700, 700)]
    torch.manual_seed(6)
    second = task.evaluate("dev", CPU, lambda done, total: None)
    assert first is not None
    assert first == second
    assert first.monitor == "nats"
    assert first.value == pytest.approx(first.metrics["pixels"] + first.metrics["drawn"])
    share = 64 / 255
    expected = -36 * (share * np.log(0.25) + (1 - share) * np.log(0.75))
    assert first.metrics["pixels"] == pytest.approx(expected, rel=0.02)
    assert first.metrics["drawn"] != 0.0


def test_no_dev_images() -> None:
    splits = ImageSplits(grey(5), None, None)
    task = ImageTask(Bernoulli(), splits, batch_size=2, seed=1, binarise=False)
    assert task.evaluate("dev", CPU, lambda done, total: None) is None
    assert torch.equal(task.sample_of("dev", 2), torch.full((2, 6, 6), 64 / 255))
    assert task.describe() == ["train: 5 images of 6 x 6, grey levels"]


def test_pictures_are_drawn_where_somebody_draws(tmp_path: Path) -> None:
    drawn: list[tuple[Path, int]] = []
    splits = ImageSplits(grey(5), None, None)
    task = ImageTask(
        Bernoulli(),
        splits,
        batch_size=2,
        seed=1,
        binarise=True,
        draw=lambda folder, history: drawn.append((folder, len(history))),
    )
    task.artifacts(tmp_path, [{"epoch": 1}])
    assert drawn == [(tmp_path, 1)]
    task_of().artifacts(tmp_path / "nothing", [])
    assert not (tmp_path / "nothing").exists()


def test_other_images_are_another_training() -> None:
    one = task_of().fingerprints()
    assert one == task_of().fingerprints()
    assert one != task_of(binarise=False).fingerprints()
    other = ImageTask(
        Bernoulli(), ImageSplits(grey(50, 65), None, None), batch_size=2, seed=1, binarise=True
    )
    assert one != other.fingerprints()


def test_images_are_read_and_compared(tmp_path: Path) -> None:
    for name, images in (
        ("grey", grey(2)),
        ("small", grey(2)[:, 1:]),
        ("colour", np.zeros((2, 6, 6, 3), np.uint8)),
    ):
        write_images(tmp_path / f"{name}.npz", images)
    paths = {name: str(tmp_path / f"{name}.npz") for name in ("grey", "small", "colour")}
    splits = read_image_splits(TaskData(train=paths["grey"], test=paths["grey"]), colour=False)
    assert splits.dev is None
    assert splits.test is not None
    assert len(splits.test) == 2
    assert read_image_splits(TaskData(train=paths["colour"]), colour=True).train.shape[3] == 3
    with pytest.raises(ConfigError, match=r"data\.train: is empty; name the training images"):
        read_image_splits(TaskData(), colour=False)
    with pytest.raises(DataError, match=r"colour\.npz: .* for grey ones, set task\.colour = true$"):
        read_image_splits(TaskData(train=paths["colour"]), colour=False)
    with pytest.raises(
        DataError, match=r"grey\.npz: .* for colour ones, set task\.colour = false$"
    ):
        read_image_splits(TaskData(train=paths["grey"]), colour=True)
    mixed = TaskData(train=paths["grey"], dev=paths["small"])
    with pytest.raises(DataError, match=r"small\.npz: images of 5 x 6, but .* has images of 6 x 6"):
        read_image_splits(mixed, colour=False)
