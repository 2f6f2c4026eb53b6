"""The log-probabilities of given texts: against enumeration, torch, and what a search finds."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from asr.building import build_model
from asr.config import parse
from asr.data.batching import AudioReader
from asr.data.manifest import Utterance, read_manifest
from asr.decoding import text_scores
from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.nbest import NEVER, Candidate, NbestList
from asr.decoding.text_scores import TextScorer, Unwritten, token_log_probs
from asr.errors import ConfigError, DataError
from asr.models.speech import SpeechModel
from asr.objectives.ctc import frames_needed
from asr.objectives.transducer import transducer_loss
from asr.recipe import Recipe
from asr.recognizer import Recognizer, load
from tests.decoding.made_transducer import prefixes_of

VOCABULARY = 3
LABELLINGS = prefixes_of(VOCABULARY, 4)


def made_model(**objective: object) -> SpeechModel:
    """A network that nobody trained, of three labels."""
    recipe = {
        "data": {"train": "none"},
        "encoder": {"hidden_size": 3, "num_layers": 1},
        "objective": objective or {"name": "ctc"},
    }
    torch.manual_seed(1)
    return build_model(parse(Recipe, recipe, "made"), VOCABULARY).eval()


def made_log_probs(frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return (2 * torch.randn(frames, VOCABULARY, generator=generator)).log_softmax(-1)


def enumerated(log_probs: Tensor, tokens: tuple[int, ...]) -> float:
    """The sum over all alignments that turn into the tokens."""
    total = 0.0
    for alignment in itertools.product(range(VOCABULARY), repeat=len(log_probs)):
        if tuple(k for k, _ in itertools.groupby(alignment) if k) == tokens:
            total += math.exp(sum(log_probs[t, k].item() for t, k in enumerate(alignment)))
    return math.log(total) if total else NEVER


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_ctc_is_the_sum_over_all_alignments(frames: int) -> None:
    log_probs = made_log_probs(frames)
    scores = token_log_probs(made_model(), log_probs, LABELLINGS)
    assert scores == pytest.approx([enumerated(log_probs, y) for y in LABELLINGS], abs=1e-6)
    assert math.fsum(map(math.exp, scores)) == pytest.approx(1), "no labelling is longer"
    assert scores.count(NEVER) == sum(enumerated(log_probs, y) == NEVER for y in LABELLINGS)


def test_ctc_is_torch_over_many_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates of all lengths, in several groups and in one."""
    log_probs = made_log_probs(50)
    random = np.random.default_rng(0)
    candidates = [random.integers(1, VOCABULARY, size=n).tolist() for n in (0, 20, 3, 24, 1, 9)]
    expected = [
        -F.ctc_loss(
            log_probs[:, None].double(),
            torch.tensor([tokens], dtype=torch.int64),
            torch.tensor([50]),
            torch.tensor([len(tokens)]),
            reduction="sum",
        ).item()
        for tokens in candidates
    ]
    model = made_model()
    assert token_log_probs(model, log_probs, candidates) == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr(text_scores, "MAX_CELLS", 50 * 41 * 2)
    assert token_log_probs(model, log_probs, candidates) == pytest.approx(expected, rel=1e-12)


def test_a_search_at_full_width_finds_the_same() -> None:
    log_probs = made_log_probs(5)
    limits = BeamLimits(beam_size=200, beam_threshold=math.inf, token_threshold=-math.inf)
    found = BeamSearch(["<blank>", "a", "b"], limits=limits).decode_nbest(
        log_probs[None].numpy(), nbest=200
    )[0]
    possible = [y for y in prefixes_of(VOCABULARY, 5) if frames_needed(y) <= 5]
    assert {one.tokens for one in found} == set(possible)
    scores = token_log_probs(made_model(), log_probs, [one.tokens for one in found])
    assert scores == pytest.approx([one.acoustic_log_prob for one in found], abs=1e-4)


