"""From the sections `[frontend]` and `[augment]` of a recipe to a front end."""

from asr.frontend.augment import AugmentConfig, SpecAugment
from asr.frontend.filter_bank import FilterBank, FilterBankConfig, LogMel, MelConfig, WindowShape
from asr.frontend.frontend import Extractor, Frontend, FrontendConfig
from asr.frontend.mfcc import Mfcc, MfccConfig
from asr.frontend.normalize import TrainingSetNormalization, UtteranceNormalization
from asr.frontend.spectrogram import Spectrogram, SpectrogramConfig


def build_frontend(config: FrontendConfig, augment: AugmentConfig) -> Frontend:
    """The front end of a recipe."""
    extractor = _extractor(config)
    normalization: UtteranceNormalization | TrainingSetNormalization | None = None
    if config.normalize == "utterance":
        normalization = UtteranceNormalization()
    elif config.normalize == "training_set":
        normalization = TrainingSetNormalization(extractor.num_bins)
    masks = None
    if augment.time_masks or augment.frequency_masks or augment.input_noise:
        masks = SpecAugment(
            time_masks=augment.time_masks,
            time_mask_frames=augment.time_mask_frames,
            time_mask_fraction=augment.time_mask_fraction,
            frequency_masks=augment.frequency_masks,
            frequency_mask_bins=augment.frequency_mask_bins,
            input_noise=augment.input_noise,
        )
    return Frontend(extractor, normalization=normalization, stack=config.stack, spec_augment=masks)


def _extractor(config: FrontendConfig) -> Extractor:
    if isinstance(config, SpectrogramConfig):
        return Spectrogram(
            sample_rate=config.sample_rate,
            window=config.window_samples,
            hop=config.hop_samples,
            compress=config.compress,
        )
    if isinstance(config, FilterBankConfig):
        mel = _mel(config, config.num_mels, "hamming")
        return FilterBank(mel, preemphasis=config.preemphasis, deltas=config.deltas)
    if isinstance(config, MfccConfig):
        return Mfcc(
            _mel(config, config.num_mels, "hamming"),
            preemphasis=config.preemphasis,
            num_cepstra=config.num_cepstra,
            deltas=config.deltas,
        )
    return _mel(config, config.num_mels, "hann")


def _mel(config: MelConfig, num_mels: int, window_shape: WindowShape) -> LogMel:
    return LogMel(
        sample_rate=config.sample_rate,
        num_mels=num_mels,
        window_seconds=config.window_seconds,
        hop_seconds=config.hop_seconds,
        low_frequency=config.low_frequency,
        high_frequency=config.high_frequency,
        window_shape=window_shape,
    )
