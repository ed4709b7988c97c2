"""synth: synthetic brain-tumour MRI with exact labels.

Label layouts (tissue and tumour) are edited and painted into the four BraTS modalities. What most scripts need is here,
imported when it is first asked for (`import synth` itself costs nothing):

- read: `open_set` (with `Reading`), `open_hdf5`, `Case`, `CaseSet`, `find_inputs`, `Layout`, `load_layout`, `Style`
- make: `generate`, `Generation`, `GenerateConfig`, `Gate`, `embedded_sources`, `data_sources`, `replay`
- hand on: `export` (with `ExportOptions`)
- train on data that never repeat: `layouts`, `dataset`; with PyTorch: `torch_stream`, and `torch_dataset` on any set
- layouts: `sample_layouts`, `edit_layouts`, `Edit`, `edit_from_dict`, `EditPolicy`, `policy_of`, `save_layout`,
  `show_layouts`
- networks: `load_generator`, `load_segmenter`, `segment`, `reconstruct`
- judge: `write_report`, `ReportConfig`
- extend: `register_edit` (with `Outcome`), `register_exporter` (`Exporter` says what one is), `register_generator`

Every error that is raised on purpose is a `SynthError`.
"""

import os
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth.case import Case
    from synth.datasets.layout_files import load_layout, save_layout
    from synth.datasets.reading import Reading
    from synth.datasets.sets import CaseSet, open_set
    from synth.errors import SynthError
    from synth.exporters import Exporter
    from synth.exporters import register as register_exporter
    from synth.exporters.hdf5_cases import open_cases as open_hdf5
    from synth.hosts.inputs import find_inputs
    from synth.hosts.sources import data_sources, embedded_sources
    from synth.layout.edits.edit import Edit, Outcome, edit_from_dict
    from synth.layout.edits.edit import register as register_edit
    from synth.layout.edits.policy import EditPolicy
    from synth.layout.edits.presets import policy_of
    from synth.layout.layout import Layout
    from synth.models.architectures import register_generator
    from synth.models.ensembles import load_segmenter
    from synth.models.weights import load_generator
    from synth.report.core.config import ReportConfig
    from synth.report.run import report as write_report
    from synth.runs.export.run import export
    from synth.runs.export.target import Options as ExportOptions
    from synth.runs.gate import Gate
    from synth.runs.generate import GenerateConfig, Generation, generate
    from synth.runs.layouts import edit_layouts, sample_layouts
    from synth.runs.reconstruct import reconstruct
    from synth.runs.replay import replay
    from synth.runs.segment import segment
    from synth.runs.stream import dataset, layouts
    from synth.runs.torch_data import torch_dataset, torch_stream
    from synth.show.layouts import show_layouts
    from synth.style.style import Style

__version__ = "0.1.0"

# before TensorFlow is imported: it takes oneDNN by itself on processors with VNNI alone; elsewhere training would last
# up to six times as long and painting up to twice (docs/decisions.md); who has set it knows why
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# oneDNN keeps a pool of all it ever held, over a gibibyte after the first brain; the system's allocator gives it back
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")

_HOMES = {  # public name -> module, or module:name where it has another name there
    "Case": "case",
    "CaseSet": "datasets.sets",
    "Edit": "layout.edits.edit",
    "EditPolicy": "layout.edits.policy",
    "ExportOptions": "runs.export.target:Options",
    "Exporter": "exporters",
    "Gate": "runs.gate",
    "GenerateConfig": "runs.generate",
    "Generation": "runs.generate",
    "Layout": "layout.layout",
    "Outcome": "layout.edits.edit",
    "Reading": "datasets.reading",
    "ReportConfig": "report.core.config",
    "Style": "style.style",
    "SynthError": "errors",
    "data_sources": "hosts.sources",
    "dataset": "runs.stream",
    "edit_from_dict": "layout.edits.edit",
    "edit_layouts": "runs.layouts",
    "embedded_sources": "hosts.sources",
    "export": "runs.export.run",
    "find_inputs": "hosts.inputs",
    "generate": "runs.generate",
    "layouts": "runs.stream",
    "load_generator": "models.weights",
    "load_layout": "datasets.layout_files",
    "load_segmenter": "models.ensembles",
    "open_hdf5": "exporters.hdf5_cases:open_cases",
    "open_set": "datasets.sets",
    "policy_of": "layout.edits.presets",
    "reconstruct": "runs.reconstruct",
    "register_edit": "layout.edits.edit:register",
    "register_exporter": "exporters:register",
    "register_generator": "models.architectures",
    "replay": "runs.replay",
    "sample_layouts": "runs.layouts",
    "save_layout": "datasets.layout_files",
    "segment": "runs.segment",
    "show_layouts": "show.layouts",
    "torch_dataset": "runs.torch_data",
    "torch_stream": "runs.torch_data",
    "write_report": "report.run:report",
}
__all__ = [
    "Case",
    "CaseSet",
    "Edit",
    "EditPolicy",
    "ExportOptions",
    "Exporter",
    "Gate",
    "GenerateConfig",
    "Generation",
    "Layout",
    "Outcome",
    "Reading",
    "ReportConfig",
    "Style",
    "SynthError",
    "__version__",
    "data_sources",
    "dataset",
    "edit_from_dict",
    "edit_layouts",
    "embedded_sources",
    "export",
    "find_inputs",
    "generate",
    "layouts",
    "load_generator",
    "load_layout",
    "load_segmenter",
    "open_hdf5",
    "open_set",
    "policy_of",
    "reconstruct",
    "register_edit",
    "register_exporter",
    "register_generator",
    "replay",
    "sample_layouts",
    "save_layout",
    "segment",
    "show_layouts",
    "torch_dataset",
    "torch_stream",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        alike = get_close_matches(name, __all__, 1)
        hint = f"; did you mean {alike[0]!r}?" if alike else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute or name)


def __dir__() -> list[str]:
    """What there is, public names included."""
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
