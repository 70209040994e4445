"use strict";
// The table of verdicts, what one row holds, and the draws of the nulls beside it.
if (vnnPage.data.verdict) {
  const { data, element, shape, signed, percent } = vnnPage;
  const { n, kinds, main, labels, levels, texts, columns, leaders, draws } = data.verdict;
  const at = (id) => document.getElementById(id);
  const node = { name: "name", node: "node", n_genes: "genes", level: "level" };
  const level = columns.at.map((place) => levels.indexOf(data.nodes.level[place]));
  const keys = Object.keys(kinds), last = texts.verdict.length - 1;
  const at_contrast = (i) => texts.contrast[columns.contrast[i]];

  const value = (key, i) =>
    key in node ? data.nodes[node[key]][columns.at[i]] : key in texts ? texts[key][columns[key][i]] : columns[key][i];
  const probability = (p) => (p >= 0.001 ? p.toPrecision(2) : p.toExponential(0).replace("-", "−"));
  const number = (v) => String(Number(v.toPrecision(3))).replace("-", "−");
  const write = {
    text: (v) => v || "–", flag: (v) => (v ? "yes" : ""), count: (v) => v.toLocaleString("en"), number,
    percent, part: (v) => `${(100 * v).toFixed(0)} %`, p: probability,
  };
  const written = (key, i) => (value(key, i) === null ? "–" : write[kinds[key]](value(key, i)));
  const names = new Map(columns.at.map((_, i) => [`${columns.contrast[i]}\n${value("node", i)}`, value("name", i)]));
  const driver = (i) => names.get(`${columns.contrast[i]}\n${value("driven_by", i)}`) || value("driven_by", i);
  const strength = (i) => (columns.verdict[i] === last ? "full" : columns.verdict[i] > last - 5 ? "half" : "none");

  // Draws: a sign each, from 0 to the largest of a row.
  const places = new Map(draws ? (draws.rows ?? columns.at.map((_, i) => i)).map((row, k) => [row, k]) : []);
  const drawn = (name, i) => {
    const { n: size, high, codes } = draws.nulls[name], k = places.get(i), last = draws.signs.length - 1;
    const steps = Array.from(codes.slice(k * size, (k + 1) * size), (sign) => draws.signs.indexOf(sign));
    return steps.filter((step) => step >= 0).map((step) => (step / last) * high[k]);
  };

  const chance = (i, room) => {
    const width = Math.max(room, 180), made = element("div", undefined, "chance");
    if (!draws || !places.has(i)) {
      made.append(element("p", draws ? "The draws of this node are not on the page; they are in the study's folder." : "No draws are on the page.", "note"));
      return made;
    }
    const bins = 28, tall = 46, step = tall + 34, edge = 1, long = width - 2 * edge, names = Object.keys(draws.nulls);
    const high = 22 + step * names.length, parts = [], told = [];
    names.forEach((name, row) => {
      const values = drawn(name, i), own = columns[draws.real[name]][i], size = own === null ? null : Math.abs(own);
      const say = (v) => (draws.real[name] === "share" ? `${(100 * v).toFixed(v < 0.01 ? 2 : 1)} %` : `r ${v.toFixed(2)}`);
      const most = Math.max(0, ...values), far = 1.06 * Math.max(size ?? 0, most) || 1, x = (v) => edge + (v / far) * long;
      const heights = new Array(bins).fill(0), bottom = 20 + row * step + tall + 8;
      values.forEach((v) => { heights[Math.min(bins - 1, Math.floor((v / far) * bins))] += 1; });
      const tallest = Math.max(...heights, 1);
      parts.push(shape("text", { x: edge, y: bottom - tall - 3, class: "head" }, `${draws.words[name]}, ${values.length} draws`));
      heights.forEach((count, k) => {
        if (!count) return;
        const h = (count / tallest) * (tall - 6);
        parts.push(shape("rect", { x: edge + (k * long) / bins + 0.5, y: bottom - h, width: long / bins - 1, height: h, class: "draws" }));
      });
      parts.push(shape("line", { x1: edge, x2: width - edge, y1: bottom, y2: bottom, class: "base" }));
      parts.push(shape("text", { x: edge, y: bottom + 13, class: "head" }, "0"));
      if (size !== null) {
        const place = x(size), anchor = place > 0.8 * width ? "end" : place < 0.2 * width ? "start" : "middle";
        parts.push(shape("line", { x1: place, x2: place, y1: bottom - tall + 4, y2: bottom + 4, class: "real" }));
        parts.push(shape("text", { x: anchor === "start" ? Math.max(place, 14) : place, y: bottom + 13, class: "mark", "text-anchor": anchor }, `here ${say(size)}`));
      }
      told.push(`${draws.words[name]}: ${values.length} draws, the largest ${say(most)}, here ${size === null ? "missing" : say(size)}`);
    });
    const svg = vnnPage.drawing(width, parts, high);
    svg.removeAttribute("aria-hidden");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${told.join("; ")}.`);
    made.append(svg);
    return made;
  };

  const elsewhere = new Set(["name", "verdict", "decided_by", "driven_by", "draws_needed"]);
  const detail = (i, wide) => {
    const row = element("tr", undefined, "detail"), cell = element("td"), box = element("div");
    cell.colSpan = keys.length;
    const words = element("div", undefined, "said");
    if (value("decided_by", i)) words.append(element("p", value("decided_by", i)));
    if (columns.draws_needed[i] !== null) words.append(element("p", `About ${written("draws_needed", i)} draws would be needed to decide.`));
    if (value("driven_by", i)) {
      const left = columns.left[i] === null ? "" : `: ${written("left", i)} of the score is left without its genes`;
      words.append(element("p", `Driven by ${driver(i)}${left}.`));
    }
    const numbers = element("dl", undefined, "numbers");
    for (const key of keys) {
      if (elsewhere.has(key) || written(key, i) === "–" || (key === "node" && value("node", i) === value("name", i))) continue;
      const pair = element("div");
      pair.append(element("dt", labels[key]), element("dd", written(key, i) || "no"));
      numbers.append(pair);
    }
    box.append(words, chance(i, Math.min(420, wide - 32)), numbers);
    cell.append(box);
    row.append(cell);
    return row;
  };

  let open = null;
  const scroll = at("verdict-nodes").parentElement;
  const close = () => {
    at("verdict-nodes").querySelectorAll("tr.detail").forEach((row) => row.remove());
    at("verdict-nodes").querySelectorAll("[aria-expanded=true]").forEach((button) => button.setAttribute("aria-expanded", "false"));
  };
  const show = (row, i) => {
    row.querySelector("button").setAttribute("aria-expanded", "true");
    row.after(detail(i, scroll.clientWidth));
  };
  const cells = {
    name: (i, row) => {
      const cell = element("td", undefined, "name"), button = element("button", value("name", i));
      button.type = "button";
      button.setAttribute("aria-expanded", "false");
      button.addEventListener("click", () => {
        const again = open === i;
        close();
        open = again ? null : i;
        if (!again) show(row, i);
      });
      cell.append(button);
      if (value("node", i) !== value("name", i)) cell.append(element("small", value("node", i)));
      return cell;
    },
    verdict: (i) => {
      const cell = element("td", undefined, "verdict"), word = element("span", value("verdict", i), `word is-${strength(i)}`);
      cell.append(word);
      if (value("decided_by", i)) cell.append(element("small", value("decided_by", i)));
      return cell;
    },
    share: (i) => {
      const cell = element("td", undefined, "share"), own = columns.share[i], low = columns.share_low[i], high = columns.share_high[i];
      if (own === null) { cell.textContent = "–"; return cell; }
      const bar = element("div", undefined, "bar");
      bar.append(element("span", percent(own)), vnnPage.interval(own, low, high, reach, 76));
      if (low !== null) bar.title = `95 % interval ${percent(low)} to ${percent(high)}`;
      cell.append(bar);
      return cell;
    },
    group: (i) => {
      const name = value("group", i), leads = name && columns.leader[i] ? " (leader)" : "";
      return element("td", name ? name + leads : "–", "group");
    },
  };
  const reach = vnnPage.reach(["share", "share_low", "share_high"].flatMap((name) => columns[name]));
  const wide = () => at("verdict-all").checked && !vnnPage.printing;
  const row = (i) => {
    const made = document.createElement("tr");
    for (const key of wide() ? keys : main) {
      const kind = ["text", "flag"].includes(kinds[key]) ? key : `number ${key}`;
      made.append(cells[key] ? cells[key](i, made) : element("td", written(key, i), kind));
    }
    return made;
  };

  const chosen = (id) => (at(id) ? at(id).value : "all");
  const list = vnnPage.list({
    prefix: "verdict-", n, file: "verdict.csv", start: null,
    descending: new Set(keys.filter((key) => ["percent", "part", "number", "count", "flag"].includes(kinds[key])).concat("verdict")),
    texts: columns.at.map((_, i) => {
      const found = ["name", "node", "verdict", "group", "level", "contrast", "driven_by", "decided_by"].map((key) => value(key, i));
      return [...found, found[0].replaceAll("_", " "), driver(i)].join("\n").toLowerCase();
    }),
    filters: ["verdict", "level", "contrast", "all"],
    keeps: (i) => ["verdict", "level", "contrast"].every((key) => {
      const wanted = chosen(`verdict-${key}`);
      return wanted === "all" || (key === "level" ? level : columns[key])[i] === Number(wanted);
    }),
    value: (key, i) => (key === "level" ? level[i] : key === "verdict" ? columns.verdict[i] : value(key, i) === "" ? null : value(key, i)),
    row, columns: keys, cell: value,
    words: () => (texts.contrast.length > 1 ? "" : `, ${texts.contrast[0]}`),
    before: () => { open = null; },
    drawn: (table) => {
      table.classList.toggle("all", wide());
      table.classList.toggle("one", !wide() && (texts.contrast.length === 1 || chosen("verdict-contrast") !== "all"));
    },
  });
  vnnPage.verdictCsv = list.csv;

  vnnPage.chances = () => {
    if (open !== null) {
      const own = at("verdict-nodes").querySelector("[aria-expanded=true]").closest("tr");
      close();
      show(own, open);
    }
    if (!at("chance")) return;
    const room = vnnPage.printing ? 300 : Math.min(360, at("chance").clientWidth);
    at("chance").replaceChildren(...leaders.map((i) => {
      const made = element("div");
      made.append(element("h4", value("name", i)));
      if (texts.contrast.length > 1) made.append(element("p", at_contrast(i), "note"));
      made.append(chance(i, room));
      return made;
    }));
  };
}
