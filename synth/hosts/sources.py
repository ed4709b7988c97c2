"""What a run samples from: brains, tumours and styles, of the user's cases or of none."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from synth.case import Case
from synth.datasets.findings import folded_lines
from synth.datasets.layout_files import folder_sources, list_layouts, load_style, map_path
from synth.datasets.members import Member
from synth.datasets.reading import PLAIN, Reading
from synth.datasets.sets import CaseSet, open_set
from synth.errors import LayoutError, SynthError
from synth.hosts.anatomies import AtlasAnatomies
from synth.hosts.extract import extract_layouts
from synth.layout.detail import MAPS as DETAIL
from synth.layout.sampling.sources import LayoutSource
from synth.style.prior import MINIMUM_STYLES, StylePrior, mixed_style, shipped_style_prior
from synth.style.style import Style

STYLES = ("mixed", "own", "sampled")
EMBEDDED = "embedded, branched"  # no data; runs that say "embedded" otherwise had other folds, shares and vessels


@dataclass(frozen=True)
class Sources:
    """Hosts and donors of layouts, and where styles come from.

    Attributes:
        hosts: sources of layouts, for a `LayoutSampler`.
        own_style: the measured style of a host, by its id; None where hosts have none (atlas anatomies, bare layouts).
        prior: what sampled styles are drawn from, made when first asked for.
        name: what the run's record says: `EMBEDDED`, or the ids' count and checksum.
        reads: folders that hosts and styles are read from: no run may clear them.
        reading: what the user stated about the files of the data, for the run's record.
        scan: gives a host's scan by its id; None where hosts are layouts alone.
    """

    hosts: Sequence[LayoutSource]
    own_style: Callable[[str], Style] | None
    prior: Callable[[], StylePrior]
    name: str
    reads: tuple[Path, ...] = ()
    reading: Reading = PLAIN
    scan: Callable[[str], Case] | None = None

    def style(self, kind: str, host: str, rng: np.random.Generator) -> Style:
        """A style drawn with `rng` between those of hosts and of the prior, the host's own, or one of the prior.

        Raises:
            SynthError: an unknown kind, or "own" or "mixed" where hosts have no style.
        """
        if kind not in STYLES:
            raise SynthError(f"style must be one of {', '.join(STYLES)}, found {kind!r}.")
        if kind == "sampled":
            return self.prior().sample(rng)
        if self.own_style is None:
            raise SynthError(f"--style {kind} needs --data with scans: these layouts have none to take a style from.")
        if kind == "own":
            return self.own_style(host)
        return mixed_style([partial(self.own_style, source.id) for source in self.hosts], self._mixing(), rng)

    @property
    def usual_style(self) -> str:
        """The kind of styles that samples have where nobody says otherwise."""
        return "sampled" if self.own_style is None else "mixed"

    def _mixing(self) -> StylePrior:
        """What "mixed" draws nobody's styles from: the hosts' own prior, or the shipped one where they are too few."""
        return self.prior() if len(self.hosts) >= MINIMUM_STYLES else shipped_style_prior()


def embedded_sources() -> Sources:
    """The atlas anatomies with drawn tumours, and the shipped styles: no data needed."""
    return Sources(AtlasAnatomies(), None, shipped_style_prior, EMBEDDED)


def data_sources(
    data: str | Path | CaseSet,
    layouts: str | Path,
    progress: Callable[[Iterable], Iterable] = iter,
    tell: Callable[[str], None] = lambda line: None,
    *,
    detail: bool = True,
) -> tuple[Sources, list[str]]:
    """Hosts, donors and styles from a folder of BraTS cases, or from one of layouts already extracted.

    Args:
        data: BraTS cases, or what `synth layouts extract` wrote.
        layouts: where layouts of BraTS cases are kept (not used when `data` holds layouts).
        progress: wraps the list of cases (`tqdm`).
        tell: called with each warning about them.
        detail: find the detail of layouts too, as the commands do for a generator that sees it, such as the packaged
            one (`models.cards.sees_detail`); one that does not paints the same with and without.

    Returns:
        The sources, and a sentence for each case that had to be left out, alike ones folded.

    Raises:
        SynthError: no case is usable.
    """
    problems, scans = [], {}
    place = folder = Path(data)
    if not list_layouts(folder):
        cases = open_set(data, scans=True)
        results = extract_layouts(cases, layouts, detail=detail, progress=progress, tell=tell)
        scans = {member.id: member for member in cases.members}
        problems = folded_lines((result.id, result.problem) for result in results if result.problem)
        usable = {result.id for result in results if not result.problem}
        if not usable:
            raise LayoutError(f"{place}: none of {len(results)} cases can be used; the first: {problems[0]}")
        folder = Path(layouts)
        hosts = [source for source in folder_sources(folder) if source.id in usable]
    else:
        hosts = folder_sources(folder)
    paths = {source.id: source.path for source in hosts}
    reads, reading = (place, folder), data.reading if isinstance(data, CaseSet) else PLAIN
    if not any(_style_file(path).is_file() for path in paths.values()):  # layouts alone: of other programs, say
        return Sources(hosts, None, shipped_style_prior, _describe(paths, styled=False), reads, reading), problems
    scan = partial(_read_scan, scans) if scans else None
    styles = _Styles(paths)
    return Sources(hosts, styles, styles.prior, _describe(paths), reads, reading, scan), problems


class _Styles:
    """The styles of layouts in their folders; to another process goes where they are, not what was read."""

    def __init__(self, paths: Mapping[str, Path]):
        self._paths = paths
        self._load = lru_cache(64)(load_style)
        self._prior: StylePrior | None = None

    def __call__(self, host: str) -> Style:
        return self._load(self._paths[host])

    def prior(self) -> StylePrior:
        """Fitted to all of them."""
        if self._prior is None:
            self._prior = StylePrior.fit(load_style(path) for path in self._paths.values())
        return self._prior

    def __reduce__(self) -> tuple:
        return _Styles, (self._paths,)


def _read_scan(scans: Mapping[str, Member], host: str) -> Case:
    return scans[host].read("ignore")


def _style_file(path: Path) -> Path:
    return path / f"{path.name}_style.json"


def _describe(paths: dict[str, Path], styled: bool = True) -> str:
    """Count and checksum of the styles, which remember the scans they were measured on: no ids, no paths.

    Where there are none, of the label maps themselves.
    """
    digest = hashlib.sha256()
    for name in sorted(paths):
        maps = [paths[name] / f"{name}_{part}.nii.gz" for part in ("tissue", "tumour")]
        records = []
        layers = [path for path in (map_path(paths[name], part) for part in DETAIL) if path.is_file()]
        for path in [*([_style_file(paths[name])] if styled else maps), *layers]:
            try:
                records.append(path.read_bytes())
            except OSError as error:
                what = "style" if styled else "map"
                raise LayoutError(
                    f"{path}: expected the {what} of this layout, found none; extract it again."
                ) from error
        digest.update(json.dumps([name, *(hashlib.sha256(record).hexdigest() for record in records)]).encode())
    return f"{len(paths)} cases {digest.hexdigest()[:16]}"
