"""Finds the digits in a picture and makes of each an image like those of MNIST."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image
from scipy import ndimage

from mnist_lib import choices, errors
from mnist_lib.serving.pictures import framing, lines, paper

# The numbers were chosen by trial on simulated photos of MNIST's training images.
_WORKING_SIDE = 640  # pixels; of a larger picture an average is looked through
_EIGHT_NEIGHBOURS = np.ones((3, 3), bool)
# Parts of one digit lie nearer to each other than this share of its longer side.
_GAP = 0.15
_LEAST_LEVEL = 0.6  # of its ink: less is a shadow or a line
_LEAST_SIDE, _LEAST_PART = 5, 0.012  # pixels, and share of the picture: less is a speck
_FULL_INK, _FLOOR, _EDGE = 0.75, 0.1, 0.3  # quantile that becomes 1, what becomes 0, the box's
_MARGIN = 3  # pixels around a part in which its soft edge lies
_OFF_LINE, _LEAST_HEIGHT = 0.5, 0.4  # of the largest digit's height
_LEAST_SHARE = 0.02  # of the ink of the largest part: less is dirt


@dataclasses.dataclass(frozen=True)
class Digit:
    """A digit that was found in a picture.

    Attributes:
      image: uint8 `[28, 28]`, 0 background to 255 ink.
      box: left, top, right and bottom in pixels of the picture, the latter two exclusive.
      background: `"light"` or `"dark"`, what the picture's was taken for.
      as_is: whether the picture was an image like MNIST's already and `image` is all of it.
    """

    image: np.ndarray
    box: tuple[int, int, int, int]
    background: str
    as_is: bool = False


def find_digit(picture: np.ndarray, *, background: str = "auto") -> Digit:
    """Finds the one digit in a picture: what has most ink, with the parts close to it.

    A picture of 28 x 28 pixels whose border is black, or white, is taken for an image like
    MNIST's: it is kept as it is, or inverted, to the bit.

    Args:
      picture: float32 `[H, W]`, luminance in 0..1, as `read_picture` returns it.
      background: `"light"`, `"dark"`, or `"auto"`, which tells them apart.

    Raises:
      ConfigError: `background` is none of these, or the picture has another shape or dtype.
      CorruptDataError: the picture is blank.
    """
    _check(picture, background)
    ready = _ready_image(picture, background)
    if ready is not None:
        return ready
    page = _Page(picture, background)
    return page.digit(page.largest_group())


def find_digits(picture: np.ndarray, *, background: str = "auto") -> list[Digit]:
    """Finds the digits of a line in a picture, from left to right.

    Args and errors are those of `find_digit`.
    """
    _check(picture, background)
    ready = _ready_image(picture, background)
    if ready is not None:
        return [ready]
    page = _Page(picture, background)
    return [page.digit(group) for group in page.groups_in_line()]


def _check(picture: np.ndarray, background: str) -> None:
    choices.check("background", background)
    if picture.dtype != np.float32 or picture.ndim != 2 or not picture.size:
        raise errors.ConfigError(
            "picture", f"{picture.dtype} {list(picture.shape)}; expected float32 [H, W]"
        )


def _ready_image(picture: np.ndarray, background: str) -> Digit | None:
    """Returns an image that is like MNIST's already as it is; None: it is not."""
    if picture.shape != (framing.SIDE, framing.SIDE):
        return None
    border = np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]])
    level = float(np.median(border))
    if background == "auto":
        background = "light" if level > 0.5 else "dark"
    ground = 1.0 if background == "light" else 0.0
    if abs(level - ground) > 0.1 or np.ptp(picture) < 0.1:
        return None
    image = np.rint((picture if ground == 0 else 1 - picture) * 255).astype(np.uint8)
    return Digit(image, (0, 0, framing.SIDE, framing.SIDE), background, as_is=True)


