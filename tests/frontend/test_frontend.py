"""The whole front end: exact for padded batches, for all its extractors."""

import contextlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asr.config import Config, ConfigError, parse
from asr.errors import DataError, ModelError
from asr.frontend.augment import SpecAugment
from asr.frontend.filter_bank import FilterBank, FilterBankConfig, LogMel, LogMelConfig
from asr.frontend.frontend import Extractor, Frontend, FrontendConfig
from asr.frontend.mfcc import Mfcc, MfccConfig
from asr.frontend.normalize import TrainingSetNormalization, UtteranceNormalization
from asr.frontend.spectrogram import Spectrogram, SpectrogramConfig

EXTRACTORS: dict[str, Callable[[], Extractor]] = {
    "spectrogram": Spectrogram,
    "power": lambda: Spectrogram(compress="none"),
    "log_mel": LogMel,
    "filter_bank": lambda: FilterBank(LogMel(num_mels=40, window_shape="hamming")),
    "mfcc": lambda: Mfcc(LogMel(num_mels=26, window_shape="hamming")),
}
LENGTHS = torch.tensor([4000, 3999, 1234, 400, 254, 100, 1, 0])

every_extractor = pytest.mark.parametrize("name", EXTRACTORS)


def frontend_of(name: str, *, stack: int = 1, spec_augment: SpecAugment | None = None) -> Frontend:
    return Frontend(
        EXTRACTORS[name](),
        normalization=UtteranceNormalization(),
        stack=stack,
        spec_augment=spec_augment,
    ).eval()


def waveforms_of(lengths: Tensor, seed: int = 0) -> Tensor:
    """(B, 4000) noise whose loudness changes; what lies beyond the lengths is noise too."""
    generator = torch.Generator().manual_seed(seed)
    loudness = torch.linspace(0.001, 0.3, 4000)
    return loudness * torch.randn(len(lengths), 4000, generator=generator)


@every_extractor
@pytest.mark.parametrize("stack", [1, 3])
def test_an_utterance_is_the_same_alone_and_in_a_batch(name: str, stack: int) -> None:
    frontend, waveforms = frontend_of(name, stack=stack), waveforms_of(LENGTHS)
    batch, batch_lengths = frontend(waveforms, LENGTHS)
    for index, samples in enumerate(LENGTHS.tolist()):
        alone, length = frontend(waveforms[index : index + 1, :samples], LENGTHS[index : index + 1])
        frames = int(length)
        assert frames == int(batch_lengths[index]) == alone.shape[1]
        # 2e-6 is the distance of float32 numbers at the logarithm of the least power.
        torch.testing.assert_close(batch[index, :frames], alone[0], atol=4e-6, rtol=0)
        assert torch.equal(batch[index, frames:], torch.zeros_like(batch[index, frames:]))


@every_extractor
@pytest.mark.parametrize("garbage", [1.0, 1e30, torch.inf, torch.nan])
def test_what_lies_in_the_padding_has_no_effect(name: str, garbage: float) -> None:
    frontend, waveforms = frontend_of(name, stack=2), waveforms_of(LENGTHS)
    expected, lengths = frontend(waveforms, LENGTHS)
    spoilt = waveforms.masked_fill(torch.arange(4000) >= LENGTHS[:, None], garbage)
    features, spoilt_lengths = frontend(spoilt, LENGTHS)
    assert torch.equal(features, expected)
    assert torch.equal(spoilt_lengths, lengths)


@every_extractor
def test_silence_is_exactly_zero(name: str) -> None:
    lengths = torch.tensor([16000, 7001, 500])
    features, feature_lengths = frontend_of(name)(torch.zeros(3, 16000), lengths)
    assert feature_lengths.min() > 0
    assert torch.equal(features, torch.zeros_like(features))


@every_extractor
@pytest.mark.parametrize(
    "waveform",
    [
        torch.full((1, 8000), 0.5),
        torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / 16000)[None],
        torch.sin(torch.arange(8000) / 5.0)[None].sign(),
        0.001 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0)),
        torch.eye(1, 8000),
    ],
    ids=["offset", "sine", "clipped", "faint noise", "click"],
)
def test_odd_signals_give_finite_features_and_gradients(name: str, waveform: Tensor) -> None:
    waveform = waveform.clone().requires_grad_()
    features, _ = frontend_of(name)(waveform, torch.tensor([8000]))
    assert torch.isfinite(features).all()
    features.square().sum().backward()
    assert waveform.grad is not None
    assert torch.isfinite(waveform.grad).all()


