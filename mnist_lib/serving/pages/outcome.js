"use strict";

// What a page shows of an image: the bars of the probabilities, the image, a sentence.

// A bar for each class, in the list with the id `bars`.
function makeBars(classNames) {
  document.getElementById("bars").replaceChildren(...classNames.map(name => {
    const item = document.createElement("li");
    for (const [kind, text] of [["name", name], ["bar", ""], ["percent", ""]]) {
      const part = document.createElement("span");
      part.className = kind;
      part.textContent = text;
      item.append(part);
    }
    item.children[1].append(document.createElement("span"));
    return item;
  }));
}

// Shows probabilities, or, given null, none.
function showProbabilities(probabilities, classNames) {
  const best = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : -1;
  [...document.getElementById("bars").children].forEach((item, i) => {
    const percent = probabilities ? 100 * probabilities[i] : 0;
    item.classList.toggle("best", i === best);
    item.children[1].firstChild.style.width = `${percent}%`;
    item.children[2].textContent = probabilities ? `${percent.toFixed(1)} %` : "";
    item.setAttribute("aria-label", `${classNames[i]}: ${percent.toFixed(1)} percent`);
  });
  const percent = best < 0 ? 0 : Math.round(100 * probabilities[best]);
  say(best < 0 ? "Draw something." : `This is ${classNames[best]}, ${percent} % sure.`);
}

function say(text) {
  const place = document.getElementById("result");
  if (place.textContent !== text) place.textContent = text;
}

// Draws `channels` pictures of numbers in [0, 255], each `height` x `width`, side by side in rows
// of `perRow`, one pixel apart.
function drawGrey(canvas, numbers, channels, height, width, perRow) {
  const rows = Math.ceil(channels / perRow);
  canvas.width = Math.min(channels, perRow) * (width + 1) - 1;
  canvas.height = rows * (height + 1) - 1;
  const context = canvas.getContext("2d");
  for (let channel = 0; channel < channels; channel++) {
    const pixels = context.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      const grey = numbers[channel * width * height + i];
      pixels.data.set([grey, grey, grey, 255], 4 * i);
    }
    const x = channel % perRow * (width + 1), y = Math.floor(channel / perRow) * (height + 1);
    context.putImageData(pixels, x, y);
  }
}

// What the network saw: one image, or, given null, an empty one.
function showSeen(numbers, height, width) {
  const canvas = document.getElementById("seen");
  drawGrey(canvas, numbers || new Float32Array(height * width), 1, height, width, 1);
}
