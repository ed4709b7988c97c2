import json
from dataclasses import dataclass, field, replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from phantoms import head_layout

from synth.brats import AFFINE, Tumour
from synth.datasets.layout_files import FolderSource, folder_sources, save_layout
from synth.errors import LayoutError
from synth.hosts.anatomies import AtlasAnatomies
from synth.layout.edits import EDITS, Elastic, Mirror, Outcome
from synth.layout.law import measure, violations
from synth.layout.layout import Layout
from synth.layout.sampling.recipe import LayoutRecipe
from synth.layout.sampling.sampler import MAX_REDRAWS, TRIES_PER_PAIR, LayoutSampler
from synth.layout.sampling.sources import MemorySource

HEADS = [head_layout(seed=seed, case_id=f"head{seed}") for seed in range(4)]
HOSTS = [MemorySource(head) for head in HEADS]


@dataclass
class CountingSource:
    """A source that counts how often it is loaded."""

    layout: Layout
    loads: list = field(default_factory=list)

    @property
    def id(self):
        return self.layout.id

    def load(self):
        self.loads.append(self.id)
        return self.layout


def same(a, b):
    return np.array_equal(a.tissue, b.tissue) and np.array_equal(a.tumour, b.tumour) and a.id == b.id


def test_a_sample_depends_on_seed_and_index_alone():
    forwards, backwards = LayoutSampler(HOSTS, seed=5), LayoutSampler(HOSTS, seed=5)
    first = {k: forwards.draw(k) for k in (0, 1, 2)}
    second = {k: backwards.draw(k) for k in (2, 0, 1)}
    for k in first:
        assert same(first[k][0], second[k][0])
        assert first[k][1] == second[k][1]
    other = LayoutSampler(HOSTS, seed=6).draw(0)[1]
    assert other.edits != first[0][1].edits


def test_a_sample_draws_from_its_spawned_seed_sequence():
    atlas = AtlasAnatomies(1000)
    recipe = LayoutSampler(atlas, "none", seed=9).draw(3)[1]
    rng = np.random.default_rng(np.random.SeedSequence(9, spawn_key=(3,)))  # not `sample_rng`: this is the promise
    assert recipe.host == atlas[rng.integers(1000)].id
    # hosts with an end to them come from a shuffled deck: block 0, kind 0, branch 18
    deck = np.random.default_rng(np.random.SeedSequence(9, spawn_key=(0, 0, 18))).permutation(4)
    assert LayoutSampler(HOSTS, "none", seed=9).draw(3)[1].host == HOSTS[deck[3]].id


def test_a_recipe_read_back_from_json_replays_exactly():
    sampler = LayoutSampler(HOSTS, seed=1)
    for k in range(4):
        layout, recipe = sampler.draw(k)
        read = LayoutRecipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
        assert read == recipe
        assert same(LayoutSampler(HOSTS, seed=99).replay(read), layout)


def test_every_sample_is_lawful_and_has_another_tumour_than_its_host():
    sampler = LayoutSampler(HOSTS, seed=2)
    for k in range(6):
        layout, recipe = sampler.draw(k)
        source = next(head for head in HEADS if head.id == (recipe.donor or recipe.host))
        assert sampler.judge(layout, recipe) == []
        done = [edit["name"] for edit in recipe.edits]
        assert {"swap", "new", "move"} & set(done[done.index("individual") :])
        assert not recipe.keeps_brain
        assert not np.array_equal(layout.tumour, source.tumour)
        assert layout.id == f"{k:06d}"


@pytest.mark.parametrize("edits", ["none", ("none",), ()])
def test_none_leaves_the_host_as_it_is(edits):
    layout, recipe = LayoutSampler(HOSTS, edits, seed=3).draw(0)
    host = next(head for head in HEADS if head.id == recipe.host)
    assert np.array_equal(layout.classes, host.classes)
    assert (recipe.edits, recipe.donor, recipe.redraws) == ((), None, ())


def test_named_edits_are_applied_in_the_order_given():
    _, recipe = LayoutSampler(HOSTS, ("mirror:layout", "elastic", "elastic:layout"), seed=3).draw(0)
    done = [(edit["name"], edit["target"]) for edit in recipe.edits]
    assert done == [("mirror", "layout"), ("elastic", "tumour"), ("elastic", "layout")]


