"use strict";
// What all charts are made of. Everything comes from the embedded data; nothing is loaded.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RAMP = [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]]; // as cividis
const LINES = ["a", "b", "c", "d"];

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const sign = (text) => text.replace("-", "−");

function ramp(share) {
  const place = clamp(share, 0, 1) * (RAMP.length - 1), index = Math.min(Math.floor(place), RAMP.length - 2);
  const mix = RAMP[index].map((from, i) => Math.round(from + (RAMP[index + 1][i] - from) * (place - index)));
  return `rgb(${mix})`;
}

function figure(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  for (const [unit, of] of [["G", 1e9], ["M", 1e6], ["k", 1e4]]) {
    if (size >= of) return sign((value / (unit === "k" ? 1e3 : of)).toPrecision(digits)) + " " + unit;
  }
  if (Number.isInteger(value)) return sign(String(value));
  if (size < 10 ** (1 - digits)) return sign(String(Number(value.toPrecision(3)))); // a rate: decimals would be lost
  return sign(value.toFixed(size >= 100 ? 1 : digits));
}

/** The text of a tick, with decimals enough for the distance to the next. */
const mark = (at, decimals) =>
  sign(decimals < 6 || !at ? at.toFixed(decimals < 6 ? decimals : 0) : at.toExponential(Math.max(0, decimals + Math.floor(Math.log10(Math.abs(at)) + 1e-9))));

const amount = (value, unit) => (unit === "s" ? `${figure(value, 2)} s` : figure(value));

function element(space, name, attributes, children) {
  const made = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}
const html = (name, attributes, ...children) => element(null, name, attributes, children);
const svg = (name, attributes, ...children) => element("http://www.w3.org/2000/svg", name, attributes, children);

const linear = (low, high, from, to) => (value) => from + ((value - low) / (high - low || 1)) * (to - from);

function ticks(low, high, count) {
  const rough = (high - low || 1) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return { at: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low > high) return [0, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.04;
  return [low - room, high + room];
}

/** An SVG with axes in an emptied host; returns it with its scales and the box of the plot. */
function frame(host, { label, height, x, y, xName, yName, right = 14, whole = false }) {
  const width = Math.max(host.clientWidth, 260), box = { left: 58, top: 26, right: width - right, bottom: height - 42 };
  const X = linear(...x, box.left, box.right), Y = linear(...y, box.bottom, box.top);
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const across = ticks(...x, clamp(Math.floor((box.right - box.left) / 90), 3, 8)), up = ticks(...y, 5);
  for (const at of up.at) {
    drawing.append(svg("line", { x1: box.left, x2: box.right, y1: Y(at), y2: Y(at), stroke: "var(--grid)" }),
      svg("text", { x: box.left - 8, y: Y(at) + 4, "text-anchor": "end" }, mark(at, up.digits)));
  }
  for (const at of across.at) {
    if (whole && !Number.isInteger(at)) continue;
    drawing.append(svg("text", { x: Math.min(X(at), width - 22), y: box.bottom + 18, "text-anchor": "middle" },
      Math.abs(at) >= 1e4 ? figure(at, 3) : mark(at, whole ? 0 : across.digits)));
  }
  drawing.append(svg("line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, stroke: "var(--line)" }),
    svg("text", { x: box.right, y: box.bottom + 36, "text-anchor": "end" }, xName), svg("text", { x: 0, y: 12 }, yName));
  host.replaceChildren(drawing);
  return { drawing, X, Y, box };
}

const path = (points, attributes) =>
  svg("path", { d: "M" + points.map((point) => point.map((n) => n.toFixed(1)).join(" ")).join("L"), fill: "none", ...attributes });
const steps = (points) => points.flatMap((point, i) => (i ? [[point[0], points[i - 1][1]], point] : [point]));

/** Names at the right end of lines, moved apart where they would lie on each other, cut where they are too long. */
function names(drawing, x, labels, box) {
  const room = Number(drawing.getAttribute("width")) - x;
  labels.sort((a, b) => a.y - b.y);
  labels.forEach((each, i) => { each.at = i ? Math.max(each.y, labels[i - 1].at + 15) : each.y; });
  const over = labels.length ? Math.max(0, labels[labels.length - 1].at - box.bottom) : 0;
  for (const each of labels) {
    const text = svg("text", { x, y: each.at - over + 4, class: "name", style: `fill:${each.color}` }, each.name);
    drawing.append(text);
    if (text.getComputedTextLength() <= room) continue;
    let kept = each.name.length - 1;
    do text.textContent = `${each.name.slice(0, kept)}…`; while (text.getComputedTextLength() > room && --kept > 1);
    text.append(svg("title", {}, each.name));
  }
}

const key = (stroke, name, dashed) => html("span", { class: "legend" },
  html("span", { class: "stroke", style: `border-top-color:${stroke};border-top-style:${dashed ? "dashed" : "solid"}` }), name);

/** A drawing that opens in its full size; as an image, so that its styles and names stay its own. */
function picture(name, drawing) {
  const image = () => html("img", { alt: `${name} drawn layer by layer`, src: "data:image/svg+xml;charset=utf-8," + encodeURIComponent(drawing) });
  return html("button", { type: "button", class: "picture", "aria-label": `Picture of ${name}, enlarge`, onclick: () => {
    const dialog = html("dialog", { "aria-label": `Picture of ${name}`, onclick: () => dialog.close(), onclose: () => dialog.remove() },
      html("button", { type: "button" }, "Close"), image());
    document.body.append(dialog);
    dialog.showModal();
  } }, image());
}

/** Draws now, and again when the width or the colour scheme changes, and for paper. */
function keepDrawn(drawAll) {
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; drawAll(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // Paper is narrower than the window: charts are drawn again for it, and folded tables are opened.
  const unfolded = [];
  window.addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printed");
    drawAll(); // makes tables of its own
    for (const each of document.querySelectorAll("details:not([open])")) { each.open = true; unfolded.push(each); }
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printed");
    for (const each of unfolded.splice(0)) each.open = false;
    drawAll();
  });
  drawAll();
}
