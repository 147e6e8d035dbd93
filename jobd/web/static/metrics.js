// The charts of the metrics: classes over time with the deploys between, and the histogram of one.
(() => {
  "use strict";
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
  const colours = ["--accent", "--good", "--warn", "--bad", "--blue", "--pink"];
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit" });

  function axes(format) {
    const axis = { stroke: css("--quiet"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    return [{ ...axis, size: 30, ...format }, { ...axis, size: 52, values: (_, ticks) => ticks.map((tick) => compact.format(tick)) }];
  }

  // Where something was deployed, a line with its label.
  function deploys(plot, marks) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = css("--accent");
    ctx.setLineDash([5, 4]);
    ctx.font = `${11 * devicePixelRatio}px system-ui`;
    for (const mark of marks) {
      const x = plot.valToPos(mark.at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      // On the side with more room.
      const left = x - bbox.left > bbox.width / 2;
      ctx.textAlign = left ? "right" : "left";
      const label = mark.label.length > 40 ? `${mark.label.slice(0, 39)}…` : mark.label;
      ctx.fillText(label, left ? x - 4 : x + 4, bbox.top + 12 * devicePixelRatio);
    }
    ctx.restore();
  }

  function lines(place) {
    const { times, series, marks } = JSON.parse(place.dataset.chart);
    const long = times.length > 1 && times[times.length - 1] - times[0] > 86400;
    const format = { values: (_, ticks) => ticks.map((tick) => (long ? day : clock).format(tick * 1000)) };
    const named = { failed: "--bad", executions: "--good" };
    const colour = (one, at) => css(named[one.label] || colours[at % colours.length]);
    place.replaceChildren();
    new uPlot({
      width: place.clientWidth, height: place.clientHeight, padding: [8, 8, 0, 0], legend: { show: false },
      cursor: { y: false, points: { size: 7 } },
      scales: { x: { time: true }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      axes: axes(format),
      series: [{}, ...series.map((one, at) => ({ label: one.label, stroke: colour(one, at), width: 2, points: { show: false } }))],
      hooks: { draw: [(plot) => deploys(plot, marks)] },
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
      axes: axes({ splits: () => shown.map((_, at) => at), values: (_, ticks) => ticks.map((at) => names[at]) }),
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
