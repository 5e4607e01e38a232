"use strict";

// The page of one network, which opens from disk: see `export.html`.

const MODEL = JSON.parse(document.getElementById("model").textContent);
const [HEIGHT, WIDTH, CHANNELS] = MODEL.image_shape;
const network = new Network(
  MODEL.layers, new Float32Array(bytesOf(document.getElementById("weights").textContent).buffer),
);

// The ink of the drawing in [0, 255]: what covers the empty canvas.
function inkOf({context, canvas}) {
  const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((_, i) => i % 4 === 3);
}

function look(drawing) {
  const {canvas} = drawing;
  const image = normalized(inkOf(drawing), canvas.width, canvas.height, HEIGHT, WIDTH);
  showSeen(image, HEIGHT, WIDTH);
  if (image === null) {
    showProbabilities(null, MODEL.class_names);
    return;
  }
  const input = new Float32Array(image.length * CHANNELS);  // the same in each channel
  for (let i = 0; i < input.length; i++) input[i] = image[Math.floor(i / CHANNELS)];
  showProbabilities(Array.from(network.probabilities(input, 1)), MODEL.class_names);
}

function showFacts() {
  const list = document.getElementById("facts");
  for (const [name, text] of Object.entries(MODEL.facts)) {
    const term = document.createElement("dt"), value = document.createElement("dd");
    term.textContent = name;
    value.textContent = text;
    list.append(term, value);
  }
}

// Where images were put into a copy of the page (`html_page.run` does), their probabilities,
// as float32 in base64, take the place of all that the page shows.
function computeAll(element) {
  const {type, count} = element.dataset;
  const {buffer} = bytesOf(element.textContent);
  const images = type === "uint8" ? new Uint8Array(buffer) : new Float32Array(buffer);
  const size = HEIGHT * WIDTH * CHANNELS, batch = 32;
  const found = new Float32Array(count * MODEL.class_names.length);
  const started = performance.now();
  for (let n = 0; n < count; n += batch) {
    const end = Math.min(n + batch, count);
    const part = network.probabilities(images.subarray(n * size, end * size), end - n);
    found.set(part, n * MODEL.class_names.length);
  }
  const seconds = (performance.now() - started) / 1000;
  const text = document.createElement("pre");
  text.textContent = `seconds:${seconds} probabilities:${base64Of(new Uint8Array(found.buffer))};`;
  document.body.replaceChildren(text);
}

const images = document.getElementById("images");
if (images) {
  computeAll(images);
} else {
  makeBars(MODEL.class_names);
  showFacts();
  const drawing = new Drawing(document.getElementById("drawing"), () => look(drawing));
  listenToKeys(drawing);
  look(drawing);
}
