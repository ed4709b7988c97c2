"""One sample made again from its record, and compared with it to the byte.

Nothing is drawn: the recorded edits, style and seeds are applied as they stand in the manifest. A painted case of a
NIfTI run is written as its files; one of an HDF5 run into an HDF5 file apart, whose content (every block of voxels,
affine and recipe) is compared with the recorded checksum, since a shard's bytes depend on its other cases.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from synth import __version__
from synth.brats import NAMINGS
from synth.case import Case
from synth.datasets.case_files import QUARANTINE
from synth.datasets.members import CASE, LAYOUT, SEGMENTATION
from synth.datasets.reading import Reading
from synth.datasets.sets import CaseSet, open_set
from synth.disk.claim import REPLAY, claim
from synth.disk.files import case_path, make_folder
from synth.disk.manifest import LIBRARIES, MANIFEST, RUN, read_entries, read_run
from synth.disk.objects import COPY_FIRST, refuse_address
from synth.disk.run_schemas import DRAWN, PAINTED
from synth.errors import DataError, ModelError, OutputError, SynthError
from synth.exporters.deflate import COMPRESSOR
from synth.exporters.nifti import PROVENANCE, nifti_bytes
from synth.hosts.inputs import Input, extracted, find_inputs
from synth.hosts.sources import Sources, data_sources, embedded_sources
from synth.layout.sampling.recipe import LayoutRecipe
from synth.layout.sampling.sampler import LayoutSampler
from synth.models.cards import model_hash, read_card, sees_detail
from synth.runs.comparison import Replayed, compared, recorded_or_own
from synth.runs.export.formats import open_output, refuse_others
from synth.runs.generate import GenerateConfig, Generation
from synth.runs.layouts import FORMAT, write_layout
from synth.runs.recipe import SampleRecipe
from synth.style.prior import shipped_style_prior
from synth.style.style import Style

NOT_MADE = ("files", "gate", "from_host")  # what a record says of a case after it was made


def replay(
    manifest: str | Path,
    ids: Sequence[str],
    out: str | Path,
    *,
    data: Sequence[str | Path | CaseSet] = (),
    model: str | Path | None = None,
    layout_only: bool = False,
    force: bool = False,
    progress: Callable[[Iterable], Iterable] = iter,
) -> list[Replayed]:
    """Make samples of a run again below `out` and compare them with the manifest.

    Args:
        manifest: the run's folder or its `manifest.jsonl`; `run.json` must lie beside it.
        ids: which samples, by id (`Synth_00003`) or number (`3`).
        out: a folder that does not exist or is empty, unless `force`.
        data: for a run that used data: the cases or layouts it used (several folders are searched in turn). None
            given: the layouts kept beside the run (`<run>-layouts`), where they are.
        model: for a run of a model that is not shipped: the model's folder.
        layout_only: no painting: write the layout; of a NIfTI run the labels are compared.
        force: replace these samples in a folder that is not empty.
        progress: wraps the records while they are made (`tqdm`).

    Raises:
        OutputError: there is no such run, or `out` cannot be written to.
        DataError: an id is not in the manifest, or the data do not hold a host or donor.
        ModelError: the model is another one than the run's.

    Example:
        >>> replay("synthetic", ["Synth_00003"], "again")  # doctest: +SKIP
        [Replayed(id='Synth_00003', compared=5, differing=(), reason='')]
    """
    folder, out = _folder(manifest), Path(out)
    run = read_run(folder)
    records = _chosen(folder, ids)
    _check(folder, run, records)
    claim(out, REPLAY, force=force, apart=("the run", folder))
    layouts = layout_only or run.get("format") == FORMAT
    detail = any(map(_detailed, records)) if layouts else _painted_with_detail(run, model)
    sources = _sources(run, records, folder, [_as_read(run, path) for path in data], detail)
    if layouts:
        make = _layouts(run, sources, folder, out)
        make_folder(out)
        written = [make(record) for record in progress(records)]
    else:
        refuse_others(run, [record["id"] for record in records], out)
        paint = _painted(run, sources, model)
        make_folder(out)
        with open_output(run, out) as exporter:  # one for all: some write tables of their cases when they are closed
            written = [exporter.write(paint(record)) for record in progress(records)]
    reason = partial(_reason, run, sources)
    return [compared(record, files, folder, out, reason) for record, files in zip(records, written, strict=True)]


def _detailed(record: dict) -> bool:
    """Whether a layout was written with detail."""
    return any(name.endswith("_wm.nii.gz") for name in record["files"])


def _painted_with_detail(run: dict, model: str | Path | None) -> bool:
    """Whether the generator sees detail; a model that is not there is refused later, when all else is known."""
    try:
        return sees_detail(read_card(model or run["model"]["name"]))
    except (ModelError, KeyError, TypeError):
        return False


def _folder(manifest: str | Path) -> Path:
    refuse_address(manifest, OutputError, COPY_FIRST)
    path = Path(manifest)
    folder = path.parent if path.name == MANIFEST else path
    if not (folder / MANIFEST).is_file():
        raise OutputError(f"{path}: expected the folder of a run or its {MANIFEST}, found neither; check the path.")
    return folder


def _chosen(folder: Path, ids: Sequence[str]) -> list[dict]:
    """The records of the ids, in their order, each once."""
    records = read_entries(folder)
    known = {str(record["index"]): record for record in records}
    known |= {record["id"]: record for record in records if isinstance(record.get("id"), str)}
    missing = [name for name in ids if name not in known]
    if missing or not ids:
        first, last = (records[0].get("id"), records[-1].get("id")) if records else ("none", "none")
        raise DataError(
            f"{folder / MANIFEST}: no sample {', '.join(missing) or '(no id given)'}; it has {len(records)} samples, "
            f"{first} to {last}."
        )
    return list({known[name]["index"]: known[name] for name in ids}.values())


def _check(folder: Path, run: dict, records: list[dict]) -> None:
    """Refuse settings and records that no sample can be made from, before anything is written."""
    try:
        (DRAWN if run.get("format") == FORMAT else PAINTED).check(run)
    except ValueError as error:
        raise DataError(f"{folder / RUN}: {error}; restore the file.") from error
    for record in records:
        try:
            case_path(folder, record["id"])
            LayoutRecipe.from_dict(record)
            names = [record["host"], *([] if record["donor"] is None else [record["donor"]])]
            if not all(isinstance(name, str) for name in (*names, *record["files"].values())):
                raise TypeError("host, donor and checksums are texts")
            if "style" in record:
                SampleRecipe.from_dict(record)
            elif run.get("format") != FORMAT:
                raise KeyError("style")
        except (SynthError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{folder / MANIFEST}: the record of sample {record['index']} is damaged ({error}); restore the file."
            ) from error


def _as_read(run: dict, path: str | Path | CaseSet) -> CaseSet:
    """The data, understood as the run understood them."""
    return path if isinstance(path, CaseSet) else open_set(path, reading=Reading(**run.get("reading", {})))


def _embedded(run: dict) -> bool:
    """Whether a run used no data; those of earlier versions then say at each brain why it cannot be had again."""
    return str(run.get("sources")).startswith("embedded")


def _sources(run: dict, records: list[dict], folder: Path, data: list[CaseSet], detail: bool) -> Sources:
    """What the recorded hosts and donors are read from."""
    if _embedded(run):
        if data:
            raise DataError("this run used the embedded anatomies and no data; leave --data out.")
        return embedded_sources()
    owner = folder.resolve()
    owner = owner.parent if owner.name == QUARANTINE else owner
    kept = owner.parent / f"{owner.name}-layouts"
    if not data and not kept.is_dir():
        raise DataError(
            f"{folder}: the run used data ({run.get('sources') or run.get('inputs')}); give the cases or layouts it "
            "was made from with --data."
        )
    wanted = {name for record in records for name in (record["host"], record["donor"]) if name is not None}
    known: dict[str, Input] = {}
    sets = data or [_as_read(run, kept)]
    for path in sets:
        known |= {given.id: given for given in find_inputs(path) if given.id in wanted and given.id not in known}
        if known.keys() >= wanted:
            break
    missing = sorted(wanted - known.keys())
    if missing:
        where = ", ".join(map(str, sets))
        raise DataError(f"{where}: the recorded sample needs {', '.join(missing)}, which is not there; give its data.")
    return Sources([_usable(given, detail) for given in known.values()], None, shipped_style_prior, _name(sets))


def _usable(given: Input, detail: bool) -> Input:
    if given.kind == SEGMENTATION:
        raise DataError(
            f"{given.path}: {given.id} is a {given.kind} without tissue; give the whole case or its layout."
        )
    return extracted(given, detail=detail) if given.kind == CASE else given


def _name(paths: list[CaseSet]) -> str:
    """What a run of these sources would call them, if that can be told without extracting anything."""
    try:
        is_layouts = find_inputs(paths[0])[0].kind == LAYOUT
        return data_sources(paths[0], paths[0].path)[0].name if is_layouts and len(paths) == 1 else ""
    except SynthError:
        return ""


def _layouts(run: dict, sources: Sources, folder: Path, out: Path) -> Callable[[dict], dict[str, str]]:
    """A function that writes a record's layout; returns what can be compared, by recorded name."""
    sampler = LayoutSampler(sources.hosts, "none", int(run["seed"]))
    known = [] if _embedded(run) else sources.hosts
    styles = {source.id: source for source in known if isinstance(source, Input)}

    def make(record: dict) -> dict[str, str]:
        layout = sampler.replay(LayoutRecipe.from_dict(record), detail=_detailed(record)).named(record["id"])
        style = Style.from_dict(record["style"]) if "style" in record else styles[record["host"]].style()
        files = write_layout(layout, out, style)
        if run.get("format") == FORMAT:
            return files
        naming = NAMINGS[run["naming"]]
        name = f"{record['id']}/{naming.stem(record['id'], 'seg')}.nii.gz"
        if name not in record["files"]:
            return {}
        labels = nifti_bytes(naming.to_disk(layout.tumour), layout.affine, note=PROVENANCE)
        return {name: recorded_or_own(record["files"][name], folder / name, labels)}

    return make