@pytest.mark.parametrize("joint", ["tanh", "additive"])
def test_a_transducer_by_its_loss(joint: str) -> None:
    """One candidate at a time, all logits at once; more tokens than frames are possible."""
    model = made_model(name="transducer", joint=joint, joint_size=5, prediction_size=4)
    size = VOCABULARY if joint == "additive" else 5
    encoded = torch.randn(3, size, generator=torch.Generator().manual_seed(2))
    expected = []
    for tokens in LABELLINGS:
        targets, count = torch.tensor([tokens], dtype=torch.int64), torch.tensor([len(tokens)])
        with torch.no_grad():
            logits = model.joint(encoded[None, :, None], model.predict(targets, count)[:, None])
        expected.append(-transducer_loss(logits, targets, torch.tensor([3]), count).item())
    assert token_log_probs(model, encoded, LABELLINGS) == pytest.approx(expected, abs=1e-5)
    assert NEVER not in expected


def test_without_frames_nothing_is_certain_to_be_said() -> None:
    nothing = torch.zeros(0, VOCABULARY)
    assert token_log_probs(made_model(), nothing, [[], [1]]) == [0.0, NEVER]


def test_a_label_of_probability_zero() -> None:
    log_probs = torch.tensor([[0.0, -math.inf, -math.inf]])
    assert token_log_probs(made_model(), log_probs, [[], [1]]) == [0.0, NEVER]


def test_scores_that_are_not_numbers() -> None:
    with pytest.raises(DataError, match="the network's scores are not numbers; is the model"):
        token_log_probs(made_model(), torch.full((2, VOCABULARY), math.nan), [[1]])


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> Recognizer:
    return load(trained / "run" / "best", device="cpu")


@pytest.fixture
def utterances(trained: Path) -> list[Utterance]:
    return read_manifest(trained / "data" / "test.jsonl")


def scorer_of(recognizer: Recognizer, **settings: str) -> TextScorer:
    return TextScorer(recognizer.model, recognizer.tokenizer, recognizer.device, **settings)  # type: ignore[arg-type]


def lists_of(utterances: list[Utterance], *texts: str) -> list[NbestList]:
    candidates = tuple(Candidate(text, {"score": float(-n)}) for n, text in enumerate(texts))
    return [NbestList(one.id, candidates) for one in reversed(utterances)]


def test_lists_get_the_scores_of_their_own_audio(
    recognizer: Recognizer, utterances: list[Utterance]
) -> None:
    """Whatever is said in an utterance is the most probable there; each runs alone as well."""
    said = [one.text for one in utterances]
    runs: list[int] = []
    hook = recognizer.model.register_forward_hook(lambda m, given, out: runs.append(len(given[0])))
    seen: list[tuple[int, int]] = []
    extended, unwritten = scorer_of(recognizer).with_scores(
        lists_of(utterances, *said), utterances, advance=lambda *done: seen.append(done)
    )
    hook.remove()
    assert sum(runs) == len(utterances), "the network runs once for each"
    assert seen[-1] == (4, 4)
    assert unwritten.line() == ""
    texts = {one.id: one.text for one in utterances}
    reader = AudioReader(recognizer.sample_rate, cache_bytes=0)
    audio = {one.id: reader.read(one) for one in utterances}
    for one in extended:
        best = max(one.candidates, key=lambda each: each.scores["recognizer"])
        assert best.text == texts[one.id]
        assert [each.scores["score"] for each in one.candidates] == [0, -1, -2, -3]
        waveform = torch.from_numpy(audio[one.id])[None]
        with torch.inference_mode():
            log_probs, _ = recognizer.model(waveform, torch.tensor([waveform.shape[1]]))
        tokens = [recognizer.tokenizer.encode(each.text) for each in one.candidates]
        expected = token_log_probs(recognizer.model, log_probs[0], tokens)
        assert [each.scores["recognizer"] for each in one.candidates] == pytest.approx(
            expected, rel=1e-4
        )


