"use strict";
// When the figures are drawn: at the start, in another width, another colour scheme, on paper.
{
  let width = document.documentElement.clientWidth, waiting = 0;
  const again = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(vnnPage.draw); };
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
    vnnPage.draw();
  };
  addEventListener("beforeprint", () => paper(true));
  addEventListener("afterprint", () => paper(false));
  matchMedia("print").addEventListener("change", (event) => paper(event.matches));

  vnnPage.draw();
  document.documentElement.dataset.drawn = "true";
}
