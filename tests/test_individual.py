"""The edits that make a host's brain another one, and what they rest on: standing, flows without folds, the cortex."""

import numpy as np
import pytest
from edited import DONOR, HOST, lawful_labels
from phantoms import head_layout

from synth.brats import AFFINE, GRID, Tissue
from synth.errors import LayoutError
from synth.hosts.anatomies import draw_anatomy
from synth.layout.cortex import face_steps, recontoured
from synth.layout.diffeomorphism import FINE, affine_on, curl, doubled, field_on, flowed
from synth.layout.edits import Individual, Mosaic, Swap
from synth.layout.flow import min_jacobian
from synth.layout.law import measure
from synth.layout.layout import Layout
from synth.layout.memory import once_for_each_map
from synth.layout.priors.anatomy import shipped_prior
from synth.layout.priors.standing import standing
from synth.layout.sampling.recipe import LayoutRecipe
from synth.layout.space import enclosed
from synth.layout.warp import MIN_JACOBIAN


@pytest.fixture(scope="module")
def atlas_brains():
    """Five brains of the prior at full size: what was drawn for each, and its layout."""
    drawn = [draw_anatomy(np.random.default_rng(seed)) for seed in range(5)]
    maps = [anatomy.grown()[0] for anatomy in drawn]
    return drawn, [Layout(tissue, np.zeros_like(tissue), np.array(AFFINE), "brain") for tissue in maps]


def still(**changed):
    """An `Individual` that does nothing but what is given."""
    numbers = {"affine": (0.0,) * 12, "shape": (0.0,) * 5, "rest": 0.0, "gyri_mm": 0.0, "cortex_mm": 0.0}
    return Individual(**{**numbers, "sulci_mm": 0.0, "uneven_mm": 0.0, "seed": 5, **changed})


def test_where_a_brain_stands_is_found_again(atlas_brains):
    drawn, layouts = atlas_brains
    prior = shipped_prior()
    told = np.array([np.array(anatomy.affine) - prior.affine_mean for anatomy in drawn])
    places = [standing(layout) for layout in layouts]
    found = np.array([place.affine @ prior.affine_factors for place in places])
    shapes = np.array([anatomy.shape for anatomy in drawn]), np.array([place.shape for place in places])
    for true, estimate in ((told, found), shapes):
        assert ((true - estimate) ** 2).mean() < 0.65 * (
            true**2
        ).mean()  # of what is not known of a brain, a part is left


def test_a_tumour_has_no_say_in_where_its_brain_stands(atlas_brains):
    healthy = atlas_brains[1][0]
    place = (slice(90, 115), slice(60, 90), slice(80, 110))
    tissue, tumour = healthy.tissue.copy(), np.zeros(GRID, np.uint8)
    tissue[place] = np.where(tissue[place] > 0, Tissue.CSF, 0)
    tumour[place] = np.where(tissue[place] > 0, 2, 0)
    spoilt = standing(Layout(tissue, np.zeros_like(tumour), healthy.affine))
    excused = standing(Layout(tissue, tumour, healthy.affine))
    true = standing(healthy)
    error = [np.abs(np.r_[s.affine - true.affine, s.shape - true.shape]).sum() for s in (spoilt, excused)]
    assert error[1] < error[0]


def test_an_individual_that_changes_nothing_changes_nothing():
    assert np.array_equal(still().apply(HOST).classes, HOST.classes)


@pytest.mark.parametrize("gyri", [1.5, 4.0])
def test_bending_gyri_moves_them_by_what_was_asked_and_keeps_skull_and_volume(atlas_brains, gyri):
    layout = atlas_brains[1][1]
    edit = still(gyri_mm=gyri)
    field = edit._field(layout)
    box = layout.bounding_box()
    moved = np.sqrt(np.mean([(part[layout.brain[box]] ** 2).mean() for part in field.displacement(box)]))
    assert 0.7 * gyri < moved < 1.3 * gyri
    assert min_jacobian(field) > MIN_JACOBIAN
    bent = edit.apply(layout)
    dice = 2 * np.count_nonzero(bent.brain & layout.brain) / (bent.brain.sum() + layout.brain.sum())
    assert dice > 0.97  # of the brain; its inside is another
    assert np.mean(bent.tissue[layout.brain] != layout.tissue[layout.brain]) > 0.05 * gyri
    before, after = (np.bincount(a.tissue.ravel(), minlength=4)[1:] for a in (layout, bent))
    assert np.abs(after / before - 1).max() < 0.06


