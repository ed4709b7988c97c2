"""Validity: is every case what a BraTS case is, down to the bytes that its manifest vouches for?"""

from collections import defaultdict
from collections.abc import Sequence

from scipy.stats import fisher_exact

from synth.brats import MODALITIES
from synth.datasets.findings import ERROR
from synth.errors import printable
from synth.report.core.judge import Check, Section, Table, Verdict, Yardstick, not_judged
from synth.report.core.material import Material, records_of_members

BRAIN_SHARE = (0.08, 0.30)  # of the grid; the 16 real cases fill 0.14 to 0.19
COVERED = 0.9  # of the brain, by each modality; the 16 real cases at least 0.993
ONE_PIECE = 0.995  # of the brain's voxels in one piece; the 16 real cases 0.9999
DISTINCT = 64  # values in a modality; the 16 real cases have hundreds
SATURATED = 0.01  # of the brain at the highest value; the 16 real cases at most 0.0002
# share of cases beyond that of the real ones, and how unlikely it must be that both are alike (Fisher's exact test)
LAW_LOOK, LAW_FAIL = (0.1, 0.05), (0.3, 0.01)
TOPICS = {
    "files": "files are complete and can be read",
    "geometry": "grid, spacing, orientation and place are BraTS's",
    "intensities": "modalities are scans: finite, not negative, background 0",
    "labels": "labels are legal and lie inside the brain",
}
_NAMED = 5  # cases that a reason names


def section(material: Material) -> Section:
    """The section, made of sets without one usable case too."""
    changed = changed_files(records_of_members(material.painted), material.ours.files)
    painted, scans = (tuple(map(str, cases.findings)) for cases in (material.painted, material.scans))
    return section_of(material.ours.facts, material.theirs.facts, painted, changed, scans)


def section_of(
    synthetic: Sequence[dict],
    real: Sequence[dict],
    problems: Sequence[str],
    changed: Sequence[str] | None,
    real_problems: Sequence[str] = (),
) -> Section:
    """The section, from the facts of every case (`id`, `findings`, and for usable ones those of `core.facts`).

    Args:
        synthetic: facts of the synthetic cases, unusable ones included.
        real: facts of the real ones: the yardstick of the law.
        problems: of the synthetic set as a whole.
        changed: what is wrong with files against the manifest, in sentences; None where there is no manifest.
        real_problems: of the real set as a whole; they are told, not judged.
    """
    usable = [facts for facts in synthetic if "digests" in facts]
    checks = [_set_check(problems, synthetic)]
    checks += [_topic_check(topic, said, synthetic) for topic, said in TOPICS.items()]
    checks += [_brain_check(usable), _range_check(usable), _duplicate_check(usable), _label_twins(usable)]
    checks += [_law_check(usable, [facts for facts in real if "law" in facts]), _manifest_check(changed, synthetic)]
    notes = []
    if lost := len(synthetic) - len(usable):
        notes.append(f"{lost} of {len(synthetic)} synthetic cases cannot be used; the other sections are without them.")
    if lost := sum("digests" not in facts for facts in real):
        notes.append(f"{lost} of {len(real)} real cases cannot be used and were left out.")
    notes += [f"Of the real set: {problem}" for problem in real_problems]
    warned = sum(any(f["severity"] != ERROR for f in facts["findings"]) for facts in synthetic)
    if warned:
        notes.append(f"{warned} synthetic cases have warnings (table below).")
    return Section(
        "validity",
        "Validity",
        "Is every case what a BraTS case is, down to the bytes that were written?",
        tuple(checks),
        tables=_findings_table(synthetic, real),
        notes=tuple(notes),
    )


def _share_check(id: str, title: str, bad: dict[str, str], of: int, fail: Verdict = Verdict.FAIL) -> Check:
    """A rule that every case must keep; `bad` names those that do not, with the reason."""
    n = {"synthetic": of}
    if not of:
        return not_judged(f"validity.{id}", "Cases", title, "no case could be read.")
    value = 1 - len(bad) / of
    if not bad:
        return Check(f"validity.{id}", "Cases", title, 1.0, "of cases", Verdict.PASS, f"all {of} cases.", n=n)
    (first, why), *_ = bad.items()
    reason = f"{len(bad)} of {of} cases do not, such as {printable(first)}: {why}"
    return Check(f"validity.{id}", "Cases", title, value, "of cases", fail, reason, n=n, cases=tuple(bad))


def _set_check(problems: Sequence[str], synthetic: Sequence[dict]) -> Check:
    title = "every id stands for one case"
    if not problems:
        return Check("validity.set", "Set", title, 1.0, "of cases", Verdict.PASS, f"{len(synthetic)} ids, no problem.")
    return Check("validity.set", "Set", title, 0.0, "of cases", Verdict.FAIL, problems[0])


def _topic_check(topic: str, title: str, synthetic: Sequence[dict]) -> Check:
    bad = {
        facts["id"]: finding["message"]
        for facts in synthetic
        for finding in facts["findings"]
        if finding["topic"] == topic and finding["severity"] == ERROR
    }
    return _share_check(topic, title, bad, len(synthetic))


def _brain_check(usable: Sequence[dict]) -> Check:
    bad = {}
    for facts in usable:
        share, piece = facts["brain_share"], facts["largest_piece"]
        if not BRAIN_SHARE[0] <= share <= BRAIN_SHARE[1]:
            bad[facts["id"]] = f"the brain fills {share:.1%} of the grid; {BRAIN_SHARE[0]:.0%}-{BRAIN_SHARE[1]:.0%} do."
        elif piece < ONE_PIECE:
            bad[facts["id"]] = f"{1 - piece:.2%} of the voxels above 0 lie apart from the brain, in the background."
    return _share_check("background", "one skull-stripped brain on a background of exactly 0", bad, len(usable))