def test_the_donor_is_named_when_its_tumour_was_used():
    _, recipe = LayoutSampler(HOSTS, ("swap",), seed=3).draw(0)
    assert recipe.donor == recipe.edits[0]["donor"] != recipe.host
    assert LayoutSampler(HOSTS, ("move",), seed=3).draw(0)[1].donor is None


def test_a_single_host_is_moved_where_it_cannot_be_swapped():
    for k in range(3):
        recipe = LayoutSampler(HOSTS[:1], seed=4).draw(k)[1]
        assert next(edit["name"] for edit in recipe.edits if edit["name"] in ("swap", "new", "move")) != "swap"


def test_healthy_hosts_get_a_tumour_from_a_donor_or_stay_healthy():
    healthy = [MemorySource(head_layout(seed=9, tumour=False, case_id="healthy"))]
    layout, recipe = LayoutSampler(healthy, ("elastic", "mirror:layout"), seed=0).draw(0)
    assert [edit["name"] for edit in recipe.edits] == ["mirror"]
    assert not layout.tumour.any()
    layouts = [LayoutSampler([*healthy, HOSTS[0]], ("swap",), seed=0).draw(k) for k in range(6)]
    swapped = [layout for layout, recipe in layouts if recipe.host == "healthy"]
    assert swapped
    assert all(layout.tumour.any() for layout in swapped)


def test_removing_the_tumour_is_lawful_when_asked_for():
    layout, recipe = LayoutSampler(HOSTS, ("remove",), seed=0).draw(0)
    assert not layout.tumour.any()
    assert recipe.redraws == ()


def test_redraws_are_bounded_and_their_reasons_counted(monkeypatch):
    source = CountingSource(HEADS[0])
    sampler = LayoutSampler([source], seed=0)
    monkeypatch.setattr(sampler, "_judge", lambda *_: ["7% of it is wrong, more than 3%", "and more"])
    with pytest.raises(LayoutError, match=rf"sample 0: none of {MAX_REDRAWS + 1} .*{MAX_REDRAWS + 1} times of it is"):
        sampler.draw(0)
    assert len(source.loads) == 1  # kept while the attempts go on


def test_an_unlawful_attempt_is_repeated_with_its_pair_then_with_another(monkeypatch):
    sampler = LayoutSampler(HOSTS, seed=0)
    judged = []

    def judge(attempt):
        judged.append(attempt.host)
        return ["7% of it is wrong, more than 3%"] if len(judged) <= TRIES_PER_PAIR else []

    monkeypatch.setattr(sampler, "_judge", judge)
    _, recipe = sampler.draw(1)
    assert recipe.redraws == ("7% of it is wrong, more than 3%",) * TRIES_PER_PAIR
    assert all(host is judged[0] for host in judged[:TRIES_PER_PAIR])
    assert sampler.replay(recipe).id == "000001"


def test_layouts_are_loaded_when_needed_and_few_are_kept():
    sources = [CountingSource(replace(HEADS[0], id=f"host{n:02d}")) for n in range(30)]
    sampler = LayoutSampler(sources, "none", seed=0)
    assert not any(source.loads for source in sources)
    for k in range(40):
        sampler.draw(k)
    assert sampler._load.cache_info().currsize <= 6


@pytest.mark.parametrize(
    ("hosts", "edits", "seed", "message"),
    [
        ([], None, 0, "no host layouts"),
        ([HOSTS[0], HOSTS[0]], None, 0, "two host layouts have the id 'head0'"),
        (HOSTS, ("explode",), 0, "unknown edit 'explode'"),
        (HOSTS, None, -1, "seed must be a whole number"),
    ],
)
def test_what_cannot_be_sampled_is_refused(hosts, edits, seed, message):
    with pytest.raises(LayoutError, match=message):
        LayoutSampler(hosts, edits, seed)


def test_a_recipe_that_cannot_be_replayed_is_refused():
    sampler = LayoutSampler(HOSTS, seed=1)
    recipe = sampler.draw(0)[1]
    with pytest.raises(LayoutError, match="'gone' is not among the 4 sources"):
        sampler.replay(replace(recipe, host="gone"))
    with pytest.raises(LayoutError, match=r"missing \['host'\]"):
        LayoutRecipe.from_dict({k: v for k, v in recipe.to_dict().items() if k != "host"})
    with pytest.raises(LayoutError, match="index must be at least 0"):
        sampler.draw(-1)


