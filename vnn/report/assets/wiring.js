"use strict";
// Walking from node to node. All text is set as text, never as markup.
{
  const held = JSON.parse(document.getElementById("data").textContent);
  const { levels, node, level, copy, inputs } = held, name = held.name.map((own, i) => own ?? node[i]);
  const into = node.map(() => []), from = node.map(() => []);
  held.source.forEach((s, k) => { from[s].push(held.target[k]); into[held.target[k]].push(s); });
  const larger = (a, b) => inputs[b] - inputs[a] || (name[a] < name[b] ? -1 : 1);
  [...into, ...from].forEach((side) => side.sort(larger));
  const most = 40;

  const element = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const about = (i) => (level[i] === 0 ? "an input" : `${levels[level[i]]}, ${inputs[i].toLocaleString("en")} inputs`);
  const step = (i) => {
    const item = element("li"), button = element("button", name[i]);
    button.type = "button";
    button.title = name[i] === node[i] ? node[i] : `${name[i]} (${node[i]})`;
    button.dataset.at = i;
    item.append(button, element("small", copy[i] ? `${about(i)}, copy` : about(i)));
    return item;
  };

  const list = (side, kind, words) => {
    const part = element("div", undefined, kind), items = element("ol");
    part.append(element("h3", `${side.length.toLocaleString("en")} ${words[Number(side.length === 1)]}`));
    side.slice(0, most).forEach((i) => items.append(step(i)));
    if (side.length > most) items.append(element("li", `and ${(side.length - most).toLocaleString("en")} more`));
    part.append(items);
    return part;
  };

  const lines = (part) => {
    const box = part.getBoundingClientRect(), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "lines");
    svg.setAttribute("aria-hidden", "true");
    svg.style = "position: absolute; inset: 0; height: 100%; pointer-events: none";
    const middle = box.width / 2;
    for (const [kind, sign] of [["into", -1], ["from", 1]]) {
      part.querySelectorAll(`.${kind} li button`).forEach((button) => {
        const own = button.getBoundingClientRect(), y = own.top - box.top + own.height / 2;
        const x = middle + sign * 8 * 16 - sign * 6, path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        path.setAttribute("d", `M${x},${y} C${middle + sign * 40},${y} ${middle + sign * 60},0 ${middle + sign * 6},-4`);
        svg.append(path);
      });
    }
    part.prepend(svg);
  };

  const show = (i) => {
    const part = document.getElementById("walk"), head = element("div", undefined, "here"), sides = element("div", undefined, "sides");
    head.append(element("strong", name[i]), element("small", ` ${name[i] === node[i] ? "" : `${node[i]}, `}${about(i)}`));
    sides.append(list(into[i], "into", ["lead into it", "leads into it"]), list(from[i], "from", ["are fed by it", "is fed by it"]));
    part.replaceChildren(head, sides);
    lines(sides);
  };
  const go = (i) => { history.pushState(i, "", `#${encodeURIComponent(node[i])}`); show(i); };
  addEventListener("popstate", (event) => show(event.state ?? held.first));
  addEventListener("resize", () => show(history.state ?? held.first));
  document.addEventListener("click", (event) => {
    const at = event.target.closest("button")?.dataset.at;
    if (at === undefined) return;
    document.getElementById("search").value = "";
    document.getElementById("found").replaceChildren();
    go(Number(at));
  });

  document.getElementById("search").addEventListener("input", (event) => {
    const word = event.target.value.trim().toLowerCase(), places = [];
    if (word) {
      for (let i = 0; i < node.length && places.length < 1000; i += 1) {
        if (!copy[i] && (name[i].toLowerCase().includes(word) || node[i].toLowerCase().includes(word))) places.push(i);
      }
    }
    places.sort((a, b) => (name[b].toLowerCase() === word) - (name[a].toLowerCase() === word) || larger(a, b));
    document.getElementById("found").replaceChildren(...places.slice(0, 24).map(step));
  });

  const wanted = decodeURIComponent(location.hash.slice(1)), at = wanted ? node.findIndex((own, i) => own === wanted && !copy[i]) : -1;
  history.replaceState(at < 0 ? held.first : at, "");
  show(at < 0 ? held.first : at);
}
