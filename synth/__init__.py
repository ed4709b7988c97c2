"""synth: synthetic brain-tumour MRI with exact labels.

Label layouts (tissue and tumour) are edited and painted into the four BraTS modalities. What most scripts need is here,
imported when it is first asked for (`import synth` itself costs nothing):

- read: `open_set`, `Case`, `CaseSet`, `find_inputs`, `Layout`, `load_layout`, `Style`
- make: `generate`, `Generation`, `GenerateConfig`, `embedded_sources`, `data_sources`, `replay`
- train on data that never repeat: `layouts`, `dataset`
- edit: `Edit`, `edit_from_dict`, `EditPolicy`, `save_layout`, `show_layouts`
- networks: `load_generator`, `load_segmenter`, `segment`, `reconstruct`
- extend: `register_edit`, `register_exporter`, `register_generator`
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth.case import Case
    from synth.datasets.layout_files import load_layout, save_layout
    from synth.datasets.sets import CaseSet, open_set
    from synth.errors import SynthError
    from synth.exporters import register as register_exporter
    from synth.hosts.inputs import find_inputs
    from synth.hosts.sources import data_sources, embedded_sources
    from synth.layout.edits.edit import Edit, edit_from_dict
    from synth.layout.edits.edit import register as register_edit
    from synth.layout.layout import Layout
    from synth.models.architectures import register_generator
    from synth.models.ensembles import load_segmenter
    from synth.models.weights import load_generator
    from synth.runs.generate import GenerateConfig, Generation, generate
    from synth.runs.reconstruct import reconstruct
    from synth.runs.replay import replay
    from synth.runs.segment import segment
    from synth.runs.stream import dataset, layouts
    from synth.show.layouts import show_layouts
    from synth.style.style import Style

__version__ = "0.1.0"

_HOMES = {  # public name -> module, or module:name where it has another name there
    "Case": "case",
    "CaseSet": "datasets.sets",
    "Edit": "layout.edits.edit",
    "GenerateConfig": "runs.generate",
    "Generation": "runs.generate",
    "Layout": "layout.layout",
    "Style": "style.style",
    "SynthError": "errors",
    "data_sources": "hosts.sources",
    "dataset": "runs.stream",
    "edit_from_dict": "layout.edits.edit",
    "embedded_sources": "hosts.sources",
    "find_inputs": "hosts.inputs",
    "generate": "runs.generate",
    "layouts": "runs.stream",
    "load_generator": "models.weights",
    "load_layout": "datasets.layout_files",
    "load_segmenter": "models.ensembles",
    "open_set": "datasets.sets",
    "reconstruct": "runs.reconstruct",
    "register_edit": "layout.edits.edit:register",
    "register_exporter": "exporters:register",
    "register_generator": "models.architectures",
    "replay": "runs.replay",
    "save_layout": "datasets.layout_files",
    "segment": "runs.segment",
    "show_layouts": "show.layouts",
}
__all__ = [
    "Case",
    "CaseSet",
    "Edit",
    "GenerateConfig",
    "Generation",
    "Layout",
    "Style",
    "SynthError",
    "__version__",
    "data_sources",
    "dataset",
    "edit_from_dict",
    "embedded_sources",
    "find_inputs",
    "generate",
    "layouts",
    "load_generator",
    "load_layout",
    "load_segmenter",
    "open_set",
    "reconstruct",
    "register_edit",
    "register_exporter",
    "register_generator",
    "replay",
    "save_layout",
    "segment",
    "show_layouts",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute or name)


def __dir__() -> list[str]:
    """What there is, public names included."""
    return sorted({*globals(), *__all__})
