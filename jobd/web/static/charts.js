// The charts of the overview: what happens now, and the days.
(() => {
  "use strict";
  const { css, compact, axes, room } = jobdAxes;
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const whole = new Intl.NumberFormat("en");
  const date = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });
  const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
  const filled = (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]);
  const made = [];

  // What is under the pointer, in words, where the page has a place for it.
  function readout(plot, place) {
    const told = place.parentElement.querySelector("[data-readout]");
    if (!told) return;
    const at = plot.cursor.idx;
    const [times, processed, failed] = plot.data;
    told.textContent = at === null || at === undefined ? told.dataset.usual
      : filled(told.dataset.each, { day: day.format(times[at] * 1000), processed: whole.format(processed[at] ?? 0), failed: whole.format(failed[at] ?? 0) });
  }

  function chart(place, data, options) {
    const line = (label, colour, fill) => ({
      label, stroke: css(colour), width: 2, fill: fill ? css(fill) : undefined, points: { show: false },
      paths: options.bars ? uPlot.paths.bars({ size: [0.7, 40], radius: 0.2 }) : undefined,
    });
    const written = options.bars ? date : clock;
    place.replaceChildren();
    const plot = new uPlot({
      width: place.clientWidth, height: place.clientHeight, padding: [8, room(data[0], written.format), 0, 0],
      cursor: { y: false, points: { size: 7 } }, legend: { show: false },
      hooks: options.bars ? { setCursor: [(plot) => readout(plot, place)] } : {},
      scales: { x: { time: true, range: options.bars ? (_, first, last) => [first - 43200, last + 43200] : (_, first, last) => [Math.min(first, last - 120), last] }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      axes: axes(26, { space: options.bars ? 60 : 90, incrs: options.bars ? undefined : [1, 5, 10, 15, 30, 60, 120, 300],
        values: (_, ticks) => ticks.map((tick) => written.format(tick * 1000)) },
      52, { values: (_, ticks) => ticks.map((tick) => compact.format(tick)) }),
      series: [{}, line("processed", "--good", options.bars ? "--good" : "--good-soft"),
        line("failed", "--bad", options.bars ? "--bad" : "--bad-soft")],
    }, data, place);
    made.push({ place, data, options, plot });
    return plot;
  }

  // Rates, from the totals of every event; ten minutes of them.
  const place = document.getElementById("now-chart");
  const points = [[], [], []];
  const gap = 10;
  let before = null, live = null;
  function add(point) {
    points.forEach((series, at) => { series.push(point[at]); if (series.length > 300) series.shift(); });
  }
  function take(now) {
    // A gap stays one: a line across it would be a measurement that nobody has made.
    if (before && now.at - before.at >= gap) add([before.at + 0.001, null, null]);
    else if (before && now.at > before.at) {
      const seconds = now.at - before.at;
      const rate = (name) => Math.max(0, (now[name] - before[name]) / seconds);
      add([now.at, rate("processed"), rate("failed")]);
      for (const name of ["processed", "failed"]) {
        const output = document.querySelector(`[data-rate=${name}]`);
        if (output) output.textContent = compact.format(rate(name));
      }
    }
    if (!before || now.at > before.at) before = now;
  }
  function draw() {
    if (live) live.setData(points); else if (points[0].length > 1) live = chart(place, points, {});
  }
  // The dashboard has seen the last minutes already.
  for (const [at, processed, failed] of JSON.parse(place?.dataset.points || "[]")) take({ at, processed, failed });
  if (place) { draw(); document.addEventListener("jobd:stats", ({ detail }) => { take(detail); draw(); }); }

  const days = document.getElementById("days-chart");
  if (days) {
    const [times, ...counts] = JSON.parse(days.dataset.points);
    // Of nothing there is no bar: one without a height would still be a line in its colour.
    chart(days, [times, ...counts.map((series) => series.map((count) => count || null))], { bars: true });
  }

  function redraw() {
    for (const { place, data, options, plot } of made.splice(0)) {
      plot.destroy();
      const again = chart(place, data, options);
      if (plot === live) live = again;
    }
  }
  document.addEventListener("jobd:theme", redraw);
  let resized = 0;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(redraw, 150); });
})();
