"""From a picture of any kind to the 28 x 28 images that MNIST is made of; no TensorFlow.

`read_picture` reads a file or what it holds, `find_digit` finds the digit in it and `find_digits`
those of a line; `Digit.image` is uint8 `[28, 28]`, bright ink on 0.
"""

from mnist_lib.serving.pictures.finding import Digit as Digit
from mnist_lib.serving.pictures.finding import find_digit as find_digit
from mnist_lib.serving.pictures.finding import find_digits as find_digits
from mnist_lib.serving.pictures.reading import read_picture as read_picture
