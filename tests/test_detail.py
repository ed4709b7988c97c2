from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from phantoms import embed, head_layout, phantom_case, phantom_layout, whole_detail, write_case
from scipy.ndimage import binary_dilation

import synth
from synth.brats import GRID, Tissue
from synth.datasets.layout_files import folder_sources, load_detail, save_layout
from synth.datasets.members import CASE
from synth.disk.manifest import read_entries
from synth.errors import LayoutError
from synth.exporters.nifti import write_nifti
from synth.hosts.extract import extract_layouts
from synth.hosts.inputs import Input, extracted, find_inputs
from synth.hosts.sources import data_sources
from synth.layout.carry import Moved, Trail, carried
from synth.layout.cortex import face_steps
from synth.layout.detail import EIGHTHS, EVEN, MAPS, MIXED, TONE_LEVELS, TONES, Detail, softened
from synth.layout.edits.edit import edit_class
from synth.layout.edits.motion import mirroring
from synth.layout.layout import Layout
from synth.layout.sampling.sampler import LayoutSampler
from synth.layout.sampling.sources import MemorySource
from synth.layout.space import mirrored
from synth.layout.warp import Warp
from synth.quality.layout_stats import layout_statistics
from synth.runs.generate import GenerateConfig, Generation
from synth.runs.layouts import edit_layouts, sample_layouts
from synth.runs.replay import replay
from synth.show.layouts import show_layouts

STAYS = np.eye(3)


def detailed(seed=0):
    """A head whose layers are drawn, whatever its tissue."""
    layout, rng = head_layout(seed=seed, case_id=f"Head_{seed}"), np.random.default_rng(seed)
    inside = (layout.tissue > 0).astype(np.uint8)
    drawn = [inside * rng.integers(0, 5, layout.shape).astype(np.uint8) for _ in MIXED]
    tones = [np.uint8(k + EVEN) * (layout.tumour > 0) for k in range(len(TONES))]
    return Layout(layout.tissue, layout.tumour, layout.affine, layout.id, Detail(*drawn, *tones))


def detailed_head(seed=0):
    """A head of its own size, whole shares."""
    host = head_layout(shape=(60, 72, 54), zooms=(2.7, 2.4, 3.0), seed=seed, case_id=f"Head_{seed}")
    return replace(host, detail=whole_detail(host.tissue))


def layers(detail):
    """What a voxel is mixed of."""
    return np.stack(detail.mixed)


def test_shares_of_a_voxel_are_eight_eighths_in_the_brain_and_none_outside():
    layout = detailed()
    shares = layout.detail.shares(layout.tissue)
    assert np.array_equal(shares.sum(-1), EIGHTHS * layout.brain)
    assert np.array_equal(shares[..., 1], layout.detail.gm(layout.tissue))


def test_a_tissue_map_alone_is_whole_shares_and_no_vessels():
    layout = head_layout()
    detail = whole_detail(layout.tissue)
    shares = detail.shares(layout.tissue)
    assert np.array_equal(np.where(layout.brain, shares.argmax(-1) + 1, 0), layout.tissue)
    assert set(np.unique(shares)) == {0, EIGHTHS}
    assert not detail.vessels.any()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: (a + 8, a, a, a), "csf must be 0 to 8"),
        (lambda a: (a + 4, a + 4, a, a), "together must be at most 8"),
        (lambda a: (a, a[1:], a, a), "wm must be a 3D uint8 array of one shape"),
        (lambda a: (a, a, a.astype(int), a), "vessels must be a 3D uint8 array"),
        (lambda a: (a, a, a, a + 4), "void must be 0 to 4"),
        (lambda a: (a, a, a, a, a + TONE_LEVELS), "tone_t1 must be 0 to 63"),
        (lambda a: (a, a, a, a, a, a[1:]), "tone_t1ce must be a 3D uint8 array of one shape"),
    ],
)
def test_unlawful_layers_are_refused(change, sentence):
    with pytest.raises(LayoutError, match=sentence):
        Detail(*change(np.ones((3, 4, 5), np.uint8)))


def test_a_layout_and_its_detail_have_one_shape():
    layout = head_layout()
    with pytest.raises(LayoutError, match="must have one shape"):
        Layout(layout.tissue, layout.tumour, layout.affine, "", whole_detail(layout.tissue[1:]))