def test_the_drawn_brain_is_one_of_the_prior_and_no_longer_its_host(atlas_brains):
    host = atlas_brains[1][2]
    made = [Individual.draw(host, np.random.default_rng(seed)) for seed in range(4)]
    assert len({edit.affine for edit in made}) == 4
    for edit in made[:2]:
        brain = edit.apply(host)
        facts = measure(brain)
        assert 950 < facts.brain_ml < 2000
        assert facts.holes == 0
        assert brain.tissue[brain.tissue > 0].mean() == pytest.approx(host.tissue[host.tissue > 0].mean(), abs=0.25)


def test_a_record_that_would_fold_the_brain_is_refused(atlas_brains):
    with pytest.raises(LayoutError, match="nearly folds"):
        still(gyri_mm=30.0).apply(atlas_brains[1][0])
    drawn = Individual.draw(atlas_brains[1][0], np.random.default_rng(0), gyri_mm=10)
    assert drawn.gyri_mm < 10  # made weaker


def test_a_head_that_is_larger_than_most_tends_to_become_smaller(atlas_brains):
    host = atlas_brains[1][0]
    large = still(affine=(-9.0, 0, 0, 0, -9.0, 0, 0, 0, -9.0, 0, 0, 0)).apply(host)  # backward: shrinks the grid
    assert measure(large).brain_ml > 1.2 * measure(host).brain_ml
    scales = [
        np.mean(np.array(Individual.draw(large, np.random.default_rng(seed), strength=1).affine)[[0, 4, 8]])
        for seed in range(8)
    ]
    assert np.mean(scales) > 2  # per cent that the next one is smaller by


def test_options_out_of_range_are_refused():
    rng = np.random.default_rng(0)
    for options in ({"strength": (0, 5)}, {"gyri_mm": 11}, {"cortex_mm": (-2, 0)}, {"uneven_mm": (-1, 0)}):
        with pytest.raises(LayoutError, match="individual"):
            Individual.draw(HOST, rng, **options)
    with pytest.raises(LayoutError, match="as many numbers"):
        still(shape=(1.0,))
    with pytest.raises(LayoutError, match="mosaic: share"):
        Mosaic.draw(HOST, rng, donor=DONOR, share=(0.5, 0.95))
    with pytest.raises(LayoutError, match="donor"):
        Mosaic.draw(HOST, rng)


def test_a_mosaic_takes_the_share_from_its_donor_and_leaves_the_depth(atlas_brains):
    host, donor = atlas_brains[1][3], atlas_brains[1][4].named("other")
    edit = Mosaic.draw(host, np.random.default_rng(1), donor=donor, share=0.45)
    assert edit.donor == "other"
    made = edit.apply(host, donor)
    lawful_labels(made, host)
    changed = made.tissue != host.tissue
    assert 0.1 < np.mean(changed[host.brain]) < 0.45  # of what was taken, much is alike
    middle = (slice(112, 126), slice(100, 140), slice(70, 90))
    assert np.mean(changed[middle]) < 0.02
    brain = made.brain
    assert 0.9 < brain.sum() / host.brain.sum() < 1.1
    assert enclosed(brain).sum() < 400
    with pytest.raises(LayoutError, match="other"):
        edit.apply(host, host)


def test_a_share_of_nothing_takes_nothing():
    edit = Mosaic.draw(HOST, np.random.default_rng(0), donor=DONOR, share=0)
    assert np.mean(edit.apply(HOST, DONOR).classes != HOST.classes) < 0.01


