// Small charts of the last quarter of an hour, by uPlot.
import { html } from "./html.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";

const HEIGHT = 110;
const SPAN = 900;
const LEAST_SPAN = 120;
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

function useScheme() {
  const [scheme, setScheme] = useState(0);
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => setScheme((before) => before + 1);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  return scheme;
}

// A value between two gaps is a point: a line would not show it.
const alone = ({ data }, series) => {
  const there = (index) => data[series][index] != null;
  return data[series].flatMap((_, index) =>
    there(index) && !there(index - 1) && !there(index + 1) ? [index] : []);
};

// Steps between an axis' marks that are round in binary units.
const POWERS = Array.from({ length: 50 }, (_, power) => 2 ** power);

function options(width, series, format, binary) {
  const axis = { stroke: colour("--muted"), font: "11px system-ui", ticks: { show: false } };
  const grid = { stroke: colour("--line"), width: 1 };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 8, 0, 0],
    scales: {
      x: { range: (_, first, last) =>
        [Math.min(Math.max(first, last - SPAN), last - LEAST_SPAN), last] },
      y: { range: (_, __, most) => [0, most > 0 ? most * 1.15 : 1] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 22,
        space: 70,
        values: (_, ticks) =>
          ticks.map((at) =>
            new Date(at * 1000).toLocaleTimeString([], CLOCK)),
      },
      {
        ...axis, grid, size: 58, space: 34,
        ...(binary ? { incrs: POWERS } : {}),
        values: (_, ticks) => ticks.map((tick) => format(tick)),
      },
    ],
    series: [
      {},
      ...series.map(({ stroke, fill }) => ({
        stroke: colour(stroke),
        fill: fill && colour(fill),
        width: 1.75,
        points: { show: true, size: 3, width: 0, fill: colour(stroke), filter: alone },
        spanGaps: false,
      })),
    ],
  };
}

export function Chart({ title, now, history, series, format, binary }) {
  const place = useRef(null);
  const plot = useRef(null);
  const scheme = useScheme();
  const data = [history.map((point) => point.at)];
  for (const { name, sparse } of series) {
    data.push(history.map((point) => (sparse ? point[name] || null : point[name])));
  }

  useEffect(() => {
    const box = place.current;
    plot.current = new uPlot(options(box.clientWidth, series, format, binary), data, box);
    const observer = new ResizeObserver(() =>
      plot.current.setSize({ width: box.clientWidth, height: HEIGHT }));
    observer.observe(box);
    return () => {
      observer.disconnect();
      plot.current.destroy();
    };
  }, [scheme]);

  useEffect(() => plot.current.setData(data), [history]);

  return html`<section class="tile">
    <h2>${title}</h2>
    <p class="figure">${now}</p>
    <div class="plot" ref=${place} role="img"
      aria-label=${`${title}, the last quarter of an hour. Now ${now}.`}></div>
  </section>`;
}
