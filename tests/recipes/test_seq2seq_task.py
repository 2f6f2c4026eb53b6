"""Sequence to sequence networks as a recipe: trained, shown, rescoring, ensembles, the ablation."""

import gzip
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asr.cli.main import main
from asr.errors import ConfigError, DataError, ModelError
from asr.recipe import load_recipe
from asr.storage import folder_writer, read_json, write_json
from asr.training.optimizer import SgdConfig
from asr.training.plain_task import TaskData
from recipes.seq2seq.model import SequenceToSequence
from recipes.seq2seq.task import Config, PairTask, build
from recipes.seq2seq.vectors import draw_vectors, principal_components
from tools.plot_reversal import draw, train_arm
from tools.plot_reversal import main as plot_reversal

RECIPE = Path(__file__).parents[2] / "recipes" / "seq2seq"
PAIRS = "ab\tX Y\nba\tY X\nabc\tX Y Z\ncab\tZ X Y\nab\tX X\nc\tZ\n"
SMALL = ["task.hidden_size=16", "task.embedding_size=8", "training.num_workers=0"]


def options(*settings: str) -> list[str]:
    return [option for setting in settings for option in ("--set", setting)]


def make_task(tmp_path: Path, **settings: object) -> PairTask:
    """A small task of pairs from letters to phones."""
    file = tmp_path / "pairs.txt"
    file.write_text(PAIRS, encoding="utf-8")
    config = Config.model_validate(
        {
            "units": "characters",
            "score": "phones",
            "hidden_size": 8,
            "embedding_size": 4,
            **settings,
        }
    )
    torch.manual_seed(0)
    task = build(config, TaskData(train=str(file), dev=str(file), test=str(file)), 1)
    task.model.eval()
    return task


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_epochs_that_are_parts_have_every_pair_once_in_a_pass(tmp_path: Path) -> None:
    task = make_task(tmp_path, parts=2, batch_size=2)
    epochs = [
        [item for plan in task.plan_epoch(epoch) for item in plan.items] for epoch in range(4)
    ]
    assert [len(items) for items in epochs] == [3, 3, 3, 3]
    assert sorted(epochs[0] + epochs[1]) == sorted(epochs[2] + epochs[3]) == list(range(6))
    assert epochs[0] != epochs[2]
    assert [plan.items for plan in task.plan_epoch(1)] == [
        plan.items for plan in task.plan_epoch(1)
    ]
    (plan,) = make_task(tmp_path, batch_size=1).plan_epoch(0)[:1]
    batch, skipped = task.load_batch(plan, 0)
    source, target = PAIRS.split("\n")[plan.items[0]].split("\t")
    assert plan.size == len(source) + len(target.split(" "))
    assert (batch.source.shape, batch.target.shape) == (
        (1, len(source)),
        (1, plan.size - len(source)),
    )
    assert task.ids(batch) == (f"pair {plan.items[0] + 1}",)
    assert skipped == []


