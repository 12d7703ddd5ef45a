// The chart of transactions by status: hover, arrow keys, and a table beside it for who cannot see.
import uPlot from "./vendor/uplot/uPlot.js";
import { shownZone, tellTime } from "./page.js";

const language = document.documentElement.lang;
const whole = new Intl.NumberFormat(language);
const HEIGHT = 240;

// Colours are those of the sheet: what a hidden element of that class has.
function colourOf(figure, name) {
  const probe = document.createElement("span");
  probe.className = name;
  probe.hidden = true;
  figure.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

const DAY = { day: "numeric", month: "short" };
const CLOCK = { hour: "2-digit", minute: "2-digit" };

// Where the zone is not whole hours from UTC, a day begins with its first full one, and says so.
function momentOf(data, index) {
  const at = new Date(data.times[index] * 1000);
  const plain = data.step >= 86_400 && tellTime(at, "en", CLOCK) === "00:00";
  return tellTime(at, language, plain ? DAY : { ...DAY, ...CLOCK });
}

// Exact: the digits of the text are kept, never read as a float.
function exact(text) {
  const digits = text.split(".")[1]?.length ?? 0;
  return new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(text);
}

const totalOf = (series) => series.counts.reduce((sum, count) => sum + count, 0);

// What a series has at one of the times, or in all.
function numberOf(data, series, index) {
  const count = whole.format(index === null ? totalOf(series) : series.counts[index]);
  const sum = index === null ? undefined : series.sums?.[index];
  return sum && data.currency ? `${count} · ${exact(sum)} ${data.currency}` : count;
}

const labelOf = (series) => series.label ?? series.status;

// Writes the numbers at the cursor, or the sums over all, into the legend.
function tell(figure, data, index) {
  const shown = index ?? null;
  figure.querySelector(".at").textContent = shown === null ? "" : momentOf(data, shown);
  data.series.forEach((series, number) => {
    figure.querySelectorAll(".legend b")[number].textContent = numberOf(data, series, shown);
  });
}

// Says where the keys have led, for those who hear the page.
function say(figure, data, index) {
  const numbers = data.series.map((series) => `${labelOf(series)} ${numberOf(data, series, index)}`);
  figure.querySelector("[aria-live]").textContent = `${momentOf(data, index)}: ${numbers.join(", ")}`;
}

function legendOf(figure, data) {
  const list = figure.querySelector(".legend");
  list.replaceChildren(...data.series.map((series) => {
    const item = document.createElement("li");
    const swatch = document.createElement("span");
    swatch.className = `swatch ${series.status}`;
    const number = document.createElement("b");
    item.append(swatch, labelOf(series), " ", number);
    return item;
  }), Object.assign(document.createElement("li"), { className: "at aside" }));
}

function tableOf(figure, data) {
  const head = figure.querySelector("table thead tr");
  const body = figure.querySelector("table tbody");
  if (!body) return;
  while (head.children.length > 1) head.lastElementChild.remove();
  for (const series of data.series) {
    const cell = document.createElement("th");
    Object.assign(cell, { scope: "col", className: "number", textContent: labelOf(series) });
    head.append(cell);
  }
  body.replaceChildren(...data.times.map((_, index) => {
    const row = document.createElement("tr");
    const when = document.createElement("th");
    Object.assign(when, { scope: "row", textContent: momentOf(data, index) });
    row.append(when, ...data.series.map((series) => {
      const cell = document.createElement("td");
      Object.assign(cell, { className: "number", textContent: whole.format(series.counts[index]) });
      return cell;
    }));
    return row;
  }));
}

function make(figure, data, whenReady) {
  const place = figure.querySelector(".plot");
  const [axis, grid] = ["axis", "grid"].map((name) => colourOf(figure, name));
  const bars = uPlot.paths.bars({ size: [0.7, 40], radius: 0.15 });
  // Stacked: what is drawn first is the sum of all, the later ones lie before it.
  const heights = data.series.map(() => new Array(data.times.length).fill(0));
  data.times.forEach((_, index) => {
    let sum = 0;
    data.series.forEach((series, number) => { heights[number][index] = sum += series.counts[index]; });
  });
  const lines = data.series.map((series) => {
    const colour = colourOf(figure, `swatch ${series.status}`);
    return { label: labelOf(series), stroke: colour, fill: colour, width: 0, paths: bars, points: { show: false } };
  });
  const plot = new uPlot({
    width: place.clientWidth,
    height: HEIGHT,
    tzDate: (second) => shownZone ? uPlot.tzDate(new Date(second * 1000), shownZone) : new Date(second * 1000),
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: true, range: (_, low, high) => [low - data.step / 2, high + data.step / 2] }, y: { range: (_, low, high) => [0, Math.max(high, 4) * 1.08] } },
    series: [{}, ...lines.toReversed()],
    axes: [
      { stroke: axis, size: 30, grid: { show: false }, ticks: { show: false }, values: (_, at) => at.map((second) => shortOf(second, data)) },
      { stroke: axis, grid: { stroke: grid, width: 1 }, ticks: { show: false }, values: (_, at) => at.map((value) => Number.isInteger(value) ? whole.format(value) : "") },
    ],
    hooks: { ready: [whenReady], setCursor: [(self) => tell(figure, data, self.cursor.idx)] },
  }, [data.times, ...heights.toReversed()], place);
  return plot;
}

function shortOf(second, data) {
  return tellTime(new Date(second * 1000), language, data.step >= 86_400 ? DAY : CLOCK);
}

export async function draw(figure) {
  let data = null;
  let plot = null;
  let at = -1;
  let tag = "";
  const trouble = figure.querySelector(".trouble");

  const toPoint = (self) => self.setCursor({ left: self.valToPos(data.times[at], "x"), top: 0 });

  // Who looks at a bar, by mouse or by keys, goes on looking at it.
  function redraw() {
    if (!data) return;
    const { left, top } = plot?.cursor ?? { left: -1 };
    plot?.destroy();
    plot = make(figure, data, (self) => {
      if (at >= 0) toPoint(self);
      else if (left >= 0) self.setCursor({ left, top });
    });
    tell(figure, data, null);
  }

  async function load() {
    try {
      const answer = await fetch(figure.dataset.chart, {
        headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store", redirect: "manual",
      });
      if (answer.status === 304) return;
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = await answer.json();
      tag = answer.headers.get("ETag") ?? "";
      at = at < 0 ? at : fresh.times.indexOf(data.times[at]);
      data = fresh;
    } catch {
      trouble.hidden = Boolean(data); // What was drawn before stays.
      return;
    }
    trouble.hidden = true;
    data.step ??= data.times.length > 1 ? data.times[1] - data.times[0] : 3600;
    legendOf(figure, data);
    tableOf(figure, data);
    redraw();
  }

  // The next hour or day begins though nothing else has happened.
  function lookOn() {
    if (!data || Date.now() / 1000 >= data.times.at(-1) + data.step) load();
  }

  const place = figure.querySelector(".plot");
  place.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!plot || !(event.key in steps)) return;
    event.preventDefault();
    const last = data.times.length - 1;
    at = Math.min(Math.max((at < 0 ? last + 1 : at) + steps[event.key], 0), last);
    toPoint(plot);
    tell(figure, data, at);
    say(figure, data, at);
  });
  place.addEventListener("blur", () => { at = -1; if (data) tell(figure, data, null); });

  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(() => {
    if (plot && plot.width !== place.clientWidth) plot.setSize({ width: place.clientWidth, height: HEIGHT });
  }).observe(place);
  document.addEventListener("renewed", load);
  document.addEventListener("looked", lookOn);
  await load();
}
