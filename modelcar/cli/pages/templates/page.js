"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const element = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const grouped = (n) => n.toLocaleString("en");

  const theme = byId("theme");
  const themes = ["auto", "light", "dark"];
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const said = theme.querySelector("span");
    const next = themes[(themes.indexOf(said.textContent) + 1) % themes.length];
    said.textContent = next;
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
  });

  const tiles = [...document.querySelectorAll(".tile")];
  const about = byId("about");
  const show = (tile) => {
    const first = element("strong", tile.dataset.name);
    const second = element("span", ` ${tile.dataset.facts}`);
    const third = element("span", tile.dataset.digest, "mono");
    about.replaceChildren(first, second, third);
  };
  if (about) about.hidden = false;
  tiles.forEach((tile, i) => {
    tile.tabIndex = i ? -1 : 0;
    tile.addEventListener("pointerenter", () => show(tile));
    tile.addEventListener("focus", () => {
      tiles.forEach((other) => { other.tabIndex = other === tile ? 0 : -1; });
      show(tile);
    });
    tile.addEventListener("keydown", (event) => {
      const to = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: tiles.length - 1 }[event.key];
      if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      if (tiles[to]) tiles[to].focus();
    });
  });

  const MOST = 100;
  const list = byId("list");
  const filter = byId("filter");
  if (!list || !filter) return;
  const { rows, columns, what } = JSON.parse(byId("data").textContent);
  const body = list.tBodies[0];
  const first = [...body.rows];
  const said = byId("found");
  const before = said.textContent;
  const row = (cells) => {
    const made = element("tr");
    cells.forEach((text, i) => {
      const cell = element(i ? "td" : "th", undefined, columns[i]);
      if (!i) cell.scope = "row";
      const name = element("bdi", text);
      name.dir = "ltr";
      cell.append(name);
      made.append(cell);
    });
    return made;
  };
  const search = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) {
      body.replaceChildren(...first);
      said.textContent = before;
      return;
    }
    const found = rows.filter((cells) => {
      const text = cells.join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
    body.replaceChildren(...found.slice(0, MOST).map(row));
    const of = Number(list.dataset.count) > rows.length ? `the first ${grouped(rows.length)} ${what}` : `${grouped(rows.length)} ${what}`;
    said.textContent = `${grouped(found.length)} of ${of}${found.length > MOST ? `, the first ${MOST} of them` : ""}`;
  };
  filter.closest(".search").hidden = false;
  filter.addEventListener("input", search);
})();
