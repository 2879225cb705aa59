"use strict";
// Polls for new frames and draws them. Every text from outside is set as text, never as HTML.

const SHOWN = 120, SHOWN_NARROW = 60, NARROW = 600, ROWS = 8, POLL_MS = 500, STAGES = 12;
const LEFT = 52, TOP = 8, BOTTOM = 6;
const OFF_CHART = 3;  // A budget above so many times the largest bar would flatten the chart; so would a frame
const SLOW = 2.5;  // that took longer than so many times the 90 % quantile.

// Rungs of the guard's ladder, then the outcomes of frames that were not answered: class, name, meaning.
const KINDS = [
  ["plain", "plain", "sent as captured"],
  ["adapted", "adapted", "looks corrupted, not attacked: seen by the adapted head"],
  ["defended", "defended", "looks attacked, or costs more than clean frames do: denoised, then seen by the shield"],
  ["fitted", "fitted", "over the budget: sent in coarser steps, until the packet fits"],
  ["without_z", "without z", "over the budget: fitted, with all symbols of z zero"],
  ["empty", "empty", "over the budget in every other way: all symbols zero"],
  ["refused", "refused", "the server did not take the packet"],
  ["dropped", "dropped", "given up for a fresher frame, or for lack of space"],
];
const TERMS = [
  ["clean frames", "bytes of clean images sent plain, measured when the bundle was made"],
  ["without guard", "bytes that the frame would take as plain"],
  ["budget", "most bytes of a packet; the guard keeps it for every frame"],
  ["score", "the alarm's: above 0 a frame is suspicious, else ordinary"],
];
// A packet tells a server less than its device knows.
const OF_SERVER = ["plain", "defended", "fitted", "clean frames"];
const $ = (id) => document.getElementById(id);
let frames = [], session = "", cursor = "", stages = [], lost = 0, state = null;
const colours = new Map();

const whole = (value) => Math.round(value).toLocaleString("en");
const fixed = (value) => value < 10 ? value.toFixed(1) : whole(value);
const percent = (part, all) => all ? `${whole(100 * part / all)} %` : "–";
const sum = (values) => values.reduce((a, b) => a + b, 0);
const duration = (frame) => sum(Object.values(frame.milliseconds));
const unguarded = (frame) => frame.rung === "plain" ? 0 : frame.before || 0;
const kind = (frame) => frame.outcome === "answered" ? frame.rung : frame.outcome;
const text = (id, value) => { $(id).textContent = value; };

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

function node(parent, name, attributes = {}, content = null) {
  const made = parent instanceof SVGElement
    ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (content !== null) made.textContent = content;
  parent.append(made);
  return made;
}

function legend(list, colour, name, value = "") {
  const item = node(list, "li");
  if (colour) node(item, "i", {class: colour});
  item.append(value ? `${name} ` : name);
  if (value) node(item, "b", {}, value);
}

// The smallest of 1, 2, 5 times a power of ten that divides the range into at most so many parts.
function step(range, parts) {
  const power = 10 ** Math.floor(Math.log10(Math.max(range, 1e-3) / parts));
  return power * [1, 2, 5, 10].find((factor) => power * factor * parts >= range);
}

// The frames for which a chart has room.
const visible = (svg) => frames.slice((svg.clientWidth || 800) < NARROW ? -SHOWN_NARROW : -SHOWN);

// Clears a chart and draws its grid from low to high; returns where values and frames lie in it.
function axes(svg, drawn, low, high, unit) {
  svg.replaceChildren();
  const width = svg.clientWidth || 800, height = svg.clientHeight || 190;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const top = high + 0.04 * Math.max(high - low, 1e-3), range = top - low;
  const y = (value) => height - BOTTOM - (height - TOP - BOTTOM) * (Math.min(value, top) - low) / range;
  const apart = step(range, height < 150 ? 3 : 6);
  for (let count = Math.ceil(low / apart); count * apart <= top; count += 1) {
    const value = count * apart, told = apart < 1 ? value.toFixed(1) : whole(value);
    node(svg, "line", {class: count ? "grid" : "axis", x1: LEFT, x2: width, y1: y(value), y2: y(value)});
    node(svg, "text", {x: LEFT - 8, y: y(value) + 4, "text-anchor": "end"}, count ? told : `0 ${unit}`);
  }
  const slots = width < NARROW ? SHOWN_NARROW : SHOWN, slot = (width - LEFT) / slots;
  return {y, width, slot, x: (place) => LEFT + slot * (slots - drawn.length + place)};
}

function bar(svg, at, place, low, high, name, title, least = 1) {
  const made = node(svg, "rect", {
    class: name, x: at.x(place) + 0.5, width: Math.max(1, at.slot - 1.5), y: at.y(high),
    height: Math.max(least, at.y(low) - at.y(high)),
  });
  node(made, "title", {}, title);
}

