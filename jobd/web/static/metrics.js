// The charts of the metrics: classes over time with the deploys between, and the histogram of one.
(() => {
  "use strict";
  const { css, compact, room } = jobdAxes;
  // Without red, which is for what has failed.
  const colours = ["--accent", "--good", "--warn", "--blue", "--pink", "--slate"];
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
  // The date where it changes, else the time of day.
  const written = (at) => { const time = new Date(at); return (time.getHours() || time.getMinutes() ? clock : day).format(time); };

  // Times in the unit of the step between them, which is a round one of it.
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1], ["ms", 0.001]];
  const rounds = { ms: [1, 2, 5, 10, 20, 50, 100, 200, 500], s: [1, 2, 5, 10, 15, 30], min: [1, 2, 5, 10, 15, 30], h: [1, 2, 3, 6, 12], d: [1, 2, 5, 10, 20, 50, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8] };
  const steps = [...units].reverse().flatMap(([unit, length]) => rounds[unit].map((count) => count * length));
  const spans = { incrs: steps, values: (_, ticks, axis, space, step) => {
    let [unit, length] = units.find(([, length]) => step >= length) || units.at(-1);
    if (step >= 0.1 && unit === "ms" && ticks.at(-1) >= 1) [unit, length] = ["s", 1];
    return ticks.map((tick) => (tick ? `${compact.format(tick / length)} ${unit}` : "0"));
  } };
  // Of a logarithmic axis each in its own unit.
  const decades = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36e3, 864e3, 864e4, 864e5];
  const powers = { filter: (_, splits) => splits, splits: (_, axis, least, most) => decades.filter((each) => each >= least && each <= most), values: (_, ticks) => ticks.map((tick) => {
    const [unit, length] = units.find(([, length]) => tick >= length) || units.at(-1);
    return `${compact.format(tick / length)} ${unit}`;
  }) };
  const numbers = { values: (_, ticks) => ticks.map((tick) => compact.format(tick)) };

  const axes = (across, up) => jobdAxes.axes(30, across, 58, up);

  // Deploys have their labels in rows above the chart, and a line from there.
  const most = 3, tall = 16, apart = 4;
  const above = (marks) => Math.min(most, marks.length) * tall;

  function deploys(plot, marks) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = css("--accent");
    ctx.setLineDash([5, 4]);
    for (const mark of marks) {
      const x = plot.valToPos(mark.at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top - above(marks) * devicePixelRatio);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  // The labels as far as they cover no other; a list has all of them.
  function labels(plot, marks) {
    for (const old of plot.over.querySelectorAll(".deploy")) old.remove();
    const width = plot.over.clientWidth, ends = Array(most).fill(0);
    for (const mark of marks) {
      const x = plot.valToPos(mark.at, "x");
      if (x < 0 || x > width) continue;
      const label = document.createElement("span");
      label.className = "deploy";
      label.textContent = label.title = mark.label;
      plot.over.append(label);
      const long = label.offsetWidth;
      // On the left of the line where the chart ends.
      const left = Math.max(0, x + apart + long <= width ? x + apart : x - apart - long);
      const row = ends.findIndex((end) => end <= left);
      if (row < 0) { label.remove(); continue; }
      ends[row] = left + long + apart;
      label.style.left = `${left}px`;
      label.style.top = `${row * tall - above(marks)}px`;
    }
  }

  // A measurement with none beside it has no line: it is a point.
  function alone(plot, at) {
    return plot.data[at].some((value, x, all) => value != null && all[x - 1] == null && all[x + 1] == null);
  }

  function lines(place) {
    const { times, series, marks, unit, band, log } = JSON.parse(place.dataset.chart);
    const legend = place.closest(".card").querySelector("[data-legend]");
    // What somebody has hidden stays so when the chart is drawn again.
    const hidden = (place.hiddenSeries ??= new Set());
    const format = { space: 70, values: (_, ticks) => ticks.map((tick) => written(tick * 1000)) };
    const colour = (one, at) => css(one.tone ? `--${one.tone}` : colours[at % colours.length]);
    // On a logarithmic scale there is no place for nothing.
    const values = series.map((one) => (log ? one.values.map((value) => value || null) : one.values));
    place.replaceChildren();
    const plot = new uPlot({
      width: place.clientWidth, height: place.clientHeight, padding: [8 + above(marks), room(times, written), 0, 0], legend: { show: false },
      cursor: { y: false, points: { size: 7 } },
      scales: { x: { time: true }, y: log ? { distr: 3 } : { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } },
      axes: axes(format, unit !== "s" ? numbers : log ? powers : spans),
      series: [{}, ...series.map((one, at) => ({ label: one.label, show: !hidden.has(one.label), stroke: colour(one, at), width: 2, points: { show: band || log ? alone : false, size: 5 } }))],
      bands: band ? [{ series: [2, 1], fill: css("--accent-soft") }] : [],
      hooks: { draw: [(plot) => { deploys(plot, marks); labels(plot, marks); }] },
    }, [times, ...values], place);
    legend.replaceChildren(...series.map((one, at) => {
      const key = document.createElement("button"), box = document.createElement("i");
      key.type = "button";
      key.setAttribute("aria-pressed", !hidden.has(one.label));
      box.style.backgroundColor = colour(one, at);
      key.append(box, one.label);
      key.addEventListener("click", () => {
        if (!hidden.delete(one.label)) hidden.add(one.label);
        key.setAttribute("aria-pressed", !hidden.has(one.label));
        plot.setSeries(at + 1, { show: !hidden.has(one.label) });
      });
      return key;
    }));
  }

  function bars(place) {
    const { labels, counts } = JSON.parse(place.dataset.histogram);
    const first = Math.max(0, counts.findIndex((count) => count) - 1);
    const last = counts.length - [...counts].reverse().findIndex((count) => count);
    const shown = counts.slice(first, last + 1), names = labels.slice(first, last + 1);
    place.replaceChildren();
    new uPlot({
      width: place.clientWidth, height: place.clientHeight, padding: [8, 8, 0, 0], legend: { show: false }, cursor: { show: false },
      scales: { x: { time: false, range: [-0.6, shown.length - 0.4] }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      axes: axes({ splits: () => shown.map((_, at) => at), values: (_, ticks) => ticks.map((at) => names[at]) }, numbers),
      series: [{}, { fill: css("--accent"), paths: uPlot.paths.bars({ size: [0.8, 60], radius: 0.15 }), points: { show: false } }],
    }, [shown.map((_, at) => at), shown], place);
  }

  function draw() {
    const histogram = document.getElementById("histogram");
    for (const chart of document.querySelectorAll("[data-chart]")) lines(chart);
    if (histogram) bars(histogram);
  }

  draw();
  document.addEventListener("jobd:theme", draw);
  let resized = 0;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(draw, 150); });
})();