def test_what_is_moved_by_whole_voxels_is_the_same_there():
    layout = detailed()
    shift = (3, -2, 1)
    tissue = np.roll(layout.tissue, [-s for s in shift], (0, 1, 2))
    moved = Layout(tissue, np.zeros_like(tissue), layout.affine)
    detail = carried(moved, [Moved(Warp(STAYS, np.array(shift, float)))], layout)
    assert np.array_equal(layers(detail), np.roll(layers(layout.detail), [-s for s in shift], (1, 2, 3)))


def test_halfway_between_two_voxels_shares_are_theirs_by_half():
    tissue = np.full((1, 1, 4), Tissue.GM, np.uint8)
    csf = np.array([[[0, 8, 2, 0]]], np.uint8)
    host = Layout(tissue, np.zeros_like(tissue), np.eye(4), "", Detail(csf, csf * 0, np.minimum(csf, 4), csf // 2))
    detail = carried(host, [Moved(Warp(STAYS, np.array([0, 0, 0.5])))], host)
    assert detail.csf.ravel().tolist() == [4, 5, 1, 0]
    assert detail.vessels.ravel().tolist() == [2, 3, 1, 0]
    assert detail.void.ravel().tolist() == [2, 3, 1, 0]


def test_what_lies_outside_the_brain_has_no_say_in_what_is_mixed():
    tissue = np.array([[[0, 0, Tissue.CSF, Tissue.GM]]], np.uint8)
    detail = Detail(*(np.array([[part]], np.uint8) for part in ([0, 0, 8, 0], [0] * 4, [0, 0, 4, 0], [0, 0, 3, 0])))
    host = Layout(tissue, np.zeros_like(tissue), np.eye(4), "", detail)
    after = carried(host, [Moved(Warp(STAYS, np.array([0, 0, -0.5])))], host)
    assert (after.csf.ravel()[2], after.vessels.ravel()[2], after.void.ravel()[2]) == (8, 4, 3)


def test_two_mirrors_give_the_same_again():
    layout = detailed()
    mirror = edit_class("mirror")()
    assert not np.array_equal(layers(mirror.apply(layout).detail), layers(layout.detail))
    both = mirror.apply(mirror.apply(layout))
    assert np.array_equal(both.tissue, layout.tissue)
    assert np.array_equal(layers(both.detail), layers(layout.detail))
    twice = carried(layout, [Moved(mirroring(layout.shape))] * 2, layout)
    assert np.array_equal(layers(twice), layers(layout.detail))


@pytest.mark.parametrize(
    "name", ["elastic", "rotate", "scale", "stretch", "mirror", "mass_effect", "atrophy", "individual"]
)
def test_shares_follow_the_tissue_through_an_edit(name):
    host, cls = detailed_head(), edit_class(name)
    edited = cls.draw(host, np.random.default_rng(5), target="layout").apply(host)
    shares = edited.detail.shares(edited.tissue)
    assert np.array_equal(shares.sum(-1), EIGHTHS * edited.brain)
    own = np.take_along_axis(shares, np.maximum(edited.tissue, 1)[..., None].astype(int) - 1, 3)[..., 0]
    assert np.mean(own[edited.brain] >= shares[edited.brain].max(-1)) > 0.96
    assert not np.array_equal(edited.tissue, host.tissue)


def test_patches_of_a_donor_bring_its_detail():
    host, donor = detailed(0), detailed(1)
    tissue = np.where((host.tissue > 0) & (donor.tissue > 0), host.tissue, 0)
    box = tuple(slice(0, n) for n in host.shape)
    taken = np.zeros(host.shape, bool)
    taken[20:] = True
    layout = Layout(tissue, np.zeros_like(tissue), host.affine)
    still = Warp(STAYS, np.zeros(3))
    detail = carried(layout, [Moved(donor=still, taken=taken, box=box)], host, donor)
    same = (tissue > 0) & (host.tissue == donor.tissue)  # elsewhere the donor's voxels were given another tissue
    for part, source in ((~taken, host), (taken, donor)):
        assert np.array_equal(layers(detail)[:, same & part], layers(source.detail)[:, same & part])


def test_a_voxel_of_another_tissue_trades_the_two_shares():
    tissue = np.full((1, 1, 3), Tissue.GM, np.uint8)
    detail = Detail(*(np.array([[part]], np.uint8) for part in ([1, 5, 0], [2, 1, 1], [0, 0, 0], [0, 0, 0])))
    host = Layout(tissue, np.zeros_like(tissue), np.eye(4), "", detail)  # grey: 5, 2, 7
    now = np.array([[[Tissue.WM, Tissue.CSF, Tissue.GM]]], np.uint8)
    layout = Layout(now, np.zeros_like(now), np.eye(4))
    assert np.array_equal(layers(carried(layout, [Moved()], host)), layers(detail))
    where = {"relabelled": np.ones(now.shape, bool), "box": tuple(slice(0, n) for n in now.shape)}
    after = carried(layout, [Moved(**where)], host)
    assert after.shares(now).reshape(3, 3).tolist() == [[1, 2, 5], [5, 2, 1], [0, 7, 1]]


def test_brain_where_there_was_none_is_all_its_tissue():
    tissue = np.array([[[0, Tissue.WM, 0, Tissue.WM]]], np.uint8)
    host = Layout(tissue, np.zeros_like(tissue), np.eye(4), "", whole_detail(tissue))
    now = np.array([[[Tissue.CSF, Tissue.WM, Tissue.GM, Tissue.WM]]], np.uint8)
    after = carried(Layout(now, np.zeros_like(now), np.eye(4)), [Moved()], host)
    assert after.shares(now)[0, 0].tolist() == [[8, 0, 0], [0, 0, 8], [0, 8, 0], [0, 0, 8]]


def test_warps_at_once_are_the_warps_one_after_the_other():
    host = detailed_head()
    rng, layout, steps, trail = np.random.default_rng(2), host, host, Trail()
    for name in ("elastic", "mirror", "rotate"):
        edit = edit_class(name).draw(layout, rng, target="layout")
        outcome = edit.run(layout)
        trail.note(layout, outcome.layout, outcome.moved)
        layout, steps = outcome.layout, edit.apply(steps)
    at_once = trail.followed(layout, host)
    off = np.abs(layers(at_once.detail).astype(int) - layers(steps.detail))[:, layout.brain]
    assert off.mean() < 0.35
    # interpolated once, more voxels stay whole
    assert (at_once.detail.csf == EIGHTHS).sum() > (steps.detail.csf == EIGHTHS).sum()


def test_detail_stays_with_a_brain_whose_tumour_changes_and_is_lost_where_nobody_knows():
    layout = detailed()
    moved = edit_class("drop_enhancement").draw(layout, np.random.default_rng(0)).apply(layout)
    assert moved.detail.mixed == layout.detail.mixed
    other = Layout(np.where(layout.tissue == 1, 2, layout.tissue).astype(np.uint8), layout.tumour, layout.affine)
    trail = Trail()
    trail.note(layout, other, None)
    assert trail.followed(other, layout).detail is None
    trail = Trail()
    trail.note(layout, layout, Moved(donor=Warp(STAYS, np.zeros(3)), taken=layout.brain, box=(slice(None),) * 3))
    assert trail.followed(layout, layout, head_layout(seed=1)).detail is None


def test_tones_stay_with_a_tumour_that_is_as_it_was_where_it_was():
    layout = detailed()
    trail = Trail()
    assert trail.followed(replace(layout, tumour=layout.tumour.copy()), layout).detail.tones == layout.detail.tones
    for edit in ("drop_enhancement", "mirror"):
        other = edit_class(edit).draw(layout, np.random.default_rng(0)).apply(layout)
        assert not np.stack(other.detail.tones).any()


def test_a_sample_is_drawn_and_replayed_with_the_detail_of_its_sources():
    sources = [MemorySource(detailed_head(seed)) for seed in range(3)]
    sampler = LayoutSampler(sources, "individual,mirror,swap", seed=2)
    plain, recipe = sampler.draw(1)
    layout, again = sampler.draw(1, detail=True)
    assert plain.detail is None
    assert again == recipe
    assert np.array_equal(plain.tissue, layout.tissue)
    assert np.array_equal(layers(sampler.replay(recipe, detail=True).detail), layers(layout.detail))
    assert sampler.replay(recipe).detail is None


def test_detail_is_kept_beside_a_layout_and_read_again(tmp_path):
    layout = replace(detailed(), id="A")
    folder = save_layout(layout, tmp_path)
    assert {path.name for path in folder.iterdir()} >= {f"A_{name}.nii.gz" for name in MAPS}
    (source,) = folder_sources(tmp_path)
    assert source.load().detail is None  # not read before it is asked for
    assert np.array_equal(np.stack(source.detail().layers), np.stack(layout.detail.layers))
    plain = source.detail(tones=False)
    assert np.array_equal(plain.mixed, layout.detail.mixed)
    assert not np.any(plain.tones)
    save_layout(replace(layout, detail=None), tmp_path)
    assert source.detail() is None
    assert len(list(folder.iterdir())) == 2


def test_damaged_detail_is_refused_in_one_sentence(tmp_path):
    layout = replace(detailed(), id="A")
    folder = save_layout(layout, tmp_path)
    write_nifti(folder / "A_wm.nii.gz", layout.detail.wm + np.uint8(9), layout.affine)
    with pytest.raises(LayoutError, match=r"A_wm.nii.gz: expected whole numbers 0 to 8 \(wm\), found .* such as 9"):
        load_detail(folder)
    write_nifti(folder / "A_wm.nii.gz", layout.detail.wm[::-1].copy(), layout.affine)
    with pytest.raises(LayoutError, match=r"A_wm\.nii\.gz has values outside the brain of A_tissue\.nii\.gz"):
        load_detail(folder)
    write_nifti(folder / "A_wm.nii.gz", layout.detail.wm, np.diag([-1.0, -1, 2, 1]))
    with pytest.raises(LayoutError, match=r"A_wm\.nii\.gz: its grid or affine differs from that of A_tissue\.nii\.gz"):
        load_detail(folder)
    (folder / "A_wm.nii.gz").unlink()
    with pytest.raises(LayoutError, match=r"A_wm\.nii\.gz: expected this file of the layout A, found none"):
        load_detail(folder)


@pytest.fixture
def kept(tmp_path):
    """Three layouts with detail on the disk."""
    for seed in range(3):
        save_layout(detailed_head(seed), tmp_path / "layouts")
    return tmp_path / "layouts"


def test_a_set_of_drawn_layouts_keeps_their_detail_and_replays_it(kept, tmp_path):
    generation = Generation(
        data_sources(kept, "")[0], config=GenerateConfig(edits="individual,mirror", style="sampled")
    )
    sample_layouts(generation, 2, tmp_path / "drawn")
    first = tmp_path / "drawn" / "Layout_000000"
    assert load_detail(first) is not None
    (record, *_) = read_entries(tmp_path / "drawn")
    assert "Layout_000000/Layout_000000_wm.nii.gz" in record["files"]
    (again,) = replay(tmp_path / "drawn", ["Layout_000000"], tmp_path / "again", data=[kept])
    assert again.compared == 11
    assert not again.differing
    assert np.array_equal(layers(load_detail(tmp_path / "again" / "Layout_000000")), layers(load_detail(first)))


def test_edited_layouts_and_the_stream_keep_detail(kept, tmp_path):
    edit_layouts(find_inputs(kept), tmp_path / "edited", "mirror")
    edited = load_detail(tmp_path / "edited" / "Head_0_000")
    assert np.array_equal(edited.csf, mirrored(detailed_head(0).detail.csf))
    layout, _ = next(iter(synth.layouts(kept, edits="mirror", n=1)))
    assert layout.detail is not None


def test_a_picture_and_statistics_show_detail(kept, tmp_path):
    plain = tmp_path / "plain"
    for source in folder_sources(kept):
        save_layout(source.load(), plain)
    pictures = [show_layouts(find_inputs(path), tmp_path / f"{path.name}.png").read_bytes() for path in (kept, plain)]
    assert pictures[0] == pictures[1]  # whole shares are the tissue map
    soft = softened(detailed_head(0).tissue)
    soft.vessels[20:40] = 2 * (detailed_head(0).tissue[20:40] > 0)
    save_layout(replace(detailed_head(0), detail=soft), kept)
    assert show_layouts(find_inputs(kept), tmp_path / "soft.png").read_bytes() != pictures[0]
    rows = layout_statistics(find_inputs(kept)).rows
    assert rows[1]["mixed"] == 0
    assert rows[0]["mixed"] > 0.1
    assert rows[0]["vessels"] > 0
    assert "mixed" not in layout_statistics(find_inputs(plain)).measures
    assert "tones" not in layout_statistics(find_inputs(kept)).measures
    inside = detailed_head(0).tumour > 0
    bright = np.where(np.indices(inside.shape)[0] % 2, EVEN, EVEN + 16).astype(np.uint8) * inside
    before = (tmp_path / "soft.png").read_bytes()
    save_layout(replace(detailed_head(0), detail=replace(soft, tone_t1ce=bright)), kept)
    assert show_layouts(find_inputs(kept), tmp_path / "toned.png").read_bytes() != before
    assert layout_statistics(find_inputs(kept)).rows[0]["tones"] == pytest.approx(0.2, abs=0.01)


def test_detail_is_taken_from_scans_on_request_alone(monkeypatch, tmp_path):
    embedded = embed(phantom_case((60, 72, 54), case_id="A"))
    write_case(tmp_path / "data", embedded)
    layout = phantom_layout((60, 72, 54), case_id="A")
    place = tuple(slice(c, c + n) for c, n in zip((120, 96, 70), layout.shape, strict=True))
    maps = [np.zeros(GRID, np.uint8) for _ in range(2)]
    for whole_map, part in zip(maps, (layout.tissue, layout.tumour), strict=True):
        whole_map[place] = part
    monkeypatch.setattr(synth.hosts.extract, "extract_layout", lambda case: Layout(*maps, case.affine, case.id))
    extract_layouts(tmp_path / "data", tmp_path / "out")
    assert load_detail(tmp_path / "out" / "A") is None
    (result,) = extract_layouts(tmp_path / "data", tmp_path / "out", detail=True)
    assert not result.kept
    assert load_detail(tmp_path / "out" / "A").csf.any()
    (result,) = extract_layouts(tmp_path / "data", tmp_path / "out", detail=True)
    assert result.kept


def test_shares_move_with_the_cortexs_faces():
    tissue = np.zeros((12, 12, 40), np.uint8)
    for kind, (start, stop) in zip((Tissue.CSF, Tissue.GM, Tissue.WM), ((4, 14), (14, 25), (25, 36)), strict=True):
        tissue[..., start:stop] = kind
    soft = softened(tissue)
    host = Layout(tissue, np.zeros_like(tissue), np.eye(4), "", soft)
    box = tuple(slice(0, n) for n in tissue.shape)
    amounts = {}
    for thick, wide in ((0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5), (0.0, 0.0)):
        faces = tuple(np.full(tissue.shape, face_steps(np.array(mm))) for mm in (thick, wide))
        after = carried(host, [Moved(faces=faces, box=box)], host)
        amounts[thick, wide] = after.shares(tissue)[6, 6].sum(0) / EIGHTHS - soft.shares(tissue)[6, 6].sum(0) / EIGHTHS
    assert amounts[0.0, 0.0] == pytest.approx([0, 0, 0])
    assert amounts[0.5, 0.0] == pytest.approx([0, 0.5, -0.5], abs=0.3)
    assert amounts[-0.5, 0.0] == pytest.approx([0, -0.5, 0.5], abs=0.3)
    assert amounts[0.0, 0.5] == pytest.approx([0.5, -0.5, 0], abs=0.3)
    assert amounts[0.0, -0.5] == pytest.approx([-0.5, 0.5, 0], abs=0.3)


def test_faces_lie_where_the_edit_that_moved_them_had_them():
    host = detailed_head()
    still = Warp(STAYS, np.zeros(3))
    box = tuple(slice(0, n) for n in host.shape)
    steps = np.zeros(host.shape, np.int16)
    steps[: host.shape[0] // 2] = face_steps(np.array(0.8))
    faces = Moved(still, faces=(steps, np.zeros_like(steps)), box=box)
    plain = carried(host, [faces], host)
    changed = np.argwhere(plain.wm != host.detail.wm)[:, 0]
    assert changed.size
    assert changed.max() < host.shape[0] // 2
    flipped = edit_class("mirror")().apply(replace(host, detail=None))
    after = carried(flipped, [faces, Moved(mirroring(host.shape))], host)
    assert np.array_equal(after.wm, mirrored(plain.wm))


def test_the_brains_surface_moves_as_its_labels_do():
    tissue = np.zeros((9, 9, 24), np.uint8)
    tissue[2:7, 2:7, 6:18] = Tissue.GM
    box = tuple(slice(0, n) for n in tissue.shape)
    host = Layout(tissue, np.zeros_like(tissue), np.eye(4), "", whole_detail(tissue))
    faces = [np.full(tissue.shape, face_steps(np.array(mm))) for mm in (0.0, 0.7)]
    after = carried(host, [Moved(faces=tuple(faces), box=box)], host)
    assert after.csf[4, 4, 6] > 0
    assert after.csf[4, 4, 12] == 0
    assert not after.csf[tissue == 0].any()


def test_faces_of_the_host_do_not_move_what_a_donor_brings_later():
    host, donor = detailed(0), detailed(1)
    box = tuple(slice(0, n) for n in host.shape)
    tissue = np.where((host.tissue > 0) & (donor.tissue > 0), host.tissue, 0)
    layout = Layout(tissue, np.zeros_like(tissue), host.affine)
    still, taken = Warp(STAYS, np.zeros(3)), np.zeros(host.shape, bool)
    taken[20:] = True
    steps = tuple(np.full(host.shape, face_steps(np.array(0.8))) for _ in range(2))
    moves = [Moved(faces=steps, box=box), Moved(donor=still, taken=taken, box=box)]
    plain = carried(layout, moves[1:], host, donor)
    after = carried(layout, moves, host, donor)
    assert np.array_equal(layers(after)[:, 20:], layers(plain)[:, 20:])
    assert not np.array_equal(after.csf[:20], plain.csf[:20])


def test_only_what_atrophy_relabelled_trades_and_faces_are_moved_once():
    host = detailed_head()
    rng, layout, trail = np.random.default_rng(3), host, Trail()
    for name in ("individual", "atrophy"):
        outcome = edit_class(name).draw(layout, rng, target="layout").run(layout)
        trail.note(layout, outcome.layout, outcome.moved)
        layout = outcome.layout
    moves = trail.moves
    assert moves[1].relabelled.any()
    assert moves[1].relabelled.mean() < 0.1
    with_, without = (carried(layout, some, host) for some in (moves, [moves[0], replace(moves[1], relabelled=None)]))
    changed = (layers(with_) != layers(without)).any(0)
    assert changed.any()
    assert not changed[moves[1].box][~binary_dilation(moves[1].relabelled, iterations=3)].any()


def test_a_sample_whose_brain_is_partly_a_donors_has_detail_of_both_and_asks_for_no_other(monkeypatch):
    sources = [MemorySource(detailed_head(seed)) for seed in range(3)]
    asked = []
    monkeypatch.setattr(
        MemorySource, "detail", lambda self, tones: asked.append((self.id, tones)) or self.layout.detail
    )
    layout, recipe = LayoutSampler(sources, "mosaic", seed=1).draw(0, detail=True)
    assert layout.detail is not None
    assert sorted(asked) == sorted([(recipe.host, False), (recipe.donor, False)])
    asked.clear()
    layout, recipe = LayoutSampler(sources, "swap,mirror", seed=1).draw(0, detail=True)
    assert recipe.donor is not None
    assert asked == [(recipe.host, False)]
    asked.clear()
    layout, recipe = LayoutSampler(sources, "drop_enhancement", seed=1).draw(0, detail=True)
    assert asked == [(recipe.host, True)]  # nothing moved: its tumour may be as it was


def test_cases_edited_from_their_scans_have_no_detail_that_nobody_asked_for(monkeypatch, tmp_path):
    taken = []

    def extract(member, *, detail):
        taken.append(detail)
        return head_layout(case_id=member.id), None, None

    monkeypatch.setattr("synth.hosts.inputs.extract_case", extract)
    case = Input(SimpleNamespace(id="A", kind=CASE), None)
    assert extracted(case).detail() is None
    assert not taken
    extracted(case, detail=True).detail()
    assert taken == [True]
