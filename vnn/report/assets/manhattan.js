"use strict";
// Manhattan plots on a canvas: points with names one by one, all others as cells of a grid.
if (vnnPage.data.skylines && vnnPage.data.skylines.length) {
  const { data, element } = vnnPage;
  const at = (id) => document.getElementById(id);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const grids = new Map();
  const grid = (view) => {
    if (!view.grid) return null;
    if (!grids.has(view)) grids.set(view, Uint8Array.from(atob(view.grid), (sign) => sign.charCodeAt(0)));
    return grids.get(view);
  };
  const option = (name, value) => { const made = element("option", name); made.value = value; return made; };
  const level = () => data.skylines[Number(at("skyline-level").value)];
  const contrasts = [...new Set(data.skylines.flatMap(({ views }) => views.map(({ contrast }) => contrast)))];
  const view = () => {
    const own = level(), contrast = at("skyline-contrast") ? at("skyline-contrast").value : contrasts[0];
    const wanted = at("skyline-measure").value, mine = own.views.filter((one) => one.contrast === contrast);
    return mine.find(({ measure }) => measure === wanted) || mine[0] || own.views[0];
  };
  at("skyline-level").replaceChildren(...data.skylines.map(({ level: name }, i) => option(name, i)));
  const offer = () => {
    const known = [...new Set(level().views.map(({ measure }) => measure))], before = at("skyline-measure").value;
    at("skyline-measure").replaceChildren(...known.map((name) => option(name, name)));
    if (known.includes(before)) at("skyline-measure").value = before;
  };
  offer();

  let shown = null;
  const steps = (top) => {
    const raw = top / 5, size = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].find((k) => k * size >= raw) * size;
    return Array.from({ length: Math.floor(top / step) + 1 }, (_, k) => k * step);
  };
  const draw = () => {
    const own = level(), one = view(), canvas = at("skyline"), box = canvas.parentElement;
    const wide = vnnPage.printing ? 680 : box.clientWidth, narrow = wide < 600, high = narrow ? 300 : 380;
    const scale = Math.max(2, window.devicePixelRatio || 1);
    canvas.width = wide * scale;
    canvas.height = high * scale;
    canvas.style.width = `${wide}px`;
    canvas.style.height = `${high}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.clearRect(0, 0, wide, high);
    const font = getComputedStyle(document.body).fontFamily, ink = colour("ink"), muted = colour("muted"), rule = colour("rule");
    const left = 46, right = 8, top = 26, bottom = 40, long = wide - left - right, tall = high - top - bottom;
    const x = (v) => left + v * long, y = (v) => top + (1 - v / one.top) * tall;
    const tones = own.parts.length > 1 ? [colour("up"), colour("tone")] : [colour("up")];
    pen.font = `11.5px ${font}`;
    pen.lineWidth = 1;
    for (const step of steps(one.top)) {
      pen.strokeStyle = rule;
      pen.beginPath(); pen.moveTo(left, y(step)); pen.lineTo(wide - right, y(step)); pen.stroke();
      pen.fillStyle = muted; pen.textAlign = "right"; pen.textBaseline = "middle";
      pen.fillText(String(Number(step.toPrecision(3))), left - 6, y(step));
    }
    pen.textAlign = "left"; pen.textBaseline = "top"; pen.fillStyle = muted;
    pen.fillText(one.axis, 2, 2);
    for (const region of own.regions) {
      pen.fillStyle = colour("raised");
      pen.fillRect(x(region.start), top, Math.max(x(region.end) - x(region.start), 2), tall);
    }
    let free = -Infinity;
    pen.textAlign = "center"; pen.textBaseline = "top";
    own.parts.forEach((part) => {
      const middle = x((part.start + part.end) / 2);
      let name = part.name;
      const room = x(part.end) - x(part.start);
      if (own.kind !== "chromosome") while (name.length > 4 && pen.measureText(name).width > room) name = name.slice(0, -2).trimEnd() + "…";
      const half = pen.measureText(name).width / 2 + 3;
      if (middle - half < free) return;
      pen.fillStyle = muted;
      pen.fillText(name, middle, high - bottom + 7);
      free = middle + half;
    });
    pen.fillText(own.kind, left + long / 2, high - 15);

    const bits = grid(one);
    if (bits) {
      const w = long / own.columns, h = tall / own.rows, places = new Uint8Array(own.columns);
      own.parts.forEach((part, i) => places.fill(i % 2, Math.floor(part.start * own.columns), Math.ceil(part.end * own.columns)));
      const size = Math.max(w, 1.6), deep = Math.max(h, 1.6);
      for (let row = 0; row < own.rows; row += 1) {
        for (let column = 0; column < own.columns; column += 1) {
          const bit = row * own.columns + column;
          if (!(bits[bit >> 3] & (128 >> (bit & 7)))) continue;
          pen.fillStyle = tones[places[column] % tones.length];
          pen.fillRect(left + column * w, top + tall - (row + 1) * h, size, deep);
        }
      }
    }
    const part = (v) => own.parts.findIndex(({ end }) => v <= end + 1e-6);
    const robust = new Set(one.robust);
    const radius = one.x.length > 500 ? 2 : own.parts.length > 1 || one.x.length > 60 ? 2.8 : 4;
    for (let i = one.x.length - 1; i >= 0; i -= 1) {
      pen.fillStyle = robust.has(i) ? colour("down") : tones[Math.max(part(one.x[i]), 0) % tones.length];
      pen.beginPath(); pen.arc(x(one.x[i]), y(one.y[i]), robust.has(i) ? radius + 1.6 : radius, 0, 7); pen.fill();
    }
    if (one.line !== null) {
      pen.strokeStyle = muted; pen.setLineDash([5, 4]);
      pen.beginPath(); pen.moveTo(left, y(one.line)); pen.lineTo(wide - right, y(one.line)); pen.stroke();
      pen.setLineDash([]);
    }
    const taken = [];
    pen.font = `12px ${font}`; pen.textBaseline = "bottom"; pen.lineJoin = "round";
    for (let i = 0; i < Math.min(one.x.length, 40) && taken.length < (narrow ? 4 : 10); i += 1) {
      const text = Array.from(own.notes[one.at[i]] || own.names[one.at[i]]).slice(0, 24).join("");
      if (one.y[i] < 0.12 * one.top || taken.some((box) => box.text === text)) continue;
      const width = pen.measureText(text).width, middle = Math.min(Math.max(x(one.x[i]), left + width / 2), wide - right - width / 2);
      const place = { a: middle - width / 2 - 4, b: middle + width / 2 + 4, c: y(one.y[i]) - 20, d: y(one.y[i]) - 3, text };
      if (taken.some((box) => place.a < box.b && place.b > box.a && place.c < box.d && place.d > box.c)) continue;
      taken.push(place);
      pen.textAlign = "center"; pen.strokeStyle = colour("paper"); pen.lineWidth = 3.5;
      pen.strokeText(text, middle, place.d); pen.fillStyle = ink; pen.fillText(text, middle, place.d);
    }
    shown = { own, one, x, y, robust };
    const more = one.n - one.x.length;
    at("skyline-count").textContent = `${one.n.toLocaleString("en")} points` + (more > 0 ? `; the ${one.x.length.toLocaleString("en")} largest have names, the others are drawn without.` : ".");
  };

  const tip = at("skyline-tip");
  const point = (event) => {
    if (!shown) return;
    const frame = at("skyline").getBoundingClientRect(), px = event.clientX - frame.left, py = event.clientY - frame.top;
    let best = -1, near = 14 ** 2;
    shown.one.x.forEach((value, i) => {
      const far = (shown.x(value) - px) ** 2 + (shown.y(shown.one.y[i]) - py) ** 2;
      if (far < near) { near = far; best = i; }
    });
    tip.hidden = best < 0;
    if (best < 0) return;
    const { own, one } = shown, name = own.names[one.at[best]], note = own.notes[one.at[best]];
    const lines = [note && note !== name ? `${name} (${note})` : name, `${one.axis}: ${one.y[best].toPrecision(3)}${shown.robust.has(best) ? ", robust" : ""}`];
    tip.replaceChildren(...lines.map((text) => element("span", text)));
    const left = shown.x(one.x[best]);
    tip.style.left = `${Math.min(Math.max(left, 90), frame.width - 90)}px`;
    tip.style.top = `${shown.y(one.y[best])}px`;
  };
  at("skyline").addEventListener("mousemove", point);
  at("skyline").addEventListener("click", point);
  at("skyline").addEventListener("mouseleave", () => { tip.hidden = true; });
  at("skyline-level").addEventListener("change", () => { offer(); draw(); });
  at("skyline-measure").addEventListener("change", draw);
  if (at("skyline-contrast")) at("skyline-contrast").addEventListener("change", draw);
  vnnPage.skyline = draw;
}