def test_the_perplexity_is_that_of_the_losses(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    batches = [task.load_batch(plan, 0)[0] for plan in task.plan_epoch(0)]
    with torch.no_grad():
        nats = sum(float(task.loss(batch, torch.device("cpu")).sum()) for batch in batches)
    done: list[tuple[int, int]] = []
    dev = task.evaluate("dev", torch.device("cpu"), lambda *at: done.append(at))
    assert dev is not None
    assert dev.metrics["perplexity"] == pytest.approx(math.exp(nats / (13 + 6)), rel=1e-5)
    assert dev.monitor == "per"
    assert done == [(number, 5) for number in range(1, 6)], "5 words, of which one has two"
    assert any(line.startswith("ab → ") for line in dev.examples)
    assert any("(reference X Y)" in line for line in dev.examples)


def test_the_toy_from_nothing_to_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASR_CORPORA", raising=False)
    toy = str(RECIPE / "toy.toml")
    assert main(["prepare", toy]) == 0
    for name in ("train", "dev"):  # a part of it is enough here
        path = tmp_path / "data" / "copies" / f"{name}.txt.gz"
        lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        path.write_bytes(gzip.compress(b"".join(lines[:256])))
    assert main(["train", toy, *options(*SMALL, "training.epochs=2")]) == 0
    said = capsys.readouterr().out
    assert "test: perplexity" in said
    run = tmp_path / "exp" / "seq2seq" / "toy"
    final = run / "artifacts" / "final"
    assert {path.name for path in final.iterdir()} == {
        "examples.txt", "perplexity.png", "vectors.png",
    }  # fmt: skip
    with Image.open(final / "vectors.png") as picture:
        assert picture.size == (640, 460)
    examples = lines_of(final / "examples.txt")
    assert sum(line.startswith("    = ") for line in examples) == 20
    vocabularies = read_json(run / "best" / "vocabularies.json")
    assert vocabularies["source"][:2] == ["</s>", "<unk>"]
    assert sorted(vocabularies["target"][2:]) == list("abcdefghij")

    words = tmp_path / "words.txt"
    words.write_text("a b c\nj\n", encoding="utf-8")
    more = ["task.words=words.txt", "task.num_targets=2", "task.report=dev", "task.beam_size=3"]
    assert main(["artifacts", str(run), *options(*more), "--out", "shown"]) == 0
    translations = [line.split("\t") for line in lines_of(tmp_path / "shown" / "translations.txt")]
    assert [source for source, _ in translations] == ["a b c", "a b c", "j", "j"]
    (report,) = lines_of(tmp_path / "shown" / "report.txt")
    assert report.startswith("dev: perplexity ")
    assert report.endswith("  (beam 3, 1 model)")


def test_pronunciations_of_words(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("AB\nc\n", encoding="utf-8")
    task = make_task(tmp_path, words=str(words), case="lower")
    task.artifacts(tmp_path / "shown", [{"epoch": 1, "train_loss": 1.0, "perplexity": 2.0}])
    found = [line.split("\t") for line in lines_of(tmp_path / "shown" / "pronunciations.txt")]
    assert [word for word, _ in found] == ["ab", "c"]
    best = dict(task.translator(whole=True).translate([["a", "b"]]))[0][0]
    assert found[0][1] == " ".join(task.translator(whole=True).words(best))
    assert (tmp_path / "shown" / "perplexity.png").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ab\n\n", r"words\.txt:2: is empty; write a source on each line, or remove it"),
        ("ab\nax\n", r"words\.txt:2: 'x' in 'ax' was not in the training set; spell it otherwise"),
    ],
)
def test_words_that_cannot_be_pronounced(tmp_path: Path, text: str, message: str) -> None:
    words = tmp_path / "words.txt"
    words.write_text(text, encoding="utf-8")
    task = make_task(tmp_path, words=str(words))
    with pytest.raises(DataError, match=message):
        task.artifacts(tmp_path / "shown", [])


def test_lists_of_another_system_are_ranked_anew(tmp_path: Path) -> None:
    """The mean of both scores; a pair without one has the model's own."""
    pairs = tmp_path / "nbest.txt"
    pairs.write_text("ab\tX Y\t-3\nc\tZ\nab\tY X\t-900\nab\tX\t-1\n", encoding="utf-8")
    task = make_task(tmp_path, pairs=str(pairs))
    task.artifacts(tmp_path / "shown", [])
    rows = [line.split("\t") for line in lines_of(tmp_path / "shown" / "rescored.txt")]
    assert [row[0] for row in rows] == ["ab", "ab", "ab", "c"]
    assert rows[2][1] == "Y X"
    means = [float(row[-1]) for row in rows[:3]]
    assert means == sorted(means, reverse=True)
    for row in rows:
        target = row[1].split(" ")
        ((_, own),) = task.translator(whole=True).log_probs([list(row[0])], [target])
        assert float(row[-2]) == pytest.approx(own, abs=1e-5)
        given = [float(score) for score in row[2:-2]]
        assert float(row[-1]) == pytest.approx(np.mean([*given, own]), abs=1e-5)


