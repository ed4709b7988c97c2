"""synth: synthetic brain-tumour MRI with exact labels.

Label layouts (tissue and tumour) are edited and painted into the four BraTS modalities. For training on data that never
repeat: `synth.layouts` (endless lawful layouts) and `synth.dataset` (a `tf.data.Dataset` of painted pairs or patches).
"""

from importlib import import_module

__version__ = "0.1.0"

_STREAMS = ("layouts", "dataset")
__all__ = ["__version__", *_STREAMS]


def __getattr__(name: str):
    """Import a stream when it is first asked for: `import synth` itself costs nothing."""
    if name not in _STREAMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.runs.stream"), name)


def __dir__() -> list[str]:
    """What there is, streams included."""
    return sorted({*globals(), *_STREAMS})
