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
    const [unit, length] = units.find(([, length]) => step >= length) || units.at(-1);
    return ticks.map((tick) => (tick ? `${compact.format(tick / length)} ${unit}` : "0"));
  } };
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

  function lines(place) {
    const { times, series, marks, unit } = JSON.parse(place.dataset.chart);
    const format = { space: 70, values: (_, ticks) => ticks.map((tick) => written(tick * 1000)) };
    const colour = (one, at) => css(one.tone ? `--${one.tone}` : colours[at % colours.length]);
    place.replaceChildren();
    new uPlot({
      width: place.clientWidth, height: place.clientHeight, padding: [8 + above(marks), room(times, written), 0, 0], legend: { show: false },
      cursor: { y: false, points: { size: 7 } },
      scales: { x: { time: true }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      axes: axes(format, unit === "s" ? spans : numbers),
      series: [{}, ...series.map((one, at) => ({ label: one.label, stroke: colour(one, at), width: 2, points: { show: false } }))],
      hooks: { draw: [(plot) => { deploys(plot, marks); labels(plot, marks); }] },
    }, [times, ...series.map((one) => one.values)], place);
    document.getElementById("metrics-legend").replaceChildren(...series.flatMap((one, at) => {
      const box = document.createElement("i");
      box.style.backgroundColor = colour(one, at);
      return [box, document.createTextNode(one.label)];
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
    const chart = document.getElementById("metrics-chart");
    const histogram = document.getElementById("histogram");
    if (chart) lines(chart);
    if (histogram) bars(histogram);
  }

  draw();
  document.addEventListener("jobd:theme", draw);
  let resized = 0;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(draw, 150); });
})();
