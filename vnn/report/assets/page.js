"use strict";
// When the figures are drawn: at the start, in another width, another colour scheme, on paper.
{
  let width = document.documentElement.clientWidth, waiting = 0;
  const again = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(() => vnnPage.draw()); };
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    again();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);

  let closed = [];
  const paper = (on) => {
    if (on === Boolean(vnnPage.printing)) return;
    if (on) {
      closed = [...document.querySelectorAll("details:not([open])")];
      closed.forEach((part) => { part.open = true; });
    } else {
      closed.forEach((part) => { part.open = false; });
      closed = [];
    }
    vnnPage.printing = on;
    document.documentElement.toggleAttribute("data-paper", on);
    vnnPage.print(on);
    if (document.documentElement.dataset.drawn) vnnPage.draw();
  };
  addEventListener("beforeprint", () => paper(true));
  addEventListener("afterprint", () => paper(false));
  matchMedia("print").addEventListener("change", (event) => paper(event.matches));

  // Plotly travels compressed; the policy of the page lets exactly its text run.
  const plotting = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotting").textContent), (sign) => sign.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };
  plotting().catch(() => {
    document.querySelectorAll(".plot").forEach((part) => {
      part.textContent = "This figure needs a newer browser (of 2023 or later); it is also in the study's folder.";
      part.classList.add("note");
    });
    vnnPage.draw = () => {};
  }).then(() => {
    vnnPage.draw();
    document.documentElement.dataset.drawn = "true";
  });
}