def test_layouts_in_folders_are_sources(tmp_path):
    for head in HEADS[:2]:
        save_layout(head, tmp_path)
    sources = folder_sources(tmp_path)
    assert [source.id for source in sources] == ["head0", "head1"]
    assert same(sources[1].load(), HEADS[1])
    assert isinstance(sources[0], FolderSource)
    layout, _recipe = LayoutSampler(sources, seed=2).draw(0)
    assert same(LayoutSampler(HOSTS[:2], seed=2).draw(0)[0], layout)  # as from memory
    with pytest.raises(LayoutError, match="expected folders with layouts"):
        folder_sources(tmp_path / "empty")


class Healthy(list):
    """Brains without tumours, as the atlas anatomies are."""

    healthy = True


HEALTHY = Healthy(MemorySource(head_layout(seed=s, tumour=False, case_id=f"healthy{s}")) for s in range(3))


@pytest.mark.parametrize("preset", ["gentle", "standard", "wild"])
def test_healthy_hosts_get_a_new_tumour_from_every_preset(preset):
    sampler = LayoutSampler(HEALTHY, preset, seed=1)
    for k in range(2):
        layout, recipe = sampler.draw(k)
        assert recipe.edits[0]["name"] == "new"
        assert recipe.donor is None
        assert layout.tumour.any()
        assert sampler.judge(layout, recipe) == []
        assert same(LayoutSampler(HEALTHY, seed=8).replay(recipe), layout)
    assert LayoutSampler(HEALTHY).policy == LayoutSampler(HEALTHY, "standard").policy
    with pytest.raises(LayoutError, match="these brains have no tumours"):
        LayoutSampler(HEALTHY, ["swap"])


def test_a_tumour_of_two_is_judged_by_both_and_a_new_one_by_none():
    blended, recipe = LayoutSampler(HOSTS, ("blend",), seed=1).draw(0)
    assert recipe.donor == recipe.edits[0]["donor"]
    assert blended.tumour.any()
    scattered = replace(HEADS[0], id="scattered", tumour=HEADS[0].tumour.copy())
    scattered.tumour[28:31, 28:31, 18:21] = (scattered.tissue > 0)[28:31, 28:31, 18:21] * Tumour.ED
    assert measure(scattered).pieces == 2
    sampler = LayoutSampler([MemorySource(scattered)], "gentle", seed=0)
    _, gentle = sampler.draw(0)
    assert sampler.judge(scattered, gentle) == []
    anew = replace(gentle, edits=({"name": "remove"},))
    assert any("2 pieces" in sentence for sentence in sampler.judge(scattered, anew))


def test_satellites_are_lawful_where_they_were_asked_for():
    sampler = LayoutSampler(HOSTS[:1], {"steps": [{"edit": "satellites", "count": [1, 1]}]}, seed=0)
    layout, recipe = sampler.draw(0)
    assert measure(layout).pieces == 2
    assert sampler.judge(layout, recipe) == []
    assert violations(layout, reference=measure(HEADS[0])) == ["the tumour has 2 pieces, more than 1"]


def test_an_edit_that_cannot_be_done_is_a_redraw(monkeypatch):
    monkeypatch.setattr(Elastic, "run", lambda *_: (_ for _ in ()).throw(LayoutError("it folds")))
    policy = {"steps": [{"any_of": ["elastic", "mirror:layout"]}]}
    drawn = [LayoutSampler(HOSTS, policy, seed=0).draw(k)[1] for k in range(6)]
    assert all([edit["name"] for edit in one.edits] == ["mirror"] for one in drawn)
    assert any(one.redraws == ("it folds",) for one in drawn)


SPECS = [f"{name}:{target}" for name, cls in EDITS.items() for target in cls.targets if name != "remove"]