@pytest.mark.parametrize("line", ["ab", "ab\tX\tbad", "ab\tX\tnan", "ab\tX\t-1\t-2"])
def test_lists_that_cannot_be_ranked(tmp_path: Path, line: str) -> None:
    pairs = tmp_path / "nbest.txt"
    pairs.write_text(f"ab\tX Y\t-3\n{line}\n", encoding="utf-8")
    task = make_task(tmp_path, pairs=str(pairs))
    with pytest.raises(DataError, match=r"nbest\.txt:2: write a source, a tab, a target, and per"):
        task.artifacts(tmp_path / "shown", [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ab\tX Q", r"nbest\.txt:2: 'Q' in 'ab → X Q' was not in the training set; spell it othe"),
        ("aé\tX", r"nbest\.txt:2: 'é' in 'aé → X' was not in the training set; spell it otherwise"),
    ],
)
def test_lists_with_symbols_that_the_model_never_saw(
    tmp_path: Path, line: str, message: str
) -> None:
    pairs = tmp_path / "nbest.txt"
    pairs.write_text(f"ab\tX Y\t-3\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        make_task(tmp_path, pairs=str(pairs)).artifacts(tmp_path / "shown", [])


def test_a_set_that_is_not_there_has_no_report(tmp_path: Path) -> None:
    task = make_task(tmp_path, report="test")
    data = TaskData(train=str(tmp_path / "pairs.txt"))
    config = Config(units="characters", score="phones", hidden_size=8, report="test")
    alone = build(config, data, 1)
    assert alone.evaluate("dev", torch.device("cpu"), lambda done, total: None) is None
    with pytest.raises(
        ConfigError, match=r"task\.report: there is no test set; name it in data\.t"
    ):
        alone.artifacts(tmp_path / "shown", [])
    task.artifacts(tmp_path / "shown", [])
    assert lines_of(tmp_path / "shown" / "report.txt")[0].startswith("test: perplexity ")


def bundle(task: PairTask, folder: Path, **settings: object) -> str:
    """A bundle of a task, as the loop writes it."""
    with folder_writer(folder) as temporary:
        task.write_bundle(temporary, {"recipe": {"task": settings}})
    return str(folder)


def test_runs_predict_together(tmp_path: Path) -> None:
    settings = {"units": "characters", "score": "phones", "hidden_size": 12, "embedding_size": 4}
    other = make_task(tmp_path, hidden_size=12)
    best = bundle(other, tmp_path / "run" / "best", **settings)
    for named in (best, str(tmp_path / "run")):
        task = make_task(tmp_path, ensemble=[named], report="test")
        together = task.translator(whole=True)
        assert len(together.models) == 2
        assert len(task.translator(whole=False).models) == 1, "dev chooses the model alone"
    pairs = ([["a", "b"]], [["X", "Y"]])
    ((_, both),) = together.log_probs(*pairs)
    singles = [
        next(iter(single.translator(whole=False).log_probs(*pairs)))[1] for single in (task, other)
    ]
    assert min(singles) < both < max(singles)
    task.artifacts(tmp_path / "shown", [])
    assert lines_of(tmp_path / "shown" / "report.txt")[0].endswith("(beam 5, 2 models)")


def test_runs_that_cannot_predict_together(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere: no manifest\.json"):
        make_task(tmp_path, ensemble=[str(tmp_path / "nowhere")])
    task = make_task(tmp_path)
    with folder_writer(tmp_path / "foreign") as temporary:
        super(PairTask, task).write_bundle(temporary, {"recipe": {"task": {}}})
    with pytest.raises(ModelError, match="foreign: is no model of this recipe; name a run folder"):
        make_task(tmp_path, ensemble=[str(tmp_path / "foreign")])
    with folder_writer(tmp_path / "others") as temporary:
        task.write_bundle(temporary, {"recipe": {"task": {}}})
        write_json(temporary / "vocabularies.json", {"source": ["</s>"], "target": []})
    with pytest.raises(ModelError, match="others: has other tokens; an ensemble needs models of"):
        make_task(tmp_path, ensemble=[str(tmp_path / "others")])


def test_the_recipe_of_the_paper() -> None:
    recipe = load_recipe(RECIPE / "wmt14.toml")
    config = recipe.task  # type: ignore[union-attr]
    assert (config.num_layers, config.hidden_size, config.embedding_size) == (4, 1000, 1000)
    assert (config.source_size, config.target_size) == (160_000, 80_000)
    assert (config.batch_size, config.beam_size, config.reverse_source) == (128, 12, True)
    optimizer = recipe.optimizer
    assert isinstance(optimizer, SgdConfig)
    assert (optimizer.learning_rate, optimizer.momentum) == (0.7, 0.0)
    assert optimizer.schedule == "halving"
    assert (recipe.training.initial_range, recipe.training.clip_norm) == (0.08, 5.0)
    assert recipe.training.epochs == 7.5 * config.parts


def test_the_gradient_of_a_batch_is_clipped_as_a_whole() -> None:
    """Summed over tokens, mean over sentences; then s = its norm, and 5 g / s where s > 5."""
    torch.manual_seed(0)
    model = SequenceToSequence(6, 6, embedding_size=3, hidden_size=5, num_layers=1)
    source, target = torch.tensor([[2, 3], [4, 5]]), torch.tensor([[2], [3]])
    lengths = torch.tensor([2, 2]), torch.tensor([1, 1])
    for factor, expected in ((1000.0, 5.0), (1e-3, None)):
        model.zero_grad()
        losses = model.losses(source, lengths[0], target, lengths[1])
        (factor * losses.mean()).backward()
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0))
        after = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
        assert after == pytest.approx(expected or norm, rel=1e-4)


