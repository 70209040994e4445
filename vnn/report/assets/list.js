"use strict";
// What the tables of the page share: search, filters, sorting, pages, CSV. All text is set as text, never as markup.
const vnnPage = {};

vnnPage.data = JSON.parse(document.getElementById("data").textContent);

{
  const { nodes } = vnnPage.data;
  nodes.level = nodes.level.map((place) => nodes.levels[place]);
  nodes.name = nodes.name.map((name, i) => name ?? nodes.node[i]);
}

vnnPage.signed = (value, digits) =>
  value === null ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

vnnPage.percent = (value) => vnnPage.signed(100 * value, Math.abs(value) < 0.01 ? 2 : 1) + " %";

vnnPage.element = (name, content, kind) => {
  const made = document.createElement(name);
  if (content !== undefined) made.textContent = content;
  if (kind) made.className = kind;
  return made;
};
vnnPage.shape = (name, attributes, content) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (content !== undefined) made.textContent = content;
  return made;
};
vnnPage.drawing = (width, parts, height = 16) => {
  const svg = vnnPage.shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  svg.append(...parts);
  return svg;
};
vnnPage.line = (x1, x2, colour, width, y1 = 8, y2 = 8) =>
  vnnPage.shape("line", { x1, x2, y1, y2, style: `stroke: var(--${colour}); stroke-width: ${width}` });

// A value with its interval on an axis from -reach to reach.
vnnPage.interval = (value, low, high, reach, width) => {
  const x = (v) => width / 2 + Math.max(-1, Math.min(1, v / reach)) * (width / 2 - 6);
  const colour = value < 0 ? "down" : "up", sure = low !== null && low * high > 0;
  const parts = [vnnPage.line(x(0), x(0), "muted", 1, 1, 15)];
  if (low !== null) parts.push(vnnPage.line(x(low), x(high), colour, 1.6));
  const look = `fill: var(--${sure ? colour : "paper"}); stroke: var(--${colour}); stroke-width: 1.8`;
  parts.push(vnnPage.shape("circle", { cx: x(value), cy: 8, r: 4, style: look }));
  return vnnPage.drawing(width, parts);
};
vnnPage.reach = (values) => {
  const found = values.filter((value) => value !== null).map(Math.abs).sort((a, b) => a - b);
  return found.length ? found[Math.floor(0.995 * (found.length - 1))] || 1 : 1;
};

// A cell of a CSV that no spreadsheet takes for a formula.
vnnPage.cell = (value) => {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const isNumber = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value);
  const harmless = !isNumber && /^(\s*[=+\-@]|[\t\r])/.test(value) ? "'" + value : value;
  return /[",\r\n]/.test(harmless) ? '"' + harmless.replaceAll('"', '""') + '"' : harmless;
};

vnnPage.lists = [];

// A table whose parts have ids that begin with `prefix`. Rows are numbers from 0 to n - 1; `keeps(i)` filters, `row(i)` draws,
// `value(key, i)` sorts (null last), `columns` and `cell(key, i)` make the CSV.
vnnPage.list = ({ prefix, n, texts, filters, keeps, value, start, descending, row, columns, cell, file, words, before, drawn }) => {
  const at = (id) => document.getElementById(prefix + id);
  const table = at("nodes"), body = table.tBodies[0];
  const size = 25, mostPrinted = 500;
  const state = { key: start, direction: 1, page: 0, printing: false };
  const collator = new Intl.Collator("en", { numeric: true });
  let rows = [];

  const wanted = () => {
    const sought = at("search").value.trim().toLowerCase().split(/\s+/);
    rows = [];
    for (let i = 0; i < n; i++) if (keeps(i) && sought.every((word) => texts[i].includes(word))) rows.push(i);
    if (state.key === null) return;
    const values = new Map(rows.map((i) => [i, value(state.key, i)]));
    rows.sort((a, b) => {
      const x = values.get(a), y = values.get(b), missing = (x === null) - (y === null);
      if (missing || x === null) return missing || a - b;
      return state.direction * (typeof x === "string" ? collator.compare(x, y) : x - y) || a - b;
    });
  };
  const draw = () => {
    const pages = Math.max(1, Math.ceil(rows.length / size));
    state.page = Math.min(state.page, pages - 1);
    const shown = state.printing ? rows.slice(0, mostPrinted) : rows.slice(state.page * size, (state.page + 1) * size);
    if (before) before(rows);
    body.replaceChildren(...shown.map(row));
    const all = rows.length.toLocaleString("en") + (rows.length === 1 ? " row" : " rows");
    const cut = state.printing && rows.length > mostPrinted ? `; the first ${mostPrinted} are printed, the CSV has all` : "";
    at("count").textContent = all + words() + cut;
    at("page").textContent = `page ${state.page + 1} of ${pages}`;
    at("previous").disabled = state.page === 0;
    at("next").disabled = state.page === pages - 1;
    at("pages").hidden = pages === 1;
    if (drawn) drawn(table);
    for (const head of table.tHead.rows[0].cells) {
      if (head.dataset.key === state.key) head.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  };
  const renew = () => { state.page = 0; wanted(); draw(); };
  const csv = () => {
    const lines = rows.map((i) => columns.map((name) => vnnPage.cell(cell(name, i))).join(","));
    return [columns.join(","), ...lines].join("\r\n") + "\r\n";
  };

  at("tools").addEventListener("submit", (event) => event.preventDefault());
  at("search").addEventListener("input", renew);
  for (const id of filters) if (at(id)) at(id).addEventListener("change", renew);
  at("previous").addEventListener("click", () => { state.page -= 1; draw(); });
  at("next").addEventListener("click", () => { state.page += 1; draw(); });
  at("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff" + csv()], { type: "text/csv;charset=utf-8" }));
    link.download = file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  for (const head of table.tHead.rows[0].cells) {
    head.firstElementChild.addEventListener("click", () => {
      const key = head.dataset.key;
      state.direction = key === state.key ? -state.direction : descending.has(key) ? -1 : 1;
      state.key = key;
      renew();
    });
  }
  renew();
  const made = { csv, draw, renew, table, print: (on) => { state.printing = on; draw(); } };
  vnnPage.lists.push(made);
  return made;
};
vnnPage.print = (on) => vnnPage.lists.forEach((list) => list.print(on));
