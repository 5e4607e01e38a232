"""The data sets mnist_lib knows: names, counts, original files, checksums.

No TensorFlow is imported here, so that flags can be checked against it.
"""

from __future__ import annotations

from mnist_lib import choices
from mnist_lib.datasets.dataset_info import DatasetInfo, SourceFile

_DIGITS = tuple("0123456789")

MNIST = DatasetInfo(
    name="mnist",
    version="3.0.1",
    url="https://storage.googleapis.com/cvdf-datasets/mnist/",
    class_names=_DIGITS,
    files=(
        SourceFile(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        SourceFile(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        SourceFile(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        SourceFile(
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    # Computed from the four files above; a test does so again.
    stored_sha256={
        "train": "6d82d9f18df5f5fee79d159b3563eb6adcbd1abce0c4bdf9a7010078c6e75062",
        "test": "bf70cada31279c1e952492c5ac496fe89dae2242110d9e77827607cd9b2e825f",
    },
)

# Sizes and checksums of the next two are those that TFDS records (url_checksums/).
FASHION_MNIST = DatasetInfo(
    name="fashion_mnist",
    version="3.0.1",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    files=(
        SourceFile(
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        SourceFile(
            "train-labels-idx1-ubyte.gz",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        SourceFile(
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        SourceFile(
            "t10k-labels-idx1-ubyte.gz",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
)

KMNIST = DatasetInfo(
    name="kmnist",
    version="3.0.1",
    url="http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    files=(
        SourceFile(
            "train-images-idx3-ubyte.gz",
            18_165_135,
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        ),
        SourceFile(
            "train-labels-idx1-ubyte.gz",
            29_497,
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        ),
        SourceFile(
            "t10k-images-idx3-ubyte.gz",
            3_041_136,
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        ),
        SourceFile(
            "t10k-labels-idx1-ubyte.gz",
            5_120,
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    ),
)

# The reconstruction of MNIST from what it was made of: Yadav and Bottou, Cold case: the lost
# MNIST digits, 2019. Its first 10,000 test images are MNIST's; the others are the test split
# here. Checksums are those that torchvision 0.20 records (torchvision/datasets/mnist.py).
QMNIST = DatasetInfo(
    name="qmnist",
    version="1.0.0",
    url="https://raw.githubusercontent.com/facebookresearch/qmnist/master/",
    class_names=_DIGITS,
    files=(
        SourceFile("qmnist-train-images-idx3-ubyte.gz", md5="ed72d4157d28c017586c42bc6afe6370"),
        SourceFile("qmnist-train-labels-idx2-int.gz", md5="0058f8dd561b90ffdd0f734c6a30e5e4"),
        SourceFile("qmnist-test-images-idx3-ubyte.gz", md5="1394631089c404de565df7b7aeaf9412"),
        SourceFile("qmnist-test-labels-idx2-int.gz", md5="5b5b05890a5e13444e108efe57b788aa"),
    ),
    num_test=50_000,
    num_in_files=(60_000, 60_000),
    first_test=10_000,
)


def _emnist(
    configuration: str,
    class_names: tuple[str, ...],
    num_train: int,
    num_test: int,
    version: str = "3.1.0",
    **differing,
) -> DatasetInfo:
    """Describes a part of EMNIST: Cohen, Afshar, Tapson and van Schaik, 2017.

    Its files are known by the archive that they come in alone, whose size and checksum are
    those that TFDS records.
    """
    kinds = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
    return DatasetInfo(
        name=f"emnist/{configuration}",
        version=version,
        url="https://biometrics.nist.gov/cs_links/EMNIST/",
        class_names=class_names,
        files=tuple(SourceFile(f"emnist-{configuration}-{kind}-ubyte.gz") for kind in kinds),
        num_train=num_train,
        num_test=num_test,
        archive=SourceFile(
            "gzip.zip",
            561_753_746,
            "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
        ),
        transposed=True,
        **differing,
    )


_CAPITALS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
EMNIST_PARTS = (
    _emnist("digits", _DIGITS, 240_000, 40_000),
    # Small letters are in the class of their capital. TFDS's version reads a part: letters_builder.
    _emnist("letters", _CAPITALS, 124_800, 20_800, version="4.0.0", first_label=1),
    # Small letters have a class of their own where they look unlike their capital.
    _emnist("balanced", (*_DIGITS, *_CAPITALS, *"abdefghnqrt"), 112_800, 18_800),
    _emnist("mnist", _DIGITS, 60_000, 10_000),
)

SYNTHETIC_DIGITS = DatasetInfo(
    name="synthetic_digits", version="1.0.0", url=None, class_names=_DIGITS
)

CATALOG = {
    info.name: info
    for info in (MNIST, SYNTHETIC_DIGITS, FASHION_MNIST, KMNIST, QMNIST, *EMNIST_PARTS)
}


def dataset_info(name: str) -> DatasetInfo:
    """Returns the catalogue entry of `name`; `auto` has the counts of MNIST."""
    return CATALOG[MNIST.name if name == choices.AUTO else name]
