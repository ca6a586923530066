"use strict";
// Everything that comes from the node is set as text, never as markup.

const SOURCES = ["upstream", "mirror", "peer"];
const CELLS = ["missing", "here", "upstream", "mirror", "peer"];
const GOOD = new Set(["ready", "live", "allowed", "whole", "erofs", "fuse"]);
const BAD = new Set(["refused", "failed", "dead", "banned", "partial-failed"]);
const POLL = 1000;
const PATIENCE = 10000;
let before = null;
const shown = new Map();

const at = (id) => document.getElementById(id);

function make(tag, text, ...names) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = String(text);
  element.classList.add(...names);
  return element;
}

// Both leave alone what is as it was: so it can be selected, and is not read out again.
function say(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text;
}

function fill(id, from, parts, none) {
  const state = JSON.stringify(from);
  if (shown.get(id) === state || isSelected(at(id))) return;
  shown.set(id, state);
  at(id).replaceChildren(...(from.length > 0 ? parts() : [none()]));
  if (at(`${id}-count`) !== null) say(`${id}-count`, from.length > 0 ? String(from.length) : "");
}

function isSelected(element) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(element, true);
}

function count(n, what) {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return `${n >= 100 || unit === 0 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

function tone(word) {
  return GOOD.has(word) ? "good" : BAD.has(word) ? "bad" : "wait";
}

function pill(word) {
  return make("span", word, "pill", tone(word));
}

function rates(data) {
  if (before === null || data.now <= before.now || data.started !== before.started) return null;
  const seconds = data.now - before.now;
  const found = {};
  for (const [name, total] of Object.entries(data.totals)) {
    found[name] = Math.max(0, total - (before.totals[name] || 0)) / seconds;
  }
  return found;
}

function showHead(data) {
  say("state", data.ready ? "ready" : "not ready");
  at("state").className = `pill ${data.ready ? "good" : "bad"}`;
  say("about", `version ${data.version}, up ${duration(data.now - data.started)}`);
  delete document.body.dataset.stale;
  const problems = at("problems");
  problems.replaceChildren(...data.problems.map((text) => make("li", text)));
  problems.hidden = data.problems.length === 0;
}

function showTiles(data) {
  const rate = rates(data);
  at("meter").hidden = data.space === null;
  if (data.space === null) {
    at("used").textContent = "unknown";
    at("free").textContent = "";
  } else {
    at("used").textContent = bytes(data.space.taken);
    at("meter").value = data.space.capacity_used_rate;
    at("free").textContent = `${Math.round(data.space.capacity_used_rate * 100)} % of what it may take; `
      + `${bytes(data.space.disk.free)} free on the disk`;
  }
  if (rate !== null) {
    const coming = SOURCES.reduce((sum, name) => sum + rate[name], 0);
    at("coming").textContent = `${bytes(coming)}/s`;
    at("by-source").textContent = SOURCES.map((name) => `${name} ${bytes(rate[name])}/s`).join(", ");
    at("going").textContent = `${bytes(rate.sent)}/s`;
  }
  at("clients").textContent = `${count(data.requests, "request")} on ${count(data.connections, "connection")}`;
  const whole = SOURCES.reduce((sum, name) => sum + data.totals[name], 0);
  at("shares").replaceChildren(...SOURCES.map((name) => {
    const part = make("div", null, name);
    part.style.flexGrow = whole ? data.totals[name] / whole : 0;
    return part;
  }));
  at("legend").replaceChildren(...SOURCES.map((name) => make("span", `${name} ${bytes(data.totals[name])}`, name)));
}

function draw(canvas, map) {
  const width = Math.max(200, canvas.clientWidth || 1000);
  const side = map.length > 2000 ? 7 : map.length > 300 ? 10 : 14;
  const columns = Math.max(1, Math.floor(width / side));
  const ratio = window.devicePixelRatio || 1;
  const height = Math.ceil(map.length / columns) * side;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  const colours = CELLS.map((name) => style.getPropertyValue(`--${name}`).trim());
  for (let cell = 0; cell < map.length; cell += 1) {
    context.fillStyle = colours[Number(map[cell])] || colours[1];
    context.fillRect((cell % columns) * side, Math.floor(cell / columns) * side, side - 1, side - 1);
  }
}

function blobCard(blob) {
  const card = make("div", null, "blob");
  const line = make("div", null, "line");
  const name = make("div");
  name.append(make("code", `${blob.digest.slice(0, 19)}…`), ` ${blob.origins.join(", ")}`);
  const share = blob.size ? Math.floor((blob.present / blob.size) * 100) : 100;
  const figures = make("div", `${bytes(blob.present)} of ${bytes(blob.size)} (${share} %), ${bytes(blob.rate)}/s `);
  figures.append(pill(blob.state));
  line.append(name, figures);
  card.append(line);
  let canvas = null;
  if (blob.map) {
    canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Map of chunks: ${share} percent here`);
    card.append(canvas);
  }
  const sources = Object.entries(blob.sources).map(([source, n]) => `${source} ${bytes(n)}`).join(", ");
  const readers = `${count(blob.readers, "reader")}, ${count(blob.streams, "connection")}, for ${blob.purpose}`;
  card.append(make("p", [blob.error, sources, readers].filter(Boolean).join("; "), blob.error ? "bad" : "soft"));
  return [card, canvas, blob.map];
}

