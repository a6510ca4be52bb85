// The page of searches.

function drawCurve(root) {
  const { groups: members } = DATA.comparisons[Number(root.dataset.comparison)];
  const host = root.querySelector(".curve"), groups = members.map((i) => DATA.groups[i]).filter((group) => group.counts.length);
  if (!groups.length) return host.replaceChildren(html("p", { class: "quiet" }, "No candidate has a score yet."));
  const runs = groups.flatMap((group) => group.runs), lines = {};
  for (const run of runs) for (const { name, score } of DATA.runs[run].baselines) (lines[name] = lines[name] || []).push(score);
  const means = Object.entries(lines).map(([name, scores]) => ({ name, score: scores.reduce((a, b) => a + b) / scores.length }));
  const bests = new Map(runs.map((run) => {
    let best = -Infinity;
    return [run, DATA.runs[run].candidates.score.map((score) => (best = Math.max(best, score === null ? -Infinity : score)))];
  }));
  const values = groups.flatMap((group) => group.curve.flatMap(({ mean, half }) => [mean - (half || 0), mean + (half || 0)]));
  const alone = runs.flatMap((run) => bests.get(run).filter(Number.isFinite));
  const longest = Math.max(...[...bests.values()].map((each) => each.length));
  const wide = host.clientWidth > 560;
  const { drawing, X, Y, box } = frame(host, {
    label: "Best score so far over the number of candidates", height: wide ? 340 : 280, x: [1, Math.max(longest, 2)],
    y: extent([...values, ...alone, ...means.map((mean) => mean.score)]), xName: "candidates", yName: DATA.runs[runs[0]].score,
    right: wide ? 170 : 14, whole: true,
  });
  const labels = [];
  for (const { name, score } of means) {
    drawing.append(svg("line", { x1: box.left, x2: box.right, y1: Y(score), y2: Y(score), stroke: "var(--soft)", "stroke-dasharray": "5 4" }));
    labels.push({ name, y: Y(score), color: "var(--soft)" });
  }
  const title = (group) => (groups.length > 1 ? group.label : group.runs.length > 1 ? "mean" : "best so far");
  const stroke = (i) => `var(--${LINES[i % LINES.length]})`;
  groups.forEach((group, i) => {
    const at = group.counts.map(X);
    if (group.curve[0].half !== null) {
      const upper = group.curve.map(({ mean, half }, j) => [at[j], Y(mean + half)]);
      const lower = group.curve.map(({ mean, half }, j) => [at[j], Y(mean - half)]);
      drawing.append(path([...steps(upper), ...steps(lower).reverse()], { style: `fill:${stroke(i)}`, "fill-opacity": 0.16 }));
    }
    if (group.runs.length > 1) for (const run of group.runs) {
      const points = bests.get(run).map((best, j) => [j + 1, best]).filter(([n, best], j, all) => Number.isFinite(best) &&
        (!j || j === all.length - 1 || best !== all[j - 1][1] || !Number.isFinite(all[j - 1][1])));
      drawing.append(path(steps(points.map(([n, best]) => [X(n), Y(best)])), { stroke: stroke(i), "stroke-opacity": 0.45 }));
    }
    const mean = group.curve.map((each, j) => [at[j], Y(each.mean)]);
    drawing.append(path(steps(mean), { stroke: stroke(i), "stroke-width": 2.5, "stroke-dasharray": i < LINES.length ? null : "2 3" }));
    labels.push({ name: title(group), y: mean[mean.length - 1][1], color: stroke(i) });
  });
  if (wide) names(drawing, box.right + 8, labels, box);
  if (!wide || groups.length > 1) host.append(html("div", { class: "bar" }, ...groups.map((group, i) => key(stroke(i), title(group))),
    ...(wide ? [] : means.sort((a, b) => b.score - a.score).map(({ name, score }) => key("var(--soft)", `${name} ${figure(score)}`, true)))));
  const rule = svg("line", { y1: box.top, y2: box.bottom, stroke: "var(--soft)", visibility: "hidden" });
  drawing.append(rule);
  const readout = root.querySelector(".readout");
  readout.textContent = "Point at the curve to read it.";
  const tell = (event) => {
    const count = clamp(Math.round(1 + ((event.offsetX - box.left) / (box.right - box.left)) * (longest - 1)), 1, longest);
    rule.setAttribute("x1", X(count)); rule.setAttribute("x2", X(count)); rule.setAttribute("visibility", "visible");
    readout.textContent = `after ${count.toLocaleString("en")} candidates: ` + groups.map((group) => {
      const index = group.counts.findLastIndex((each) => each <= count);
      if (index < 0) return "no score yet";
      const { mean, half } = group.curve[index];
      return (groups.length > 1 ? `${group.label} ` : "") + figure(mean) + (half === null ? "" : ` ± ${figure(half)}`);
    }).join("; ");
  };
  drawing.addEventListener("pointermove", tell);
  drawing.addEventListener("pointerdown", tell);
}

