"use strict";
// Asks for the frames that are new and draws them. All that comes from outside is set as text, never as HTML.

const SHOWN = 120, ROWS = 8, POLL_MS = 500, STAGES = 12;
const LEFT = 52, TOP = 8, BOTTOM = 6;
const $ = (id) => document.getElementById(id);
let frames = [], session = "", cursor = "", stages = [], lost = 0;
const colours = new Map();

const whole = (value) => Math.round(value).toLocaleString("en");
const fixed = (value) => value < 10 ? value.toFixed(1) : whole(value);
const sum = (values) => values.reduce((a, b) => a + b, 0);
const together = (frame) => sum(Object.values(frame.milliseconds));
const text = (id, value) => { $(id).textContent = value; };

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

function kind(frame) {
  if (frame.outcome !== "answered") return "failed";
  if (frame.defended) return "defended";
  return frame.decision === "plain" ? "plain" : "controlled";
}

function node(parent, name, attributes = {}, content = null) {
  const made = parent instanceof SVGElement
    ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (content !== null) made.textContent = content;
  parent.append(made);
  return made;
}

// The least of 1, 2, 5 times a power of ten of which at most six reach the top.
function step(top) {
  const power = 10 ** Math.floor(Math.log10(Math.max(top, 1e-3) / 6));
  return power * [1, 2, 5, 10].find((factor) => power * factor * 6 >= top);
}

// Axes of a chart whose values go up to top; where a value and the place of a frame are in it.
function axes(svg, top, unit) {
  svg.replaceChildren();
  const width = svg.clientWidth || 800, height = svg.clientHeight || 190;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const limit = 1.04 * Math.max(top, 1e-3);
  const y = (value) => height - BOTTOM - (height - TOP - BOTTOM) * Math.min(value, limit) / limit;
  const apart = step(limit);
  for (let value = 0; value <= limit; value += apart) {
    node(svg, "line", {class: "grid", x1: LEFT, x2: width, y1: y(value), y2: y(value)});
    const told = apart < 1 ? value.toFixed(1) : whole(value);
    node(svg, "text", {x: LEFT - 8, y: y(value) + 4, "text-anchor": "end"}, value ? told : `0 ${unit}`);
  }
  const slot = (width - LEFT) / SHOWN;
  return {y, width, slot, x: (place) => LEFT + slot * (SHOWN - frames.length + place)};
}

function bar(svg, at, place, low, high, name, title) {
  const made = node(svg, "rect", {
    class: name, x: at.x(place) + 0.5, width: Math.max(1, at.slot - 1.5), y: at.y(high),
    height: Math.max(0.5, at.y(low) - at.y(high)),
  });
  if (title) node(made, "title", {}, title);
}

function drawBytes(clean) {
  const svg = $("bytes-chart"), last = frames.at(-1), reference = clean[last.bundle] || {};
  const at = axes(svg, Math.max(reference.p99 || 0, ...frames.map((f) => Math.max(f.bytes, f.before || 0))), "B");
  frames.forEach((frame, place) => {
    const was = frame.before && frame.before > frame.bytes ? frame.before : 0;
    if (was) bar(svg, at, place, frame.bytes, was, "before", `${whole(was)} bytes undefended`);
    bar(svg, at, place, 0, frame.bytes, kind(frame), `${frame.identity}: ${whole(frame.bytes)} bytes, ${frame.decision}`);
  });
  for (const value of Object.values(reference)) {
    node(svg, "line", {class: "clean", x1: LEFT, x2: at.width, y1: at.y(value), y2: at.y(value)});
  }
  $("before-key").hidden = !frames.some((frame) => frame.before);
  for (const name of ["controlled", "failed"]) $(`${name}-key`).hidden = !frames.some((f) => kind(f) === name);
}

// Stages in their order, those of some frames only between the neighbours that they have there.
function learn(names) {
  names.forEach((name, number) => {
    if (stages.includes(name)) return;
    const next = names.slice(number + 1).map((later) => stages.indexOf(later)).find((place) => place >= 0);
    stages.splice(next ?? stages.length, 0, name);
    if (!colours.has(name)) colours.set(name, `stage-${colours.size % STAGES}`);
  });
}