class _Page:
    """A picture's ink, cleaned of lines, and the connected parts of it."""

    def __init__(self, picture: np.ndarray, background: str):
        self._shape = picture.shape
        self._scale = min(1.0, _WORKING_SIDE / max(picture.shape))
        if self._scale < 1:
            height, width = (max(1, round(side * self._scale)) for side in picture.shape)
            resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BOX)
            picture = np.asarray(resized)
        self._ink, self._background = paper.ink_map(picture, background)
        floor = paper.noise_floor(self._ink)
        is_line = lines.find_lines(self._ink > floor)
        if is_line.any():
            around = ndimage.binary_dilation(is_line, _EIGHT_NEIGHBOURS)
            floor = max(floor, float(np.quantile(self._ink[is_line], 0.9)))
            mask = ~is_line & (self._ink > paper.stroke_threshold(self._ink[~around], floor))
        else:
            mask = self._ink > paper.stroke_threshold(self._ink, floor)
        self._labels, num_parts = ndimage.label(mask, _EIGHT_NEIGHBOURS)
        self._boxes = ndimage.find_objects(self._labels)
        self._least_side = max(_LEAST_SIDE, _LEAST_PART * max(mask.shape))
        if not any(map(self._is_large, self._boxes)):
            raise errors.CorruptDataError(
                "picture: is blank, nothing stands out from its background. Pass another one, or "
                "say which background it has."
            )
        labels = self._labels[mask]
        self._mass = np.bincount(labels, self._ink[mask], num_parts + 1)[1:]
        self._level = self._mass / np.bincount(labels, minlength=num_parts + 1)[1:]

    def largest_group(self) -> list[int]:
        """Returns the parts of the digit with most ink; parts at the border count less."""
        weights = self._mass * self._level**2
        weights = weights * np.where([self._at_border(box) for box in self._boxes], 0.1, 1.0)
        weights = weights * [self._is_large(box) for box in self._boxes]
        main = int(np.argmax(weights))
        group, box = [main], _edges(self._boxes[main])
        for _ in range(2):
            for part, place in enumerate(self._boxes):
                if part in group or not self._is_like(part, main):
                    continue
                other = _edges(place)
                if _distance(box, other) <= _GAP * max(box[2] - box[0], box[3] - box[1]):
                    group.append(part)
                    box = _union(box, other)
        return group

    def _is_like(self, part: int, main: int) -> bool:
        """Whether a part may be of the same ink as the largest one, and no dirt."""
        return (
            self._mass[part] >= _LEAST_SHARE * self._mass[main]
            and self._level[part] >= _LEAST_LEVEL * self._level[main]
        )

    def groups_in_line(self) -> list[list[int]]:
        """Returns the parts of each digit of the line of the largest one, from left to right."""
        main = self.largest_group()
        line = self._edges_of(main)
        is_whole = not self._at_border(self._boxes[main[0]])
        height = line[2] - line[0]
        groups: list[list[int]] = []
        for part in np.argsort(-self._mass):
            place = _edges(self._boxes[part])
            middle = (place[0] + place[2]) / 2
            in_line = line[0] - _OFF_LINE * height <= middle <= line[2] + _OFF_LINE * height
            is_cut_off = self._at_border(self._boxes[part]) and is_whole
            if is_cut_off or not in_line or not self._is_like(part, main[0]):
                continue
            home = self._home(place, groups, height)
            if home is not None:
                home.append(int(part))
            elif place[2] - place[0] >= _LEAST_HEIGHT * height:
                groups.append([int(part)])
        return sorted(groups or [main], key=lambda group: self._edges_of(group)[1])

    def _home(self, place: tuple, groups: list[list[int]], height: int) -> list[int] | None:
        """Returns the group that a part belongs to: one above or below it, or close to it."""
        for group in groups:
            other = self._edges_of(group)
            shared = min(place[3], other[3]) - max(place[1], other[1])
            narrower = min(place[3] - place[1], other[3] - other[1])
            is_small = place[2] - place[0] < _LEAST_HEIGHT * height
            if shared > 0.5 * narrower:
                return group
            if is_small and _distance(place, other) <= _GAP * height / 2:
                return group
        return None

    def _edges_of(self, group: list[int]) -> tuple[int, int, int, int]:
        edges = _edges(self._boxes[group[0]])
        for part in group[1:]:
            edges = _union(edges, _edges(self._boxes[part]))
        return edges

    def digit(self, group: list[int]) -> Digit:
        """Returns the digit that some parts make up."""
        top, left, bottom, right = self._edges_of(group)
        margin = _MARGIN
        rows = slice(max(0, top - margin), bottom + margin)
        columns = slice(max(0, left - margin), right + margin)
        core = np.isin(self._labels[rows, columns], np.array(group) + 1)
        near = ndimage.binary_dilation(core, _EIGHT_NEIGHBOURS, iterations=margin)
        ink = self._ink[rows, columns]
        level = float(np.quantile(ink[core], _FULL_INK))
        shown = np.where(near, np.clip((ink / level - _FLOOR) / (1 - _FLOOR), 0, 1), 0)
        used = shown > _EDGE
        first, last = np.flatnonzero(used.any(1))[[0, -1]]
        begin, end = np.flatnonzero(used.any(0))[[0, -1]]
        last, end = last + 1, end + 1
        image = framing.frame(shown[first:last, begin:end].astype(np.float32))
        box = (columns.start + begin, rows.start + first, columns.start + end, rows.start + last)
        return Digit(image, self._in_picture(box), self._background)

    def _in_picture(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        height, width = self._shape
        left, top, right, bottom = (round(side / self._scale) for side in box)
        return left, top, min(width, right), min(height, bottom)

    def _is_large(self, box: tuple[slice, slice]) -> bool:
        rows, columns = box
        return max(rows.stop - rows.start, columns.stop - columns.start) >= self._least_side

    def _at_border(self, box: tuple[slice, slice]) -> bool:
        height, width = self._labels.shape
        rows, columns = box
        return rows.start == 0 or columns.start == 0 or rows.stop == height or columns.stop == width


def _edges(box: tuple[slice, slice]) -> tuple[int, int, int, int]:
    rows, columns = box
    return rows.start, columns.start, rows.stop, columns.stop


def _union(one: tuple, other: tuple) -> tuple[int, int, int, int]:
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _distance(one: tuple, other: tuple) -> int:
    """Returns the pixels between two boxes, along the axis on which they are farther apart."""
    down = max(one[0] - other[2], other[0] - one[2], 0)
    across = max(one[1] - other[3], other[1] - one[3], 0)
    return max(down, across)
