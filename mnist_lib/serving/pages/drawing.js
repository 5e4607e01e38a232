"use strict";

// A canvas to draw on with mouse, pen or finger: it keeps the strokes, so that the last one can
// be taken back, and tells when they have changed.

const PEN = 1 / 13;  // the width of a stroke, of the canvas's; as broad as those of MNIST

class Drawing {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", {willReadFrequently: true});
    this.changed = changed;
    this.strokes = [];
    this.pointer = null;
    canvas.addEventListener("pointerdown", event => this.begin(event));
    canvas.addEventListener("pointermove", event => this.follow(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, event => this.end(event));
    }
  }

  begin(event) {
    if (this.pointer !== null || event.button > 0) return;
    event.preventDefault();
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.strokes.push([this.placeOf(event)]);
    this.draw();
  }

  follow(event) {
    if (event.pointerId !== this.pointer) return;
    const stroke = this.strokes[this.strokes.length - 1];
    const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const one of events.length ? events : [event]) stroke.push(this.placeOf(one));
    this.draw();
  }

  end(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.changed();
  }

  clear() {
    this.strokes = [];
    this.draw();
    this.changed();
  }

  undo() {
    this.strokes.pop();
    this.draw();
    this.changed();
  }

  placeOf(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      (event.clientX - box.left) / box.width * this.canvas.width,
      (event.clientY - box.top) / box.height * this.canvas.height,
    ];
  }

  draw() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.addStrokes(this.context, getComputedStyle(this.canvas).color);
  }

  addStrokes(context, colour) {
    context.strokeStyle = colour;
    context.lineWidth = PEN * this.canvas.width;
    context.lineCap = context.lineJoin = "round";
    for (const [first, ...others] of this.strokes) {
      context.beginPath();
      context.moveTo(...first);
      context.lineTo(...first);  // a dot, if nothing follows
      for (const place of others) context.lineTo(...place);
      context.stroke();
    }
  }
}

// Keys and buttons that every page with a drawing has.
function listenToKeys(drawing) {
  document.addEventListener("keydown", event => {
    const isChoosing = event.target instanceof HTMLSelectElement;  // where letters choose, too
    if (isChoosing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "c") drawing.clear();
    if (event.key === "u") drawing.undo();
  });
  document.getElementById("clear").addEventListener("click", () => drawing.clear());
  document.getElementById("undo").addEventListener("click", () => drawing.undo());
}