function drawLatency() {
  const svg = $("latency-chart"), legend = $("stages");
  frames.forEach((frame) => learn(Object.keys(frame.milliseconds)));
  const times = frames.map(together), at = axes(svg, Math.max(...times), "ms");
  frames.forEach((frame, place) => {
    let low = 0;
    for (const [name, value] of Object.entries(frame.milliseconds)) {
      bar(svg, at, place, low, low + value, colours.get(name), `${name}: ${fixed(value)} ms`);
      low += value;
    }
  });
  legend.replaceChildren();
  for (const name of stages) {
    const values = frames.map((frame) => frame.milliseconds[name]).filter((value) => value !== undefined);
    if (!values.length) continue;
    const item = node(legend, "li");
    node(item, "i", {class: colours.get(name)});
    item.append(`${name.replaceAll("_", " ")} `);
    node(item, "b", {}, fixed(quantile(values, 0.5)));
  }
  node(legend, "li", {}, "(median, ms)");
}

function drawTiles(totals) {
  const last = frames.at(-1), times = frames.map(together);
  const span = last.time - frames[0].time, rate = span > 0 ? (frames.length - 1) / span : 0;
  const mean = sum(frames.map((frame) => frame.bytes)) / frames.length;
  text("frames", whole(totals.frames));
  text("rate", rate ? `${fixed(rate)} a second` : "");
  text("bytes", whole(mean));
  text("kbit", rate ? `${fixed(8 * mean * rate / 1000)} kbit/s` : "");
  text("defended", `${whole(100 * totals.defended / totals.frames)} %`);
  const saved = frames.filter((frame) => frame.defended && frame.before);
  const share = saved.length ? 1 - sum(saved.map((f) => f.bytes)) / sum(saved.map((f) => f.before)) : null;
  text("saved", share === null ? `${whole(totals.defended)} frames` : `${whole(100 * share)} % of their bytes saved`);
  text("median", `${fixed(quantile(times, 0.5))} ms`);
  text("p99", `99 %: ${fixed(quantile(times, 0.99))} ms`);
  const [name, probability] = last.top[0] || ["–", null];
  text("class", name.split(",")[0]);
  text("share", probability === null ? "" : `${whole(100 * probability)} % sure`);
}

function drawTop() {
  const last = frames.at(-1);
  $("top").replaceChildren();
  for (const [name, probability] of last.top) {
    const item = node($("top"), "li");
    node(item, "i").style.width = `${100 * probability}%`;
    node(item, "span", {}, name);
    node(item, "span", {}, `${(100 * probability).toFixed(1)} %`);
  }
}

function drawLatest() {
  $("latest").replaceChildren();
  for (const frame of frames.slice(-ROWS).reverse()) {
    const row = node($("latest"), "tr", {class: kind(frame)});
    node(row, "td", {}, new Date(1000 * frame.time).toLocaleTimeString("en-GB"));
    node(row, "td", {title: frame.identity}, frame.identity);
    node(row, "td", {title: frame.bundle}, frame.bundle);
    node(row, "td", {class: "number"}, whole(frame.bytes));
    node(row, "td", {class: "number"}, frame.defended && frame.before ? whole(frame.before) : "–");
    node(row, "td", {class: "mark"}, frame.outcome === "answered" ? frame.decision : frame.outcome);
    node(row, "td", {}, frame.top.length ? frame.top[0][0] : "–");
    node(row, "td", {class: "number"}, fixed(together(frame)));
  }
}

function drawPictures(state) {
  if (!state.pictures) return;
  text("pictured", state.pictured);
  $("pictures").replaceChildren();
  for (const picture of state.pictures) {
    const figure = node($("pictures"), "figure");
    node(figure, "img", {src: picture.src, alt: picture.title});
    node(node(figure, "figcaption", {}, picture.title), "small", {}, picture.note);
  }
}

function draw(state) {
  text("role", state.role);
  text("bundles", Object.keys(state.clean).join(", "));
  if (session !== state.session) [session, frames, stages] = [state.session, [], []];
  cursor = state.cursor;
  frames = frames.concat(state.frames).slice(-SHOWN);
  const idle = frames.length ? state.now - frames.at(-1).time : Infinity;
  $("link").className = idle < 5 ? "live" : "waiting";
  text("link", idle < 5 ? "live" : frames.length ? `no frame for ${whole(idle)} s` : "waiting for frames");
  if (!state.frames.length) return;
  drawTiles(state.totals);
  drawBytes(state.clean);
  drawLatency();
  drawTop();
  drawLatest();
  drawPictures(state);
}

async function poll() {
  if (!document.hidden) {
    try {
      const answer = await fetch(`/dashboard/state.json?after=${cursor}`);
      if (!answer.ok) throw new Error(answer.statusText);
      draw(await answer.json());
      lost = 0;
    } catch (error) {
      lost += 1;
      $("link").className = "lost";
      text("link", "connection lost, trying again");
    }
  }
  setTimeout(poll, Math.min(POLL_MS * 2 ** lost, 8000));
}

poll();