/** One run's part of the page. */
function runPart(root, run, pictures) {
  const all = run.candidates, count = all.score.length, find = (selector) => root.querySelector(selector);
  const marks = []; // put a ring around the chosen trial
  const place = new Map(all.newest.map((score, i) => [i, score]).filter(([, score]) => score !== null)
    .sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([i], rank) => [i, rank + 1]));
  let chosen = run.winner;

  const attention = (trial) => {
    const layers = all.layers[trial];
    return layers.filter((text) => !all.texts[text].startsWith("conv ")).length / layers.length;
  };

  function choose(trial, show) {
    chosen = trial;
    for (const mark of marks) mark(trial);
    const panel = find(".panel"), parent = all.parent[trial], layers = all.layers[trial];
    const row = (name, ...value) => [html("dt", {}, name), html("dd", {}, ...value)];
    const before = parent === null ? layers : all.layers[parent];
    const again = all.newest[trial] !== all.score[trial] ? ` (first ${figure(all.score[trial])})` : "";
    const outcome = all.score[trial] === null ? row(all.status[trial], all.reason[trial] || "no reason recorded")
      : row("score", `${figure(all.newest[trial])}${again}, rank ${place.get(trial)} of ${place.size}`);
    panel.replaceChildren(
      html("h3", {}, `Trial ${trial}${trial === run.winner ? ", the winner" : ""}`),
      html("dl", {}, ...outcome, ...run.axes.flatMap(({ key, name, unit }) => row(name, amount(all[key][trial], unit))),
        ...row("round", String(all.round[trial])),
        ...row("parent", parent === null ? "none" : html("button", { type: "button", onclick: () => choose(parent) }, `trial ${parent}`))),
      html("ol", { "aria-label": "Layers" }, ...layers.map((text, i) => html("li", { class: text === before[i] ? null : "new" },
        html("span", {}, String(i + 1)), html("code", {}, all.texts[text])))),
      ...(parent === null ? [] : [html("p", { class: "note" }, "Marked layers differ from the parent's.")]));
    find(".drawing").replaceChildren(pictures[trial] ? picture(`trial ${trial}`, pictures[trial])
      : html("p", { class: "note" }, `No picture of trial ${trial}: the page holds those of the best candidates, of the Pareto fronts and of the winner's ancestors.`));
    if (show) panel.scrollIntoView({ block: "center", behavior: "auto" });
  }

  function drawScatter() {
    const host = find(".scatter"), select = find(".axis"), { key, name, unit, front } = run.axes[Number(select.value)] || {};
    const shown = key ? [...place.keys()].filter((i) => all[key][i] !== null) : [];
    if (!shown.length) return host.replaceChildren(html("p", { class: "quiet" }, "No candidate has both a score and a cost."));
    const ordered = shown.map((i) => all.newest[i]).sort((a, b) => a - b), quarter = ordered[Math.floor(ordered.length / 4)];
    const floor = quarter - 1.5 * (ordered[ordered.length - 1] - quarter); // a single bad one would press the rest together
    const shownAt = (trial) => Math.max(all.newest[trial], floor);
    const { drawing, X, Y, box } = frame(host, {
      label: `Score over ${name} of ${shown.length} candidates; the table below has the front`, height: host.clientWidth > 560 ? 420 : 340,
      x: extent(shown.map((i) => all[key][i])), y: extent(shown.map(shownAt)), xName: unit ? `${name}, ${unit}` : name, yName: run.score,
    });
    const width = box.right - box.left, height = box.bottom - box.top, dense = window.devicePixelRatio || 1, edge = 8;
    const canvas = html("canvas", { width: (width + 2 * edge) * dense, height: (height + 2 * edge) * dense, tabindex: 0, role: "application",
      "aria-label": `Candidates by ${name} and score. Arrow keys move from point to point.`,
      style: `position:absolute;left:${box.left - edge}px;top:${box.top - edge}px;width:${width + 2 * edge}px;height:${height + 2 * edge}px;max-width:none;cursor:crosshair` });
    const context = canvas.getContext("2d");
    context.scale(dense, dense);
    const px = shown.map((i) => X(all[key][i]) - box.left + edge), py = shown.map((i) => Y(shownAt(i)) - box.top + edge);
    const radius = shown.length > 2000 ? 2.2 : shown.length > 200 ? 3.5 : 5;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    context.globalAlpha = shown.length > 2000 ? 0.55 : 0.9;
    context.strokeStyle = color("card");
    shown.forEach((trial, i) => {
      context.beginPath();
      context.arc(px[i], py[i], radius, 0, 2 * Math.PI);
      context.fillStyle = mix(attention(trial), dark);
      context.fill();
      if (radius > 3) context.stroke();
    });
    const line = front.map((i) => [X(all[key][i]), Y(shownAt(i))]);
    const over = svg("svg", { width: host.clientWidth, height: drawing.getAttribute("height"), "aria-hidden": true, style: "position:absolute;left:0;top:0;pointer-events:none" });
    over.append(path(steps(line), { stroke: "var(--ink)", "stroke-width": 1.5 }),
      ...line.map(([x, y]) => svg("circle", { cx: x, cy: y, r: radius + 1.5, fill: "none", stroke: "var(--ink)", "stroke-width": 1.5 })));
    const ring = svg("circle", { r: radius + 5, fill: "none", stroke: "var(--b)", "stroke-width": 3 });
    over.append(ring);
    marks[0] = (trial) => {
      const visible = all.newest[trial] !== null && all[key][trial] !== null;
      ring.setAttribute("visibility", visible ? "visible" : "hidden");
      if (visible) { ring.setAttribute("cx", X(all[key][trial])); ring.setAttribute("cy", Y(shownAt(trial))); }
    };
    canvas.addEventListener("click", (event) => {
      let nearest = 0, least = Infinity;
      for (let i = 0; i < shown.length; i++) {
        const away = (px[i] - event.offsetX) ** 2 + (py[i] - event.offsetY) ** 2;
        if (away < least) { least = away; nearest = i; }
      }
      choose(shown[nearest]);
    });
    const byCost = [...shown].sort((a, b) => all[key][a] - all[key][b] || all.newest[a] - all.newest[b]);
    const byScore = [...shown].sort((a, b) => all.newest[a] - all.newest[b] || a - b);
    canvas.addEventListener("keydown", (event) => {
      const move = { ArrowRight: [byCost, 1], ArrowLeft: [byCost, -1], ArrowUp: [byScore, 1], ArrowDown: [byScore, -1] }[event.key];
      if (!move) return;
      event.preventDefault();
      choose(move[0][clamp(move[0].indexOf(chosen) + move[1], 0, shown.length - 1)]);
    });
    host.append(canvas, over);
    if (chosen !== null) marks[0](chosen);
    find(".front .scroll").replaceChildren(html("table", {},
      html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "trial"), html("th", { scope: "col", class: "n" }, name), html("th", { scope: "col", class: "n" }, "score"))),
      html("tbody", {}, ...front.map((trial) => html("tr", {}, html("td", {}, html("button", { type: "button", onclick: () => choose(trial) }, String(trial))),
        html("td", { class: "n" }, amount(all[key][trial], unit)), html("td", { class: "n" }, figure(all.newest[trial])))))));
    const below = ordered.filter((score) => score < floor).length;
    find(".below").textContent = below ? `Points at the lower edge are further down: ${below}.` : "";
    find("[data-legend=mix]").replaceChildren("convolutions only", html("span", { class: "ramp", style: `background:linear-gradient(90deg,${mix(0, dark)},${mix(0.5, dark)},${mix(1, dark)})` }), "attentions only");
  }

  function drawTree() {
    const host = find(".tree");
    if (!host) return;
    const trunk = new Set(run.lineage), within = [];
    for (let i = 0; i < count; i++) if (all.score[i] !== null && (trunk.has(i) || trunk.has(all.parent[i]))) within.push(i);
    const { drawing, X, Y } = frame(host, { label: "Scores of the winner's ancestors and of their other children over the trials", height: 280,
      x: extent(within), y: extent(within.map((i) => all.score[i])), xName: "trial", yName: run.score.replace("score", "first score"), whole: true });
    const point = (i) => [X(i), Y(all.score[i])];
    const others = within.filter((i) => !trunk.has(i));
    const draw = (list, make, attributes) => list.length && drawing.append(svg("path", { d: list.map(make).join(""), fill: "none", ...attributes }));
    draw(others, (i) => `M${point(all.parent[i])}L${point(i)}`, { stroke: "var(--soft)", "stroke-opacity": others.length > 300 ? 0.12 : 0.35 });
    draw(others, (i) => `M${point(i)}h0`, { stroke: "var(--soft)", "stroke-width": 5, "stroke-linecap": "round", "stroke-opacity": others.length > 300 ? 0.35 : 0.8 });
    drawing.append(path(run.lineage.map(point), { stroke: "var(--a)", "stroke-width": 3 }));
    for (const trial of run.lineage) {
      const last = trial === run.winner;
      drawing.append(svg("circle", { cx: X(trial), cy: Y(all.score[trial]), r: last ? 7 : 5, fill: last ? "var(--b)" : "var(--a)", style: "cursor:pointer",
        onclick: () => choose(trial, true) }, svg("title", {}, `trial ${trial}, score ${figure(all.score[trial])}`)));
    }
  }

  function drawHeat() {
    const host = find(".heat"), data = run.priority;
    if (!data) return host.replaceChildren(html("p", { class: "quiet" }, "No operation priority: the strategy keeps none, or the config or the history is missing."));
    const measures = { bound: ["priority u", "mean and a bonus for rarely played ones"], mean: ["mean μ", "standardised score"], plays: ["plays N", "candidates with it"] };
    const show = host.querySelector("select") || html("select", { onchange: () => drawHeat() }, ...Object.entries(measures).map(([key, [name]]) => html("option", { value: key }, name)));
    const key = show.value, values = data[key].flat(2).filter((value) => value !== null).sort((a, b) => a - b);
    if (!values.length) return host.replaceChildren(html("p", { class: "quiet" }, "No operation has been played: the first round is not complete."));
    // A few operations played once have bounds far from all others; colours are for the rest.
    const low = values[Math.floor(0.02 * values.length)], high = values[Math.ceil(0.98 * values.length) - 1], bend = key === "plays" ? Math.sqrt : (x) => x;
    const readout = html("p", { class: "readout", "aria-live": "polite" }, "Point at a cell to read it.");
    const maps = html("div", { class: data.plays.length % 3 ? "maps two" : "maps" });
    host.replaceChildren(
      html("div", { class: "bar" }, html("label", {}, "Colour ", show), html("span", { class: "legend" }, `${figure(low, 2)} or less`, html("span", { class: "ramp", style: `background:linear-gradient(90deg,${[0, 0.2, 0.4, 0.6, 0.8, 1].map(ramp)})` }), `${figure(high, 2)} or more: ${measures[key][1]}; empty: never played`)),
      readout, maps,
      html("p", { class: "note" }, `From left to right the search goes from ${data.times[0]} to ${data.times[data.times.length - 1].toLocaleString("en")} candidates. The columns of figures are plays and mean at the end. In an attention that is changed, operations are drawn by priority; kernels are drawn at random, their statistics are for the eye.`),
      html("details", {}, html("summary", {}, "Plays and means at the end, as a table"), html("div", { class: "scroll" }, html("table", {},
        html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "operation"), ...data.plays.map((_, layer) => html("th", { scope: "col", class: "n" }, `layer ${layer + 1}`)))),
        html("tbody", {}, ...data.operations.map((name, row) => html("tr", {}, html("th", { scope: "row" }, name), ...data.plays.map((plays, layer) =>
          html("td", { class: "n" }, plays[row].at(-1) ? `${plays[row].at(-1)} / ${figure(data.mean[layer][row].at(-1), 2)}` : "–")))))))));
    data[key].forEach((rows, layer) => {
      const canvas = html("canvas", { role: "img", "aria-label": `Layer ${layer + 1}: operations over time; the table below has the figures` });
      maps.append(html("figure", {}, html("figcaption", {}, `Layer ${layer + 1}`), canvas));
      const width = canvas.parentElement.clientWidth, tall = 15, height = rows.length * tall, dense = window.devicePixelRatio || 1;
      const left = 76, right = width - 92, wide = (right - left) / data.times.length;
      canvas.width = width * dense; canvas.height = (height + 14) * dense;
      canvas.style.width = `${width}px`; canvas.style.height = `${height + 14}px`;
      const context = canvas.getContext("2d");
      context.scale(dense, dense);
      context.font = "11px system-ui, sans-serif";
      context.textBaseline = "middle";
      context.fillStyle = color("soft");
      context.textAlign = "right";
      context.fillText("plays", width - 48, 6); context.fillText("mean", width - 2, 6);
      rows.forEach((cells, row) => {
        const y = 14 + row * tall;
        context.fillStyle = color("grid");
        context.fillRect(left, y, right - left, tall - 1);
        cells.forEach((value, column) => {
          if (!data.plays[layer][row][column] || value === null) return;
          context.fillStyle = ramp((bend(value) - bend(low)) / (bend(high) - bend(low) || 1));
          context.fillRect(left + column * wide, y, wide + 0.4, tall - 1);
        });
        context.fillStyle = color("ink");
        context.textAlign = "left";
        context.fillText(data.operations[row], 0, y + tall / 2);
        context.textAlign = "right";
        context.fillText(data.plays[layer][row].at(-1), width - 48, y + tall / 2);
        context.fillText(figure(data.mean[layer][row].at(-1), 2), width - 2, y + tall / 2);
      });
      const tell = (event) => {
        const row = clamp(Math.floor((event.offsetY - 14) / tall), 0, rows.length - 1), column = clamp(Math.floor((event.offsetX - left) / wide), 0, data.times.length - 1);
        const plays = data.plays[layer][row][column];
        readout.textContent = `layer ${layer + 1}, ${data.operations[row]}, after ${data.times[column]} candidates: ` + (plays
          ? `priority ${figure(data.bound[layer][row][column], 2)}, mean ${figure(data.mean[layer][row][column], 2)}, plays ${plays}` : "never played, comes first");
      };
      canvas.addEventListener("pointermove", tell);
      canvas.addEventListener("pointerdown", tell);
    });
  }

  function drawFrequencies() {
    const host = find(".frequencies"), data = run.frequencies;
    if (!data) return host.replaceChildren(html("p", { class: "quiet" }, "No candidate."));
    const percent = (share) => `${Math.round(100 * share)}`, mean = (shares) => shares.reduce((a, b) => a + b, 0) / shares.length;
    const row = 30, width = host.clientWidth > 780 ? 440 : Math.max(host.clientWidth, 260), left = 80, bars = svg("svg", { width, height: data.kinds.length * row + 4, role: "img", "aria-label": "Share of each kind of layer among the best and among all; the table has it by position" });
    const most = Math.max(...data.best.map(mean), ...data.all.map(mean)), X = linear(0, most, 0, width - left - 48);
    data.kinds.forEach((kind, i) => {
      const [best, every] = [mean(data.best[i]), mean(data.all[i])], y = i * row + 2;
      bars.append(svg("text", { x: 0, y: y + 17, class: "name" }, kind),
        svg("rect", { x: left, y: y + 2, width: X(best), height: 11, rx: 2, fill: "var(--a)" }),
        svg("rect", { x: left, y: y + 14, width: X(every), height: 7, rx: 2, fill: "var(--soft)", opacity: 0.55 }),
        svg("text", { x: left + Math.max(X(best), X(every)) + 6, y: y + 16 }, `${percent(best)} %`));
    });
    const tint = (best, every) => `color-mix(in srgb, var(--${best >= every ? "a" : "b"}) ${Math.round(Math.min(Math.abs(best - every), 0.6) * 50)}%, transparent)`;
    host.replaceChildren(
      html("div", { class: "bar" }, html("span", { class: "legend" }, html("span", { class: "ramp", style: "background:var(--a);width:22px" }), `the best ${data.best_count}`),
        html("span", { class: "legend" }, html("span", { class: "ramp", style: "background:var(--soft);opacity:.55;width:22px" }), `all ${data.all_count.toLocaleString("en")}`)),
      html("div", { class: "halves" }, bars, html("div", {}, html("h3", {}, "By layer position, % of the best (of all)"), html("div", { class: "scroll" }, html("table", {},
        html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "kind"), ...data.best[0].map((_, i) => html("th", { scope: "col", class: "n" }, String(i + 1))))),
        html("tbody", {}, ...data.kinds.map((kind, i) => html("tr", {}, html("th", { scope: "row" }, kind), ...data.best[i].map((best, layer) =>
          html("td", { class: "n", style: `padding:5px 8px;background:${tint(best, data.all[i][layer])}` }, percent(best), html("small", {}, ` (${percent(data.all[i][layer])})`)))))))))));
  }

  function drawUniformity() {
    const host = find(".uniformity"), entries = Object.entries(run.uniformity);
    if (!entries.length) return host.replaceChildren(html("p", { class: "quiet" }, "Not recorded: the comparison is not finished, or the run is of an earlier version."));
    const chart = html("div", { class: "chart" });
    host.replaceChildren(chart, html("p", { class: "note" }, "Mean cosine similarity of the states of two tokens of a sequence, on held-out text, after the embeddings (0) and after each layer. High is bad: at 1 tokens cannot be told apart."));
    const layers = Math.max(...entries.map(([, values]) => values.length - 1)), wide = chart.clientWidth > 560, all = entries.flatMap(([, values]) => values);
    const { drawing, X, Y, box } = frame(chart, { label: "Token uniformity by layer", height: 280, x: [0, layers], y: [Math.min(0, ...all), Math.max(...all) * 1.05], xName: "layer", yName: "mean cosine similarity", right: wide ? 170 : 14, whole: true });
    const labels = [];
    entries.forEach(([name, values], i) => {
      const stroke = `var(--${i < 2 ? LINES[1 - i] : LINES[i % LINES.length]})`, points = values.map((value, layer) => [X(layer), Y(value)]);
      drawing.append(path(points, { stroke, "stroke-width": i < 2 ? 2.5 : 1.5, "stroke-dasharray": i < 2 ? null : "5 4" }),
        ...points.map(([cx, cy], layer) => svg("circle", { cx, cy, r: i < 2 ? 4 : 3, fill: stroke }, svg("title", {}, `${name}, layer ${layer}: ${figure(values[layer], 3)}`))));
      labels.push({ name, y: points[points.length - 1][1], color: stroke });
    });
    if (wide) names(drawing, box.right + 10, labels, box);
    else host.prepend(html("div", { class: "bar" }, ...labels.map(({ name, color: fill }) => html("span", { class: "legend" }, html("span", { class: "ramp", style: `background:${fill};width:22px` }), name))));
  }

  find(".axis").append(...run.axes.map(({ name }, i) => html("option", { value: i }, name)));
  find(".axis").addEventListener("change", drawScatter);
  for (const button of root.querySelectorAll("[data-trial]")) button.addEventListener("click", () => choose(Number(button.dataset.trial), true));
  const draw = () => { drawScatter(); drawTree(); drawHeat(); drawFrequencies(); drawUniformity(); };
  let ready = false;
  return () => {
    draw();
    if (ready) return;
    ready = true;
    if (chosen !== null) choose(chosen);
    else find(".panel").replaceChildren(html("p", { class: "quiet" }, "No candidate has a score yet."));
  };
}

/** From orange (convolutions) through grey to blue (attentions). */
function mix(share, dark) {
  const ends = dark ? [[240, 140, 60], [150, 155, 160], [90, 180, 238]] : [[199, 83, 0], [140, 145, 150], [0, 105, 168]];
  const index = share < 0.5 ? 0 : 1, part = (share - index / 2) * 2;
  return `rgb(${ends[index].map((from, i) => Math.round(from + (ends[index + 1][i] - from) * part))})`;
}

const parts = [...document.querySelectorAll(".run")].map((root, i) => ({ root, draw: runPart(root, DATA.runs[i], DATA.pictures[i]) }));
const curves = [...document.querySelectorAll(".comparison")];
const drawAll = () => { curves.forEach(drawCurve); for (const { root, draw } of parts) if (!root.hidden) draw(); };
const picker = document.getElementById("run");
if (picker) picker.addEventListener("change", () => {
  parts.forEach(({ root }, i) => { root.hidden = i !== Number(picker.value); });
  drawAll();
});
keepDrawn(drawAll);
