"""Packaging of synth-brats: `trainers/` and `exporters/` install as `synth.trainers` and `synth.exporters`."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PACKAGES = find_packages(include=["synth", "synth.*"])
for top in ("trainers", "exporters"):
    PACKAGES += [f"synth.{name}" for name in find_packages(include=[top, f"{top}.*"])]

setup(
    name="synth-brats",
    version="0.1.0",
    description="Synthetic brain-tumour MRI with exact labels: edited label layouts painted into four modalities.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.14",
    packages=PACKAGES,
    package_dir={"synth.trainers": "trainers", "synth.exporters": "exporters"},
    package_data={
        "synth": ["py.typed"],
        "synth.show": ["assets/*"],
        "synth.models": ["weights/*", "weights/*/*"],
        "synth.hosts": ["weights/*"],
        "synth.layout": ["weights/*"],
        "synth.layout.priors": ["weights/*"],
        "synth.style": ["weights/*"],
        "synth.report": ["assets/*"],
    },
    install_requires=[
        "tensorflow>=2.18",
        "nibabel>=5.2",
        "numpy>=1.26",
        "scipy>=1.11",
        "h5py>=3.10",
        "click>=8.1",
        "tqdm>=4.66",
        "nilearn>=0.14",  # carries NiiVue
        "scikit-learn>=1.4",  # nilearn needs it too
        "threadpoolctl>=3.1",  # scikit-learn needs it too
        "pillow>=10.1",
        "pyyaml>=6",
        "fastjsonschema>=2.19",  # pure Python; checks every JSON that somebody else may have written
        "tensorboard>=2.18",  # TensorFlow no longer brings it
        "matplotlib>=3.8",
        "zlib-ng>=1.1; platform_machine in 'x86_64 AMD64 aarch64 arm64'",
    ],
    extras_require={
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "SimpleITK>=2.3",
            "scikit-image>=0.22",
            "medpy>=0.5.2",  # metrics to compare ours with
            "selenium>=4.20",  # drives the system's Chromium, where there is one
            "bids-validator-deno>=2.0; platform_machine in 'x86_64 AMD64 aarch64 arm64'",  # 30 MB, of no other package
            "build>=1",
            "setuptools>=77",
            "wheel",
            "ruff==0.17.*",
            "mypy==2.4.*",
            "distributed>=2025.4",  # the tests of several workers
            "s3fs>=2025.3",  # those of object storage, with moto's server, which needs Flask
            "moto[s3]>=5.1",
            "flask>=2.2",
            "flask-cors>=4",
        ],
        "torch": ["torch>=2.2"],
        "dask": ["distributed>=2025.4", "bokeh>=3.1"],  # bokeh draws Dask's performance report
        "cloud": ["fsspec>=2025.3", "s3fs>=2025.3"],
        "benchmarks": ["scikit-image>=0.22", "SimpleITK>=2.3", "isal>=1.9", "deflate>=0.9"],
    },
    entry_points={"console_scripts": ["synth = synth.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
