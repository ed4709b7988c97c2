"""A stranger's edit, format and architecture, from outside the package, through the public `register_...` alone."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from phantoms import SHAPE, phantom_sources

import synth
from synth.brats import MODALITIES, NAMINGS
from synth.cli import main
from synth.exporters import EXPORTERS
from synth.layout.edits import EDITS, Outcome
from synth.models.architectures import GENERATORS


@pytest.fixture(autouse=True)
def registries():
    """Leave the registries as they were."""
    before = [(table, dict(table)) for table in (EDITS, EXPORTERS, GENERATORS)]
    yield
    for table, entries in before:
        table.clear()
        table.update(entries)


# --- an edit ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Necrotic(synth.Edit):
    """Turns the outermost enhancement along the first axis into necrosis."""

    share: float
    name: ClassVar[str] = "necrotic"
    options: ClassVar[Mapping[str, Any]] = {"share": (0.2, 0.6)}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, share=(0.2, 0.6)):
        return cls(share=float(rng.uniform(*share)))

    def run(self, layout, donor=None):
        tumour = layout.tumour.copy()
        places = np.argwhere(tumour == 3)
        chosen = places[: round(self.share * len(places))]
        tumour[tuple(chosen.T)] = 1
        return Outcome(layout.with_tumour(tumour))


def test_the_command_line_knows_a_strangers_format(tmp_path):
    synth.register_exporter(Raw)
    refused = CliRunner().invoke(main, ["generate", "--n", "1", "--out", str(tmp_path / "x"), "--format", "mha"])
    assert refused.exit_code == 2
    assert all(f"'{name}'" in refused.output for name in ("nifti", "hdf5", "nnunet", "raw"))


def test_an_edit_of_a_stranger_is_drawn_recorded_and_replayed(tmp_path):
    synth.register_edit(Necrotic)
    (tmp_path / "policy.yaml").write_text("steps: [{edit: necrotic, share: [0.5, 0.5]}]")
    made = synth.layouts(phantom_sources(), edits=tmp_path / "policy.yaml", n=2, seed=1)
    for layout, recipe in made:
        assert recipe.edits == ({"name": "necrotic", "share": 0.5},)
        host = next(source.layout for source in phantom_sources().hosts if source.id == recipe.host)
        edit = synth.edit_from_dict(json.loads(json.dumps(recipe.edits[0])))
        assert np.array_equal(edit.apply(host).tumour, layout.tumour)
        assert np.count_nonzero(layout.tumour == 1) > np.count_nonzero(host.tumour == 1)


def test_what_is_no_edit_or_has_anothers_name_is_refused():
    @dataclass(frozen=True)
    class Swap(Necrotic):
        name: ClassVar[str] = "swap"

    for wrong, said in ((int, "int"), (Swap, "another")):
        with pytest.raises(synth.SynthError, match=said):
            synth.register_edit(wrong)
    assert EDITS["swap"] is not Swap


# --- a format ---------------------------------------------------------------------------------------------------------


class Raw:
    """A folder of plain NumPy files with the channels in one array."""

    name = "raw"

    def __init__(self, out, *, naming=NAMINGS["brats2020"]):
        self.out, self.naming = Path(out), naming

    @staticmethod
    def find(path):
        return [file.stem for file in path.glob("*.npz")] or None

    @staticmethod
    def names(out, ids, naming):
        return {f"{case_id}.npz" for case_id in ids}

    def write(self, case):
        self.out.mkdir(parents=True, exist_ok=True)
        np.savez(self.out / f"{case.id}.npz", images=case.images, labels=case.labels, affine=case.affine)
        return {f"{case.id}.npz": sha256((self.out / f"{case.id}.npz").read_bytes()).hexdigest()}

    def verify(self, files):
        return [f"{name}: is gone." for name in files if not (self.out / name).is_file()]

    def read(self, case_id):
        try:
            arrays = np.load(self.out / f"{case_id}.npz")
        except zipfile.BadZipFile as error:
            raise synth.SynthError(f"{case_id} cannot be read ({error}).") from error
        return synth.Case(case_id, arrays["images"], arrays["labels"], arrays["affine"])

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def test_a_format_of_a_stranger_is_generated_resumed_and_replaced(tmp_path):
    synth.register_exporter(Raw)
    model = blurred_model(tmp_path / "model")
    config = synth.GenerateConfig(seed=3, format="raw", edits=("mirror:layout",))

    def run(n, **options):
        return synth.generate(synth.Generation(phantom_sources(), model, config), n, tmp_path / "set", **options)

    assert run(2).written == 2
    again = run(3, resume=True)
    assert (again.written, again.kept) == (1, 2)
    case = Raw(tmp_path / "set").read("Synth_00002")
    assert case.images.shape[-1] == len(MODALITIES)
    assert case.labels.any()
    cases = synth.open_set(tmp_path / "set")
    assert (cases.format, cases.ids) == ("raw", ["Synth_00000", "Synth_00001", "Synth_00002"])
    read = cases["Synth_00002"].read(grid=SHAPE)
    assert np.array_equal(read.images, case.images)
    assert np.array_equal(read.labels, case.labels)
    manifest = tmp_path / "set/manifest.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:2]))  # killed before the last line
    assert run(1, force=True).written == 1
    assert [path.name for path in (tmp_path / "set").glob("*.npz")] == ["Synth_00000.npz"]
    cut = next((tmp_path / "set").glob("*.npz"))
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(synth.SynthError, match="Synth_00000 cannot be read"):
        next(iter(synth.open_set(tmp_path / "set")))


def test_what_is_no_exporter_or_has_anothers_name_is_refused():
    class Hollow:
        name = "hollow"

    class Nifti(Raw):
        name = "nifti"

    with pytest.raises(synth.SynthError, match="no write, verify, read, close"):
        synth.register_exporter(Hollow)
    with pytest.raises(synth.SynthError, match="'nifti' exists already"):
        synth.register_exporter(Nifti)


# --- an architecture --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BlurredConfig:
    """One convolution over the painted layout."""

    kernel: int = 3

    def to_dict(self):
        return asdict(self)


def build_blurred(config):
    import keras

    condition = keras.Input((None, None, None, 10), name="condition")
    noise = keras.Input((None, None, None, 4), name="noise")
    coordinates = keras.Input((None, None, None, 3), name="coordinates")
    painted = condition[..., 6:]
    clean = painted + keras.layers.Conv3D(4, config.kernel, padding="same", kernel_initializer="zeros", name="blur")(
        condition
    )
    inputs = {"condition": condition, "noise": noise, "coordinates": coordinates}
    return keras.Model(inputs, {"image": clean + noise, "clean": clean}, name="blurred")


def blurred_model(folder):
    from synth.models.architectures import build_network, generator_entry
    from synth.models.weights import save_generator

    synth.register_generator("blurred", BlurredConfig, build_blurred)
    config = BlurredConfig(kernel=3)
    return save_generator(folder, build_network(config), {"name": "blurred", "generator": generator_entry(config)})


def test_an_architecture_of_a_stranger_is_saved_loaded_and_painted_with(tmp_path):
    folder = blurred_model(tmp_path / "model")
    assert json.loads((folder / "card.json").read_text())["generator"] == {"arch": "blurred", "kernel": 3}
    painter, card = synth.load_generator(folder)
    host = phantom_sources(1).hosts[0].layout
    style = phantom_sources(1).own_style(host.id)
    assert painter(host, style, (1, 2)).shape[-1] == len(MODALITIES)
    del GENERATORS["blurred"]
    with pytest.raises(synth.SynthError, match="'blurred' is not known here"):
        synth.load_generator(folder)
    assert card["name"] == "blurred"


def test_what_is_no_architecture_or_has_anothers_name_is_refused():
    with pytest.raises(synth.SynthError, match="expected a frozen dataclass"):
        synth.register_generator("mine", int, build_blurred)
    with pytest.raises(synth.SynthError, match="'vox2vox' exists already"):
        synth.register_generator("vox2vox", BlurredConfig, build_blurred)
