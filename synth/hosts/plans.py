"""Plans as commands take them: those that match a dataset read it here, whatever form it has."""

from pathlib import Path

from synth.hosts.inputs import find_inputs
from synth.layout.facts import TumourFacts, describe
from synth.layout.plans.plan import Plan
from synth.layout.plans.plan_file import AnyPlan, plan_of


def read_plan(plan: AnyPlan) -> Plan:
    """A plan, its dict, a preset's name, or the path of a plan file; a dataset it is to match is measured now.

    Raises:
        LayoutError: it is none of these.
        SynthError: the dataset to match cannot be read.
    """
    return plan_of(plan, tumours_of)


def tumours_of(path: str | Path) -> list[TumourFacts]:
    """What the tumours of the layouts, cases or segmentations at a path are like.

    Raises:
        SynthError: nothing is there, or it cannot be read.
    """
    return [describe(source.load()) for source in find_inputs(path)]
