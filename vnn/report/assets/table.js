"use strict";
// The table of pathways: effects and attributions.
{
  const { columns, levels, contrasts } = vnnPage.data.table, nodes = vnnPage.data.nodes;
  const { element, interval, signed, percent } = vnnPage;
  const at = (id) => document.getElementById(id);
  const numbers = ["effect", "effect_low", "effect_high", "score", "share", "share_low", "share_high", "mean_abs", "mean_abs_share"];
  const of = (key, i) => nodes[key][columns.at[i]];
  const reach = vnnPage.reach(["effect", "effect_low", "effect_high"].flatMap((name) => columns[name]));
  const level = columns.at.map((node) => levels.indexOf(nodes.level[node]));
  let most = 1;

  const effect = (i) => {
    const value = columns.effect[i], low = columns.effect_low[i], high = columns.effect_high[i];
    const cell = element("td", undefined, "effect");
    if (value === null) { cell.textContent = "–"; return cell; }
    const bar = element("div", undefined, "bar");
    bar.append(element("span", signed(value, 2)), interval(value, low, high, reach, innerWidth < 640 ? 84 : 124));
    if (low !== null) bar.append(element("small", `${signed(low, 2)} to ${signed(high, 2)}`));
    cell.append(bar);
    return cell;
  };
  const share = (i) => {
    const value = columns.share[i], low = columns.share_low[i], high = columns.share_high[i];
    const cell = element("td", undefined, "share");
    if (value === null) { cell.textContent = "–"; return cell; }
    const width = 64, long = Math.max(1, Math.min(1, Math.abs(value) / most) * width);
    const mark = vnnPage.shape("rect", { x: 0, y: 4, height: 8, width: long, style: `fill: var(--${value < 0 ? "down" : "up"})` });
    const bar = element("div", undefined, "bar");
    bar.append(element("span", percent(value)), vnnPage.drawing(width, [mark]));
    if (low !== null) bar.title = `95 % interval ${signed(100 * low, 2)} % to ${signed(100 * high, 2)} %`;
    cell.append(bar);
    return cell;
  };
  const row = (i) => {
    const made = document.createElement("tr");
    const name = element("td", of("name", i), "name");
    if (of("node", i) !== of("name", i)) name.append(element("small", of("node", i)));
    const mean = columns.mean_abs_share[i];
    made.append(
      element("td", columns.rank[i] === null ? "–" : columns.rank[i], "number rank"), name,
      effect(i), share(i),
      element("td", mean === null ? "–" : (100 * mean).toFixed(mean < 0.01 ? 2 : 1) + " %", "number"),
      element("td", of("genes", i).toLocaleString("en"), "number"), element("td", of("level", i), "level"),
      element("td", contrasts[columns.contrast[i]], "contrast"),
    );
    return made;
  };

  const list = vnnPage.list({
    prefix: "", n: columns.at.length, file: "pathways.csv", start: "rank",
    descending: new Set(["genes", "effect", "share", "mean_abs_share"]),
    texts: columns.at.map((_, i) => `${of("name", i)}\n${of("name", i).replaceAll("_", " ")}\n${of("node", i)}`.toLowerCase()),
    filters: ["level", "contrast"],
    keeps: (i) => {
      const wanted = at("level").value, contrast = at("contrast") ? at("contrast").value : "0";
      if (wanted === "nodes" ? level[i] === 0 : level[i] !== Number(wanted)) return false;
      return contrast === "all" || columns.contrast[i] === Number(contrast);
    },
    value: (key, i) => (key === "level" ? level[i] : key === "name" || key === "genes" ? of(key, i) : columns[key][i]),
    row,
    columns: ["rank", "node", "name", "level", "genes", "contrast", ...numbers],
    cell: (key, i) =>
      key === "contrast" ? contrasts[columns.contrast[i]] : ["node", "name", "genes", "level"].includes(key) ? of(key, i) : columns[key][i],
    before: (rows) => { most = rows.reduce((found, i) => Math.max(found, Math.abs(columns.share[i] ?? 0)), 0) || 1; },
    words: () => (at("contrast") || contrasts.length === 0 ? "" : `, ${contrasts[0]}`),
    drawn: (table) => table.classList.toggle("one", !(at("contrast") && at("contrast").value === "all")),
  });
  vnnPage.csv = list.csv;
}
