// Makes the panel quicker; every page works without it.
import "./page.js";
import "./keys.js";
import { keepLive } from "./live.js";

for (const element of document.querySelectorAll("[data-scripted]")) element.hidden = false;

for (const select of document.querySelectorAll("select[data-live]")) keepLive(select);

const progress = document.querySelector("[data-progress]");
if (progress) {
  const { tellProgress } = await import("./download.js");
  tellProgress(progress);
}

// The library of the chart is large, so only pages with one load it.
const charts = document.querySelectorAll("[data-chart]");
if (charts.length) {
  const { draw } = await import("./chart.js");
  for (const chart of charts) draw(chart);
}
