"use strict";
// The table of nodes: search, filters, sorting, pages and the CSV. All text is set as text, never as markup.
const vnnPage = {};

vnnPage.data = JSON.parse(document.getElementById("data").textContent);

vnnPage.signed = (value, digits) =>
  value === null ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

// A cell of a CSV that no spreadsheet takes for a formula.
vnnPage.cell = (value) => {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const isNumber = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value);
  const harmless = !isNumber && /^(\s*[=+\-@]|[\t\r])/.test(value) ? "'" + value : value;
  return /[",\r\n]/.test(harmless) ? '"' + harmless.replaceAll('"', '""') + '"' : harmless;
};

{
  const { columns, levels, contrasts } = vnnPage.data.table;
  const at = (id) => document.getElementById(id);
  const table = at("nodes"), body = table.tBodies[0];
  const size = 25, mostPrinted = 500;
  const state = { key: "rank", direction: 1, page: 0, printing: false };
  const numbers = ["effect", "effect_low", "effect_high", "score", "share", "share_low", "share_high", "mean_abs", "mean_abs_share"];
  const descendingFirst = new Set(["genes", "effect", "share", "mean_abs_share"]);
  const texts = columns.name.map((name, i) => `${name}\n${name.replaceAll("_", " ")}\n${columns.node[i]}`.toLowerCase());
  const largest = (names) => {
    const found = names.flatMap((name) => columns[name].filter((value) => value !== null).map(Math.abs)).sort((a, b) => a - b);
    return found.length ? found[Math.floor(0.995 * (found.length - 1))] || 1 : 1;
  };
  const reach = largest(["effect", "effect_low", "effect_high"]);
  let rows = [];

  const wanted = () => {
    const text = at("search").value.trim().toLowerCase();
    const level = at("level").value, contrast = at("contrast") ? at("contrast").value : "0";
    rows = [];
    for (let i = 0; i < texts.length; i++) {
      if (level === "nodes" ? columns.level[i] === 0 : columns.level[i] !== Number(level)) continue;
      if (contrast !== "all" && columns.contrast[i] !== Number(contrast)) continue;
      if (texts[i].includes(text)) rows.push(i);
    }
    const values = columns[state.key];
    const order = state.key === "name" ? new Intl.Collator("en", { numeric: true }).compare : (a, b) => a - b;
    rows.sort((a, b) => {
      const missing = (values[a] === null) - (values[b] === null);
      return missing || (values[a] === null ? a - b : state.direction * order(values[a], values[b]) || a - b);
    });
  };

  const element = (name, content, kind) => {
    const made = document.createElement(name);
    if (content !== undefined) made.textContent = content;
    if (kind) made.className = kind;
    return made;
  };
  const shape = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const drawing = (width, parts) => {
    const svg = shape("svg", { width, height: 16, viewBox: `0 0 ${width} 16`, "aria-hidden": "true" });
    parts.forEach((part) => svg.append(part));
    return svg;
  };
  const line = (x1, x2, colour, width, y1 = 8, y2 = 8) =>
    shape("line", { x1, x2, y1, y2, style: `stroke: var(--${colour}); stroke-width: ${width}` });

  const effect = (i) => {
    const value = columns.effect[i], low = columns.effect_low[i], high = columns.effect_high[i];
    const cell = element("td", undefined, "effect");
    if (value === null) { cell.textContent = "–"; return cell; }
    const width = innerWidth < 640 ? 84 : 124, x = (v) => width / 2 + Math.max(-1, Math.min(1, v / reach)) * (width / 2 - 6);
    const colour = value < 0 ? "down" : "up", sure = low !== null && low * high > 0;
    const parts = [line(x(0), x(0), "muted", 1, 1, 15)];
    if (low !== null) parts.push(line(x(low), x(high), colour, 1.6));
    const dot = { cx: x(value), cy: 8, r: 4, style: `fill: var(--${sure ? colour : "paper"}); stroke: var(--${colour}); stroke-width: 1.8` };
    parts.push(shape("circle", dot));
    const bar = element("div", undefined, "bar");
    bar.append(element("span", vnnPage.signed(value, 2)), drawing(width, parts));
    if (low !== null) bar.append(element("small", `${vnnPage.signed(low, 2)} to ${vnnPage.signed(high, 2)}`));
    cell.append(bar);
    return cell;
  };
  const share = (i, most) => {
    const value = columns.share[i], low = columns.share_low[i], high = columns.share_high[i];
    const cell = element("td", undefined, "share");
    if (value === null) { cell.textContent = "–"; return cell; }
    const width = 64, long = Math.max(1, Math.min(1, Math.abs(value) / most) * width);
    const mark = shape("rect", { x: 0, y: 4, height: 8, width: long, style: `fill: var(--${value < 0 ? "down" : "up"})` });
    const bar = element("div", undefined, "bar");
    bar.append(element("span", vnnPage.signed(100 * value, Math.abs(value) < 0.01 ? 2 : 1) + " %"), drawing(width, [mark]));
    if (low !== null) bar.title = `95 % interval ${vnnPage.signed(100 * low, 2)} % to ${vnnPage.signed(100 * high, 2)} %`;
    cell.append(bar);
    return cell;
  };

  const row = (i, most) => {
    const made = document.createElement("tr");
    const name = element("td", columns.name[i], "name");
    if (columns.node[i] !== columns.name[i]) name.append(element("small", columns.node[i]));
    const mean = columns.mean_abs_share[i];
    made.append(
      element("td", columns.rank[i] === null ? "–" : columns.rank[i], "number rank"), name,
      effect(i), share(i, most),
      element("td", mean === null ? "–" : (100 * mean).toFixed(mean < 0.01 ? 2 : 1) + " %", "number"),
      element("td", columns.genes[i].toLocaleString("en"), "number"), element("td", levels[columns.level[i]], "level"),
      element("td", contrasts[columns.contrast[i]], "contrast"),
    );
    return made;
  };

  const draw = () => {
    const pages = Math.max(1, Math.ceil(rows.length / size));
    state.page = Math.min(state.page, pages - 1);
    const shown = state.printing ? rows.slice(0, mostPrinted) : rows.slice(state.page * size, (state.page + 1) * size);
    const most = rows.reduce((found, i) => Math.max(found, Math.abs(columns.share[i] ?? 0)), 0) || 1;
    body.replaceChildren(...shown.map((i) => row(i, most)));
    const all = rows.length.toLocaleString("en") + (rows.length === 1 ? " row" : " rows");
    const cut = state.printing && rows.length > mostPrinted ? `; the first ${mostPrinted} are printed, the CSV has all` : "";
    const scope = at("contrast") || contrasts.length === 0 ? "" : `, ${contrasts[0]}`;
    at("count").textContent = all + scope + cut;
    at("page").textContent = `page ${state.page + 1} of ${pages}`;
    at("previous").disabled = state.page === 0;
    at("next").disabled = state.page === pages - 1;
    at("pages").hidden = pages === 1;
    table.classList.toggle("one", !(at("contrast") && at("contrast").value === "all"));
    for (const head of table.tHead.rows[0].cells) {
      if (head.dataset.key === state.key) head.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  };
  const renew = () => { state.page = 0; wanted(); draw(); };

  vnnPage.csv = () => {
    const names = ["rank", "node", "name", "level", "genes", "contrast", ...numbers];
    const value = (name, i) =>
      name === "level" ? levels[columns.level[i]] : name === "contrast" ? contrasts[columns.contrast[i]] : columns[name][i];
    const lines = rows.map((i) => names.map((name) => vnnPage.cell(value(name, i))).join(","));
    return [names.join(","), ...lines].join("\r\n") + "\r\n";
  };
  vnnPage.print = (on) => { state.printing = on; draw(); };

  at("tools").addEventListener("submit", (event) => event.preventDefault());
  at("search").addEventListener("input", renew);
  at("level").addEventListener("change", renew);
  if (at("contrast")) at("contrast").addEventListener("change", renew);
  at("previous").addEventListener("click", () => { state.page -= 1; draw(); });
  at("next").addEventListener("click", () => { state.page += 1; draw(); });
  at("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff" + vnnPage.csv()], { type: "text/csv;charset=utf-8" }));
    link.download = "pathways.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  for (const head of table.tHead.rows[0].cells) {
    head.firstElementChild.addEventListener("click", () => {
      const key = head.dataset.key;
      state.direction = key === state.key ? -state.direction : descendingFirst.has(key) ? -1 : 1;
      state.key = key;
      renew();
    });
  }
  renew();
}