@every_extractor
def test_gradients_pass_a_padded_batch_with_silence_and_garbage(name: str) -> None:
    waveforms = waveforms_of(LENGTHS)
    waveforms[1] = 0
    waveforms = waveforms.masked_fill(torch.arange(4000) >= LENGTHS[:, None], torch.nan)
    waveforms.requires_grad_()
    features, _ = frontend_of(name)(waveforms, LENGTHS)
    (features * torch.randn_like(features)).sum().backward()
    assert waveforms.grad is not None
    assert torch.isfinite(waveforms.grad).all()
    assert waveforms.grad[0].abs().sum() > 0


@every_extractor
@pytest.mark.parametrize("stack", [1, 4])
def test_frames_are_counted_exactly(name: str, stack: int) -> None:
    frontend = frontend_of(name, stack=stack)
    lengths = torch.arange(2001)
    counted = frontend.num_frames(lengths)
    assert counted.tolist() == [frontend.num_frames_of(samples) for samples in range(2001)]
    some = torch.arange(0, 2001, 97)
    features, feature_lengths = frontend(torch.zeros(len(some), 2000), some)
    assert torch.equal(feature_lengths, counted[some])
    assert features.shape == (len(some), frontend.num_frames_of(2000), frontend.output_size)
    assert features.dtype == torch.float32


@every_extractor
def test_utterances_too_short_for_a_frame_have_no_frames(name: str) -> None:
    frontend = frontend_of(name, spec_augment=SpecAugment()).train()
    features, lengths = frontend(torch.ones(3, 100), torch.tensor([100, 1, 0]))
    assert features.shape == (3, 0, frontend.output_size)
    assert lengths.tolist() == [0, 0, 0]
    features, lengths = frontend(torch.ones(2, 0), torch.tensor([0, 0]))
    assert features.shape == (2, 0, frontend.output_size)


@every_extractor
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_reach_the_front_end(name: str, dtype: torch.dtype) -> None:
    frontend, waveforms = frontend_of(name, stack=2), waveforms_of(LENGTHS)
    expected, _ = frontend(waveforms, LENGTHS)
    with torch.autocast("cpu", dtype=dtype):
        features, _ = frontend(waveforms, LENGTHS)
    assert features.dtype == torch.float32
    assert torch.equal(features, expected)


@every_extractor
def test_no_step_leaves_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch refuses to mix devices, and "meta" is one that every machine has."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # lacks meta
    frontend = frontend_of(name, stack=2, spec_augment=SpecAugment()).train().to("meta")
    features, lengths = frontend(waveforms_of(LENGTHS).to("meta"), LENGTHS.to("meta"))
    assert features.device.type == lengths.device.type == "meta"
    assert features.shape == (8, frontend.num_frames_of(4000), frontend.output_size)


def test_masks_come_only_in_training_and_after_normalisation() -> None:
    masks = SpecAugment(time_masks=1, time_mask_fraction=0.5, frequency_masks=0)
    frontend, waveforms = frontend_of("log_mel", spec_augment=masks), waveforms_of(LENGTHS)
    plain, _ = frontend_of("log_mel")(waveforms, LENGTHS)
    assert torch.equal(frontend(waveforms, LENGTHS)[0], plain)
    frontend.train()
    torch.manual_seed(0)
    masked, _ = frontend(waveforms, LENGTHS)
    hidden = (masked == 0) & (plain != 0)
    assert hidden.any()
    assert torch.equal(masked, plain.masked_fill(hidden, 0.0))


def test_derivatives_are_masked_with_their_frequencies() -> None:
    masks = SpecAugment(time_masks=0, frequency_masks=1, frequency_mask_bins=30)
    frontend = frontend_of("filter_bank", spec_augment=masks).train()
    torch.manual_seed(0)
    features, _ = frontend(waveforms_of(LENGTHS[:1]), LENGTHS[:1])
    statics, first, second = ((block == 0).all(dim=1) for block in features.split(41, dim=2))
    assert statics.any()
    assert torch.equal(statics, first)
    assert torch.equal(statics, second)


def test_without_normalisation_the_features_are_the_extractors() -> None:
    extractor, waveforms = LogMel(), waveforms_of(LENGTHS)
    frontend = Frontend(extractor, normalization=None)
    assert torch.equal(frontend(waveforms, LENGTHS)[0], extractor(waveforms, LENGTHS)[0])
    assert torch.equal(frontend.extract(waveforms, LENGTHS)[0], extractor(waveforms, LENGTHS)[0])


