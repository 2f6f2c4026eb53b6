"""The hierarchical VAE as a recipe: its data, its log, its pictures, and both modes of the toy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from asr.building import build_own_task
from asr.cli.main import main
from asr.data.corpus.made_images import two_colours
from asr.data.corpus.prepared_images import write_image_sets
from asr.data.images import Images, padded, read_images, write_images
from asr.errors import DataError
from asr.image_task import ImageSplits
from asr.recipe import TaskRecipe, load_recipe
from asr.storage import load_tensors
from asr.training.plain_task import WEIGHTS, TaskData
from recipes.hvae.model import HierarchicalVAE
from recipes.hvae.prepare import prepare
from recipes.hvae.showing import hollow, table
from recipes.hvae.task import (
    Config,
    InpaintingTask,
    build,
    checked_size,
    describe_layers,
    is_overfit,
)

RECIPE = Path(__file__).parents[2] / "recipes" / "hvae"
CPU = torch.device("cpu")


def quiet(done: int, total: int) -> None: ...


def tiny(size: int = 8, channels: int = 1) -> HierarchicalVAE:
    torch.manual_seed(0)
    return HierarchicalVAE(size, channels, maps=2, dense_size=8, top_size=2)


def grey(count: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8), np.uint8)


# --- data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 16), (12, 12), (4, 4), (28, 28)])
def test_sizes_that_cannot_be_halved_are_refused(shape: tuple[int, int]) -> None:
    height, width = shape
    message = rf"train\.npz: images of {height} x {width}; they must be square, with a side of 8"
    with pytest.raises(DataError, match=message):
        checked_size(np.zeros((2, *shape), np.uint8), "train.npz")


def test_a_task_is_built_for_its_images(tmp_path: Path) -> None:
    for name, images in (("grey", grey(4)), ("colour", two_colours(16, counts={"a": 4})["a"])):
        write_images(tmp_path / f"{name}.npz", images)
    data = TaskData(train=str(tmp_path / "colour.npz"))
    task = build(Config(colour=True, maps=2, dense_size=8, top_size=2), data, 1)
    assert isinstance(task.model, HierarchicalVAE)
    assert (task.model.size, task.model.channels, task.model.num_latents) == (16, 3, 5)
    assert task.describe() == ["train: 4 images of 16 x 16 x 3, intensities as they are"]
    with pytest.raises(DataError, match=r"colour\.npz: has colour images; this model is for grey"):
        build(Config(), data, 1)


@pytest.mark.data
def test_mnist_is_padded(corpora: Path, tmp_path: Path) -> None:
    prepare([corpora / "mnist"], tmp_path)
    images = read_images(tmp_path / "test.npz")
    assert images.shape == (10_000, 32, 32)
    assert images[:, 2:30, 2:30].any()
    assert np.array_equal(images, padded(images[:, 2:30, 2:30], 32))


# --- layers that overfit -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "held_out", "expected"),
    [
        (10.0, 20.0, True),
        (10.0, 12.4, False),  # less than a quarter more
        (0.1, 1.0, False),  # not a nat
        (0.1, 1.2, True),
        (20.0, 10.0, False),
    ],
)
def test_a_layer_overfits_when_it_costs_more_on_new_images(
    train: float, held_out: float, expected: bool
) -> None:
    assert is_overfit(train, held_out) is expected


def test_overfitting_layers_are_named() -> None:
    train = {"kl_1": 30.0, "kl_2": 5.0, "kl_3": 0.2}
    assert describe_layers("dev", train, {"kl_1": 90.0, "kl_2": 5.5, "kl_3": 4.0}) == [
        "nats on train / dev: kl_1 30.0 / 90.0, kl_2 5.0 / 5.5, kl_3 0.2 / 4.0",
        "overfitting layers: kl_1, kl_3",
    ]
    assert len(describe_layers("test", train, train)) == 1


def test_an_evaluation_compares_layers_with_those_of_training_images() -> None:
    splits = ImageSplits(np.zeros((6, 8, 8), np.uint8), grey(5), None)
    model = tiny()
    layer = model.level(1).posterior.layer
    layer.weight.data.mul_(100.0)  # q is far from p wherever there is something to see
    task = InpaintingTask(model, splits, batch_size=2, seed=1)
    found = task.evaluate("dev", CPU, quiet)
    assert found is not None
    assert found == task.evaluate("dev", CPU, quiet)
    layers = [f"kl_{number}" for number in range(1, 5)]
    assert list(found.metrics) == ["nats", "reconstruction", *layers]
    parts = [value for name, value in found.metrics.items() if name != "nats"]
    assert found.value == pytest.approx(sum(parts))
    means = task.means_of(splits.train, CPU, quiet)
    pair = f"kl_1 {means['kl_1']:.1f} / {found.metrics['kl_1']:.1f}"
    assert found.examples[0].startswith(f"nats on train / dev: {pair}, kl_2")
    assert found.examples[1].startswith("overfitting layers: kl_1")
    assert task.evaluate("test", CPU, quiet) is None


# --- pictures ------------------------------------------------------------------------------------


def test_a_hole_is_grey_and_rows_are_images() -> None:
    images = torch.stack([torch.zeros(8, 8), torch.ones(8, 8)])
    holes = hollow(images)
    assert holes[:, 2:6, 2:6].unique().tolist() == [0.5]
    assert [holes[n].sum().item() for n in (0, 1)] == [8.0, 48.0 + 8.0]
    picture = table([images[None], holes[None]])
    assert picture.shape == (2 * 64 + 2, 2 * 64 + 2)  # enlarged eight times, with a gap
    assert [picture[0, 0], picture[0, -1], picture[-1, 0]] == [0, 0, 255]
    assert [picture[32, 32], picture[32, -32], picture[-32, -32]] == [0, 128, 128]


def test_the_toy_from_nothing_to_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASR_CORPORA", raising=False)
    few = {"train": 64, "dev": 10, "test": 10}
    write_image_sets(tmp_path / "data" / "two_colours", two_colours(8, counts=few))
    settings = ["training.epochs=2", "training.artifacts=[1]", "task.maps=2", "task.q=ladder"]
    options = [option for setting in settings for option in ("--set", setting)]
    assert main(["train", str(RECIPE / "toy.toml"), *options]) == 0
    printed = capsys.readouterr()
    assert "nats on train / dev: kl_1" in printed.err
    assert "test: nats" in printed.out
    layers = {f"layer-{number}.png" for number in range(1, 5)}
    for place in ("epoch-0001", "final"):
        folder = tmp_path / "exp" / "hvae" / "toy" / "artifacts" / place
        names = {path.name for path in folder.iterdir()}
        assert names == {"inpaintings.png", "bound.png", "kl.png", *layers}
    for name, columns in (("inpaintings", 11), ("layer-4", 9)):
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.size == (columns * 66 - 2, 8 * 66 - 2)


# --- both modes ----------------------------------------------------------------------------------


@pytest.mark.soak
def test_both_choices_of_a_border_are_painted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The toy's centres are the mean of the border, 50 levels lighter or darker: half each."""
    monkeypatch.chdir(tmp_path)
    file = RECIPE / "toy.toml"
    assert main(["train", str(file)]) == 0
    recipe = load_recipe(file)
    assert isinstance(recipe, TaskRecipe)
    task = build_own_task(recipe)
    model = task.model
    assert isinstance(model, HierarchicalVAE)
    model.load_state_dict(load_tensors(tmp_path / "exp" / "hvae" / "toy" / "best" / WEIGHTS))
    offsets = offsets_of_centres(model.eval(), read_images(Path("data/two_colours/test.npz")))
    assert 0.4 < (offsets > 0).float().mean() < 0.6
    assert ((offsets.abs() - 50).abs() < 15).float().mean() > 0.6
    assert (offsets.abs() < 10).float().mean() < 0.05


