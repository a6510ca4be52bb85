// The page of pre-trainings: a chart for each kind of figure, over the steps.

const stroke = (run) => `var(--${LINES[run % LINES.length]})`;

function drawFigures(host, { name, series }) {
  const chart = html("div", { class: "chart" }), readout = html("p", { class: "readout", "aria-live": "polite" }, "Point at the chart to read it.");
  host.replaceChildren(html("h3", {}, name), chart, readout);
  const points = series.flatMap((each) => each.points), last = points.reduce((latest, [step]) => Math.max(latest, step), 0);
  const { drawing, X, Y, box } = frame(chart, { label: `${name} over the steps`, height: 240, x: [0, last],
    y: extent(points.map(([, value]) => value)), xName: "steps", yName: "", right: 14, whole: true });
  for (const each of series) {
    const at = each.points.map(([step, value]) => [X(step), Y(value)]), look = { stroke: stroke(each.run), "stroke-width": 2 };
    drawing.append(path(at, { ...look, "stroke-dasharray": each.dashed ? "5 4" : null }));
    if (at.length < 40) drawing.append(...at.map(([cx, cy]) => svg("circle", { cx, cy, r: 3, fill: stroke(each.run) })));
  }
  const rule = svg("line", { y1: box.top, y2: box.bottom, stroke: "var(--soft)", visibility: "hidden" });
  drawing.append(rule);
  const tell = (event) => {
    const step = clamp(Math.round(((event.offsetX - box.left) / (box.right - box.left)) * last), 0, last);
    rule.setAttribute("x1", X(step)); rule.setAttribute("x2", X(step)); rule.setAttribute("visibility", "visible");
    readout.textContent = `step ${step.toLocaleString("en")}: ` + series.map((each) => {
      const point = each.points.findLast(([at]) => at <= step);
      return `${each.label} ${point ? figure(point[1]) : "–"}`;
    }).join("; ");
  };
  drawing.addEventListener("pointermove", tell);
  drawing.addEventListener("pointerdown", tell);
}

const hosts = DATA.charts.map(() => html("div", {}));
document.getElementById("charts").append(...hosts);
document.getElementById("legend").append(
  ...(DATA.names.length > 1 ? DATA.names.map((name, run) => key(stroke(run), name)) : []),
  ...(DATA.charts.some(({ series }) => series.some(({ dashed }) => dashed)) ? [key("var(--soft)", "training"), key("var(--soft)", "validation", true)] : []));
for (const host of document.querySelectorAll(".drawing")) host.append(picture(host.dataset.name, DATA.pictures[host.dataset.run]));
keepDrawn(() => DATA.charts.forEach((chart, i) => drawFigures(hosts[i], chart)));
