"""Layouts: what is to be painted, where it comes from, and what can be done to it.

`layout` holds the Layout, `tissue` and `extract` find it in scans, `atlas`, `anatomy` and `shapes` make it without;
`edits` change it (by an `edits.recipe`), `law` judges it, `sampler` draws endless lawful ones, as a `plan` wants them
if there is one; `facts` says what a tumour is like. Names are imported when first used, so that
`import synth.layout` costs nothing.
"""

from importlib import import_module

_HOMES = {
    "Layout": "layout",
    "load_layout": "layout",
    "save_layout": "layout",
    "EDITS": "edits",
    "PRESETS": "edits.presets",
    "edit_from_dict": "edits",
    "Recipe": "edits.recipe",
    "Plan": "plan",
    "TumourFacts": "facts",
    "describe": "facts",
    "LayoutFacts": "law",
    "measure": "law",
    "violations": "law",
    "LayoutRecipe": "sampler",
    "LayoutSampler": "sampler",
    "FolderSource": "sampler",
    "MemorySource": "sampler",
    "folder_sources": "sampler",
    "AtlasAnatomies": "anatomy",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
