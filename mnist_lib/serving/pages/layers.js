"use strict";

// The layers of a network. A value is a batch, {count, shape, data}: `count` examples of `shape`
// (height, width, channels; or units) in one Float32Array, the last index running fastest.
// Each function takes a layer's description and the values that go into it, and returns what
// comes out. Descriptions are written by mnist_lib/serving/exports/page_layers.py.

function sizeOf(shape) {
  return shape.reduce((product, side) => product * side, 1);
}

function newValue(count, shape) {
  return {count, shape, data: new Float32Array(count * sizeOf(shape))};
}

function mapped(value, f) {
  return {...value, data: value.data.map(f)};
}

// The products of each of `numRows` rows with each of `numColumns` weight vectors, all of
// `length` numbers one after the other, plus the bias. This is where the time goes: two rows
// and four vectors at a time, so that each number that is read is used several times.
function multiply(rows, numRows, weights, numColumns, length, bias, out) {
  for (let column = 0; column < numColumns; column += 4) {
    const width = Math.min(4, numColumns - column);
    const w0 = column * length;
    const w1 = width > 1 ? w0 + length : w0;
    const w2 = width > 2 ? w1 + length : w0;
    const w3 = width > 3 ? w2 + length : w0;
    for (let row = 0; row < numRows; row += 2) {
      const isPair = row + 1 < numRows;
      const a = row * length;
      const b = isPair ? a + length : a;
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      for (let k = 0; k < length; k++) {
        const x = rows[a + k], y = rows[b + k];
        const p = weights[w0 + k], q = weights[w1 + k];
        const r = weights[w2 + k], s = weights[w3 + k];
        a0 += x * p; a1 += x * q; a2 += x * r; a3 += x * s;
        b0 += y * p; b1 += y * q; b2 += y * r; b3 += y * s;
      }
      const sums = isPair ? [[a0, a1, a2, a3], [b0, b1, b2, b3]] : [[a0, a1, a2, a3]];
      for (const [next, products] of sums.entries()) {
        const at = (row + next) * numColumns + column;
        for (let i = 0; i < width; i++) {
          out[at + i] = products[i] + (bias ? bias[column + i] : 0);
        }
      }
    }
  }
}

// Where windows of `size` lie along a side: how many, and how many places of the first one are
// before the side's beginning. "same" pads as TensorFlow does, the smaller half in front.
function windows(side, size, stride, padding) {
  if (padding === "valid") {
    return {count: Math.floor((side - size) / stride) + 1, before: 0};
  }
  const count = Math.ceil(side / stride);
  const padded = Math.max((count - 1) * stride + size - side, 0);
  return {count, before: Math.floor(padded / 2)};
}

// Calls f(outRow, outColumn, top, left) for each window of a layer with `size` and `strides`.
function eachWindow(layer, [height, width], f) {
  const down = windows(height, layer.size[0], layer.strides[0], layer.padding);
  const across = windows(width, layer.size[1], layer.strides[1], layer.padding);
  for (let i = 0; i < down.count; i++) {
    for (let j = 0; j < across.count; j++) {
      f(i, j, i * layer.strides[0] - down.before, j * layer.strides[1] - across.before);
    }
  }
}

// What a kernel sees at each of its places on image n, a row of numbers for each place.
function patches(layer, x, n, rows) {
  const [height, width, channels] = x.shape;
  const image = n * height * width * channels;
  let at = 0;
  eachWindow(layer, x.shape, (i, j, top, left) => {
    for (let row = top; row < top + layer.size[0]; row++) {
      for (let column = left; column < left + layer.size[1]; column++) {
        const isInside = row >= 0 && row < height && column >= 0 && column < width;
        const from = image + (row * width + column) * channels;
        for (let c = 0; c < channels; c++) rows[at++] = isInside ? x.data[from + c] : 0;
      }
    }
  });
}

// Moves the rows that differ from the one before to the front. Returns how many they are, and for
// each of the old rows the number of the new one that is like it.
function withoutRepetitions(rows, numRows, length) {
  const numberOf = new Int32Array(numRows);
  let last = 0;
  for (let row = 1; row < numRows; row++) {
    let k = 0;
    while (k < length && rows[row * length + k] === rows[last * length + k]) k++;
    if (k < length) rows.copyWithin(++last * length, row * length, (row + 1) * length);
    numberOf[row] = last;
  }
  return {count: last + 1, numberOf};
}

// The product of the patches and the kernels. Empty paper looks the same at one place after the
// other, and is computed once.
function convolution(layer, [x]) {
  const out = newValue(x.count, layer.shape);
  const places = layer.shape[0] * layer.shape[1], filters = layer.shape[2];
  const length = layer.size[0] * layer.size[1] * x.shape[2];
  const rows = new Float32Array(places * length);
  const products = new Float32Array(places * filters);
  for (let n = 0; n < x.count; n++) {
    patches(layer, x, n, rows);
    const {count, numberOf} = withoutRepetitions(rows, places, length);
    multiply(rows, count, layer.kernel, filters, length, layer.bias, products);
    for (let place = 0; place < places; place++) {
      const start = numberOf[place] * filters;
      const own = products.subarray(start, start + filters);
      out.data.set(own, (n * places + place) * filters);
    }
  }
  return out;
}

