"use strict";

// A network: its layers in their order, with their weights, and what it makes of images.

function bytesOf(base64) {
  const text = atob(base64.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function base64Of(bytes) {
  const parts = [];
  for (let i = 0; i < bytes.length; i += 0x8000) {
    parts.push(String.fromCharCode(...bytes.subarray(i, i + 0x8000)));
  }
  return btoa(parts.join(""));
}

// The last axis first: one vector of weights for each output, as `multiply` wants them.
function columnsOf(kernel, numColumns) {
  const length = kernel.length / numColumns;
  const columns = new Float32Array(kernel.length);
  for (let i = 0; i < kernel.length; i++) {
    columns[(i % numColumns) * length + Math.floor(i / numColumns)] = kernel[i];
  }
  return columns;
}

class Network {
  // `layers`: a list of {name, kind, inputs, shape, ...}; `weights`: all numbers in one
  // Float32Array, of which each layer's `weights` says where its own are.
  constructor(layers, weights) {
    this.layers = layers.map(layer => {
      const own = {};
      for (const [name, {start, length}] of Object.entries(layer.weights || {})) {
        own[name] = weights.subarray(start, start + length);
      }
      if (own.kernel) own.kernel = columnsOf(own.kernel, layer.shape[layer.shape.length - 1]);
      return {...layer, ...own};
    });
  }

  // From `count` images, their numbers one after the other, to a Float32Array of logits.
  logits(images, count) {
    const [input, ...layers] = this.layers;
    const values = new Map();
    values.set(input.name, {count, shape: input.shape, data: Float32Array.from(images)});
    let value;
    for (const layer of layers) {
      value = LAYERS[layer.kind](layer, layer.inputs.map(name => values.get(name)));
      if (layer.activation) {
        const activation = ACTIVATIONS[layer.activation];
        value = mapped(value, number => activation(number, layer.slope));
      }
      values.set(layer.name, value);
    }
    return value.data;
  }

  // Likewise to the probabilities of the classes.
  probabilities(images, count) {
    const logits = this.logits(images, count);
    const classes = logits.length / count;
    const found = new Float32Array(logits.length);
    for (let n = 0; n < count; n++) {
      const own = logits.subarray(n * classes, (n + 1) * classes);
      const largest = own.reduce((a, b) => Math.max(a, b));
      const powers = Array.from(own, logit => Math.exp(logit - largest));
      const sum = powers.reduce((a, b) => a + b);
      found.set(powers.map(power => power / sum), n * classes);
    }
    return found;
  }
}