def _range_check(usable: Sequence[dict]) -> Check:
    bad = {}
    for facts in usable:
        for name, values in facts["ranges"].items():
            if values["covered"] < COVERED:
                bad[facts["id"]] = f"{name} is 0 in {1 - values['covered']:.0%} of the brain."
            elif values["distinct"] < DISTINCT:
                bad[facts["id"]] = f"{name} has only {values['distinct']} different values."
            elif values["saturated"] > SATURATED:
                bad[facts["id"]] = f"{values['saturated']:.1%} of {name} stand at its highest value."
    return _share_check("ranges", "intensities fill their range: no holes, steps or cut-off peaks", bad, len(usable))


def _duplicate_check(usable: Sequence[dict]) -> Check:
    bad = {}
    for name in MODALITIES:
        for ids in _alike(usable, name):
            bad |= {other: f"its {name} is that of {printable(ids[0])}, voxel by voxel." for other in ids[1:]}
    return _share_check("duplicates", "no scan is there twice", bad, len(usable))


def _label_twins(usable: Sequence[dict]) -> Check:
    ill = [facts for facts in usable if facts["tumour_voxels"]]  # brains without tumour all have the same empty map
    bad = {}
    for ids in _alike(ill, "seg"):
        bad |= {other: f"it has the label map of {printable(ids[0])}." for other in ids[1:]}
    return _share_check("label_maps", "no label map is there twice", bad, len(ill), Verdict.LOOK)


def _alike(usable: Sequence[dict], name: str) -> list[list[str]]:
    groups = defaultdict(list)
    for facts in usable:
        groups[facts["digests"][name]].append(facts["id"])
    return [ids for ids in groups.values() if len(ids) > 1]


def _law_check(usable: Sequence[dict], real: Sequence[dict]) -> Check:
    id, title = "validity.law", "anatomical law, as tissue is found in the scan"
    judged = [facts for facts in usable if "law" in facts]
    if not judged:
        return not_judged(id, "Anatomy", title, "no case in which tissue could be found.")
    bad = {facts["id"]: facts["law"][0] for facts in judged if facts["law"]}
    share = len(bad) / len(judged)
    real_bad = sum(bool(facts["law"]) for facts in real)
    usual = real_bad / len(real) if real else 0.0
    verdict = Verdict.PASS
    chance = _chance(len(bad), len(judged), real_bad, len(real))
    for worse, (margin, unlikely) in ((Verdict.LOOK, LAW_LOOK), (Verdict.FAIL, LAW_FAIL)):
        if share > usual + margin and chance < unlikely:
            verdict = worse
    reason = f"{len(bad)} of {len(judged)} cases exceed a limit that {usual:.0%} of the real cases exceed too"
    if bad:
        first, why = next(iter(bad.items()))
        reason += f"; such as {printable(first)}: {why}"
    yardstick = Yardstick(1 - usual, 1 - usual, 1 - usual, f"the {len(real)} real cases") if real else None
    n = {"synthetic": len(judged), "real": len(real)}
    return Check(id, "Anatomy", title, 1 - share, "of cases", verdict, reason + ".", yardstick, n=n, cases=tuple(bad))


def _chance(bad: int, of: int, real_bad: int, real: int) -> float:
    """How likely so many more breaches than among real cases are, if there is no difference; one-sided."""
    return float(fisher_exact([[bad, of - bad], [real_bad, real - real_bad]], "greater")[1])


def _manifest_check(changed: Sequence[str] | None, synthetic: Sequence[dict]) -> Check:
    id, title = "validity.manifest", "files are those that the manifest vouches for"
    if changed is None:
        return not_judged(id, "Set", title, "the set has no manifest.jsonl: nothing vouches for its files.")
    if changed:
        reason = f"{len(changed)} problems, such as {changed[0]}"
        return Check(id, "Set", title, float(len(changed)), "problems", Verdict.FAIL, reason)
    return Check(id, "Set", title, 0.0, "problems", Verdict.PASS, f"checksums of all {len(synthetic)} cases agree.")


def changed_files(records: dict[str, dict] | None, files: dict[str, dict[str, str]]) -> list[str] | None:
    """What is wrong with files against the manifest, in sentences; None without a manifest.

    Args:
        records: the manifest's, by case id.
        files: case id -> checksum of each file, by path below the set's folder (in HDF5: of the case, by its id).
    """
    if records is None:
        return None
    out = []
    for name, record in records.items():
        if name not in files:
            out.append(f"{printable(name)}: expected from the manifest, not found.")
            continue
        if not record.get("files"):
            out.append(f"{printable(name)}: the manifest names no file of it.")
        for path, expected in record.get("files", {}).items():
            digest = files[name].get(path, files[name].get(path.rpartition("/")[2]))
            if digest is None:
                out.append(f"{printable(path)}: expected from the manifest, not found.")
            elif digest != expected:
                out.append(f"{printable(path)}: the checksum differs from the manifest's; the file was changed.")
    return out + [f"{printable(name)}: is not in the manifest." for name in files if name not in records]


def _findings_table(synthetic: Sequence[dict], real: Sequence[dict]) -> tuple[Table, ...]:
    rows = [
        (facts["id"], side, finding["severity"], finding["message"])
        for side, sets in (("synthetic", synthetic), ("real", real))
        for facts in sets
        for finding in facts["findings"]
    ]
    rows += [(facts["id"], "synthetic", "law", why + ".") for facts in synthetic for why in facts.get("law", ())]
    if not rows:
        return ()
    return (Table("validity.findings", "Findings", ("case", "set", "kind", "what was found"), tuple(rows)),)