def test_principal_components_have_the_largest_variance() -> None:
    generator = np.random.default_rng(0)
    plane = generator.normal(size=(30, 2)) * [5.0, 2.0]
    turned = plane @ np.linalg.qr(generator.normal(size=(6, 6)))[0][:2] + 7.0
    found = principal_components(torch.from_numpy(turned)).numpy()
    values = np.linalg.eigvalsh(np.cov(turned.T))[::-1]
    np.testing.assert_allclose(found.var(axis=0, ddof=1), values[:2])
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-12)
    distances = [np.linalg.norm(x[:, None] - x[None], axis=2) for x in (found, plane)]
    np.testing.assert_allclose(*distances)
    assert all(found[np.abs(found).argmax(axis=0), [0, 1]] > 0)
    assert principal_components(torch.ones(1, 3)).tolist() == [[0.0, 0.0]]


def test_vectors_without_what_draws_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match="pictures need matplotlib: pip install"):
        draw_vectors(tmp_path / "vectors.png", ["a"], [0], np.zeros((1, 2)))


def ablation(folder: Path, settings: Sequence[str]) -> list[str]:
    return [str(folder / "a.png"), "--seeds", "2", "--out", str(folder), *options(*settings)]


def test_the_ablation_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipes").symlink_to(RECIPE.parent)
    pairs = tmp_path / "pairs.txt"
    pairs.write_text(PAIRS, encoding="utf-8")
    data = [f"data.{name}={pairs}" for name in ("train", "dev")]
    settings = [*SMALL, *data, "data.test=", "training.epochs=2", "task.vectors=[]"]
    plot_reversal(ablation(tmp_path, settings))
    said = capsys.readouterr().out
    for task in ("copies", "reversals"):
        for way in ("source reversed", "source as it is"):
            assert f"{task}, {way}: ter " in said
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (720, 300)
    assert len(list(tmp_path.glob("*-2"))) == 4
    recipe = read_json(tmp_path / "toy-as-it-is-2" / "recipe.json")["recipe"]
    assert recipe["task"]["reverse_source"] is False
    assert recipe["seed"] == 2
    curves = train_arm("toy", reverse=True, seeds=[2], out=tmp_path, settings=settings)
    assert curves.epochs == [1, 2]
    assert curves.rates.shape == (1, 2)
    assert len(draw({"copies": {"one": curves}}).axes) == 1