function showBlobs(data) {
  const arriving = data.blobs.filter((blob) => blob.state !== "whole");
  const cards = arriving.map(blobCard);
  const parts = cards.map(([card]) => card);
  if (cards.length > 0) {
    const legend = make("p", null, "legend");
    legend.append(...CELLS.map((name) => make("span", name, name)));
    parts.push(legend);
  } else {
    parts.push(make("p", "Nothing at the moment.", "soft"));
  }
  at("blobs").replaceChildren(...parts);
  for (const [, canvas, map] of cards) if (canvas !== null) draw(canvas, map);
}

function row(...cells) {
  const line = make("tr");
  for (const cell of cells) {
    const box = make("td");
    box.append(...[cell].flat());
    line.append(box);
  }
  return line;
}

function showModels(data) {
  fill("models", data.models, () => data.models.map((model) => {
    const name = [make("span", model.names.join(", ") || "without a name"), make("small", model.digest.slice(0, 19))];
    const verdict = model.verdict;
    const marks = [model.pinned && "pinned", model.in_use && "in use"].filter(Boolean).join(", ");
    const why = verdict ? [...verdict.reasons, ...verdict.warnings].join("; ") || verdict.saidBy.join("; ") : "";
    return row(name, data.space === null ? "" : bytes(model.size), [pill(model.readiness), make("small", marks)],
      verdict ? [pill(verdict.state), make("small", verdict.mode)] : "no rule", why);
  }), () => row(data.mirrors ? "None from an upstream yet." : "This node has no upstream.", "", "", "", ""));
}

function showPushed(data) {
  at("pushed-here").hidden = data.pushed === null;
  const name = (image) => [make("span", image.names.join(", ")), make("small", image.digest.slice(0, 19))];
  fill("pushed", data.pushed || [], () => data.pushed.map((image) => row(name(image), bytes(image.size))),
    () => row("Nothing yet.", ""));
}

function showMounts(data) {
  fill("mounts", data.mounts, () => data.mounts.map((mount) => {
    const share = mount.size ? Math.floor((mount.present / mount.size) * 100) : 100;
    const readers = `${mount.waiting} waiting, ${mount.answered} served, ${mount.failed} errors`;
    const lost = mount.lost ? `${mount.lost} layers cannot be read` : "";
    return row([make("span", mount.reference), make("small", mount.target)], pill(mount.front || "starting"),
      `${share} % of ${bytes(mount.size)}`, readers, [lost, mount.trouble].filter(Boolean).join("; "));
  }), () => row("Nothing is mounted.", "", "", "", ""));
}

function showPrecache(data) {
  fill("precache", data.precache, () => data.precache.map((image) => {
    const done = image.progress.total ? Math.floor((image.progress.done / image.progress.total) * 100) : 0;
    const left = image.progress.eta === null || image.error ? "" : duration(image.progress.eta);
    return row(image.reference, pill(image.phase), `${done} % of ${bytes(image.progress.total)}`, left,
      image.error || "");
  }), () => row("Nothing is asked for.", "", "", "", ""));
}

function showPeers(data) {
  const called = (peer) => `${peer.name}${peer.zone ? ` (${peer.zone})` : ""}: ${peer.state}`;
  fill("peers", data.peers, () => data.peers.map((peer) => make("li", called(peer), "pill", tone(peer.state))),
    () => make("li", "This node has none.", "soft"));
}

function showSilence(error) {
  say("state", "unreachable");
  at("state").className = "pill bad";
  const since = before === null ? "" : `; what follows is of ${new Date(before.now * 1000).toLocaleTimeString()}`;
  const why = { TimeoutError: "no answer for ten seconds", TypeError: "no connection" }[error.name];
  say("about", `${why || error.message || error}${since}`);
  document.body.dataset.stale = "";
}

async function look() {
  try {
    const answer = await fetch("/ui/data.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`the node answers ${answer.status}`);
    const data = await answer.json();
    showHead(data);
    showTiles(data);
    showBlobs(data);
    showModels(data);
    showPushed(data);
    showMounts(data);
    showPrecache(data);
    showPeers(data);
    before = data;
    document.body.dataset.shown = String(Number(document.body.dataset.shown || 0) + 1);
  } catch (error) {
    showSilence(error);
  }
  setTimeout(look, document.hidden ? 10 * POLL : POLL);
}

look();