def test_normalisation_over_the_training_set_is_estimated_batch_by_batch() -> None:
    frontend = Frontend(LogMel(), normalization=TrainingSetNormalization(80), stack=2)
    waveforms = waveforms_of(LENGTHS)
    assert frontend.needs_statistics()
    with pytest.raises(ModelError, match="no mean and variance of its training set"):
        frontend(waveforms, LENGTHS)
    frontend.estimate_normalization(
        [(waveforms[:2], LENGTHS[:2]), (waveforms[2:3], LENGTHS[2:3]), (waveforms[3:], LENGTHS[3:])]
    )
    assert not frontend.needs_statistics()
    features, lengths = frontend.extract(waveforms, LENGTHS)
    frames = torch.cat([values[:n] for values, n in zip(features, lengths, strict=True)])
    assert isinstance(frontend.normalization, TrainingSetNormalization)
    torch.testing.assert_close(frontend.normalization.mean, frames.mean(dim=0))
    torch.testing.assert_close(frontend.normalization.std, frames.std(dim=0, correction=0))
    copy = Frontend(LogMel(), normalization=TrainingSetNormalization(80), stack=2)
    copy.load_state_dict(frontend.state_dict())
    assert torch.equal(copy(waveforms, LENGTHS)[0], frontend(waveforms, LENGTHS)[0])
    assert list(frontend.state_dict()) == ["normalization.mean", "normalization.std"]


def test_a_training_set_without_a_frame_is_refused() -> None:
    frontend = Frontend(LogMel(), normalization=TrainingSetNormalization(80))
    with pytest.raises(DataError, match="every utterance is shorter than one analysis window"):
        frontend.estimate_normalization([(torch.ones(1, 10), torch.tensor([10]))])


def test_only_the_training_set_is_estimated() -> None:
    frontend = frontend_of("log_mel")
    assert not frontend.needs_statistics()
    with pytest.raises(TypeError, match="does not normalise over the training set"):
        frontend.estimate_normalization([])


def test_sizes_and_times() -> None:
    frontend = frontend_of("log_mel", stack=3)
    assert (frontend.sample_rate, frontend.output_size) == (16000, 240)
    assert frontend.frame_seconds == pytest.approx(0.03)
    assert frontend_of("spectrogram").frame_seconds == pytest.approx(127 / 16000)
    odd = Frontend(LogMel(sample_rate=11025), normalization=None)
    assert odd.frame_seconds == 110 / 11025


def test_wrong_arguments_are_named() -> None:
    frontend, lengths = frontend_of("log_mel"), torch.tensor([10, 10])
    with pytest.raises(TypeError, match=r"floating point in -1 … 1, got torch.int16"):
        frontend(torch.zeros(2, 10, dtype=torch.int16), lengths)
    with pytest.raises(ValueError, match=r"waveforms must be \(B, N\) .* got \(20,\) and \(2,\)"):
        frontend(torch.zeros(20), lengths)
    with pytest.raises(ValueError, match=r"got \(3, 10\) and \(2,\)"):
        frontend(torch.zeros(3, 10), lengths)
    with pytest.raises(ValueError, match=r"waveform_lengths must be in 0 … 9, got 10 … 10"):
        frontend(torch.zeros(2, 9), lengths)
    with pytest.raises(ValueError, match=r"must be in 0 … 10, got -1 … 10"):
        frontend(torch.zeros(2, 10), torch.tensor([-1, 10]))
    with pytest.raises(ValueError, match="stack must be at least 1, got 0"):
        Frontend(LogMel(), normalization=None, stack=0)


class Recipe(Config):
    frontend: FrontendConfig


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("spectrogram", SpectrogramConfig),
        ("log_mel", LogMelConfig),
        ("filter_bank", FilterBankConfig),
        ("mfcc", MfccConfig),
    ],
)
def test_the_name_chooses_the_config(name: str, kind: type[Config]) -> None:
    config = parse(Recipe, {"frontend": {"name": name, "stack": 3}}, "recipe.toml").frontend
    assert type(config) is kind
    assert (config.sample_rate, config.stack, config.normalize) == (16000, 3, "utterance")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"name": "log_mel", "num_mel": 40},
            "unknown key 'frontend.num_mel'; did you mean 'num_mels'",
        ),
        (
            {"name": "log_mel", "normalize": "all"},
            "'frontend.normalize' must be 'utterance', 'train",
        ),
        (
            {"name": "fbank"},
            "'frontend.name' must be one of 'spectrogram', 'log_mel', 'filter_bank'",
        ),
        (
            {"name": "log_mel", "high_frequency": 9000},
            r"'frontend.high_frequency' must be above low_frequency \(20\) and at most 8000 Hz",
        ),
        (
            {"name": "mfcc", "low_frequency": 300, "high_frequency": 200},
            r"'frontend.high_frequency' must be above low_frequency \(300\)",
        ),
        ({"name": "mfcc", "num_cepstra": 27}, r"'frontend.num_cepstra' must be at most num_mels"),
    ],
)
def test_config_says_what_is_wrong(section: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(Recipe, {"frontend": section}, "recipe.toml")
