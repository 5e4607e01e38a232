"use strict";

// The page of `mnist-lib demo`: pictures go to the server, which answers with what the chosen
// run's network makes of them.

const CELL = 40;  // pixels of the screen for each channel of a feature map
const UNIT = 10;  // and for each unit of a layer without places
const TEN_DIGITS = [..."0123456789"];

let classNames = TEN_DIGITS;
let picture = null;  // what was looked at last: {blob, source}
let numAsked = 0;  // looks that were asked for, and the last of them that is shown
let numShown = 0;

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
}

function tellProblem(text) {
  const place = document.getElementById("problem");
  place.hidden = !text;
  place.textContent = text;
}

async function answerOf(url, options) {
  const response = await fetch(url, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// Black on white, as a PNG file.
function fileOf(drawing) {
  const paper = document.createElement("canvas");
  paper.width = drawing.canvas.width;
  paper.height = drawing.canvas.height;
  const context = paper.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, paper.width, paper.height);
  drawing.addStrokes(context, "#000");
  return new Promise(resolve => paper.toBlob(resolve, "image/png"));
}

async function look() {
  const asked = ++numAsked;
  const run = document.getElementById("runs").value;
  if (picture === null || !run) {
    tellProblem("");
    show(null);
    return;
  }
  const query = new URLSearchParams({run, source: picture.source});
  try {
    const answer = await answerOf(`look?${query}`, {method: "POST", body: picture.blob});
    if (asked !== numAsked) return;  // something newer is on its way
    tellProblem("");
    show(answer);
  } catch (error) {
    if (asked !== numAsked) return;
    show(null);
    tellProblem(error.message);
  }
}

function show(answer) {
  numShown = numAsked;
  if (answer && answer.class_names.join() !== classNames.join()) {
    classNames = answer.class_names;
    makeBars(classNames);
  }
  showProbabilities(answer && answer.probabilities, classNames);
  showSeen(answer && bytesOf(answer.image), 28, 28);
  for (const id of ["layers-title", "layers-note"]) document.getElementById(id).hidden = !answer;
  const place = document.getElementById("layers");
  place.replaceChildren(...(answer ? answer.layers : []).map(layer => layerFigure(layer, place)));
}

function layerFigure(layer, place) {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas");
  const caption = document.createElement("figcaption");
  caption.textContent = `${layer.name}: ${layer.kind}, ${layer.shape.join(" x ")}`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Outputs of the layer ${layer.name}`);
  const numbers = bytesOf(layer.values);
  if (layer.shape.length === 3) {
    const [height, width, channels] = layer.shape;
    const perRow = Math.min(channels, Math.max(1, Math.floor(place.clientWidth / CELL)));
    drawGrey(canvas, numbers, channels, height, width, perRow);
    canvas.style.width = `${perRow * CELL}px`;
  } else {
    const width = Math.min(numbers.length, 64), height = Math.ceil(numbers.length / width);
    drawGrey(canvas, numbers, 1, height, width, 1);
    canvas.style.width = `${width * UNIT}px`;
  }
  figure.append(caption, canvas);
  return figure;
}

// Shows the runs there are; while one is trained, how far it is, and asks again.
async function listRuns() {
  const {runs, training} = await answerOf("runs");
  const list = document.getElementById("runs");
  const chosen = list.value;
  list.replaceChildren(...runs.map(run => {
    const option = document.createElement("option");
    option.value = run.name;
    option.disabled = Boolean(run.error);
    option.textContent = run.error || run.name;
    option.dataset.text = run.text || "";
    return option;
  }));
  const usable = runs.filter(run => !run.error).map(run => run.name);
  list.value = usable.includes(chosen) ? chosen : usable[0];
  tellRun();
  document.getElementById("training").hidden = !training;
  if (training) {
    const progress = document.getElementById("progress"), total = training.total_steps;
    progress.value = total ? training.step / total : 0;
    const accuracy = training.validation_accuracy;
    const told = accuracy === null ? "" : `, ${(100 * accuracy).toFixed(1)} % right`;
    document.getElementById("training-text").textContent =
      `There is no run yet: one is trained. Step ${training.step} of ${total || "?"}${told} `;
    setTimeout(() => listRuns().catch(error => tellProblem(error.message)), 1000);
  } else if (!usable.length) {
    tellProblem("There is no run to show.");
  } else if (!chosen) {
    look();
  }
}

function tellRun() {
  const [option] = document.getElementById("runs").selectedOptions;
  document.getElementById("run-text").textContent = option ? option.dataset.text : "";
}

async function lookAtDrawing(drawing) {
  const asked = ++numAsked;
  const blob = drawing.strokes.length ? await fileOf(drawing) : null;
  if (asked !== numAsked) return;
  picture = blob && {blob, source: "drawing"};
  look();
}

// Looks at a photo, and shows it where drawings are, as large as fits.
async function lookAtPhoto(file, drawing) {
  drawing.strokes = [];
  drawing.draw();
  picture = {blob: file, source: "photo"};
  look();
  const {canvas} = drawing;
  try {
    const photo = await createImageBitmap(file);
    const scale = Math.min(canvas.width / photo.width, canvas.height / photo.height);
    const width = photo.width * scale, height = photo.height * scale;
    drawing.context.drawImage(
      photo, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height,
    );
  } catch {
    // A format that the browser does not show; the server's answer tells whether it can.
  }
}

function takePhotos(drawing) {
  const input = document.getElementById("photo");
  input.addEventListener("change", () => {
    if (input.files.length) lookAtPhoto(input.files[0], drawing);
    input.value = "";
  });
  document.addEventListener("dragover", event => event.preventDefault());
  document.addEventListener("drop", event => {
    event.preventDefault();
    if (event.dataTransfer.files.length) lookAtPhoto(event.dataTransfer.files[0], drawing);
  });
  document.addEventListener("paste", event => {
    const files = event.clipboardData.files;
    if (files.length) lookAtPhoto(files[0], drawing);
  });
}

makeBars(classNames);
const drawing = new Drawing(document.getElementById("drawing"), () => lookAtDrawing(drawing));
listenToKeys(drawing);
takePhotos(drawing);
document.getElementById("runs").addEventListener("change", () => {
  tellRun();
  look();
});
show(null);
listRuns().catch(error => tellProblem(error.message));
