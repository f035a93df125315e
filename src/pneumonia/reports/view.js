"use strict";
// The page of reports/view.py. A predicted box is [confidence, x, y, width, height, matches]; boxes are in descending
// confidence, and bit k of `matches` says whether the box matches a true box at the k-th of the IoU thresholds.

const STEPS = 8; // IoU thresholds 0.40, 0.45, ..., 0.75
const COLOURS = ["#58a6ff", "#f778ba", "#d2a8ff", "#ffd33d", "#56d4dd", "#a5d6ff", "#ffab70", "#7ee787"];
const data = JSON.parse(document.getElementById("data").textContent);
const images = data.images;
const ORDERS = {
  worst: ["lowest score first", (a, b) => rank(a) - rank(b)],
  confident: ["most confident first", (a, b) => highest(b) - highest(a)],
  table: ["as in the table", () => 0],
};
const KINDS = {
  all: ["all images", () => true],
  positive: ["with a true box", (image) => image.truth.length > 0],
  negative: ["without a true box", (image) => image.truth.length === 0],
  false: ["false alarms", (image, state) => state.count > state.hits[0]],
  missed: ["misses", (image, state) => image.truth.length > state.hits[0]],
  wrong: ["false alarms or misses", (image, state) => Math.max(state.count, image.truth.length) > state.hits[0]],
};
const chosen = { threshold: data.threshold, kind: "all", order: "worst", groups: data.groups.map(() => "") };
let states = []; // of each image at the threshold
let shown = []; // numbers of the images in the gallery

// ------------------------------------------------------------------ the score

// Boxes at or above the threshold, and the matched ones at each IoU threshold.
function stateOf(image, threshold) {
  const hits = new Array(STEPS).fill(0);
  let count = 0;
  for (const box of image.boxes) {
    if (box[0] < threshold) break;
    count += 1;
    for (let step = 0; step < STEPS; step += 1) hits[step] += (box[5] >> step) & 1;
  }
  return { count, hits, score: imageScore(hits, count, image.truth.length) };
}

// Mean over the IoU thresholds of TP / (TP + FP + FN). null: neither a true nor a predicted box, the image does not count.
function imageScore(hits, count, truths) {
  if (truths === 0) return count === 0 ? null : 0;
  let total = 0;
  for (const hit of hits) total += hit / (count + truths - hit);
  return total / STEPS;
}

// Mean over the images that count; null where none does.
function meanScore(list) {
  const counted = list.filter((state) => state.score !== null);
  return counted.length ? counted.reduce((sum, state) => sum + state.score, 0) / counted.length : null;
}

// [threshold, score] at every threshold that changes the score: one pass over all boxes in descending confidence.
function curve() {
  const steps = [];
  let counted = 0;
  for (const image of images) {
    const hits = new Array(STEPS).fill(0);
    let before = 0;
    if (image.truth.length) counted += 1;
    image.boxes.forEach((box, index) => {
      for (let step = 0; step < STEPS; step += 1) hits[step] += (box[5] >> step) & 1;
      const after = imageScore(hits, index + 1, image.truth.length);
      steps.push([box[0], after - before, !image.truth.length && index === 0 ? 1 : 0]);
      before = after;
    });
  }
  steps.sort((a, b) => b[0] - a[0]);
  const points = [[1, 0]];
  let total = 0;
  steps.forEach(([confidence, gain, more], index) => {
    total += gain;
    counted += more;
    if (index + 1 === steps.length || steps[index + 1][0] !== confidence) points.push([confidence, total / counted]);
  });
  return points;
}

