"""Where a run takes brains, tumours and styles from: folders of cases, of layouts, or none."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from phantoms import phantom_case, phantom_layout, phantom_sources, write_case

import synth.hosts.extract
from synth.datasets.layout_files import load_layout, load_style, save_layout
from synth.errors import DataError, LayoutError, OutputError, SynthError
from synth.hosts.extract import extract_layouts
from synth.hosts.sources import EMBEDDED, data_sources, embedded_sources
from synth.layout.detail import softened
from synth.style.prior import StylePrior, mixed_style, shipped_style_prior, style_problems

IDS = ["Phantom_000", "Phantom_001", "Phantom_002"]


@pytest.fixture(scope="module")
def sources():
    return phantom_sources()


@pytest.fixture
def layouts(sources, tmp_path):
    """A folder as `synth layouts extract` writes it."""
    for source in sources.hosts:
        save_layout(source.load(), tmp_path / "layouts", sources.own_style(source.id))
    return tmp_path / "layouts"


@pytest.fixture
def data(tmp_path):
    """Three small cases on disk."""
    for seed, case_id in enumerate(IDS):
        write_case(tmp_path / "data", phantom_case(seed=seed, case_id=case_id), suffix=".nii")
    return tmp_path / "data"


@pytest.fixture
def extraction(sources, monkeypatch):
    """Extraction in no time, as phantoms are not brains; returns the ids it was asked for, and those to fail on."""
    asked, bad = [], set()

    def extract(files, detail=False):
        asked.append(files.id)
        if files.id in bad:
            raise DataError(f"{files.id}: is all zero; repair or exclude it.")
        seed = int(files.id[-1])
        case = phantom_case(seed=seed, case_id=files.id)
        layout = phantom_layout(seed=seed, case_id=files.id)
        layout = replace(layout, detail=softened(layout.tissue)) if detail else layout
        return layout, sources.own_style(files.id), case

    monkeypatch.setattr(synth.hosts.extract, "extract_case", extract)
    return asked, bad


# --- styles -------------------------------------------------------------------------------------------------------


def test_styles_are_the_hosts_own_or_sampled(sources):
    rng = np.random.default_rng(0)
    assert sources.style("own", IDS[1], rng) == sources.own_style(IDS[1])
    assert sources.style("own", IDS[1], rng) != sources.style("own", IDS[2], rng)
    first, second = (sources.style("sampled", IDS[1], rng) for _ in range(2))
    assert first != second
    assert not style_problems(first)
    assert first == sources.style("sampled", IDS[2], np.random.default_rng(0))


def test_impossible_styles_are_refused(sources):
    rng = np.random.default_rng(0)
    with pytest.raises(SynthError, match="style must be one of mixed, own, sampled, found 'new'"):
        sources.style("new", IDS[0], rng)
    with pytest.raises(SynthError, match="--style own needs --data"):
        replace(sources, own_style=None).style("own", IDS[0], rng)


def test_the_embedded_sources_need_no_data():
    sources = embedded_sources()
    assert sources.name == EMBEDDED
    assert sources.own_style is None
    assert sources.hosts.healthy
    assert not style_problems(sources.style("sampled", sources.hosts[0].id, np.random.default_rng(1)))


# --- layouts ------------------------------------------------------------------------------------------------------


def test_layouts_are_taken_as_they_are(sources, layouts, tmp_path):
    found, problems = data_sources(layouts, tmp_path / "unused")
    assert problems == []
    assert [source.id for source in found.hosts] == IDS
    for source in sources.hosts:
        ours = found.hosts[IDS.index(source.id)].load()
        assert np.array_equal(ours.tissue, source.layout.tissue)
        assert np.array_equal(ours.tumour, source.layout.tumour)
        assert found.own_style(source.id) == sources.own_style(source.id)
    assert not (tmp_path / "unused").exists()
    assert not style_problems(found.style("sampled", IDS[0], np.random.default_rng(0)))


def test_the_name_tells_sets_apart_but_not_places(layouts, tmp_path):
    name = data_sources(layouts, "")[0].name
    assert name.startswith("3 cases ")
    assert not any(case_id in name for case_id in IDS)
    moved = layouts.rename(tmp_path / "elsewhere")
    assert data_sources(moved, "")[0].name == name
    path = moved / IDS[0] / f"{IDS[0]}_style.json"
    path.write_text(path.read_text().replace('"source": ""', '"source": "other"'))
    assert data_sources(moved, "")[0].name != name


def test_sampling_styles_needs_three_scans(layouts):
    shutil.rmtree(layouts / IDS[2])
    found, _ = data_sources(layouts, "")
    with pytest.raises(SynthError, match="at least 3 scans, found 2; use --style own"):
        found.style("sampled", IDS[0], np.random.default_rng(0))


def test_a_layout_without_its_style_is_told(layouts):
    path = layouts / IDS[1] / f"{IDS[1]}_style.json"
    path.write_text(json.dumps({"mean": 3}))
    found, _ = data_sources(layouts, "")
    with pytest.raises(LayoutError, match=r"Phantom_001_style\.json: expected the style .* extract it again"):
        found.own_style(IDS[1])
    path.unlink()
    with pytest.raises(LayoutError, match=r"Phantom_001_style\.json: expected the style .* extract it again"):
        data_sources(layouts, "")


# --- cases --------------------------------------------------------------------------------------------------------


def test_cases_are_extracted_once(data, extraction, tmp_path):
    asked, _ = extraction
    found, problems = data_sources(data, tmp_path / "kept")
    assert (asked, problems) == (IDS, [])
    assert [source.id for source in found.hosts] == IDS
    again, _ = data_sources(data, tmp_path / "kept")
    assert asked == IDS
    assert again.name == found.name


def test_scripts_get_the_detail_of_layouts_as_the_commands_do(data, extraction, tmp_path):
    hosts = data_sources(data, tmp_path / "kept")[0].hosts
    assert all(host.detail() is not None for host in hosts)
    hosts = data_sources(data, tmp_path / "plain", detail=False)[0].hosts
    assert all(host.detail() is None for host in hosts)


def test_cases_that_cannot_be_used_are_left_out_and_told(data, extraction, tmp_path):
    _, bad = extraction
    bad.add(IDS[1])
    found, problems = data_sources(data, tmp_path / "kept")
    assert [source.id for source in found.hosts] == [IDS[0], IDS[2]]
    assert problems == ["Phantom_001: is all zero; repair or exclude it."]
    bad.update(IDS)
    shutil.rmtree(tmp_path / "kept")
    with pytest.raises(LayoutError, match="none of 3 cases can be used; the first: Phantom_000: is all zero"):
        data_sources(data, tmp_path / "kept")


def test_a_case_that_left_the_data_is_no_host_any_more(data, extraction, tmp_path):
    data_sources(data, tmp_path / "kept")
    shutil.rmtree(data / IDS[0])
    found, _ = data_sources(data, tmp_path / "kept")
    assert [source.id for source in found.hosts] == IDS[1:]


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_a_folder_without_cases_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match=str(tmp_path)):
        data_sources(tmp_path / folder, tmp_path / "kept")


def test_what_is_stored_comes_back(data, extraction, sources, tmp_path):
    results = extract_layouts(data, tmp_path / "kept")
    assert [(r.id, r.kept, r.problem) for r in results] == [(case_id, False, "") for case_id in IDS]
    for result in results:
        assert np.array_equal(load_layout(result.folder).tumour, phantom_layout(seed=int(result.id[-1])).tumour)
        assert load_style(result.folder) == sources.own_style(result.id)


def test_what_changed_or_is_damaged_is_extracted_again(data, extraction, tmp_path):
    asked, _ = extraction
    extract_layouts(data, tmp_path / "kept")
    asked.clear()
    case = phantom_case(seed=7, case_id=IDS[0])
    write_case(data, replace(case, images=case.images + np.int16(1)), suffix=".nii.gz")
    for path in (data / IDS[0]).glob("*.nii"):
        path.unlink()
    (tmp_path / "kept" / IDS[1] / f"{IDS[1]}_tumour.nii.gz").unlink()
    (tmp_path / "kept" / IDS[2] / f"{IDS[2]}_style.json").write_text("[]")
    assert [r.kept for r in extract_layouts(data, tmp_path / "kept")] == [False] * 3
    assert asked == IDS
    assert [r.kept for r in extract_layouts(data, tmp_path / "kept")] == [True] * 3
    assert [r.kept for r in extract_layouts(data, tmp_path / "kept", force=True)] == [False] * 3


def test_extracting_into_the_data_themselves_deletes_no_scan(data, extraction):
    before = {path: path.read_bytes() for path in data.rglob("*.nii")}
    extract_layouts(data, data)
    extract_layouts(data, data, force=True)
    assert {path: path.read_bytes() for path in data.rglob("*.nii")} == before


def test_layouts_that_cannot_be_stored_are_told(data, extraction, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: expected a new .* found a file; choose"):
        extract_layouts(data, tmp_path / "file")


def test_a_mixed_style_is_nobodys_and_plausible(sources):
    drawn = [sources.style("mixed", IDS[0], np.random.default_rng(seed)) for seed in range(8)]
    own = [sources.style("own", name, np.random.default_rng(0)) for name in IDS]
    for style in drawn:
        assert style not in own
        assert style_problems(style) == []
    assert len({style.mean for style in drawn}) == 8
    assert sources.style("mixed", IDS[0], np.random.default_rng(3)) == drawn[3]
    assert sources.usual_style == "mixed"


def test_a_mixed_style_stays_between_its_scans_part_by_part():
    first, second = (shipped_style_prior().sample(np.random.default_rng(seed)) for seed in (1, 2))
    nobody = StylePrior.fit([first, second, first])

    class Never:  # of the choices drawn, the prior is never one
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def integers(self, n):
            return self.rng.integers(n)

        def random(self):
            return 0.5 * self.rng.random()

    mixed = mixed_style([lambda: first, lambda: second], nobody, Never())
    for name in ("mean", "shading"):
        low, high = (
            np.minimum(getattr(first, name), getattr(second, name)),
            np.maximum(getattr(first, name), getattr(second, name)),
        )
        assert (np.array(getattr(mixed, name)) >= low - 1e-5).all()
        assert (np.array(getattr(mixed, name)) <= high + 1e-5).all()


def test_one_scan_is_mixed_with_the_shipped_prior_and_none_is_refused(sources):
    lone = replace(sources, hosts=sources.hosts[:1])
    assert style_problems(lone.style("mixed", IDS[0], np.random.default_rng(1))) == []
    with pytest.raises(SynthError, match="--style mixed needs --data with scans"):
        embedded_sources().style("mixed", "atlas-0000000001", np.random.default_rng(0))
    assert embedded_sources().usual_style == "sampled"