def _painted(run: dict, sources: Sources, model: str | Path | None) -> Callable[[dict], Case]:
    """A function that paints a record's case."""
    from synth.models.runtime import repeatable

    _check_model(run, model)
    # the recipe is recorded: neither edits nor styles are drawn
    repeatable()
    config = GenerateConfig(seed=run["seed"], format=run["format"], naming=run["naming"], edits="none", style="sampled")
    generation = Generation(sources, model or run["model"]["name"], config)

    def paint(record: dict) -> Case:
        recipe = SampleRecipe.from_dict(record)
        layout = generation.sampler.replay(recipe.layout, detail=generation.sees_detail)
        case = generation.paint(layout, recipe)
        meta = {key: value for key, value in record.items() if key not in NOT_MADE}
        return replace(case, id=record["id"], meta=meta)

    return paint


def _check_model(run: dict, model: str | Path | None) -> None:
    recorded = run["model"]
    try:
        present = model_hash(read_card(model or recorded["name"]))
    except ModelError as error:
        if model is not None:
            raise
        raise ModelError(
            f"the run's model {recorded['name']!r} is not shipped; give its folder with --model."
        ) from error
    if present != recorded["hash"]:
        raise ModelError(
            f"the run was painted by the model {recorded['name']!r} with hash {recorded['hash']}, this one has "
            f"{present}; give the run's own model with --model, or --layout-only."
        )