function drawBytes() {
  const svg = $("bytes-chart"), list = $("bytes-legend"), drawn = visible(svg);
  const clean = state.clean[drawn.at(-1).bundle] || {}, budgets = drawn.map((frame) => frame.budget || 0);
  const bars = Math.max(clean.p99 || 0, ...drawn.map((frame) => Math.max(frame.bytes, unguarded(frame))));
  const near = Math.max(...budgets.filter((budget) => budget <= OFF_CHART * bars), 0);
  const at = axes(svg, drawn, 0, Math.max(bars, near), "B");
  drawn.forEach((frame, place) => {
    const without = unguarded(frame);
    if (without > frame.bytes) bar(svg, at, place, frame.bytes, without, "before", `${whole(without)} bytes without guard`);
    const title = `${frame.identity}: ${whole(frame.bytes)} bytes, ${frame.decision}`;
    bar(svg, at, place, 0, frame.bytes, kind(frame), title);
  });
  for (const value of Object.values(clean)) {
    node(svg, "line", {class: "clean", x1: LEFT, x2: at.width, y1: at.y(value), y2: at.y(value)});
  }
  let path = "", joined = false;
  drawn.forEach(({budget}, place) => {
    const there = budget && budget <= OFF_CHART * bars;
    if (there) path += `${joined ? "L" : "M"}${at.x(place)} ${at.y(budget)}H${at.x(place + 1)}`;
    joined = there;
  });
  if (path) node(svg, "path", {class: "budget", d: path});
  list.replaceChildren();
  const there = new Set(drawn.map(kind));
  for (const [colour, name] of KINDS) if (there.has(colour)) legend(list, colour, name);
  if (drawn.some((frame) => unguarded(frame) > frame.bytes)) legend(list, "before", "without guard");
  const now = budgets.at(-1);
  if (now) legend(list, "budget", "budget", whole(now) + (now > OFF_CHART * bars ? " (above the chart)" : ""));
  if (clean.median) legend(list, "clean", "clean frames, median and 99 %", `${whole(clean.median)}, ${whole(clean.p99)}`);
}

function drawScores() {
  $("score-panel").hidden = frames.every((frame) => frame.score === null);
  if ($("score-panel").hidden) return;
  const svg = $("score-chart"), list = $("score-legend"), drawn = visible(svg);
  const scores = drawn.map((frame) => frame.score || 0);
  const at = axes(svg, drawn, Math.min(0, ...scores), Math.max(1, ...scores), "");
  drawn.forEach(({score, identity}, place) => {
    if (score === null) return;
    const name = score > 0 ? "suspicious" : "ordinary";
    bar(svg, at, place, Math.min(0, score), Math.max(0, score), name, `${identity}: ${score.toFixed(1)}, ${name}`, 3);
  });
  list.replaceChildren();
  legend(list, "ordinary", "ordinary");
  legend(list, "suspicious", "suspicious: above 0");
}

// Keeps the stages in order; a stage of some frames only goes before its next neighbour.
function learn(names) {
  names.forEach((name, number) => {
    if (stages.includes(name)) return;
    const next = names.slice(number + 1).map((later) => stages.indexOf(later)).find((place) => place >= 0);
    stages.splice(next ?? stages.length, 0, name);
    if (!colours.has(name)) colours.set(name, `stage-${colours.size % STAGES}`);
  });
}

function drawLatency() {
  const svg = $("latency-chart"), list = $("stages"), drawn = visible(svg), times = drawn.map(duration);
  frames.forEach((frame) => learn(Object.keys(frame.milliseconds)));
  const at = axes(svg, drawn, 0, Math.min(Math.max(...times), SLOW * quantile(times, 0.9)), "ms");
  drawn.forEach((frame, place) => {
    let low = 0;
    for (const [name, value] of Object.entries(frame.milliseconds)) {
      bar(svg, at, place, low, low + value, colours.get(name), `${name.replaceAll("_", " ")}: ${fixed(value)} ms`);
      low += value;
    }
  });
  list.replaceChildren();
  for (const name of stages) {
    const values = frames.map((frame) => frame.milliseconds[name]).filter((value) => value !== undefined);
    if (values.length) legend(list, colours.get(name), name.replaceAll("_", " "), fixed(quantile(values, 0.5)));
  }
  legend(list, "", "(medians, ms; the slowest bars are cut)");
}

