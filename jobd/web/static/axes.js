// What the axes of all charts have in common.
const jobdAxes = (() => {
  "use strict";
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
  const font = "12px system-ui";
  const pen = document.createElement("canvas").getContext("2d");

  // Below the x axis and left of the y axis, so much each.
  function axes(below, across, left, up) {
    const axis = { stroke: css("--quiet"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font };
    return [{ ...axis, size: below, ...across }, { ...axis, size: left, ...up }];
  }

  // Half of a time has to fit behind the end of the axis, in any font and language.
  function room(times, write) {
    if (!times.length) return 8;
    pen.font = font;
    return 4 + Math.ceil(pen.measureText(write(times[times.length - 1] * 1000)).width / 2);
  }

  return { css, compact, axes, room };
})();