@st.composite
def steps(draw):
    """A step of a policy: an edit, how likely it is, and for some of its ranges a part of what they are by default."""
    spec = draw(st.sampled_from(SPECS))
    step = {"edit": spec, "probability": draw(st.floats(0.3, 1))}
    for key, default in EDITS[spec.partition(":")[0]].options.items():
        if isinstance(default, tuple) and len(default) == 2 and not isinstance(default[0], str) and draw(st.booleans()):
            step[key] = sorted(draw(st.floats(*default)) for _ in range(2))
    return step


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**20), st.lists(steps(), min_size=1, max_size=4), st.booleans())
def test_any_policy_ends_lawful_or_is_refused(seed, parts, anew):
    try:
        sampler = LayoutSampler([*HEALTHY, *HOSTS], {"steps": ["new", *parts] if anew else parts}, seed)
        layout, drawn = sampler.draw(0)
    except LayoutError as error:  # such as shares that do not sum to 1, or nothing lawful among all attempts
        assert "attempts gave a lawful layout" in str(error) or "cannot be" in str(error)  # noqa: PT017
        return
    if drawn.edits:  # a real layout may stay as it is
        assert sampler.judge(layout, drawn) == []
    assert same(sampler.replay(drawn), layout)


def test_atlas_anatomies_are_healthy_and_replay_by_id():
    sampler = LayoutSampler(AtlasAnatomies(), seed=1)
    layout, recipe = sampler.draw(0)
    assert recipe.host.startswith("atlas-")
    assert recipe.edits[0]["name"] == "new"
    assert violations(layout, satellites=2) == []
    assert same(LayoutSampler(AtlasAnatomies(), seed=8).replay(recipe), layout)


def test_real_maps_on_the_template_are_sampled_at_full_size(real_data):
    tissue = np.asanyarray(nib.load(real_data / "atlas" / "sri24_tissues.nii.gz").dataobj).astype(np.uint8)
    hosts = []
    for path in sorted((real_data / "labels" / "full").glob("*.nii.gz"))[:3]:
        labels = np.asanyarray(nib.load(path).dataobj).astype(np.uint8)
        labels[labels == 4] = Tumour.ET
        hosts.append(MemorySource(Layout(tissue, labels * (tissue > 0), np.array(AFFINE), path.name[:-11])))
    sampler = LayoutSampler(hosts, seed=0)
    for k in range(2):
        layout, recipe = sampler.draw(k)
        assert sampler.judge(layout, recipe) == []
        assert layout.volumes_ml()["WT"] > 2


def test_a_swap_with_nobody_to_swap_with_is_refused():
    with pytest.raises(LayoutError, match="only one"):
        LayoutSampler([MemorySource(head_layout())], edits=["swap"])


def test_what_edits_break_off_is_taken_out_and_recorded(monkeypatch):
    broken = replace(HEADS[0], id="broken", tumour=HEADS[0].tumour.copy())
    corner = tuple(np.argwhere((broken.tissue == 3) & (broken.tumour == 0))[-1])
    crumb = tuple(slice(n - 1, n + 1) for n in corner)
    broken.tumour[crumb] = (broken.tissue[crumb] > 0) * Tumour.ED
    assert measure(broken).pieces == 2
    monkeypatch.setattr(Mirror, "run", lambda *_: Outcome(broken))
    sampler = LayoutSampler(HOSTS[:1], ["mirror:layout"], seed=0)
    layout, recipe = sampler.draw(0)
    assert [edit["name"] for edit in recipe.edits] == ["mirror", "largest"]
    assert (measure(layout).pieces, recipe.redraws) == (1, ())
    monkeypatch.setattr("synth.layout.sampling.attempt.MAX_BROKEN", 0.0)
    with pytest.raises(LayoutError, match="times the tumour has pieces"):
        sampler.draw(0)


def test_an_edit_of_the_brain_leaves_the_tumour_whose_it_was():
    sampler = LayoutSampler(HOSTS, ["satellites", "atrophy"], seed=1)
    layout, recipe = sampler.draw(0)
    assert [edit["name"] for edit in recipe.edits] == ["satellites", "atrophy"]
    assert measure(layout).pieces > 1
    assert sampler.judge(layout, recipe) == []


def test_brains_are_mirrored_before_a_planned_side_is_met():
    policy = {"steps": ["new", "mirror:layout"]}
    _, planned = LayoutSampler(HEALTHY, policy, 0, "balanced-side").draw(0)
    assert [edit["name"] for edit in planned.edits][:2] == ["mirror", "new"]
    _, free = LayoutSampler(HEALTHY, policy, 0).draw(0)
    assert [edit["name"] for edit in free.edits] == ["new", "mirror"]
