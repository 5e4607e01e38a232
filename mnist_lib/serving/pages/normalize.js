"use strict";

// A drawing becomes an image as those of MNIST were made (LeCun et al. 1998, section III.A; Yadav
// and Bottou 2019): the ink's box is scaled to 20 x 20 pixels, keeping its aspect, with
// grey levels from the antialiasing, and put into 28 x 28 so that its centre of mass is
// in the middle. An image of another size keeps these proportions.

const BOX = 20 / 28;

// The smallest rectangle that holds all ink; null if there is none.
function boxOf(ink, width, height) {
  let left = width, right = 0, top = height, bottom = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!ink[y * width + x]) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y + 1);
    }
  }
  return right > left ? {left, top, width: right - left, height: bottom - top} : null;
}

// The mean of numbers over each of `count` equal parts of [start, start + length), counting
// the numbers at the borders by the share of them that is inside.
function meansOfParts(numberAt, start, length, count) {
  const means = [];
  const step = length / count;
  for (let i = 0; i < count; i++) {
    const from = start + i * step, to = i + 1 < count ? from + step : start + length;
    let sum = 0;
    for (let at = Math.floor(from); at < to; at++) {
      sum += numberAt(at) * Math.max(0, Math.min(at + 1, to) - Math.max(at, from));
    }
    means.push(sum / step);
  }
  return means;
}

// From ink in [0, 255], `width` x `height`, to a Float32Array of a network's `rows` x `columns`
// whole numbers in [0, 255]; null if there is no ink.
function normalized(ink, width, height, rows, columns) {
  const box = boxOf(ink, width, height);
  if (box === null) return null;
  const side = BOX * Math.min(rows, columns);
  const scale = side / Math.max(box.width, box.height);
  const newWidth = Math.max(1, Math.round(box.width * scale));
  const newHeight = Math.max(1, Math.round(box.height * scale));
  const narrow = [];  // first each row becomes shorter, then each column
  for (let y = 0; y < box.height; y++) {
    const row = (box.top + y) * width;
    narrow.push(meansOfParts(x => ink[row + x], box.left, box.width, newWidth));
  }
  const small = [];
  for (let x = 0; x < newWidth; x++) {
    small.push(meansOfParts(y => narrow[y][x], 0, box.height, newHeight));
  }
  // In MNIST the centre of mass has the place of pixel 14, counted from 0.
  let mass = 0, massX = 0, massY = 0;
  small.forEach((column, x) => column.forEach((value, y) => {
    mass += value;
    massX += value * x;
    massY += value * y;
  }));
  const within = (place, last) => Math.min(Math.max(place, 0), last);
  const left = within(Math.round(columns / 2 - massX / mass), columns - newWidth);
  const top = within(Math.round(rows / 2 - massY / mass), rows - newHeight);
  const image = new Float32Array(rows * columns);
  small.forEach((column, x) => column.forEach((value, y) => {
    image[(top + y) * columns + left + x] = Math.round(value);
  }));
  return image;
}
