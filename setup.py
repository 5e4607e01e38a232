"""Package metadata of mnist_lib; `pip install .` builds it."""

import pathlib
import re

import setuptools

_ROOT = pathlib.Path(__file__).parent
_VERSION: dict[str, str] = {}
exec((_ROOT / "mnist_lib" / "version.py").read_text(encoding="utf-8"), _VERSION)

# What decides numbers, pictures or file formats ends with the minor version that was checked.
# What only carries or shows ends with the major one, so that mended releases come through.
_REQUIRED = [
    "absl-py>=2.1,<3",
    "cloudpickle>=3,<3.2",
    "filelock>=3.16,<5",
    "google-crc32c>=1.5,<2",  # records
    "importlib_resources>=6,<8",  # tensorflow-datasets 4.9.10 imports it undeclared
    "keras>=3.15.1,<3.16",
    "matplotlib>=3.9,<3.12",  # figures
    "numpy>=1.26,<2.6",
    "pillow>=11,<14",  # pictures
    "protobuf>=5.28,<8",  # event files
    "requests>=2.32,<3",
    "rich>=13,<16",
    "scipy>=1.13,<1.19",  # intervals
    "tenacity>=9,<10",
    "tensorboard>=2.21,<2.22",  # tensorflow 2.21 no longer installs it
    "tensorflow>=2.21,<2.22",
    "tensorflow-datasets>=4.9.10,<4.10",
    "tqdm>=4.66,<5",
    "urllib3>=2.1,<3",
    "werkzeug>=3.1,<4",  # the page to draw on
]
_TSNE = ["scikit-learn>=1.5,<1.10"]
# Each runs, or writes, one of the formats of `mnist-lib export`.
_EXPORT = ["ai-edge-litert>=2.1,<2.4", "onnxruntime>=1.20,<1.33", "tf2onnx>=1.17,<1.18"]
_TEST = [
    *_TSNE,
    "hypothesis>=6.130,<7",
    "pytest>=8,<10",
    "pytest-timeout>=2.4,<3",
    "pytest-xdist>=3.8,<4",
    "selenium>=4.30,<5",
    "statsmodels>=0.14,<0.16",
]
_DEV = [
    *_TEST,
    *_EXPORT,
    "build>=1,<2",
    "cyclonedx-bom>=7,<8",  # make sbom
    "ipykernel>=6.29,<8",  # with nbclient, notebooks that are run and interrupted
    "jsonschema>=4,<5",
    "mypy>=2,<3",
    "nbclient>=0.10,<1",
    "packaging>=24,<27",
    "pip-audit>=2.10,<3",  # make audit
    "pre-commit>=4,<5",
    "psutil>=7,<8",
    "pyyaml>=6,<7",  # with jsonschema, the example for Kubernetes
    "ruff>=0.17,<0.18",
    "setuptools>=77,<85",
    "uv>=0.13,<0.14",  # make lock
]


def _long_description() -> str:
    """Returns README.md without what leads to other files: there are none beside a wheel."""
    text = (_ROOT / "README.md").read_text(encoding="utf-8")
    elsewhere = r"(?!https?://|#|mailto:)[^)\s]+"
    text = re.sub(rf"\n*!\[[^\]]*\]\({elsewhere}\)", "", text)
    return re.sub(rf"\[([^\]]+)\]\({elsewhere}\)", r"\1", text)


setuptools.setup(
    name="mnist_lib",
    version=_VERSION["__version__"],
    author="The mnist_lib authors",
    description="MNIST training in TensorFlow with tf.distribute: exact, resumable, fast",
    long_description=_long_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    keywords="mnist tensorflow keras tf.distribute tensorboard",
    python_requires=">=3.11,<3.14",
    # Said though it is the default: of a package root that is named, `pip install -e` leaves a
    # path, which type checkers can read, and of none an import hook, which they cannot.
    package_dir={"": "."},
    packages=setuptools.find_packages(include=["mnist_lib", "mnist_lib.*"]),
    package_data={
        "mnist_lib": [
            "py.typed",
            "datasets/validation_manifest.json",
            *(f"serving/pages/*.{ending}" for ending in ("html", "css", "js")),
        ]
    },
    entry_points={"console_scripts": ["mnist-lib = mnist_lib.__main__:main"]},
    zip_safe=False,
    install_requires=_REQUIRED,
    extras_require={
        "tsne": _TSNE,  # mnist-lib visualize embedding --projection=tsne
        "export": _EXPORT,
        "profile": ["xprof>=2.21,<3"],  # a viewer for --profile_steps
        "and-cuda": ["tensorflow[and-cuda]>=2.21,<2.22"],
        "test": _TEST,
        "dev": _DEV,
    },
)
