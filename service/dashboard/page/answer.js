// An answer as pictures, as JSON, and where its time went.
import { short } from "./format.js";
import { Share, html } from "./html.js";
import { useEffect, useRef } from "./vendor/hooks.js";

const MOST_BARS = 10;
const MOST_SCORES = 5000;
const MOST_SIDE = 512;
const MOST_ROWS = 8;
const LONGEST_SHOWN = 20_000;

const isNumber = (value) => typeof value === "number";
const isVector = (value) => Array.isArray(value) && value.length > 1
  && value.length <= MOST_SCORES && value.every(isNumber);
const isMatrix = (value) => Array.isArray(value) && value.length > 1
  && value.length <= MOST_SIDE && value.every(isVector)
  && value.every((row) => row.length === value[0].length && row.length <= MOST_SIDE);

// A row of each output, by name: null where an answer has none.
export function outputsOf(document, specs, row = 0) {
  const usual = specs.filter((each) => !each.on_request);
  const first = document.predictions ? document.predictions[row] : document.outputs;
  if (first === undefined || first === null) return null;
  const named = usual.length > 1 && typeof first === "object" && !Array.isArray(first);
  const found = named ? first : { [usual[0]?.name ?? "output"]: first };
  if (document.predictions) return found;
  const rows = (name) => specs.find((each) => each.name === name)?.shape?.[0] === null;
  return Object.fromEntries(Object.entries(found).map(([name, value]) =>
    [name, rows(name) && Array.isArray(value) && value.length === 1 ? value[0] : value]));
}

export function timesOf(header) {
  return header.split(",").flatMap((part) => {
    const found = /^\s*([\w.-]+)\s*;.*?dur=([\d.]+)/.exec(part);
    return found ? [{ name: found[1], ms: Number(found[2]) }] : [];
  });
}

function titleOf(status) {
  if (status === 200) return "Answer";
  if (status === 202) return "Accepted: the job isn't done yet";
  return status ? `Refused: ${status}` : "No answer";
}

export function Answer({ answer, classes, outputs }) {
  let document = null;
  try {
    document = JSON.parse(answer.text);
  } catch {
    // It is shown as text.
  }
  const good = answer.status === 200;
  const all = good && document ? document.predictions?.length ?? 1 : 0;
  const rows = Array.from({ length: Math.min(all, MOST_ROWS) }, (_, row) =>
    Object.entries(outputsOf(document, outputs, row) ?? {})
      .map(([name, value]) => [name, inner(value)]));
  const shown = rows.flat().some(([, value]) => isShown(value));
  const text = document ? JSON.stringify(document, null, 1) : answer.text;
  const whole = text.length <= LONGEST_SHOWN;
  return html`<div class="answer">
    <h3>${titleOf(answer.status)}</h3>
    ${!good && document?.error && html`<p class="error">${document.error}</p>`}
    ${rows.map((found, row) => html`<${Row} key=${row} row=${row} rows=${all} found=${found}
      classes=${classes} />`)}
    ${all > MOST_ROWS && shown && html`<p class="hint">The other ${all - MOST_ROWS} rows are
      in the JSON.</p>`}
    <${Times} times=${timesOf(answer.timing)} total=${answer.milliseconds} />
    <details open=${!shown}><summary>JSON</summary>
      <pre tabindex="0">${whole ? text : `${text.slice(0, LONGEST_SHOWN)}\n…`}</pre></details>
  </div>`;
}

// What is within dimensions of one.
const inner = (value) =>
  Array.isArray(value) && value.length === 1 ? inner(value[0]) : value;
const isShown = (value) => value !== null
  && (typeof value !== "object" || isVector(value) || isMatrix(value));

function Row({ row, rows, found, classes }) {
  const outputs = found.map(([name, value]) => html`
    <${Output} key=${name} name=${name} value=${value} classes=${classes} />`);
  return rows === 1 || !found.some(([, value]) => isShown(value)) ? outputs
    : html`<section aria-label=${`Row ${row + 1}`}>
        <h4>Row ${row + 1} of ${rows}</h4>${outputs}</section>`;
}