// ------------------------------------------------------------------ parts of the page

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function svg(name, attributes = {}, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

function select(options, value, change) {
  const node = element("select");
  for (const [key, text] of options) node.append(element("option", { value: key, textContent: text }));
  node.value = value;
  node.addEventListener("change", () => change(node.value));
  return node;
}

const rank = (index) => states[index].score ?? 2;
const highest = (index) => images[index].boxes[0]?.[0] ?? -1;

// The picture with its boxes. full: the large one, with the boxes of the members that are switched on.
function picture(index, full) {
  const image = images[index];
  const [width, height] = image.size;
  const node = element("div", { className: "picture" });
  node.style.aspectRatio = `${width} / ${height}`;
  const source = `${data.pictures}/${full ? "full" : "thumbs"}/${index}.jpg`;
  node.append(element("img", { src: source, alt: image.id, loading: "lazy", decoding: "async" }));
  const layer = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
  const font = Math.round((full ? 0.018 : 0.062) * width);
  const draw = (box, className, text, colour) => {
    const [x, y, w, h] = box;
    const rect = svg("rect", { x, y, width: w, height: h, class: className });
    if (colour) rect.style.stroke = colour;
    layer.append(rect);
    if (!text) return;
    const label = svg("text", { x: x + font * 0.25, y: y > font ? y - font * 0.3 : y + font }, text);
    Object.assign(label.style, { fontSize: `${font}px`, fill: colour || "var(--predicted)", strokeWidth: font / 4 });
    layer.append(label);
  };
  for (const box of image.truth) draw(box, "true", "");
  image.boxes.slice(0, states[index].count).forEach((box) => {
    draw(box.slice(1, 5), box[5] & 1 ? "predicted" : "predicted false", box[0].toFixed(2));
  });
  if (full) {
    image.members.forEach((boxes, member) => {
      if (!membersOn[member]) return;
      for (const box of boxes) draw(box.slice(1), "member", box[0].toFixed(2), COLOURS[member % COLOURS.length]);
    });
  }
  node.append(layer);
  return node;
}

function caption(index) {
  const image = images[index];
  const state = states[index];
  const score = state.score === null ? "does not count" : `score ${state.score.toFixed(3)}`;
  const groups = image.groups.slice(0, -1).filter(Boolean).join(", ");
  return element("figcaption", {},
    element("b", { textContent: score }),
    ` · ${image.truth.length} true, ${state.count} predicted`, element("br"), groups, element("br"), image.id);
}

// ------------------------------------------------------------------ the gallery: a card is filled when it comes near

const cards = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) fill(target);
    else target.replaceChildren();
  }
}, { rootMargin: "400px" });

function fill(card) {
  const index = Number(card.dataset.index);
  const button = element("button", { title: "full size" }, picture(index, false));
  button.addEventListener("click", () => enlarge(index));
  card.replaceChildren(button, caption(index));
}

function draw() {
  cards.disconnect();
  parts.gallery.replaceChildren(...shown.map((index) => {
    const card = element("figure", { className: "card" });
    card.dataset.index = index;
    cards.observe(card);
    return card;
  }));
  if (!shown.length) parts.gallery.append(element("p", { className: "empty", textContent: "no image" }));
}

function update() {
  states = images.map((image) => stateOf(image, chosen.threshold));
  shown = images.map((_, index) => index).filter((index) => isShown(images[index], states[index]));
  shown.sort(ORDERS[chosen.order][1]);
  const sum = (list, value) => list.reduce((total, index) => total + value(images[index], states[index]), 0);
  const all = images.map((_, index) => index);
  showScore(parts.score, meanScore(states));
  showScore(parts.part, meanScore(shown.map((index) => states[index])));
  const boxes = sum(all, (_, state) => state.count);
  const hits = sum(all, (_, state) => state.hits[0]);
  parts.counts.textContent = `${shown.length} of ${images.length} images; at IoU above 0.40: ${hits} true boxes found, ` +
    `${sum(all, (image) => image.truth.length) - hits} missed, ${boxes - hits} false alarms`;
  parts.slider.value = chosen.threshold;
  if (parts.exact.value === "" || Number(parts.exact.value) !== chosen.threshold) parts.exact.value = chosen.threshold;
  const x = 100 * Math.min(1, chosen.threshold);
  parts.mark.setAttribute("x1", x);
  parts.mark.setAttribute("x2", x);
  draw();
}

function showScore(node, value) {
  node.textContent = value === null ? "-" : value.toFixed(5);
  node.dataset.value = String(value); // with all digits
}

function isShown(image, state) {
  return KINDS[chosen.kind][1](image, state) && chosen.groups.every((value, group) => {
    const own = image.groups[group];
    return !value || (Array.isArray(own) ? own.includes(value) : own === value);
  });
}

// ------------------------------------------------------------------ one image at full size

const membersOn = data.members.map(() => true);
let opened = 0;