def test_what_cannot_be_written_is_counted(
    recognizer: Recognizer, utterances: list[Utterance]
) -> None:
    """BÉD has a foreign symbol; there are too few frames for 300 letters."""
    lists = lists_of(utterances[:1], "BED", "BÉD", "A" * 300, "ÉÖ")
    (one,), unwritten = scorer_of(recognizer).with_scores(lists, utterances[:1], name="r")
    scores = [each.scores["r"] for each in one.candidates]
    assert scores[1:] == [NEVER] * 3
    assert -5 < scores[0] < 0
    assert (unwritten.lacking, unwritten.too_long) == (2, 1)
    assert unwritten.line() == (
        "3 candidates cannot be written by it and are ranked last (2 with symbols that it lacks: "
        "'É' (2), 'Ö' (1); 1 with more tokens than the audio has frames for), such as "
        f"'{'A' * 300}' of 'test-000'"
    )
    alone = Unwritten(too_long=1, example=("A", "u"))
    assert (
        "are ranked last (1 with more tokens than the audio has frames for), such" in alone.line()
    )


def test_the_case_is_that_of_the_training(
    recognizer: Recognizer, utterances: list[Utterance]
) -> None:
    lists = lists_of(utterances, "bed", "Cab Face")
    message = (
        r"^exp/x: can write 0 of 8 candidates of the n-best lists, since it lacks symbols such as "
        r"\w, \w, \w, \w, \w; are they of another case or language\?$"
    )
    with pytest.raises(DataError, match=message):
        scorer_of(recognizer, source="exp/x").with_scores(lists, utterances)
    upper, _ = scorer_of(recognizer, case="upper").with_scores(lists, utterances)
    same, _ = scorer_of(recognizer).with_scores(lists_of(utterances, "BED", "CAB FACE"), utterances)
    for one, other in zip(upper, same, strict=True):
        assert [c.scores for c in one.candidates] == [c.scores for c in other.candidates]
        assert [c.text for c in one.candidates] == ["bed", "Cab Face"]


def test_lists_without_candidates_need_no_audio(
    recognizer: Recognizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    broken = Utterance(id="x", audio=tmp_path / "none.wav", duration=1.0, text="BED")
    empty = NbestList("x", (), "no audio")
    lists = [*lists_of(utterances[:1], "BED"), empty]
    extended, _ = scorer_of(recognizer).with_scores(lists, [utterances[0], broken])
    assert extended[1] == empty
    assert list(extended[0].candidates[0].scores) == ["score", "recognizer"]


def test_audio_that_cannot_be_read(
    recognizer: Recognizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    broken = Utterance(id="x", audio=tmp_path / "none.wav", duration=1.0, text="BED")
    message = r"^utterance 'x' has candidates but no audio to score them by: .*none.wav.*; mend it"
    with pytest.raises(DataError, match=message):
        scorer_of(recognizer).with_scores(lists_of([broken], "BED"), [broken])


def test_other_utterances(recognizer: Recognizer, utterances: list[Utterance]) -> None:
    message = "^the manifest: lacks 1 of the 4 utterances of the n-best lists: 'test-000'"
    with pytest.raises(DataError, match=message):
        scorer_of(recognizer).with_scores(lists_of(utterances, "BED"), utterances[1:])


def test_a_name_that_is_taken(recognizer: Recognizer, utterances: list[Utterance]) -> None:
    with pytest.raises(ConfigError, match="have a score 'score' already; give the new one another"):
        scorer_of(recognizer).with_scores(lists_of(utterances, "BED"), utterances, name="score")


def test_an_utterance_whose_scores_are_not_numbers_is_named(
    recognizer: Recognizer, utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((len(waveforms), 9, 7), math.nan), torch.full((len(waveforms),), 9)

    monkeypatch.setattr(recognizer.model, "forward", damaged)
    with pytest.raises(
        DataError, match=r"^utterance 'test-00\d': the network's scores are not num"
    ):
        scorer_of(recognizer).with_scores(lists_of(utterances, "BED"), utterances)
