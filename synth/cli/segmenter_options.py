"""What the options of `synth train segmenter` stand for."""

from dataclasses import replace


def training_of(
    *,
    data,
    synthetic,
    synthetic_share,
    fresh_share,
    fresh_from,
    generator,
    val,
    arch,
    width,
    deep_supervision,
    loss,
    alpha,
    beta,
    patch,
    augment,
    out,
    quiet,
    reading,
    **train,
):
    """Settings, mix of cases and validation cases; the library's defaults stand where nothing was said."""
    from synth.cli.options import chosen_sources, given, opened_as_real
    from synth.trainers.segmentation.mix import TrainingMix, real_cases, sources_of_training
    from synth.trainers.segmentation.training import SegmenterTraining

    config = SegmenterTraining.of(arch, **given(width=width), deep_supervision=deep_supervision)
    config = replace(
        config,
        train=replace(config.train, **given(**train)),
        loss=replace(config.loss, **given(overlap=loss, alpha=alpha, beta=beta)),
        patch=replace(config.patch, **given(size=patch)),
    )
    if augment is not None:
        kinds = () if augment == "none" else tuple(part.strip() for part in augment.split(","))
        beyond = {"contrast": 0.0, "shading": 0.0} if augment == "none" else {}
        config = replace(config, augment=replace(config.augment, kinds=kinds, **beyond))
    real, painted = sources_of_training([opened_as_real(folder, reading) for folder in data], synthetic)
    if synthetic_share is None:
        synthetic_share = 0.0 if not painted else (1.0 - fresh_share) * (0.5 if real else 1.0)
    fresh = chosen_sources(fresh_from, None, f"{out}-fresh", quiet, reading) if fresh_share else None
    mix = TrainingMix(real, painted, fresh, synthetic_share, fresh_share, generator, synthetic)
    return config, mix, real_cases(opened_as_real(val, reading)) if val is not None else []
