// Charts drawn from the tables beside them, and the choice of theme. Everything else works without scripts.
"use strict";

const NEXT_THEME = { "": "light", light: "dark", dark: "" };
const COLOURS = ["--curve-1", "--curve-2", "--curve-3", "--curve-4"];
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];  // told apart without colour, too

function themeName() {
  return document.documentElement.dataset.theme || "";
}

function setUpTheme() {
  const button = document.getElementById("theme");
  const show = () => { button.textContent = `Theme: ${themeName() || "as the system"}`; };
  button.addEventListener("click", () => {
    const next = NEXT_THEME[themeName()];
    if (next) { document.documentElement.dataset.theme = next; localStorage.setItem("theme", next); }
    else { delete document.documentElement.dataset.theme; localStorage.removeItem("theme"); }
    show();
    drawCharts();
  });
  show();
}

function valueOf(cell) {
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function drawChart(place) {
  const table = document.getElementById(place.dataset.chart);
  const style = getComputedStyle(document.documentElement);
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  const rows = [...table.tBodies[0].rows];
  const data = [rows.map((row) => valueOf(row.cells[0])), ...names.map((_, i) => rows.map((row) => valueOf(row.cells[i + 1])))];
  const paper = style.getPropertyValue("--paper").trim();
  const ink = style.getPropertyValue("--soft").trim(), line = style.getPropertyValue("--line").trim();
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const series = names.map((name, i) => ({
    label: name, stroke: style.getPropertyValue(COLOURS[i]).trim(), dash: DASHES[i], width: 2, spanGaps: true, points: { show: rows.length < 60, fill: paper },
    value: (_, v) => (v === null ? "–" : v.toFixed(3)),
  }));
  place.replaceChildren();
  new uPlot({
    width: place.clientWidth, height: 260, scales: { x: { time: false } },
    series: [{ label: "version" }, ...series],
    axes: [{ ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }, axis],
  }, data, place);
}

function drawCharts() {
  document.querySelectorAll("[data-chart]").forEach(drawChart);
}

setUpTheme();
drawCharts();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
let resized = 0;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(drawCharts, 150); });
