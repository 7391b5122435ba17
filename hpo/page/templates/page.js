"use strict";
(() => {
  const {dark: DARK, template: TEMPLATE} = JSON.parse(document.getElementById("palette").textContent);
  const dusk = matchMedia("(prefers-color-scheme: dark)"), narrow = matchMedia("(max-width: 600px)");
  let paper = false;

  const themed = (value) => {
    if (typeof value === "string") return !paper && dusk.matches && Object.hasOwn(DARK, value) ? DARK[value] : value;
    if (Array.isArray(value)) return value.map(themed);
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item)]));
    return value;
  };

  const shared = JSON.parse(document.getElementById("texts").textContent);
  const texts = shared.texts.map((numbers) => numbers.map((number) => shared.lines[number]).join("<br>"));

  const withTexts = (trace) => Object.fromEntries(Object.entries(trace).map(([key, value]) =>
    key.startsWith("shared_") ? [key.slice("shared_".length), value.map((number) => texts[number] ?? null)] : [key, value]));

  const figureOf = (place) => {
    const figure = JSON.parse(place.nextElementSibling.textContent);
    return {...figure, data: figure.data.map(withTexts)};
  };

  const plots = [...document.querySelectorAll(".plot")].map((place) => ({place, figure: figureOf(place)}));

  const loadPlotly = async () => {
    const letters = atob(document.getElementById("plotly").textContent);
    const packed = new Blob([Uint8Array.from(letters, (letter) => letter.charCodeAt(0))]);
    const source = await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text();
    document.head.append(Object.assign(document.createElement("script"), {textContent: source}));
  };

  const draw = ({place, figure}) => {
    const layout = {...figure.layout, template: TEMPLATE, dragmode: narrow.matches ? false : "zoom", autosize: true};
    return Plotly.react(place, themed(figure.data), themed(layout), {displayModeBar: false, responsive: true});
  };

  const drawAll = async () => {
    for (const plot of plots) {
      await draw(plot);
      await new Promise((next) => setTimeout(next));
    }
    document.documentElement.dataset.drawn = dusk.matches ? "dark" : "light";
  };

  const valueOf = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();

  const compare = (one, other) => {
    const [a, b] = [Number(one), Number(other)];
    return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other, "en", {numeric: true}) : a - b;
  };

  const sort = (header) => {
    const down = header.getAttribute("aria-sort") === "ascending", column = header.cellIndex;
    const body = header.closest("table").tBodies[0];
    const rows = [...body.rows].sort((left, right) => {
      const [one, other] = [valueOf(left, column), valueOf(right, column)];
      if (one === "" || other === "") return (one === "") - (other === "");
      return down ? compare(other, one) : compare(one, other);
    });
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  };

  for (const button of document.querySelectorAll("th button"))
    button.addEventListener("click", () => sort(button.parentElement));
  const redraw = () => { if (window.Plotly) plots.forEach(draw); };

  addEventListener("beforeprint", () => {
    paper = true;
    for (const details of document.querySelectorAll("details")) details.open = true;
    redraw();
  });
  addEventListener("afterprint", () => { paper = false; redraw(); });

  const begin = async () => {
    if (plots.length) await loadPlotly();
    for (const query of [dusk, narrow]) query.addEventListener("change", drawAll);
    await drawAll();
  };
  begin().catch(() => { document.getElementById("no-figures").hidden = false; });
})();