def test_only_another_brain_is_told_as_such():
    rng = np.random.default_rng(0)
    swap, anew = Swap.draw(HOST, rng, donor=DONOR), Individual.draw(HOST, rng)
    for edits, kept in (((), True), ((swap,), True), ((anew, swap), False)):
        recipe = LayoutRecipe(0, 0, "host", None, tuple(edit.to_dict() for edit in edits))
        assert recipe.keeps_brain is kept


def test_flows_do_not_fold_and_have_no_divergence_where_there_is_none():
    rng = np.random.default_rng(0)
    velocity = 30 * curl(rng.standard_normal((*FINE.shape, 3)))
    inner = (slice(3, -3),) * 3
    divergence = sum(np.gradient(velocity[..., a], FINE.step[a], axis=a) for a in range(3))
    assert np.abs(divergence[inner]).max() < 1e-9
    assert min_jacobian(field_on(flowed(velocity / 4), GRID)) > 0
    back = flowed(-velocity / 10) + flowed(velocity / 10)
    assert np.abs(back[inner]).mean() < 0.25 * np.abs(velocity[inner] / 10).mean()


def test_numbers_of_the_prior_mean_the_same_head_on_any_grid():
    numbers = (3.0, 1.0, -2.0, 0.5, -4.0, 2.0, 1.0, 0.0, 2.0, 4.0, -3.0, 5.0)
    fine, coarse = affine_on(numbers, GRID), affine_on(numbers, (120, 120, 62))
    per_voxel = np.array(GRID) / (120, 120, 62)
    point = np.array([30.0, 50.0, 20.0])
    there = (coarse.matrix @ point + coarse.offset + 0.5) * per_voxel - 0.5
    assert np.allclose(fine.matrix @ ((point + 0.5) * per_voxel - 0.5) + fine.offset, there)


def test_faces_of_the_cortex_move_by_the_millimetres_asked_for():
    tissue = np.zeros((20, 20, 60), np.uint8)
    for k, (start, stop) in enumerate(((8, 20), (20, 35), (35, 52)), 1):
        tissue[..., start:stop] = k  # CSF, grey, white: flat slabs
    middle = (10, 10)
    for thicker, wider in ((1.2, 0.0), (-1.2, 0.0), (0.0, 1.2), (0.0, -1.2), (0.0, 0.0)):
        steps = [np.full(tissue.shape, face_steps(np.array(mm))) for mm in (thicker, wider)]
        line = recontoured(tissue, *steps)[middle]
        grey = np.flatnonzero(line == Tissue.GM)
        assert (grey[0], grey[-1] + 1) == (20 + np.sign(wider), 35 + np.sign(thicker))
        assert np.array_equal(line > 0, tissue[middle] > 0)


def test_a_cortex_is_the_same_in_one_piece_or_many(monkeypatch):
    tissue = np.random.default_rng(1).integers(0, 4, (23, 20, 22)).astype(np.uint8)
    steps = [np.random.default_rng(n).integers(-13, 14, tissue.shape).astype(np.int16) for n in range(2)]
    whole = recontoured(tissue, *steps)
    monkeypatch.setattr("synth.layout.cortex._SLAB", 3 * tissue[0].size)
    assert np.array_equal(recontoured(tissue, *steps), whole)
    assert not np.array_equal(whole, tissue)


def test_what_is_doubled_lies_where_it_was_asked_for():
    values = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(doubled(values, (4, 5, 7))[::2, ::2, ::2], values)


def test_answers_are_remembered_by_what_is_in_a_map():
    asked = []

    @once_for_each_map(2)
    def total(labels, scale):
        asked.append(scale)
        return int(labels.sum()) * scale

    map_ = np.zeros((8, 8, 8), np.uint8)
    assert [total(map_, 2), total(map_.copy(), 2), total(map_, 3)] == [0, 0, 0]
    assert asked == [2, 3]
    map_[1, 2, 3] = 5  # in place
    assert total(map_, 2) == 10
    assert total(np.asfortranarray(map_), 2) == 10
    assert asked == [2, 3, 2, 2]  # what cannot be told quickly is asked again
    assert total(head_layout().tissue, 2) > 0
    assert total(map_, 2) == 10
    assert len(asked) == 5
