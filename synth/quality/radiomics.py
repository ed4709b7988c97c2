"""Probe "radiomics": hand-made texture features of PyRadiomics, where that package is installed.

Arrays of `record("radiomics", ...)`:

- `features`: (948,) float32, of each modality in the order of `brats.MODALITIES` the 237 features of `CLASSES` over
  the brain, on the scan itself and behind a Laplacian of Gaussian of 3 and 6 mm. NaN where a feature has no value.

The radiomic Frechet distance is that between two sets of such features, each normalised by the real set (Konz et al.,
arXiv:2412.01496). Theirs has wavelets too, voxels of 2 mm and a normalisation of its own; here scans are z-scored in
the brain, brought to 3 mm and spared the wavelets, or a case would take minutes (so it is 12 s at best). Numbers are
not comparable with published ones, only with their real-versus-real yardstick.

PyRadiomics is no dependency: PyPI has no wheel of it for Python 3.10 and later, and 3.1.0 cannot be built from there.
"""

import logging
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import numpy as np

from synth.quality.prepared import Prepared
from synth.quality.probes import Probe
from synth.quality.thumbnail import BLOCK, block_sums

NAME = "radiomics"
INSTALL = "pip install --no-build-isolation pyradiomics==3.0.1 (it needs a C compiler)."
CLASSES = ("firstorder", "glcm", "glrlm", "glszm", "ngtdm")  # of the paper
SIGMAS = [3.0, 6.0]  # mm; the paper has 2 to 5, finer than our voxels
SCALE = 100  # as the paper's `normalizeScale`: deviations x 100, in bins of 5
SHIFT = 300  # voxelArrayShift: energies are of positive numbers


def available() -> bool:
    """Whether PyRadiomics (and SimpleITK, on which it rests) can be imported; the probe needs it."""
    return find_spec("radiomics") is not None and find_spec("SimpleITK") is not None


def measure_radiomics(prepared: Prepared) -> dict[str, np.ndarray]:
    """The features of one case, as the head of this module lists them, in a tenth of a minute to half a minute."""
    import SimpleITK

    sums, _ = block_sums(prepared.z, prepared.box)
    inside, _ = block_sums(prepared.brain, prepared.box)
    mask = _image(SimpleITK, (inside > BLOCK**3 / 2).astype(np.uint8))
    features = []
    for m in range(sums.shape[-1]):
        measured = _extractor().execute(_image(SimpleITK, sums[..., m] * (SCALE / BLOCK**3)), mask)
        features += [float(value) for name, value in sorted(measured.items()) if not name.startswith("diagnostics")]
    return {"features": np.array(features, np.float32)}


def _version() -> str:
    """That of the package too: its features change with it."""
    try:
        return f"1-{version('pyradiomics')}"
    except PackageNotFoundError:
        return "1"


PROBE = Probe(NAME, _version(), measure_radiomics)


@cache
def _extractor():
    from radiomics import featureextractor

    logging.getLogger("radiomics").setLevel(logging.ERROR)  # it tells of every feature class
    extractor = featureextractor.RadiomicsFeatureExtractor(binWidth=5, voxelArrayShift=SHIFT, normalize=False)
    extractor.disableAllFeatures()
    extractor.disableAllImageTypes()
    extractor.enableImageTypeByName("Original")
    extractor.enableImageTypeByName("LoG", customArgs={"sigma": SIGMAS})
    for name in CLASSES:
        extractor.enableFeatureClassByName(name)
    return extractor


def _image(itk, volume: np.ndarray):
    image = itk.GetImageFromArray(np.ascontiguousarray(volume.transpose()))
    image.SetSpacing((float(BLOCK),) * 3)
    return image