@torch.no_grad()
def offsets_of_centres(model: HierarchicalVAE, images: Images, samples: int = 20) -> Tensor:
    """(samples, N) levels by which painted centres are lighter than the mean of their border."""
    borders = torch.from_numpy(images).float() / 255
    generator = torch.Generator().manual_seed(1)
    painted = torch.stack([model.generate(borders, generator)[0] for _ in range(samples)])
    edge = images.shape[1] // 4
    centres = painted[:, :, edge:-edge, edge:-edge].mean(dim=(2, 3))
    means = (borders[:, 0, 0] + borders[:, 0, -1]) / 2
    return 255 * (centres - means).mean(dim=2)


def test_offsets_are_those_of_the_made_images(monkeypatch: pytest.MonkeyPatch) -> None:
    images = two_colours(8, step=50, counts={"test": 30})["test"]
    model = tiny(8, 3)
    monkeypatch.setattr(model, "generate", lambda borders, generator: (borders, []))
    offsets = offsets_of_centres(model, images, samples=2)
    assert offsets.shape == (2, 30)
    assert (offsets.abs() - 50).abs().max() <= 0.51  # a mean is rounded down


def test_the_toy_is_made_up(tmp_path: Path) -> None:
    prepare([], tmp_path, variant="toy")
    assert read_images(tmp_path / "train.npz").shape == (2000, 16, 16, 3)