function Output({ name, value, classes }) {
  if (!isShown(value)) return null;
  if (isVector(value)) return html`<${Bars} name=${name} scores=${value} classes=${classes} />`;
  if (isMatrix(value)) return html`<${Heat} name=${name} rows=${value} />`;
  return html`<p class="single"><code>${name}</code>
    <strong>${isNumber(value) ? short(value) : String(value)}</strong></p>`;
}

const exact = (score) =>
  score && Math.abs(score) < 0.001 ? score.toExponential(1) : String(Number(score.toPrecision(4)));

function Bars({ name, scores, classes }) {
  const label = (index) => (classes.length === scores.length ? classes[index] : String(index));
  const best = scores.map((score, index) => ({ score, index }))
    .sort((a, b) => b.score - a.score).slice(0, MOST_BARS);
  // Scores of classes are shares of one; others are seen beside the largest.
  const shares = scores.every((score) => score >= 0 && score <= 1);
  const most = shares ? 1 : Math.max(...best.map(({ score }) => Math.abs(score))) || 1;
  return html`<figure>
    <figcaption><code>${name}</code>${scores.length > MOST_BARS
      && ` · the ${MOST_BARS} largest of ${scores.length}`}</figcaption>
    <ol class="bars">${best.map(({ score, index }, place) => html`<li key=${index}
        class=${place ? "" : "best"}>
      <span>${label(index)}</span>
      <${Share} of=${score} most=${most} label=${label(index)} />
      <span class="number">${exact(score)}</span></li>`)}</ol>
  </figure>`;
}

function Heat({ name, rows }) {
  const canvas = useRef(null);
  const all = rows.flat();
  const least = all.reduce((a, b) => Math.min(a, b));
  const most = all.reduce((a, b) => Math.max(a, b));
  useEffect(() => {
    const pen = canvas.current.getContext("2d");
    const image = pen.createImageData(rows[0].length, rows.length);
    all.forEach((value, index) => {
      const part = most > least ? (value - least) / (most - least) : 0;
      image.data.set([20 + 235 * part, 40 + 170 * part ** 1.5, 90 + 60 * (1 - part), 255],
        index * 4);
    });
    pen.putImageData(image, 0, 0);
  }, [rows]);
  return html`<figure>
    <figcaption><code>${name}</code> · ${short(least)} (dark) to ${short(most)} (bright)</figcaption>
    <canvas class="heat" ref=${canvas} width=${rows[0].length} height=${rows.length} role="img"
      aria-label=${`${name}: ${rows.length} × ${rows[0].length} values, `
        + `${short(least)} to ${short(most)}`}></canvas>
  </figure>`;
}

function Times({ times, total }) {
  const parts = times.filter(({ name }) => name !== "total");
  const sum = parts.reduce((before, { ms }) => before + ms, 0);
  if (!sum) return null;
  return html`<figure>
    <figcaption>${short(sum)} ms in the server, ${short(total)} ms with the way</figcaption>
    <svg class="times" viewBox="0 0 100 4" preserveAspectRatio="none" role="img"
      aria-label=${parts.map(({ name, ms }) => `${name} ${short(ms)} ms`).join(", ")}>
      ${parts.map(({ name, ms }, index) => {
        const before = parts.slice(0, index).reduce((all, each) => all + each.ms, 0);
        return html`<rect key=${name} class=${`part${index % 4}`} height="4"
          x=${(before / sum) * 100} width=${(ms / sum) * 100} />`;
      })}
    </svg>
    <ul class="legend">${parts.map(({ name, ms }, index) => html`
      <li key=${name} class=${`part${index % 4}`}>${name} ${short(ms)} ms</li>`)}</ul>
  </figure>`;
}
