"use strict";
// The figures. Plotly reads its labels as a kind of HTML, so every label goes through `label` first.
{
  const data = vnnPage.data;
  const at = (id) => document.getElementById(id);
  const label = (text, most = Infinity) => {
    const signs = Array.from(String(text));
    const cut = signs.length > most ? signs.slice(0, most - 1).join("").trimEnd() + "…" : signs.join("");
    return cut.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/[\r\n]+/g, " ");
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const onPaper = 680;
  const width = (id) => (vnnPage.printing ? onPaper : at(id).clientWidth);
  const narrow = () => width("sunburst") < 600;
  const config = { displayModeBar: false, scrollZoom: false, doubleClick: false };
  const layout = (id, more) => ({
    width: width(id), height: Number(at(id).dataset.height), paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("ink") },
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("rule"), font: { color: colour("ink"), size: 13 }, align: "left" },
    margin: { l: 10, r: 10, t: 10, b: 40 }, showlegend: false, dragmode: false, ...more,
  });
  const axis = (more) => ({
    gridcolor: colour("rule"), linecolor: colour("muted"), zeroline: false, fixedrange: true, automargin: false, ...more,
  });
  const lines = (text) => {
    const found = [""];
    for (const word of label(text, 42).split(" ")) {
      const last = found[found.length - 1];
      if (last && last.length + word.length > 12) found.push(word);
      else found[found.length - 1] = last ? `${last} ${word}` : word;
    }
    return found.join("<br>");
  };
  const widest = (texts, size) => {
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
    return Math.max(...texts.map((text) => pen.measureText(text).width));
  };
  const none = (id, text) => { at(id).textContent = text; at(id).classList.add("note"); };
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const blend = (value) => {
    const middle = rgb(colour("middle")), end = rgb(colour(value < 0 ? "low" : "high"));
    const part = Math.min(1, Math.abs(value));
    return `rgb(${middle.map((m, i) => Math.round(m + (end[i] - m) * part)).join(",")})`;
  };

  const performance = () => {
    const { metrics, models, splits, network, values } = data.performance;
    if (!at("performance")) return;
    const metric = at("metric") ? at("metric").value : metrics[0];
    const shown = models.filter((model) => values[metric][model]);
    const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
    const traces = shown.map((model, i) => {
      const y = shown.length - 1 - i, own = model === network;
      const found = values[metric][model].map((value, k) => [value, splits[k], k]).filter(([value]) => value !== null);
      return {
        type: "scatter", mode: "markers", x: found.map(([value]) => value),
        y: found.map(([, , k]) => y + 0.26 * (splits.length > 1 ? k / (splits.length - 1) - 0.5 : 0)),
        text: found.map(([value, split]) => `${label(model)}<br>${label(split)}: ${value.toFixed(3)}`), hoverinfo: "text",
        marker: { symbol: own ? "diamond-open" : "circle-open", size: own ? 10 : 8.5, color: colour(own ? "accent" : "muted"), line: { width: 1.7 } },
      };
    });
    const shapes = shown.flatMap((model, i) => {
      const list = values[metric][model].filter((value) => value !== null), y = shown.length - 1 - i;
      if (!list.length) return [];
      const x = mean(list);
      return [{ type: "line", x0: x, x1: x, y0: y - 0.3, y1: y + 0.3, line: { color: colour(model === network ? "accent" : "ink"), width: 2.5 } }];
    });
    const longest = Math.min(narrow() ? 16 : 30, Math.max(...shown.map((model) => model.length)));
    Plotly.react("performance", traces, layout("performance", {
      margin: { l: 7.2 * longest + 16, r: 16, t: 8, b: 44 }, shapes,
      xaxis: axis({ title: { text: label(metric), standoff: 8 }, nticks: narrow() ? 4 : 8 }),
      yaxis: axis({ tickvals: shown.map((_, i) => shown.length - 1 - i), ticktext: shown.map((model) => label(model, longest)), range: [-0.6, shown.length - 0.4], gridcolor: "rgba(0,0,0,0)" }),
    }), config);
  };

  const calibration = () => {
    if (!at("calibration")) return;
    const names = Object.keys(data.calibration), name = at("calibration-class") ? at("calibration-class").value : names[0];
    const looks = [["muted", "circle-open"], ["accent", "diamond-open"]];
    const traces = Object.entries(data.calibration[name]).map(([stage, { n, predicted, observed, low, high }], i) => {
      const [tone, symbol] = looks[i];
      return {
        type: "scatter", mode: "markers", x: predicted, y: observed, hoverinfo: "text",
        text: predicted.map((value, k) => `${label(stage)}: predicted ${value.toFixed(2)}, observed ${observed[k].toFixed(2)}<br>${n[k]} people`),
        marker: { symbol, size: 9, color: colour(tone), line: { width: 1.7 } },
        error_y: { type: "data", symmetric: false, array: high.map((end, k) => end - observed[k]), arrayminus: low.map((end, k) => observed[k] - end), color: colour(tone), thickness: 1, width: 0 },
      };
    });
    const side = Math.min(width("calibration"), Number(at("calibration").dataset.height));
    const shapes = [{ type: "line", x0: 0, x1: 1, y0: 0, y1: 1, layer: "below", line: { color: colour("muted"), width: 1, dash: "dot" } }];
    Plotly.react("calibration", traces, layout("calibration", {
      width: side, height: side, margin: { l: 52, r: 12, t: 12, b: 48 }, shapes,
      xaxis: axis({ title: { text: `probability of ${label(name, 30)}`, standoff: 8 }, range: [-0.04, 1.04], nticks: 6 }),
      yaxis: axis({ title: { text: "how often it was", standoff: 8 }, range: [-0.04, 1.04], nticks: 6 }),
    }), config);
  };

  const heat = () => {
    if (!data.heat) return;
    const { labels, levels, columns, groups, values } = data.heat;
    const rows = labels.map((_, i) => labels.length - 1 - i);
    const longest = Math.min(narrow() ? 17 : 34, Math.max(...labels.map((name) => name.length)));
    const text = values.map((row, i) => row.map((value, j) =>
      `${label(labels[i])}<br>${label(levels[i])}, ${label(columns[j])}: ${value === null ? "missing" : vnnPage.signed(value, 2)}`));
    const scale = [[0, colour("low")], [0.5, colour("middle")], [1, colour("high")]];
    const sizes = values.flat().filter((value) => value !== null).map(Math.abs).sort((a, b) => a - b);
    const most = sizes[Math.floor(0.98 * (sizes.length - 1))] || 1;
    const trace = { type: "heatmap", z: values, y: rows, x: columns.map((_, j) => j), text, hoverinfo: "text", zmin: -most, zmax: most, zmid: 0, colorscale: scale, showscale: false };
    if (columns.length <= 12) Object.assign(trace, { xgap: 2, ygap: 1 });
    const shapes = groups.slice(1).map(([, first]) => ({ type: "line", x0: first - 0.5, x1: first - 0.5, y0: -0.5, y1: labels.length - 0.5, line: { color: colour("paper"), width: 4 } }));
    const most_signs = narrow() ? 12 : 26;
    const headings = groups.map(([name, , , people]) => label(name, most_signs) + (narrow() && groups.length > 2 ? "" : ` (${people.toLocaleString("en")})`));
    const beside = widest(labels.map((name) => (name.length > longest ? name.slice(0, longest) : name)), 11.5) + 16;
    const step = (width("heat") - beside - 6) / columns.length;
    const tilted = groups.some(([, , count], i) => 7.4 * headings[i].length > count * step);
    const annotations = groups.map(([, first, count], i) => ({
      x: first + count / 2 - 0.5, y: 1, yref: "paper", yanchor: "bottom", yshift: 4, showarrow: false, text: headings[i],
      ...(tilted ? { textangle: -40, xanchor: "left", xshift: -8 } : {}),
    }));
    const rise = tilted ? 5 * Math.max(...headings.map((text) => text.length)) + 26 : 34;
    Plotly.react("heat", [trace], layout("heat", {
      margin: { l: beside, r: tilted ? 60 : 6, t: rise, b: 10 }, height: Number(at("heat").dataset.height) + rise - 34, shapes, annotations,
      xaxis: axis({ visible: false, range: [-0.5, columns.length - 0.5] }),
      yaxis: axis({ tickvals: rows, ticktext: labels.map((name) => label(name, longest)), range: [-0.5, labels.length - 0.5], showgrid: false, tickfont: { size: 11.5 } }),
    }), config);
  };

  const sunburst = () => {
    if (!data.sunburst) return none("sunburst", "The ontology has no nodes to show.");
    const { ids, parents, labels, levels, sizes, shares } = data.sunburst;
    const names = Object.keys(shares), contrast = at("sunburst-contrast") ? at("sunburst-contrast").value : names[0];
    const share = shares[contrast] || ids.map(() => null);
    const most = Math.max(...share.map((value) => Math.abs(value ?? 0))) || 1;
    const trace = {
      type: "sunburst", ids, parents, labels: labels.map(lines), values: sizes, branchvalues: "remainder",
      maxdepth: narrow() ? 3 : 4, sort: true, insidetextorientation: "auto", rotation: 90,
      marker: {
        colors: share.map((value, i) => value === null ? colour(i ? "rule" : "raised") : blend(Math.sign(value) * Math.sqrt(Math.abs(value) / most))),
        line: { color: colour("paper"), width: 1.2 },
      },
      hovertext: labels.map((name, i) => label(name) + (levels[i] ? `<br>${label(levels[i])}` : "") + (share[i] === null ? "" : `<br>${vnnPage.signed(100 * share[i], 2)} % of the attribution of its level`)),
      hoverinfo: "text", leaf: { opacity: 1 },
    };
    const side = Math.min(width("sunburst"), Number(at("sunburst").dataset.height));
    Plotly.react("sunburst", [trace], layout("sunburst", { height: side, margin: { l: 0, r: 0, t: 4, b: 4 }, uniformtext: { minsize: narrow() ? 7.5 : 9, mode: "hide" } }), config);
  };

  const paths = () => {
    if (!data.paths.length) return none("paths", "No attribution along edges was recorded.");
    const contrast = at("paths-contrast") ? at("paths-contrast").value : data.paths[0].contrast;
    const found = data.paths.find((item) => item.contrast === contrast) || data.paths[0];
    const { levels, stops, bands } = found;
    const wide = Math.max(width("paths"), 128 * levels.length), high = 560, top = 34, edge = 118, long = wide - edge;
    const { shape } = vnnPage;
    const x = (value) => value * long, y = (value) => top + value * (high - top - 6);
    const tall = (value) => value * (high - top - 6);
    const kind = (sign) => (sign > 0 ? "up" : sign < 0 ? "down" : "rest");
    const short = (text, most) => (Array.from(text).length > most ? Array.from(text).slice(0, most - 1).join("").trimEnd() + "…" : text);
    const svg = shape("svg", { viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, "aria-hidden": "true" });
    svg.style.minWidth = `${128 * levels.length}px`;
    const order = bands.map((band, i) => [band.sign === 0 ? 0 : 1, i]).sort((a, b) => a[0] - b[0]);
    for (const [, i] of order) {
      const { x0, y0, x1, y1, height, sign, source, target, flow } = bands[i];
      const middle = (x(x0) + x(x1)) / 2, h = Math.max(tall(height), 0.6);
      const d = `M${x(x0)},${y(y0)}C${middle},${y(y0)} ${middle},${y(y1)} ${x(x1)},${y(y1)}V${y(y1) + h}C${middle},${y(y1) + h} ${middle},${y(y0) + h} ${x(x0)},${y(y0) + h}Z`;
      const path = shape("path", { d, class: kind(sign) });
      path.append(shape("title", {}, `${stops[source].label} → ${stops[target].label}: ${sign === 0 ? "" : sign < 0 ? "−" : "+"}${flow.toPrecision(3)}`));
      svg.append(path);
    }
    stops.forEach((stop) => {
      const box = shape("rect", { x: x(stop.x), y: y(stop.y), width: 0.012 * long, height: Math.max(tall(stop.height), 1), class: stop.other ? "stop rest" : "stop" });
      box.append(shape("title", {}, stop.other ? "other" : `${stop.label}, ${stop.level}: ${vnnPage.signed(stop.score, 3)}`));
      svg.append(box);
    });
    const room = Math.floor((long / Math.max(levels.length - 1, 1) - 26) / 6.6);
    stops.forEach((stop) => {
      const last = stop.level === levels[levels.length - 1];
      const text = shape("text", { x: x(stop.x) + 0.012 * long + 6, y: y(stop.y + stop.height / 2), "dominant-baseline": "central" }, short(stop.label, last ? 15 : room));
      if (stop.other) text.setAttribute("class", "head");
      svg.append(text);
    });
    levels.forEach((name, i) => {
      svg.append(shape("text", { x: x(i * (1 - 0.012) / Math.max(levels.length - 1, 1)), y: 14, class: "head" }, short(name, room)));
    });
    at("paths").replaceChildren(svg);
  };

  const curves = () => {
    const names = Object.keys(data.curves);
    if (!names.length) return none("curves", "No history was recorded.");
    const look = { train: ["muted", "dot"], validation: ["accent", "solid"] };
    const traces = names.flatMap((name) => {
      const { epochs, median, low, high, n_networks } = data.curves[name], [tone, dash] = look[name];
      return [
        { x: [...epochs, ...[...epochs].reverse()], y: [...high, ...[...low].reverse()], fill: "toself", fillcolor: colour(tone) + "26", line: { width: 0 }, mode: "lines", hoverinfo: "skip", type: "scatter" },
        {
          x: epochs, y: median, mode: "lines", type: "scatter", line: { color: colour(tone), width: 2.2, dash }, hoverinfo: "text",
          text: median.map((value, i) => `${name}, epoch ${epochs[i]}: ${value.toFixed(3)} (${n_networks[i]} networks)`),
        },
      ];
    });
    const annotations = names.map((name) => {
      const { epochs, median } = data.curves[name], i = Math.floor(0.72 * (epochs.length - 1));
      return { x: epochs[i], y: median[i], yshift: 13, showarrow: false, text: name, font: { color: colour(look[name][0]) }, bgcolor: colour("paper"), opacity: 0.9 };
    });
    Plotly.react("curves", traces, layout("curves", {
      margin: { l: 52, r: 12, t: 12, b: 44 }, annotations,
      xaxis: axis({ title: { text: "epoch", standoff: 8 }, nticks: narrow() ? 5 : 10 }), yaxis: axis({ title: { text: "loss", standoff: 8 }, nticks: 6 }),
    }), config);
  };

  const quantiles = () => {
    if (!at("quantiles")) return;
    const names = Object.keys(data.quantiles), name = at("quantiles-contrast") ? at("quantiles-contrast").value : names[0];
    const { expected, observed, low, high } = data.quantiles[name], n = expected.length, most = Math.max(...expected);
    const back = Array.from({ length: n }, (_, k) => n - 1 - k);
    const traces = [
      { x: [...expected, ...back.map((k) => expected[k])], y: [...high, ...back.map((k) => low[k])], fill: "toself", fillcolor: colour("muted") + "2e", line: { width: 0 }, mode: "lines", hoverinfo: "skip", type: "scatter" },
      {
        x: expected, y: observed, mode: "markers", type: "scatter", marker: { size: 5, color: colour("accent") }, hoverinfo: "text",
        text: expected.map((value, k) => `expected ${value.toFixed(2)}, observed ${observed[k].toFixed(2)}`),
      },
    ];
    const shapes = [{ type: "line", x0: 0, x1: most, y0: 0, y1: most, layer: "below", line: { color: colour("muted"), width: 1, dash: "dot" } }];
    const side = Math.min(width("quantiles"), Number(at("quantiles").dataset.height));
    Plotly.react("quantiles", traces, layout("quantiles", {
      width: side, height: side, margin: { l: 52, r: 12, t: 12, b: 48 }, shapes,
      xaxis: axis({ title: { text: "expected −log10 p", standoff: 8 }, range: [-0.02 * most, 1.04 * most], nticks: 6 }),
      yaxis: axis({ title: { text: "observed −log10 p", standoff: 8 }, range: [-0.02 * Math.max(...observed), 1.06 * Math.max(...observed, most)], nticks: 7 }),
    }), config);
  };

  const stability = () => data.stability.forEach((panel, number) => {
    const id = `stability-${number}`, looks = [["accent", "solid"], ["down", "dash"], ["fine", "dot"], ["muted", "dashdot"], ["ink", "longdash"]];
    const traces = Object.entries(panel.curves).flatMap(([name, { x, value, low, high }], i) => {
      const [tone, dash] = looks[i % looks.length], known = x.map((_, k) => k).filter((k) => low[k] !== null && high[k] !== null);
      const back = [...known].reverse();
      return [
        { x: [...known, ...back].map((k) => x[k]), y: [...known.map((k) => high[k]), ...back.map((k) => low[k])], fill: "toself", fillcolor: colour(tone) + "22", line: { width: 0 }, mode: "lines", hoverinfo: "skip", type: "scatter", showlegend: false },
        {
          x, y: value, name: label(name, narrow() ? 30 : 48), mode: x.length < 13 ? "lines+markers" : "lines", type: "scatter", connectgaps: false,
          line: { color: colour(tone), width: 2.2, dash }, marker: { size: 6 }, hoverinfo: "text",
          text: value.map((v, k) => `${label(name)}<br>${label(panel.x, 40)} ${x[k].toLocaleString("en")}: ${v === null ? "missing" : v.toPrecision(3)}${low[k] === null ? "" : ` (${low[k].toPrecision(3)} to ${high[k].toPrecision(3)})`}`),
        },
      ];
    });
    const several = data.stability.some(({ curves }) => Object.keys(curves).length > 1);
    Plotly.react(id, traces, layout(id, {
      margin: { l: 56, r: 12, t: 12, b: several ? 92 : 48 }, showlegend: several,
      legend: { orientation: "h", x: 0, y: -0.22, yanchor: "top", font: { size: 12 }, itemclick: false, itemdoubleclick: false },
      xaxis: axis({ title: { text: label(panel.x, 60), standoff: 8 }, nticks: narrow() ? 5 : 8 }), yaxis: axis({ title: { text: label(panel.y, 40), standoff: 8 }, nticks: 6 }),
    }), config);
  });

  const people = () => {
    if (!at("person")) return;
    const { element, signed } = vnnPage, { nodes } = data;
    const person = data.people[Number(at("person").value)], names = Object.keys(person.contrasts);
    const contrast = at("person-contrast") ? at("person-contrast").value : names[0];
    const own = person.contrasts[contrast], body = at("person-table").tBodies[0];
    if (!own) { body.replaceChildren(); at("person-rest").textContent = "Nothing is recorded for this person and contrast."; return; }
    const reach = 1.05 * Math.max(...[...own.contribution, ...own.low, ...own.high].map((value) => Math.abs(value ?? 0))) || 1;
    body.replaceChildren(...own.at.map((node, i) => {
      const row = element("tr"), head = element("th", nodes.name[node], "name"), cell = element("td"), bar = element("div", undefined, "bar");
      head.scope = "row";
      if (nodes.level[node]) head.append(element("small", nodes.level[node]));
      const value = own.contribution[i], low = own.low[i], high = own.high[i];
      const digits = reach < 0.2 ? 4 : reach < 2 ? 3 : 2;
      bar.append(element("span", signed(value, digits)), vnnPage.interval(value, low, high, reach, innerWidth < 640 ? 110 : 220));
      if (low !== null) bar.append(element("small", `${signed(low, digits)} to ${signed(high, digits)}`));
      cell.append(bar);
      row.append(head, cell);
      return row;
    }));
    const [count, sum] = own.rest;
    at("person-rest").textContent = count ? `The other ${count.toLocaleString("en")} nodes sum to ${signed(sum, 3)}.` : "";
  };

  const all = [performance, calibration, heat, sunburst, paths, curves, stability, people, quantiles, () => vnnPage.skyline && vnnPage.skyline(), () => vnnPage.chances && vnnPage.chances()];
  vnnPage.draw = () => all.forEach((figure) => figure());
  const on = (id, figure) => { if (at(id)) at(id).addEventListener("change", figure); };
  on("metric", performance);
  on("calibration-class", calibration);
  on("person", people);
  on("person-contrast", people);
  on("sunburst-contrast", sunburst);
  on("quantiles-contrast", quantiles);
  on("paths-contrast", paths);
}