function dense(layer, [x]) {
  const out = newValue(x.count, layer.shape);
  const units = layer.shape[layer.shape.length - 1];
  const length = x.shape[x.shape.length - 1];
  multiply(x.data, x.data.length / length, layer.kernel, units, length, layer.bias, out.data);
  return out;
}

// The largest or the mean of the places of each window that are inside of the image.
function pooling(layer, [x], isMax) {
  const [height, width, channels] = x.shape;
  const out = newValue(x.count, layer.shape);
  let at = 0;
  for (let n = 0; n < x.count; n++) {
    const image = n * height * width * channels;
    eachWindow(layer, x.shape, (i, j, top, left) => {
      const bottom = Math.min(top + layer.size[0], height);
      const right = Math.min(left + layer.size[1], width);
      for (let c = 0; c < channels; c++) {
        let largest = -Infinity, sum = 0, count = 0;
        for (let row = Math.max(top, 0); row < bottom; row++) {
          for (let column = Math.max(left, 0); column < right; column++) {
            const value = x.data[image + (row * width + column) * channels + c];
            largest = Math.max(largest, value);
            sum += value;
            count++;
          }
        }
        out.data[at++] = isMax ? largest : sum / count;
      }
    });
  }
  return out;
}

// As in use: its averages are fixed, so that it is a factor and an addend for each channel.
function batchNormalization(layer, [x]) {
  const channels = layer.factor.length;
  return mapped(x, (value, i) => value * layer.factor[i % channels] + layer.addend[i % channels]);
}

// Copies a rectangle of x into one of another size; `by` rows and columns are left out in front,
// or, if negative, left empty.
function shiftedCopy(layer, x, by) {
  const [height, width, channels] = x.shape;
  const [newHeight, newWidth] = layer.shape;
  const out = newValue(x.count, layer.shape);
  for (let n = 0; n < x.count; n++) {
    for (let i = 0; i < newHeight; i++) {
      for (let j = 0; j < newWidth; j++) {
        const row = i + by[0], column = j + by[1];
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        const from = ((n * height + row) * width + column) * channels;
        const to = ((n * newHeight + i) * newWidth + j) * channels;
        for (let c = 0; c < channels; c++) out.data[to + c] = x.data[from + c];
      }
    }
  }
  return out;
}

function maxout(layer, [x]) {
  const out = newValue(x.count, layer.shape);
  for (let i = 0; i < out.data.length; i++) {
    let largest = -Infinity;
    for (let piece = 0; piece < layer.pieces; piece++) {
      largest = Math.max(largest, x.data[i * layer.pieces + piece]);
    }
    out.data[i] = largest;
  }
  return out;
}

function sumOf(layer, values) {
  return mapped(values[0], (_, i) => values.reduce((sum, value) => sum + value.data[i], 0));
}

function concatenation(layer, values) {  // along the last axis
  const out = newValue(values[0].count, layer.shape);
  const width = layer.shape[layer.shape.length - 1];
  let start = 0;
  for (const {shape, data} of values) {
    const part = shape[shape.length - 1];
    for (let i = 0; i < data.length; i++) {
      out.data[Math.floor(i / part) * width + start + i % part] = data[i];
    }
    start += part;
  }
  return out;
}

function globalAverage(layer, [x]) {
  const out = newValue(x.count, layer.shape);
  const channels = x.shape[2], places = x.shape[0] * x.shape[1];
  for (let i = 0; i < x.data.length; i++) {
    const example = Math.floor(i / (places * channels));
    out.data[example * channels + i % channels] += x.data[i] / places;
  }
  return out;
}

// Each gets a number and the slope of the layer, which only those with one use.
const ACTIVATIONS = {
  relu: x => Math.max(x, 0),
  leaky_relu: (x, slope) => x < 0 ? slope * x : x,
  elu: (x, slope) => x < 0 ? slope * Math.expm1(x) : x,
  sigmoid: x => 1 / (1 + Math.exp(-x)),
  tanh: x => Math.tanh(x),
};

const LAYERS = {
  rescaling: (layer, [x]) => mapped(x, value => value * layer.scale + layer.offset),
  crop: (layer, [x]) => shiftedCopy(layer, x, layer.before),
  pad: (layer, [x]) => shiftedCopy(layer, x, layer.before.map(places => -places)),
  convolution,
  dense,
  batch_normalization: batchNormalization,
  max_pooling: (layer, values) => pooling(layer, values, true),
  average_pooling: (layer, values) => pooling(layer, values, false),
  global_average: globalAverage,
  reshape: (layer, [x]) => ({...x, shape: layer.shape}),
  activation: (layer, [x]) => x,  // what it does is its `activation`, which all layers may have
  dropout: (layer, [x]) => x,  // drops only while a network is trained
  maxout,
  add: sumOf,
  concatenate: concatenation,
};