def _reason(run: dict, sources: Sources, differing: tuple[str, ...]) -> str:
    if run.get("synth") != __version__:
        return f"the run was made by synth {run.get('synth')}, this is {__version__}."
    if sources.name and run.get("sources") and sources.name != run["sources"]:
        return f"the data are not those of the run ({run['sources']}, now {sources.name})."
    naming = NAMINGS.get(run.get("naming", ""), NAMINGS["brats2020"])
    labels = f"{naming.separator}seg.nii.gz"
    if run.get("format") == "nifti" and not any(name.endswith(labels) for name in differing):
        from synth.models.runtime import FLOAT32, kernels, precision

        if (recorded := run["model"].get("kernels")) not in (None, kernels()):
            return f"the labels are equal; it was painted with the kernels of {recorded}, here {kernels()} ran."
        if (recorded := run["model"].get("precision", FLOAT32)) != precision():
            return f"the labels are equal; it was painted in {recorded}, here in {precision()}."
        others = _other_libraries(run) or "by another kind of CPU or other versions of the libraries"
        return f"the labels are equal, so it was painted {others}; intensities should be within one step."
    if others := _other_libraries(run):
        return f"it was made {others}."
    if _embedded(run):
        return "the recipe gives other bytes here: other versions of the libraries, or a changed installation."
    return "the data may have changed since, or the versions of the libraries."


def _other_libraries(run: dict) -> str:
    """With which libraries a run was made, of those that are others here; "" where none is, or it does not say."""
    if not (recorded := run.get(LIBRARIES)):
        return ""
    from synth.models.runtime import versions

    here = {**versions(), "compressor": COMPRESSOR}
    others = [name for name in here if recorded.get(name, here[name]) != here[name]]
    return ", ".join(f"with {name} {recorded[name]}, here {here[name]}" for name in others)
