// Drawing: values into the page.  Owns: tables, lists, the map.
// Never: markup from text; everything is set as text, and only where it changed.

export const byId = (id) => document.getElementById(id);
export const number = (value) => value.toLocaleString("en");
export const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);
const ACTIONS = ["allow", "wrap", "reroute", "block"];
const MOST_ROWS = 60;

/** Make an element: its class, then texts and elements. */
export function make(tag, kind = "", ...inside) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.append(...inside);
  return made;
}

export function say(id, text) {
  const at = byId(id);
  if (at.textContent !== text) at.textContent = text;
}

/** Fill a table's body with rows of cells: a text, or [text, class].  The first is the row's head. */
export function rows(id, all, empty) {
  const body = byId(id);
  if (!all.length) {
    const cell = make("td", "empty", empty);
    cell.colSpan = body.parentElement.tHead.rows[0].cells.length;
    body.replaceChildren(make("tr", "", cell));
    return;
  }
  if (body.querySelector(".empty")) body.replaceChildren();
  while (body.rows.length > all.length) body.deleteRow(-1);
  all.forEach((cells, at) => {
    const row = body.rows[at] ?? body.appendChild(make("tr"));
    cells.forEach((cell, column) => {
      const [text, kind] = Array.isArray(cell) ? cell : [cell, ""];
      let drawn = row.cells[column];
      if (!drawn) {
        drawn = row.appendChild(document.createElement(column ? "td" : "th"));
        if (!column) drawn.scope = "row";
      }
      if (drawn.textContent !== text) drawn.textContent = text;
      if (drawn.className !== kind) drawn.className = kind;
    });
  });
}

export function items(id, texts) {
  const list = byId(id);
  const same = list.children.length === texts.length && texts.every((text, at) => list.children[at].textContent === text);
  if (!same) list.replaceChildren(...texts.map((text) => make("li", "", text)));
}

/** Fill a list of terms: [term, what it is, class]. */
export function pairs(id, all) {
  const list = byId(id);
  all.forEach(([term, text, kind = ""], at) => {
    const pair = list.children[at] ?? list.appendChild(make("div", "", make("dt"), make("dd")));
    const [name, value] = pair.children;
    if (name.textContent !== term) name.textContent = term;
    if (value.textContent !== text) value.textContent = text;
    value.className = kind;
  });
}

export function verdicts(id, counts, name, empty) {
  const all = Object.entries(counts).slice(0, MOST_ROWS);
  const cells = (of) => ACTIONS.map((action) => [of[action] ? number(of[action]) : "·", of[action] ? `n ${action}` : "n"]);
  rows(id, all.map(([what, of]) => [name(what), ...cells(of)]), empty);
}

const tiles = new Map();

export function layMap(countries) {
  const list = byId("map");
  for (const one of countries) {
    const tile = make("li", "", one.code);
    tile.style.gridColumn = one.column;
    tile.style.gridRow = one.row;
    tile.setAttribute("aria-hidden", "true");
    tiles.set(one.code, { tile, name: one.name, drawn: "" });
    list.append(tile);
  }
}

export const countryName = (code) => (code === "none" ? "no source places it" : tiles.get(code)?.name ?? code);

export function drawMap(counts) {
  for (const [code, one] of tiles) {
    const of = counts[code];
    const key = of ? JSON.stringify(of) : "";
    if (key !== one.drawn) {
      one.drawn = key;
      drawTile(one, of);
    }
  }
  const unplaced = Object.entries(counts).filter(([code]) => !tiles.has(code));
  const count = unplaced.reduce((all, [, of]) => all + sum(of), 0);
  const blocked = unplaced.reduce((all, [, of]) => all + (of.block ?? 0), 0);
  say("nowhere", count ? `Not on the map, since no source places them: ${number(count)}, ${number(blocked)} of them blocked.` : "");
  byId("map").setAttribute("aria-label", Object.keys(counts).length ? "Countries by verdict" : "Countries by verdict: none yet");
}

function drawTile({ tile, name }, of) {
  if (!of) {
    delete tile.dataset.state;
    delete tile.dataset.mixed;
    tile.setAttribute("aria-hidden", "true");
    tile.removeAttribute("title");
    return;
  }
  const all = sum(of);
  const blocked = of.block ?? 0;
  const carried = (of.wrap ?? 0) + (of.reroute ?? 0);
  tile.dataset.state = of.allow ? "allow" : carried ? "carry" : "block";
  if (Object.keys(of).length > 1) {
    tile.dataset.mixed = "";
    tile.style.setProperty("--b", `${(100 * blocked) / all}%`);
    tile.style.setProperty("--c", `${(100 * (blocked + carried)) / all}%`);
  } else delete tile.dataset.mixed;
  tile.removeAttribute("aria-hidden");
  tile.title = `${name}: ${ACTIONS.filter((action) => of[action]).map((action) => `${number(of[action])} ${action}`).join(", ")}`;
}

/** Draw two lines over the last minute. */
export function lines(at, all, blocked) {
  const most = Math.max(1, ...all);
  const path = (values) => values.map((value, step) => `${step ? "L" : "M"}${(100 * step) / Math.max(1, values.length - 1)},${29 - (27 * value) / most}`).join("");
  at.querySelector(".all-line").setAttribute("d", path(all));
  at.querySelector(".block-line").setAttribute("d", path(blocked));
}
