// What every page does: live numbers, regions that refresh themselves, times in the reader's zone,
// keys. Everything can be read without it.
(() => {
  "use strict";
  const body = document.body;
  const wait = 3000;
  const texts = JSON.parse(body.dataset.texts);
  const filled = (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]);

  // --- numbers -----------------------------------------------------------------------------
  const whole = new Intl.NumberFormat("en");
  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

  function show(stats) {
    for (const place of document.querySelectorAll("[data-stat]")) {
      const value = stats[place.dataset.stat];
      if (value === undefined) continue;
      const format = "short" in place.dataset && value > 9999 ? compact : whole;
      const text = "short" in place.dataset && !value ? "" : format.format(value);
      if (place.textContent !== text) place.textContent = text;
    }
  }

  // --- live --------------------------------------------------------------------------------
  const pulse = document.getElementById("pulse");
  const trouble = document.getElementById("trouble");
  let turn = 0;

  function live(on, text) {
    if (pulse) pulse.className = on ? "dot on" : "dot off";
    if (trouble) { trouble.hidden = !text; trouble.textContent = text || ""; }
  }

  function take(stats) {
    live(true);
    show(stats);
    const clock = document.querySelector("[data-clock]");
    if (clock && stats.at) clock.textContent = `${new Date(stats.at * 1000).toISOString().slice(11, 19)} UTC`;
    turn += 1;
    document.dispatchEvent(new CustomEvent("jobd:stats", { detail: stats }));
    // Regions refresh at a slower pace; not while somebody chooses in them.
    for (const region of document.querySelectorAll("[data-refresh]")) {
      const every = Math.max(1, Math.round(Number(region.dataset.refresh) / 2));
      const chosen = region.querySelector("input[type=checkbox]:checked, details[open] textarea");
      if (turn % every === 0 && !chosen && !document.hidden) refresh(region);
    }
  }

  async function refresh(region) {
    await htmx.ajax("GET", location.href, {
      target: region, select: "#" + region.id, swap: "outerMorph",
    });
    localise(document);
  }

  let polling = 0;
  async function poll() {
    try {
      const answer = await fetch(body.dataset.stats, { headers: { Accept: "application/json" } });
      const found = await answer.json();
      if (answer.ok) take(found); else live(false, answer.status === 503 ? texts.unavailable : found.detail);
    } catch { live(false, texts.silent); }
    polling = setTimeout(poll, wait);
  }

  let source;
  function listen() {
    let heard = false;
    source = new EventSource(body.dataset.live);
    source.addEventListener("stats", (event) => { heard = true; take(JSON.parse(event.data)); });
    source.addEventListener("trouble", () => { heard = true; live(false, texts.unavailable); });
    // The server ends each stream after a while: the next one begins without a word.
    source.addEventListener("again", () => { source.close(); listen(); });
    source.addEventListener("error", () => {
      live(false);
      // What keeps events back (a proxy, WSGI) lets answers pass.
      if (!heard || source.readyState === EventSource.CLOSED) { source.close(); clearTimeout(polling); poll(); }
      heard = false;
    });
  }
  addEventListener("pagehide", () => source?.close());

  function follow() { if (window.EventSource) listen(); else poll(); }

  // A browser opens six connections to a server at most, for all its windows together: those that
  // nobody sees must not keep one, or the seventh window would wait for ever.
  function leave() { source?.close(); clearTimeout(polling); }

  if (body.dataset.live) {
    if (!document.hidden) follow();
    document.addEventListener("visibilitychange", () => { leave(); if (!document.hidden) follow(); });
  }

  // --- times -------------------------------------------------------------------------------
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

  // Symbols of units are the same in all languages.
  function span(seconds) {
    let rest = Math.round(Math.abs(seconds));
    const parts = [];
    for (const [unit, length] of units) {
      const count = Math.floor(rest / length);
      rest -= count * length;
      if (count || parts.length) parts.push([count, unit]);
    }
    return parts.slice(0, 2).filter(([count]) => count).map((part) => part.join(" ")).join(" ");
  }

  function relative(seconds) {
    const time = span(seconds);
    return time ? filled(seconds >= 0 ? texts.ago : texts.ahead, { time }) : texts.now;
  }

  function lasted(seconds) {
    return span(Math.max(0, seconds)) || "0 s";
  }

  function localise(within) {
    for (const time of within.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      time.title = exact.format(at);
      if ("elapsed" in time.dataset) { time.textContent = lasted((Date.now() - at) / 1000); continue; }
      time.textContent = "relative" in time.dataset ? relative((Date.now() - at) / 1000) : exact.format(at);
    }
  }

  localise(document);
  document.addEventListener("htmx:after:swap", () => localise(document));
  setInterval(() => localise(document), 10000);
  setInterval(() => {
    for (const time of document.querySelectorAll("time[data-elapsed]")) {
      time.textContent = lasted((Date.now() - new Date(time.dateTime)) / 1000);
    }
  }, 1000);

  // --- choosing ----------------------------------------------------------------------------
  document.addEventListener("change", (event) => {
    const all = event.target.closest("[data-all]");
    if (all) for (const box of document.querySelectorAll(all.dataset.all)) box.checked = all.checked;
  });

  // --- a long action goes on by itself -------------------------------------------------------
  document.querySelector("form[data-go]")?.requestSubmit();
  const further = document.querySelector("[data-continue]");
  if (further) location.replace(further.dataset.continue);

  // --- a time that somebody types is that of his own clock ----------------------------------
  const typed = document.querySelector("input[type=datetime-local]");
  if (typed) {
    const form = typed.form;
    const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
    form.querySelector("[data-zone-name]").textContent = name;
    typed.addEventListener("input", () => {
      form.querySelector("[name=kind][value=at]").checked = true;
      const at = new Date(typed.value);
      form.querySelector("[data-zone]").value = Number.isNaN(+at) ? "" : at.getTimezoneOffset();
    });
  }

  // --- light and dark ----------------------------------------------------------------------
  document.getElementById("theme")?.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("jobd.theme", root.dataset.theme); } catch { /* for this page only */ }
    document.dispatchEvent(new CustomEvent("jobd:theme"));
  });

  document.getElementById("help")?.addEventListener("click", () => document.getElementById("keys").showModal());

  // --- keys: "g" and the letter of a page, "/" for the search, j and k for the rows ---------
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    if (event.key === "g") { going = Date.now(); return; }
    if (Date.now() - going < 1500) {
      going = 0;
      const page = document.querySelector(`.side nav a[data-key="${CSS.escape(event.key)}"]`);
      if (page) { event.preventDefault(); page.click(); return; }
    }
    if (event.key === "f") {
      const find = document.getElementById("find");
      if (find) { event.preventDefault(); find.focus(); }
    } else if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    } else if (event.key === "?") {
      const help = document.getElementById("keys");
      if (help) { event.preventDefault(); help.open ? help.close() : help.showModal(); }
    } else if (event.key === "j" || event.key === "k") {
      const rows = [...document.querySelectorAll("tbody a[data-row]")];
      const next = rows.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
      rows[Math.max(0, Math.min(rows.length - 1, next))]?.focus();
    }
  });
})();