function drawTiles() {
  const totals = state.totals, last = frames.at(-1), times = frames.map(duration);
  const span = last.steady - frames[0].steady, rate = span > 0 ? (frames.length - 1) / span : 0;
  const mean = sum(frames.map((frame) => frame.bytes)) / frames.length;
  text("frames", whole(totals.frames));
  text("rate", rate ? `${fixed(rate)} a second` : "");
  text("bytes", whole(mean));
  text("kbit", rate ? `${fixed(8 * mean * rate / 1000)} kbit/s` : "");
  const saved = frames.filter((frame) => frame.defended && frame.before);
  const left = sum(saved.map((frame) => frame.bytes)) / sum(saved.map((frame) => frame.before));
  text("defended", percent(totals.defended, totals.frames));
  text("saved", saved.length ? `bytes ${left > 1 ? "+" : "−"}${whole(100 * Math.abs(1 - left))} %`
    : `${whole(totals.defended)} frames`);
  text("fitted", percent(totals.fitted, totals.frames));
  text("fitted-note", last.budget ? `budget ${whole(last.budget)} B` : `${whole(totals.fitted)} frames`);
  text("median", `${fixed(quantile(times, 0.5))} ms`);
  text("p99", `99 %: ${fixed(quantile(times, 0.99))} ms`);
  const [name, probability] = last.top[0] || ["–", null];
  text("class", name.split(",")[0]);
  $("class").title = name;
  text("share", probability === null ? "" : `probability ${whole(100 * probability)} %`);
}

function drawTop() {
  $("top").replaceChildren();
  for (const [name, probability] of frames.at(-1).top) {
    const item = node($("top"), "li");
    node(item, "i").style.width = `${100 * probability}%`;
    node(item, "span", {title: name}, name);
    node(item, "span", {}, `${(100 * probability).toFixed(1)} %`);
  }
}

function drawLatest() {
  $("latest").replaceChildren();
  for (const frame of frames.slice(-ROWS).reverse()) {
    const row = node($("latest"), "tr");
    node(row, "td", {}, new Date(1000 * frame.time).toLocaleTimeString("en-GB"));
    node(row, "td", {title: frame.identity}, frame.identity);
    node(row, "td", {class: "wide", title: frame.bundle}, frame.bundle);
    node(row, "td", {class: "number"}, whole(frame.bytes));
    node(row, "td", {class: "number wide known"}, unguarded(frame) ? whole(unguarded(frame)) : "–");
    const guard = node(row, "td", {title: frame.decision});
    node(guard, "i", {class: kind(frame)});
    guard.append(frame.outcome === "answered" ? frame.decision : frame.outcome);
    node(row, "td", {class: "wide"}, frame.top.length ? frame.top[0][0] : "–");
    node(row, "td", {class: "number"}, fixed(duration(frame)));
  }
}

function drawPictures() {
  if (!state.pictures) return;
  text("pictured", state.pictured);
  $("pictures").replaceChildren();
  for (const picture of state.pictures) {
    const figure = node($("pictures"), "figure");
    node(figure, "img", {src: picture.src, alt: picture.title});
    node(node(figure, "figcaption", {}, picture.title), "small", {}, picture.note);
  }
}

function drawEmpty() {
  const [bundle] = Object.keys(state.clean), device = state.role === "device";
  text("empty-text", device
    ? "A frame appears here once the tail server has answered it. Where none runs at the address of --to, start it:"
    : "This server has decoded no packet yet. Send it some:");
  text("empty-command", device ? `ratehold serve --bundle ${bundle}`
    : `ratehold stream --source FOLDER --to ${location.origin} --bundle ${bundle}`);
}

function drawNames() {
  $("names").replaceChildren();
  for (const [name, meaning] of [...KINDS.map((kind) => kind.slice(1)), ...TERMS]) {
    if (state.role !== "device" && !OF_SERVER.includes(name)) continue;
    node($("names"), "dt", {}, name);
    node($("names"), "dd", {}, meaning);
  }
}

function drawCharts() {
  if (!frames.length) return;
  drawBytes();
  drawScores();
  drawLatency();
}

function draw(answer) {
  state = answer;
  text("role", state.role);
  text("bundles", Object.keys(state.clean).join(", "));
  document.body.className = state.role === "device" ? "device" : "server";
  if (session !== state.session) {
    [session, frames, stages] = [state.session, [], []];
    drawNames();
  }
  cursor = state.cursor;
  frames = frames.concat(state.frames).slice(-SHOWN);
  const idle = frames.length ? state.steady - frames.at(-1).steady : Infinity;
  $("link").className = idle < 5 ? "live" : "waiting";
  text("link", idle < 5 ? "live" : frames.length ? `no frame for ${whole(idle)} s` : "waiting for frames");
  $("empty").hidden = frames.length > 0;
  $("full").hidden = !frames.length;
  if (!frames.length) drawEmpty();
  if (!state.frames.length) return;
  drawTiles();
  drawTop();
  drawLatest();
  drawPictures();
  drawCharts();
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

addEventListener("resize", drawCharts);
poll();