function enlarge(index) {
  opened = index;
  const image = images[index];
  const legend = element("div", { className: "legend" },
    element("span", { className: "true", textContent: "true" }),
    element("span", { className: "predicted", textContent: "ensemble (dashed: no match at 0.40)" }));
  data.members.forEach((name, member) => {
    const box = element("input", { type: "checkbox", checked: membersOn[member] });
    box.addEventListener("change", () => { membersOn[member] = box.checked; enlarge(opened); });
    const label = element("label", {}, box, name);
    label.style.color = COLOURS[member % COLOURS.length];
    legend.append(label);
  });
  data.classifiers.forEach((name, column) => {
    legend.append(element("span", { textContent: `${name}: ${image.probabilities[column].toFixed(3)}` }));
  });
  const move = (step) => {
    const next = shown[shown.indexOf(opened) + step];
    if (next !== undefined) enlarge(next);
  };
  const buttons = element("div", { className: "row" });
  for (const [text, action] of [["previous", () => move(-1)], ["next", () => move(1)], ["close", () => dialog.close()]]) {
    const button = element("button", { textContent: text });
    button.addEventListener("click", action);
    buttons.append(button);
  }
  dialog.onkeydown = (event) => {
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  };
  dialog.replaceChildren(legend, picture(index, true), caption(index), buttons);
  if (!dialog.open) dialog.showModal();
  dialog.focus(); // what had it is gone, and the arrow keys go to what has it
}

// ------------------------------------------------------------------ controls

const dialog = element("dialog", { tabIndex: -1 });
const parts = {
  score: element("output", { className: "score", id: "score" }),
  part: element("output", { id: "part" }),
  counts: element("span", { className: "counts", id: "counts" }),
  slider: element("input", { type: "range", min: 0, max: 1, step: 0.001, id: "slider" }),
  exact: element("input", { type: "number", min: 0, max: 1, step: "any", id: "threshold" }),
  gallery: element("div", { className: "gallery", id: "gallery" }),
  mark: svg("line", { y1: 0, y2: 40 }),
};

function set(threshold) {
  if (Number.isFinite(threshold)) {
    chosen.threshold = threshold;
    update();
  }
}

function build() {
  const reset = element("button", { textContent: `back to ${data.threshold}`, id: "reset" });
  reset.addEventListener("click", () => set(data.threshold));
  parts.slider.addEventListener("input", () => set(Number(parts.slider.value)));
  parts.exact.addEventListener("change", () => set(Number(parts.exact.value)));
  const points = curve();
  const best = Math.max(0.01, ...points.map((point) => point[1]));
  const path = points.map(([x, y], index) => {
    const level = (38 - (36 * y) / best).toFixed(2);
    return index ? `H${(100 * x).toFixed(3)}V${level}` : `M${100 * x} ${level}`;
  });
  const plot = svg("svg", { class: "curve", viewBox: "0 0 100 40", preserveAspectRatio: "none" });
  plot.append(svg("path", { d: `${path.join("")}H0` }), parts.mark);
  const filters = element("div", { className: "row" });
  const filter = (name, node) => filters.append(element("label", {}, name, node));
  const entries = (table) => Object.entries(table).map(([key, [text]]) => [key, text]);
  const change = (key) => (value) => { chosen[key] = value; update(); };
  filter("show", Object.assign(select(entries(KINDS), "all", change("kind")), { id: "kind" }));
  data.groups.forEach((name, group) => {
    const values = [...new Set(images.flatMap((image) => image.groups[group]))];
    const known = name === "box size" ? data.sizes.filter((size) => values.includes(size)) : values.sort();
    const options = [["", "all"], ...known.map((value) => [value, value])];
    const node = select(options, "", (value) => { chosen.groups[group] = value; update(); });
    filter(name, Object.assign(node, { id: `group-${name.replace(" ", "-")}` }));
  });
  filter("order", Object.assign(select(entries(ORDERS), "worst", change("order")), { id: "order" }));
  const bar = element("div", { className: "bar" },
    element("div", { className: "row" }, element("label", {}, "score", parts.score),
      element("label", {}, "of the images shown", parts.part), parts.counts),
    element("div", { className: "row" }, element("label", {}, "threshold", parts.exact),
      element("div", { title: "the score of all images at every threshold" }, parts.slider, plot), reset),
    filters);
  document.getElementById("view").append(bar, parts.gallery, dialog);
  update();
  document.body.dataset.ready = Math.round(performance.now()); // milliseconds since the page was asked for
}

build();
