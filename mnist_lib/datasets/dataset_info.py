"""What is known about a data set and its original files before anything is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One original file, IDX packed by gzip, or the archive that holds such files.

    Attributes:
      name: file name as published.
      num_bytes: its size; None where nobody has published it.
      sha256: its SHA-256, hexadecimal; None likewise.
      content_sha256: SHA-256 after decompression; None likewise.
      md5: its MD5, hexadecimal, where that is all that was published.
    """

    name: str
    num_bytes: int | None = None
    sha256: str | None = None
    content_sha256: str | None = None
    md5: str | None = None


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What is known about a data set before anything is read.

    Attributes:
      name: name in this library and in TFDS, after a `/` that of its configuration.
      version: the TFDS version that is used.
      url: the address before the names of the original files; None: it is generated.
      class_names: one name per label, label 0 first.
      files: train images, train labels, test images, test labels; none if generated.
      num_train: images in the training split, before validation is held out.
      num_test: images in the test split.
      archive: the zip file that is downloaded, with `files` in its folder `gzip`; None: they are
        downloaded one by one.
      num_in_files: images in the files for training and for testing; None: `num_train`, `num_test`.
      first_test: number of the first image of the test split in its file.
      first_label: the label that the files give the class 0.
      transposed: whether rows and columns of each image are exchanged in the files.
      stored_sha256: split name to the SHA-256, hexadecimal, of all images and then all labels,
        a byte each, in the order in which TFDS stores them; where they are known.
    """

    name: str
    version: str
    url: str | None
    class_names: tuple[str, ...]
    files: tuple[SourceFile, ...] = ()
    num_train: int = 60_000
    num_test: int = 10_000
    archive: SourceFile | None = None
    num_in_files: tuple[int, int] | None = None
    first_test: int = 0
    first_label: int = 0
    transposed: bool = False
    stored_sha256: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def family(self) -> str:
        """The name without that of a configuration: one builder of TFDS, and one archive."""
        return self.name.partition("/")[0]

    @property
    def published(self) -> tuple[SourceFile, ...]:
        """The files as they are downloaded: the archive, or each by itself."""
        return self.files if self.archive is None else (self.archive,)

    def shape_in(self, file: SourceFile) -> tuple[int, ...]:
        """Returns the shape of the array in one of `files`: `[N, 28, 28]`, `[N]` or `[N, 8]`."""
        is_train = "train" in file.name
        num_train, num_test = self.num_in_files or (self.num_train, self.num_test)
        num_examples = num_train if is_train else num_test
        if "images" in file.name:
            return (num_examples, 28, 28)
        return (num_examples, 8) if "idx2-int" in file.name else (num_examples,)
